"""Leaky ReLU and hard swish as piecewise-linear tables of integers: unlike tanh and sigmoid they
have no largest value, so the format of their codes is chosen in calibration.

Ref: A. Howard et al., "Searching for MobileNetV3", 2019, section 5.2 (hard swish,
``x * min(max(x + 3, 0), 6) / 6``). Between -3 and 3 it is a parabola; tangents whose slopes are
equally spaced meet halfway and are equally far below it there, so half that distance is added.
Slopes a quarter apart have two signed digits; closer ones would not all, and the widest gap decides
the largest error, 3/256.
"""

from __future__ import annotations

import numpy as np

from hwgen.compress.calibrate import Format
from hwgen.compress.curves import Table
from hwgen.compress.importers import graph as g
from hwgen.errors import HwgenError
from hwgen.layers import int64, signed_digits

PLACES = 10  # slopes are multiples of 2**-PLACES


def fit(curve: g.Curve, *, form: Format, out: Format, segments: int) -> Table:
    """Return the table of a curve.

    Parameters
    ----------
    curve : Curve
        "leaky_relu" or "hardswish".
    form, out : Format
        Of the input's and the output's codes.
    segments : int
        At most; a hard swish takes 11, or 7 where there are no more, a leaky ReLU two.

    Returns: the table; its error is the largest over all input codes, clipping left out, in units
    of the function's value.
    """
    if segments < 7:
        raise HwgenError(f"A table of 7 segments or more needed, not {segments}")
    if curve.function == "leaky_relu":
        edges = np.array([0.0])
        lines = [(_near(curve.slope), 0.0), (1.0, 0.0)]
    else:
        edges, lines = _tangents(0.25 if segments >= 11 else 0.5)
    # Codes out are slope * 2**(out.frac - form.frac) * code + offset * 2**out.frac.
    shift = max(PLACES + form.frac - out.frac, 0)
    codes = np.ceil(np.ldexp(edges, form.frac)).astype(np.int64)
    keep = [k for k in range(len(lines)) if not 0 < k < len(codes) or codes[k - 1] < codes[k]]
    slopes = [round(lines[k][0] * 2.0 ** (shift + out.frac - form.frac)) for k in keep]
    offsets = [round(lines[k][1] * 2.0 ** (shift + out.frac)) for k in keep]
    breakpoints = [int(codes[k - 1]) for k in keep[1:]]
    table = Table(
        int64(breakpoints), int64(slopes), int64(offsets), shift, out.lo, out.hi, 0.0
    )
    x = np.arange(form.lo, form.hi + 1)
    piece = np.searchsorted(table.breakpoints, x, side="right")
    made = np.ldexp(x * table.slopes[piece] + table.offsets[piece], -shift - out.frac)
    error = float(np.abs(made - function(curve, np.ldexp(x.astype(np.float64), -form.frac))).max())
    return Table(
        table.breakpoints, table.slopes, table.offsets, shift, out.lo, out.hi, error
    )


def function(curve: g.Curve, x: g.FloatArray) -> g.FloatArray:
    """Return a leaky ReLU or hard swish of numbers."""
    if curve.function == "leaky_relu":
        return np.where(x < 0, x * curve.slope, x)
    return x * np.clip(x + 3, 0, 6) / 6


def _near(slope: float) -> float:
    """Return the multiple of 2**-PLACES of at most two signed digits that is nearest."""
    whole = [k for k in range(-(2 << PLACES), (2 << PLACES) + 1) if signed_digits(k) <= 2]
    return min(whole, key=lambda k: abs(k / (1 << PLACES) - slope)) / (1 << PLACES)


def _tangents(apart: float) -> tuple[g.FloatArray, list[tuple[float, float]]]:
    """Return (edges, lines) of a hard swish, a line (slope, offset)."""
    slopes = np.arange(-0.5, 1.5 + apart / 2, apart)
    touch = 3 * slopes - 1.5                                # where the parabola has that slope
    lift = (1.5 * apart) ** 2 / 12
    offsets = touch * (touch + 3) / 6 - slopes * touch + lift
    edges = np.concatenate([[-3.0], (touch[1:] + touch[:-1]) / 2, [3.0]])
    lines = [(float(s), float(o)) for s, o in zip(slopes, offsets, strict=True)]
    return edges, [(0.0, 0.0), *lines, (1.0, 0.0)]
