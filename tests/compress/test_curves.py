"""Activation tables against the functions, and their bounds."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.compress import curves
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


def test_options_wrong():
    with pytest.raises(HwgenError, match="3 segments or more"):
        curves.fit("tanh", lo=-8, hi=7, frac=2, segments=2)
