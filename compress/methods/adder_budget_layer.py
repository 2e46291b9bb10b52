"""One layer under a price of a signed digit: the levels and scales that are cheapest together.

The inner half of ``adder_budget.py``, which says what is minimised. Weights are magnitudes, levels
whole numbers, and a unit is what the level 1 is worth: the scale over ``2**bits``.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.dyadic import SETS, FloatArray, Levels, Scale, mantissas, sweep
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array

GRID = Levels(tuple(Fraction(k, 64) for k in range(1, 65)))
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
class State:
    """A choice for rows of weights: levels in whole numbers, and what one of them is worth."""

    codes: FloatArray  # (G, N), of the magnitudes
    unit: FloatArray  # (G,)


@dataclass(frozen=True, eq=False)
class Upgrades:
    """Steps along the hulls: the weight (flat), its level after the step, digits, gain a digit."""

    weight: npt.NDArray[np.intp]
    before: FloatArray
    level: FloatArray
    price: Int64Array
    ratio: FloatArray


class Part:
    """The magnitudes of one layer, a row for each scale."""

    def __init__(self, rows: FloatArray, shape: tuple[int, ...], options: Options) -> None:
        self.rows, self.shape, self.options = rows, shape, options
        self.classes = Classes(options.levels)
        self._starts: FloatArray | None = None

    def swept(self, levels: Levels) -> State:
        """Return the optimum of a set inside the grid."""
        scale, codes, _ = sweep(self.rows, levels)
        up = self.options.levels.bits - levels.bits
        return State(
            np.ldexp(np.abs(codes).astype(np.float64), up),
            np.ldexp(scale, -self.options.levels.bits),
        )

    def errors(self, state: State) -> FloatArray:
        wrong = self.rows - state.unit[:, None] * state.codes
        error: FloatArray = np.einsum("gn,gn->g", wrong, wrong)
        return error

    def refit(self, state: State) -> State:
        """Return the best scales for given levels, if scales are free."""
        if self.options.scale_digits is not None:
            return state
        mt = np.einsum("gn,gn->g", self.rows, state.codes)
        tt = np.einsum("gn,gn->g", state.codes, state.codes)
        return State(state.codes, np.divide(mt, tt, out=state.unit.copy(), where=mt > 0))

    def starts(self) -> FloatArray:
        """Return units to start from, (G, starts)."""
        if self._starts is None:
            top = self.rows.max(1, initial=0.0) / int(self.options.levels.integers[-1])
            even = np.where(top > 0, top, 1.0)[:, None] * 2.0 ** -np.linspace(-1.0, 0.6, STARTS)
            sets = [Levels(SETS["T3"]), Levels(SETS["P7"]), self.options.levels]
            own = [np.ldexp(sweep(self.rows, s)[0], -self.options.levels.bits) for s in sets]
            self._starts = np.concatenate([even, np.stack(own, 1)], axis=1)
        return self._starts

    def solve_all(self, prices: FloatArray) -> list[State]:
        """Return the choice for each of several prices, all of them worked on together."""
        count, size = self.rows.shape
        starts = self.starts()
        each = np.repeat(prices, count)
        codes, unit = np.zeros((len(each), size)), np.ones(len(each))
        step = max(1, CHUNK // max(1, size))

        def one(first: int) -> None:
            part = slice(first, min(first + step, len(each)))
            which = np.arange(part.start, part.stop) % count
            codes[part], unit[part] = self._solve(self.rows[which], starts[which], each[part])

        if len(each) <= step:
            one(0)
        else:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                list(pool.map(one, range(0, len(each), step)))
        return [
            State(*pair) for pair in zip(
                np.split(codes, len(prices)), np.split(unit, len(prices)), strict=True
            )
        ]

    def _solve(
        self, rows: FloatArray, starts: FloatArray, price: FloatArray
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
        self, rows: FloatArray, unit: FloatArray, price: FloatArray
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
        self, rows: FloatArray, unit: FloatArray, price: FloatArray
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
            levels, paid = self._choose(rows[near], trial[near], price[near])
            wrong = rows[near] - trial[near, None] * levels
            cost = np.einsum("gn,gn->g", wrong, wrong) + price[near] * paid
            better = cost < best[near]
            at = near[better]
            best[at], codes[at], chosen[at] = cost[better], levels[better], trial[at]
        return codes, chosen

    def upgrades(self, state: State) -> Upgrades:
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
        return Upgrades(*columns)

    def changes(
        self, state: State, found: Upgrades, order: npt.NDArray[np.intp]
    ) -> FloatArray:
        """Return what each of some upgrades, taken in order, changes in the layer's error."""
        weight, before, after = found.weight[order], found.before[order], found.level[order]
        values = self.rows.ravel()[weight]
        group = weight // self.rows.shape[1]
        if self.options.scale_digits is not None:
            unit = state.unit[group]
            fixed: FloatArray = (values - unit * after) ** 2 - (values - unit * before) ** 2
            return fixed * self.options.importance
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
