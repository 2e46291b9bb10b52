"""Weights as signed powers of two that the lanes can shift by."""

from __future__ import annotations

from functools import cache

import numpy as np

from hwgen.layers import Int64Array
from hwgen.nfu.config import Config

TABLE = 1 << 12               # weights whose digits are counted by a table


@cache
def digits_of(value: int, largest_shift: int) -> tuple[tuple[int, int], ...]:
    """Return (sign, shift) of the fewest digits with sum ``value``, shifts up to the largest.

    Canonical signed digits of what is left beside some of the largest.
    """
    sign, size, top = (-1 if value < 0 else 1), abs(value), 1 << largest_shift
    best: list[tuple[int, int]] | None = None
    for count in range(max(size // top - 1, 0), size // top + 2):
        rest = canonical(size - count * top)
        if all(shift <= largest_shift for _, shift in rest) and (
                best is None or count + len(rest) < len(best)):
            best = [(1, largest_shift)] * count + rest
    assert best is not None
    return tuple((sign * one, shift) for one, shift in sorted(best, key=lambda digit: -digit[1]))


def canonical(value: int) -> list[tuple[int, int]]:
    """Return (sign, shift) of the canonical signed digits of a number."""
    digits: list[tuple[int, int]] = []
    shift = 0
    while value:
        if value & 1:
            odd = 2 - (value & 3)
            digits.append((odd, shift))
            value -= odd
        value >>= 1
        shift += 1
    return digits


def digit_counts(values: Int64Array, config: Config) -> Int64Array:
    """Return how many digits each weight takes; as multipliers take it, 1 (0 for a zero)."""
    if config.multipliers:
        some: Int64Array = (values != 0).astype(np.int64)
        return some
    largest = config.code.largest_shift
    lo, hi = int(values.min(initial=0)), int(values.max(initial=0))
    if hi - lo < TABLE:
        found: Int64Array = counts_of(lo, hi, largest)[values - lo]
        return found
    kinds, places = np.unique(values, return_inverse=True)
    counts = np.array([len(digits_of(int(kind), largest)) for kind in kinds], np.int64)
    return counts[places].reshape(values.shape)


@cache
def counts_of(lo: int, hi: int, largest_shift: int) -> Int64Array:
    """Return how many digits each of the numbers lo..hi takes."""
    return np.array([len(digits_of(value, largest_shift)) for value in range(lo, hi + 1)], np.int64)


def planes(values: Int64Array, config: Config, count: int) -> tuple[Int64Array, Int64Array]:
    """Return the digits of weights, (count, ...) signs and shifts; sign 0 where there is none.

    With multipliers the one plane's signs are the weights themselves.
    """
    signs = np.zeros((count, *values.shape), np.int64)
    shifts = np.zeros_like(signs)
    if config.multipliers:
        signs[0] = values
        return signs, shifts
    for kind in np.unique(values):
        here = values == kind
        for n, (sign, shift) in enumerate(digits_of(int(kind), config.code.largest_shift)):
            signs[n][here], shifts[n][here] = sign, shift
    return signs, shifts


def encode_line(signs: Int64Array, shifts: Int64Array, config: Config) -> bytes:
    """Return the packed bytes of one line of weights, (tn, tn) digits: output, then input."""
    codes = weight_codes(signs, shifts, config)
    bits = config.weight_bits
    spread = (codes.reshape(-1, 1) >> np.arange(bits) & 1).astype(np.uint8).reshape(-1)
    full = np.zeros(config.sb_words * config.word_bytes * 8, np.uint8)
    full[: spread.size] = spread
    return np.packbits(full, bitorder="little").tobytes()


def weight_codes(signs: Int64Array, shifts: Int64Array, config: Config) -> Int64Array:
    """Return the stored code of each digit.

    WIDE and BASE: shift in the lowest bits, then "not zero", then the sign; NARROW: shift + 1 or 0,
    then the sign; PRODUCT: two's complement.
    """
    some, minus = signs != 0, signs < 0
    match config.code.value:
        case "product":
            return signs & (1 << config.weight_bits) - 1
        case "wide":
            return np.where(some, shifts | 1 << 3 | minus << 4, 0)
        case "narrow":
            return np.where(some, shifts + 1 | minus << 3, 0)
    return np.where(some, shifts | 1 << 2 | minus << 3, 0)
