"""Real scales as whole numbers: a layer's integer weights, and the constants of a Requantise."""

from __future__ import annotations

import math

import numpy as np

from hwgen.compress.methods.dyadic import FloatArray, Result, mantissas
from hwgen.errors import HwgenError
from hwgen.layers import MAX_SHIFT, Int64Array, int64

PLACES = 11  # of a mantissa that is not dyadic by itself
OFFSET_LIMIT = 1 << 55


def as_dyadic(value: float, *, digits: int = 3) -> tuple[int, int]:
    """Return (m, e) with ``m * 2**e`` nearest to a value, m odd with at most ``digits`` signed
    digits.

    Exact where the value is such a number; 0 gives (0, 0).
    """
    if value == 0:
        return 0, 0
    fraction, exponent = math.frexp(abs(value))  # 0.5 <= fraction < 1
    best, distance = (1, 0), math.inf
    for m in mantissas(digits, places=PLACES):
        for top in (m.bit_length(), m.bit_length() - 1):
            trial = math.ldexp(m, -top)
            if abs(trial - fraction) < distance:
                best, distance = (m, exponent - top), abs(trial - fraction)
    m, e = best
    return (-m if value < 0 else m), e


def requantise_constants(factor: float, addend: float, *, digits: int = 3) -> tuple[int, int, int]:
    """Return (multiplier, offset, shift) so that ``x * factor + addend`` is about ``(x * m + b) /
    2**shift``.

    Parameters: factor, codes out by integers in; addend, in codes out.
    """
    m, e = as_dyadic(factor, digits=digits)
    if e > 0:
        m, e = m << min(e, MAX_SHIFT), 0
    shift = min(-e, MAX_SHIFT)
    m >>= -e - shift
    offset = round(math.ldexp(addend, shift))
    return m, max(-OFFSET_LIMIT, min(OFFSET_LIMIT, offset)), shift


def integer_weights(result: Result, *, common: bool) -> tuple[Int64Array, FloatArray]:
    """Return integer weights and each output channel's factor: ``weight = integer * factor[o]``.

    Scales by kernel are multiplied into the integers. With ``common`` one factor serves all
    channels (the scales must be powers of two times one another, and the integers of the larger
    ones are shifted up); otherwise powers of two that a channel's weights share go into its factor.

    Raises: HwgenError if the kernels of a filter have scales that are no small multiples of one
    another.
    """
    outputs = result.codes.shape[0]
    codes = result.codes
    if result.scale.ndim == 2:
        used = np.any(codes, axis=tuple(range(2, codes.ndim)))
        unit = [_kernel_unit(scale[mask]) for scale, mask in zip(result.scale, used, strict=True)]
        ratio = np.where(used, result.scale / np.array(unit)[:, None], 0.0)
        codes = codes * np.rint(ratio).astype(np.int64).reshape(
            ratio.shape + (1,) * (codes.ndim - 2)
        )
        factor = np.ldexp(np.array(unit), -result.bits)
    else:
        factor = np.ldexp(np.broadcast_to(result.scale, (outputs,)), -result.bits)
    flat = codes.reshape(outputs, -1)
    if common:
        up = _steps_up(codes, factor)
        if up is None:
            raise HwgenError("The last layer needs one scale for all classes")
        codes = codes << up.reshape((-1,) + (1,) * (codes.ndim - 1))
        used = np.any(flat, axis=1)
        factor = np.full(outputs, factor[used].min() if used.any() else factor[0])
        flat = codes.reshape(1, -1)
    merged = np.bitwise_or.reduce(np.abs(flat), axis=1)
    shared = np.array([(int(v) & -int(v)).bit_length() - 1 if v else 0 for v in merged])
    shared = np.broadcast_to(shared, (outputs,))
    down = shared.reshape((-1,) + (1,) * (codes.ndim - 1))
    return int64(codes >> down), factor * 2.0**shared


def steps_apart(result: Result) -> int | None:
    """Return how many powers of two lie between the scales of a layer's filters; None where they
    are no powers of two times one another, or scales are by kernel.
    """
    if result.scale.ndim == 2:
        return None
    outputs = result.codes.shape[0]
    up = _steps_up(result.codes, np.ldexp(np.broadcast_to(result.scale, (outputs,)), -result.bits))
    return None if up is None else int(up.max(initial=0))


def _steps_up(codes: Int64Array, factor: FloatArray) -> Int64Array | None:
    """Return the powers of two of each filter's factor over the least one; filters of zeros have
    none.
    """
    used = np.any(codes.reshape(len(codes), -1), axis=1)
    if not used.any():
        return int64(np.zeros(len(codes), np.int64))
    mantissa, exponent = np.frexp(factor)
    if np.any(mantissa[used] != mantissa[used][0]):
        return None
    return int64(np.where(used, exponent - exponent[used].min(), 0).astype(np.int64))


def _kernel_unit(scales: FloatArray) -> float:
    """Return the largest number of which all scales, dyadic each, are whole multiples."""
    if not scales.size:
        return 1.0
    parts = [as_dyadic(float(scale)) for scale in scales]
    if any(math.ldexp(m, e) != scale for (m, e), scale in zip(parts, scales, strict=True)):
        raise HwgenError("Scales by kernel must be dyadic (set scale digits to 1, 2 or 3)")
    lowest = min(e for _, e in parts)
    if max(m << (e - lowest) for m, e in parts) >= 1 << 12:
        raise HwgenError("Scales by kernel must lie within a factor of 4096 of one another")
    return math.ldexp(1.0, lowest)
