"""Weights as digits, against every sum of few signed powers of two."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.nfu.compiler.digits import digit_counts, digits_of, encode_line, planes, weight_codes
from hwgen.nfu.config import Config, WeightCode

CODES = {"wide": 7, "narrow": 6, "base": 3}


def fewest(largest, most):
    """Fewest digits by value, by trying out all sums of up to ``most`` digits."""
    powers = [sign << shift for shift in range(largest + 1) for sign in (1, -1)]
    found = {0: 0}
    for count in range(1, most + 1):
        for some in itertools.combinations_with_replacement(powers, count):
            found.setdefault(sum(some), count)
    return found


@pytest.mark.parametrize("largest", [0, 1, 3, 6, 7])
def test_sum_and_fewest(largest):
    for value, count in fewest(largest, 3).items():
        digits = digits_of(value, largest)
        assert sum(sign << shift for sign, shift in digits) == value
        assert all(0 <= shift <= largest for _, shift in digits)
        assert len(digits) == count, value


@pytest.mark.parametrize("code", CODES)
def test_planes_add_up(code):
    config = Config(tn=4, code=WeightCode(code))
    values = np.arange(-130, 126).reshape(16, 16)
    counts = digit_counts(values, config)
    signs, shifts = planes(values, config, int(counts.max()))
    assert np.array_equal((signs << shifts).sum(axis=0), values)
    assert np.array_equal((signs != 0).sum(axis=0), counts)


@pytest.mark.parametrize("code", CODES)
def test_line_of_codes(code):
    """Codes stand side by side, the first lowest; each tells its digit (by docs/nfu.md)."""
    config = Config(tn=4, code=WeightCode(code))
    rng = np.random.default_rng(0)
    shifts = rng.integers(0, CODES[code] + 1, (4, 4))
    signs = rng.integers(-1, 2, (4, 4))
    number = int.from_bytes(encode_line(signs, shifts, config), "little")
    bits = {"wide": 5, "narrow": 4, "base": 4}[code]
    for n, (sign, shift) in enumerate(zip(signs.ravel(), shifts.ravel(), strict=True)):
        one = number >> n * bits & (1 << bits) - 1
        if code == "wide":
            found = (one & 7) if one & 8 else None
        elif code == "narrow":
            found = (one & 7) - 1 if one & 7 else None
        else:
            found = (one & 3) if one & 4 else None
        assert found == (int(shift) if sign else None)
        assert bool(one >> bits - 1) == (sign < 0)
    assert number >> 16 * bits == 0


def test_multipliers_take_the_weights_themselves():
    config = Config(tn=4, code=WeightCode.PRODUCT)
    values = np.array([-128, -1, 0, 127])
    signs, shifts = planes(values, config, 1)
    assert weight_codes(signs[0], shifts[0], config).tolist() == [0x80, 0xFF, 0, 0x7F]
    assert digit_counts(values, config).tolist() == [1, 1, 0, 1]
