"""Dyadic weights for a budget of signed digits, instead of for a set.

Each weight is any level of a fine grid (k/64), its cost the canonical signed digits of the level; a
weight of d digits is d shifted copies of its input, so digits - 1 are the additions of a sum.
Minimised is the squared error of all layers together, each times its importance, under one budget:
a single multiplier lambda says what a digit must gain, wherever it is spent.

For given lambda and scale s the weights separate: each takes the best of the levels nearest to it
among those of 0, 1, 2, ... digits, which is the lower convex hull of (digits, error). Scales
alternate with that, ``s = <M, T> / <T, T>``, from several starts. lambda is taken from a ladder;
between two of its rungs, digits go to the weights that gain most by one, scales following. So a
result does not depend on the budget but by where the ladder is left, and a larger budget is never
worse where all rungs are looked at (up to ``SMALL`` weights; beyond that, the last few).

``adder_budget_exact.py`` has the exact optimum for small groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.adder_budget_layer import GRID, Options, Part, State
from hwgen.compress.methods.checks import finite
from hwgen.compress.methods.dyadic import SETS, Levels, Result, grouped
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import int64

__all__ = ["GRID", "Options", "spread"]

RUNG = 2  # rungs of the ladder in a factor of 2 of lambda
RUNGS = 40 * RUNG  # down to 2**-40 of the largest squared weight
SMALL = 512  # weights up to which every rung is looked at


def spread(
    layers: Sequence[npt.ArrayLike], digits: int, options: Options | Sequence[Options]
) -> tuple[Result, ...]:
    """Approximate the weights of layers with at most so many signed digits in all.

    Parameters
    ----------
    layers : sequence of arrays, (co, ci, kh, kw) or (outputs, inputs)
        Left alone.
    digits : int
        Of all weights together.
    options : Options, or one a layer

    Returns
    -------
    A ``dyadic.Result`` a layer.

    Raises: HwgenError if weights are not finite, the budget is negative, or options do not fit.
    """
    if digits < 0:
        raise HwgenError(f"A budget of 0 digits or more needed, not {digits}")
    chosen = [options] * len(layers) if isinstance(options, Options) else list(options)
    if not layers or len(chosen) != len(layers):
        raise HwgenError(
            f"Options for each of 1 or more layers needed, not {len(chosen)} for {len(layers)}"
        )
    problem = _Problem(layers, chosen)
    return problem.results(problem.best(digits))


class _Problem:
    """Layers as rows of magnitudes, and the search over the ladder."""

    def __init__(self, layers: Sequence[npt.ArrayLike], options: Sequence[Options]) -> None:
        self.arrays = [finite(layer, dimensions=(2, 3, 4), what="Weights") for layer in layers]
        self.options = options
        self.parts = []
        for array, choice in zip(self.arrays, options, strict=True):
            rows, shape = grouped(array, choice.scale)
            self.parts.append(Part(np.abs(rows), shape, choice))
        # All layers over a power of two that brings the largest weight to 1: squares neither vanish
        # nor overflow, and scales keep their digits.
        top = max(float(part.rows.max(initial=0.0)) for part in self.parts)
        self.top = float(np.ldexp(1.0, int(np.frexp(top)[1]))) if top > 0 else 1.0
        for part in self.parts:
            part.rows = part.rows / self.top
        self.size = sum(part.rows.size for part in self.parts)
        self.highest = max(
            part.options.importance * float(part.rows.max(initial=0.0)) ** 2 for part in self.parts
        )

    def best(self, budget: int) -> list[State]:
        """Return the best choice found that keeps to the budget."""
        rungs = range(RUNGS + 1) if self.size <= SMALL else self._last_rungs(budget)
        least, found = np.inf, self._zeros()
        for state in (*self._known(), *self.rungs(rungs)):
            if self.digits(state) > budget:
                continue
            filled = self._filled(state, budget)
            if (error := self.error(filled)) < least:
                least, found = error, filled
        return found

    def _last_rungs(self, budget: int) -> tuple[int, int]:
        """Return the last two rungs that keep to the budget."""
        inside, outside = 0, RUNGS + 1
        while outside - inside > 1:
            middle = (inside + outside) // 2
            if self.digits(self.rungs([middle])[0]) <= budget:
                inside = middle
            else:
                outside = middle
        return max(inside - 1, 0), inside

    def rungs(self, rungs: Sequence[int]) -> list[list[State]]:
        """Return the choice at lambda = highest / 2**(rung / RUNG), for each rung."""
        prices = self.highest * 2.0 ** (-np.array(rungs) / RUNG)
        found = [part.solve_all(prices / part.options.importance) for part in self.parts]
        return [list(states) for states in zip(*found, strict=True)]

    def digits(self, states: Sequence[State]) -> int:
        return sum(int(digit_count(state.codes.astype(np.int64)).sum()) for state in states)

    def error(self, states: Sequence[State]) -> float:
        return sum(
            part.options.importance * float(part.errors(state).sum())
            for part, state in zip(self.parts, states, strict=True)
        )

    def results(self, states: Sequence[State]) -> tuple[Result, ...]:
        found = []
        for part, state, array in zip(self.parts, states, self.arrays, strict=True):
            codes = np.where(array < 0, -1, 1) * state.codes.astype(np.int64).reshape(array.shape)
            bits = part.options.levels.bits
            used = state.codes.any(1)
            scale = np.where(used, np.ldexp(state.unit * self.top, bits), 1.0)
            found.append(
                Result(
                    int64(codes),
                    bits,
                    scale.reshape(part.shape),
                    (part.errors(state) * self.top**2).reshape(part.shape),
                    (np.einsum("gn,gn->g", part.rows, part.rows) * self.top**2).reshape(part.shape),
                )
            )
        return tuple(found)

    def _zeros(self) -> list[State]:
        return [
            State(np.zeros(part.rows.shape), np.ones(len(part.rows))) for part in self.parts
        ]

    def _known(self) -> list[list[State]]:
        """The optima of the named sets that lie in the grids, so that none of them is better."""
        if self.size > SMALL or any(part.options.scale_digits for part in self.parts):
            return [self._zeros()]
        found = [self._zeros(), [part.swept(part.options.levels) for part in self.parts]]
        for magnitudes in SETS.values():
            if all(set(magnitudes) <= set(part.options.levels.magnitudes) for part in self.parts):
                found.append([part.swept(Levels(magnitudes)) for part in self.parts])
        return found

    def _filled(self, states: Sequence[State], budget: int) -> list[State]:
        """Spend what is left of the budget on the weights that gain most by a digit."""
        left = budget - self.digits(states)
        lists = [part.upgrades(state) for part, state in zip(self.parts, states, strict=True)]
        ratio = np.concatenate([found.ratio for found in lists])
        order = np.argsort(-ratio, kind="stable")
        price = np.concatenate([found.price for found in lists])[order]
        order = order[: int(np.searchsorted(np.cumsum(price), left, side="right"))]
        if not order.size:
            return [
                part.refit(state) for part, state in zip(self.parts, states, strict=True)
            ]
        change = np.zeros(ratio.size)
        first = 0
        for part, state, found in zip(self.parts, states, lists, strict=True):
            own = order[(order >= first) & (order < first + found.ratio.size)] - first
            change[first + own] = part.changes(state, found, own)
            first += found.ratio.size
        total = np.concatenate([[0.0], np.cumsum(change[order])])
        taken = order[: int(total.argmin())]
        filled, first = [], 0
        for part, state, found in zip(self.parts, states, lists, strict=True):
            own = taken[(taken >= first) & (taken < first + found.ratio.size)] - first
            codes = state.codes.copy().ravel()
            codes[found.weight[own]] = found.level[own]  # a weight's last level comes last
            filled.append(part.refit(State(codes.reshape(state.codes.shape), state.unit)))
            first += found.ratio.size
        return filled
