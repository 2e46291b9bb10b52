"""Single numbers as dyadic rationals, against all numbers of so many digits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.compress.methods.elements import round_bits, round_digits, round_digits_whole
from hwgen.cost import digit_count
from hwgen.errors import HwgenError

WHOLE = np.arange(1 << 14)


@pytest.mark.parametrize("digits", [0, 1, 2, 3, 4])
def test_nearest_of_so_many_digits(digits):
    allowed = WHOLE[digit_count(WHOLE) <= digits]
    values = np.arange(0, 6000, 7)
    found = np.array([round_digits_whole(int(value), digits) for value in values])
    assert digit_count(found).max() <= digits
    least = np.abs(values[:, None] - allowed).min(1)
    np.testing.assert_array_equal(np.abs(found - values), least)
    np.testing.assert_array_equal(
        [round_digits_whole(-int(value), digits) for value in values], -found
    )


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_fractions(digits):
    values = np.random.default_rng(0).uniform(-3, 3, (4, 5))
    found = round_digits(values, digits)
    whole = np.ldexp(found, 60)
    assert max(bin(int(3 * abs(v)) ^ int(abs(v))).count("1") for v in whole.ravel()) <= digits
    grid = np.ldexp(1.0 * WHOLE[digit_count(WHOLE) <= digits], -12)
    least = np.abs(np.abs(values)[..., None] - grid).min(-1)
    assert np.all(np.abs(found - values) <= least + 1e-15)
    np.testing.assert_array_equal(np.sign(found), np.sign(values))


def test_pooling_coefficients_by_hand():
    assert round_digits(1 / 9, 1) == 1 / 8
    assert round_digits(1 / 9, 2) == 1 / 8 - 1 / 64
    assert round_digits(1 / 3, 2) == 0.3125  # 1/4 + 1/16; 3/8 is farther
    assert round_digits(0.25, 1) == 0.25
    assert round_bits(1 / 9, 3) == 1 / 8
    assert round_bits(1 / 9, 8) == 28 / 256


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-1e6, 1e6), st.integers(0, 20))
def test_bits(value, bits):
    found = Fraction(float(round_bits(value, bits)))
    assert (found * 2**bits).denominator == 1
    exact = Fraction(value)
    floor = (exact * 2**bits + Fraction(1, 2)).__floor__()
    assert abs(found - Fraction(floor, 2**bits)) <= Fraction(1, 2**bits) * (abs(exact) > 2**30)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(-1e9, 1e9), st.integers(1, 6))
def test_more_digits_are_never_worse_and_stay(value, digits):
    found = float(round_digits(value, digits))
    assert abs(float(round_digits(value, digits + 1)) - value) <= abs(found - value)
    assert float(round_digits(found, digits)) == found


def test_tiny_and_huge():
    for value in (5e-324, 1e-140, 1e140):
        found = float(round_digits(value, 3))
        assert abs(found - value) <= value / 10
    assert round_bits(1e140, 8) == 1e140
    assert round_bits(1e-140, 8) == 0


def test_wrong_arguments():
    with pytest.raises(HwgenError, match="from 0 to 48, not 49"):
        round_bits(1.0, 49)
    with pytest.raises(HwgenError, match="from 0 to 8, not 9"):
        round_digits(1.0, 9)
    for bad in (np.nan, np.inf):
        with pytest.raises(HwgenError, match="Values must be finite"):
            round_bits([1.0, bad], 3)
        with pytest.raises(HwgenError, match="Values must be finite"):
            round_digits([1.0, bad], 3)
