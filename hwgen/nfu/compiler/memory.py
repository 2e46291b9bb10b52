"""Places in memory for the tensors of a program that nobody looks into: those that are needed at
different times lie in the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

from hwgen.nfu.compiler.pieces import Piece
from hwgen.nfu.compiler.plan import Plan
from hwgen.nfu.compiler.views import Region
from hwgen.nfu.config import Config
from hwgen.nfu.isa import ALIGNMENT


def aligned(address: int) -> int:
    """Return the first address from this one on at which a region may begin."""
    return -(-address // ALIGNMENT) * ALIGNMENT


def share_memory(regions: Sequence[Region], plans: Sequence[Plan], kept: Sequence[Region],
                 start: int, config: Config) -> int:
    """Set the addresses of regions, the largest first, each as low as it can be.

    A region is in use from the task that stores it (an input: from the beginning) to the last one
    that reads it. No task stores where it reads. Whatever a task loads has come before the next one
    stores: that waits for a COMPUTE of its own.

    Parameters
    ----------
    regions : sequence of Region
    plans : sequence of Plan
        All tasks, in order.
    kept : sequence of Region
        Needed after the end.
    start : int
        First address that is free.

    Returns: the address behind them all.
    """
    times = {id(region): (len(plans), -1) for region in regions}

    def used(piece: Piece, when: int) -> None:
        first, last = times[id(piece.region)]
        times[id(piece.region)] = min(first, when), max(last, when)

    for when, plan in enumerate(plans):
        for job in plan.jobs:
            for piece in job.pixels:
                used(piece, when)
            if job.store is not None:
                used(job.store, when)
    stored = {id(job.store.region) for plan in plans for job in plan.jobs if job.store is not None}
    for region in regions:
        first, last = times[id(region)]
        times[id(region)] = (first if id(region) in stored else 0,
                             len(plans) if region in kept else last)
    placed: list[Region] = []
    for region in sorted(regions, key=lambda one: -one.words):
        size, (first, last) = region.words * config.word_bytes, times[id(region)]
        address = start
        for other in sorted(placed, key=lambda one: one.address):
            begins, ends = times[id(other)]
            if begins <= last and first <= ends and other.address < address + size:
                address = max(address, aligned(
                    other.address + other.words * config.word_bytes))
        region.address = address
        placed.append(region)
    return max((aligned(one.address + one.words * config.word_bytes) for one in placed),
               default=start)
