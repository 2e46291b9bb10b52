"""Windows of a kernel: which sides there are, where one may begin, the taps inside."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from hwgen.compress.methods.checks import BoolArray
from hwgen.errors import HwgenError


class Place(Enum):
    """Where the window is."""

    CENTRE = "centre"
    BEST = "best"  # where the loss is least


def ladder(sides: Sequence[int], kh: int, kw: int) -> tuple[int, ...]:
    """Return the whole kernel's side and the smaller ones, falling.

    Raises: HwgenError if a side is not one of a window.
    """
    full = max(kh, kw)
    for side in sides:
        if not 1 <= side <= full:
            raise HwgenError(f"Sides from 1 to {full} needed, not {side}")
    return tuple(sorted({full, *map(int, sides)}, reverse=True))


def places(side: int, kh: int, kw: int, place: Place) -> list[tuple[int, int]]:
    """Return where a window may begin, the nearest to the centre first, so that it wins a tie."""
    rows, columns = kh - min(side, kh), kw - min(side, kw)
    centre = rows // 2, columns // 2
    if place is Place.CENTRE:
        return [centre]
    every = [(y, x) for y in range(rows + 1) for x in range(columns + 1)]
    return sorted(every, key=lambda at: abs(at[0] - centre[0]) + abs(at[1] - centre[1]))


def window(side: int, place: tuple[int, int], kh: int, kw: int) -> BoolArray:
    """Return a kernel's taps, (kh, kw), those of a window high."""
    taps = np.zeros((kh, kw), bool)
    y, x = place
    taps[y : y + min(side, kh), x : x + min(side, kw)] = True
    return taps
