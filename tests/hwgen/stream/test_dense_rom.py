# amaranth: UnusedElaboratable=no
"""The dense layer in time against a plain matrix product."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.network import Dense, Flatten, Network, int64
from hwgen.sim import golden
from hwgen.stream.beat import BeatFormat
from hwgen.stream.build import build_layer
from hwgen.stream.dense_code import DenseCode
from hwgen.stream.dense_rom import DenseRom, Weights
from hwgen.stream.plan import Options, make_plan
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import SEEDS, run


def unit(weight, bias, lo, hi, lanes, terms):
    """A unit over (outputs, words, places) weights; its output's range from the weights."""
    weight, bias = int64(weight), int64(bias)
    outputs, words, places = weight.shape
    flat = weight.reshape(outputs, -1)
    xlo, xhi = np.tile(lo, words), np.tile(hi, words)
    plus, minus = np.maximum(flat, 0), np.minimum(flat, 0)
    least, most = (
        (plus @ xlo + minus @ xhi + bias).tolist(),
        (plus @ xhi + minus @ xlo + bias).tolist(),
    )
    folds = -(-outputs // lanes)
    short = folds * lanes > outputs
    out = BeatFormat(
        tuple(min([*least[n::lanes], *([0] * short)]) for n in range(lanes)),
        tuple(max([*most[n::lanes], *([0] * short)]) for n in range(lanes)),
        outputs,
        1,
        1,
        folds,
    )
    source = BeatFormat(tuple(lo), tuple(hi), places, 1, words)
    return DenseRom(code=DenseCode(weight, lanes, terms), bias=bias, source=source, format=out)


def check(dut, x, seed):
    """Send images (N, words, places); compare all sums; return times."""
    weight, bias = dut.code.weight, dut.bias
    beats = [tuple(beat) for beat in x.reshape(-1, x.shape[2]).tolist()]
    found, times = run(dut, beats, len(x) * dut.code.slots, seed=seed)
    sums = np.array(found, dtype=object).reshape(len(x), -1)
    wanted = (
        x.reshape(len(x), -1).astype(object) @ weight.reshape(len(weight), -1).T.astype(object)
        + bias
    )
    assert np.array_equal(sums[:, : len(weight)], wanted)
    return times


def codes(lo, hi, images, words, seed=0):
    x = np.random.default_rng(seed).integers(lo, np.array(hi) + 1, (images, words, len(lo)))
    x[0], x[1] = lo, hi
    return x


RNG = np.random.default_rng(0)
CASES = {
    # name: weights (outputs, words, places), bias or 0, lo, hi of the places, lanes, terms
    "one lane": (RNG.integers(-30, 31, (3, 2, 2)), 0, (-8, 0), (7, 15), 1, 1),
    "two lanes, odd outputs, bias": (
        RNG.integers(-30, 31, (5, 2, 3)),
        RNG.integers(-999, 999, 5),
        (0,) * 3,
        (255,) * 3,
        2,
        1,
    ),
    "all lanes": (RNG.integers(-5, 6, (3, 3, 2)), 0, (-4,) * 2, (3,) * 2, 3, 1),
    "two terms of three places": (
        RNG.integers(-30, 31, (4, 2, 3)),
        [1, 0, 0, -1],
        (-8,) * 3,
        (7,) * 3,
        2,
        2,
    ),
    "all terms": (RNG.integers(-30, 31, (4, 2, 3)), 0, (0, -1, -8), (1, 0, 7), 2, 3),
    "one pass": (
        (1 << RNG.integers(0, 6, (4, 2, 2))) * RNG.choice([-1, 1], (4, 2, 2)),
        0,
        (-8,) * 2,
        (7,) * 2,
        2,
        1,
    ),
    "three passes": (np.array([[[37, -43]], [[21, 11]]]), 0, (-8,) * 2, (7,) * 2, 1, 1),
    "one step": ([[[-4]], [[2]]], [0, 5], (-8,), (7,), 2, 1),
    "one step a slot": ([[[-4]], [[2]], [[0]]], 0, (0,), (7,), 1, 1),
    "positive weights": (RNG.integers(0, 9, (3, 2, 2)), 0, (0,) * 2, (7,) * 2, 2, 1),
    "same power": (np.full((3, 2, 2), 8), 0, (-1,) * 2, (1,) * 2, 1, 2),
    "all zero": (np.zeros((3, 2, 2), int), 0, (-8,) * 2, (7,) * 2, 2, 1),
    "all zero, bias": (np.zeros((3, 2, 2), int), [7, -7, 0], (-8,) * 2, (7,) * 2, 2, 1),
    "most negative": (np.full((2, 3, 2), -(1 << 20)), [-5, -5], (-32768,) * 2, (32767,) * 2, 1, 1),
    "wide unsigned": (RNG.integers(-3000, 3000, (2, 2, 1)), 0, (0,), (65535,), 1, 1),
    "1 bit": (RNG.integers(-1, 2, (4, 4, 1)), 0, (0,), (1,), 2, 1),
    "-1 and 0": (RNG.integers(-7, 8, (4, 2, 2)), 0, (-1,) * 2, (0,) * 2, 4, 2),
    "one word": (RNG.integers(-9, 10, (6, 1, 8)), 0, (-8,) * 8, (7,) * 8, 3, 8),
    "sparse": (RNG.choice([0, 0, 0, 12, -5], (4, 3, 3)), 0, (0,) * 3, (15,) * 3, 2, 2),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_sums(name, seed):
    weight, bias, lo, hi, lanes, terms = CASES[name]
    weight = np.asarray(weight)
    bias = np.zeros(len(weight), int) if isinstance(bias, int) else np.asarray(bias)
    dut = unit(weight, bias, lo, hi, lanes, terms)
    times = check(dut, codes(lo, hi, 6, weight.shape[1]), seed)
    if seed is None:
        words, slots = dut.code.words, dut.code.slots
        assert times.offered[0] - times.taken[words - 1] == dut.latency
        assert [b - a for a, b in itertools.pairwise(times.offered[:slots])] == [dut.code.steps] * (
            slots - 1
        )
        firsts = times.offered[::slots]
        assert [b - a for a, b in itertools.pairwise(firsts[1:])] == [dut.interval] * 4


@pytest.mark.parametrize("pace", [0.1, 0.03])
def test_output_held_up(pace):
    """Each result is taken long after the next one is ready: the unit has to wait, and loses
    nothing."""
    weight = RNG.integers(-30, 31, (4, 2, 2))
    dut = unit(weight, np.zeros(4, int), (-8,) * 2, (7,) * 2, 1, 2)
    x = codes((-8,) * 2, (7,) * 2, 5, 2)
    found, _ = run(
        dut, [tuple(beat) for beat in x.reshape(-1, 2).tolist()], 20, seed=3, pace=pace, limit=20000
    )
    assert [beat[0] for beat in found] == (
        x.reshape(5, -1) @ weight.reshape(4, -1).T
    ).ravel().tolist()


def test_every_4_bit_code_and_small_weight():
    """All codes -8..7 by all weights -12..12, one place, one word: what a lane's shifter does."""
    weight = np.arange(-12, 13).reshape(25, 1, 1)
    for lo, hi in ((-8, 7), (0, 15)):
        dut = unit(weight, np.zeros(25, int), (lo,), (hi,), 25, 1)
        check(dut, np.arange(lo, hi + 1).reshape(-1, 1, 1), None)


def test_reset_in_the_middle_of_an_image():
    weight = RNG.integers(-30, 31, (3, 4, 1))
    dut = unit(weight, np.zeros(3, int), (-8,), (7,), 2, 1)
    x = codes((-8,), (7,), 2, 4)
    beats = [(3,), (4,), (5,), None, *[tuple(beat) for beat in x.reshape(-1, 1).tolist()]]
    found, _ = run(dut, beats, 4, seed=1)
    sums = x.reshape(2, -1) @ weight.reshape(3, -1).T
    assert [tuple(beat) for beat in found] == [
        pair for one in sums.tolist() for pair in ((one[0], one[1]), (one[2], found[1][1]))
    ]
    assert [beat[1] for beat in found[1::2]] == [0, 0]  # a lane past the last output


def test_weights_memory():
    """Two cycles from address to codes, none while not enabled."""
    code = DenseCode(int64(RNG.integers(-30, 31, (3, 2, 2))), 2)
    dut = Weights(code=code)
    words = code.memory()

    async def bench(ctx):
        ctx.set(dut.enable, 1)
        for address in range(len(words) + dut.latency):
            ctx.set(dut.address, min(address, len(words) - 1))
            if address >= dut.latency:
                assert ctx.get(dut.codes) == words[address - dut.latency]
                ctx.set(dut.enable, 0)
                await ctx.tick()
                assert ctx.get(dut.codes) == words[address - dut.latency]
                ctx.set(dut.enable, 1)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("interval", [None, 12, 60, 400])
@pytest.mark.parametrize("shape", [(2, 2, 3), (5, 1, 1)])
def test_planned(shape, interval, seed):
    """As the planner builds it, whatever pace is asked for; folded outputs in order."""
    source = layers.image_input(shape, -8, 7)
    size = int(np.prod(shape))
    weight = np.random.default_rng(size).integers(-20, 21, (7, size))
    dense = Dense("y", "flat", int64(weight), int64(range(7)), int64([0] * 7))
    network = Network((source, Flatten("flat", "x"), dense))
    plan = make_plan(network, Options(dense="rom", interval=interval))
    dut = build_layer(plan["y"], plan, layers.make_graph)
    x = layers.images(source, 4)
    lanes = plan["y"].format.lanes
    wanted = layers.beats_of(golden.run(network, x)["y"], lanes)
    found, _ = run(dut, layers.beats_of(x), len(wanted), seed=seed)
    used = min(7, plan["y"].format.folds * lanes)
    assert np.array_equal(
        np.array(found).reshape(4, -1)[:, :used], np.array(wanted).reshape(4, -1)[:, :used]
    )


@pytest.mark.parametrize(("words", "places"), [(3, 2), (2, 1)])
def test_words_that_do_not_fit(words, places):
    code = DenseCode(int64(np.ones((2, 2, 2), int)), 1)
    with pytest.raises(ValueError, match=f"{words} words of {places} places needed"):
        DenseRom(
            code=code,
            bias=int64([0, 0]),
            source=BeatFormat((0,) * places, (1,) * places, places, 1, words),
            format=BeatFormat((0,), (9,), 2, 1, 1, 2),
        )


def test_outputs_that_do_not_fit():
    code = DenseCode(int64(np.ones((2, 2, 2), int)), 1)
    with pytest.raises(ValueError, match="2 folds of 1 lanes needed, not 1 of 2"):
        DenseRom(
            code=code,
            bias=int64([0, 0]),
            source=BeatFormat((0,) * 2, (1,) * 2, 2, 1, 2),
            format=BeatFormat((0, 0), (9, 9), 2, 1, 1),
        )
