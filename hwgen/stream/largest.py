"""Largest of many: maximum pooling and arg max."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.stream.beat import BeatFormat, shape_of
from hwgen.stream.control import pipeline


def levels(count: int) -> int:
    """Return the depth of a binary tree over ``count`` values."""
    return (count - 1).bit_length()


class WindowMax(wiring.Component):
    """Largest tap of a window, channel by channel.

    Parameters: layout of the window, fields in the order (tap, channel); taps; format, BeatFormat
    of the maxima; straight, as of hwgen.stream.control.pipeline. Latency: ceil(log2(taps)) cycles.
    Throughput: 1 window a cycle. Resources: taps - 1 comparators a channel, each with a register.
    """

    def __init__(
        self, *, layout: data.StructLayout, taps: int, format: BeatFormat, straight: bool = False
    ) -> None:
        self.layout, self.taps, self.format, self.straight = layout, taps, format, straight
        self.latency = levels(taps)
        self.interval = format.beats
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = pipeline(m, self.i, self.o, self.latency, self.straight)
        for lane in range(self.format.lanes):
            values: list[Value] = [
                self.i.payload[f"c{tap * self.format.lanes + lane}"] for tap in range(self.taps)
            ]
            for level in range(self.latency):
                held = []
                for n in range(0, len(values), 2):
                    pair = values[n : n + 2]
                    best = Signal(
                        self.format.shapes[lane],
                        name=f"max_{lane}_{level}_{n // 2}",
                        reset_less=True,
                    )
                    with m.If(enable):
                        m.d.sync += best.eq(Mux(pair[0] >= pair[-1], pair[0], pair[-1]))
                    held.append(best)
                values = held
            m.d.comb += self.o.payload[f"c{lane}"].eq(values[0])
        return m


class ArgMax(wiring.Component):
    """Index of the largest lane, the lowest index at a tie; the lanes themselves come along above
    it.

    Parameters: source, BeatFormat of the scores, one fold.
    Members: i; o, whose field ``c0`` is the class and ``c1, c2, ...`` the scores.
    Latency: ceil(log2(lanes)) cycles. Throughput: 1 beat a cycle.
    Resources: lanes - 1 comparators, the scores' registers at each level.
    """

    def __init__(self, *, source: BeatFormat) -> None:
        if source.folds != 1:
            raise ValueError(f"Whole pixels are needed, not {source.folds} folds")
        self.source = source
        self.format = BeatFormat(
            (0, *source.lo),
            (source.lanes - 1, *source.hi),
            source.lanes + 1,
            source.height,
            source.width,
        )
        self.latency = levels(source.lanes)
        self.interval = source.beats
        super().__init__({"i": In(source.signature), "o": Out(self.format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = pipeline(m, self.i, self.o, self.latency)
        scores: Value = self.i.payload.as_value()
        # Of each node: which of the lanes below it is the largest, counted from its first, and its
        # score.
        nodes = [(Const(0, 0), value) for value in self.source.values(self.i.payload)]
        for level in range(self.latency):
            held = []
            for n in range(0, len(nodes), 2):
                which, best = nodes[n]
                if n + 1 < len(nodes):
                    other, b = nodes[n + 1]
                    low = Cat(which, Const(0, level - len(which) + 1))
                    high = Cat(other, Const(0, level - len(other)), Const(1, 1))
                    which, best = Mux(best >= b, low, high), Mux(best >= b, best, b)
                later_which = Signal(len(which), name=f"class_{level}_{n // 2}", reset_less=True)
                later_best = Signal(
                    self._shape(level, n), name=f"best_{level}_{n // 2}", reset_less=True
                )
                with m.If(enable):
                    m.d.sync += [later_which.eq(which), later_best.eq(best)]
                held.append((later_which, later_best))
            nodes = held
            later = Signal(self.source.bits, name=f"scores_{level}", reset_less=True)
            with m.If(enable):
                m.d.sync += later.eq(scores)
            scores = later
        view = data.View(self.source.layout, scores)
        m.d.comb += self.o.payload.c0.eq(nodes[0][0])
        m.d.comb += [
            self.o.payload[f"c{n + 1}"].eq(view[f"c{n}"]) for n in range(self.source.lanes)
        ]
        return m

    def _shape(self, level: int, n: int) -> Any:
        """Shape that holds every lane below node ``n // 2`` of this level."""
        span = 1 << level
        lanes = slice(n * span, (n + 2) * span)
        return shape_of(min(self.source.lo[lanes]), max(self.source.hi[lanes]))


class RunningArgMax(wiring.Component):
    """``ArgMax`` of scores that come one after the other: one comparator.

    Parameters: source, BeatFormat of the scores, one lane; whole, of the same scores side by side.
    Members: i; o, as of ArgMax. Latency: 1 cycle from the last score. Throughput: 1 score a cycle.
    Resources: one comparator, a register a score.
    """

    latency = 1

    def __init__(self, *, source: BeatFormat, whole: BeatFormat) -> None:
        if source.lanes != 1 or whole.lanes != source.folds:
            raise ValueError(
                f"One score a beat needed, {whole.lanes} a pixel, not {source.folds} of "
                f"{source.lanes}"
            )
        self.source = source
        self.format = BeatFormat(
            (0, *whole.lo), (whole.lanes - 1, *whole.hi), whole.lanes + 1, whole.height, whole.width
        )
        self.interval = source.beats
        super().__init__({"i": In(source.signature), "o": Out(self.format.signature)})

    def departures(self, times: Int64Array) -> Int64Array:
        """Return when each pixel's class is offered, given when its scores are."""
        ends: Int64Array = times[self.source.folds - 1 :: self.source.folds] + self.latency
        return ends

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        folds, score = self.source.folds, self.i.payload.c0
        fold = Signal(range(folds), name="fold")
        best = Signal(self.source.shapes[0], name="best", reset_less=True)
        which = Signal(range(folds), name="which", reset_less=True)
        full, step = Signal(name="full"), Signal(name="step")
        m.d.comb += [
            self.i.ready.eq(~full | self.o.ready),
            step.eq(self.i.valid & self.i.ready),
            self.o.valid.eq(full),
            self.o.payload.c0.eq(which),
        ]
        scores = [Signal(self.source.shapes[0], name=f"score_{n}", reset_less=True)
                  for n in range(folds)]
        with m.If(step):
            m.d.sync += fold.eq(Mux(fold == folds - 1, 0, fold + 1))
            m.d.sync += [
                one.eq(scores[n + 1] if n + 1 < folds else score) for n, one in enumerate(scores)
            ]
            with m.If((fold == 0) | (score > best)):
                m.d.sync += [best.eq(score), which.eq(fold)]
            m.d.sync += full.eq(fold == folds - 1)
        with m.Elif(self.o.ready):
            m.d.sync += full.eq(0)
        m.d.comb += [self.o.payload[f"c{n + 1}"].eq(one) for n, one in enumerate(scores)]
        return m
