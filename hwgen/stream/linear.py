"""A layer's sums by an adder graph: convolution, average pooling, small dense layers."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.adders.component import AdderGraphComponent
from hwgen.adders.schedule import Schedule
from hwgen.layers import Int64Array
from hwgen.stream.beat import BeatFormat, packed
from hwgen.stream.control import pipeline
from hwgen.verilog import add


class Linear(wiring.Component):
    """``y = x @ matrix + bias``: what makes x, the adder graph's pipeline, one level for the bias.

    Parameters
    ----------
    front : dict of name -> component
        Chained stream components (window, or gather and select) whose last output is x: fields
        ``c0, c1, ...`` in the order of the graph's inputs.
    schedule : Schedule
        Of the matrix's graph.
    bias : (outputs,) int64
    format : BeatFormat
        Of y, one fold.
    straight : bool
        As of hwgen.stream.control.pipeline.

    Latency: ``latency`` cycles behind the front: the graph's, and 1 if any bias is not 0.
    Throughput: 1 beat a cycle. Resources: the front's and the graph's.
    """

    def __init__(
        self,
        *,
        front: dict[str, wiring.Component],
        schedule: Schedule,
        bias: Int64Array,
        format: BeatFormat,
        straight: bool = False,
    ) -> None:
        self.front, self.schedule, self.bias, self.format = front, schedule, bias, format
        self.straight = straight
        self.latency = schedule.latency + bool(bias.any())
        self.interval = format.beats
        first = next(iter(front.values()))
        super().__init__(
            {"i": In(first.signature.members["i"].signature.flip()), "o": Out(format.signature)}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        x = chain(m, platform, self.i, self.front)
        graph = self.schedule.graph
        adders = AdderGraphComponent(graph, schedule=self.schedule)
        add(m, platform, "graph", adders)
        enable = pipeline(m, x, self.o, self.latency, self.straight)
        m.d.comb += adders.x.eq(x.payload)
        if adders.latency:
            m.d.comb += adders.en.eq(enable)
        lo, hi = zip(*graph.output_ranges, strict=True)
        sums = data.View(packed(lo, hi), adders.y)
        for n, bias in enumerate(self.bias.tolist()):
            total: Value = sums[f"c{n}"]
            if self.bias.any():
                held = Signal(self.format.shapes[n], name=f"biased_{n}", reset_less=True)
                with m.If(enable):
                    m.d.sync += held.eq(total + bias)
                total = held
            m.d.comb += self.o.payload[f"c{n}"].eq(total)
        return m


class Chain(wiring.Component):
    """Stream components one behind the other: each one's ``o`` is the next one's ``i``.

    Parameters: parts, dict of name -> component; at least one.
    """

    def __init__(self, *, parts: dict[str, wiring.Component]) -> None:
        self.parts = parts
        first, *_, last = [*parts.values(), *parts.values()]
        super().__init__(
            {
                "i": In(first.signature.members["i"].signature.flip()),
                "o": Out(last.signature.members["o"].signature),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        end = chain(m, platform, self.i, self.parts)
        m.d.comb += [
            self.o.valid.eq(end.valid),
            self.o.payload.eq(end.payload),
            end.ready.eq(self.o.ready),
        ]
        return m


def chain(m: Module, platform: Any, i: Any, parts: dict[str, wiring.Component]) -> Any:
    """Add named components as submodules, connect them one behind the other; return the last
    output.
    """
    for name, part in parts.items():
        add(m, platform, name, part)
        m.d.comb += [
            part.i.valid.eq(i.valid),
            part.i.payload.eq(i.payload),
            i.ready.eq(part.i.ready),
        ]
        i = part.o
    return i
