"""The dyadic approximation as the 0-1 programme of the paper, by PuLP: the reference of the sweep,
and the way to couple kernels.

Ref: R. J. Cintra, S. Duffner, C. Garcia, A. Leite, "Low-complexity approximate convolutional neural
networks", IEEE Trans. Neural Networks and Learning Systems 29(12), 2018: kernels over a set D of
dyadic rationals by a binary programme in the Frobenius norm. For scales s that are given, ::

    minimise    sum over i, d of (m_i - s d)^2 x_id        x_id in {0, 1}
    subject to  sum over d of x_id = 1 for every weight i
                sum over i, d of digits(d) x_id <= budget  (only if one is asked for)

s is outside the programme: it is solved again for each of several scales, and the best is kept.
Many kernels go into one model, because starting the solver costs more than a kernel.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pulp

from hwgen.compress.methods.checks import finite
from hwgen.compress.methods.dyadic import FloatArray, Levels, Options, Result, grouped
from hwgen.cost import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

POINTS = 64  # scales of a grid
LARGEST_MODEL = 100_000  # binary variables of a model, about
COST_UNIT = 1024.0  # costs are near 1; solvers take differences below 1e-7 for none


class Engine(Enum):
    """Which solver. AUTO is HiGHS where ``highspy`` is installed, CBC (part of PuLP) elsewhere."""

    AUTO = "auto"
    CBC = "cbc"
    HIGHS = "highs"


@dataclass(frozen=True, eq=False)
class Solution:
    """An optimum of the programme.

    Parameters
    ----------
    scale : (G,) float64
    codes : (G, N) int64
        Levels times ``2**levels.bits``.
    error : (G,) float64
        Squared error at that scale.
    seconds : float
        What the solver itself says it took; models are built and passed on outside of it.
    """

    scale: FloatArray
    codes: Int64Array
    error: FloatArray
    seconds: float


class Programme:
    """The programme of groups of weights, for any scales: variables and constraints are built once.

    Parameters
    ----------
    groups : (G, N) array
        Weights, finite; a row for each scale.
    levels : Levels
    budget : int, optional
        Signed digits that all levels chosen may have together.
    engine : Engine

    Raises: HwgenError if weights are not finite, the budget is negative, or HiGHS is asked for and
    not installed.
    """

    def __init__(
        self,
        groups: FloatArray,
        levels: Levels,
        *,
        budget: int | None = None,
        engine: Engine = Engine.AUTO,
    ) -> None:
        if budget is not None and budget < 0:
            raise HwgenError(f"A budget of 0 digits or more needed, not {budget}")
        self.groups = finite(groups, dimensions=(2,), what="Weights")
        self.levels = levels
        self._engine = _available(engine)
        steps = levels.integers
        self._steps = np.concatenate([-steps[:0:-1], steps])
        top = np.abs(self.groups).max(1)
        self._top = np.where(top > 0, top, 1.0)
        self._problem = pulp.LpProblem("dyadic", pulp.LpMinimize)
        count = self.groups.size
        self._x = [
            [pulp.LpVariable(f"x_{i}_{d}", cat=pulp.LpBinary) for d in range(len(self._steps))]
            for i in range(count)
        ]
        for choices in self._x:
            self._problem += pulp.LpAffineExpression([(x, 1) for x in choices]) == 1
        if budget is not None:
            price = digit_count(self._steps).tolist()
            used = [
                (x, digits)
                for choices in self._x
                for x, digits in zip(choices, price, strict=True)
                if digits
            ]
            self._problem += pulp.LpAffineExpression(used) <= budget

    def solve(self, scale: FloatArray) -> Solution:
        """Return the optimum for scales (G,) > 0.

        Raises: HwgenError if the solver ends without one.
        """
        given = np.asarray(scale, np.float64)
        if given.shape != (len(self.groups),) or not np.all(given > 0):
            raise HwgenError(
                f"{len(self.groups)} positive scales needed, not {given.shape}, least "
                f"{given.min(initial=np.inf):g}"
            )
        # Each group over its largest weight, so that costs are near 1; a budget couples groups, so
        # there all are over the same one.
        coupled = self._problem.numConstraints() > len(self._x)
        unit = np.full_like(self._top, self._top.max()) if coupled else self._top
        wrong = (
            self.groups[:, :, None] / unit[:, None, None]
            - (given / unit)[:, None, None] * np.ldexp(1.0 * self._steps, -self.levels.bits)
        )
        cost = (COST_UNIT * wrong**2).reshape(len(self._x), -1).tolist()
        self._problem.setObjective(
            pulp.LpAffineExpression(
                [
                    pair
                    for choices, costs in zip(self._x, cost, strict=True)
                    for pair in zip(choices, costs, strict=True)
                ]
            )
        )
        seconds = _run(self._problem, self._engine)
        picked = [
            max(range(len(choices)), key=lambda d: choices[d].varValue or 0.0)
            for choices in self._x
        ]
        codes = self._steps[np.array(picked)].reshape(self.groups.shape)
        values = given[:, None] * np.ldexp(1.0 * codes, -self.levels.bits)
        return Solution(given, int64(codes), ((self.groups - values) ** 2).sum(1), seconds)


def search(programme: Programme, scales: FloatArray) -> Solution:
    """Return the best of several scales for each group: the programme once for each column.

    Parameters: scales, (G, points) float64, > 0. Every solution also gets the scale that is best
    for its levels, <M, T> / <T, T>, before the best is taken.
    """
    groups, bits = programme.groups, programme.levels.bits
    energy = (groups**2).sum(1)
    best = Solution(np.ones(len(groups)), int64(np.zeros(groups.shape, int)), energy, 0.0)
    for column in np.asarray(scales, np.float64).T:
        found = programme.solve(column)
        whole = found.codes.astype(np.float64)
        mt, tt = (groups * whole).sum(1), (whole**2).sum(1)
        own = np.ldexp(np.divide(mt, tt, out=np.zeros_like(mt), where=tt > 0), bits)
        scale = np.where(own > 0, own, column)
        error = ((groups - scale[:, None] * np.ldexp(whole, -bits)) ** 2).sum(1)
        better = error < best.error
        best = Solution(
            np.where(better, scale, best.scale),
            int64(np.where(better[:, None], found.codes, best.codes)),
            np.where(better, error, best.error),
            best.seconds + found.seconds,
        )
    return best


def grid(groups: FloatArray, levels: Levels, *, points: int = POINTS) -> FloatArray:
    """Return an even grid of scales for each group, (G, points).

    From a 20th of the scale that brings the largest weight to the largest level up to twice it:
    below, every weight is cut; above, all of them go to few levels or to none.
    """
    if points < 1:
        raise HwgenError(f"A grid of 1 or more scales needed, not {points}")
    top = np.abs(groups).max(1) / float(levels.magnitudes[-1])
    even: FloatArray = np.where(top > 0, top, 1.0)[:, None] * np.linspace(0.05, 2.0, points)
    return even


def breakpoints(groups: FloatArray, levels: Levels) -> FloatArray:
    """Return a scale of every interval between the breakpoints of each group, (G, N * levels).

    With them ``search`` is the exact optimum over scales too: slow, and for small groups.
    """
    steps = levels.integers * 2.0**-levels.bits
    edges = np.abs(groups)[:, :, None] / ((steps[1:] + steps[:-1]) / 2)
    edges = np.sort(edges.reshape(len(groups), -1), axis=1)
    lower = np.concatenate([edges[:, :1] / 2, edges[:, :-1]], axis=1)
    between = (edges + lower) / 2
    top = np.where(edges[:, -1:] > 0, edges[:, -1:], 1.0)
    return np.where(between > 0, between, top)


def approximate(
    weights: FloatArray, options: Options, *, points: int = POINTS, engine: Engine = Engine.AUTO
) -> Result:
    """Approximate a layer's weights as ``dyadic.approximate`` does, by the programme over a grid.

    Parameters: weights, (co, ci, kh, kw) or (outputs, inputs); options, with scale digits None
    (the grid's best scale is real); points, scales tried of each group.
    Raises: HwgenError as of ``Programme``, and if scale digits are asked for.
    """
    if options.scale_digits is not None:
        raise HwgenError("The 0-1 programme needs scale digits None (real scales)")
    array = finite(weights, dimensions=(2, 3, 4), what="Weights")
    groups, shape = grouped(array, options.scale)
    rows = max(1, LARGEST_MODEL // (groups.shape[1] * (2 * len(options.levels.integers) - 1)))
    parts = []
    for part in np.split(groups, range(rows, len(groups), rows)):
        programme = Programme(part, options.levels, engine=engine)
        parts.append(search(programme, grid(part, options.levels, points=points)))
    return Result(
        int64(np.concatenate([part.codes for part in parts]).reshape(array.shape)),
        options.levels.bits,
        np.concatenate([part.scale for part in parts]).reshape(shape),
        np.concatenate([part.error for part in parts]).reshape(shape),
        (groups**2).sum(1).reshape(shape),
    )


def _available(engine: Engine) -> Engine:
    highs = bool(pulp.HiGHS(msg=False).available())
    if engine is Engine.HIGHS and not highs:
        raise HwgenError("HiGHS needs the package highspy (pip install highspy); CBC is here")
    if engine is Engine.AUTO:
        return Engine.HIGHS if highs else Engine.CBC
    return engine


def _run(problem: Any, engine: Engine) -> float:
    """Solve; return the seconds that the solver reports."""
    if engine is Engine.HIGHS:
        _check(problem.solve(pulp.HiGHS(msg=False, gapRel=0)))
        return float(problem.solverModel.getRunTime())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "cbc.log")
        _check(problem.solve(pulp.PULP_CBC_CMD(msg=False, gapRel=0, logPath=str(log))))
        found = re.findall(r"Total time \(CPU seconds\):\s+([0-9.]+)", log.read_text())
    return float(found[-1]) if found else float(problem.solutionTime)


def _check(status: int) -> None:
    if status != pulp.LpStatusOptimal:
        raise HwgenError(
            f"The 0-1 programme ended {pulp.LpStatus[status]}, an optimum is needed"
        )
