# amaranth: UnusedElaboratable=no
"""Requantise and Activation against the formula in Python integers, written out here, and the
golden model."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from hwgen.network import Activation as ActivationLayer
from hwgen.network import Input, Network, int64
from hwgen.network import Requantise as RequantiseLayer
from hwgen.ranges import value_ranges
from hwgen.sim import golden
from hwgen.stream.beat import BeatFormat
from hwgen.stream.requantise import Activation, Requantise, lanes_agree
from tests.hwgen.stream.harness import SEEDS, run


def rounded(value: int, shift: int, lo: int, hi: int) -> int:
    return min(max((value + (1 << shift >> 1)) >> shift, lo), hi)


def format_of(layer, channels, lo, hi, lanes=None, pixels=1):
    """Formats of a layer's input lo..hi and its output, from the network's ranges."""
    source = Input("x", channels, 1, pixels, min(lo, 0), max(hi, 0), 0)
    network = Network((source, layer))
    values = value_ranges(network)
    return (
        BeatFormat.of(network.tensors["x"], values["x"], lanes=lanes),
        BeatFormat.of(network.tensors["y"], values["y"], lanes=lanes),
    )


def wide(lo, hi, channels, pixels=1, folds=1):
    """A format of accumulators, of any width."""
    lanes = -(-channels // folds)
    return BeatFormat((lo,) * lanes, (hi,) * lanes, channels, 1, pixels, folds)


def requantise(multiplier, offset, shift, lo, hi):
    return RequantiseLayer("y", "x", int64(multiplier), int64(offset), int64(shift), lo, hi, 0)


def check_pace(dut, times):
    assert times.taken == list(range(len(times.taken)))
    assert times.offered == [time + dut.latency for time in times.taken]


MULTIPLIERS = [1, -1, 0, 4, -8, 3, -3, 5, 7, -7, 37, 11, -13, 21, -64]


@pytest.mark.parametrize("shift", [0, 1, 4, 9])
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_every_8_bit_accumulator(multiplier, shift):
    """All of -128..127, several offsets and clips side by side as channels; latency 1 + digits."""
    offsets = [0, 1, -1, 77, -1000, 1 << shift >> 1]
    lo, hi = random.Random(multiplier).choice(
        [(0, 255), (-8, 7), (0, 1), (-128, 127), (-1, 0), (-32768, 32767)]
    )
    layer = requantise([multiplier] * 6, offsets, [shift] * 6, lo, hi)
    source, format = format_of(layer, 6, -128, 127, pixels=256)
    dut = Requantise(layer=layer, source=source, format=format)
    found, times = run(dut, [(a,) * 6 for a in range(-128, 128)], 256)
    assert found == [
        tuple(rounded(a * multiplier + offset, shift, lo, hi) for offset in offsets)
        for a in range(-128, 128)
    ]
    digits = sum(map(abs, nonadjacent(multiplier)))
    assert dut.latency == 1 + max(digits, 1)
    check_pace(dut, times)


def nonadjacent(value: int) -> list[int]:
    """Signed digits of the non-adjacent form, lowest first."""
    digits = []
    while value:
        digit = 2 - value % 4 if value % 2 else 0
        digits.append(digit)
        value = (value - digit) // 2
    return digits


def test_offsets_that_leave_one_code():
    """What lies wholly above or below the clip is constant; the comparators fall away."""
    layer = requantise([1, 1, 2, -1], [10**6, -(10**6), 0, 5], [3, 3, 0, 1], -4, 3)
    source, format = format_of(layer, 4, -8, 7, pixels=16)
    found, _ = run(
        Requantise(layer=layer, source=source, format=format), [(a,) * 4 for a in range(-8, 8)], 16
    )
    assert found == [
        (3, -4, min(max(2 * a, -4), 3), rounded(5 - a, 1, -4, 3)) for a in range(-8, 8)
    ]


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    ("width", "lo", "hi"), [(20, 0, 255), (33, -32768, 32767), (12, 0, 65535), (16, 0, 1)]
)
def test_random_channels(width, lo, hi, seed):
    """Random scales of up to three digits, each channel its own, extremes first."""
    rng = np.random.default_rng(width)
    channels, pixels = 5, 24
    powers = (1 << rng.integers(0, 6, (channels, 3))) * rng.choice([-1, 0, 1], (channels, 3))
    shift = rng.integers(0, width, channels)
    offset = rng.integers(-(1 << width), 1 << width, channels)
    layer = requantise(powers.sum(axis=1), offset, shift, lo, hi)
    least, most = -(1 << width - 1), (1 << width - 1) - 1
    values = rng.integers(least, most, (pixels, channels), endpoint=True)
    values[:3] = [[least] * channels, [most] * channels, [0] * channels]
    source = wide(least, most, channels, pixels)
    format = BeatFormat((lo,) * channels, (hi,) * channels, channels, 1, pixels)
    dut = Requantise(layer=layer, source=source, format=format)
    found, times = run(dut, values.tolist(), pixels, seed=seed)
    wanted = golden.requantise(
        values.T[None, :, None, :],
        multiplier=layer.multiplier,
        offset=layer.offset,
        shift=layer.shift,
        lo=lo,
        hi=hi,
    )
    assert np.array_equal(np.array(found), wanted[0, :, 0].T)
    if seed is None:
        check_pace(dut, times)


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(("channels", "folds"), [(6, 3), (5, 3), (7, 4), (4, 4), (3, 2)])
def test_folds(channels, folds, seed):
    """A lane serves several channels: their offsets differ, their scale does not."""
    lanes = -(-channels // folds)
    rng = np.random.default_rng(channels)
    shift = np.tile(rng.integers(0, 4, lanes), folds)[:channels]
    multiplier = np.tile(rng.choice([-3, 1, 5], lanes), folds)[:channels]
    offset = rng.integers(-60, 60, channels)
    layer = requantise(multiplier, offset, shift, -20, 30)
    source, format = format_of(layer, channels, -32, 31, lanes=lanes, pixels=7)
    dut = Requantise(layer=layer, source=source, format=format)
    values = rng.integers(-32, 32, (7, folds * lanes))
    values[:, channels:] = 0
    found, times = run(dut, values.reshape(-1, lanes).tolist(), 7 * folds, seed=seed)
    wanted = [
        [
            rounded(int(a) * int(m) + int(b), int(s), -20, 30)
            for a, m, b, s in zip(pixel, multiplier, offset, shift, strict=False)
        ]
        for pixel in values
    ]
    pixels = np.array(found).reshape(7, folds * lanes)
    assert pixels[:, :channels].tolist() == wanted
    assert not pixels[:, channels:].any()  # lanes past the last channel carry 0
    if seed is None:
        check_pace(dut, times)


def test_lanes_agree():
    layer = requantise([1, 2, 1, 2, 1], [9, 8, 7, 6, 5], [0, 3, 0, 3, 0], 0, 1)
    assert lanes_agree(layer, 2)
    assert lanes_agree(layer, 5)
    assert not lanes_agree(layer, 1)
    assert not lanes_agree(layer, 3)


def test_lanes_that_differ():
    with pytest.raises(
        ValueError, match="Channels that share a lane must have one multiplier and one shift"
    ):
        Requantise(
            layer=requantise([1, 2], [0, 0], [0, 0], 0, 1),
            source=wide(0, 1, 2, folds=2),
            format=wide(0, 1, 2, folds=2),
        )


@pytest.mark.parametrize("kind", [Requantise, Activation])
def test_unlike_formats(kind):
    with pytest.raises(ValueError, match="2 folds of 1 lanes needed on both sides, not 1 of 2"):
        kind(
            layer=requantise([1, 1], [0, 0], [0, 0], 0, 1),
            source=wide(0, 1, 2, folds=2),
            format=wide(0, 1, 2),
        )


# --- activations -------------------------------------------------------------------------------


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
        y = golden.activation(
            x,
            breakpoints=layer.breakpoints,
            slopes=layer.slopes,
            offsets=layer.offsets,
            shift=layer.shift,
            lo=layer.lo,
            hi=layer.hi,
        )
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
    wanted = golden.activation(
        values.T[None, :, None],
        breakpoints=layer.breakpoints,
        slopes=layer.slopes,
        offsets=layer.offsets,
        shift=22,
        lo=-128,
        hi=127,
    )
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
    wanted = golden.activation(
        x,
        breakpoints=layer.breakpoints,
        slopes=layer.slopes,
        offsets=layer.offsets,
        shift=layer.shift,
        lo=layer.lo,
        hi=layer.hi,
    )
    assert np.array_equal(np.array(found).reshape(5, -1)[:, :channels], wanted[0, :, 0].T)
