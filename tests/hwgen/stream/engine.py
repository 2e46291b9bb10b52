"""Runs a whole streaming engine in Amaranth's simulator and compares every layer with the golden
model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.network import ArgMax, Int64Array, Network
from hwgen.sim import golden
from hwgen.stream.top import StreamTop
from hwgen.stream.widen import pixels_of
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import Sink, Source, axis_in, axis_out, exchange, port

REST = 80  # cycles until every window has walked over its padding


@dataclass
class Run:
    """What was seen: wrong layers by name, cycles from first pixel to last result, and from image
    to image."""

    wrong: list[str]
    latency: int
    intervals: list[int]


def wider(codes: Int64Array, pixels: int) -> Int64Array:
    """Codes (N, C, H, W) with neighbouring pixels of a row as one: (N, pixels * C, H, W / pixels),
    the left one's channels first."""
    count, channels, height, width = codes.shape
    apart = codes.reshape(count, channels, height, width // pixels, pixels)
    return apart.transpose(0, 4, 1, 2, 3).reshape(count, channels * pixels, height, -1)


def simulate(
    top: Any,
    network: Network,
    images: Int64Array,
    *,
    seed: int | None = None,
    cut: int = 0,
    limit: int | None = None,
) -> Run:
    """Send images through an engine, after ``cut`` pixels and a reset; compare every tap's beats.

    Raises: StreamFault.
    """
    assert isinstance(top, StreamTop)
    golden_codes = golden.run(network, images)
    pixels = top.parts[network.input.name].format
    fill = len(top.s_axis_tdata) > pixels.bits
    beats = [
        (*beat, *[0] * fill, int(n % pixels.beats == pixels.beats - 1))
        for n, beat in enumerate(layers.beats_of(wider(images, top.plan.options.pixels)))
    ]
    if cut:
        beats = [*beats[:cut], None, *beats]
    source = Source(axis_in(top, pixels.shapes, "s_axis_"), beats)
    sink = Sink(axis_out(top, top.output.shapes, "m_axis_"), top.output.beats * len(images))
    taps = {
        name: part
        for name, part in top.parts.items()
        if part is not None and name in network.by_name
    }
    seen = exchange(
        top,
        [source],
        [sink],
        seed=seed,
        watch=[port(part.o) for part in taps.values()],
        limit=limit,
        rest=REST,
    )
    wrong = []
    for (name, _), found in zip(taps.items(), seen, strict=True):
        format = top.plan[name].format
        expected = wider(golden_codes[name], pixels_of(top.plan.network, name))
        channels = expected.shape[1]
        wanted = np.array(layers.beats_of(expected, format.lanes), dtype=object)
        if isinstance(network.by_name[name], ArgMax):
            found = [beat[:1] for beat in found]
        same = len(found) == len(wanted)
        if same:
            shape = (-1, format.folds * format.lanes)
            same = np.array_equal(
                np.array(found, dtype=object).reshape(shape)[:, :channels],
                wanted.reshape(shape)[:, :channels],
            )
        if not same:
            wrong.append(name)
    lasts = sink.given[top.output.beats - 1 :: top.output.beats]
    latency = sink.offered[top.output.beats - 1] - source.taken[0]
    return Run(wrong, latency, [b - a for a, b in zip(lasts, lasts[1:], strict=False)])
