"""Maximum pooling with one comparator a lane: windows that do not overlap.

The largest code so far of every window of the row is kept in a memory; each pixel is compared with
its window's, and the window's last pixel sends the result on.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array, MaxPool
from hwgen.stream.beat import BeatFormat


def separate(layer: MaxPool) -> bool:
    """Tell whether a layer's windows neither overlap nor leave gaps, and need no padding."""
    return layer.kernel == layer.stride and not any(layer.padding)


class Pool(wiring.Component):
    """Largest code of each window.

    Parameters
    ----------
    layer : MaxPool
        ``separate(layer)`` must hold.
    source, format : BeatFormat
        Of the codes and of the maxima; the same lanes and folds.

    Latency: 1 cycle from a window's last pixel. Throughput: 1 beat a cycle in.
    Resources: a comparator a lane, a memory of one beat a window of a row and fold.
    """

    latency = 1

    def __init__(self, *, layer: MaxPool, source: BeatFormat, format: BeatFormat) -> None:
        if not separate(layer):
            raise ValueError("Windows that do not overlap needed, without padding")
        if (source.folds, source.lanes) != (format.folds, format.lanes):
            raise ValueError(
                f"{source.folds} folds of {source.lanes} lanes needed on both sides, not "
                f"{format.folds} of {format.lanes}"
            )
        self.layer, self.source, self.format = layer, source, format
        self.interval = source.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def departures(self, times: Int64Array) -> Int64Array:
        """Return when each beat of the first image is offered, given when its codes are."""
        (kh, kw), source, format = self.layer.kernel, self.source, self.format
        raster = times.reshape(source.height, source.width, source.folds)
        last = raster[kh - 1 : format.height * kh : kh, kw - 1 : format.width * kw : kw]
        ends: Int64Array = last.ravel() + self.latency
        return ends

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        step = Signal(name="step")
        held = Signal(self.format.layout, name="held", reset_less=True)
        full = Signal(name="full")
        m.d.comb += [
            self.i.ready.eq(~full | self.o.ready),
            step.eq(self.i.valid & self.i.ready),
            self.o.valid.eq(full),
            self.o.payload.eq(held),
        ]
        places = self._places(m, step)
        above, put = self._memory(m, places, step)
        fresh = places["first_row"] & places["first_column"]
        for n, shape in enumerate(self.format.shapes):
            value = self.i.payload[f"c{n}"]
            before = Signal(shape, name=f"before_{n}")
            largest = Signal(shape, name=f"largest_{n}")
            m.d.comb += [
                before.eq(above[n]),
                largest.eq(Mux(fresh | (value >= before), value, before)),
                put[n].eq(largest),
            ]
            with m.If(step):
                m.d.sync += held[f"c{n}"].eq(largest)
        with m.If(step):
            m.d.sync += full.eq(places["last_row"] & places["last_column"] & places["inside"])
        with m.Elif(self.o.ready):
            m.d.sync += full.eq(0)
        return m

    def _places(self, m: Module, step: Signal) -> dict[str, Value]:
        """Count beats, pixels and rows; return where in its window this beat is."""
        source, (kh, kw), folds = self.source, self.layer.kernel, self.source.folds
        fold_end = _count(m, step, folds, "fold")[1]
        pixel = step & fold_end
        x, row_end = _count(m, pixel, source.width, "x")
        y, _ = _count(m, pixel & row_end, source.height, "y")
        tap_x, tap_end = _count(m, pixel, kw, "tap_x", row_end)
        tap_y, _ = _count(m, pixel & row_end, kh, "tap_y", y == source.height - 1)
        inside: Value = Const(1, 1)
        for place, size in ((x, self.format.width * kw), (y, self.format.height * kh)):
            if size < 1 << len(place):
                inside = inside & (place < size)
        return {
            "fold_end": fold_end, "row_end": row_end, "inside": inside,
            "first_column": tap_x == 0, "last_column": tap_x == kw - 1,
            "column_end": tap_end, "first_row": tap_y == 0, "last_row": tap_y == kh - 1,
        }

    def _memory(
        self, m: Module, places: dict[str, Value], step: Signal
    ) -> tuple[list[Value], list[Signal]]:
        """Return the largest codes so far of this beat's window, and signals for the new ones.

        A word a window of the row (and fold). With one fold the word of the window that the row is
        in stands in a register, too.
        """
        shapes, (_, kw), folds = self.format.shapes, self.layer.kernel, self.source.folds
        cells = -(-self.source.width // kw) * folds
        bits = self.format.bits
        put = [Signal(shape, name=f"put_{n}") for n, shape in enumerate(shapes)]
        word = Signal(bits, name="word_read")
        keeps = step if folds > 1 else step & places["column_end"]
        if cells == 1:
            kept = Signal(bits, name="word_kept", reset_less=True)
            m.d.comb += word.eq(kept)
            with m.If(keeps):
                m.d.sync += kept.eq(Cat(*put))
        else:
            cell, following = Signal(range(cells), name="cell"), Signal(range(cells), name="next")
            ahead = Mux(cell == cells - 1, 0, cell + 1)
            if folds > 1:
                back = places["fold_end"] & ~places["column_end"]
                ahead = Mux(back, cell - (folds - 1), ahead)
            words = memory.Memory(shape=unsigned(bits), depth=cells, init=[])
            m.submodules.words = words
            read, write = words.read_port(), words.write_port()
            m.d.comb += [
                following.eq(ahead),
                read.en.eq(keeps),
                read.addr.eq(following),
                write.en.eq(keeps),
                write.addr.eq(cell),
                write.data.eq(Cat(*put)),
                word.eq(read.data),
            ]
            with m.If(keeps):
                m.d.sync += cell.eq(following)
        if folds == 1 and kw > 1:
            current = Signal(bits, name="word_current", reset_less=True)
            with m.If(step):
                m.d.sync += current.eq(Cat(*put))
            chosen = Mux(places["first_column"], word, current)
        else:
            chosen = word
        above: list[Value] = []
        offset = 0
        for shape in shapes:
            value = chosen[offset : offset + shape.width]
            above.append(value.as_signed() if shape.signed else value)
            offset += shape.width
        return above, put


class PixelMax(wiring.Component):
    """Largest of pixels side by side in a beat, channel by channel.

    Parameters: source, format, BeatFormat of the pixels and of the maxima, one fold each; channels,
    of a pixel; count, pixels that make one. Latency: 0 cycles. Throughput: 1 beat a cycle.
    Resources: count - 1 comparators a lane.
    """

    latency = 0

    def __init__(
        self, *, source: BeatFormat, format: BeatFormat, channels: int, count: int
    ) -> None:
        if source.lanes != format.lanes * count or format.lanes % channels:
            raise ValueError(
                f"{count} times {format.lanes} lanes of {channels} channels needed, not "
                f"{source.lanes}"
            )
        self.source, self.format, self.channels, self.count = source, format, channels, count
        self.interval = source.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        values = self.source.values(self.i.payload)
        for lane in range(self.format.lanes):
            pixel, channel = divmod(lane, self.channels)
            best: Value = values[pixel * self.count * self.channels + channel]
            for n in range(1, self.count):
                other = values[(pixel * self.count + n) * self.channels + channel]
                largest = Signal(self.format.shapes[lane], name=f"largest_{lane}_{n}")
                m.d.comb += largest.eq(Mux(best >= other, best, other))
                best = largest
            m.d.comb += self.o.payload[f"c{lane}"].eq(best)
        return m


def _count(
    m: Module, step: Value, size: int, name: str, end: Value | None = None
) -> tuple[Signal, Value]:
    """Return a counter of ``size`` places that ``step`` moves, and whether it is at its last place
    (or at ``end``, from which it begins anew too).
    """
    place = Signal(range(size), name=name)
    last = place == size - 1
    if end is not None:
        last = last | end
    at_end = Signal(name=f"{name}_end")
    m.d.comb += at_end.eq(last)
    with m.If(step):
        m.d.sync += place.eq(Mux(at_end, 0, place + 1))
    return place, at_end
