"""Real factors as the constants of a Requantise: few signed digits and a shift."""

from __future__ import annotations

import math

from hwgen.compress.methods.dyadic import mantissas
from hwgen.layers import MAX_SHIFT

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
