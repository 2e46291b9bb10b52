# amaranth: UnusedElaboratable=no
from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from hwgen.network import MaxPool
from hwgen.stream.beat import BeatFormat, packed
from hwgen.stream.largest import ArgMax, RunningArgMax, WindowMax
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import SEEDS, run


def maximum(taps, lo, hi, pixels):
    format = BeatFormat(lo, hi, len(lo), 1, pixels)
    return WindowMax(layout=packed(lo * taps, hi * taps), taps=taps, format=format)


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(("taps", "latency"), [(1, 0), (2, 1), (3, 2), (4, 2), (9, 4)])
def test_window_max(taps, latency, seed):
    lo, hi = (-4, 0, -1), (3, 255, 0)
    rng = np.random.default_rng(taps)
    beats = rng.integers(lo * taps, np.array(hi * taps) + 1, (40, 3 * taps))
    dut = maximum(taps, lo, hi, 40)
    found, times = run(dut, beats.tolist(), 40, seed=seed)
    assert found == [tuple(row) for row in beats.reshape(40, taps, 3).max(axis=1).tolist()]
    assert dut.latency == latency
    if seed is None:
        assert times.taken == list(range(40))
        assert times.offered == [time + latency for time in times.taken]


@pytest.mark.parametrize(("lo", "hi"), [(0, 3), (-2, 1), (-3, 0)])
def test_window_max_of_all(lo, hi):
    """Every window of four 2-bit codes."""
    beats = list(itertools.product(range(lo, hi + 1), repeat=4))
    assert run(maximum(4, (lo,), (hi,), len(beats)), beats, len(beats))[0] == [
        (max(beat),) for beat in beats
    ]


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "shape", "lo", "hi"),
    [
        ((2, 2), (2, 2), (0, 0, 0, 0), (2, 5, 4), 0, 255),
        ((3, 3), (2, 2), (1, 1, 1, 1), (2, 4, 5), -9, -0),
        ((3, 2), (1, 1), (2, 1, 0, 0), (1, 3, 4), -8, 7),
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 2, 3), -8, 7),
        ((2, 1), (1, 1), (1, 0, 1, 0), (3, 4, 1), -8, 7),
    ],
)
def test_max_pool(kernel, stride, padding, shape, lo, hi, seed):
    """Padding never wins, at the very first image either."""
    layer = MaxPool("y", "x", kernel, stride, padding)
    _, found, wanted, _ = layers.through(layer, layers.image_input(shape, lo, hi), seed=seed)
    assert found == wanted


def scores(lo, hi, pixels):
    return BeatFormat(lo, hi, len(lo), 1, pixels)


def expected(beats):
    """The lowest index of the largest score, the scores behind it."""
    return [(beat.index(max(beat)), *beat) for beat in map(list, beats)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_arg_max(count):
    """All scores of -1..1: every tie there is."""
    beats = list(itertools.product((-1, 0, 1), repeat=count))
    dut = ArgMax(source=scores((-1,) * count, (1,) * count, len(beats)))
    found, times = run(dut, beats, len(beats))
    assert found == expected(beats)
    assert dut.latency == {1: 0, 2: 1, 3: 2, 4: 2, 5: 3}[count]
    assert times.offered == [time + dut.latency for time in times.taken]
    assert times.taken == list(range(len(beats)))


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("count", [6, 10, 17])
def test_arg_max_of_unlike_scores(count, seed):
    """Signed and unsigned scores of 1 to 20 bits; ties across the widths."""
    chance = random.Random(count)
    lo = tuple(chance.choice([0, -1, -40, -(1 << 19)]) for _ in range(count))
    hi = tuple(chance.choice([1, 40, 1 << 19]) for _ in range(count))
    beats = [
        tuple(
            chance.choice([0, 1, a, b, chance.randint(a, b)]) for a, b in zip(lo, hi, strict=True)
        )
        for _ in range(60)
    ]
    beats[:3] = [lo, hi, (0,) * count]
    dut = ArgMax(source=scores(lo, hi, 60))
    assert run(dut, beats, 60, seed=seed)[0] == expected(beats)


def test_arg_max_of_folds():
    with pytest.raises(ValueError, match="Whole pixels are needed, not 2 folds"):
        ArgMax(source=BeatFormat((0,), (1,), 2, 1, 1, 2))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [2, 3, 10])
def test_running_argmax(count, seed):
    """Scores one after the other: the lowest index wins a tie, all scores come along."""
    rng = np.random.default_rng(count)
    scores = rng.integers(-4, 4, (20, count))
    scores[0], scores[1] = -4, 3
    source = BeatFormat((-4,), (3,), count, 1, 1, count)
    dut = RunningArgMax(source=source, whole=BeatFormat((-4,) * count, (3,) * count, count, 1, 1))
    found, times = run(dut, [(score,) for score in scores.ravel().tolist()], 20, seed=seed)
    wanted = [(int(np.argmax(row)), *row.tolist()) for row in scores]
    assert found == wanted
    if seed is None:
        assert times.offered[:1] == dut.departures(np.arange(count)).tolist()
