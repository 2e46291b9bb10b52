"""Weights under a budget of signed digits, chosen for the error they make at the layer's output.

As ``output_error.py``, weight by weight, but a move has to gain the price of the digits that it
takes. ``error + price * digits`` falls with every move; the price is bisected to the budget.
"""

from __future__ import annotations

import numpy as np

from hwgen.compress.methods.adder_budget_layer import Classes
from hwgen.compress.methods.dyadic import FloatArray, Levels, Result
from hwgen.compress.methods.output_error import RefineOptions, by_output, groups_of, with_codes
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array

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
    exact, scale, codes = by_output(weights, start, covariance)
    classes, unit = Classes(levels), np.ldexp(scale, -levels.bits)
    parts = list(groups_of(len(codes), covariance, options.ridge))
    highest = float(np.abs(exact).max()) ** 2 * max(float(np.diag(r).max()) for _, r in parts)
    least = sum(_cost(exact[rows] - unit[rows] * codes[rows], r) for rows, r in parts)
    best, inside, outside = codes, 0, PRICES
    while outside - inside > 1:
        middle = (inside + outside) // 2
        trial, error = codes.copy(), 0.0
        for rows, spread in parts:
            trial[rows] = _descend(
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
    return with_codes(weights, start, best, scale)


def _cost(wrong: FloatArray, spread: FloatArray) -> float:
    return float(np.einsum("on,on->", wrong @ spread, wrong))


def _descend(
    exact: FloatArray,
    codes: Int64Array,
    unit: FloatArray,
    classes: Classes,
    spread: FloatArray,
    price: float,
    passes: int,
) -> Int64Array:
    """Coordinate descent, all rows (output channels) at once, each digit at a price."""
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
