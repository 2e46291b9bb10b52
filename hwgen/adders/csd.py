"""Canonical signed digits: an integer as the shortest sum of signed powers of two.

Ref: G. W. Reitwiesner, "Binary Arithmetic", Advances in Computers 1, 1960 (the non-adjacent form is
unique and has the fewest nonzero digits). With ``h = 3 * x``, the places of the nonzero digits are
the ones of ``(h ^ x) >> 1``: a digit is +1 where ``h`` has the one, -1 where ``x`` has it.
"""

from __future__ import annotations

import numpy as np

from hwgen.layers import Int64Array

LIMIT = 1 << 61               # |value| stays below, so that 3 * value fits an int64


def _checked(values: Int64Array) -> Int64Array:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"Values must be integers, not {array.dtype}")
    if array.size and (int(array.max()) >= LIMIT or int(array.min()) <= -LIMIT):
        raise ValueError(f"Values must be less than 2**61 in magnitude, not {int(array.min())}.."
                         f"{int(array.max())}")
    return array.astype(np.int64)


def digit_count(values: Int64Array) -> Int64Array:
    """Count the nonzero canonical signed digits of each value.

    Parameters: values, integers of any shape, below 2**61 in magnitude.
    Returns: int64 of the same shape; 0 only for 0.
    Raises: TypeError unless the values are integers, ValueError if one is too large.
    """
    x = _checked(values)
    counts: Int64Array = np.bitwise_count((3 * x) ^ x).astype(np.int64)
    return counts


def csd_digits(values: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return every nonzero canonical signed digit of an array.

    Parameters: values, integers of any shape, below 2**61 in magnitude.
    Returns: (index, shift, sign), each (digits,) int64: value number ``index`` in C order has the
    digit ``sign * 2**shift``, sign +1 or -1; ordered by index, then by shift. No two digits of a
    value are neighbours.
    Raises: TypeError unless the values are integers, ValueError if one is too large.
    """
    x = _checked(values).ravel()
    h = 3 * x
    places = ((h ^ x) >> 1) & ((1 << 62) - 1)
    positive, negative = (h >> 1) & places, (x >> 1) & places
    index, shift, sign = [], [], []
    top = int(places.max(initial=0)).bit_length()
    for place in range(top):
        for bits, value in ((positive, 1), (negative, -1)):
            found = np.flatnonzero((bits >> place) & 1)
            index.append(found)
            shift.append(np.full(found.size, place))
            sign.append(np.full(found.size, value))
    if not index:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty.copy(), empty.copy()
    order_index, order_shift = np.concatenate(index), np.concatenate(shift)
    order = np.lexsort((order_shift, order_index))
    return (order_index[order].astype(np.int64), order_shift[order].astype(np.int64),
            np.concatenate(sign)[order].astype(np.int64))
