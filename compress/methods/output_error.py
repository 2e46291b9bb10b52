"""Dyadic weights chosen for the error they make at the layer's output, not for their own.

The expected squared error of an output is ``(w - w')^T R (w - w')`` with R the covariance of the
input patches; the mean of the error goes into the bias. Levels are moved one weight at a time, each
to the level nearest to its best value given all others, so the error falls with every step and the
result is never worse than the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hwgen.compress.methods.checks import BoolArray
from hwgen.compress.methods.dyadic import FloatArray, Levels, Result, nearest
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64


@dataclass(frozen=True)
class RefineOptions:
    """How long to look.

    Parameters
    ----------
    passes : int
        Over all weights, at most; it ends earlier when nothing moves.
    ridge : float
        Part of the mean variance added to every input, so that inputs that never vary keep their
        weights.
    """

    passes: int = 8
    ridge: float = 1e-3


def refine(
    weights: FloatArray,
    start: Result,
    levels: Levels,
    covariance: FloatArray,
    options: RefineOptions | None = None,
    *,
    mask: BoolArray | None = None,
) -> Result:
    """Move a layer's codes to smaller expected output error; scales stay.

    Parameters
    ----------
    weights : (co, ...) float64
        The exact weights; left alone.
    start : Result
        By filter or layer, or by kernel.
    levels : Levels
        What ``start`` was made with.
    covariance : (groups, N, N) float64
        Of the N inputs of each group of output channels.
    mask : bool array, optional, shape of the weights
        Codes move inside it alone.

    Raises: HwgenError if the covariance or the mask does not fit the weights.
    """
    options = options or RefineOptions()
    exact, scale, codes = by_output(weights, start, covariance)
    if mask is not None and mask.shape != weights.shape:
        raise HwgenError(f"A mask of {weights.shape} needed, not of {mask.shape}")
    free = np.ones(exact.shape, bool) if mask is None else mask.reshape(exact.shape)
    for rows, spread in groups_of(len(codes), covariance, options.ridge):
        codes[rows] = _descend(
            exact[rows], codes[rows], scale[rows], free[rows], levels, spread, options.passes
        )
    return with_codes(weights, start, codes, scale)


def by_output(
    weights: FloatArray, start: Result, covariance: FloatArray
) -> tuple[FloatArray, FloatArray, Int64Array]:
    """Return exact weights, scales and codes, a row an output channel."""
    outputs = weights.shape[0]
    exact = np.asarray(weights, np.float64).reshape(outputs, -1)
    groups, size = covariance.shape[:2]
    if exact.shape[1] != size or outputs % groups:
        raise HwgenError(
            f"A covariance of {exact.shape[1]} inputs for {outputs} outputs needed, not of {size} "
            f"in {groups} groups"
        )
    scale = np.broadcast_to(
        start.scale.reshape(start.scale.shape + (1,) * (weights.ndim - start.scale.ndim)),
        weights.shape,
    ).reshape(outputs, -1)
    return exact, scale, start.codes.reshape(outputs, -1).copy()


def groups_of(
    outputs: int, covariance: FloatArray, ridge: float
) -> Iterator[tuple[slice, FloatArray]]:
    """Each group's rows, and what its inputs vary by."""
    groups, size = covariance.shape[:2]
    for group in range(groups):
        spread = covariance[group] + np.eye(size) * ridge * np.trace(covariance[group]) / size
        yield slice(group * outputs // groups, (group + 1) * outputs // groups), spread


def with_codes(
    weights: FloatArray, start: Result, codes: Int64Array, scale: FloatArray
) -> Result:
    """Return a result with other codes, a row an output channel, and its error."""
    values = np.ldexp(codes * scale, -start.bits)
    wrong = np.asarray(weights, np.float64).reshape(values.shape) - values
    error = (wrong**2).reshape(*start.scale.shape, -1).sum(-1)
    return replace(start, codes=int64(codes.reshape(weights.shape)), error=error)


def _descend(
    exact: FloatArray,
    codes: Int64Array,
    scale: FloatArray,
    free: BoolArray,
    levels: Levels,
    spread: FloatArray,
    passes: int,
) -> Int64Array:
    """Coordinate descent, all rows (output channels) at once."""
    codes = codes.copy()
    wrong = exact - np.ldexp(codes * scale, -levels.bits)
    slope = wrong @ spread  # half the gradient
    for _ in range(passes):
        moved = False
        for i in np.flatnonzero((np.diag(spread) > 0) & free.any(axis=0)):
            others = slope[:, i] / spread[i, i] - wrong[:, i]
            best = exact[:, i] + others  # where this weight would best be
            chosen = nearest(best[:, None], levels, scale[:, i])[:, 0]
            chosen = np.where(free[:, i], chosen, codes[:, i])
            change = np.ldexp((codes[:, i] - chosen) * scale[:, i], -levels.bits)
            rows = np.flatnonzero(change)
            if rows.size:
                moved = True
                codes[rows, i] = chosen[rows]
                wrong[rows, i] += change[rows]
                slope[rows] += change[rows, None] * spread[i]
        if not moved:
            break
    return codes


def output_error(weights: FloatArray, result: Result, covariance: FloatArray) -> FloatArray:
    """Return each output channel's expected squared error, (co,), but for its mean."""
    outputs = weights.shape[0]
    wrong = (weights - result.values()).reshape(
        covariance.shape[0], outputs // covariance.shape[0], -1
    )
    error: FloatArray = np.einsum("gon,gnm,gom->go", wrong, covariance, wrong).reshape(outputs)
    return error
