# amaranth: UnusedElaboratable=no
from __future__ import annotations

import random

import numpy as np
import pytest
from amaranth import signed
from amaranth.sim import Simulator

from hwgen.stream.beat import BeatFormat
from hwgen.stream.join import Fifo, Join, Sum
from tests.hwgen.stream.harness import SEEDS, Sink, Source, exchange, port, run

BEATS = [(n,) for n in range(-30, 30)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 8])
def test_fifo(depth, seed):
    dut = Fifo(shape=signed(6), depth=depth)
    found, times = run(dut, BEATS, len(BEATS), seed=seed)
    assert found == BEATS
    if seed is None:
        assert times.offered[0] - times.taken[0] == dut.latency
        if depth > 1:  # one beat a cycle
            assert times.taken == list(range(len(BEATS)))


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 9])
def test_fifo_holds_exactly_its_depth(depth):
    dut = Fifo(shape=signed(6), depth=depth)
    taken = []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for _ in range(depth + 6):
            taken.append(ctx.get(dut.i.ready))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert sum(taken) == depth


def test_fifo_without_room():
    with pytest.raises(ValueError, match="A FIFO needs a depth of at least 1, not 0"):
        Fifo(shape=1, depth=0)


def whole(lo, hi, height=2, width=3):
    return BeatFormat(lo, hi, len(lo), height, width)


def pixels(format, seed, images=4):
    rng = random.Random(seed)
    return [
        tuple(rng.randint(lo, hi) for lo, hi in zip(format.lo, format.hi, strict=True))
        for _ in range(format.beats * images)
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "formats",
    [
        [whole((0,), (7,)), whole((-4, 0), (3, 1))],
        [whole((-1,), (0,)), whole((-32768, 0), (32767, 65535)), whole((0, 0, 0), (1, 2, 0))],
    ],
    ids=len,
)
def test_join(formats, seed):
    """Beats come together in pairs, each source with gaps of its own."""
    dut = Join(formats=formats)
    beats = [pixels(format, n) for n, format in enumerate(formats)]
    sources = [Source(port(getattr(dut, f"i{n}")), each) for n, each in enumerate(beats)]
    sink = Sink(port(dut.o), len(beats[0]))
    exchange(dut, sources, [sink], seed=seed)
    assert sink.found == [
        tuple(value for beat in together for value in beat) for together in zip(*beats, strict=True)
    ]
    if seed is None:
        assert sources[0].taken == sink.offered == list(range(len(beats[0])))


@pytest.mark.parametrize("other", [whole((0,), (1,), 3, 2), BeatFormat((0,), (1,), 2, 2, 3, 2)])
def test_join_of_unlike_streams(other):
    with pytest.raises(
        ValueError,
        match=f"Whole pixels of 2x3 images needed, not {other.folds} folds of "
        f"{other.height}x{other.width}",
    ):
        Join(formats=[whole((0,), (1,)), other])


def summed(formats, shifts, beats, seed):
    """Send beats (all tensors' lanes one after the other) through a Sum of the range that these
    bounds give."""
    lanes = formats[0].lanes
    lo = tuple(
        sum(f.lo[n] << s for f, s in zip(formats, shifts, strict=True)) for n in range(lanes)
    )
    hi = tuple(
        sum(f.hi[n] << s for f, s in zip(formats, shifts, strict=True)) for n in range(lanes)
    )
    source = whole(sum((f.lo for f in formats), ()), sum((f.hi for f in formats), ()))
    dut = Sum(source=source, shifts=shifts, format=whole(lo, hi))
    return dut, *run(dut, beats, len(beats), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("ranges", "shifts"),
    [
        ([((0,), (3,)), ((-4,), (3,))], (0, 0)),
        ([((0, -2), (3, 1)), ((-1, -2), (0, 1))], (2, 0)),
        ([((-4,), (3,)), ((-4,), (3,)), ((0,), (7,))], (0, 1, 3)),
        ([((-32768,), (32767,)), ((0,), (65535,)), ((-1,), (0,)), ((0,), (1,))], (0, 3, 15, 31)),
    ],
    ids=str,
)
def test_sum(ranges, shifts, seed):
    formats = [whole(lo, hi) for lo, hi in ranges]
    parts = [pixels(format, n) for n, format in enumerate(formats)]
    # All lanes at their least and most come first.
    beats = [sum((f.lo for f in formats), ()), sum((f.hi for f in formats), ())]
    beats += [sum(together, ()) for together in zip(*parts, strict=True)]
    dut, found, times = summed(formats, shifts, beats, seed)
    lanes = formats[0].lanes
    values = np.array(beats, dtype=object).reshape(len(beats), len(formats), lanes)
    weights = np.array([1 << shift for shift in shifts], dtype=object)
    assert found == [tuple(row) for row in (values * weights[:, None]).sum(axis=1).tolist()]
    if seed is None:
        assert dut.latency == len(shifts) - 1
        assert times.taken == list(range(len(beats)))
        assert times.offered == [time + dut.latency for time in times.taken]


def test_sum_of_all_small_codes():
    """Every pair of a 3-bit signed and a 3-bit unsigned code."""
    formats = [whole((-4,), (3,)), whole((0,), (7,))]
    beats = [(a, b) for a in range(-4, 4) for b in range(8)]
    _, found, _ = summed(formats, (1, 0), beats, None)
    assert found == [(2 * a + b,) for a, b in beats]


def test_sum_of_wrong_lanes():
    with pytest.raises(ValueError, match="2 times 2 lanes needed, not 3"):
        Sum(source=whole((0,) * 3, (1,) * 3), shifts=(0, 0), format=whole((0, 0), (2, 2)))
