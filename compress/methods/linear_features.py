"""Linear features: the least important feature maps of a layer as combinations of the others.

Ref: D. Nagaraju, N. Chandrachoodan, "Slimmer CNNs through feature approximation and kernel size
reduction", IEEE Open J. Circuits and Systems 4, 2023; pivoted QR: P. Businger, G. Golub, "Linear
least squares solutions by Householder transformations", Numer. Math. 7, 1965; few terms: Y. Pati,
R. Rezaiifar, P. Krishnaprasad, "Orthogonal matching pursuit", Asilomar 1993.

A convolution is linear, so before its activation a map whose filter is a combination of other
filters is the same combination of their maps: r filters are kept, the rest become a 1 x 1
convolution over r maps. Kept are the pivots of a QR with column pivoting: each time the filter of
which the ones before it explain least. "Least" is measured in the filters' weights, in their
outputs (second moments of the inputs), or in maps of calibration images::

    basis maps   F_B = conv(x, A_B)                   r * ci * kh * kw products a pixel
    other maps   F_j = sum over b of c_jb * F_b       at most (co - r) * min(p, r)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import FloatArray, finite, frozen, symmetric, unit
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

RANK = 1e-12  # squared residual over the largest squared norm, below which nothing new is left
NOTHING = 1e-9  # part of a feature's norm below which a term is rounding


@dataclass(frozen=True)
class Options:
    """How many maps are kept.

    Parameters
    ----------
    basis : int
        Filters that are kept, at most; fewer where fewer explain all others exactly.
    terms : int, optional
        Basis maps of a combination, at most; None for all.
    """

    basis: int
    terms: int | None = None

    def __post_init__(self) -> None:
        if self.basis < 1:
            raise HwgenError(f"A basis of at least one filter needed, not {self.basis}")
        if self.terms is not None and self.terms < 1:
            raise HwgenError(f"At least one basis map a feature needed, not {self.terms}")


@dataclass(frozen=True, eq=False)
class Pivots:
    """A QR with column pivoting: ``x[:, order] == q @ r`` up to what is left.

    Parameters
    ----------
    order : int64 array, (rank,)
        Columns in the order in which they were taken.
    r : float64 array, (rank, columns)
        In the columns' own order; upper triangular in ``order``.
    left : float64 array, (rank + 1,)
        Energy that the first n columns do not explain, over all of it, n = 0 to rank.
    """

    order: Int64Array
    r: FloatArray
    left: FloatArray


@dataclass(frozen=True, eq=False)
class Result:
    """A layer of r filters and the combinations that give the other maps.

    Parameters
    ----------
    basis : int64 array, (r,)
        Filters that are kept, rising.
    matrix : float64 array, (co, r)
        Each map as a combination of basis maps: a row of the identity for a kept one.
    bias : float64 array, (co,)
        Added to each map; nonzero only for maps that were fitted to calibration maps.
    error, energy : float64 array, (co,)
        Squared error and square of each map, in the measure of the fit.
    """

    basis: Int64Array
    matrix: FloatArray
    bias: FloatArray
    error: FloatArray
    energy: FloatArray

    @property
    def left(self) -> float:
        """Energy of all maps that is lost; 0 where there is none."""
        top = float(self.energy.max(initial=0.0))
        return float((self.error / top).sum() / (self.energy / top).sum()) if top else 0.0

    @property
    def terms(self) -> int:
        """Products a pixel of the combinations."""
        dropped = np.ones(len(self.matrix), bool)
        dropped[self.basis] = False
        return int(np.count_nonzero(self.matrix[dropped]))

    def weights(self, weights: npt.ArrayLike) -> FloatArray:
        """Return the whole layer that basis and combinations amount to, of the given weights."""
        array = np.asarray(weights, dtype=np.float64)
        rows = array.reshape(len(array), -1)
        whole: FloatArray = (self.matrix @ rows[self.basis]).reshape(array.shape)
        return whole


@dataclass(frozen=True)
class Cost:
    """MACs an output pixel of a layer of co filters over ci * kh * kw inputs."""

    dense: int
    basis: int
    combinations: int

    @property
    def saved(self) -> float:
        """Part of the MACs that is saved; below 0 where the combinations cost more."""
        return 1 - (self.basis + self.combinations) / self.dense


def cost(result: Result, inputs: int) -> Cost:
    """Return the cost with ``inputs`` weights a filter."""
    co, basis = result.matrix.shape
    return Cost(co * inputs, basis * inputs, result.terms)


def pivoted_qr(x: npt.ArrayLike, steps: int | None = None) -> Pivots:
    """Return the QR of the columns of x, (rows, columns), with greedy pivoting.

    Each step takes the column of largest residual, the first of equal ones, and projects it out of
    the others, twice, so that rounding does not spoil it. It ends after ``steps``, or when nothing
    is left. Raises: HwgenError if x is not finite.
    """
    array, _ = unit(finite(x, dimensions=(2,), what="Columns"))
    residual = array.copy()
    count = array.shape[1]
    squares = (residual**2).sum(0)
    total, floor = float(squares.sum()), RANK * float(squares.max())
    directions: list[FloatArray] = []
    order: list[int] = []
    left = [1.0 if total else 0.0]
    limit = min(array.shape) if steps is None else min(steps, *array.shape)
    while len(order) < limit:
        pivot = int(np.argmax(squares))
        if squares[pivot] <= floor:
            break
        direction = residual[:, pivot] / np.sqrt(squares[pivot])
        for earlier in directions:
            direction = direction - earlier * (earlier @ direction)
        direction /= np.linalg.norm(direction)
        directions.append(direction)
        order.append(pivot)
        residual -= np.outer(direction, direction @ residual)
        residual[:, order] = 0.0
        squares = (residual**2).sum(0)
        left.append(float(squares.sum()) / total)
    q = np.array(directions).reshape(len(order), len(array))
    r = q @ np.asarray(x, np.float64)
    for row, column in enumerate(order):
        r[row + 1 :, column] = 0.0
    return Pivots(int64(order), frozen(r.reshape(len(order), count)), frozen(np.array(left)))


def approximate(
    weights: npt.ArrayLike, options: Options, moments: npt.ArrayLike | None = None
) -> Result:
    """Keep the pivots of a layer's filters and fit combinations of them to the others.

    Parameters
    ----------
    weights : array, (co, ci, kh, kw) or (outputs, inputs)
        Filters that meet the same inputs: those of one group.
    options : Options
    moments : array, optional, (N, N)
        Second moments of the N inputs of a filter: the error is then that of the outputs. About
        the mean, the bias has to make up for the mean of the error.

    Raises: HwgenError if weights or moments are not finite or do not fit.
    """
    array = finite(weights, dimensions=(2, 4), what="Weights")
    rows, size = unit(array.reshape(len(array), -1))
    if moments is None:
        return _fit(rows.T, options, size)
    given = np.squeeze(np.asarray(moments, np.float64), 0) if np.ndim(moments) == 3 else moments
    scaled, spread = unit(symmetric(given, rows.shape[1]))
    values, vectors = np.linalg.eigh(scaled)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return _fit((rows @ root).T, options, size * float(np.sqrt(spread)))


def approximate_maps(maps: npt.ArrayLike, options: Options) -> Result:
    """Fit combinations to maps themselves, before their activation.

    Parameters
    ----------
    maps : array, (samples, co)
        A row a pixel of calibration images.
    options : Options

    Returns
    -------
    Result, its errors means over the samples; the bias makes each fitted map's mean right.

    Raises: HwgenError if maps are not finite.
    """
    samples, size = unit(finite(maps, dimensions=(2,), what="Maps"))
    means = samples.mean(0)
    centred = (samples - means) / np.sqrt(len(samples))
    found = _fit(centred, options, size)
    bias = (means - found.matrix @ means[found.basis]) * size
    bias[found.basis] = 0.0
    return Result(found.basis, found.matrix, frozen(bias), found.error, found.energy)


def _fit(columns: FloatArray, options: Options, size: float) -> Result:
    """Return the fit of columns (dimensions, co), whose unit is ``size``."""
    count = columns.shape[1]
    if len(columns) > count:
        columns = np.linalg.qr(columns).R  # all inner products stay, in fewer rows
    pivots = pivoted_qr(columns, min(options.basis, count))
    order = pivots.order if len(pivots.order) else int64([0])  # all zero: one filter stays
    basis = np.sort(order)
    matrix = np.zeros((count, len(basis)))
    others = np.setdiff1d(np.arange(count), basis)
    if len(pivots.order):
        found = _combinations(columns, pivots, basis, others, options.terms)
        norms = np.sqrt((columns**2).sum(0))
        found[np.abs(found) * norms[basis] <= NOTHING * norms[others, None]] = 0.0
        matrix[others] = found
    matrix[basis] = np.eye(len(basis))
    wrong = columns - columns[:, basis] @ matrix.T
    wrong[:, basis] = 0.0
    return Result(
        int64(basis),
        frozen(matrix),
        frozen(np.zeros(count)),
        frozen((wrong**2).sum(0) * size**2),
        frozen((columns**2).sum(0) * size**2),
    )


def _combinations(
    columns: FloatArray,
    pivots: Pivots,
    basis: Int64Array,
    others: Int64Array,
    terms: int | None,
) -> FloatArray:
    """Return coefficients (others, basis)."""
    rank = len(pivots.order)
    if terms is None or terms >= rank:
        # R11 c = R12, and the basis back into its rising order.
        solved = np.linalg.solve(pivots.r[:, pivots.order], pivots.r[:, others])
        return np.asarray(solved.T[:, np.argsort(pivots.order)], np.float64)
    found = np.zeros((len(others), rank))
    chosen = columns[:, basis]
    gram = chosen.T @ chosen
    for row, other in enumerate(others):
        found[row] = _pursue(gram, chosen.T @ columns[:, other], terms)
    return found


def _pursue(gram: FloatArray, target: FloatArray, terms: int) -> FloatArray:
    """Return coefficients, at most ``terms`` of them not 0: each time the one that helps most.

    Parameters: gram (r, r) and target (r,), inner products of the basis with itself and with the
    feature. What a map adds is measured after those chosen before are projected out of it.
    """
    count = len(target)
    coefficients = np.zeros(count)
    # Rows of the chosen ones' Cholesky factor, for all candidates at once.
    factor: FloatArray = np.zeros((0, count))
    own: FloatArray = gram.diagonal().copy()
    gain: FloatArray = target.copy()
    chosen: list[int] = []
    floor = RANK * own
    for _ in range(terms):
        useful = own > floor
        useful[chosen] = False
        helps = np.divide(gain**2, own, out=np.zeros(count), where=useful)
        best = int(np.argmax(helps))
        if helps[best] <= 0:
            break
        row: FloatArray = (gram[best] - factor[:, best] @ factor) / np.sqrt(own[best])
        step = gain[best] / np.sqrt(own[best])
        factor = np.vstack([factor, row])
        own -= row**2
        gain -= step * row
        chosen.append(best)
    if chosen:
        coefficients[chosen] = np.linalg.solve(gram[np.ix_(chosen, chosen)], target[chosen])
    return coefficients
