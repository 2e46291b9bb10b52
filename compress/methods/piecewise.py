"""A function as few straight pieces whose slopes are sums of one or two signed powers of two.

Where the pieces meet is chosen, not given. Two errors can be made least:

* the largest one. For a bound on it, pieces are made as long as any slope allows (a shorter part of
  a good piece is good too, so the greedy choice needs the fewest), and the bound is bisected until
  the number of pieces is the one wanted: exact, over all places;
* the mean square under a distribution of inputs. A piece from i to j has, for each slope, the
  weighted variance of what its line leaves, from running sums; a dynamic programme over the places
  on a grid puts pieces together: exact, over that grid.

Ref: R. Bellman, "On the approximation of curves by line segments using dynamic programming", Comm.
ACM 4(6), 1961; the slopes here come from a finite set.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import FloatArray, finite
from hwgen.errors import HwgenError
from hwgen.layers import signed_digits

PLACES = 384  # of the grid of places
HALVINGS = 30  # of the bound


class Objective(Enum):
    """Which error is made least."""

    MINIMAX = "minimax"
    SQUARE = "square"


@dataclass(frozen=True)
class Piece:
    """One piece: value ``x * slope + offset`` from point number ``start`` on.

    Parameters: start, of the points; slope, its number among the slopes given; offset.
    """

    start: int
    slope: int
    offset: float


def dyadic_slopes(lowest: float, highest: float, *, bits: int, digits: int) -> FloatArray:
    """Return the multiples of ``2**-bits`` in a range with at most ``digits`` signed digits.

    Those just outside the range are among them, so that it is covered. Rising.
    """
    first = int(np.floor(np.ldexp(lowest, bits)))
    last = int(np.ceil(np.ldexp(highest, bits)))
    top = 1 << max(abs(first), abs(last), 1).bit_length()
    some = np.array([k for k in range(-top, top + 1) if signed_digits(k) <= digits])
    inside = np.flatnonzero((some >= first) & (some <= last))
    if inside.size:
        some = some[max(inside[0] - 1, 0) : inside[-1] + 2]
    else:
        after = int(np.searchsorted(some, first))
        some = some[max(after - 1, 0) : after + 1]
    return np.ldexp(some.astype(np.float64), -bits)


def fit(
    x: npt.ArrayLike,
    values: npt.ArrayLike,
    slopes: FloatArray,
    pieces: int,
    *,
    objective: Objective = Objective.MINIMAX,
    density: FloatArray | None = None,
) -> tuple[Piece, ...]:
    """Return at most so many pieces with the least error.

    Parameters
    ----------
    x : (C,) float64, rising
        The points that the function is seen at.
    values : (C,) float64
    slopes : (S,) float64
        Those allowed, in units of values by units of x.
    pieces : int
        At most; 1 or more.
    objective : Objective
    density : (C,) float64, optional
        How often each point is met, >= 0, for the mean square; even if not given.

    Raises: HwgenError if arrays do not fit or are not finite, or there is no slope or piece.
    """
    points = finite(x, dimensions=(1,), what="Points")
    target = finite(values, dimensions=(1,), what="Values")
    if points.shape != target.shape or np.any(np.diff(points) <= 0):
        raise HwgenError(f"Rising points, one a value, needed: {points.size} for {target.size}")
    if pieces < 1 or not len(slopes):
        raise HwgenError(f"1 or more pieces and slopes needed, not {pieces} and {len(slopes)}")
    if objective is Objective.MINIMAX:
        if density is not None:
            raise HwgenError("A density goes with the mean square, not with the largest error")
        return _least_largest(target[None] - np.outer(slopes, points), pieces)
    often = np.ones(points.size) if density is None else finite(
        density, dimensions=(1,), what="Density"
    )
    if often.shape != points.shape or often.min() < 0 or not often.any():
        raise HwgenError(f"A density >= 0 of {points.size} points, not all 0, needed")
    return _least_square(target[None] - np.outer(slopes, points), often / often.sum(), pieces)


def evaluate(pieces: tuple[Piece, ...], x: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return the pieces' values at the points that they were fitted to."""
    starts = [piece.start for piece in pieces]
    which = np.searchsorted(starts, np.arange(len(x)), side="right") - 1
    made: FloatArray = x * slopes[[p.slope for p in pieces]][which]
    made += np.array([piece.offset for piece in pieces])[which]
    return made


def _least_largest(lines: FloatArray, most: int) -> tuple[Piece, ...]:
    coarse, fine = float(np.ptp(lines, axis=1).min()), 0.0
    found = cut(lines, coarse, most)
    assert found is not None
    for _ in range(HALVINGS):
        middle = (coarse + fine) / 2
        trial = cut(lines, middle, most)
        if trial is None:
            fine = middle
        else:
            coarse, found = middle, trial
    return found


def cut(lines: FloatArray, bound: float, most: int) -> tuple[Piece, ...] | None:
    """Return pieces within a bound on the error, or None if ``most`` do not do.

    Parameters: lines, (slopes, points), the values minus each slope's line; bound, >= 0.
    """
    pieces: list[Piece] = []
    start, size = 0, lines.shape[1]
    while start < size:
        if len(pieces) == most:
            return None
        window = 32
        while True:                         # as far as the longest piece goes, doubling
            part = lines[:, start : start + window]
            high = np.maximum.accumulate(part, axis=1)
            low = np.minimum.accumulate(part, axis=1)
            reach = (high - low <= 2 * bound).sum(1)
            slope = int(np.argmax(reach))
            if reach[slope] < window or start + window >= size:
                break
            window *= 2
        last = int(reach[slope]) - 1
        pieces.append(Piece(start, slope, float(high[slope, last] + low[slope, last]) / 2))
        start += last + 1
    return tuple(pieces)


def _least_square(lines: FloatArray, often: FloatArray, most: int) -> tuple[Piece, ...]:
    """Dynamic programme over the grid of places."""
    size = lines.shape[1]
    edges = np.unique(np.linspace(0, size, min(PLACES, size) + 1).round().astype(int))
    weight = _running(often)[edges]
    total = weight[None, :] - weight[:, None]              # of the piece from i to j
    least = np.full(total.shape, np.inf)
    slope = np.zeros(total.shape, np.int64)
    for number, line in enumerate(lines):
        centred = line - line.mean()                       # the offset is free: keeps digits
        first, second = _running(often * centred)[edges], _running(often * centred**2)[edges]
        sums = first[None, :] - first[:, None]
        squares = second[None, :] - second[:, None]
        error = squares - np.divide(sums**2, total, out=np.zeros_like(sums), where=total > 0)
        better = error < least
        least[better], slope[better] = error[better], number
    least = np.where(np.triu(np.ones(total.shape, bool), 1), np.maximum(least, 0.0), np.inf)
    best = least[0].copy()                                 # one piece, up to each place
    back: list[npt.NDArray[np.intp]] = []
    for _ in range(most - 1):
        trial = best[:, None] + least
        came = trial.argmin(0)
        reached = trial[came, np.arange(len(edges))]
        came = np.where(reached < best, came, -1)          # -1: as many pieces as before
        best = np.minimum(best, reached)
        back.append(came)
    end, starts = len(edges) - 1, []
    for came in reversed(back):
        if came[end] >= 0:
            starts.append((int(came[end]), end))
            end = int(came[end])
    starts.append((0, end))
    pieces = []
    for first_edge, last_edge in reversed(starts):
        part = slice(edges[first_edge], edges[last_edge])
        number = int(slope[first_edge, last_edge])
        shares = often[part] if often[part].any() else np.ones(part.stop - part.start)
        offset = float(np.average(lines[number, part], weights=shares))
        pieces.append(Piece(int(part.start), number, offset))
    return tuple(pieces)


def _running(values: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(values)])
