# amaranth: UnusedElaboratable=no
"""Activation against the formula in Python integers, written out here, and the golden model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from amaranth import Cat, Const, Module, Signal, signed, unsigned
from amaranth.sim import Simulator

from hwgen.network import Activation as ActivationLayer
from hwgen.network import int64
from hwgen.sim import golden
from hwgen.stream.activation import Activation, at_least, count
from tests.hwgen.stream.formats import check_pace, format_of, rounded, wide
from tests.hwgen.stream.harness import SEEDS, run


def golden_of(layer, x):
    """What the golden model makes of integers (N, C, H, W)."""
    return golden.activation(
        x, breakpoints=layer.breakpoints, slopes=layer.slopes, offsets=layer.offsets,
        shift=layer.shift, lo=layer.lo, hi=layer.hi,
    )


def table(breakpoints, slopes, offsets, shift, lo, hi):
    return ActivationLayer(
        "y", "x", int64(breakpoints), int64(slopes), int64(offsets), shift, lo, hi, 0
    )


def two_digits(value: float) -> int:
    """The nearest integer of at most two signed powers of two."""
    powers = [0, *(1 << n for n in range(16)), *(-1 << n for n in range(16))]
    return min((a + b for a in powers for b in powers), key=lambda near: abs(near - value))


def curve(function, reach, segments, shift, scale):
    """Straight pieces of a function on -reach..reach, in codes of 1/scale."""
    edges = np.linspace(-reach, reach, segments + 1).round().astype(int)
    ends = [scale * function(4 * edge / reach) for edge in edges]
    slopes = [
        0,
        *(
            two_digits((b - a) / (y - x) * 2**shift)
            for x, y, a, b in zip(edges, edges[1:], ends, ends[1:], strict=False)
        ),
        0,
    ]
    offsets = [round(ends[0] * 2**shift)]
    offsets += [
        round(a * 2**shift - slope * x)
        for x, a, slope in zip(edges, ends, slopes[1:], strict=False)
    ]
    offsets[-1] = round(ends[-1] * 2**shift)
    return edges.tolist(), slopes, offsets, shift


TABLES = {
    "tanh": table(*curve(math.tanh, 100, 8, 7, 127), -127, 127),
    "sigmoid": table(*curve(lambda x: 1 / (1 + math.exp(-x)), 90, 6, 8, 255), 0, 255),
    "one segment": table([], [3], [-20], 2, -10, 50),
    "one flat segment": table([], [0], [33], 3, -10, 50),
    "jumps": table([-50, -2, 0, 1, 90], [1, -6, 0, 24, -1, 5], [3, -9, 17, -40, 6, 0], 3, -100, 90),
    "shift 0": table([-3, 4], [-1, 2, 0], [0, 5, -7], 0, -128, 127),
    "breakpoints out of reach": table(
        [-3000, -200, 128, 999], [1, 5, -3, 7, 9], [4, 3, 2, 1, 0], 2, -90, 70
    ),
    "a breakpoint at each end": table([-128, 127], [9, -2, 9], [5, 6, -7], 1, -90, 70),
    "1 bit": table([0], [0, 0], [0, 1], 0, 0, 1),
    "16 bits": table([0], [256, -257], [9, 7], 0, -32768, 32767),
    "clip below": table([-64, 64], [-2, 2, -2], [-128, 128, 128], 1, 0, 32),
}


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("name", TABLES)
def test_activation(name, seed):
    """Every 8-bit code through every table, two channels at once."""
    layer = TABLES[name]
    source, format = format_of(layer, 2, -128, 127, pixels=256)
    dut = Activation(layer=layer, source=source, format=format)
    beats = [(x, 127 - x - 128) for x in range(-128, 128)]
    found, times = run(dut, beats, 256, seed=seed)

    def value(x):
        k = sum(edge <= x for edge in layer.breakpoints.tolist())
        return rounded(
            x * int(layer.slopes[k]) + int(layer.offsets[k]), layer.shift, layer.lo, layer.hi
        )

    assert found == [(value(a), value(b)) for a, b in beats]
    if seed is None:
        check_pace(dut, times)


def test_activation_follows_its_function():
    """The tables above are no nonsense: tanh and sigmoid within a few codes."""
    x = np.arange(-128, 128, dtype=np.int64).reshape(1, 1, 1, -1)
    for name, function, reach in [
        ("tanh", lambda x: 127 * np.tanh(x), 100),
        ("sigmoid", lambda x: 255 / (1 + np.exp(-x)), 90),
    ]:
        layer = TABLES[name]
        y = golden_of(layer, x)
        assert np.abs(y - function(4 * x / reach)).max() < 20


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_activation_of_wide_accumulators(seed):
    least, most = -(1 << 29), (1 << 29) - 1
    layer = table(
        [-(1 << 27), -5, 0, 1 << 26],
        [0, 1, 3, 2, 0],
        [-(1 << 20), 1 << 27, -9, 1 << 24, 1 << 28],
        22,
        -128,
        127,
    )
    rng = np.random.default_rng(0)
    values = rng.integers(least, most, (40, 1), endpoint=True)
    values[:8, 0] = [least, most, -(1 << 27) - 1, -(1 << 27), -6, -5, -1, (1 << 26)]
    dut = Activation(layer=layer, source=wide(least, most, 1, 40), format=wide(-128, 127, 1, 40))
    found, _ = run(dut, values.tolist(), 40, seed=seed)
    wanted = golden_of(layer, values.T.reshape(1, 1, 1, -1))
    assert [beat[0] for beat in found] == wanted.ravel().tolist()


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(("channels", "lanes"), [(6, 2), (5, 2), (3, 1)])
def test_activation_in_folds(channels, lanes, seed):
    layer = TABLES["jumps"]
    folds = -(-channels // lanes)
    source, format = format_of(layer, channels, -128, 127, lanes=lanes, pixels=5)
    values = np.random.default_rng(1).integers(-128, 128, (5, folds * lanes))
    values[:, channels:] = 0
    dut = Activation(layer=layer, source=source, format=format)
    found, _ = run(dut, values.reshape(-1, lanes).tolist(), 5 * folds, seed=seed)
    x = values[:, :channels].T[None, :, None]
    wanted = golden_of(layer, x)
    assert np.array_equal(np.array(found).reshape(5, -1)[:, :channels], wanted[0, :, 0].T)

@pytest.mark.parametrize("seed", range(24))
def test_random_functions(seed):
    """One to forty segments, slopes of none to two digits of either sign, any range of inputs."""
    rng = np.random.default_rng(seed)
    bits = int(rng.integers(2, 16))
    lo = int(rng.choice([0, -(1 << bits - 1)]))
    hi = lo + (1 << bits) - 1
    segments = int(rng.integers(1, min(40, 1 << bits)))
    edges = np.sort(rng.choice(np.arange(lo - 3, hi + 4), segments - 1, replace=False))
    digits = rng.integers(0, 3)
    slopes = sum((rng.choice([-1, 0, 1], segments) << rng.integers(0, 8, segments)
                  for _ in range(digits)), np.zeros(segments, np.int64))
    offsets = rng.integers(-(1 << bits + 7), 1 << bits + 7, segments)
    layer = table(edges, slopes, offsets, int(rng.integers(0, 9)), -100, 91)
    values = rng.integers(lo, hi, 400, endpoint=True)
    ends = np.clip(np.concatenate([edges, edges - 1, [lo, hi]]), lo, hi)
    values = np.concatenate([values, ends]).reshape(-1, 1)
    dut = Activation(layer=layer, source=wide(lo, hi, 1, len(values)),
                     format=wide(-100, 91, 1, len(values)))
    found, times = run(dut, values.tolist(), len(values))
    wanted = golden_of(layer, values.reshape(1, 1, 1, -1))
    assert [y for (y,) in found] == wanted.reshape(-1).tolist()
    check_pace(dut, times)


def value_of(expression):
    """An Amaranth expression of constants as a number."""
    result = Signal(8)
    seen = []
    m = Module()
    m.d.comb += result.eq(expression)

    async def bench(ctx):
        seen.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return seen[0]


@pytest.mark.parametrize("marks", range(20))
def test_count_of_marks(marks):
    for ones in range(marks + 1):
        bits = [Const(n < ones, 1) for n in range(marks)]
        assert value_of(Cat(*count(bits))) == ones


@pytest.mark.parametrize("shape", [unsigned(3), signed(3), signed(1), unsigned(1), signed(13)])
def test_comparison(shape):
    lo = -(1 << shape.width - 1) if shape.signed else 0
    hi = lo + (1 << shape.width) - 1
    numbers = range(lo, hi + 1) if shape.width < 5 else (lo, -1, 0, 1, 77, hi)
    for x in numbers:
        for edge in numbers:
            assert value_of(at_least(Const(x, shape), edge, shape)) == (x >= edge)


def test_unlike_formats():
    with pytest.raises(ValueError, match="2 folds of 1 lanes needed on both sides, not 1 of 2"):
        Activation(layer=table([], [1], [0], 0, 0, 1), source=wide(0, 1, 2, folds=2),
                   format=wide(0, 1, 2))
