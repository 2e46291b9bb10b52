"""Activation functions as piecewise-linear tables of integers.

Breakpoints and slopes (one or two signed digits) are the best ones, see ``methods/piecewise.py``:
for the largest error over all input codes, or for the mean square under a distribution of them.
Errors that a table states are those of its integers, rounding included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods import piecewise
from hwgen.compress.methods.piecewise import Objective
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

FloatArray = npt.NDArray[np.float64]
Function = Callable[[FloatArray], FloatArray]

FUNCTIONS: dict[str, Function] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
SLOPE_BITS = 6  # slopes are multiples of 2**-6
MAX_CODES = 1 << 17


@dataclass(frozen=True, eq=False)
class Table:
    """The fields of an Activation layer, and the errors in units of the function's value.

    Parameters: breakpoints, slopes, offsets, shift, lo, hi, see ``layers.Activation``; error, the
    largest over all input codes; rms, the root of the mean square under the density given.
    """

    breakpoints: Int64Array
    slopes: Int64Array
    offsets: Int64Array
    shift: int
    lo: int
    hi: int
    error: float
    rms: float = 0.0


def output_format(function: str, bits: int) -> tuple[int, int, int]:
    """Return (lo, hi, frac) of a function's codes: tanh signed, sigmoid unsigned."""
    if function == "sigmoid":
        return 0, (1 << bits) - 1, bits
    top = (1 << (bits - 1)) - 1
    return -top, top, bits - 1


def fit(
    function: str | Function,
    *,
    lo: int,
    hi: int,
    frac: int,
    bits: int = 8,
    segments: int = 16,
    digits: int = 2,
    output: tuple[int, int, int] | None = None,
    objective: Objective = Objective.MINIMAX,
    density: FloatArray | None = None,
    slope_bits: int = SLOPE_BITS,
) -> Table:
    """Return the table of a function for input codes lo..hi of a given frac.

    Parameters
    ----------
    function : "tanh", "sigmoid", or a function of float64 arrays
        Any one that is finite over the range.
    lo, hi, frac : range and frac of the input's codes
    bits : int
        Of the output's codes.
    segments : int
        At most; 3 or more.
    digits : int
        Signed digits of a slope: 1, powers of two, or 2.
    output : (lo, hi, frac), optional
        Of the output's codes; needed where the function is not one of the names.
    objective : Objective
        Least largest error, or least mean square.
    density : (hi - lo + 1,) float64, optional
        How often each input code is met, for the mean square.
    slope_bits : int
        Slopes are multiples of ``2**-slope_bits``.

    Raises: HwgenError if options or the range do not fit, or values are not finite.
    """
    if segments < 3 or digits not in (1, 2):
        raise HwgenError(
            "A table needs 3 segments or more and slopes of 1 or 2 digits, "
            f"not {segments}, {digits}"
        )
    if not lo < hi or hi - lo >= MAX_CODES:
        raise HwgenError(f"Input codes needed: 2 to {MAX_CODES}, not {lo}..{hi}")
    if isinstance(function, str):
        output, function = output or output_format(function, bits), FUNCTIONS[function]
    elif output is None:
        raise HwgenError("A function without a name needs the format of its output codes")
    out_lo, out_hi, out_frac = output
    codes = np.arange(lo, hi + 1)
    exact = function(np.ldexp(codes.astype(np.float64), -frac))
    if not np.all(np.isfinite(exact)):
        raise HwgenError("A finite function over the range needed, there is NaN or infinity")
    # What lies far outside the output's codes is clipped, and needs no piece to follow it.
    target = np.clip(np.ldexp(exact, out_frac), out_lo - 1, out_hi + 1)
    unit = 2.0 ** (out_frac - frac)  # a slope of 1, in codes out by codes in
    steps = np.diff(target) / unit
    slopes = piecewise.dyadic_slopes(steps.min(), steps.max(), bits=slope_bits, digits=digits)
    pieces = piecewise.fit(
        codes, target, slopes * unit, segments, objective=objective, density=density
    )
    shift = max(slope_bits + frac - out_frac, 0)
    lift = shift - (slope_bits + frac - out_frac)  # > 0 where the input is coarser than the slopes
    table = Table(
        int64(codes[[piece.start for piece in pieces[1:]]]),
        int64([round(float(np.ldexp(slopes[p.slope], slope_bits))) << lift for p in pieces]),
        int64([round(piece.offset * 2.0**shift) for piece in pieces]),
        shift,
        out_lo,
        out_hi,
        0.0,
    )
    wrong = np.ldexp(evaluate(table, codes).astype(np.float64), -out_frac) - exact
    often = np.ones(len(codes)) if density is None else density
    return replace(
        table,
        error=float(np.abs(wrong).max()),
        rms=float(np.sqrt(np.average(wrong**2, weights=often))),
    )


def evaluate(table: Table, x: Int64Array) -> Int64Array:
    """Return the table's codes for input codes."""
    k = np.searchsorted(table.breakpoints, x, side="right")
    half = 1 << (table.shift - 1) if table.shift else 0
    value = (x * table.slopes[k] + table.offsets[k] + half) >> table.shift
    codes: Int64Array = np.clip(value, table.lo, table.hi)
    return codes
