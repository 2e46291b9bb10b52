"""Supports against the authors' rule, written out; the published table; exhaustive choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.compress.methods.periodic import (
    Kind,
    Options,
    Phase,
    Supports,
    Variant,
    approximate,
    blocks,
    mask,
    pattern_table,
    running_index,
)
from hwgen.compress.methods.periodic_cost import (
    dense_kernels,
    nonzeros,
    savings,
    storage,
    tile_taps,
)
from hwgen.compress.shapes import LayerShape, resnet18, vgg16
from hwgen.errors import HwgenError

FOUR = [{0, 1, 3, 4}, {1, 2, 4, 5}, {3, 4, 6, 7}, {4, 5, 7, 8}]
TWO = [{0, 1}, {1, 2}, {3, 4}, {4, 5}, {6, 7}, {7, 8}]
ONE = [{tap} for tap in range(9)]
ALL = set(range(9))
# Phase q -> taps, as the authors write them out case by case.
BY_PHASE = {
    "PS4_P4": [FOUR[3], *FOUR[:3]],
    "PS2_P6": [TWO[5], *TWO[:5]],
    "PS1_P9": [ONE[8], *ONE[:8]],
    "PSD4_P8": [ALL, *FOUR, *FOUR[:3]],
    "PSD4_P16": [ALL, *FOUR, *FOUR, *FOUR, *FOUR[:3]],
    "PSD2_P8": [ALL, *TWO, TWO[0]],
    "PSD2_P16": [ALL, *TWO, *TWO, *TWO[:3]],
    "PSD1_P8": [ALL, *ONE[:7]],
    "PSD1_P16": [ALL, *ONE, *ONE[:6]],
}
TABLE = {  # saved % and ratio: VGG16, ResNet18
    "pSC4": (55.5, 2.23, 54.7, 2.21),
    "PS4_P4": (55.5, 2.23, 54.7, 2.21),
    "pSC2": (77.7, 4.41, 76.5, 4.28),
    "PS2_P6": (77.7, 4.41, 76.5, 4.28),
    "pSC1": (88.8, 8.61, 87.5, 8.06),
    "PS1_P9": (88.8, 8.61, 87.5, 8.06),
    "PSD4_P8": (48.6, 1.94, 47.8, 1.92),
    "PSD4_P16": (52.1, 2.07, 51.2, 2.05),
    "PSD2_P8": (68.0, 3.09, 67.0, 3.04),
    "PSD2_P16": (72.9, 3.64, 71.7, 3.55),
    "PSD1_P8": (77.7, 4.41, 76.5, 4.28),
    "PSD1_P16": (83.3, 5.83, 82.0, 5.59),
}


def options(name, **more):
    return Options(Variant.parse(name), **more)


def taps_of(kernel):
    return set(np.flatnonzero(kernel.ravel()).tolist())


@pytest.mark.parametrize("name", BY_PHASE)
def test_masks_follow_the_rule(name):
    chosen = mask((64, 64, 3, 3), options(name))
    wanted = BY_PHASE[name]
    for i, j in itertools.product(range(64), range(64)):
        assert taps_of(chosen[i, j]) == wanted[(i + j + 1) % len(wanted)]


def test_a_shifted_phase_is_seen():
    """The check itself: (i + j) in place of (i + j + 1) is another mask."""
    chosen = mask((64, 64, 3, 3), options("PSD1_P8"))
    assert taps_of(chosen[0, 0]) != BY_PHASE["PSD1_P8"][0]


@pytest.mark.parametrize("name", BY_PHASE)
def test_each_channel_meets_every_phase(name):
    period = len(BY_PHASE[name])
    phases = running_index(40, 20, options(name)) % period
    for first in range(40 - period):
        window = np.sort(phases[first : first + period], axis=0)
        np.testing.assert_array_equal(window, np.arange(period)[:, None] + np.zeros(20, int))


@pytest.mark.parametrize("name", TABLE)
def test_published_savings(name):
    wanted = TABLE[name]
    for layers, (saved, ratio) in zip(
        (vgg16(), resnet18()), (wanted[:2], wanted[2:]), strict=True
    ):
        found = savings(layers, options(name))
        assert round(100 * found.saved, 1) == saved
        assert round(found.ratio, 2) == ratio


def test_networks_before_they_are_sparse():
    found = savings(vgg16(), options("pSC9"))
    assert (found.saved, found.ratio) == (0, 1)
    assert found.weights == found.dense_weights == 14_715_584


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("supports", [Supports.RULE, Supports.ROTATED])
@pytest.mark.parametrize("name", BY_PHASE)
def test_counts_are_those_of_the_mask(name, phase, supports):
    layer = LayerShape("conv", 37, 21, 3, 3)
    chosen = mask(layer.shape, options(name, phase=phase, supports=supports))
    assert nonzeros(layer, options(name, phase=phase, supports=supports)) == chosen.sum()


def test_first_and_small_kernels_stay_dense():
    sparse = options("PSD1_P16")
    assert nonzeros(LayerShape("conv1", 64, 3, 3, 3), sparse, first=True) == 64 * 27
    assert nonzeros(LayerShape("shortcut", 128, 64, 1, 1), sparse) == 128 * 64
    assert nonzeros(LayerShape("conv2", 64, 64, 3, 3), sparse) == 64 * 64 * 3 // 2


@pytest.mark.parametrize(
    ("name", "mean"),
    [("PSD4_P8", 4.625), ("PSD4_P16", 4.3125), ("PSD2_P8", 2.875), ("PSD2_P16", 2.4375),
     ("PSD1_P8", 2), ("PSD1_P16", 1.5), ("PS2_P6", 2), ("pSC4", 4)],
)
def test_mean_taps(name, mean):
    assert Variant.parse(name).mean_taps() == mean
    assert Variant.parse(name).name == name


def test_rotation_leaves_no_tap_out():
    def sparse_taps(supports):
        table = pattern_table(3, 3, options("PSD1_P8", supports=supports))
        table = table[table.sum((1, 2)) == 1]
        return table.sum(0).ravel().tolist()

    assert sparse_taps(Supports.RULE) == [1] * 7 + [0, 0]
    assert sparse_taps(Supports.ROTATED) == [7] * 9


@pytest.mark.parametrize("name", ["PS4_P4", "PS2_P6", "PS1_P9"])
def test_rotation_changes_nothing_where_periods_meet(name):
    plain, turned = (
        mask((20, 30, 3, 3), options(name, supports=supports))
        for supports in (Supports.RULE, Supports.ROTATED)
    )
    np.testing.assert_array_equal(plain, turned)


@pytest.mark.parametrize("phase", Phase)
def test_rotation_continues_where_it_stopped(phase):
    turned = options("PSD2_P8", phase=phase, supports=Supports.ROTATED, tile=1)
    table = pattern_table(3, 3, turned)
    seen = [taps_of(row) for row in table]
    assert [taps for taps in seen if taps != ALL] == TWO * 7
    assert [n for n, taps in enumerate(seen) if taps == ALL] == list(range(0, 48, 8))


@pytest.mark.parametrize("name", [name for name in BY_PHASE if name.startswith("PSD")])
def test_tiles_hold_their_dense_kernels(name):
    """Layers of 16 tile pairs and more meet every phase, and share of weights with the paper's."""
    tiled = options(name, phase=Phase.TILE)
    for layer in (*vgg16()[1:-1], *(x for x in resnet18()[1:] if x.kh == 3)):
        assert dense_kernels(layer, tiled) * tiled.variant.period == layer.kernels
        assert nonzeros(layer, tiled) == nonzeros(layer, options(name))


def test_tiles_share_their_support():
    chosen = mask((64, 48, 3, 3), options("PSD1_P8", phase=Phase.TILE))
    for i, j in itertools.product(range(4), range(3)):
        block = chosen[16 * i : 16 * i + 16, 16 * j : 16 * j + 16].reshape(256, 9)
        assert taps_of(block[0]) == BY_PHASE["PSD1_P8"][(3 * i + j) % 8]
        assert np.all(block == block[0])


def test_tile_cycles():
    """Phases by tile save cycles; by channel a tile meets all phases, so all taps."""
    shape = (64, 64, 3, 3)
    assert tile_taps(mask(shape, options("PSD1_P16", phase=Phase.TILE))) == 9 + 15
    assert tile_taps(mask(shape, options("PSD1_P16"))) == 16 * 9
    uneven = np.zeros((17, 20, 3, 3), bool)
    uneven[16, 19, 1, 1] = uneven[0, 0, 0, 0] = uneven[1, 3, 2, 2] = True
    assert tile_taps(uneven) == 3


@pytest.mark.parametrize("name", ["pSC1", "pSC4", "pSC9"])
def test_random_supports(name):
    random = np.random.default_rng(3)
    chosen = mask((16, 8, 3, 3), options(name), random)
    assert set(chosen.sum((2, 3)).ravel().tolist()) == {int(name[3:])}
    again = mask((16, 8, 3, 3), options(name), np.random.default_rng(3))
    np.testing.assert_array_equal(chosen, again)
    if name == "pSC1":
        assert set(np.flatnonzero(chosen.any((0, 1)))) == ALL


def by_exhaustion(weights, variant):
    """Most energy kept by any supports of each phase, the dense one free."""
    size = weights.shape[2] * weights.shape[3]
    rows = weights.reshape(*weights.shape[:2], size)
    best = np.zeros((variant.period, 2))
    for i, j in itertools.product(*map(range, weights.shape[:2])):
        best[(i + j + 1) % variant.period, 1] += (rows[i, j] ** 2).sum()
    for q in range(variant.period):
        for taps in itertools.combinations(range(size), variant.taps):
            kept = sum(
                rows[i, j, tap] ** 2
                for i, j in itertools.product(*map(range, weights.shape[:2]))
                if (i + j + 1) % variant.period == q
                for tap in taps
            )
            best[q, 0] = max(best[q, 0], kept)
    total = best[:, 0].sum()
    return total + (best[:, 1] - best[:, 0]).max() * (variant.kind is Kind.DENSE_ONE)


@pytest.mark.parametrize("name", ["PS2_P4", "PS3_P3", "PSD2_P4", "PSD1_P2"])
@pytest.mark.parametrize("seed", range(3))
def test_energy_choice_is_the_optimum(name, seed):
    weights = np.random.default_rng(seed).laplace(size=(4, 8, 3, 2))
    chosen = options(name, supports=Supports.ENERGY)
    found = approximate(weights, chosen)
    wanted = by_exhaustion(weights, chosen.variant)
    assert (found.weights**2).sum() == pytest.approx(wanted, rel=1e-12)
    assert found.kept == pytest.approx(wanted / (weights**2).sum())


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("name", BY_PHASE)
def test_energy_choice_is_never_worse_and_costs_the_same(name, phase):
    weights = np.random.default_rng(5).laplace(size=(24, 40, 3, 3)) * np.linspace(1, 3, 9).reshape(
        3, 3
    )
    rule, best = (
        approximate(weights, options(name, phase=phase, supports=supports))
        for supports in (Supports.RULE, Supports.ENERGY)
    )
    assert best.kept > rule.kept
    assert best.nonzeros == rule.nonzeros


def test_more_taps_keep_more():
    weights = np.random.default_rng(6).normal(size=(12, 16, 5, 5))
    kept = [
        approximate(weights, options(f"PS{taps}_P4", supports=Supports.ENERGY)).kept
        for taps in range(1, 26)
    ]
    assert kept == sorted(kept)
    assert kept[-1] == pytest.approx(1)


def every_way():
    for name in ("PS4_P4", "PSD1_P8"):
        for phase, supports in itertools.product(Phase, Supports):
            yield options(name, phase=phase, supports=supports, tile=4)
    yield options("pSC2")


@pytest.mark.parametrize("way", list(every_way()), ids=str)
def test_result_is_consistent_and_idempotent(way):
    weights = np.random.default_rng(7).normal(size=(9, 11, 3, 3))
    before = weights.copy()
    found = approximate(weights, way, np.random.default_rng(1))
    np.testing.assert_array_equal(weights, before)
    np.testing.assert_array_equal(found.patterns[found.phases], found.mask)
    np.testing.assert_array_equal(found.weights, np.where(found.mask, weights, 0))
    assert 0 < found.kept < 1
    again = approximate(found.weights, way, np.random.default_rng(1))
    np.testing.assert_array_equal(again.weights, found.weights)
    assert again.kept == 1
    for array in (found.weights, found.mask, found.phases, found.patterns):
        assert not array.flags.writeable


def test_a_period_of_filters_may_turn():
    weights = np.random.default_rng(8).normal(size=(16, 8, 3, 3))
    for way in (options("PSD1_P8"), options("PSD1_P8", supports=Supports.ENERGY)):
        straight = approximate(weights, way).weights
        turned = approximate(np.roll(weights, 8, axis=0), way).weights
        np.testing.assert_array_equal(np.roll(straight, 8, axis=0), turned)


@pytest.mark.parametrize("factor", [1e-150, 1e-30, 1e30, 1e149])
@pytest.mark.parametrize("supports", Supports)
def test_tiny_and_huge_weights(factor, supports):
    weights = np.random.default_rng(9).normal(size=(8, 8, 3, 3))
    way = options("PSD2_P8", supports=supports)
    plain, scaled = approximate(weights, way), approximate(weights * factor, way)
    np.testing.assert_array_equal(plain.mask, scaled.mask)
    assert scaled.kept == pytest.approx(plain.kept)


@pytest.mark.parametrize("supports", Supports)
def test_zeros_and_one_weight(supports):
    way = options("PS1_P9", supports=supports)
    nothing = approximate(np.zeros((4, 4, 3, 3)), way)
    assert nothing.kept == 1
    assert not nothing.weights.any()
    one = approximate([[[[-3.0]]]], way)
    np.testing.assert_array_equal(one.weights, [[[[-3.0]]]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_weights_that_are_not_finite_are_refused(bad):
    weights = np.ones((2, 2, 3, 3))
    weights[1, 0, 2, 2] = bad
    with pytest.raises(HwgenError, match="Weights must be finite"):
        approximate(weights, options("PS4_P4"))


def test_index_storage_of_the_smallest_layer():
    found = storage(vgg16()[1], options("PSD1_P16"))
    assert (found.weights, found.periodic) == (98_304, 144)
    assert found.bitmap == 64 * 64 * 9


@pytest.mark.parametrize("name", BY_PHASE)
def test_index_storage_is_negligible(name):
    for layer in vgg16()[1:-1]:
        found = storage(layer, options(name))
        assert found.periodic < 0.002 * found.weights
        if Variant.parse(name).taps <= 2:
            assert found.rows >= 0.2 * found.weights
            assert min(found.support, found.bitmap) > 30 * found.periodic


def test_storage_of_single_choices():
    layer = LayerShape("conv", 512, 512, 3, 3)
    kernels = 512 * 512
    for taps, bits in ((4, 7), (2, 6), (1, 4)):
        assert storage(layer, options(f"pSC{taps}")).support == kernels * bits
        assert storage(layer, options(f"pSC{taps}")).periodic is None
    one = storage(layer, options("PS1_P9"))
    assert (one.rows / one.weights, one.periodic) == (0.25, 81)
    turned = storage(layer, options("PSD1_P16", supports=Supports.ROTATED))
    assert turned.periodic == 10 * 9  # nine taps and the dense support
    assert storage(layer, options("PSD9_P4")).weights == kernels * 9 * 16


def test_blocks_of_larger_kernels():
    assert len(blocks(4, 5, 5)) == 16
    assert len(blocks(2, 1, 3)) == 2
    assert taps_of(blocks(4, 5, 5)[5]) == {6, 7, 11, 12}
    chosen = mask((4, 16, 5, 5), options("PS4_P4", supports=Supports.ROTATED))
    assert chosen.any((0, 1)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("PSC", "like pSC4"), ("PSD1", "like pSC4"), ("pSC4_P4", "like pSC4"), ("", "like pSC4"),
     ("PS0_P4", "one tap needed, not 0"), ("PSD1_P1", "from 2 to 256 needed, not 1"),
     ("PS1_P999", "not 999")],
)
def test_a_wrong_variant(text, message):
    with pytest.raises(HwgenError, match=message):
        Variant.parse(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: options("pSC2", phase=Phase.TILE), "neither phases"),
        (lambda: options("PS1_P9", tile=0), "not 0"),
        (lambda: mask((4, 4, 3, 3), options("pSC2")), "random generator"),
        (lambda: mask((4, 4, 3, 3), options("PS3_P4")), "1, 2 or 4 taps"),
        (lambda: mask((4, 4, 1, 1), options("PS4_P4")), "not 4 in 1 x 1"),
        (lambda: mask((4, 4, 3), options("PS4_P4")), r"\(co, ci, kh, kw\)"),
        (lambda: mask((4, 4, 2, 2), options("pSC9"), np.random.default_rng()), "not 2 x 2"),
        (lambda: approximate(np.ones((2, 9)), options("PS4_P4")), r"not of shape \(2, 9\)"),
        (lambda: approximate(np.ones((0, 2, 3, 3)), options("PS4_P4")), "none of them empty"),
        (lambda: mask((2, 2, 3, 3), options("PS4_P4", supports=Supports.ENERGY)), "fixed order"),
        (lambda: approximate(np.ones((2, 2, 1, 1)),
                             options("PS4_P4", supports=Supports.ENERGY)), "not 1 x 1"),
        (lambda: nonzeros(LayerShape("c", 2, 2, 2, 2), options("pSC9")), "not 4"),
    ],
)
def test_a_wrong_call(call, message):
    with pytest.raises(HwgenError, match=message):
        call()
