"""The filters of a task put into tiles, and the steps that each tile takes.

A step is one cycle of the array for a pixel: an input tile under one tap, one digit of each of its
weights. A tile of filters takes every step that any of its filters has a weight in; so filters are
sorted by their kernels' supports, and the order is undone by whoever reads the result, at no cost::

    cycles a pixel = sum over tiles of |union of the supports of its filters|
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.layers import Int64Array
from hwgen.nfu.compiler.digits import digit_counts
from hwgen.nfu.compiler.tasks import Task, Term
from hwgen.nfu.compiler.views import View
from hwgen.nfu.config import Config

MAX_DIGITS = 16               # of a weight: passes of one step
LARGEST_BASE = 7              # of an output channel: what the finisher shifts by
AT_ONCE = 64                  # filters looked at together


@dataclass(frozen=True)
class Step:
    """One cycle of a pixel. Parameters: tile, of the view; tap, of the term; digit."""

    tile: int
    tap: int
    digit: int


@dataclass(frozen=True, eq=False)
class Arranged:
    """A task with its filters in tiles.

    Parameters
    ----------
    task : Task
    views : tuple of View
        Of the terms' sources.
    tiles : list of (n,) int64
        Channels of each tile, lane by lane; -1: none.
    base : (channels,) int64
        Accumulators count in units of 2**base.
    config : Config
    """

    task: Task
    views: tuple[View, ...]
    tiles: list[Int64Array]
    base: Int64Array
    config: Config

    @cached_property
    def steps(self) -> list[list[list[Step]]]:
        """Steps by tile and term."""
        if self.task.is_max:
            taps = len(self.task.terms[0].taps)
            return [[[Step(n, tap, 0) for tap in range(taps)]] for n in range(len(self.tiles))]
        return [
            [steps_of(self.weights(members, n), self.config) for n in range(len(self.views))]
            for members in self.tiles
        ]

    def weights(self, members: Int64Array, n: int) -> Int64Array:
        """Return a term's weights for filters, in units of 2**base: (tn, tiles, tn, taps)."""
        full = np.zeros((self.config.tn, self.views[n].tiles, self.config.tn,
                         len(self.task.terms[n].taps)), np.int64)
        here = members >= 0
        part = block(self.task.terms[n], self.views[n], members[here], self.config.tn)
        full[: len(members)][here] = part >> self.base[members[here]][:, None, None, None]
        return full


def block(term: Term, view: View, members: Int64Array, tn: int) -> Int64Array:
    """Return the weights of some filters, (filters, tiles of the view, lanes, taps)."""
    taps = len(term.taps)
    full = np.zeros((len(members), view.tiles, tn, taps), np.int64)
    tile, lane = view.global_tile, view.lane
    if term.weight is None:
        full[np.arange(len(members)), tile[members], lane[members]] = term.factor
        return full
    inputs, outputs = term.weight.shape[1], len(term.weight) // term.groups
    for row, member in enumerate(members):
        channels = slice(member // outputs * inputs, (member // outputs + 1) * inputs)
        full[row, tile[channels], lane[channels]] = term.weight[member].reshape(inputs, taps)
    return full


def steps_of(weights: Int64Array, config: Config) -> list[Step]:
    """Return the steps of a tile of filters: (tn, tiles, tn, taps) weights."""
    counts = digit_counts(weights, config).max(axis=(0, 2))
    if config.multipliers and counts.any():
        # Dense kernels over a run of tiles: what counters can walk.
        used = np.flatnonzero(counts.any(axis=1))
        counts[:] = 0
        counts[used[0] : used[-1] + 1] = 1
    return [Step(int(tile), int(tap), digit) for tile, tap in zip(*np.nonzero(counts), strict=True)
            for digit in range(counts[tile, tap])]


def arrange(task: Task, views: Sequence[View], config: Config, *, sort: bool = True,
            halves: bool = False, reader: Int64Array | None = None) -> Arranged:
    """Return a task with its filters in the order that takes the fewest steps.

    Parameters: sort, False to keep the filters in their order; halves, the first half of the
    channels in the lower half of the lanes, the other one in the upper half; reader, the order of
    the channels of a task to which the result is added as it is: each of its tiles takes a step for
    each tile of the result.
    Raises: HwgenError naming the layer if a weight has more digits than can be walked.
    """
    channels = task.tensor.channels
    if task.is_max:
        return Arranged(task, tuple(views), _aligned(views[0], config.tn),
                        np.zeros(channels, np.int64), config)
    base = _bases(task, views, config)
    demand = _demand(task, views, base, config)
    for n, term in enumerate(task.terms):
        most = int(demand[n].max(initial=0))
        if config.multipliers:
            _check_products(term, config)
        elif most > MAX_DIGITS:
            raise term.layer.error(
                "weight", f"at most {MAX_DIGITS} digits of shifts up to "
                f"{config.code.largest_shift} a weight", f"one of {most}")
    orders = [np.arange(channels)]
    if sort and task.argmax is None:
        wanted = np.concatenate([part.reshape(channels, -1) for part in demand], axis=1)
        packed = [row.tobytes() for row in wanted]
        lexicographic = sorted(range(channels), key=lambda n: packed[n], reverse=True)
        heavy = np.argsort(-wanted.sum(axis=1)[lexicographic], kind="stable")
        orders += [np.array(lexicographic), np.array(lexicographic)[heavy]]
        costs = [_cost(wanted[order], config.tn) for order in orders]
        if reader is not None:
            orders.append(reader)
            costs = [_cost(wanted[order], config.tn) + _meetings(reader, order, config.tn)
                     for order in orders]
        order = orders[int(np.argmin(costs))]
    else:
        order = orders[0]
    tiles = [order[start : start + config.tn] for start in range(0, channels, config.tn)]
    if halves:
        lanes = np.full((2, config.tn // 2), -1, np.int64)
        lanes[:, : channels // 2] = np.arange(channels).reshape(2, -1)
        tiles = [lanes.reshape(-1)]
    return Arranged(task, tuple(views), tiles, base, config)


def _aligned(view: View, tn: int) -> list[Int64Array]:
    """Return a tile for each tile of a view, every channel in its lane."""
    table = np.full((view.tiles, tn), -1, np.int64)
    table[view.global_tile, view.lane] = np.arange(view.channels)
    return list(table)


def _bases(task: Task, views: Sequence[View], config: Config) -> Int64Array:
    """Return for each channel how many lowest bits all its weights have free, if that is used."""
    channels = task.tensor.channels
    bits = np.zeros(channels, np.int64)
    if config.code.value != "base":
        return bits
    for term in task.terms:
        if term.weight is None:
            bits |= term.factor
        else:
            bits |= np.bitwise_or.reduce(np.abs(term.weight).reshape(channels, -1), axis=1)
    lowest = bits & -bits
    free = np.log2(np.maximum(lowest, 1)).astype(np.int64)
    return np.minimum(np.where(bits == 0, 0, free), LARGEST_BASE)


def _demand(task: Task, views: Sequence[View], base: Int64Array,
            config: Config) -> list[Int64Array]:
    """Return, term by term, the digits that each filter needs of each step, (co, tiles, taps)."""
    found = []
    channels = np.arange(task.tensor.channels)
    for term, view in zip(task.terms, views, strict=True):
        parts = []
        for start in range(0, channels.size, AT_ONCE):
            members = channels[start : start + AT_ONCE]
            values = block(term, view, members, config.tn)
            values >>= base[members][:, None, None, None]
            parts.append(digit_counts(values, config).max(axis=2).astype(np.uint8))
        found.append(np.concatenate(parts))
    return found


def _cost(wanted: Int64Array, tn: int) -> int:
    return sum(int(wanted[start : start + tn].max(axis=0).sum(dtype=np.int64))
               for start in range(0, len(wanted), tn))


def _meetings(reader: Int64Array, order: Int64Array, tn: int) -> int:
    """Return how many pairs of a reader's tile and a tile of an order have a channel in common."""
    tile = np.empty(order.size, np.int64)
    tile[order] = np.arange(order.size) // tn
    return len({(place // tn, int(tile[channel])) for place, channel in enumerate(reader)})


def _check_products(term: Term, config: Config) -> None:
    limit = 1 << config.weight_bits - 1
    largest = term.factor if term.weight is None else int(
        max(-term.weight.min() - 1, term.weight.max()))
    if largest >= limit:
        raise term.layer.error("weight", f"values within +-{limit}", largest)
