# amaranth: UnusedElaboratable=no
"""Requantise against the formula in Python integers, written out here, and the golden model."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hwgen.network import Requantise as RequantiseLayer
from hwgen.network import int64
from hwgen.sim import golden
from hwgen.stream.beat import BeatFormat
from hwgen.stream.requantise import Requantise, lanes_agree
from tests.hwgen.stream.formats import check_pace, format_of, rounded, wide
from tests.hwgen.stream.harness import SEEDS, run


def requantise(multiplier, offset, shift, lo, hi):
    return RequantiseLayer("y", "x", int64(multiplier), int64(offset), int64(shift), lo, hi, 0)


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


def test_unlike_formats():
    with pytest.raises(ValueError, match="2 folds of 1 lanes needed on both sides, not 1 of 2"):
        Requantise(
            layer=requantise([1, 1], [0, 0], [0, 0], 0, 1),
            source=wide(0, 1, 2, folds=2),
            format=wide(0, 1, 2),
        )
