"""Weights that a model brings quantised, kept as they are: integers and a step an output.

A convolution or dense layer whose ``step`` is set (``importers.graph``) has weights that are whole
multiples of it, so nothing needs to be approximated but the step's product with its neighbours'.
"""

from __future__ import annotations

import math

import numpy as np

from hwgen.compress.importers import graph as g
from hwgen.compress.methods.dyadic import Result
from hwgen.compress.scales import as_dyadic
from hwgen.layers import int64

NEAR = 1e-3  # of a step: how far float weights may lie from a multiple
RATIO_BITS = 6  # of the steps of several classes, as multiples of one


def is_quantised(graph: g.Graph) -> bool:
    """True if every convolution and dense layer has quantised weights, and there is one."""
    nodes = [node for node in graph.nodes if isinstance(node, (g.Conv, g.Dense))]
    return bool(nodes) and all(exact(node, common=False) is not None for node in nodes)


def exact(node: g.Conv | g.Dense, *, common: bool) -> Result | None:
    """Return a layer's own integer weights, or None if they are not quantised.

    Parameters
    ----------
    node : Conv or Dense
    common : bool
        One step for all outputs is needed (the last layer of a classifier). Steps that are whole
        multiples of one stay exact; others become the nearest multiples of few digits.
    """
    if node.step is None or not np.all(node.step > 0):
        return None
    step = node.step.reshape((-1,) + (1,) * (node.weight.ndim - 1))
    ratio = node.weight / step
    codes = np.rint(ratio)
    if np.abs(ratio - codes).max(initial=0.0) > NEAR or np.abs(codes).max(initial=0.0) >= 1 << 20:
        return None
    scale = node.step
    if common and np.any(scale != scale[0]):
        multiples, unit = _multiples(scale)
        codes = codes * multiples.reshape(step.shape)
        scale = np.full(len(scale), unit)
    made = codes * scale.reshape(step.shape)
    rest = tuple(range(1, node.weight.ndim))
    return Result(
        int64(codes.astype(np.int64)),
        0,
        scale,
        ((node.weight - made) ** 2).sum(axis=rest),
        (node.weight**2).sum(axis=rest),
    )


def _multiples(steps: g.FloatArray) -> tuple[g.FloatArray, float]:
    """Return (m, unit) with ``m * unit`` near to steps, m whole and of at most three digits."""
    parts = [as_dyadic(float(step / steps.max()), digits=3) for step in steps]
    lowest = max(min(e for _, e in parts), -RATIO_BITS - 12)
    return (
        np.array([max(1, round(math.ldexp(m, e - lowest))) for m, e in parts], np.float64),
        float(steps.max()) * 2.0**lowest,
    )
