"""Dyadic approximation: each weight a dyadic rational of a small set, times one scale for a group
of weights.

Ref: R. J. Cintra, S. Duffner, C. Garcia, A. Leite, "Low-complexity approximate convolutional neural
networks", IEEE Trans. Neural Networks and Learning Systems 29(12), 2018: kernels over sets of
dyadic rationals, Frobenius norm, as a 0-1 programme. Here the same optimum comes from a sweep: for
a fixed scale s the nearest levels are best one by one, and as s falls a weight m changes its level
only where s = |m| / (a midpoint of two levels). Between two such breakpoints the best scale is <M,
T> / <T, T>, its error |M|^2 - <M, T>^2 / <T, T>; the largest quotient over all prefixes of the
sorted breakpoints is the global optimum over s and T. dyadic_ilp.py holds the programme itself,
adder_budget.py the best weights for a number of digits in place of a set.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64, signed_digits

FloatArray = npt.NDArray[np.float64]

_POWERS = tuple(Fraction(1, 1 << k) for k in range(8))
SETS: dict[str, tuple[Fraction, ...]] = {
    "T3": _POWERS[:1],
    "P5": _POWERS[:2],
    "P7": _POWERS[:3],
    "P9": _POWERS[:4],
    "Q4": tuple(Fraction(k, 4) for k in range(1, 5)),
    "Q8": tuple(Fraction(k, 8) for k in range(1, 9)),
    "Q16": tuple(Fraction(k, 16) for k in range(1, 17)),
}

MAX_LEVELS = 256
MAX_BITS = 16
LARGEST = 1e150  # squares of weights stay finite
SAME = 1e-13  # relative difference of sums that is rounding
CHUNK = 1 << 17  # breakpoints sorted at a time: what the cache holds


class Scale(Enum):
    """Which weights share a scale."""

    KERNEL = "kernel"  # each 2-D kernel of a convolution
    FILTER = "filter"  # all weights of an output channel
    LAYER = "layer"


@dataclass(frozen=True)
class Levels:
    """A set of dyadic rationals, symmetric about 0 and with 0 in it.

    Parameters: magnitudes, the positive levels in rising order.
    Raises: HwgenError if one is not positive, repeated, or no dyadic rational of at most 16 bits.
    """

    magnitudes: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        levels = tuple(sorted(Fraction(level) for level in self.magnitudes))
        object.__setattr__(self, "magnitudes", levels)
        if not 1 <= len(levels) <= MAX_LEVELS:
            raise HwgenError(
                f"A set needs from 1 to {MAX_LEVELS} positive levels, not {len(levels)}"
            )
        if levels[0] <= 0 or len(set(levels)) != len(levels):
            raise HwgenError(
                "Levels must be positive and different (0 and the negative ones are added), "
                f"not {', '.join(map(str, levels))}"
            )
        for level in levels:
            denominator = level.denominator
            if denominator & (denominator - 1) or denominator.bit_length() > MAX_BITS:
                raise HwgenError(f"Levels must be a / 2**b with b below {MAX_BITS}, not {level}")
        if (levels[-1] * (1 << self.bits)).numerator >= 1 << MAX_BITS:
            raise HwgenError(
                f"Levels must fit {MAX_BITS} bits together, not {levels[0]} beside {levels[-1]}"
            )

    @property
    def bits(self) -> int:
        """Fractional bits: every level times 2**bits is an integer."""
        return max(level.denominator.bit_length() - 1 for level in self.magnitudes)

    @property
    def integers(self) -> Int64Array:
        """Zero and the positive levels, times 2**bits, rising."""
        return int64([0, *(int(level * (1 << self.bits)) for level in self.magnitudes)])

    @classmethod
    def parse(cls, text: str) -> Levels:
        """Return a named set (T3, P5, ... Q16), or one listed as ``1/8+1/4+1`` (positive levels).

        Raises: HwgenError if it is neither.
        """
        if text in SETS:
            return cls(SETS[text])
        try:
            return cls(tuple(Fraction(part) for part in text.split("+")))
        except (ValueError, ZeroDivisionError) as error:
            if isinstance(error, HwgenError):
                raise
            raise HwgenError(
                f"Set must be one of {', '.join(SETS)} or levels like 1/4+1/2+1, not {text!r}"
            ) from error


@dataclass(frozen=True)
class Options:
    """What to approximate with.

    Parameters
    ----------
    levels : Levels
    scale : Scale
        Which weights share a scale; a kernel is a filter where weights have two dimensions only.
    scale_digits : int, optional
        Signed digits of each scale's mantissa, 1 to 3, so that it is a constant that shifts and
        adds can apply; None leaves scales real.
    """

    levels: Levels
    scale: Scale = Scale.FILTER
    scale_digits: int | None = None

    def __post_init__(self) -> None:
        if self.scale_digits is not None and self.scale_digits not in (1, 2, 3):
            raise HwgenError(f"Scale digits must be 1, 2 or 3, not {self.scale_digits}")


@dataclass(frozen=True, eq=False)
class Result:
    """Approximated weights: ``codes * 2**-bits * scale``.

    Parameters
    ----------
    codes : int64 array, shape of the weights
    bits : int
    scale : float64 array
        (co, ci) by kernel, (co,) by filter, (1,) by layer.
    error, energy : float64 array, shape of ``scale``
        Squared error and squared norm of each group.
    """

    codes: Int64Array
    bits: int
    scale: FloatArray
    error: FloatArray
    energy: FloatArray

    @property
    def relative_error(self) -> float:
        """Squared error over squared norm of all weights; 0 where there are only zeros."""
        top = float(self.energy.max(initial=0.0))
        return float((self.error / top).sum() / (self.energy / top).sum()) if top else 0.0

    def values(self) -> FloatArray:
        """Return the approximated weights as floats."""
        scale = self.scale.reshape(self.scale.shape + (1,) * (self.codes.ndim - self.scale.ndim))
        return np.ldexp(self.codes * scale, -self.bits)


def approximate(weights: npt.ArrayLike, options: Options) -> Result:
    """Approximate a layer's weights, (co, ci, kh, kw) or (outputs, inputs), with least squared
    error.

    Without ``scale_digits`` this is the exact optimum over levels and scales; with it, the best of
    all scales of that many digits within a factor of two of the optimum.

    Raises: HwgenError if weights are not finite or have fewer than two dimensions.
    """
    array = np.asarray(weights, dtype=np.float64)
    groups, shape = grouped(array, options.scale)
    scale, codes, error = sweep(groups, options.levels)
    if options.scale_digits is not None:
        scale, codes, error = snap(groups, options.levels, scale, digits=options.scale_digits)
    return Result(
        int64(codes.reshape(array.shape)),
        options.levels.bits,
        scale.reshape(shape),
        error.reshape(shape),
        np.einsum("gn,gn->g", groups, groups).reshape(shape),
    )


def grouped(array: FloatArray, scale: Scale) -> tuple[FloatArray, tuple[int, ...]]:
    """Return weights with a row for each scale, (G, N), and the shape of the scales.

    Raises: HwgenError if weights have fewer than two dimensions.
    """
    if array.ndim < 2:
        raise HwgenError(f"Weights of two or more dimensions needed, not {array.ndim}")
    shape = _scale_shape(array.shape, scale)
    return array.reshape(int(np.prod(shape)), -1), shape


def _scale_shape(shape: tuple[int, ...], scale: Scale) -> tuple[int, ...]:
    if scale is Scale.LAYER:
        return (1,)
    return shape[:2] if scale is Scale.KERNEL and len(shape) > 2 else shape[:1]


def sweep(
    groups: FloatArray, levels: Levels, *, threads: int | None = None
) -> tuple[FloatArray, Int64Array, FloatArray]:
    """Return the exact optimum of each group: (scale, codes, squared error).

    Parameters
    ----------
    groups : (G, N) float64
        A group of weights a row; finite.
    levels : Levels
    threads : int, optional
        Over parts of the groups, with no influence on the result; by default one a processor.

    Returns
    -------
    scale : (G,) float64, > 0; 1 for a group of zeros
    codes : (G, N) int64, levels times ``2**levels.bits``
    error : (G,) float64, ``sum((w - scale * codes * 2**-bits)**2)``
    """
    groups = np.asarray(groups, dtype=np.float64)
    count, size = groups.shape
    rows = max(1, CHUNK // max(1, size * (len(levels.integers) - 1)))
    scale, error = np.ones(count), np.zeros(count)
    codes = np.zeros((count, size), np.int64)

    def one(first: int) -> None:
        part = slice(first, first + rows)
        some = groups[part]
        if not np.all(np.abs(some) <= LARGEST):
            raise HwgenError(
                f"Finite weights up to {LARGEST:g} needed, there is {_worst(some):g} among them"
            )
        magnitudes = _best_codes(np.abs(some), levels)
        codes[part] = np.where(some < 0, -magnitudes, magnitudes)
        scale[part], error[part] = _fit_scale(some, codes[part], levels.bits)

    workers = len(os.sched_getaffinity(0)) if threads is None else threads
    with ThreadPoolExecutor(max(1, workers)) as pool:  # numpy lets go of the lock while it sorts
        list(pool.map(one, range(0, count, rows)))
    return scale, codes, error


def _worst(groups: FloatArray) -> float:
    return float(groups.flat[int(np.argmax(~(np.abs(groups) <= LARGEST)))])


def _best_codes(magnitudes: FloatArray, levels: Levels) -> Int64Array:
    """Return the optimal level of each of (G, N) magnitudes, as an integer.

    A breakpoint b = |m| / mid_k adds ``b * g_k`` to <M, T> and ``2 * g_k`` to <T, T>, with ``g_k =
    mid_k * (level_k+1 - level_k)``. So a sort needs to carry k alone, and k fits the lowest bits of
    b: values are sorted, not positions, and the order is wrong only among breakpoints that are
    equal to 2**-44 or better.
    """
    top = magnitudes.max(1, keepdims=True, initial=0.0)
    # Only ratios matter: groups are brought to 1, so that tiny and huge ones neither vanish nor
    # overflow.
    ratio = np.divide(magnitudes, top, out=np.zeros_like(magnitudes), where=top > 0)
    steps = levels.integers
    midpoints = (steps[1:] + steps[:-1]) / 2
    count = len(midpoints)
    mask = np.int64((1 << (count - 1).bit_length()) - 1)
    # Bits of a float >= 0 rise with it, so breakpoints sort as integers; (G, K, N).
    breaks = (ratio[:, None, :] / midpoints[:, None]).view(np.int64)
    breaks &= ~mask
    breaks |= np.arange(count)[:, None]
    falling = np.sort(breaks.reshape(len(ratio), -1), axis=1)[:, ::-1]
    gain = np.zeros((1 << int(mask).bit_length(),))
    gain[:count] = midpoints * np.diff(steps)
    gains = np.take(gain, falling & mask, mode="clip")
    mt = np.cumsum(falling.view(np.float64) * gains, axis=1)
    tt = np.cumsum(gains, axis=1)
    fit = mt * mt / tt
    # Among equals the first: the largest scale, so the smallest levels and the fewest digits.
    best = np.argmax(fit >= fit.max(1, keepdims=True) * (1 - SAME), axis=1)
    threshold = np.take_along_axis(falling, best[:, None], 1)
    index = (breaks >= threshold[:, :, None]).sum(axis=1, dtype=np.int16)
    codes: Int64Array = np.where(ratio > 0, np.take(steps, index, mode="clip"), 0)
    return codes


def _fit_scale(groups: FloatArray, codes: Int64Array, bits: int) -> tuple[FloatArray, FloatArray]:
    """Return each group's best scale for given codes, and the squared error."""
    top = np.abs(groups).max(1, initial=0.0)
    unit = np.divide(groups, top[:, None], out=np.zeros_like(groups), where=top[:, None] > 0)
    whole = codes.astype(np.float64)
    mt, tt = np.einsum("gn,gn->g", unit, whole), np.einsum("gn,gn->g", whole, whole)
    relative = np.divide(mt, tt, out=np.zeros_like(mt), where=tt > 0)
    unit -= relative[:, None] * whole
    error = np.einsum("gn,gn->g", unit, unit) * top**2
    scale = np.where(tt > 0, np.ldexp(relative * top, bits), 1.0)
    return np.where(scale > 0, scale, 1.0), error


def nearest(groups: FloatArray, levels: Levels, scale: FloatArray) -> Int64Array:
    """Return the codes nearest to (G, N) weights for scales (G,) > 0; ties go to zero."""
    steps = levels.integers
    edges = (steps[1:] + steps[:-1]) / 2
    position = np.abs(groups) / (scale[:, None] * 2.0**-levels.bits)
    codes = steps[np.searchsorted(edges, position, side="left")]
    return np.where(groups < 0, -codes, codes)


def mantissas(digits: int, *, places: int = 7) -> tuple[int, ...]:
    """Return the odd integers below 2**(places + 1) with at most ``digits`` signed digits."""
    return tuple(value for value in range(1, 2 << places, 2) if signed_digits(value) <= digits)


def snap(
    groups: FloatArray, levels: Levels, scale: FloatArray, *, digits: int
) -> tuple[FloatArray, Int64Array, FloatArray]:
    """Return (scale, codes, error) with scales ``m * 2**e``, m of at most ``digits`` signed digits.

    All such scales within a factor of two of the given optimum are tried (for three digits, within
    a quarter, where their grid is fine); the first with the least error is taken.
    """
    reach = 2.0 if digits < 3 else 1.25
    unit = np.ldexp(1.0, np.floor(np.log2(scale)).astype(int))
    factors = sorted(
        {
            np.ldexp(m, octave - m.bit_length() + 1)
            for m in mantissas(digits)
            for octave in (-1, 0, 1)
        }
    )
    best = np.full(len(groups), np.inf)
    chosen, codes = unit.copy(), nearest(groups, levels, unit)
    for factor in factors:
        candidate = unit * factor
        rows = np.flatnonzero((candidate <= scale * reach) & (candidate * reach >= scale))
        if not rows.size:
            continue
        trial = nearest(groups[rows], levels, candidate[rows])
        error = _error(groups[rows], trial, candidate[rows], levels.bits)
        better = error < best[rows]
        rows, trial, error = rows[better], trial[better], error[better]
        best[rows], chosen[rows], codes[rows] = error, candidate[rows], trial
    return chosen, codes, best


def _error(groups: FloatArray, codes: Int64Array, scale: FloatArray, bits: int) -> FloatArray:
    error: FloatArray = ((groups - np.ldexp(codes * scale[:, None], -bits)) ** 2).sum(1)
    return error
