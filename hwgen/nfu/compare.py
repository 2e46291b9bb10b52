"""Comparison by one carry chain."""

from __future__ import annotations

from amaranth import Value


def less(a: Value, b: Value) -> Value:
    """Return ``a < b``, the sign of a difference: synthesis makes levels of LUTs of a comparison,
    twice as slow for 32 bits.
    """
    return (a - b)[-1]
