"""Which weights of a layer may stay, and the best values for those that do: lower kernels, periodic
supports, global pruning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.compress.choices.lower_kernel import LowerKernelChoice, Order
from hwgen.compress.choices.periodic import PeriodicChoice
from hwgen.compress.choices.treatment import Treatment
from hwgen.compress.importers import graph as g
from hwgen.compress.methods import kernel_tiles, lower_kernel, periodic, ternary
from hwgen.compress.methods.checks import BoolArray, FloatArray
from hwgen.layers import Int64Array, int64


@dataclass(frozen=True, eq=False)
class Support:
    """A layer's weights before they become integers.

    Parameters
    ----------
    weight : float64 array, shape of the layer's weights
        Zero outside the mask.
    mask : bool array or None
        Where weights may be; None for everywhere.
    notes : mapping
        What each method did, for compress.json.
    """

    weight: FloatArray
    mask: BoolArray | None
    notes: Mapping[str, Any]


def restrict(
    node: g.Conv | g.Dense,
    treatment: Treatment,
    *,
    lower: LowerKernelChoice | None,
    sparse: PeriodicChoice | None,
    covariance: FloatArray | None,
    first: bool,
    random: np.random.Generator,
) -> Support:
    """Return a layer's weights with the windows and supports that its treatment asks for.

    Parameters
    ----------
    node : Conv or Dense
        Dense layers stay as they are.
    treatment : Treatment
    lower, sparse : choice or None
        None where the method is not for this layer.
    covariance : float64 array or None, (groups, N, N)
        Of the layer's inputs; without it nothing is fitted.
    first : bool
        The network's first convolution, which stays without periodic supports.
    random : Generator
        Draws the supports of pSC.
    """
    weight, notes = node.weight, dict[str, Any]()
    mask: BoolArray | None = None
    if isinstance(node, g.Dense):
        return Support(weight, None, notes)
    kh, kw = node.weight.shape[2:]
    fit = True
    if lower is not None and lower.sides_for(kh, kw) and wants_windows(treatment):
        shrunk, notes["lower_kernel"] = _windows(node, treatment, lower, covariance)
        weight, mask, fit = shrunk.weights, shrunk.mask, lower.refit
    dense = periodic.stays_dense(first=first, kh=kh, kw=kw)
    if sparse is not None and treatment.variant is not None and not dense:
        found = periodic.approximate(node.weight, sparse.options(treatment.variant), random)
        notes["periodic"] = {"variant": treatment.variant.name, "energy_kept": found.kept}
        mask = found.mask if mask is None else mask & found.mask
        weight = np.where(mask, weight, 0.0)
        if fit and sparse.refit and covariance is not None:
            weight = lower_kernel.refit(node.weight, mask, covariance)
    return Support(weight, mask, notes)


def wants_windows(treatment: Treatment) -> bool:
    """Return whether a treatment asks for smaller windows."""
    return treatment.taps is not None or treatment.loss is not None


def _windows(
    node: g.Conv,
    treatment: Treatment,
    choice: LowerKernelChoice,
    covariance: FloatArray | None,
) -> tuple[lower_kernel.Result, dict[str, Any]]:
    options = choice.options
    curves = lower_kernel.curves(
        node.weight, choice.sides_for(*node.weight.shape[2:]), options, covariance
    )
    levels = (
        _levels_by_tile(node, curves, treatment, choice, covariance)
        if choice.order is Order.TILES
        else _levels(node, curves, treatment, covariance)
    )
    found = lower_kernel.shrink(node.weight, levels, curves, options, covariance)
    counts = np.bincount(levels, minlength=len(curves.sides))
    energy = float(found.energy.sum())
    return found, {
        "units": {str(side): int(n) for side, n in zip(curves.sides, counts, strict=True)},
        "taps": float(found.mask.mean()),
        "loss": float(found.loss.sum()) / energy if energy else 0.0,
    }


def _levels(
    node: g.Conv, curves: lower_kernel.Curves, treatment: Treatment, covariance: FloatArray | None
) -> Int64Array:
    """Each unit's size after the greedy steps that the treatment allows or asks for."""
    if treatment.loss is not None:
        energy = float(lower_kernel.importance(node.weight, covariance).sum())
        return lower_kernel.within(curves, treatment.loss * energy)
    levels = np.zeros(len(curves.loss), np.int64)
    assert treatment.taps is not None
    left = int(curves.taps[0]) * len(levels)
    most = treatment.taps * left * (1 + 1e-12)
    for unit, level in lower_kernel.greedy_steps(curves):
        if left <= most:
            break
        left -= int(curves.taps[levels[unit]] - curves.taps[level])
        levels[unit] = level
    return int64(levels)


def _levels_by_tile(
    node: g.Conv,
    curves: lower_kernel.Curves,
    treatment: Treatment,
    choice: LowerKernelChoice,
    covariance: FloatArray | None,
) -> Int64Array:
    """Each filter's size in the best plan of tiles; the filters of a group have tiles of theirs."""
    energy = lower_kernel.importance(node.weight, covariance)
    levels = []
    for rows in np.split(np.arange(len(energy)), node.groups):
        part = lower_kernel.Curves(
            curves.sides, curves.taps, curves.loss[rows], int64(curves.offset[rows])
        )
        if treatment.loss is not None:
            budget = treatment.loss * float(energy[rows].sum())
            plan = kernel_tiles.plan_tiles(part, budget=budget, tile=choice.tile)
        else:
            assert treatment.taps is not None
            whole = kernel_tiles.tile_cost(
                np.full(len(rows), part.taps[0]), tile=choice.tile
            )
            front = kernel_tiles.plans(part, tile=choice.tile)
            fitting = [one for one in front if one.cost <= treatment.taps * whole * (1 + 1e-12)]
            plan = fitting[-1] if fitting else front[0]
        levels.append(plan.levels)
    return int64(np.concatenate(levels))


def prune(supports: Mapping[str, Support], share: float) -> dict[str, Support]:
    """Return the layers of a network without the smallest share of all their weights."""
    names = list(supports)
    masks = ternary.prune([supports[name].weight for name in names], share)
    found = {}
    for name, stays in zip(names, masks, strict=True):
        old = supports[name]
        mask = stays if old.mask is None else stays & old.mask
        notes = {**old.notes, "prune": {"kept": float(mask.mean())}}
        found[name] = Support(np.where(mask, old.weight, 0.0), mask, notes)
    return found
