"""Ternary weights, -sigma, 0 or sigma: global magnitude pruning, and the best fit to given weights.

Ref: M. Grimaldi, V. Tenace, A. Calimera, "Layer-wise compressive training for convolutional neural
networks", Future Internet 11(1) 7, 2019: one sparsity target for the whole network, so that layers
end with different sparsity; layers in the order of their sparsity, the sparsest, least significant
one first; one sigma a layer. The pruned weights start a training in which each layer's weights are
``sigma * sign(V) * mask``; that training is not here.

The best fit of a group of weights needs no target: with the p largest magnitudes kept, the best
sigma is their mean and the error ``sum(w**2) - (sum of them)**2 / p``, so the p with the largest
quotient is the optimum over sparsity and sigma together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import BoolArray, FloatArray, finite, frozen, unit
from hwgen.compress.methods.dyadic import Scale, mantissas
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64


@dataclass(frozen=True)
class Options:
    """What a fit may choose.

    Parameters
    ----------
    scale : Scale
        Which weights share a sigma: a layer's (the paper's), a filter's, a kernel's.
    scale_digits : int, optional
        Signed digits of each sigma, 1 to 3, so that shifts and adds apply it; None leaves it real.
    """

    scale: Scale = Scale.LAYER
    scale_digits: int | None = None

    def __post_init__(self) -> None:
        if self.scale_digits is not None and self.scale_digits not in (1, 2, 3):
            raise HwgenError(f"Scale digits must be 1, 2 or 3, not {self.scale_digits}")


@dataclass(frozen=True, eq=False)
class Result:
    """Ternary weights: ``codes * sigma``.

    Parameters
    ----------
    codes : int64 array, shape of the weights
        -1, 0 or 1.
    sigma : float64 array, > 0
        (1,) by layer, (co,) by filter, (co, ci) by kernel; 1 for a group of zeros.
    error, energy : float64 array, shape of ``sigma``
        Squared error and squared norm of each group.
    """

    codes: Int64Array
    sigma: FloatArray
    error: FloatArray
    energy: FloatArray

    @property
    def relative_error(self) -> float:
        """Squared error over squared norm of all weights; 0 where there are only zeros."""
        top = float(self.energy.max(initial=0.0))
        return float((self.error / top).sum() / (self.energy / top).sum()) if top else 0.0

    @property
    def sparsity(self) -> float:
        """Part of the weights that is zero."""
        return 1 - np.count_nonzero(self.codes) / self.codes.size

    def values(self) -> FloatArray:
        """Return the ternary weights as floats."""
        dimensions = self.codes.ndim - self.sigma.ndim
        values: FloatArray = self.codes * self.sigma.reshape(self.sigma.shape + (1,) * dimensions)
        return values


def prune(layers: Sequence[npt.ArrayLike], target: float) -> tuple[BoolArray, ...]:
    """Return which weights of a network stay when the smallest of all of them go.

    Parameters
    ----------
    layers : sequence of arrays
        Weights, any shapes.
    target : float
        Part of all weights that is to be zero, 0 to 1; ``floor(target * all)`` of them go, those
        that are zero first, of equal ones the first.

    Returns
    -------
    A bool array a layer, True where the weight stays. A layer may end empty.

    Raises: HwgenError if weights are not finite or the target is outside 0 to 1.
    """
    arrays = [finite(layer, dimensions=(1, 2, 3, 4), what="Weights") for layer in layers]
    if not arrays or not 0 <= target <= 1:
        raise HwgenError(f"A part from 0 to 1 of at least one layer needed, not {target}")
    everything = np.concatenate([np.abs(array).ravel() for array in arrays])
    # A target like 0.29 of 100 must not fall to 28 by rounding.
    gone = int(np.floor(target * everything.size * (1 + 1e-12) + 1e-9))
    stays = np.ones(everything.size, bool)
    stays[np.argsort(everything, kind="stable")[: min(gone, everything.size)]] = False
    ends = np.cumsum([array.size for array in arrays])[:-1]
    parts = np.split(stays, ends)
    return tuple(part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True))


def order_by_sparsity(masks: Sequence[BoolArray]) -> tuple[int, ...]:
    """Return the layers' numbers, the sparsest, that is least significant, first."""
    kept = [float(np.mean(part)) for part in masks]
    return tuple(sorted(range(len(kept)), key=lambda n: kept[n]))


def errors_by_kept(weights: npt.ArrayLike) -> FloatArray:
    """Return the relative squared error with the p largest weights kept, for p = 1 to all of them.

    One sigma, the best for each p. Raises: HwgenError if weights are not finite.
    """
    array = finite(weights, dimensions=(1, 2, 3, 4), what="Weights")
    magnitudes = np.sort(np.abs(unit(array)[0]).ravel())[::-1]
    energy = float((magnitudes**2).sum())
    if not energy:
        return np.zeros(magnitudes.size)
    errors: FloatArray = 1 - _gains(magnitudes[None])[0] / energy
    return np.maximum(errors, 0.0)


def fit(weights: npt.ArrayLike, options: Options, mask: BoolArray | None = None) -> Result:
    """Return ternary weights with the least squared error.

    Without a mask this is the exact optimum over codes and sigma; with one, the weights inside it
    keep their sign and sigma is their best. With ``scale_digits`` sigma is the best of that many
    digits for the support that it leaves, within a factor of two of the optimum.

    Parameters
    ----------
    weights : array
        Of one layer, (co, ci, kh, kw) or (outputs, inputs).
    options : Options
    mask : bool array, optional
        Shape of the weights.

    Raises: HwgenError if weights are not finite, have fewer than two dimensions, or if the mask is
    of another shape.
    """
    array = finite(weights, dimensions=(2, 3, 4), what="Weights")
    if mask is not None and np.shape(mask) != array.shape:
        raise HwgenError(f"A mask of {array.shape} needed, not of {np.shape(mask)}")
    shape = _scale_shape(array.shape, options.scale)
    rows = array.reshape(int(np.prod(shape)), -1)
    # Powers of two bring each group to 1, so that squares neither vanish nor overflow; sigma stays
    # as exact as it is chosen.
    exponent = np.frexp(np.abs(rows).max(1))[1]
    ratio = np.ldexp(np.abs(rows), -exponent[:, None])
    inside = ratio > 0
    if mask is None:
        inside &= _best_kept(ratio)
    else:
        inside &= np.asarray(mask, bool).reshape(rows.shape)
    count = inside.sum(1)
    total = np.where(inside, ratio, 0.0).sum(1)
    sigma = np.divide(total, count, out=np.ones(len(rows)), where=total > 0)
    if options.scale_digits is not None:
        sigma, inside = _snap(ratio, inside, sigma, options.scale_digits, free=mask is None)
    error = ((ratio - np.where(inside, sigma[:, None], 0.0)) ** 2).sum(1)
    scaled = np.where(inside.any(1), np.ldexp(sigma, exponent), 1.0)
    codes = np.where(inside, np.where(rows < 0, -1, 1), 0)
    return Result(
        int64(codes.reshape(array.shape)),
        frozen(np.where(scaled > 0, scaled, 1.0).reshape(shape)),
        frozen(np.ldexp(error, 2 * exponent).reshape(shape)),
        frozen(np.ldexp((ratio**2).sum(1), 2 * exponent).reshape(shape)),
    )


def _scale_shape(shape: tuple[int, ...], scale: Scale) -> tuple[int, ...]:
    if scale is Scale.LAYER:
        return (1,)
    return shape[:2] if scale is Scale.KERNEL and len(shape) > 2 else shape[:1]


def _gains(falling: FloatArray) -> FloatArray:
    """Return (sum of the first p)**2 / p of rows of falling magnitudes."""
    gains: FloatArray = np.cumsum(falling, axis=1) ** 2 / np.arange(1, falling.shape[1] + 1)
    return gains


def _best_kept(magnitudes: FloatArray) -> BoolArray:
    """Return which magnitudes of each row the best fit keeps."""
    order = np.argsort(-magnitudes, axis=1, kind="stable")
    best = np.argmax(_gains(np.take_along_axis(magnitudes, order, 1)), axis=1)
    kept = np.zeros(magnitudes.shape, bool)
    np.put_along_axis(kept, order, np.arange(order.shape[1]) <= best[:, None], axis=1)
    return kept


def _snap(
    ratio: FloatArray, inside: BoolArray, sigma: FloatArray, digits: int, *, free: bool
) -> tuple[FloatArray, BoolArray]:
    """Return (sigma, support) with sigma of few signed digits, least error.

    A free support follows sigma: a weight stays where it is nearer to sigma than to 0.
    """
    octave = np.ldexp(1.0, np.floor(np.log2(sigma)).astype(int))
    best = np.full(len(sigma), np.inf)
    chosen, support = sigma.copy(), inside.copy()
    factors = {
        float(np.ldexp(m, shift - m.bit_length() + 1))
        for m in mantissas(digits)
        for shift in (-1, 0, 1)
    }
    for factor in sorted(factors):
        candidate = octave * factor
        rows = np.flatnonzero((candidate <= 2 * sigma) & (2 * candidate >= sigma))
        if not rows.size:
            continue
        value = candidate[rows, None]
        trial = ratio[rows] * 2 > value if free else inside[rows]
        error = ((ratio[rows] - np.where(trial, value, 0.0)) ** 2).sum(1)
        better = error < best[rows]
        rows = rows[better]
        best[rows], chosen[rows], support[rows] = error[better], candidate[rows], trial[better]
    return chosen, support
