"""Filters of different kernel sizes on a tiled array: sorting, cycles, the best sizes for a budget.

An array of Tn x Tn (16 x 16) walks the taps in time and all filters of a tile together, so a tile
costs the taps of its largest kernel. Sorted by size, filters share tiles with their like; the order
is undone by the next layer's input channels, at no cost::

    cycles = pixels * ceil(ci / Tn) * sum over tiles of (taps of the largest kernel in the tile)

Choosing sizes under a budget of loss is a knapsack with tiles as items. For given numbers of tiles
of each size, the filters that go there are a transportation problem, solved exactly by cancelling
negative cycles (M. Klein, Management Science 14(3), 1967). The numbers are enumerated where they
are few, which makes the plan the optimum; else they come from a dynamic programme over filters in
the order of their loss, tile boundaries and cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import FloatArray, finite
from hwgen.compress.methods.lower_kernel import Curves
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

TILE = 16
FEW = 512  # combinations of tiles that are tried one by one


@dataclass(frozen=True, eq=False)
class TilePlan:
    """Sizes and places of a layer's filters.

    Parameters
    ----------
    levels : int64 array, (co,)
        Column of the curves for each filter.
    order : int64 array, (co,)
        The filters, tile by tile, larger kernels first.
    cost : int
        Taps of all tiles: cycles for a pixel and an input tile.
    loss : float
        Sum of the filters' losses.
    """

    levels: Int64Array
    order: Int64Array
    cost: int
    loss: float


def sort_filters(taps: npt.ArrayLike) -> Int64Array:
    """Return the order of filters, largest kernels first, equal ones as they were."""
    return int64(np.argsort(-np.asarray(taps, np.int64), kind="stable"))


def tile_cost(taps: npt.ArrayLike, *, tile: int = TILE) -> int:
    """Return the taps of all tiles for filters of so many taps, in the order given."""
    values = np.asarray(taps, np.int64)
    return int(np.maximum.reduceat(values, np.arange(0, len(values), tile)).sum())


def cycles(taps: npt.ArrayLike, *, ci: int, pixels: int, tile: int = TILE) -> int:
    """Return the cycles of a layer whose filters, in the order given, have so many taps a kernel.

    Pipeline filling is not counted.
    """
    return pixels * -(-ci // tile) * tile_cost(taps, tile=tile)


def plan_tiles(
    found: Curves, *, budget: float, tile: int = TILE, few: int = FEW
) -> TilePlan:
    """Return the cheapest sizes whose loss stays within a budget; of equal ones the least loss.

    Parameters
    ----------
    found : Curves
        Of filters, those of one group.
    budget : float, >= 0
        Of the summed loss.
    tile : int
        Filters of a tile.
    few : int
        The optimum is found where no more combinations of tiles exist; else a good one.

    Raises: HwgenError if budget or tile are outside what is said here.
    """
    if not budget >= 0:
        raise HwgenError(f"A budget of loss of 0 or more needed, not {budget}")
    front = plans(found, tile=tile, few=few)
    fitting = [plan for plan in front if plan.loss <= budget * (1 + 1e-12)]
    return fitting[0] if fitting else front[-1]


def plans(found: Curves, *, tile: int = TILE, few: int = FEW) -> tuple[TilePlan, ...]:
    """Return the plans that no other beats in both cost and loss, by rising cost."""
    if tile < 1:
        raise HwgenError(f"A tile of at least one filter needed, not {tile}")
    loss = finite(found.loss, dimensions=(2,), what="Losses")
    # A filter in a tile of larger kernels may take whatever smaller one loses least.
    reversed_ = loss[:, ::-1]
    least = np.minimum.accumulate(reversed_, axis=1)[:, ::-1]
    count = -(-len(loss) // tile)
    sizes = loss.shape[1]
    if math.comb(count + sizes - 1, sizes - 1) <= few:
        counts = set(_compositions(count, sizes))
    else:
        counts = _counts_by_order(least, found.taps, tile)
    best: dict[int, tuple[float, Int64Array]] = {}
    for tiles in sorted(counts):
        cost = int(np.dot(tiles, found.taps))
        places = _assign(least, np.array(tiles) * tile)
        total = float(least[np.arange(len(least)), places].sum())
        if cost not in best or total < best[cost][0]:
            best[cost] = total, places
    front: list[TilePlan] = []
    for cost in sorted(best):
        total, places = best[cost]
        if not front or total < front[-1].loss:
            front.append(_plan(loss, places, cost, total))
    return tuple(front)


def _plan(loss: FloatArray, places: Int64Array, cost: int, total: float) -> TilePlan:
    sizes = loss.shape[1]
    allowed = np.arange(sizes) >= places[:, None]
    kept = np.where(allowed, loss, np.inf)
    # The smallest kernel of those that lose as little: fewer taps to store.
    levels = sizes - 1 - np.argmin(kept[:, ::-1], axis=1)
    order = np.lexsort((np.arange(len(places)), levels, places))
    return TilePlan(int64(levels), int64(order), cost, total)


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)


def _counts_by_order(loss: FloatArray, taps: Int64Array, tile: int) -> set[tuple[int, ...]]:
    """Return numbers of tiles by size, each the best of some order of filters and some cost."""
    sizes = loss.shape[1]
    found: set[tuple[int, ...]] = set()
    for low in range(1, sizes):
        for high in range(low):
            order = np.argsort(-(loss[:, low] - loss[:, high]), kind="stable")
            for tiles in _programme(loss[order], taps, tile):
                # Tiles need not be full: no more of them than needed, the smallest go.
                trimmed = list(tiles)
                while sum(trimmed) > -(-len(loss) // tile):
                    trimmed[max(level for level in range(sizes) if trimmed[level])] -= 1
                found.add(tuple(trimmed))
    return found or {(-(-len(loss) // tile),)}


def _programme(
    loss: FloatArray, taps: Int64Array, tile: int
) -> dict[tuple[int, ...], float]:
    """Dynamic programme over filters in their order: tiles of 1 to ``tile`` neighbours, any size.

    Returns the numbers of tiles by size of all best cuts, and their losses. ``best[p, c]``: least
    loss of the first p filters in tiles of cost c together.
    """
    count, sizes = loss.shape
    unit = math.gcd(*map(int, taps))
    steps = [int(value) // unit for value in taps]
    limit = -(-count // tile) * steps[0]
    prefix = np.vstack([np.zeros(sizes), np.cumsum(loss, axis=0)])
    best = np.full((count + 1, limit + 1), np.inf)
    best[0, 0] = 0.0
    width = np.zeros(best.shape, np.int32)
    size = np.zeros(best.shape, np.int32)
    for end in range(1, count + 1):
        for begin in range(max(0, end - tile), end):
            losses = (prefix[end] - prefix[begin]).tolist()
            for level, step in enumerate(steps):
                trial = best[begin, : limit + 1 - step] + losses[level]
                better = np.flatnonzero(trial < best[end, step:]) + step
                best[end, better] = trial[better - step]
                width[end, better], size[end, better] = end - begin, level
    found: dict[tuple[int, ...], float] = {}
    least = np.inf
    for cost in np.flatnonzero(np.isfinite(best[count])):
        if best[count, cost] >= least * (1 - 1e-12):  # rounding is no gain
            continue
        least = best[count, cost]
        tiles = [0] * sizes
        end, left = count, int(cost)
        while end:
            level = int(size[end, left])
            tiles[level] += 1
            end, left = end - int(width[end, left]), left - steps[level]
        found[tuple(tiles)] = float(least)
    return found


def _assign(loss: FloatArray, room: Int64Array) -> Int64Array:
    """Return each filter's size, (co,), with the least loss for ``room`` filters of each size."""
    count, sizes = loss.shape
    padded = np.vstack([loss, np.zeros((int(room.sum()) - count, sizes))])  # empty places
    # Start: those that would lose most get the largest kernels.
    places = np.empty(len(padded), np.int64)
    places[np.argsort(-padded[:, -1], kind="stable")] = np.repeat(np.arange(sizes), room)
    slack = 1e-12 * float(np.abs(padded).max(initial=0.0))
    while cycle := _negative_cycle(padded, places, slack):
        moved = [_best_move(padded, places, here, there) for here, there in cycle]
        for (_, there), (member, _) in zip(cycle, moved, strict=True):
            places[member] = there
    return places[:count]


def _best_move(
    loss: FloatArray, places: Int64Array, here: int, there: int
) -> tuple[int, float]:
    """Return the filter of one size that changes best to another, and what that adds."""
    members = np.flatnonzero(places == here)
    if not members.size:
        return -1, np.inf
    change = loss[members, there] - loss[members, here]
    best = int(np.argmin(change))
    return int(members[best]), float(change[best])


def _negative_cycle(
    loss: FloatArray, places: Int64Array, slack: float
) -> list[tuple[int, int]] | None:
    """Return moves (from, to) in a ring that lower the loss together (Bellman and Ford)."""
    sizes = loss.shape[1]
    edges = {
        (here, there): _best_move(loss, places, here, there)[1]
        for here in range(sizes)
        for there in range(sizes)
        if here != there
    }
    distance, before = [0.0] * sizes, [-1] * sizes
    changed = -1
    for _ in range(sizes):
        changed = -1
        for (here, there), weight in edges.items():
            if distance[here] + weight < distance[there] - slack:
                distance[there], before[there], changed = distance[here] + weight, here, there
    if changed < 0:
        return None
    for _ in range(sizes):
        changed = before[changed]
        if changed < 0:
            return None
    ring, node = [], changed
    while True:
        ring.append((before[node], node))
        node = before[node]
        if node == changed:
            break
    total = sum(edges[edge] for edge in ring)
    return ring if total < -slack else None
