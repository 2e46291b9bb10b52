"""The exact optimum of weights under a budget of signed digits: for small groups, and as a check.

No scale is searched. For levels T the best scale is <M, T> / <T, T>, its error ``|M|^2 - <M, T>^2 /
<T, T>``; so among all T of the same digits and the same <T, T>, a whole number, the one with the
largest <M, T> is best. A dynamic programme over the weights keeps that largest value ::

    best[b, q] = largest <M, T> of the weights so far, with at most b digits, <T, T> = q

and its last table gives the group's error for every budget at once. A knapsack with one choice for
each group (groups after groups, best error for every number of digits) spends the budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.adder_budget import GRID
from hwgen.compress.methods.checks import finite, unit
from hwgen.compress.methods.dyadic import FloatArray, Levels, Result, Scale, grouped
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

LARGEST_TABLE = 1 << 26  # entries of a group's tables together, about 200 MB
_NONE = -np.inf


class Curve:
    """The least error of a group of weights for every number of digits.

    Parameters
    ----------
    magnitudes : (N,) float64, >= 0
    levels : Levels
    digits : int
        The largest number that is looked at.

    Raises: HwgenError if the tables would be too large.
    """

    def __init__(self, magnitudes: FloatArray, levels: Levels, digits: int) -> None:
        self.magnitudes = magnitudes
        steps = levels.integers
        prices = digit_count(steps)
        self._steps = steps
        most = min(digits, int(prices.max()) * len(magnitudes))
        size = int(steps[-1]) ** 2 * len(magnitudes) + 1
        if (entries := (most + 1) * size * len(magnitudes)) > LARGEST_TABLE:
            raise HwgenError(
                f"The exact optimum needs a table of at most {LARGEST_TABLE} entries, not {entries}"
                f" ({len(magnitudes)} weights, {most} digits); a coarser grid has a smaller one"
            )
        table = np.full((most + 1, size), _NONE)
        table[:, 0] = 0.0
        self._choices = np.zeros((len(magnitudes), most + 1, size), np.uint16)
        reach = 0  # largest <T, T> so far
        for place, value in enumerate(magnitudes):
            before = table[:, : reach + 1].copy()
            reach += int(steps[-1]) ** 2
            for choice in range(1, len(steps)):
                step, price = int(steps[choice]), int(prices[choice])
                if price > most:
                    continue
                trial = before[: most + 1 - price] + value * step
                area = (slice(price, None), slice(step * step, step * step + before.shape[1]))
                better = trial > table[area]
                table[area][better] = trial[better]
                self._choices[place][area][better] = choice
        norms = np.arange(size, dtype=np.float64)
        gain = np.zeros_like(table)
        np.divide(np.square(table, where=table > 0, out=gain), norms, out=gain, where=norms > 0)
        self._best = gain.argmax(1)
        energy = float((magnitudes**2).sum())
        self.errors: FloatArray = np.maximum(energy - gain.max(1), 0.0)

    def codes(self, digits: int) -> Int64Array:
        """Return the levels of the optimum for at most so many digits, as whole numbers."""
        left, norm = min(digits, len(self.errors) - 1), 0
        norm = int(self._best[left])
        found = np.zeros(len(self.magnitudes), np.int64)
        prices = digit_count(self._steps)
        for place in reversed(range(len(self.magnitudes))):
            choice = int(self._choices[place, left, norm])
            found[place] = self._steps[choice]
            left -= int(prices[choice])
            norm -= int(self._steps[choice]) ** 2
        assert left >= 0
        assert norm == 0
        return found


def knapsack(curves: Sequence[FloatArray], budget: int) -> tuple[int, ...]:
    """Return how many digits each group gets so that the sum of errors is least.

    Parameters: curves, a falling array of errors by digits for each group; budget, >= 0.
    """
    best = np.zeros(budget + 1)
    taken: list[npt.NDArray[np.intp]] = []
    for curve in curves:
        trial = np.full((len(curve), budget + 1), np.inf)
        for digits in range(min(len(curve), budget + 1)):
            trial[digits, digits:] = best[: budget + 1 - digits] + curve[digits]
        taken.append(trial.argmin(0))
        best = trial.min(0)
    left, shares = budget, []
    for choice in reversed(taken):
        shares.append(int(choice[left]))
        left -= shares[-1]
    return tuple(reversed(shares))


def spread_exactly(
    weights: npt.ArrayLike, digits: int, *, levels: Levels = GRID, scale: Scale = Scale.KERNEL
) -> Result:
    """Return the weights of a layer with the least squared error for at most so many digits.

    The global optimum over levels, scales (real) and the sharing of digits among the groups.

    Parameters: weights, (co, ci, kh, kw) or (outputs, inputs); digits, of all of them; levels, the
    grid; scale, which weights share one.
    Raises: HwgenError if weights are not finite, the budget is negative, or a group is too large.
    """
    if digits < 0:
        raise HwgenError(f"A budget of 0 digits or more needed, not {digits}")
    array = finite(weights, dimensions=(2, 3, 4), what="Weights")
    small, factor = unit(array)
    rows, shape = grouped(small, scale)
    curves = [Curve(row, levels, digits) for row in np.abs(rows)]
    most = sum(len(curve.errors) - 1 for curve in curves)
    shares = knapsack([curve.errors for curve in curves], min(digits, most))
    codes = np.stack([curve.codes(share) for curve, share in zip(curves, shares, strict=True)])
    codes = np.where(rows < 0, -codes, codes)
    whole = codes.astype(np.float64)
    mt, tt = (rows * whole).sum(1), (whole**2).sum(1)
    own = np.divide(mt, tt, out=np.zeros_like(mt), where=tt > 0)
    error = ((rows - own[:, None] * whole) ** 2).sum(1) * factor**2
    return Result(
        int64(codes.reshape(array.shape)),
        levels.bits,
        np.where(own > 0, np.ldexp(own * factor, levels.bits), 1.0).reshape(shape),
        error.reshape(shape),
        ((rows**2).sum(1) * factor**2).reshape(shape),
    )
