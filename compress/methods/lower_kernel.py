"""Lower kernels: filters, or single kernels, that make do with a smaller window of their taps.

Ref: D. Nagaraju, N. Chandrachoodan, "Slimmer CNNs through feature approximation and kernel size
reduction", IEEE Open J. Circuits and Systems 4, 2023: the least important features get kernels of
reduced size, under a budget of accuracy.

A window of k' x k' taps stays where it was in the k x k kernel, so nothing else of the network
changes. With R the second moments of what the weights meet, the expected squared error of an output
is ``e' R e``, e the change of its weights. Cutting leaves e = d, the weights outside the window S;
the best weights inside it are ``w_S + inv(R_SS) R_S: d``, the closed form of least squares. Without
R all inputs count the same, and cutting is the best already.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import BoolArray, FloatArray, finite, frozen, symmetric
from hwgen.compress.methods.kernel_windows import Place, ladder, places, window
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64


class Unit(Enum):
    """What has a window of its own."""

    FILTER = "filter"  # all kernels of an output channel: what a tiled array can use
    KERNEL = "kernel"


@dataclass(frozen=True)
class Options:
    """How to shrink.

    Parameters
    ----------
    unit : Unit
    place : Place
    refit : bool
        Fit the weights inside to the inputs, where their second moments are given.
    ridge : float
        Part of the mean variance added to every input for the fit, so that inputs that never vary
        keep their weights.
    """

    unit: Unit = Unit.FILTER
    place: Place = Place.BEST
    refit: bool = True
    ridge: float = 1e-9

    def __post_init__(self) -> None:
        if not 0 < self.ridge <= 1:
            raise HwgenError(f"A ridge above 0 and at most 1 needed, not {self.ridge}")


@dataclass(frozen=True, eq=False)
class Curves:
    """What each unit loses at each size.

    Parameters
    ----------
    sides : tuple of int
        Falling; the first is the full kernel.
    taps : int64 array, (S,)
        Of a kernel of each side.
    loss : float64 array, (units, S), >= 0
        Expected squared error of the output; 0 in the first column. Filters, or kernels in the
        order co, ci.
    offset : int64 array, (units, S, 2)
        Row and column where the window begins.
    """

    sides: tuple[int, ...]
    taps: Int64Array
    loss: FloatArray
    offset: Int64Array


@dataclass(frozen=True, eq=False)
class Result:
    """Shrunk weights.

    Parameters
    ----------
    weights : float64 array, (co, ci, kh, kw)
        Zero outside the windows.
    mask : bool array, (co, ci, kh, kw)
        The windows.
    loss, energy : float64 array, (co,)
        Expected squared error, and square, of each output channel.
    """

    weights: FloatArray
    mask: BoolArray
    loss: FloatArray
    energy: FloatArray

    @property
    def saved(self) -> float:
        """Part of the layer's MACs that is saved."""
        return 1 - float(np.mean(self.mask))


def importance(weights: npt.ArrayLike, moments: npt.ArrayLike | None = None) -> FloatArray:
    """Return how much each filter gives, (co,): the expected square of its output.

    The least important ones are ``np.argsort(importance(...), kind="stable")``. Parameters and
    errors as for ``curves``.
    """
    array = finite(weights, dimensions=(4,), what="Weights")
    rows = array.reshape(len(array), -1)
    return _by_group(rows, _moments(array, moments))


def curves(
    weights: npt.ArrayLike,
    sides: Sequence[int],
    options: Options,
    moments: npt.ArrayLike | None = None,
) -> Curves:
    """Return what every unit of a convolution loses at every size.

    Parameters
    ----------
    weights : array, (co, ci, kh, kw)
        ci of one group.
    sides : sequence of int
        Smaller kernels to consider; of a kernel that is not square, each side at most its own.
    options : Options
    moments : array, optional, (groups, N, N) or (N, N), N = ci * kh * kw
        Second moments of the inputs: about zero, or about the mean where the bias makes up for it.

    Raises: HwgenError if weights or moments are not finite or do not fit, or a side is not between
    1 and the kernel.
    """
    array = finite(weights, dimensions=(4,), what="Weights")
    spread = _moments(array, moments)
    co, ci, kh, kw = array.shape
    steps = ladder(sides, kh, kw)
    units = co * (ci if options.unit is Unit.KERNEL else 1)
    loss = np.zeros((units, len(steps)))
    offset = np.zeros((units, len(steps), 2), np.int64)
    for column, side in enumerate(steps[1:], start=1):
        found = np.full(units, np.inf)
        for place in places(side, kh, kw, options.place):
            trial = _trial(array, window(side, place, kh, kw), options, spread)
            better = trial < found
            found[better] = trial[better]
            offset[better, column] = place
        loss[:, column] = found
    taps = [min(side, kh) * min(side, kw) for side in steps]
    return Curves(steps, int64(taps), frozen(loss), int64(offset))


def shrink(
    weights: npt.ArrayLike,
    levels: npt.ArrayLike,
    found: Curves,
    options: Options,
    moments: npt.ArrayLike | None = None,
) -> Result:
    """Return the weights with each unit at its chosen size.

    Parameters
    ----------
    weights, options, moments
        As given to ``curves``, which returned ``found``.
    levels : int array, (units,)
        Column of ``found`` for each unit.

    Raises: HwgenError if the levels do not fit the curves, or the weights do not.
    """
    array = finite(weights, dimensions=(4,), what="Weights")
    spread = _moments(array, moments)
    co, ci, kh, kw = array.shape
    units = co * (ci if options.unit is Unit.KERNEL else 1)
    chosen = np.asarray(levels)
    if found.loss.shape[0] != units or chosen.shape != (units,) or chosen.dtype.kind not in "iu":
        raise HwgenError(
            f"A level for each of {units} units needed, not {chosen.shape} for "
            f"{found.loss.shape[0]}"
        )
    if chosen.min() < 0 or chosen.max() >= len(found.sides):
        raise HwgenError(
            f"Levels from 0 to {len(found.sides) - 1} needed, not {chosen.min()} to {chosen.max()}"
        )
    windows = [
        window(found.sides[level], (int(y), int(x)), kh, kw)
        for level, (y, x) in zip(chosen, found.offset[np.arange(units), chosen], strict=True)
    ]
    mask = np.stack(windows).reshape(co, -1, kh, kw)
    mask = np.ascontiguousarray(np.broadcast_to(mask, array.shape))
    kept = _refit_rows(array, mask, options, spread)
    mask.setflags(write=False)
    wrong = (array - kept).reshape(co, -1)
    return Result(
        frozen(kept),
        mask,
        frozen(_by_group(wrong, spread)),
        frozen(_by_group(array.reshape(co, -1), spread)),
    )


def refit(
    weights: npt.ArrayLike,
    mask: npt.ArrayLike,
    moments: npt.ArrayLike,
    *,
    ridge: float = Options.ridge,
) -> FloatArray:
    """Return the weights that make up best, inside any mask, for those outside it.

    The closed form of the module's docstring, filter by filter, S the filter's places in the mask.

    Parameters
    ----------
    weights : array, (co, ci, kh, kw) or (outputs, inputs)
    mask : bool array, shape of the weights
    moments : array, (groups, N, N) or (N, N), N the weights of a filter
        Second moments of the inputs, as for ``curves``.
    ridge : float
        As in ``Options``.

    Raises: HwgenError if weights or moments are not finite, or do not fit one another.
    """
    array = finite(weights, dimensions=(2, 4), what="Weights")
    inside = np.asarray(mask, bool)
    if inside.shape != array.shape:
        raise HwgenError(f"A mask of {array.shape} needed, not of {inside.shape}")
    return _refit_rows(array, inside, Options(ridge=ridge), _moments(array, moments))


def greedy_steps(found: Curves) -> tuple[tuple[int, int], ...]:
    """Return (unit, level) in the order in which to shrink: least loss for a tap saved first.

    Each unit walks down the lower convex hull of its curve, so every prefix is the least loss for
    the taps that it leaves. A search under a measured budget applies prefixes.
    """
    heap: list[tuple[float, int, int]] = []
    for unit in range(len(found.loss)):
        if step := _cheapest(found, unit, 0):
            heap.append(step)
    heapq.heapify(heap)
    steps = []
    while heap:
        _, unit, level = heapq.heappop(heap)
        steps.append((unit, level))
        if step := _cheapest(found, unit, level):
            heapq.heappush(heap, step)
    return tuple(steps)


def within(found: Curves, budget: float) -> Int64Array:
    """Return each unit's level, (units,), after the greedy steps that stay within a budget of loss.

    It stops before the first step that leaves the budget. Raises: HwgenError if the budget is
    negative or no number.
    """
    if not budget >= 0:
        raise HwgenError(f"A budget of loss of 0 or more needed, not {budget}")
    levels = np.zeros(len(found.loss), np.int64)
    for unit, level in greedy_steps(found):
        before, levels[unit] = levels[unit], level
        if float(found.loss[np.arange(len(levels)), levels].sum()) > budget:
            levels[unit] = before
            break
    return int64(levels)


def _cheapest(found: Curves, unit: int, level: int) -> tuple[float, int, int] | None:
    """Return (slope, unit, lower level) of the next corner of a unit's hull."""
    saved = found.taps[level] - found.taps[level + 1 :]
    if not saved.size:
        return None
    slope = (found.loss[unit, level + 1 :] - found.loss[unit, level]) / saved
    best = int(saved.size - 1 - np.argmin(slope[::-1]))  # the smallest kernel of equal ones
    return float(slope[best]), unit, level + 1 + best


# ---------------------------------------------------------------------------------------------
# Losses


def _moments(array: FloatArray, moments: npt.ArrayLike | None) -> FloatArray | None:
    """Return (groups, N, N), checked."""
    if moments is None:
        return None
    given = finite(moments, dimensions=(2, 3), what="Second moments")
    given = given.reshape(-1, *given.shape[-2:])
    if len(array) % len(given):
        raise HwgenError(
            f"Second moments of groups that share {len(array)} filters needed, not of {len(given)}"
        )
    return np.stack([symmetric(part, array[0].size) for part in given])


def _quadratic(rows: FloatArray, moments: FloatArray | None) -> FloatArray:
    """Return e' R e of each row, never below 0."""
    if moments is None:
        squares: FloatArray = (rows**2).sum(1)
        return squares
    errors: FloatArray = np.maximum(((rows @ moments) * rows).sum(1), 0.0)
    return errors


def _by_group(rows: FloatArray, moments: FloatArray | None) -> FloatArray:
    if moments is None:
        return _quadratic(rows, None)
    parts = np.split(rows, len(moments))
    return np.concatenate(
        [_quadratic(part, own) for part, own in zip(parts, moments, strict=True)]
    )


def _fitted(
    rows: FloatArray, inside: BoolArray, options: Options, moments: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return rows (M, N) with what is outside at zero and the rest fitted, and their losses."""
    cut = np.where(inside, rows, 0.0)
    loss = _quadratic(rows - cut, moments)
    if moments is None or not options.refit or inside.all():
        return cut, loss
    within_window = moments[np.ix_(inside, inside)]
    shift = options.ridge * float(np.trace(moments)) / len(moments)
    if not shift:
        return cut, loss
    wanted = moments[np.ix_(inside, ~inside)] @ rows[:, ~inside].T
    change = np.linalg.solve(within_window + shift * np.eye(len(within_window)), wanted)
    fitted = cut.copy()
    fitted[:, inside] += change.T
    fitted_loss = _quadratic(rows - fitted, moments)
    better = fitted_loss < loss  # rounding may spoil a fit where next to nothing is to be gained
    return np.where(better[:, None], fitted, cut), np.where(better, fitted_loss, loss)


def _trial(
    array: FloatArray, taps: BoolArray, options: Options, moments: FloatArray | None
) -> FloatArray:
    """Return the loss of every unit with the window of these taps."""
    co, ci, kh, kw = array.shape
    groups = 1 if moments is None else len(moments)
    losses = np.zeros((co, ci if options.unit is Unit.KERNEL else 1))
    share = co // groups
    for group in range(groups):
        rows = slice(group * share, (group + 1) * share)
        own = None if moments is None else moments[group]
        if options.unit is Unit.FILTER:
            inside = np.broadcast_to(taps, (ci, kh, kw)).ravel()
            losses[rows, 0] = _fitted(array[rows].reshape(share, -1), inside, options, own)[1]
            continue
        for channel in range(ci):
            part = slice(channel * kh * kw, (channel + 1) * kh * kw)
            block = None if own is None else own[part, part]
            kernels = array[rows, channel].reshape(share, -1)
            losses[rows, channel] = _fitted(kernels, taps.ravel(), options, block)[1]
    return losses.ravel()


def _refit_rows(
    array: FloatArray, mask: BoolArray, options: Options, moments: FloatArray | None
) -> FloatArray:
    """Return the weights inside the mask, fitted filter by filter, those of equal masks at once."""
    co = len(array)
    groups = 1 if moments is None else len(moments)
    rows, masks = array.reshape(co, -1), mask.reshape(co, -1)
    fitted: FloatArray = np.zeros(rows.shape)
    for group in range(groups):
        members = np.arange(group * co // groups, (group + 1) * co // groups)
        kinds, kind_of = np.unique(masks[members], axis=0, return_inverse=True)
        for kind, inside in enumerate(kinds):
            chosen = members[kind_of.ravel() == kind]
            own = None if moments is None else moments[group]
            fitted[chosen] = _fitted(rows[chosen], inside, options, own)[0]
    shaped: FloatArray = fitted.reshape(array.shape)
    return shaped
