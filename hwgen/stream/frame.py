"""The two ends of a streaming top: AXI4-Stream pixels in, AXI4-Stream results out."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.stream.beat import BeatFormat


def whole_bytes(bits: int) -> int:
    """Return the number of bits of the smallest whole number of bytes that holds ``bits``."""
    return 8 * -(-bits // 8)


class FrameGuard(wiring.Component):
    """Take frames from AXI4-Stream and pass on whole images, whatever ``tlast`` says.

    A frame is what lies between two ``tlast``. One that is too short is filled up with zeros; of
    one that is too long only the first pixels count, the rest is dropped up to its ``tlast``.
    Either sets ``frame_error``, which stays until reset. Every frame thus gives exactly one result,
    and the next one is right. A value outside the input's range (5 bits can hold 31 where pixels go
    to 16) is clipped to it.

    Parameters: format, BeatFormat of the image, one fold.
    Members: tdata, tvalid, tready, tlast (AXI4-Stream); o, Out(stream); frame_error.
    Latency: 0 cycles. Throughput: 1 pixel a cycle.
    """

    latency = 0

    def __init__(self, *, format: BeatFormat) -> None:
        self.format = format
        self.interval = format.beats
        super().__init__(
            {
                "tdata": In(whole_bytes(format.bits)),
                "tvalid": In(1),
                "tready": Out(1),
                "tlast": In(1),
                "o": Out(format.signature),
                "frame_error": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(range(self.format.beats), name="count")
        at_end = Signal(name="at_end")
        filling, dropping = Signal(name="filling"), Signal(name="dropping")
        error = Signal(name="error")
        m.d.comb += [
            at_end.eq(count == self.format.beats - 1),
            self.frame_error.eq(error),
            self.o.valid.eq(filling | (self.tvalid & ~dropping)),
            self.tready.eq(dropping | (self.o.ready & ~filling)),
        ]
        raw = Signal(self.format.layout, name="raw")
        m.d.comb += raw.as_value().eq(self.tdata)
        for n, (lo, hi) in enumerate(zip(self.format.lo, self.format.hi, strict=True)):
            value = raw[f"c{n}"]
            shape = self.format.shapes[n]
            if shape.signed and lo > -(1 << shape.width - 1):
                value = Mux(value < lo, lo, value)
            if hi < (1 << shape.width - shape.signed) - 1:
                value = Mux(raw[f"c{n}"] > hi, hi, value)
            m.d.comb += self.o.payload[f"c{n}"].eq(Mux(filling, 0, value))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += count.eq(Mux(at_end, 0, count + 1))
            with m.If(filling):
                m.d.sync += filling.eq(~at_end)
            with m.Elif(self.tlast != at_end):
                m.d.sync += [error.eq(1), filling.eq(self.tlast), dropping.eq(~self.tlast)]
        with m.If(dropping & self.tvalid & self.tlast):
            m.d.sync += dropping.eq(0)
        return m


class FrameOut(wiring.Component):
    """Results as AXI4-Stream: the beat's bits, zero-filled to whole bytes, ``tlast`` on an image's
    last beat.

    Parameters: format, BeatFormat of the results, one fold.
    Latency: 0 cycles. Throughput: 1 beat a cycle.
    """

    latency = 0

    def __init__(self, *, format: BeatFormat) -> None:
        if format.folds != 1:
            raise ValueError(f"Whole pixels are needed, not {format.folds} folds")
        self.format = format
        self.interval = format.beats
        super().__init__(
            {
                "i": In(format.signature),
                "tdata": Out(whole_bytes(format.bits)),
                "tvalid": Out(1),
                "tready": In(1),
                "tlast": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        fill = whole_bytes(self.format.bits) - self.format.bits
        m.d.comb += [
            self.tvalid.eq(self.i.valid),
            self.i.ready.eq(self.tready),
            self.tdata.eq(Cat(self.i.payload, Const(0, fill))),
        ]
        if self.format.beats == 1:
            m.d.comb += self.tlast.eq(1)
            return m
        count = Signal(range(self.format.beats), name="count")
        m.d.comb += self.tlast.eq(count == self.format.beats - 1)
        with m.If(self.i.valid & self.tready):
            m.d.sync += count.eq(Mux(self.tlast, 0, count + 1))
        return m
