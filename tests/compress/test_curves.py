"""Activation tables against the functions, and their bounds."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.compress import curves
from hwgen.compress.methods.piecewise import Objective
from hwgen.errors import HwgenError
from hwgen.layers import signed_digits

EXACT = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


@pytest.mark.parametrize("function", EXACT)
@pytest.mark.parametrize(("segments", "bound"), [(4, 0.07), (8, 0.02), (16, 0.009)])
def test_error_is_true_and_small(function, segments, bound):
    table = curves.fit(function, lo=-1024, hi=1023, frac=8, segments=segments)
    x = np.arange(-1024, 1024)
    _, _, frac = curves.output_format(function, 8)
    y = []
    for code in x.tolist():  # the definition, one code at a time in whole numbers
        k = sum(code >= t for t in table.breakpoints.tolist())
        half = 1 << table.shift >> 1
        value = (code * int(table.slopes[k]) + int(table.offsets[k]) + half) >> table.shift
        y.append(min(max(value, table.lo), table.hi))
    worst = np.abs(np.array(y) / 2.0**frac - EXACT[function](x / 256)).max()
    assert table.error == pytest.approx(worst)
    assert worst < bound


@pytest.mark.parametrize("function", EXACT)
@pytest.mark.parametrize("digits", [1, 2])
def test_slopes_have_few_digits(function, digits):
    table = curves.fit(function, lo=-512, hi=511, frac=7, segments=12, digits=digits)
    assert max(map(signed_digits, table.slopes.tolist())) <= digits
    assert table.slopes.size <= 12
    assert np.all(np.diff(table.breakpoints) > 0)


def test_uniform_segments_are_worse():
    """Optimised breakpoints beat 16 segments of equal width (0.0075 for sigmoid on [-8, 8))."""
    table = curves.fit("sigmoid", lo=-4096, hi=4095, frac=9, bits=12, segments=16)
    assert table.error < 0.0075


@pytest.mark.parametrize(
    ("lo", "hi", "frac", "bits"),
    [
        (-2, 1, 0, 8),
        (-128, 127, 2, 4),
        (-16, 15, 4, 8),
        (-32768, 32767, 12, 15),
        (-512, 511, 7, 16),
    ],
)
def test_odd_formats(lo, hi, frac, bits):
    table = curves.fit("tanh", lo=lo, hi=hi, frac=frac, bits=bits)
    x = np.arange(lo, hi + 1)
    out_lo, out_hi, out_frac = curves.output_format("tanh", bits)
    y = curves.evaluate(table, x)
    assert y.min() >= out_lo
    assert y.max() <= out_hi
    assert np.abs(y / 2.0**out_frac - np.tanh(x / 2.0**frac)).max() == pytest.approx(table.error)
    assert table.error < 0.02 + 2.0**-out_frac


# Largest errors of 16 uniform segments in 10 fractional bits: interpolating, and with the best
# offset of each.
UNIFORM = {("sigmoid", 8): (0.0134, 0.0075), ("tanh", 4): (0.0240, 0.0133)}


@pytest.mark.parametrize(("function", "reach"), UNIFORM)
@pytest.mark.parametrize("digits", [1, 2])
def test_optimised_breakpoints_beat_uniform_ones(function, reach, digits):
    """16 segments, slopes powers of two or two digits, inputs of 10 fractional bits."""
    x = np.arange(-reach << 10, reach << 10)
    table = curves.fit(function, lo=int(x[0]), hi=int(x[-1]), frac=10, bits=11, digits=digits)
    assert table.slopes.size <= 16
    _, _, frac = curves.output_format(function, 11)
    worst = np.abs(np.ldexp(1.0 * curves.evaluate(table, x), -frac) - EXACT[function](x / 1024))
    assert table.error == pytest.approx(worst.max())
    assert table.error < UNIFORM[function, reach][1]
    assert max(map(signed_digits, table.slopes.tolist())) <= digits


def test_mean_square_under_a_density():
    x = np.arange(-1024, 1024)
    density = np.exp(-((x / 256) ** 2))
    kwargs = {"lo": -1024, "hi": 1023, "frac": 8, "bits": 10, "segments": 8}
    largest = curves.fit("tanh", **kwargs)
    square = curves.fit("tanh", **kwargs, objective=Objective.SQUARE, density=density)
    wrong = np.ldexp(1.0 * curves.evaluate(square, x), -9) - np.tanh(x / 256)
    assert square.rms == pytest.approx(np.sqrt(np.average(wrong**2, weights=density)))
    by_largest = np.ldexp(1.0 * curves.evaluate(largest, x), -9) - np.tanh(x / 256)
    assert square.rms < 0.8 * np.sqrt(np.average(by_largest**2, weights=density))
    assert largest.error < square.error


@pytest.mark.parametrize(
    ("function", "output", "bound"),
    [
        (lambda x: x / (1 + np.exp(-x)), (-128, 1023, 7), 0.02),  # SiLU: slopes above 1, below 0
        (lambda x: np.exp(-x * x), (0, 255, 8), 0.02),
        (lambda x: 3 * np.sin(x), (-511, 511, 7), 0.25),  # falls and rises, slopes up to 3
        (lambda x: np.full_like(x, 0.25), (0, 255, 8), 1e-12),
        (lambda x: 100 * x, (-128, 127, 7), 0.02 + 399),  # clipped nearly everywhere
    ],
)
def test_any_function(function, output, bound):
    x = np.arange(-1024, 1024)
    table = curves.fit(function, lo=-1024, hi=1023, frac=8, output=output, segments=12)
    y = curves.evaluate(table, x)
    assert y.min() >= output[0]
    assert y.max() <= output[1]
    assert table.error == pytest.approx(np.abs(y / 2.0 ** output[2] - function(x / 256)).max())
    assert table.error < bound
    assert max(map(signed_digits, table.slopes.tolist())) <= 2


def test_functions_and_ranges_that_are_wrong():
    with pytest.raises(HwgenError, match="needs the format of its output codes"):
        curves.fit(np.tanh, lo=-8, hi=7, frac=2)
    with pytest.raises(HwgenError, match="finite function over the range"):
        curves.fit(lambda x: np.where(x == 0, np.nan, x), lo=-8, hi=7, frac=2, output=(-9, 9, 2))
    with pytest.raises(HwgenError, match="Input codes needed: 2 to 131072, not 7..7"):
        curves.fit("tanh", lo=7, hi=7, frac=2)


def test_options_wrong():
    with pytest.raises(HwgenError, match="3 segments or more"):
        curves.fit("tanh", lo=-8, hi=7, frac=2, segments=2)
