# amaranth: UnusedElaboratable=no
"""A layer's sums by an adder graph that takes a digit a cycle, for windows that come slowly."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.adders.serial import SerialSchedule
from hwgen.layers import Int64Array
from hwgen.stream.beat import BeatFormat, packed
from hwgen.stream.raster import Axis
from hwgen.stream.serial_graph import SerialGraph
from hwgen.stream.serial_window import SerialWindow
from hwgen.verilog import add


class SerialLinear(wiring.Component):
    """``y = x @ matrix + bias`` over the windows of a stream of pixels, a digit a cycle.

    Parameters
    ----------
    source : BeatFormat
        Of the pixels.
    rows, columns : Axis
        The window's walk.
    schedule : SerialSchedule
        Of the matrix's graph.
    bias : (outputs,) int64
    format : BeatFormat
        Of y, one fold.

    Latency: ``latency`` cycles from a window's last pixel. Interval: ``interval`` cycles an image
    if the pixels are there in time: a queue in front smooths bursts. A result passes through two
    registers, and everything stands still while the first one is full and the next result is ready;
    so, except where words are one digit, ``o.ready`` reaches no clock enable of the graph.
    Resources: those of SerialWindow and SerialGraph, three registers a bit of y.
    """

    def __init__(
        self,
        *,
        source: BeatFormat,
        rows: Axis,
        columns: Axis,
        schedule: SerialSchedule,
        bias: Int64Array,
        format: BeatFormat,
    ) -> None:
        self.schedule, self.bias, self.format = schedule, bias, format
        self.window = SerialWindow(
            format=source, rows=rows, columns=columns, digit=schedule.digit, digits=schedule.digits
        )
        self.graph = SerialGraph(schedule=schedule)
        self.interval = self.window.interval
        self.latency = self.window.latency + self.graph.latency + 2
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def take(
        self, offered: Int64Array, ready: tuple[int, int] | None = None
    ) -> tuple[Int64Array, tuple[int, int]]:
        """Return when each pixel of an image is taken, see ``Walk.run``."""
        taken, _, ready = self.window.walk.run(offered, ready or (0, 0))
        return taken, ready

    def departures(self, times: Int64Array) -> Int64Array:
        """Return when each beat of the first image is offered, given when its pixels are."""
        return self.window.walk.run(times)[1] + self.latency

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        window, graph = self.window, self.graph
        add(m, platform, "window", window)
        add(m, platform, "serial", graph)
        en, full, out_full = Signal(name="enable"), Signal(name="full"), Signal(name="out_full")
        held = Signal(self.format.layout, name="held", reset_less=True)
        out = Signal(self.format.layout, name="out", reset_less=True)
        takes, passes = Signal(name="takes"), Signal(name="passes")
        if self.schedule.digits == 1:  # a result every cycle: the first register never rests
            m.d.comb += en.eq(~(graph.done & full & ~passes))
        else:
            going, after = Signal(name="going", init=1), Signal(name="full_after")
            m.d.comb += [en.eq(going), after.eq(takes | (full & ~passes))]
            m.d.sync += going.eq(~(Mux(going, graph.soon, graph.done) & after))
        m.d.comb += [
            window.i.valid.eq(self.i.valid),
            window.i.payload.eq(self.i.payload),
            self.i.ready.eq(window.i.ready),
            takes.eq(graph.done & en),
            window.en.eq(en),
            graph.en.eq(en),
            graph.start.eq(window.start),
            graph.x.eq(window.x),
            passes.eq(~out_full | self.o.ready),
            self.o.valid.eq(out_full),
            self.o.payload.eq(out),
        ]
        lo, hi = zip(*self.schedule.graph.output_ranges, strict=True)
        sums = data.View(packed(lo, hi), graph.y)
        with m.If(takes):
            m.d.sync += full.eq(1)
            m.d.sync += [
                held[f"c{n}"].eq(sums[f"c{n}"] + bias) for n, bias in enumerate(self.bias.tolist())
            ]
        with m.Elif(passes):
            m.d.sync += full.eq(0)
        with m.If(passes):
            m.d.sync += [out.eq(held), out_full.eq(full)]
        return m
