"""Integers for a layer's weights: dyadic or ternary, inside the layer's mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwgen.compress import dyadic_budget
from hwgen.compress.choices.ternary import TernaryChoice
from hwgen.compress.choices.treatment import Coder
from hwgen.compress.importers import graph as g
from hwgen.compress.methods import ternary
from hwgen.compress.methods.checks import BoolArray, FloatArray
from hwgen.compress.methods.dyadic import SETS, Levels, Options, Result, Scale, approximate
from hwgen.compress.methods.output_error import refine
from hwgen.compress.options import DyadicChoice, Norm
from hwgen.compress.stages.support import Support
from hwgen.errors import HwgenError

UNIT = Levels(SETS["T3"])


def encode(
    node: g.Conv | g.Dense,
    weight: FloatArray,
    mask: BoolArray | None,
    coder: Coder,
    *,
    last: bool,
    digits: int,
    pruned: bool = False,
    covariance: FloatArray | None = None,
) -> Result:
    """Return a layer's integer weights.

    Parameters
    ----------
    node : Conv or Dense
        The exact weights, which the errors are of.
    weight : float64 array
        What is coded: the exact weights after the earlier steps, zero outside the mask.
    mask : bool array or None
        Places that may be other than zero.
    coder : Coder
    last : bool
        The scores of a classifier: one real scale for all of them, nothing multiplies by it.
    digits : int
        Signed digits of the scales, where the coder leaves them open.
    pruned : bool
        Ternary weights inside the mask are none of them zero.
    covariance : float64 array or None, (groups, N, N)
        Of the layer's inputs: codes then move on to the least error at its output, unless the
        coder says otherwise.

    Raises: HwgenError, naming the layer, if weights are not finite.
    """
    places = None if last else coder.digits or digits
    try:
        if isinstance(coder, TernaryChoice):
            scale = Scale.LAYER if last else coder.scale
            keep = mask if pruned else None
            fitted = ternary.fit(weight, ternary.Options(scale, places), keep)
            levels = UNIT
            result = Result(fitted.codes, 0, fitted.sigma, fitted.error, fitted.energy)
        else:
            scale = coder.scale if isinstance(node, g.Conv) else coder.dense
            levels = coder.levels
            wanted = Options(levels, Scale.LAYER if last else scale, places)
            if coder.extra.solver is dyadic_budget.Solver.ILP:
                task = dyadic_budget.Task(weight, wanted.scale, places)
                result = dyadic_budget.by_programme(task, levels)
            else:
                result = approximate(weight, wanted)
        if coder.norm is Norm.DATA and covariance is not None:
            result = refine(node.weight, result, levels, covariance, mask=mask)
    except HwgenError as error:
        raise HwgenError(f"{node.name}: {error}") from error
    return measured(node.weight, result)


def spend(
    nodes: Mapping[str, g.Conv | g.Dense],
    supports: Mapping[str, Support],
    coder: DyadicChoice,
    covariances: Mapping[str, FloatArray | None],
    *,
    last: str,
    digits: int,
) -> dict[str, Result]:
    """Return integer weights of layers that share one budget of digits or adders.

    A layer with a mask is not moved on to the least error at its output: that would fill the mask.

    Parameters: nodes, supports and covariances by name; coder; last and digits as of ``encode``.
    Raises: HwgenError, one line, if the budget cannot be kept.
    """
    tasks = {}
    for name, node in nodes.items():
        scale = coder.scale if isinstance(node, g.Conv) else coder.dense
        own = supports[name]
        moved = coder.norm is Norm.DATA and own.mask is None
        tasks[name] = dyadic_budget.Task(
            own.weight,
            Scale.LAYER if name == last else scale,
            None if name == last else coder.digits or digits,
            covariances[name] if moved else None,
        )
    found = dyadic_budget.spend(tasks, coder.extra)
    return {name: measured(nodes[name].weight, result) for name, result in found.items()}


def measured(exact: FloatArray, result: Result) -> Result:
    """Return the result with errors and energies of the exact weights."""
    groups = (*result.scale.shape, -1)
    return replace(
        result,
        error=((exact - result.values()) ** 2).reshape(groups).sum(-1),
        energy=np.square(exact).reshape(groups).sum(-1),
    )
