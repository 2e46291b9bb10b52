"""Several beats side by side in one, and one as several."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.stream.beat import BeatFormat, packed


class Gather(wiring.Component):
    """Collect ``count`` beats and give them as one: field ``c{n * lanes + l}`` is lane l of beat n.

    Parameters: source, BeatFormat of the beats; count, how many make one.
    Latency: 1 cycle from the last of them. Throughput: 1 beat a cycle in.
    Resources: a register for each bit of the result.
    """

    latency = 1

    def __init__(self, *, source: BeatFormat, count: int) -> None:
        if count < 1 or source.beats % count:
            raise ValueError(f"A divisor of {source.beats} beats needed, not {count}")
        self.source, self.count = source, count
        self.layout = packed(source.lo * count, source.hi * count)
        self.interval = source.beats
        super().__init__({"i": In(source.signature), "o": Out(stream.Signature(self.layout))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        words = [
            Signal(self.source.bits, name=f"beat_{n}", reset_less=True) for n in range(self.count)
        ]
        seen = Signal(range(self.count + 1), name="seen")
        full = Signal(name="full")
        m.d.comb += [
            full.eq(seen == self.count),
            self.o.valid.eq(full),
            self.i.ready.eq(~full | self.o.ready),
            *(
                self.o.payload.as_value()[n * self.source.bits : (n + 1) * self.source.bits].eq(
                    word
                )
                for n, word in enumerate(words)
            ),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += seen.eq(Mux(full, 1, seen + 1))
            m.d.sync += [
                word.eq(words[n + 1] if n + 1 < self.count else self.i.payload)
                for n, word in enumerate(words)
            ]
        with m.Elif(self.o.ready & full):
            m.d.sync += seen.eq(0)
        return m


class Unpack(wiring.Component):
    """Give a beat's lanes a few at a time: the opposite of Gather.

    Parameters: source, BeatFormat of whole pixels; format, the same pixels in folds.
    Latency: 0 cycles to the first fold. Throughput: ``format.folds`` cycles a beat of the source,
    which is taken with the last of them.
    Resources: a choice of ``format.folds`` for each bit of the output.
    """

    latency = 0

    def __init__(self, *, source: BeatFormat, format: BeatFormat) -> None:
        if source.folds != 1 or format.channels != source.channels:
            raise ValueError(
                f"Whole pixels of {format.channels} channels needed, not {source.folds} folds of "
                f"{source.channels}"
            )
        self.source, self.format = source, format
        self.interval = format.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def departures(self, times: Int64Array) -> Int64Array:
        """Return when each beat of the first image is offered, given when its pixels are."""
        found: list[int] = []
        now = 0
        for time in times.tolist():
            now = max(now, time)
            found += range(now, now + self.format.folds)
            now += self.format.folds
        return np.array(found, np.int64)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        folds = self.format.folds
        fold = Signal(range(folds), name="fold")
        last = fold == folds - 1
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & last)]
        with m.If(self.i.valid & self.o.ready):
            m.d.sync += fold.eq(Mux(last, 0, fold + 1))
        values, lanes = self.source.values(self.i.payload), self.format.lanes
        with m.Switch(fold):
            for j in range(folds):
                with m.Case(j):
                    m.d.comb += [
                        self.o.payload[f"c{n}"].eq(value)
                        for n, value in enumerate(values[j * lanes : (j + 1) * lanes])
                    ]
        return m


class Select(wiring.Component):
    """Pass on some fields of a beat, in another order: wiring alone.

    Parameters: layout of the input, fields ``c0, c1, ...``; picks, for each lane of ``format`` the
    field to take; format, BeatFormat of the output. Latency: 0 cycles. Throughput: 1 beat a cycle.
    """

    latency = 0

    def __init__(self, *, layout: Any, picks: list[int], format: BeatFormat) -> None:
        if len(picks) != format.lanes:
            raise ValueError(f"One pick for each of {format.lanes} lanes needed, not {len(picks)}")
        self.picks, self.format = picks, format
        self.interval = format.beats
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        m.d.comb += [
            self.o.payload[f"c{n}"].eq(self.i.payload[f"c{pick}"])
            for n, pick in enumerate(self.picks)
        ]
        return m
