"""The elements of a network that are single numbers: pooling coefficients, biases, scales.

Each becomes the nearest dyadic rational, of so many fractional bits or of so many signed digits.

Ref: R. J. Cintra, S. Duffner, C. Garcia, A. Leite, "Low-complexity approximate convolutional neural
networks", IEEE Trans. Neural Networks and Learning Systems 29(12), 2018, approximates every element
of a network, these among them; how is not taken from there.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import FloatArray, finite
from hwgen.errors import HwgenError

MAX_DIGITS = 8
MAX_BITS = 48


def round_bits(values: npt.ArrayLike, bits: int) -> FloatArray:
    """Return the nearest multiples of ``2**-bits``; ties towards plus infinity.

    Parameters: values, finite, any shape of up to four dimensions; bits, 0 to 48.
    Raises: HwgenError if a value is not finite or bits are out of range.
    """
    if not 0 <= bits <= MAX_BITS:
        raise HwgenError(f"Fractional bits must be from 0 to {MAX_BITS}, not {bits}")
    array = _checked(values)
    # Above 2**52 a float is a whole number already, and a half would not fit below it.
    scaled = np.ldexp(array, bits)
    rounded: FloatArray = np.where(
        np.abs(scaled) < 2.0**52, np.ldexp(np.floor(scaled + 0.5), -bits), array
    )
    return rounded


def round_digits(values: npt.ArrayLike, digits: int) -> FloatArray:
    """Return the nearest numbers with at most so many signed digits.

    In the non-adjacent form the first digit of the nearest number is one of the two powers of two
    around the value: with any other one the number lies beyond one of them. So both are tried, and
    what is left is rounded likewise to a digit less. Of two numbers as near it is always the same
    one, and with the sign turned for the value with the sign turned.

    Parameters: values, finite, any shape of up to four dimensions; digits, 0 to 8.
    Raises: HwgenError if a value is not finite or digits are out of range.
    """
    if not 0 <= digits <= MAX_DIGITS:
        raise HwgenError(f"Signed digits must be from 0 to {MAX_DIGITS}, not {digits}")
    array = _checked(values)
    known: dict[float, float] = {}
    for value in np.unique(np.abs(array)).tolist():
        known[value] = float(_nearest(Fraction(value), digits))
    rounded: FloatArray = np.array(
        [math.copysign(known[abs(value)], value) for value in array.ravel().tolist()]
    ).reshape(array.shape)
    return rounded


def round_digits_whole(value: int, digits: int) -> int:
    """Return the whole number with at most so many signed digits that is nearest to one.

    What is left after a digit is whole again, so no digit below 1 comes up.
    """
    return int(_nearest(Fraction(value), digits))


def _nearest(value: Fraction, digits: int) -> Fraction:
    if not value or not digits:
        return Fraction(0)
    sign, size = (1, value) if value > 0 else (-1, -value)
    power = _power_below(size)
    if power == size:
        return value
    tries = [first + _nearest(size - first, digits - 1) for first in (power, 2 * power)]
    return sign * min(tries, key=lambda found: (abs(found - size), found))


def _power_below(size: Fraction) -> Fraction:
    """Return the largest power of two that is not above a positive number."""
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    power = Fraction(2) ** exponent
    return power if power <= size else power / 2


def _checked(values: npt.ArrayLike) -> FloatArray:
    return finite(np.asarray(values, np.float64), dimensions=(0, 1, 2, 3, 4), what="Values")
