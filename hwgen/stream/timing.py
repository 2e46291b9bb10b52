"""When each beat of the first image leaves each layer: the cycle-exact schedule without stalls.

Time 0 is the cycle in which the first pixel is taken from the input; a beat's time is the first
cycle in which it is offered. The engine is idle before, and nothing holds it up behind; pixels come
one a cycle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwgen.layers import Int64Array
from hwgen.stream.dense_rom import DenseRom
from hwgen.stream.frame import FrameGuard
from hwgen.stream.gather import Gather
from hwgen.stream.join import queue_latency
from hwgen.stream.layer_plan import LayerPlan
from hwgen.stream.linear import Chain, Linear
from hwgen.stream.raster import Axis
from hwgen.stream.window import Window


def departures(plan: LayerPlan, part: Any, sources: list[Int64Array]) -> Int64Array:
    """Return the time at which each beat of the first image leaves a layer, (beats,) int64.

    Parameters: plan and component of the layer; the same times of its sources.
    """
    if isinstance(part, FrameGuard):
        return np.arange(plan.format.beats)
    return sources[0] if part is None else _through(part, _joined(plan, sources))


def forked(
    times: Int64Array, walks: list[tuple[Axis, Axis]], interval: int
) -> tuple[Int64Array, int]:
    """Return when a fork offers each beat of the first image, and the cycles from image to image.

    A window takes no pixel while it walks over padding, and the fork waits for all its readers.

    Parameters: times at which the first image's beats come; walks, down and across, of the readers
    that are windows; interval, cycles from image to image up to here.
    """
    images, beat = 4, np.arange(times.size)
    repeat = np.arange(images)[:, None]
    steps = []  # for each window, the places from the beat before to this one
    for rows, columns in walks:
        place = beat // columns.size * columns.places + beat % columns.size
        steps.append(np.diff((place + repeat * rows.places * columns.places).ravel(), prepend=-1))
    offered: list[int] = []
    taken, last = [-1] * len(walks), -1
    for arrival, *reach in zip((times + repeat * interval).ravel().tolist(), *steps, strict=True):
        offered.append(max(arrival, last + 1))
        taken = [max(offered[-1], one + step) for one, step in zip(taken, reach, strict=True)]
        last = max(offered[-1], *taken, last)
    first = np.array(offered).reshape(images, -1)
    return first[0], int(first[-1, 0] - first[-2, 0])


def queue_depths(
    fewest: tuple[int, ...], sources: list[Int64Array], interval: int
) -> tuple[int, ...]:
    """Return the depth of the queue each branch before a join needs for the stream never to be held
    up.

    Parameters: fewest, beats without which the join would wait for ever; sources, times at which
    the first image's beats come from each branch; interval, cycles from image to image up to here.
    """
    images = 3
    arrivals = [np.concatenate([times + n * interval for n in range(images)]) for times in sources]
    depths = [0] * len(sources)
    for _ in range(2):  # a queue delays its branch, and so the join
        late = [times + queue_latency(depth) for times, depth in zip(arrivals, depths, strict=True)]
        joined = np.maximum.reduce(late)
        waiting = [
            np.searchsorted(times, joined, side="right") - np.arange(joined.size)
            for times in arrivals
        ]
        depths = [
            0 if w.max() <= 1 and least == 0 else max(least, int(w.max()) + 1)
            for w, least in zip(waiting, fewest, strict=True)
        ]
    return tuple(depths)


def smoothing_depth(part: Any, times: Int64Array, interval: int) -> int:
    """Return the depth of the queue in front of a layer for its source never to be held up.

    Parameters: part, component with ``take``; times at which the first image's beats come;
    interval, cycles from image to image.
    """
    images = 4
    taken: list[Int64Array] = []
    state: Any = None
    for n in range(images):
        gone, state = part.take(times + n * interval + queue_latency(3), state)
        taken.append(gone)
    offered = np.concatenate([times + n * interval for n in range(images)])
    places = np.arange(offered.size)
    waiting = np.searchsorted(offered, np.concatenate(taken), side="right") - places
    depth = int(waiting.max())
    return 0 if depth <= 1 else depth + 1


def part_interval(part: Any) -> int:
    """Return the cycles an image takes in one layer, 0 in one that is only wiring."""
    if isinstance(part, Chain):
        return max(part_interval(one) for one in part.parts.values())
    if isinstance(part, Linear):
        return max(part.interval, *(part_interval(one) for one in part.front.values()))
    return 0 if part is None else int(getattr(part, "interval", 1))


def part_latency(part: Any) -> int:
    """Return the cycles from the last pixel that a beat needs to that beat, summed over a layer's
    parts.
    """
    if isinstance(part, Chain):
        return sum(part_latency(one) for one in part.parts.values())
    if isinstance(part, Linear):
        return int(part.latency) + sum(part_latency(one) for one in part.front.values())
    return int(part.latency)


def _joined(plan: LayerPlan, sources: list[Int64Array]) -> Int64Array:
    """Beats wait for each other, behind their queues."""
    if not plan.fifos:
        return sources[0]
    late = [time + queue_latency(depth) for time, depth in zip(sources, plan.fifos, strict=True)]
    return np.maximum.reduce(late)


def _through(part: Any, times: Int64Array) -> Int64Array:
    if isinstance(part, Chain):
        for one in part.parts.values():
            times = _through(one, times)
        return times
    if isinstance(part, Linear):
        for one in part.front.values():
            times = _through(one, times)
        return times + part.latency
    if isinstance(part, Window):
        return _window(part, times)
    if hasattr(part, "departures"):
        found: Int64Array = part.departures(times)
        return found
    if isinstance(part, Gather):
        return times[part.count - 1 :: part.count] + part.latency
    if isinstance(part, DenseRom):
        code = part.code
        return times[-1] + part.latency + code.steps * np.arange(code.slots)
    return times + int(part.latency)


def _window(window: Window, times: Int64Array) -> Int64Array:
    rows, columns = window.rows, window.columns
    raster = np.zeros((rows.places, columns.places), np.int64)
    raster[: rows.size, : columns.size] = times.reshape(rows.size, columns.size)
    place = np.arange(raster.size)
    # A place is walked when its pixel is there and the place before is done: a running maximum.
    walked = np.maximum.accumulate(raster.ravel() - place) + place
    y = rows.first + rows.stride * np.arange(rows.count)
    x = columns.first + columns.stride * np.arange(columns.count)
    return walked[(y[:, None] * columns.places + x[None, :]).ravel()] + window.latency
