"""Smaller kernels: the closed form against least squares on real windows, energies of AlexNet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.compress.methods.kernel_windows import Place
from hwgen.compress.methods.lower_kernel import (
    Options,
    Unit,
    curves,
    greedy_steps,
    importance,
    refit,
    shrink,
    within,
)
from hwgen.errors import HwgenError

CUT = Options(refit=False)


def windows(random, ci, k, images=6, side=14):
    """Patches of smooth images with a mean: what a kernel meets, (count, ci * k * k)."""
    noise = random.normal(size=(images, ci, side + 2, side + 2))
    smooth = sum(noise[:, :, y : y + side, x : x + side] for y in range(3) for x in range(3)) + 1
    places = range(side - k + 1)
    return np.array(
        [smooth[n, :, y : y + k, x : x + k].ravel()
         for n in range(images) for y in places for x in places]
    )


def second_moments(patches):
    return patches.T @ patches / len(patches)


def test_refit_is_least_squares():
    """The closed form equals numpy's solver on the windows themselves."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(5, 3, 5, 5))
    patches = windows(random, 3, 5)
    moments = second_moments(patches)
    options = Options(place=Place.CENTRE)
    found = curves(weights, [3, 1], options, moments)
    for level, side in ((1, 3), (2, 1)):
        margin = (5 - side) // 2
        inside = np.zeros((3, 5, 5), bool)
        inside[:, margin : 5 - margin, margin : 5 - margin] = True
        wanted = patches @ weights.reshape(5, -1).T
        best, *_ = np.linalg.lstsq(patches[:, inside.ravel()], wanted, rcond=None)
        left = ((patches[:, inside.ravel()] @ best - wanted) ** 2).mean(0)
        result = shrink(weights, np.full(5, level), found, options, moments)
        np.testing.assert_allclose(result.weights[:, inside], best.T, atol=1e-5)
        np.testing.assert_allclose(result.loss, left, rtol=1e-6)
        np.testing.assert_allclose(found.loss[:, level], left, rtol=1e-6)
        assert not result.weights[:, ~inside].any()


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("place", Place)
def test_refit_is_never_worse_than_the_cut(unit, place):
    random = np.random.default_rng(1)
    weights = random.laplace(size=(8, 2, 5, 5))
    moments = second_moments(windows(random, 2, 5))
    cut, fitted = (
        curves(weights, [3, 1], Options(unit, place, refit), moments) for refit in (False, True)
    )
    assert np.all(fitted.loss <= cut.loss)
    assert np.mean(fitted.loss[:, 1:] < cut.loss[:, 1:]) > 0.9
    assert fitted.loss.sum() < 0.8 * cut.loss.sum()


def test_a_wrong_window_is_seen():
    """The check itself: a fit to other inputs does lose more than the cut, on these."""
    random = np.random.default_rng(1)
    weights = random.laplace(size=(8, 2, 5, 5))
    moments = second_moments(windows(random, 2, 5))
    other = second_moments(windows(random, 2, 5)[:, ::-1] * np.linspace(0.1, 3, 50))
    options = Options(place=Place.CENTRE)
    found = curves(weights, [3], options, other)
    fitted = shrink(weights, np.ones(8, int), found, options, other).weights
    wrong = (weights - fitted).reshape(8, -1)
    cut = curves(weights, [3], Options(place=Place.CENTRE, refit=False), moments).loss[:, 1]
    assert np.any(np.einsum("ij,jk,ik->i", wrong, moments, wrong) > cut)


@pytest.mark.parametrize("unit", Unit)
def test_best_place_is_the_best_of_all(unit):
    weights = np.random.default_rng(2).laplace(size=(4, 3, 5, 5))
    found = curves(weights, [3, 2], Options(unit, refit=False))
    grouped = weights.reshape(-1, 1 if unit is Unit.KERNEL else 3, 5, 5)
    for number, kernels in enumerate(grouped):
        for level, side in ((1, 3), (2, 2)):
            energies = {
                (y, x): (kernels**2).sum() - (kernels[:, y : y + side, x : x + side] ** 2).sum()
                for y in range(6 - side) for x in range(6 - side)
            }
            place = tuple(found.offset[number, level].tolist())
            assert found.loss[number, level] == pytest.approx(min(energies.values()))
            assert energies[place] == pytest.approx(min(energies.values()))


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("with_moments", [False, True])
def test_a_larger_window_is_never_worse(unit, with_moments):
    random = np.random.default_rng(3)
    weights = random.laplace(size=(4, 2, 5, 5))
    moments = second_moments(windows(random, 2, 5)) if with_moments else None
    found = curves(weights, [4, 3, 2, 1], Options(unit), moments)
    assert found.sides == (5, 4, 3, 2, 1)
    assert found.taps.tolist() == [25, 16, 9, 4, 1]
    assert np.all(np.diff(found.loss, axis=1) >= -1e-9)
    assert not found.loss[:, 0].any()


@pytest.mark.parametrize("unit", Unit)
def test_shrunk_weights_have_the_loss_of_the_curve(unit):
    random = np.random.default_rng(4)
    weights = random.laplace(size=(6, 4, 3, 3))
    options = Options(unit)
    found = curves(weights, [2, 1], options)
    levels = random.integers(0, 3, len(found.loss))
    result = shrink(weights, levels, found, options)
    loss = found.loss[np.arange(len(levels)), levels].reshape(6, -1).sum(1)
    np.testing.assert_allclose(result.loss, loss)
    np.testing.assert_allclose(result.loss, ((weights - result.weights) ** 2).sum((1, 2, 3)))
    np.testing.assert_array_equal(result.weights, np.where(result.mask, weights, 0))
    share = 1 if unit is Unit.KERNEL else 4
    assert result.mask.sum() == found.taps[levels].sum() * share
    assert result.saved == pytest.approx(1 - result.mask.sum() / weights.size)


def test_kernels_of_a_filter_are_fitted_together():
    """With correlated channels the joint fit loses no more than any fit kernel by kernel."""
    random = np.random.default_rng(5)
    weights = random.laplace(size=(5, 2, 3, 3))
    moments = second_moments(windows(random, 2, 3))
    options = Options(Unit.KERNEL)
    found = curves(weights, [1], options, moments)
    together = shrink(weights, np.ones(10, int), found, options, moments)
    inside = together.mask.reshape(5, -1)
    for row, kept, loss in zip(weights.reshape(5, -1), inside, together.loss, strict=True):
        alone = np.linalg.inv(moments[np.ix_(kept, kept)]) @ moments[kept] @ row
        wrong = row.copy()
        wrong[kept] -= alone
        assert loss == pytest.approx(wrong @ moments @ wrong, rel=1e-6)


def test_groups_meet_their_own_inputs():
    random = np.random.default_rng(6)
    weights = random.laplace(size=(6, 2, 3, 3))
    moments = np.stack([second_moments(windows(random, 2, 3) * scale) for scale in (1, 5)])
    both = curves(weights, [1], Options(), moments)
    for group in (0, 1):
        rows = slice(3 * group, 3 * group + 3)
        one = curves(weights[rows], [1], Options(), moments[group])
        np.testing.assert_allclose(both.loss[rows], one.loss)
        np.testing.assert_allclose(
            importance(weights, moments)[rows], importance(weights[rows], moments[group])
        )


def test_importance_is_the_energy_of_the_output():
    random = np.random.default_rng(7)
    weights = random.normal(size=(4, 2, 3, 3))
    patches = windows(random, 2, 3)
    energy = ((patches @ weights.reshape(4, -1).T) ** 2).mean(0)
    np.testing.assert_allclose(importance(weights, second_moments(patches)), energy)
    np.testing.assert_allclose(importance(weights), (weights**2).sum((1, 2, 3)))


@pytest.mark.parametrize("unit", Unit)
def test_inputs_that_never_vary_keep_their_weights(unit):
    weights = np.random.default_rng(8).normal(size=(3, 2, 3, 3))
    moments = np.zeros((18, 18))
    moments[:9, :9] = np.eye(9)
    options = Options(unit)
    found = curves(weights, [1], options, moments)
    result = shrink(weights, np.ones(len(found.loss), int), found, options, moments)
    np.testing.assert_allclose(result.weights[result.mask], weights[result.mask])
    nothing = curves(weights, [1], options, np.zeros((18, 18)))
    assert not nothing.loss.any()


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("with_moments", [False, True])
def test_idempotent(unit, with_moments):
    random = np.random.default_rng(9)
    weights = random.laplace(size=(4, 2, 5, 5))
    before = weights.copy()
    moments = second_moments(windows(random, 2, 5)) if with_moments else None
    options = Options(unit)
    found = curves(weights, [3, 1], options, moments)
    levels = np.arange(len(found.loss)) % 3
    once = shrink(weights, levels, found, options, moments)
    np.testing.assert_array_equal(weights, before)
    again = curves(once.weights, [3, 1], options, moments)
    np.testing.assert_allclose(again.loss[np.arange(len(levels)), levels], 0, atol=1e-12)
    twice = shrink(once.weights, levels, again, options, moments)
    np.testing.assert_allclose(twice.weights, once.weights, atol=1e-9)


@pytest.mark.parametrize("unit", Unit)
def test_order_of_filters_does_not_matter(unit):
    weights = np.random.default_rng(10).laplace(size=(6, 2, 3, 3))
    order = np.random.default_rng(0).permutation(6)
    straight, shuffled = (curves(w, [2, 1], Options(unit)) for w in (weights, weights[order]))
    np.testing.assert_allclose(
        straight.loss.reshape(6, -1, 3)[order], shuffled.loss.reshape(6, -1, 3)
    )


@pytest.mark.parametrize("factor", [2.0**-400, 2.0**-100, 2.0**100, 2.0**400])
def test_tiny_and_huge_weights(factor):
    random = np.random.default_rng(11)
    weights = random.laplace(size=(5, 2, 3, 3))
    moments = second_moments(windows(random, 2, 3))
    for given in (None, moments):
        plain, scaled = (curves(w, [1], Options(), given) for w in (weights, weights * factor))
        np.testing.assert_array_equal(plain.offset, scaled.offset)
        np.testing.assert_allclose(scaled.loss, plain.loss * factor**2, rtol=1e-9)


def test_zeros_and_one_weight():
    found = curves(np.zeros((3, 2, 5, 5)), [3, 1], Options())
    assert not found.loss.any()
    assert np.all(within(found, 0) == 2)
    np.testing.assert_array_equal(found.offset[:, 1], 1)  # the centre wins a tie
    one = curves([[[[2.0]]]], [1], Options())
    assert one.sides == (1,)
    assert one.loss.tolist() == [[0.0]]
    assert within(one, 5).tolist() == [0]


def test_kernels_that_are_not_square():
    weights = np.random.default_rng(12).normal(size=(2, 1, 1, 7))
    found = curves(weights, [3], CUT)
    assert found.sides == (7, 3)
    assert found.taps.tolist() == [7, 3]
    best = max((weights[0, 0, 0, x : x + 3] ** 2).sum() for x in range(5))
    assert found.loss[0, 1] == pytest.approx((weights[0] ** 2).sum() - best)


# ---------------------------------------------------------------------------------------------
# The budget


def least_by_exhaustion(found, taps):
    """Least loss of any levels with at most so many taps."""
    best = np.inf
    units = range(len(found.loss))
    for levels in itertools.product(range(len(found.sides)), repeat=len(found.loss)):
        if found.taps[list(levels)].sum() <= taps:
            best = min(best, found.loss[units, levels].sum())
    return best


@pytest.mark.parametrize("seed", range(4))
def test_every_greedy_prefix_is_the_least_loss_for_its_taps(seed):
    weights = np.random.default_rng(seed).laplace(size=(5, 2, 5, 5))
    found = curves(weights, [3, 1], CUT)
    levels = np.zeros(5, int)
    for unit, level in greedy_steps(found):
        assert level > levels[unit]
        levels[unit] = level
        loss = found.loss[np.arange(5), levels].sum()
        assert loss == pytest.approx(least_by_exhaustion(found, found.taps[levels].sum()))
    assert np.all(levels == 2)


def test_a_larger_budget_saves_more():
    weights = np.random.default_rng(13).laplace(size=(20, 3, 5, 5))
    found = curves(weights, [3, 1], CUT)
    before = within(found, 0)
    assert not before.any()
    for budget in np.linspace(0, found.loss[:, -1].sum(), 30):
        levels = within(found, budget)
        assert found.loss[np.arange(20), levels].sum() <= budget
        assert np.all(levels >= before)
        before = levels
    assert np.all(within(found, np.inf) == 2)


# ---------------------------------------------------------------------------------------------
# Published weights


@pytest.fixture(scope="module")
def alexnet(hwgen_data):
    """Real weights of AlexNet's first two layers."""
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as arrays:
        return {name: arrays[name] / 256 for name in ("conv1", "conv2")}


@pytest.mark.parametrize(
    ("layer", "side", "centre", "best", "saved"),
    [("conv1", 7, 0.70, 0.78, 59.5), ("conv1", 9, 0.85, 0.91, 33.1), ("conv2", 3, 0.63, 0.68, 64.0),
     ("conv2", 1, 0.12, 0.16, 96.0)],
)
def test_alexnet_energy_kept(alexnet, layer, side, centre, best, saved):
    weights = alexnet[layer]
    energy = importance(weights)
    used = energy > 0  # one filter of conv2 is all zero at 8 bits
    for place, wanted in ((Place.CENTRE, centre), (Place.BEST, best)):
        options = Options(place=place)
        found = curves(weights, [side], options)
        kept = 1 - found.loss[used, 1] / energy[used]
        assert round(float(np.median(kept)), 2) == wanted
        result = shrink(weights, np.ones(len(weights), int), found, options)
        assert round(100 * result.saved, 1) == saved


# ---------------------------------------------------------------------------------------------
# What is refused


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_values_that_are_not_finite_are_refused(bad):
    weights, moments = np.ones((2, 1, 3, 3)), np.eye(9)
    weights[1, 0, 2, 2] = bad
    with pytest.raises(HwgenError, match="Weights must be finite"):
        curves(weights, [1], Options())
    moments[2, 2] = bad
    with pytest.raises(HwgenError, match="Second moments must be finite"):
        curves(np.ones((2, 1, 3, 3)), [1], Options(), moments)


WEIGHTS = np.ones((2, 1, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: curves(WEIGHTS, [0], Options()), "from 1 to 3 needed, not 0"),
        (lambda: curves(WEIGHTS, [5], Options()), "from 1 to 3 needed, not 5"),
        (lambda: curves(np.ones((2, 9)), [1], Options()), r"not of shape \(2, 9\)"),
        (lambda: curves(WEIGHTS, [1], Options(), np.eye(8)), r"\(9, 9\) inputs needed"),
        (lambda: curves(WEIGHTS, [1], Options(), np.stack([np.eye(9)] * 3)), "not of 3"),
        (lambda: curves(WEIGHTS, [1], Options(), np.triu(np.ones((9, 9)))), "symmetric"),
        (lambda: curves(WEIGHTS, [1], Options(), -np.eye(9)), "no negative variance"),
        (lambda: Options(ridge=0), "above 0 and at most 1 needed, not 0"),
        (lambda: within(curves(WEIGHTS, [1], Options()), -1), "0 or more needed, not -1"),
        (lambda: within(curves(WEIGHTS, [1], Options()), np.nan), "not nan"),
        (lambda: shrink(WEIGHTS, [0, 2], curves(WEIGHTS, [1], Options()), Options()),
         "from 0 to 1 needed, not 0 to 2"),
        (lambda: shrink(WEIGHTS, [0], curves(WEIGHTS, [1], Options()), Options()),
         "each of 2 units"),
        (lambda: shrink(WEIGHTS, [0.5, 0], curves(WEIGHTS, [1], Options()), Options()),
         "each of 2 units"),
    ],
)
def test_a_wrong_call(call, message):
    with pytest.raises(HwgenError, match=message):
        call()


def test_refit_of_any_mask_is_least_squares():
    """Masks of no shape in particular, one a filter, against numpy's solver on the windows."""
    random = np.random.default_rng(8)
    weights = random.normal(size=(6, 2, 3, 3))
    mask = random.random(weights.shape) < 0.5
    mask[0], mask[1] = True, False
    patches = windows(random, 2, 3)
    found = refit(weights, mask, second_moments(patches), ridge=1e-12).reshape(6, -1)
    for row, inside, exact in zip(found, mask.reshape(6, -1), weights.reshape(6, -1), strict=True):
        assert not row[~inside].any()
        wanted = np.linalg.lstsq(patches[:, inside], patches @ exact, rcond=None)[0]
        assert np.allclose(row[inside], wanted, atol=1e-6)


def test_refit_with_a_mask_of_another_shape():
    with pytest.raises(HwgenError, match="A mask of .* needed, not of"):
        refit(np.ones((2, 1, 3, 3)), np.ones((2, 3, 3), bool), np.eye(9))
