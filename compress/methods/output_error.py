"""Dyadic weights chosen for the error they make at the layer's output, not for their own.

The expected squared error of an output is ``(w - w')^T R (w - w')`` with R the covariance of the
input patches; the mean of the error goes into the bias. Levels are moved one weight at a time, each
to the level nearest to its best value given all others, so the error falls with every step and the
result is never worse than the start. ``refine_budget`` does the same for weights under a budget of
signed digits: a move there has to gain the price of the digits that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hwgen.compress.methods.adder_budget_layer import Classes
from hwgen.compress.methods.dyadic import FloatArray, Levels, Result, nearest
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64


@dataclass(frozen=True)
class RefineOptions:
    """How long to look.

    Parameters
    ----------
    passes : int
        Over all weights, at most; it ends earlier when nothing moves.
    ridge : float
        Part of the mean variance added to every input, so that inputs that never vary keep their
        weights.
    """

    passes: int = 8
    ridge: float = 1e-3


def refine(
    weights: FloatArray,
    start: Result,
    levels: Levels,
    covariance: FloatArray,
    options: RefineOptions | None = None,
) -> Result:
    """Move a layer's codes to smaller expected output error; scales stay.

    Parameters
    ----------
    weights : (co, ...) float64
        The exact weights; left alone.
    start : Result
        By filter or layer, or by kernel.
    levels : Levels
        What ``start`` was made with.
    covariance : (groups, N, N) float64
        Of the N inputs of each group of output channels.

    Raises: HwgenError if the covariance does not fit the weights.
    """
    options = options or RefineOptions()
    exact, scale, codes = _rows(weights, start, covariance)
    for rows, spread in _groups(len(codes), covariance, options.ridge):
        codes[rows] = _descend(
            exact[rows], codes[rows], scale[rows], levels, spread, options.passes
        )
    return _with_codes(weights, start, codes, scale)


PRICES = 160  # prices of a digit that are bisected, four in a factor of 2


def refine_budget(
    weights: FloatArray,
    start: Result,
    levels: Levels,
    covariance: FloatArray,
    *,
    digits: int | None = None,
    options: RefineOptions | None = None,
) -> Result:
    """Move a layer's codes to smaller expected output error with no more signed digits.

    Coordinate descent on ``error + price * digits``, which falls with every move, for prices that
    are bisected to the budget; the best result within it is kept, the start among them.

    Parameters
    ----------
    weights, start, levels, covariance, options
        As of ``refine``; levels, the grid of the budget.
    digits : int, optional
        Of the layer; by default those that ``start`` has.

    Raises: HwgenError if the covariance does not fit the weights, or the start is over the budget.
    """
    options = options or RefineOptions()
    budget = int(digit_count(start.codes).sum()) if digits is None else digits
    if digits is not None and digit_count(start.codes).sum() > digits:
        raise HwgenError(
            f"A start of at most {digits} digits needed, not {digit_count(start.codes).sum()}"
        )
    exact, scale, codes = _rows(weights, start, covariance)
    classes, unit = Classes(levels), np.ldexp(scale, -levels.bits)
    parts = list(_groups(len(codes), covariance, options.ridge))
    highest = float(np.abs(exact).max()) ** 2 * max(float(np.diag(r).max()) for _, r in parts)
    least = sum(_cost(exact[rows] - unit[rows] * codes[rows], r) for rows, r in parts)
    best, inside, outside = codes, 0, PRICES
    while outside - inside > 1:
        middle = (inside + outside) // 2
        trial, error = codes.copy(), 0.0
        for rows, spread in parts:
            trial[rows] = _descend_priced(
                exact[rows], codes[rows], unit[rows], classes, spread,
                highest * 2.0 ** (-middle / 4), options.passes,
            )
            error += _cost(exact[rows] - unit[rows] * trial[rows], spread)
        if digit_count(trial).sum() > budget:
            outside = middle
            continue
        inside = middle
        if error < least:
            best, least = trial, error
    return _with_codes(weights, start, best, scale)


def _rows(
    weights: FloatArray, start: Result, covariance: FloatArray
) -> tuple[FloatArray, FloatArray, Int64Array]:
    """Return exact weights, scales and codes, a row an output channel."""
    outputs = weights.shape[0]
    exact = np.asarray(weights, np.float64).reshape(outputs, -1)
    groups, size = covariance.shape[:2]
    if exact.shape[1] != size or outputs % groups:
        raise HwgenError(
            f"A covariance of {exact.shape[1]} inputs for {outputs} outputs needed, not of {size} "
            f"in {groups} groups"
        )
    scale = np.broadcast_to(
        start.scale.reshape(start.scale.shape + (1,) * (weights.ndim - start.scale.ndim)),
        weights.shape,
    ).reshape(outputs, -1)
    return exact, scale, start.codes.reshape(outputs, -1).copy()


def _groups(
    outputs: int, covariance: FloatArray, ridge: float
) -> Iterator[tuple[slice, FloatArray]]:
    """Each group's rows, and what its inputs vary by."""
    groups, size = covariance.shape[:2]
    for group in range(groups):
        spread = covariance[group] + np.eye(size) * ridge * np.trace(covariance[group]) / size
        yield slice(group * outputs // groups, (group + 1) * outputs // groups), spread


def _with_codes(
    weights: FloatArray, start: Result, codes: Int64Array, scale: FloatArray
) -> Result:
    values = np.ldexp(codes * scale, -start.bits)
    wrong = np.asarray(weights, np.float64).reshape(values.shape) - values
    error = (wrong**2).reshape(*start.scale.shape, -1).sum(-1)
    return replace(start, codes=int64(codes.reshape(weights.shape)), error=error)


def _cost(wrong: FloatArray, spread: FloatArray) -> float:
    return float(np.einsum("on,on->", wrong @ spread, wrong))


def _descend_priced(
    exact: FloatArray,
    codes: Int64Array,
    unit: FloatArray,
    classes: Classes,
    spread: FloatArray,
    price: float,
    passes: int,
) -> Int64Array:
    """Coordinate descent as ``_descend``, each digit at a price."""
    codes = codes.copy()
    wrong = exact - unit * codes
    slope = wrong @ spread
    for _ in range(passes):
        moved = False
        for i in np.flatnonzero(np.diag(spread) > 0):
            best = exact[:, i] + slope[:, i] / spread[i, i] - wrong[:, i]
            position = np.abs(best) / unit[:, i]
            place = classes.place(position)
            levels = np.stack([table[place] for table in classes.tables])
            ask = price / (spread[i, i] * unit[:, i] ** 2)
            cost = (position - levels) ** 2 + ask * np.array(classes.prices)[:, None]
            level = levels[cost.argmin(0), np.arange(len(levels[0]))].astype(np.int64)
            chosen = np.where(best < 0, -level, level)
            change = unit[:, i] * (codes[:, i] - chosen)
            rows = np.flatnonzero(change)
            if rows.size:
                moved = True
                codes[rows, i] = chosen[rows]
                wrong[rows, i] += change[rows]
                slope[rows] += change[rows, None] * spread[i]
        if not moved:
            break
    return codes


def _descend(
    exact: FloatArray,
    codes: Int64Array,
    scale: FloatArray,
    levels: Levels,
    spread: FloatArray,
    passes: int,
) -> Int64Array:
    """Coordinate descent, all rows (output channels) at once."""
    codes = codes.copy()
    wrong = exact - np.ldexp(codes * scale, -levels.bits)
    slope = wrong @ spread  # half the gradient
    for _ in range(passes):
        moved = False
        for i in np.flatnonzero(np.diag(spread) > 0):
            others = slope[:, i] / spread[i, i] - wrong[:, i]
            best = exact[:, i] + others  # where this weight would best be
            chosen = nearest(best[:, None], levels, scale[:, i])[:, 0]
            change = np.ldexp((codes[:, i] - chosen) * scale[:, i], -levels.bits)
            rows = np.flatnonzero(change)
            if rows.size:
                moved = True
                codes[rows, i] = chosen[rows]
                wrong[rows, i] += change[rows]
                slope[rows] += change[rows, None] * spread[i]
        if not moved:
            break
    return codes


def output_error(weights: FloatArray, result: Result, covariance: FloatArray) -> FloatArray:
    """Return each output channel's expected squared error, (co,), but for its mean."""
    outputs = weights.shape[0]
    wrong = (weights - result.values()).reshape(
        covariance.shape[0], outputs // covariance.shape[0], -1
    )
    error: FloatArray = np.einsum("gon,gnm,gom->go", wrong, covariance, wrong).reshape(outputs)
    return error
