"""What every method asks of the arrays that it is given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.dyadic import LARGEST, FloatArray
from hwgen.errors import HwgenError

__all__ = ["LARGEST", "BoolArray", "FloatArray", "finite", "frozen", "symmetric", "unit"]

BoolArray = npt.NDArray[np.bool_]


def finite(values: npt.ArrayLike, *, dimensions: tuple[int, ...], what: str) -> FloatArray:
    """Return values as float64; the caller's array is left alone.

    Parameters
    ----------
    values : array
    dimensions : tuple of int
        How many dimensions it may have.
    what : str
        The array's name, in capitals at its start, for the message.

    Raises: HwgenError if a value is NaN, infinite or so large that squares overflow, if there are
    none, or if they have another number of dimensions.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions or not array.size:
        wanted = " or ".join(map(str, dimensions))
        raise HwgenError(
            f"{what} of {wanted} dimensions, none of them empty, needed, not of shape {array.shape}"
        )
    inside = np.abs(array) <= LARGEST
    if not inside.all():
        raise HwgenError(
            f"{what} must be finite and at most {LARGEST:g}, not {array[~inside][0]:g}"
        )
    return array


def symmetric(values: npt.ArrayLike, size: int) -> FloatArray:
    """Return the second moments (covariance or autocorrelation) of ``size`` inputs, as float64.

    Raises: HwgenError if they are no symmetric finite (size, size) matrix.
    """
    array = finite(values, dimensions=(2,), what="Second moments")
    if array.shape != (size, size):
        raise HwgenError(f"Second moments of ({size}, {size}) inputs needed, not {array.shape}")
    largest = float(np.abs(array).max())
    if np.abs(array - array.T).max() > 1e-9 * largest or array.diagonal().min() < -1e-9 * largest:
        raise HwgenError("Second moments must be symmetric, with no negative variance")
    return array


def unit(array: FloatArray) -> tuple[FloatArray, float]:
    """Return the array over a power of two that brings it below 1, and that power.

    The quotient is exact, and its squares neither vanish nor overflow, whatever the values' size.
    """
    exponent = int(np.frexp(np.abs(array).max(initial=0.0))[1])
    return np.ldexp(array, -exponent), float(np.ldexp(1.0, exponent))


def frozen(array: FloatArray) -> FloatArray:
    """Return a read-only float64 copy."""
    copy = np.array(array, dtype=np.float64, order="C")
    copy.setflags(write=False)
    return copy
