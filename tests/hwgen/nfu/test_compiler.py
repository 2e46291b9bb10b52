"""What the compiler makes of a network: steps, order of filters, folding, chunks, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.compress.methods.kernel_tiles import cycles as tile_cycles
from hwgen.compress.methods.kernel_tiles import sort_filters
from hwgen.errors import HwgenError
from hwgen.network import (
    Add,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Network,
    Requantise,
    int64,
)
from hwgen.nfu.compiler import schedule
from hwgen.nfu.compiler.program import arranged_first, compile_network
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.emit import choose
from hwgen.nfu.estimate import estimate
from hwgen.nfu.isa import Buffer, Op
from hwgen.sim import golden
from tests.hwgen.nfu.programs import CONFIG, chain, compiled, interpreted
from tests.networks import random_images

TN16 = Config(tn=16, acc_bits=32, total_bits=48, finishers=16, segments=False)


def codes(name, source, channels, *, lo=0, hi=255, shift=6):
    return Requantise(name, source, int64([1] * channels), int64([0] * channels),
                      int64([shift] * channels), lo, hi, 4)


def conv(name, source, weight, padding=(0, 0, 0, 0), stride=(1, 1), groups=1):
    zero = int64([0] * len(weight))
    return Conv2d(name, source, weight, zero, zero, stride, padding, (1, 1), groups)


def one_conv(weight, height=6, width=6, **options):
    channels = weight.shape[1] * options.get("groups", 1)
    return Network((Input("x", channels, height, width, 0, 255, 8), conv("y", "x", weight,
                    **options), codes("z", "y", len(weight))))


def one_digit(shape, seed=0):
    rng = np.random.default_rng(seed)
    return (1 << rng.integers(0, 4, shape)) * rng.choice([-1, 1], shape)


def steps(network, **options):
    arranged = arranged_first(network, TN16, **options)
    return [sum(map(len, tile)) for tile in arranged.steps]


@pytest.mark.parametrize("part", [0.25, 0.5, 0.75])
def test_reduced_kernels_save_cycles_only_when_sorted(part):
    """Claim 18, against the cycle model of kernel_tiles."""
    weight = one_digit((128, 32, 3, 3))
    small = np.random.default_rng(1).permutation(128)[: round(128 * part)]
    centre = weight[small, :, 1, 1].copy()
    weight[small] = 0
    weight[small, :, 1, 1] = centre
    network = one_conv(weight)
    taps = np.full(128, 9)
    taps[small] = 1
    expected = tile_cycles(taps[sort_filters(taps)], ci=32, pixels=1)
    assert sum(steps(network)) == expected
    assert 8 * 2 * 9 / expected == pytest.approx({0.25: 1.286, 0.5: 1.8, 0.75: 3.0}[part], abs=1e-3)
    assert sum(steps(network, sort=False)) == tile_cycles(taps, ci=32, pixels=1) == 8 * 2 * 9


def test_sorted_filters_give_the_same_codes():
    """The next layer undoes the order; residual sums and pools on the way keep it."""
    rng = np.random.default_rng(2)
    first, second = one_digit((12, 3, 3, 3)), one_digit((12, 12, 3, 3), 1)
    for weight in (first, second):
        small = rng.permutation(12)[:6]
        weight[small] *= np.eye(3, dtype=np.int64)[1][:, None] * np.eye(3, dtype=np.int64)[1]
    around = (1, 1, 1, 1)
    network = Network((
        Input("x", 3, 6, 6, 0, 255, 8), conv("a", "x", first, around), codes("b", "a", 12),
        MaxPool("p", "b", (2, 2), (1, 1), (0, 0, 1, 1)),
        conv("c", "p", second, around), Add("d", ("c", "p"), (0, 0)),
        codes("e", "d", 12), Flatten("f", "e"),
        Dense("g", "f", one_digit((5, 432), 3), int64([0] * 5), int64([4] * 5))))
    assert network.tensors["f"].channels == 432
    config = replace(CONFIG, tn=4)
    program = compile_network(network, config)
    assert compile_network(network, config, sort=False).tasks[0].steps > program.tasks[0].steps
    images = random_images(network, 2, 0)
    wanted = golden.run(network, images)
    for n, image in enumerate(images):
        for name, values in interpreted(program, network, image).items():
            assert np.array_equal(values, wanted[name][n]), name


def test_a_shortcut_takes_the_order_of_the_sum_it_is_added_to():
    rng = np.random.default_rng(4)
    weight = one_digit((12, 4, 3, 3), 4)
    small = rng.permutation(12)[:8]
    weight[small] *= np.pad([[1]], 1)                     # 1x1 kernels, here and there
    config = replace(CONFIG, tn=4)
    network = Network((
        Input("x", 4, 6, 6, 0, 255, 8),
        conv("a", "x", one_digit((4, 4, 1, 1), 5)), codes("b", "a", 4),
        conv("short", "b", one_digit((12, 4, 1, 1), 6)), codes("s", "short", 12),
        conv("main", "b", weight, (1, 1, 1, 1)), Add("sum", ("main", "s"), (0, 0)),
        codes("z", "sum", 12, shift=9)))
    program = compile_network(network, config)
    taken = {task.layer: task.steps for task in program.tasks}
    # A tile of whole kernels and two of single taps, each with one step of the shortcut.
    assert taken["z"] == (9 + 1) + 2 * (1 + 1)
    assert taken["s"] == 3
    images = random_images(network, 2, 0)
    wanted = golden.run(network, images)
    for n, image in enumerate(images):
        for name, values in interpreted(program, network, image).items():
            assert np.array_equal(values, wanted[name][n]), name


def test_first_layer_is_folded():
    """AlexNet's conv1: 363 products in 23 lines of 16 in place of 121 (claim 21)."""
    weight = one_digit((96, 3, 11, 11))
    network = one_conv(weight, height=15, width=15, stride=(4, 4))
    assert steps(network) == [23] * 6
    assert steps(network, fold=False) == [121] * 6


def test_taps_that_no_filter_uses_are_not_folded():
    weight = one_digit((16, 1, 5, 5))
    weight[:, :, 0] = 0
    weight[:, :, :, 4] = 0
    assert steps(one_conv(weight)) == [1]                     # 16 of 25 taps: a line


def test_multipliers_walk_dense_kernels():
    weight = one_digit((32, 16, 3, 3))
    weight[:16, :, 0] = 0
    plain = replace(TN16, code=WeightCode.PRODUCT)
    assert sorted(steps(one_conv(weight), fold=False)) == [6, 9]
    arranged = arranged_first(one_conv(weight), plain, fold=False)
    assert [sum(map(len, tile)) for tile in arranged.steps] == [9, 9]


def test_depthwise_reads_its_own_tile():
    network = one_conv(one_digit((48, 1, 3, 3)), groups=48, padding=(1, 1, 1, 1))
    assert steps(network) == [9, 9, 9]


@pytest.mark.parametrize(("value", "count"), [(5, 2), (7, 2), (85, 4), (-127, 2), (0, 1)])
def test_digits_are_passes(value, count):
    weight = np.full((4, 4, 1, 1), value)
    arranged = arranged_first(one_conv(weight), CONFIG, fold=False)
    assert max(1, sum(map(len, arranged.steps[0]))) == count


def test_all_zero_weights_still_give_the_bias():
    weight = np.zeros((4, 4, 1, 1), np.int64)
    network = Network((Input("x", 4, 2, 2, 0, 255, 8),
                       Conv2d("y", "x", weight, int64([64, 128, -64, 0]), int64([0] * 4)),
                       codes("z", "y", 4, lo=-128, hi=127)))
    program = compile_network(network, CONFIG)
    found = interpreted(program, network, random_images(network, 1, 0)[0])
    assert found["z"][:, 0, 0].tolist() == [1, 2, -1, 0]


def test_every_load_lies_within_its_buffer():
    for _, program in compiled((1, 9, 12, 13)):
        config = program.config
        sizes = {Buffer.NBIN: config.nbin_lines, Buffer.SB: config.sb_lines * config.sb_words,
                 Buffer.TAPS: config.tap_count, Buffer.TABLE: 16 * config.entry_words,
                 Buffer.PARAMETERS: config.par_lines * config.par_words}
        words = {Buffer.SB: config.sb_words, Buffer.PARAMETERS: config.par_words,
                 Buffer.TABLE: config.entry_words}
        for one in program.instructions:
            if one.op is Op.LOAD:
                buffer = Buffer(one["buffer"])
                first = one["line"] * words.get(buffer, 1)
                assert first + one["cols"] * one["rows"] * one["planes"] <= sizes[buffer]


def test_constants_are_loaded_ahead(monkeypatch):
    """The next layer's weights come while this one computes."""
    network, config = chain(12, 2, 8), replace(CONFIG, memory_bytes=1 << 20)
    ahead = compile_network(network, config)
    monkeypatch.setattr(schedule, "AHEAD", 0)
    late = compile_network(network, config)
    assert estimate(ahead).cycles < estimate(late).cycles
    loads = [[one["cols"] for one in program.instructions
              if one.op is Op.LOAD and one["buffer"] == Buffer.SB] for program in (ahead, late)]
    assert sum(loads[0]) <= sum(loads[1])


def test_more_finishers_where_multipliers_have_digits():
    """Products of three digits keep the finishers busy; of one digit they do not."""
    for digits, many in ((0b10101, True), (1, False)):
        network = Network((
            Input("x", 8, 8, 8, 0, 255, 4), conv("c", "x", np.ones((8, 8, 3, 3), np.int64)),
            Requantise("r", "c", int64([digits] * 8), int64([0] * 8), int64([12] * 8), 0, 255, 4)))
        program = choose(network, tn=8, code="wide", axi=False)
        assert (program.config.finishers > 2) == many, digits


def test_chunks_and_partial_sums():
    """More input tiles than NBin holds: partial sums go through NBout."""
    weight = one_digit((8, 64, 3, 3))
    network = one_conv(weight, height=8, width=8, padding=(1, 1, 1, 1))
    small = replace(CONFIG, nbin_lines=128, sb_lines=64, tap_count=64)
    program = compile_network(network, small)
    computes = [one for one in program.instructions if one.op is Op.COMPUTE]
    assert any(not one["last"] for one in computes)
    images = random_images(network, 1, 0)
    assert np.array_equal(interpreted(program, network, images[0])["z"],
                          golden.run(network, images)["z"][0])


def test_regions_are_aligned_and_apart():
    for _, program in compiled((1, 10, 13)):
        end = len(program.image)
        for region in (*program.inputs, *program.results):
            assert region.address % 64 == 0
            assert region.address >= end
            end = region.address + region.words * program.config.word_bytes
        assert end <= program.size


def test_same_network_same_program():
    ((_, one), (_, other)) = compiled((10, 10))
    assert one.image == other.image


def test_estimate_adds_up():
    for _, program in compiled((0, 10)):
        found = estimate(program)
        assert sum(found.task_cycles) <= found.cycles
        words = sum(one["cols"] * one["rows"] * one["planes"]
                    for one in program.instructions if one.op is Op.LOAD)
        fetched = len(program.instructions) * 64
        assert found.read_bytes == words * program.config.word_bytes + fetched


def refused(network, config, words):
    with pytest.raises(HwgenError, match=words):
        compile_network(network, config)


def test_accumulator_too_narrow():
    weight = np.full((4, 64, 3, 3), 127)
    refused(one_conv(weight), replace(CONFIG, acc_bits=16, total_bits=32),
            "Layer 'y', weight: sums that fit accumulators of 16 bits needed")


def test_codes_too_wide():
    network = Network((Input("x", 4, 2, 2, -132, 123, 8), conv("y", "x", one_digit((4, 4, 1, 1))),
                       codes("z", "y", 4)))
    refused(network, CONFIG, "Layer 'x', lo, hi: codes of 8 bits needed, not -132..123")


def test_product_too_wide():
    network = Network((Input("x", 4, 2, 2, 0, 255, 8), conv("y", "x", one_digit((4, 4, 1, 1))),
                       Requantise("z", "y", int64([1] * 4), int64([1 << 50] * 4), int64([48] * 4),
                                  0, 255, 4)))
    refused(network, CONFIG, "Layer 'z', multiplier, offset: products of 48 bits needed")


def test_weight_too_large_for_multipliers():
    plain = replace(CONFIG, code=WeightCode.PRODUCT)
    refused(one_conv(np.full((4, 4, 1, 1), 128)), plain, "Layer 'y', weight: values within")


def test_weight_of_too_many_digits():
    refused(one_conv(np.full((4, 4, 1, 1), 1 << 12)), CONFIG,
            "Layer 'y', weight: at most 16 digits of shifts up to 7")


def test_window_too_large_for_the_buffers():
    weight = one_digit((4, 4, 5, 20))
    refused(one_conv(weight, height=8, width=24), replace(CONFIG, nbin_lines=64),
            "Layer 'y', kernel: a window that fits 64 lines of NBin")
