"""Tensors that share memory: never two that are needed at the same time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from hwgen.nfu.compiler.memory import share_memory
from hwgen.nfu.compiler.pieces import Piece
from hwgen.nfu.compiler.views import Region
from hwgen.nfu.config import Config

CONFIG = Config(tn=8)
START = 640


@dataclass
class Job:
    """What of a job is looked at."""

    pixels: tuple[Piece, ...]
    store: Piece | None


@dataclass
class Plan:
    """A task: its jobs."""

    jobs: list[Job] = field(default_factory=list)


def region(words: int) -> Region:
    return Region("x", "codes", 1, 1, words, np.zeros(0, np.int64))


def whole(one: Region) -> Piece:
    return Piece(one, one.width, 1, 0, 1, 0, 1, 0, one.width)


def placed(sizes: list[int], reads: list[list[int]], kept: list[int]) -> tuple[int, list[Region]]:
    """Place an input (0) and what tasks 0, 1, ... store (1, 2, ...); reads, what each task reads.
    """
    regions = [region(size) for size in sizes]
    plans: Any = [
        Plan([Job(tuple(whole(regions[n]) for n in found), whole(regions[task + 1]))])
        for task, found in enumerate(reads)]
    end = share_memory(regions, plans, [regions[n] for n in kept], START, CONFIG)
    return end, regions


def test_chain() -> None:
    """A chain of equals needs room for two."""
    end, regions = placed([16] * 6, [[n] for n in range(5)], [5])
    assert end == START + 2 * 16 * 8
    assert {one.address for one in regions} == {START, START + 16 * 8}


def test_branch() -> None:
    """What a later task reads again stays."""
    end, regions = placed([16] * 4, [[0], [1], [1, 2]], [3])
    assert len({one.address for one in regions[1:]}) == 3
    assert end == START + 3 * 16 * 8


@pytest.mark.parametrize("seed", range(40))
def test_none_meet(seed: int) -> None:
    rng = random.Random(seed)
    tasks = rng.randrange(1, 9)
    sizes = [rng.randrange(1, 50) for _ in range(tasks + 1)]
    reads = [sorted({task, rng.randrange(task + 1)}) for task in range(tasks)]
    kept = sorted({tasks, rng.randrange(1, tasks + 1)})
    end, regions = placed(sizes, reads, kept)
    spans = []
    for n, one in enumerate(regions):
        users = [task for task, found in enumerate(reads) if n in found]
        last = tasks if n in kept else max([*users, n - 1])
        spans.append((n - 1, last, one.address, one.address + 8 * one.words))
        assert START <= one.address
        assert one.address % 64 == 0
        assert one.address + 8 * one.words <= end
    for (begin, last, low, high), (start, stop, first, behind) in combinations(spans, 2):
        if begin <= stop and start <= last:
            assert high <= first or behind <= low
