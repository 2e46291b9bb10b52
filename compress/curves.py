"""tanh and sigmoid as piecewise-linear tables of integers.

For a bound on the error, segments are made as long as any slope of at most two signed digits allows
(a shorter piece of a good segment is good too, so the greedy choice needs the fewest); the bound is
bisected until the number of segments is the one wanted. Errors are measured over all input codes,
rounding included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64, signed_digits

FloatArray = npt.NDArray[np.float64]

FUNCTIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
SLOPE_BITS = 6  # slopes are multiples of 2**-6


@dataclass(frozen=True, eq=False)
class Table:
    """The fields of an Activation layer, and the largest error in units of the function's value."""

    breakpoints: Int64Array
    slopes: Int64Array
    offsets: Int64Array
    shift: int
    lo: int
    hi: int
    error: float


def output_format(function: str, bits: int) -> tuple[int, int, int]:
    """Return (lo, hi, frac) of a function's codes: tanh signed, sigmoid unsigned."""
    if function == "sigmoid":
        return 0, (1 << bits) - 1, bits
    top = (1 << (bits - 1)) - 1
    return -top, top, bits - 1


def fit(
    function: str,
    *,
    lo: int,
    hi: int,
    frac: int,
    bits: int = 8,
    segments: int = 16,
    digits: int = 2,
) -> Table:
    """Return the table of a function for input codes lo..hi of a given frac.

    Parameters
    ----------
    function : "tanh" or "sigmoid"
    lo, hi, frac : range and frac of the input's codes
    bits : int
        Of the output's codes.
    segments : int
        At most; 3 or more.
    digits : int
        Signed digits of a slope, 1 or 2.
    """
    if segments < 3 or digits not in (1, 2):
        raise HwgenError(
            "A table needs 3 segments or more and slopes of 1 or 2 digits, "
            f"not {segments}, {digits}"
        )
    codes = np.arange(lo, hi + 1)
    out_lo, out_hi, out_frac = output_format(function, bits)
    exact = FUNCTIONS[function](np.ldexp(codes.astype(np.float64), -frac))
    target = np.ldexp(exact, out_frac)
    unit = 2.0 ** (out_frac - frac)  # a slope of 1, in codes out by codes in
    slopes = np.array([k for k in range((1 << SLOPE_BITS) + 1) if signed_digits(k) <= digits])
    lines = target[None, :] - (slopes * unit / (1 << SLOPE_BITS))[:, None] * codes[None, :]
    coarse, fine = float(np.ptp(target)), 0.0
    for _ in range(24):
        middle = (coarse + fine) / 2
        coarse, fine = (middle, fine) if _cut(lines, middle, segments) else (coarse, middle)
    pieces = _cut(lines, coarse, segments)
    assert pieces is not None
    shift = max(SLOPE_BITS + frac - out_frac, 0)
    lift = shift - (SLOPE_BITS + frac - out_frac)  # > 0 where the input is coarser than the slopes
    starts = [start for start, _, _ in pieces]
    table = Table(
        int64(codes[starts[1:]]),
        int64([int(slopes[k]) << lift for _, k, _ in pieces]),
        int64([round(middle * 2.0**shift) for _, _, middle in pieces]),
        shift,
        out_lo,
        out_hi,
        0.0,
    )
    worst = np.abs(np.ldexp(evaluate(table, codes).astype(np.float64), -out_frac) - exact).max()
    return Table(
        table.breakpoints, table.slopes, table.offsets, shift, out_lo, out_hi, float(worst)
    )


def evaluate(table: Table, x: Int64Array) -> Int64Array:
    """Return the table's codes for input codes."""
    k = np.searchsorted(table.breakpoints, x, side="right")
    half = 1 << (table.shift - 1) if table.shift else 0
    value = (x * table.slopes[k] + table.offsets[k] + half) >> table.shift
    codes: Int64Array = np.clip(value, table.lo, table.hi)
    return codes


def _cut(lines: FloatArray, bound: float, most: int) -> list[tuple[int, int, float]] | None:
    """Return segments (start, slope, offset) within a bound on the error, or None if ``most`` do
    not do.

    Parameters: lines, (slopes, codes), the target minus each slope's line; bound, in output codes.
    """
    pieces: list[tuple[int, int, float]] = []
    start, size = 0, lines.shape[1]
    while start < size:
        if len(pieces) == most:
            return None
        window = 32
        while True:                                 # as far as the longest segment goes, doubling
            part = lines[:, start : start + window]
            high = np.maximum.accumulate(part, axis=1)
            low = np.minimum.accumulate(part, axis=1)
            reach = (high - low <= 2 * bound).sum(1)
            slope = int(np.argmax(reach))
            if reach[slope] < window or start + window >= size:
                break
            window *= 2
        last = int(reach[slope]) - 1
        pieces.append((start, slope, float(high[slope, last] + low[slope, last]) / 2))
        start += last + 1
    return pieces
