"""Pixels from a stream into an NFU's memory, and results out of it: what a host does otherwise.

    s_axis ─► FrameGuard ─► [Window] ─► Feed ─► memory ─► Drain ─► FrameOut ─► m_axis

Where the compiler spread the taps of the first layer over the lanes, the image lies in memory
window by window: a Window of the streaming engine makes these out of the pixels as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth import Array, C, Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ChipMemory
from hwgen.layers import ArgMax, Flatten, Layer
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.nfu.compiler.views import Region
from hwgen.ranges import value_ranges
from hwgen.stream.beat import BeatFormat
from hwgen.stream.raster import Axis
from hwgen.stream.window import Window


def image_format(network: Network) -> BeatFormat:
    """Return what a beat of the image carries: a pixel."""
    name = network.input.name
    return BeatFormat.of(network.tensors[name], value_ranges(network)[name])


def result_format(network: Network) -> BeatFormat:
    """Return what a beat of the result carries: the class first, if there is one, and the scores.
    """
    name = network.scores.name
    scores = BeatFormat.of(network.tensors[name], value_ranges(network)[name])
    return scores.with_class() if isinstance(network.output, ArgMax) else scores


class Feed(wiring.Component):
    """Writes the words of an input region, one a cycle.

    Parameters: region, of the whole input, natural or folded; format, of the pixels; word_bits,
    act_bits, of the memory.

    Members
    -------
    i : In(stream), pixels or windows (``layout``) in raster order.
    valid, address (of words), data : Out, a word to be written. last : Out, it is the region's.

    Latency: 0 cycles. Interval: ``region.tiles`` cycles a beat of ``i``.
    """

    def __init__(
        self, *, region: Region, format: BeatFormat, word_bits: int, act_bits: int
    ) -> None:
        self.region, self.format = region, format
        self.word_bits, self.act_bits = word_bits, act_bits
        self.window = None if region.fold is None else _window(region, format)
        self.layout = format.layout if self.window is None else self.window.layout
        super().__init__({
            "i": In(stream.Signature(self.layout)), "valid": Out(1),
            "address": Out(range((region.address * 8 // word_bits) + region.words)),
            "data": Out(word_bits), "last": Out(1),
        })

    @property
    def cycles(self) -> int:
        """Cycles from the first pixel taken to the last one taken and the last word written."""
        if self.window is None:
            return self.region.words
        rows, columns, more = self.window.rows, self.window.columns, self.region.tiles - 1
        y, x = (axis.first + axis.stride * np.arange(axis.count) for axis in (rows, columns))
        ends = (y[:, None] * columns.places + x).reshape(-1)
        # A place is a cycle; behind a window the walk stands until its words are written.
        final = (rows.size - 1) * columns.places + columns.size - 1
        pixels = final + more * int(np.sum(ends < final))
        words = int(ends[-1]) + more * (len(ends) - 1) + 1 + more
        return max(pixels, words) + 1

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        region, base = self.region, self.region.address * 8 // self.word_bits
        plane = region.height * region.width
        place, tile = Signal(range(plane), name="place"), Signal(range(region.tiles), name="tile")
        final, at_end = Signal(name="final"), Signal(name="at_end")
        words = [self._word(n) for n in range(region.tiles)]
        m.d.comb += [
            final.eq(tile == region.tiles - 1), at_end.eq(place == plane - 1),
            self.valid.eq(self.i.valid), self.i.ready.eq(final), self.last.eq(final & at_end),
            self.address.eq(Array([base + n * plane for n in range(region.tiles)])[tile] + place),
            self.data.eq(Array(words)[tile]),
        ]
        with m.If(self.i.valid):
            m.d.sync += tile.eq(Mux(final, 0, tile + 1))
            with m.If(final):
                m.d.sync += place.eq(Mux(at_end, 0, place + 1))
        return m

    def _word(self, tile: int) -> Value:
        """Return a tile's word: in each lane the code of its channel."""
        lanes, codes = self.word_bits // self.act_bits, []
        for channel in range(tile * lanes, (tile + 1) * lanes):
            field = self._field(channel)
            code = C(0, self.act_bits) if field is None else self.i.payload[f"c{field}"]
            codes.append(_extended(code, self.act_bits))
        return Cat(*codes)

    def _field(self, channel: int) -> int | None:
        """Return the field of ``i`` for a channel of the region; None: there is none."""
        fold, count = self.region.fold, self.format.channels
        if fold is None:
            return channel if channel < count else None
        tap, pixel_channel = divmod(channel, count)
        if tap >= len(fold.taps):
            return None
        row, column = fold.taps[tap]
        return (row * fold.kernel[1] + column) * count + pixel_channel


def _extended(code: Value, bits: int) -> Value:
    """Return a code in two's complement of ``bits``."""
    shape = code.shape()
    top = code[-1] if shape.signed else C(0, 1)
    return Cat(code, top.replicate(max(bits - shape.width, 0)))[:bits]


def _window(region: Region, format: BeatFormat) -> Window:
    fold = region.fold
    assert fold is not None
    top, left, bottom, right = fold.padding
    return Window(
        format=format,
        rows=Axis(format.height, top, bottom, fold.kernel[0], fold.stride[0], fold.dilation[0]),
        columns=Axis(format.width, left, right, fold.kernel[1], fold.stride[1], fold.dilation[1]),
    )


@dataclass(frozen=True)
class Readings:
    """Where a result lies, once for each of its pixels.

    Parameters: addresses, of words, for pixel 0; a pixel further is a word further. bits, for each
    field of the result the (word, bit) of its bits, the lowest first.
    """

    addresses: tuple[int, ...]
    bits: tuple[tuple[tuple[int, int], ...], ...]


def readings(program: Program, network: Network, format: BeatFormat) -> Readings:
    """Return where the result of a network lies after a run.

    Raises: HwgenError naming the layer if its pixels do not lie in raster order.
    """
    found: dict[int, int] = {}                  # address -> number of the reading
    fields: list[tuple[tuple[int, int], ...]] = []
    layers = [network.scores] * network.tensors[network.scores.name].channels
    channels = list(range(len(layers)))
    if isinstance(network.output, ArgMax):
        layers, channels = [network.output, *layers], [0, *channels]
    for layer, channel, shape in zip(layers, channels, format.shapes, strict=True):
        places = _places(program, network, layer, channel)
        bits = [(found.setdefault(address, len(found)), lane * program.config.act_bits + bit)
                for address, lane in places for bit in range(program.config.act_bits)]
        missing = bits[-1:] if shape.signed else []
        fields.append(tuple((bits + missing * shape.width)[: shape.width]))
    return Readings(tuple(found), tuple(fields))


def _places(program: Program, network: Network, layer: Layer, channel: int
            ) -> list[tuple[int, int]]:
    """Return (word address, lane) of each piece of a channel's first pixel, the lowest first."""
    config, pixels = program.config, network.tensors[layer.name].height
    pixels *= network.tensors[layer.name].width
    stored: Layer = layer
    while isinstance(stored, Flatten):
        stored = network.by_name[stored.source]
    region = next((one for one in program.results if one.layer == stored.name), None)
    if region is None:
        raise layer.error("output", "what a layer computes", f"a {type(stored).__name__}")
    base, plane = region.address // config.word_bytes, region.height * region.width
    if region.kind == "class":
        return [(base, 0), (base, 1)]
    wanted = channel * pixels + np.arange(pixels)
    flat = region.gather.reshape(-1)
    order = np.argsort(flat)
    places = order[np.searchsorted(flat, wanted, sorter=order)]
    tile, place, lane = np.unravel_index(places, (len(region.gather), plane, config.tn))
    if np.any(place - place[0] != np.arange(pixels)) or np.any(tile != tile[0]) or (
            np.any(lane != lane[0])):
        raise layer.error("output", "pixels in raster order", "another order")
    first = base + int(tile[0]) * region.pieces * plane + int(place[0])
    return [(first + piece * plane, int(lane[0])) for piece in range(region.pieces)]


class Drain(wiring.Component):
    """Reads a result out of memory, a beat a pixel.

    Parameters: readings; format, of a beat; words, of the memory.

    Members
    -------
    start : In, for a cycle. peek, address : Out, read a word; data : In, ChipMemory's answer.
    o : Out(stream). done : Out, for a cycle: the last beat is taken.

    Latency: ``cycles`` from ``start`` to the first beat, and again from a beat taken to the next.
    """

    def __init__(self, *, readings: Readings, format: BeatFormat, words: int, word_bits: int
                 ) -> None:
        self.readings, self.format = readings, format
        super().__init__({
            "start": In(1), "peek": Out(1), "address": Out(range(words)), "data": In(word_bits),
            "o": Out(format.signature), "done": Out(1),
        })

    @property
    def cycles(self) -> int:
        """Cycles from a start to a beat."""
        return len(self.readings.addresses) + ChipMemory.peek_latency + 1

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count, late = len(self.readings.addresses), ChipMemory.peek_latency
        number, pixel = Signal(range(count), name="number"), Signal(
            range(self.format.beats), name="pixel")
        asked = [Signal(name=f"asked_{n}") for n in range(late)]
        of = [Signal.like(number, name=f"number_{n}") for n in range(late)]
        reading, here = Signal(name="reading"), Signal(name="here")
        result = Signal(self.format.layout, name="result", reset_less=True)
        at_end = Signal(name="at_end")
        m.d.comb += [
            self.peek.eq(reading), self.o.valid.eq(here), self.o.payload.eq(result),
            self.address.eq(Array(self.readings.addresses)[number] + pixel),
            at_end.eq(pixel == self.format.beats - 1),
        ]
        m.d.sync += [Cat(asked).eq(Cat(reading, asked)), *(
            ahead.eq(behind) for ahead, behind in zip(of, [number, *of], strict=False))]
        with m.If(reading):
            m.d.sync += [number.eq(number + 1), reading.eq(number != count - 1)]
        for n in range(count):
            bits = [(place, bit) for place, (word, bit) in enumerate(sum(self.readings.bits, ()))
                    if word == n]
            with m.If(asked[-1] & (of[-1] == n)):
                m.d.sync += [result.as_value()[place].eq(self.data[bit]) for place, bit in bits]
        with m.If(asked[-1] & (of[-1] == count - 1)):
            m.d.sync += here.eq(1)
        with m.If(here & self.o.ready):
            m.d.sync += [here.eq(0), pixel.eq(Mux(at_end, 0, pixel + 1)),
                         reading.eq(~at_end), number.eq(0)]
            m.d.comb += self.done.eq(at_end)
        with m.If(self.start):
            m.d.sync += [reading.eq(1), number.eq(0)]
        return m
