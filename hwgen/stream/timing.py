"""When each beat of the first image leaves each layer: the cycle-exact schedule without stalls.

Time 0 is the cycle in which the first pixel is taken from the input; a beat's time is the first cycle in which
it is offered. The engine is idle before, and nothing holds it up behind; pixels come one a cycle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwgen.layers import Int64Array
from hwgen.stream.dense_rom import DenseRom
from hwgen.stream.frame import FrameGuard
from hwgen.stream.gather import Gather
from hwgen.stream.linear import Chain, Linear
from hwgen.stream.plan import LayerPlan
from hwgen.stream.top import StreamTop
from hwgen.stream.window import Window


def departures(top: StreamTop) -> dict[str, Int64Array]:
    """Return for each layer the time at which each beat of the first image is offered, (beats,) int64."""
    times: dict[str, Int64Array] = {}
    for plan in top.plan.layers:
        part = top.parts[plan.layer.name]
        sources = [times[name] for name in plan.layer.inputs]
        if isinstance(part, FrameGuard):
            times[plan.layer.name] = np.arange(plan.format.beats)
        elif part is None:
            times[plan.layer.name] = sources[0]
        else:
            times[plan.layer.name] = _through(part, _joined(plan, sources))
    return times


def latency(top: StreamTop) -> int:
    """Return the cycles from an image's first pixel taken to its last result offered, from idle."""
    times = departures(top)[top.plan.layers[-1].layer.name]
    gathered = top.plan.layers[-1].format.folds > 1
    return int(times[-1]) + gathered


def interval(top: StreamTop) -> int:
    """Return the cycles from one image to the next, when they follow each other without a gap."""
    return max(_interval(part) for part in top.parts.values() if part is not None)


def part_interval(part: Any) -> int:
    """Return the cycles an image takes in one layer."""
    return _interval(part)


def part_latency(part: Any) -> int:
    """Return the cycles from the last pixel that a beat needs to that beat, summed over a layer's parts."""
    if isinstance(part, Chain):
        return sum(part_latency(one) for one in part.parts.values())
    if isinstance(part, Linear):
        return part.latency + sum(part_latency(one) for one in part.front.values())
    return int(part.latency)


def _interval(part: Any) -> int:
    if isinstance(part, Chain):
        return max(_interval(one) for one in part.parts.values())
    if isinstance(part, Linear):
        return max(part.interval, *(_interval(one) for one in part.front.values()))
    return int(getattr(part, "interval", 1))


def _joined(plan: LayerPlan, sources: list[Int64Array]) -> Int64Array:
    """Beats wait for each other; a queue takes two cycles (one if it holds but one beat)."""
    if not plan.fifos:
        return sources[0]
    late = [time + min(depth, 2) for time, depth in zip(sources, plan.fifos, strict=True)]
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
    if isinstance(part, Gather):
        return times[part.count - 1::part.count] + part.latency
    if isinstance(part, DenseRom):
        code = part.code
        return times[-1] + part.latency + code.steps * np.arange(code.slots)
    return times + int(part.latency)


def _window(window: Window, times: Int64Array) -> Int64Array:
    rows, columns = window.rows, window.columns
    raster = np.zeros((rows.places, columns.places), np.int64)
    raster[:rows.size, :columns.size] = times.reshape(rows.size, columns.size)
    place = np.arange(raster.size)
    # A place is walked when its pixel is there and the place before is done: a running maximum.
    walked = np.maximum.accumulate(raster.ravel() - place) + place
    y = rows.first + rows.stride * np.arange(rows.count)
    x = columns.first + columns.stride * np.arange(columns.count)
    return walked[(y[:, None] * columns.places + x[None, :]).ravel()] + window.latency
