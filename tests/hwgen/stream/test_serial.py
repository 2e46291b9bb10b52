# amaranth: UnusedElaboratable=no
"""Layers with windows whose words come a digit a cycle, beside the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import AvgPool
from hwgen.stream.plan import Options
from hwgen.stream.serial import SerialLinear
from tests.hwgen.stream import layers
from tests.hwgen.stream.test_linear import AROUND, CONVOLUTIONS

NAMES = list(CONVOLUTIONS)


@pytest.mark.parametrize("n", range(len(NAMES)))
def test_convolution(n):
    """Every geometry, gaps on both sides, digits of 1 to 4 bits."""
    layer, shape, lo, hi = CONVOLUTIONS[NAMES[n]]
    source = layers.image_input(shape, lo, hi)
    dut, found, wanted, _ = layers.through(
        layer, source, seed=n, count=3, options=Options(digit=n % 4 + 1)
    )
    assert isinstance(dut, SerialLinear)
    assert found == wanted


@pytest.mark.parametrize("name", ["3x3", "padded, stride 2", "dilated", "one row", "one pixel"])
def test_pace(name):
    """Flat out: pixels are taken and results offered in the cycles that the walk says."""
    layer, shape, lo, hi = CONVOLUTIONS[name]
    source = layers.image_input(shape, lo, hi)
    digit = 2 if name == "3x3" else 3
    dut, found, wanted, times = layers.through(
        layer, source, seed=None, count=4, options=Options(digit=digit)
    )
    assert found == wanted
    pixels, beats = shape[1] * shape[2], len(wanted) // 4
    walk, ready = dut.window.walk, (0, 0)
    taken, offered = [], []
    for _ in range(4):
        gone, begun, ready = walk.run(np.zeros(pixels, np.int64), ready)
        taken += gone.tolist()
        offered += (begun + dut.latency).tolist()
    start = times.taken[pixels] - taken[pixels]              # the first image waits for the walk
    assert times.taken[pixels:] == [start + time for time in taken[pixels:]]
    assert times.offered[beats:] == [start + time for time in offered[beats:]]
    assert times.taken[3 * pixels] - times.taken[2 * pixels] <= dut.interval


@pytest.mark.parametrize("seed", [None, 1])
def test_average(seed):
    layer = AvgPool("y", "x", (3, 3), (1, 1), AROUND)
    source = layers.image_input((2, 4, 3), -8, 7)
    dut, found, wanted, _ = layers.through(layer, source, seed=seed, options=Options(digit=2))
    assert isinstance(dut, SerialLinear)
    assert found == wanted


def test_digit_wrong():
    with pytest.raises(HwgenError, match="digit: 0 or more bits needed, not -1"):
        Options(digit=-1)
