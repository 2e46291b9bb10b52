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

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import finite
from hwgen.compress.methods.dyadic import (
    SETS,
    FloatArray,
    Levels,
    Result,
    Scale,
    grouped,
    mantissas,
    sweep,
)
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

GRID = Levels(tuple(Fraction(k, 64) for k in range(1, 65)))
RUNG = 2  # rungs of the ladder in a factor of 2 of lambda
RUNGS = 40 * RUNG  # down to 2**-40 of the largest squared weight
SMALL = 512  # weights up to which every rung is looked at
CHUNK = 1 << 17  # weights worked on at a time
STARTS = 10  # scales that each group is started from, besides those of three sets


@dataclass(frozen=True)
class Options:
    """What to spend digits on.

    Parameters
    ----------
    levels : Levels
        The grid.
    scale : Scale
        Which weights share a scale.
    scale_digits : int, optional
        Signed digits of each scale, 1 to 3; None leaves scales real.
    importance : float
        What a squared error of this layer counts beside those of others; > 0.
    """

    levels: Levels = GRID
    scale: Scale = Scale.FILTER
    scale_digits: int | None = None
    importance: float = 1.0

    def __post_init__(self) -> None:
        if self.scale_digits is not None and self.scale_digits not in (1, 2, 3):
            raise HwgenError(f"Scale digits must be 1, 2 or 3, not {self.scale_digits}")
        if not 0 < self.importance < float("inf"):
            raise HwgenError(f"Importance must be positive and finite, not {self.importance}")


@dataclass(frozen=True)
class Classes:
    """The levels of a grid by their digits: the nearest of each class, found in a table."""

    levels: Levels

    @cached_property
    def prices(self) -> tuple[int, ...]:
        """Digits that levels have, rising, 0 first."""
        return tuple(sorted(set(digit_count(self.levels.integers).tolist())))

    @cached_property
    def tables(self) -> tuple[FloatArray, ...]:
        """For each price the level nearest to a position p, by ``floor(2 p)``."""
        steps = self.levels.integers
        prices = digit_count(steps)
        halves = np.arange(2 * int(steps[-1]) + 2) / 2 + 0.25
        tables = []
        for price in self.prices:
            own = steps[prices == price]
            tables.append(own[np.abs(halves[:, None] - own).argmin(1)].astype(np.float64))
        return tuple(tables)

    def place(self, position: FloatArray) -> npt.NDArray[np.intp]:
        """Return the row of the tables for positions >= 0."""
        top = 2.0 * int(self.levels.integers[-1]) + 1
        return np.minimum(2 * position, top).astype(np.intp)


@dataclass(frozen=True, eq=False)
class _State:
    """A choice for rows of weights: levels in whole numbers, and what one of them is worth."""

    codes: FloatArray  # (G, N), of the magnitudes
    unit: FloatArray  # (G,)


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
            self.parts.append(_Part(np.abs(rows), shape, choice))
        # All layers over the largest weight, so that squares neither vanish nor overflow.
        top = max(float(part.rows.max(initial=0.0)) for part in self.parts)
        self.top = top if top > 0 else 1.0
        for part in self.parts:
            part.rows = part.rows / self.top
        self.size = sum(part.rows.size for part in self.parts)
        self.highest = max(
            part.options.importance * float(part.rows.max(initial=0.0)) ** 2 for part in self.parts
        )

    def best(self, budget: int) -> list[_State]:
        """Return the best choice found that keeps to the budget."""
        rungs = range(RUNGS + 1) if self.size <= SMALL else self._last_rungs(budget)
        least, found, over = np.inf, self._zeros(), 0
        for state in itertools.chain(self._known(), map(self.rung, rungs)):
            if self.digits(state) > budget:
                over += 1
                if over > 12:           # lambda is far too small by now
                    break
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
            if self.digits(self.rung(middle)) <= budget:
                inside = middle
            else:
                outside = middle
        return max(inside - 1, 0), inside

    def rung(self, rung: int) -> list[_State]:
        """Return the choice at lambda = highest / 2**(rung / RUNG)."""
        price = self.highest * 2.0 ** (-rung / RUNG)
        return [part.solve(price / part.options.importance) for part in self.parts]

    def digits(self, states: Sequence[_State]) -> int:
        return sum(int(digit_count(state.codes.astype(np.int64)).sum()) for state in states)

    def error(self, states: Sequence[_State]) -> float:
        return sum(
            part.options.importance * float(part.errors(state).sum())
            for part, state in zip(self.parts, states, strict=True)
        )

    def results(self, states: Sequence[_State]) -> tuple[Result, ...]:
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

    def _zeros(self) -> list[_State]:
        return [
            _State(np.zeros(part.rows.shape), np.ones(len(part.rows))) for part in self.parts
        ]

    def _known(self) -> list[list[_State]]:
        """The optima of the named sets that lie in the grids, so that none of them is better."""
        if self.size > SMALL or any(part.options.scale_digits for part in self.parts):
            return [self._zeros()]
        found = [self._zeros(), [part.swept(part.options.levels) for part in self.parts]]
        for magnitudes in SETS.values():
            if all(set(magnitudes) <= set(part.options.levels.magnitudes) for part in self.parts):
                found.append([part.swept(Levels(magnitudes)) for part in self.parts])
        return found

    def _filled(self, states: Sequence[_State], budget: int) -> list[_State]:
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
            filled.append(part.refit(_State(codes.reshape(state.codes.shape), state.unit)))
            first += found.ratio.size
        return filled


@dataclass(frozen=True, eq=False)
class _Upgrades:
    """Steps along the hulls: the weight (flat), its level after the step, digits, gain a digit."""

    weight: npt.NDArray[np.intp]
    before: FloatArray
    level: FloatArray
    price: Int64Array
    ratio: FloatArray


class _Part:
    """The magnitudes of one layer, a row for each scale."""

    def __init__(self, rows: FloatArray, shape: tuple[int, ...], options: Options) -> None:
        self.rows, self.shape, self.options = rows, shape, options
        self.classes = Classes(options.levels)
        self._starts: FloatArray | None = None

    def swept(self, levels: Levels) -> _State:
        """Return the optimum of a set inside the grid."""
        scale, codes, _ = sweep(self.rows, levels)
        up = self.options.levels.bits - levels.bits
        return _State(
            np.ldexp(np.abs(codes).astype(np.float64), up),
            np.ldexp(scale, -self.options.levels.bits),
        )

    def errors(self, state: _State) -> FloatArray:
        wrong = self.rows - state.unit[:, None] * state.codes
        error: FloatArray = np.einsum("gn,gn->g", wrong, wrong)
        return error

    def refit(self, state: _State) -> _State:
        """Return the best scales for given levels, if scales are free."""
        if self.options.scale_digits is not None:
            return state
        mt = np.einsum("gn,gn->g", self.rows, state.codes)
        tt = np.einsum("gn,gn->g", state.codes, state.codes)
        return _State(state.codes, np.divide(mt, tt, out=state.unit.copy(), where=mt > 0))

    def starts(self) -> FloatArray:
        """Return units to start from, (G, starts)."""
        if self._starts is None:
            top = self.rows.max(1, initial=0.0) / int(self.options.levels.integers[-1])
            even = np.where(top > 0, top, 1.0)[:, None] * 2.0 ** -np.linspace(-1.0, 0.6, STARTS)
            sets = [Levels(SETS["T3"]), Levels(SETS["P7"]), self.options.levels]
            own = [np.ldexp(sweep(self.rows, s)[0], -self.options.levels.bits) for s in sets]
            self._starts = np.concatenate([even, np.stack(own, 1)], axis=1)
        return self._starts

    def solve(self, price: float) -> _State:
        """Return the choice for a price of a digit, in squares of weights."""
        starts = self.starts()
        codes, unit = np.zeros(self.rows.shape), np.ones(len(self.rows))
        step = max(1, CHUNK // max(1, self.rows.shape[1]))

        def one(first: int) -> None:
            part = slice(first, first + step)
            codes[part], unit[part] = self._solve(self.rows[part], starts[part], price)

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(one, range(0, len(self.rows), step)))
        return _State(codes, unit)

    def _solve(
        self, rows: FloatArray, starts: FloatArray, price: float
    ) -> tuple[FloatArray, FloatArray]:
        energy = np.einsum("gn,gn->g", rows, rows)
        best = energy.copy()
        codes, unit = np.zeros(rows.shape), starts[:, 0].copy()
        for start in starts.T:
            trial = start
            for _ in range(2):
                levels, paid = self._choose(rows, trial, price)
                trial, cost = _refitted(rows, levels, trial, energy)
                cost += price * paid
            better = cost < best
            best = np.where(better, cost, best)
            codes[better], unit[better] = levels[better], trial[better]
        for _ in range(12):
            levels, paid = self._choose(rows, unit, price)
            trial, cost = _refitted(rows, levels, unit, energy)
            cost += price * paid
            better = cost < best * (1 - 1e-12)
            if not better.any():
                break
            best = np.where(better, cost, best)
            codes[better], unit[better] = levels[better], trial[better]
        if self.options.scale_digits is not None:
            return self._snapped(rows, unit, price)
        return codes, unit

    def _choose(
        self, rows: FloatArray, unit: FloatArray, price: float
    ) -> tuple[FloatArray, FloatArray]:
        """Return each weight's best level for given units, and the digits of each row."""
        position = rows / unit[:, None]
        place = self.classes.place(position)
        ask = (price / unit**2)[:, None]
        cost, codes = position**2, np.zeros(rows.shape)
        paid = np.zeros(rows.shape)
        for digits, table in zip(self.classes.prices[1:], self.classes.tables[1:], strict=True):
            level = np.take(table, place)
            trial = (position - level) ** 2 + ask * digits
            better = trial < cost
            np.copyto(cost, trial, where=better)
            np.copyto(codes, level, where=better)
            paid[better] = digits
        return codes, paid.sum(1)

    def _snapped(
        self, rows: FloatArray, unit: FloatArray, price: float
    ) -> tuple[FloatArray, FloatArray]:
        """Return levels and units, units the best of few digits near the best real ones."""
        assert self.options.scale_digits is not None
        reach = 2.0 if self.options.scale_digits < 3 else 1.25
        octave = np.ldexp(1.0, np.floor(np.log2(unit)).astype(int))
        best, codes, chosen = np.full(len(rows), np.inf), np.zeros(rows.shape), octave.copy()
        factors = {
            float(np.ldexp(m, shift - m.bit_length() + 1))
            for m in mantissas(self.options.scale_digits)
            for shift in (-1, 0, 1)
        }
        for factor in sorted(factors):
            trial = octave * factor
            near = np.flatnonzero((trial <= unit * reach) & (trial * reach >= unit))
            if not near.size:
                continue
            levels, paid = self._choose(rows[near], trial[near], price)
            wrong = rows[near] - trial[near, None] * levels
            cost = np.einsum("gn,gn->g", wrong, wrong) + price * paid
            better = cost < best[near]
            at = near[better]
            best[at], codes[at], chosen[at] = cost[better], levels[better], trial[at]
        return codes, chosen

    def upgrades(self, state: _State) -> _Upgrades:
        """Return the steps of every weight along its hull, from where it is."""
        position = (self.rows / state.unit[:, None]).ravel()
        place = self.classes.place(position)
        levels = np.stack([np.take(table, place) for table in self.classes.tables])
        wrong = (position - levels) ** 2
        worth = np.repeat(state.unit**2 * self.options.importance, self.rows.shape[1])
        prices = np.array(self.classes.prices, dtype=np.int64)
        at = state.codes.ravel().copy()
        digits = digit_count(at.astype(np.int64))
        now = (position - at) ** 2
        weight = np.arange(position.size)
        steps: list[tuple[npt.NDArray[np.generic], ...]] = []
        while weight.size:
            more = prices[:, None] - digits[weight]
            gain = now[weight] - wrong[:, weight]
            rate = np.where((more > 0) & (gain > 0), gain / np.maximum(more, 1), 0.0)
            to = rate.argmax(0)
            some = rate[to, np.arange(weight.size)] > 0
            weight, to, rate = weight[some], to[some], rate[:, some]
            steps.append(
                (weight, at[weight], levels[to, weight], more[:, some][to, np.arange(weight.size)],
                 rate[to, np.arange(weight.size)] * worth[weight])
            )
            at[weight], digits[weight] = levels[to, weight], prices[to]
            now[weight] = wrong[to, weight]
        columns = [np.concatenate(column) for column in zip(*steps, strict=True)]
        return _Upgrades(*columns)

    def changes(
        self, state: _State, found: _Upgrades, order: npt.NDArray[np.intp]
    ) -> FloatArray:
        """Return what each of some upgrades, taken in order, changes in the layer's error."""
        weight, before, after = found.weight[order], found.before[order], found.level[order]
        values = self.rows.ravel()[weight]
        group = weight // self.rows.shape[1]
        if self.options.scale_digits is not None:
            unit = state.unit[group]
            change = (values - unit * after) ** 2 - (values - unit * before) ** 2
            return change * self.options.importance
        mt = np.einsum("gn,gn->g", self.rows, state.codes)
        tt = np.einsum("gn,gn->g", state.codes, state.codes)
        by_group = np.argsort(group, kind="stable")
        own = group[by_group]
        heads = np.searchsorted(own, own)  # where each one's group begins
        sums = []
        for base, step in (
            (mt, values * (after - before)), (tt, after**2 - before**2)
        ):
            running = np.concatenate([[0.0], np.cumsum(step[by_group])])
            sums.append(base[own] + running[1:] - running[heads])
        fit = sums[0] ** 2 / sums[1]
        start = np.divide(mt**2, tt, out=np.zeros_like(mt), where=tt > 0)
        last = np.where(np.arange(own.size) == heads, start[own], np.roll(fit, 1))
        change = np.empty(own.size)
        change[by_group] = (last - fit) * self.options.importance
        return change


def _refitted(
    rows: FloatArray, codes: FloatArray, unit: FloatArray, energy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the best units for levels, and the squared error with them."""
    mt = np.einsum("gn,gn->g", rows, codes)
    tt = np.einsum("gn,gn->g", codes, codes)
    error = energy - np.divide(mt**2, tt, out=np.zeros_like(mt), where=tt > 0)
    return np.divide(mt, tt, out=unit.copy(), where=mt > 0), np.maximum(error, 0.0)
