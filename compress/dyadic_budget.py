"""``--method dyadic`` beyond a set for every layer: budgets, the solver, biases and pooling.

``dyadic:budget=1.2``    signed digits a weight, over all layers together, in place of a set
``dyadic:adders=900``    two-input adders of all layers' shared graphs together, in place of a set
``dyadic:P7,solver=ilp`` the paper's 0-1 programme in place of the sweep (for small networks)
``dyadic:P7,bias=2,pool=1``  signed digits of biases, and of pooling coefficients

The other options of ``dyadic`` go with them. A budget is spent where it lowers the relative error
of the layers' outputs most; with ``norm=data`` each layer's weights are then moved on, its digits
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from hwgen.compress.methods import adder_budget, dyadic_ilp
from hwgen.compress.methods.dyadic import FloatArray, Levels, Options, Result, Scale, grouped, snap
from hwgen.compress.methods.dyadic_cost import spread_adders
from hwgen.compress.methods.elements import MAX_DIGITS
from hwgen.compress.methods.output_budget import refine_budget
from hwgen.errors import HwgenError

KEYS = ("budget", "adders", "solver", "bias", "pool")
LARGEST_PROGRAMME = 1_000_000  # binary variables of a layer


class Solver(Enum):
    """What finds the weights of a set."""

    SWEEP = "sweep"
    ILP = "ilp"


@dataclass(frozen=True)
class Choice:
    """What was asked for.

    Parameters
    ----------
    budget : float, optional
        Signed digits a weight.
    adders : int, optional
        Of all layers.
    solver : Solver
    bias, pool : int, optional
        Signed digits of a bias, and of a pooling coefficient; None leaves them as they are.
    """

    budget: float | None = None
    adders: int | None = None
    solver: Solver = Solver.SWEEP
    bias: int | None = None
    pool: int | None = None

    @property
    def spends(self) -> bool:
        """True if there is a budget in place of a set."""
        return self.budget is not None or self.adders is not None

    @property
    def text(self) -> str:
        """Return the options that ask for this choice, "" for the default."""
        words = []
        if self.budget is not None:
            words.append(f"budget={self.budget:g}")
        if self.adders is not None:
            words.append(f"adders={self.adders}")
        if self.solver is not Solver.SWEEP:
            words.append(f"solver={self.solver.value}")
        for name in ("bias", "pool"):
            if getattr(self, name) is not None:
                words.append(f"{name}={getattr(self, name)}")
        return ",".join(words)


def parse(text: str) -> tuple[Choice, str]:
    """Return the choice that options make, and the options that are not of this module.

    Parameters: text, what follows ``dyadic:``.
    Raises: HwgenError, one line, for a value out of place or options that contradict each other.
    """
    fields: dict[str, str] = {}
    others = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in KEYS:
            others.append(part)
            continue
        if key in fields:
            raise HwgenError(f"--method dyadic: {key} once needed, not twice")
        fields[key] = value
    choice = Choice(
        _number(fields, "budget"),
        _whole(fields, "adders", 0, 1 << 31),
        _solver(fields.get("solver", Solver.SWEEP.value)),
        _whole(fields, "bias", 1, MAX_DIGITS),
        _whole(fields, "pool", 1, 3),
    )
    if choice.budget is not None and choice.adders is not None:
        raise HwgenError("--method dyadic: budget or adders needed, not both")
    if choice.spends:
        bare = {scale.value for scale in Scale}
        sets = [part for part in others if part and "=" not in part and part not in bare]
        sets += [part for part in others if part.startswith("set=")]
        if sets:
            raise HwgenError(
                f"--method dyadic: a set or a budget needed, not {sets[0]!r} beside one"
            )
        if choice.solver is Solver.ILP:
            raise HwgenError("--method dyadic: solver=ilp goes with a set, not with a budget")
    return choice, ",".join(part for part in others if part)


def _number(fields: Mapping[str, str], key: str) -> float | None:
    if key not in fields:
        return None
    try:
        value = float(fields[key])
    except ValueError:
        value = float("nan")
    if not 0 <= value <= MAX_DIGITS:
        raise HwgenError(
            f"--method dyadic: {key}, signed digits a weight, from 0 to {MAX_DIGITS} needed, "
            f"not {fields[key]!r}"
        )
    return value


def _whole(fields: Mapping[str, str], key: str, least: int, most: int) -> int | None:
    if key not in fields:
        return None
    text = fields[key]
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise HwgenError(
            f"--method dyadic: {key}, a whole number from {least} to {most}, needed, not {text!r}"
        )
    return int(text)


def _solver(text: str) -> Solver:
    try:
        return Solver(text)
    except ValueError as error:
        raise HwgenError(
            f"--method dyadic: solver=sweep or ilp needed, not {text!r}"
        ) from error


@dataclass(frozen=True, eq=False)
class Task:
    """The weights of one layer, and how they may be approximated.

    Parameters
    ----------
    weight : (co, ci, kh, kw) or (outputs, inputs) float64
    scale : Scale
    scale_digits : int, optional
        None for a real scale: the last layer of a classifier.
    covariance : (groups, N, N) float64, optional
        Of its inputs; with it, errors are those of the output.
    """

    weight: FloatArray
    scale: Scale
    scale_digits: int | None
    covariance: FloatArray | None = None


def spend(tasks: Mapping[str, Task], choice: Choice) -> dict[str, Result]:
    """Return the weights of all layers within the budget of the choice.

    Raises: HwgenError as of ``adder_budget.spread``.
    """
    layers = [task.weight for task in tasks.values()]
    options = [
        adder_budget.Options(
            scale=task.scale, scale_digits=task.scale_digits, importance=_importance(task)
        )
        for task in tasks.values()
    ]
    if choice.adders is not None:
        found = spread_adders(layers, choice.adders, options)
    else:
        assert choice.budget is not None
        digits = int(choice.budget * sum(layer.size for layer in layers))
        found = adder_budget.spread(layers, digits, options)
    results = {}
    for (name, task), result in zip(tasks.items(), found, strict=True):
        # True adders are those of these very weights, so they are not moved again.
        if task.covariance is not None and choice.adders is None:
            result = refine_budget(task.weight, result, adder_budget.GRID, task.covariance)
        results[name] = result
    return results


def by_programme(task: Task, levels: Levels) -> Result:
    """Return a layer's weights by the 0-1 programme over a grid of scales; scales then snapped.

    Raises: HwgenError if the layer is too large for it.
    """
    binaries = task.weight.size * (2 * len(levels.integers) - 1)
    if binaries > LARGEST_PROGRAMME:
        raise HwgenError(
            f"solver=ilp needs a layer of at most {LARGEST_PROGRAMME} binary variables, not "
            f"{binaries}; solver=sweep finds the same optimum"
        )
    found = dyadic_ilp.approximate(task.weight, Options(levels, task.scale))
    if task.scale_digits is None:
        return found
    groups, shape = grouped(np.asarray(task.weight, np.float64), task.scale)
    scale, codes, error = snap(groups, levels, found.scale.ravel(), digits=task.scale_digits)
    return Result(
        codes.reshape(found.codes.shape), found.bits, scale.reshape(shape), error.reshape(shape),
        found.energy,
    )


def _importance(task: Task) -> float:
    """What a squared error of a weight counts: over the energy of the layer, or of its output."""
    weight = np.asarray(task.weight, np.float64)
    top = float(np.abs(weight).max(initial=0.0))
    if not 0 < top < float("inf"):
        return 1.0                      # weights of zeros; what is not finite is refused later
    ratio = weight / top
    if task.covariance is None:
        worth = 1.0 / float((ratio**2).sum())
    else:
        groups = len(task.covariance)
        rows = ratio.reshape(groups, len(ratio) // groups, -1)
        energy = float(np.einsum("gon,gnm,gom->", rows, task.covariance, rows))
        variance = float(np.einsum("gnn->", task.covariance)) / (groups * rows.shape[2])
        worth = variance / energy if energy > 0 else 1.0 / float((ratio**2).sum())
    return worth / top**2 if 0 < worth / top**2 < float("inf") else 1.0
