"""What a run of a design in a simulator showed, before anything is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.layers import Int64Array
from hwgen.sim.vectors import Bits


@dataclass(frozen=True, eq=False)
class Beats:
    """Beats of one stream in order: their bits, and which of them held an unknown bit."""

    bits: Bits
    unknown: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.bits)


@dataclass(frozen=True, eq=False)
class Recorded:
    """One network's streams in one run.

    Parameters
    ----------
    output : Beats
        Of the output port.
    lasts : (beats,) bool
        Its ``tlast``.
    cycles : (beats,) int64
        The cycle in which each of them was taken, from the start of the run.
    first_cycle : int
        The cycle in which the first input beat was taken, -1 if none was.
    taken : int
        Input beats that were taken.
    taps : mapping
        Beats of each watched layer, by layer name.
    breaches : tuple of str
        Breaches of the stream rules, the first of each stream.
    frame_error, stuck : bool
        The design's flag at the end; True if nothing moved any more before all was done.
    trace : sequence of mapping
        Windows of hwgen.sim.trace; none of a run in bulk.
    """

    output: Beats
    lasts: npt.NDArray[np.bool_]
    cycles: Int64Array
    first_cycle: int
    taken: int
    taps: Mapping[str, Beats] = field(default_factory=dict)
    breaches: tuple[str, ...] = ()
    frame_error: bool = False
    stuck: bool = False
    trace: Sequence[Mapping[str, Any]] = ()

    @property
    def span(self) -> int:
        """Cycles from the first input beat to the last result, both included."""
        return int(self.cycles[-1]) - self.first_cycle + 1 if len(self.cycles) else 0
