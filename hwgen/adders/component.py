"""An adder graph as hardware: one packed word in, one packed word out; no multiplier anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import (
    Cat,
    ClockDomain,
    Const,
    Module,
    Mux,
    Shape,
    Signal,
    Value,
    signed,
    unsigned,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.adders.graph import AdderGraph
from hwgen.adders.schedule import Schedule, read_inputs
from hwgen.ranges import width_of

Layout = list[tuple[int, int, bool]]      # offset, width, signed


class AdderGraphComponent(wiring.Component):
    """The linear map of an adder graph, combinational or pipelined.

    Every word is as wide as its exact range needs (``AdderGraph.ranges``), so nothing wraps. In the
    Verilog ``add_7`` is what adder 7 gives, ``d2_add_7`` the same two cycles later.

    Parameters
    ----------
    graph : AdderGraph
    schedule : Schedule or None
        Of the same graph; None for a combinational one.
    own_clock : bool
        Take the clock from a port ``clk`` instead of the domain ``sync``: for a graph that stands
        alone. Without effect if latency is 0.

    Attributes
    ----------
    input_layout, output_layout : list of (offset, width, signed)
        Where each word lies in ``x`` and ``y``, in order, lowest first; a word without negative
        values is unsigned. A word that is always 0 still has one bit.
    latency : int
        Cycles from x to y, while ``en`` is high.

    Members
    -------
    x : In(unsigned)
        All inputs, packed.
    y : Out(unsigned)
        All outputs, packed, all of the same x.
    en : In(1)
        Clock enable of every register; only there if latency > 0.
    clk : In(1)
        Only there with ``own_clock`` if latency > 0.

    Latency: ``latency`` cycles of ``en``. Throughput: one x a cycle. No register has a reset.
    Resources: ``graph.adders`` adders, ``schedule.ff_bits`` flip-flops; no multiplier.
    Raises: ValueError if the schedule is of another graph, or the graph lacks inputs or outputs.
    """

    def __init__(self, graph: AdderGraph, *, schedule: Schedule | None = None,
                 own_clock: bool = False) -> None:
        if schedule is not None and schedule.graph is not graph and schedule.graph != graph:
            raise ValueError("Schedule must be of the graph given, not of another one")
        if not graph.inputs or not graph.outputs:
            raise ValueError(f"Graph must have inputs and outputs, not {len(graph.inputs)} and "
                             f"{len(graph.outputs)}")
        self.graph = graph
        self.schedule = schedule
        self.latency = 0 if schedule is None else schedule.latency
        self.own_clock = own_clock and self.latency > 0
        self.input_layout = layout([(port.lo, port.hi) for port in graph.inputs])
        self.output_layout = layout(graph.output_ranges)
        members = {"x": In(unsigned(_end(self.input_layout))),
                   "y": Out(unsigned(_end(self.output_layout)))}
        if self.latency:
            members["en"] = In(1)
        if self.own_clock:
            members["clk"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        if self.own_clock:
            m.domains.sync = domain = ClockDomain(reset_less=True)
            m.d.comb += domain.clk.eq(self.clk)
        graph, words = self.graph, _Words(m, self)
        for k, node in enumerate(graph.nodes):
            stage = words.stage(k)
            total = sum_of(node, words.at(node.a, stage), words.at(node.b, stage))
            words.add(f"add_{k}", stage, total, graph.ranges[len(graph.inputs) + k])
        negation = {}
        for n, signal in enumerate(graph.negations):
            stage = words.stage(len(graph.nodes) + n)
            lo, hi = graph.ranges[signal]
            negation[signal] = words.add(f"neg_{n}", stage, -words.at(signal, stage), (-hi, -lo))
        parts = []
        for output, (_, width, _) in zip(graph.outputs, self.output_layout, strict=True):
            if output.signal is None:
                parts.append(Const(0, width))
            else:
                word = negation[output.signal] if output.negative else output.signal
                parts.append(placed(words.at(word, words.last), output.shift, width))
        m.d.comb += self.y.eq(Cat(parts))
        return m


class _Words:
    """The words of a component and their registers, numbered as in ``Schedule.chains``."""

    def __init__(self, m: Module, component: AdderGraphComponent) -> None:
        self._m, self._schedule = m, component.schedule
        self._en = component.en if component.latency else None
        self._made: list[tuple[int, list[Value]]] = []      # stage, the word and the word delayed
        self.last = 1 if self._schedule is None else self._schedule.stages + 1
        front = self._schedule is not None and self._schedule.register_inputs
        read = set(read_inputs(component.graph)) if front else set()
        for n, (offset, width, is_signed) in enumerate(component.input_layout):
            bits = component.x[offset:offset + width]
            self._keep(f"x_{n}", 1, bits.as_signed() if is_signed else bits, n in read)

    def stage(self, operation: int) -> int:
        """Return the stage of an operation; all is stage 1 if there are no registers."""
        return 1 if self._schedule is None else self._schedule.stage(operation)

    def add(self, name: str, stage: int, value: Value, bounds: tuple[int, int]) -> int:
        """Add a word of the given range; return its number."""
        shape = shape_of(*bounds)
        # The whole result gets the name; the top bits that its range does not need are cut off
        # where it is read, so that no nameless wires appear for them.
        word = Signal(value.shape() if len(value) > shape.width else shape, name=name)
        self._m.d.comb += word.eq(value)
        used = word[:shape.width]
        self._keep(name, stage, used.as_signed() if shape.signed else used, False)
        return len(self._made) - 1

    def at(self, word: int, stage: int) -> Value:
        """Return a word as a stage sees it: straight, or through registers."""
        made, held = self._made[word]
        return held[stage - made] if self._schedule is not None else held[0]

    def _keep(self, name: str, stage: int, value: Value, front: bool) -> None:
        chain = 0 if self._schedule is None else self._schedule.chains[len(self._made)]
        held = [value]
        for n in range(1, chain + front + 1):
            later = Signal(value.shape(), name=f"d{n}_{name}", reset_less=True)
            # The enable is written out, not an If: it stays one cell, with no process around it.
            self._m.d.sync += later.eq(Mux(self._en, held[-1], later))
            held.append(later)
        self._made.append((stage, held[front:]))


def layout(ranges: Sequence[tuple[int, int]]) -> Layout:
    """Return (offset, width, signed) of words packed lowest first, each as its range needs."""
    places, offset = [], 0
    for lo, hi in ranges:
        width, is_signed = width_of(lo, hi)
        places.append((offset, width, is_signed))
        offset += width
    return places


def _end(places: Layout) -> int:
    return places[-1][0] + places[-1][1]


def shape_of(lo: int, hi: int) -> Shape:
    """Return the shape of a word with these ends."""
    width, is_signed = width_of(lo, hi)
    return signed(width) if is_signed else unsigned(width)


def placed(value: Value, shift: int, width: int) -> Value:
    """Return the value shifted left, in ``width`` bits: extended, or spare bits cut off.

    A negative shift cuts low bits off; at least the sign is left.
    """
    if shift < 0:
        low = value[min(-shift, len(value) - 1):]
        value = low.as_signed() if value.shape().signed else low
    shifted = Cat(Const(0, max(shift, 0)), value)
    missing = width - len(shifted)
    if missing <= 0:
        return shifted[:width]
    top = value[-1].replicate(missing) if value.shape().signed else Const(0, missing)
    return Cat(shifted, top)


def sum_of(node, a: Value, b: Value) -> Value:
    """Return what a node makes of its operands."""
    a, b = a << node.a_shift, b << node.b_shift
    if node.a_negative:
        return b - a
    return a - b if node.b_negative else a + b
