"""Real factors as few signed digits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from hwgen.compress.methods.dyadic import Result
from hwgen.compress.scales import as_dyadic, integer_weights, requantise_constants, steps_apart
from hwgen.errors import HwgenError
from hwgen.layers import int64, signed_digits


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_nearest_of_few_digits(digits):
    values = np.exp(np.random.default_rng(0).uniform(-12, 12, 200))
    bound = {1: 1 / 3, 2: 0.12, 3: 0.025}[digits]
    for value in values:
        m, e = as_dyadic(value, digits=digits)
        assert signed_digits(m) <= digits
        assert abs(math.ldexp(m, e) / value - 1) <= bound


@pytest.mark.parametrize("exact", [1.0, 0.75, -0.625, 2.0**-40, 7 * 2.0**20, 255 / 256, 0.0])
def test_exact_where_it_can_be(exact):
    m, e = as_dyadic(exact)
    assert math.ldexp(m, e) == exact


@pytest.mark.parametrize(
    ("factor", "addend"), [(0.013, 4.2), (1.0, -3.4), (37.5, 0.0), (-0.02, 1.0), (2.0**-30, 5.0)]
)
def test_constants_mean_the_factor(factor, addend):
    m, b, shift = requantise_constants(factor, addend)
    assert 0 <= shift <= 48
    assert signed_digits(m) <= 3
    for x in (-1000, -1, 0, 1, 77, 5000):
        value = Fraction(x * m + b, 1 << shift)
        assert abs(float(value) - (x * factor + addend)) <= abs(x * factor) * 0.025 + 0.5


def test_a_factor_below_every_shift_is_zero():
    assert requantise_constants(2.0**-80, 0.0) == (0, 0, 48)


def test_a_huge_offset_stays_in_the_layers_bounds():
    _, b, _ = requantise_constants(2.0**-48, 1e9)
    assert abs(b) <= 1 << 56


@pytest.mark.parametrize(
    "scale", [[1.0, 0.5, 4.0, 2.0], [0.75, 0.75, 3.0, 1.5], [8.0, 0.125, 8.0, 1.0]]
)
def test_one_factor_for_filters_that_are_powers_of_two_apart(scale):
    codes = np.array([[1, -2, 0], [4, 4, -8], [0, 0, 0], [2, 6, 1]])
    result = Result(int64(codes), 3, np.array(scale), np.zeros(4), np.ones(4))
    whole, factor = integer_weights(result, common=True)
    assert np.all(factor == factor[0])
    np.testing.assert_array_equal(whole * factor[:, None], codes * np.array(scale)[:, None] / 8)
    used = np.delete(np.array(scale), 2)  # the filter of zeros has no say
    assert steps_apart(result) == np.log2(used.max() / used.min())


def test_filters_that_are_not_are_refused():
    result = Result(int64([[1, 2], [1, 0]]), 0, np.array([1.0, 0.75]), np.zeros(2), np.ones(2))
    assert steps_apart(result) is None
    with pytest.raises(HwgenError, match="one scale for all classes"):
        integer_weights(result, common=True)
