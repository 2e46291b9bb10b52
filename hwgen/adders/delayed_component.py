"""A graph with delays as hardware: one raster step of inputs in, the outputs of that step out.

Every word that somebody reads later passes through registers (pixels) and line memories (image
rows). All line memories are one row long, so they are one memory: what goes into it leaves the
component as ``line_d`` and comes back a row later as ``line_q`` (``delayed_top.v`` holds it, as
the length of a row is its parameter)::

    word ──┬─[reg]──[reg]── ...        r rows ago, c pixels ago = line r, register c
           └─ line_d ▷ memory ▷ line_q ──┬─[reg]── ...
                                         └─ line_d ▷ ...
"""

from __future__ import annotations

from pathlib import Path

from amaranth.hdl import Cat, ClockDomain, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.adders.component import layout, placed, shape_of, sum_of
from hwgen.adders.delays import Delay, DelayedGraph, storage
from hwgen.adders.schedule import schedule

TOP = Path(__file__).parent / "native" / "delayed_top.v"


class Timing:
    """When each word of a graph is read.

    Parameters
    ----------
    graph : DelayedGraph
    pipelined : bool
        A register behind each adder; words that are early wait in further ones.

    Attributes
    ----------
    latency : int
        Steps from x to y.
    reads : list of tuples of (word, delay)
        Of each operation (nodes, then negations), then one of each output that is not 0. Words are
        inputs, nodes, negations.
    ff_bits, line_bits : int
        Flip-flops; bits of line memory for each pixel of a row.
    """

    def __init__(self, graph: DelayedGraph, *, pipelined: bool) -> None:
        plain = graph.plain
        signals, negations = plain.signals, plain.negations
        levels = schedule(plain).levels if pipelined else (0,) * (len(plain.nodes) + len(negations))
        made = [0] * len(plain.inputs) + list(levels)
        self.latency = max(levels, default=0)
        self.reads: list[tuple[tuple[int, Delay], ...]] = []
        front = 1 if pipelined else 0

        def later(word: int, delay: Delay, level: int) -> tuple[int, Delay]:
            return word, (delay[0], delay[1] + level - front - made[word])

        for node, (a, b), level in zip(plain.nodes, graph.delays, levels, strict=False):
            self.reads.append((later(node.a, a, level), later(node.b, b, level)))
        for n, signal in enumerate(negations):
            self.reads.append((later(signal, (0, 0), levels[len(plain.nodes) + n]),))
        index = {signal: signals + n for n, signal in enumerate(negations)}
        for output, end in zip(plain.outputs, graph.ends, strict=True):
            if output.signal is not None:
                word = index[output.signal] if output.negative else output.signal
                self.reads.append((later(word, end, self.latency + front),))
        ranges = [*graph.ranges,
                  *((-graph.ranges[s][1], -graph.ranges[s][0]) for s in negations)]
        self.ranges = ranges
        widths = [shape_of(lo, hi).width for lo, hi in ranges]
        every = [read for group in self.reads for read in group]
        self.ff_bits, self.line_bits = storage(widths, every)
        if pipelined:
            self.ff_bits += sum(widths[len(plain.inputs):])
        self.pixels: dict[tuple[int, int], int] = {}
        self.lines: dict[int, int] = {}
        for word, (row, column) in every:
            self.lines[word] = max(self.lines.get(word, 0), row)
            self.pixels[word, row] = max(self.pixels.get((word, row), 0), column)
        self.registered = pipelined


class DelayedComponent(wiring.Component):
    """The linear map of a graph with delays.

    Parameters
    ----------
    graph : DelayedGraph
    pipelined : bool
        A register behind each adder.

    Attributes
    ----------
    input_layout, output_layout : list of (offset, width, signed)
        Where each word lies in ``x`` and ``y``.
    latency : int
        Steps from x to y, beyond the delays of the graph.

    Members
    -------
    clk, en : In(1)
        A step is a clock edge while ``en`` is high.
    x : In(unsigned); y : Out(unsigned)
        Inputs of a step, packed lowest first; outputs of the window that ends there.
    line_d : Out(unsigned), line_q : In(unsigned)
        Into and out of the line memory; only there if some word is read rows later.

    Throughput: one step a cycle. No register has a reset: outputs mean something once all that they
    read has been given.
    Resources: ``graph.adders`` adders, ``timing.ff_bits`` flip-flops; no multiplier.
    Raises: ValueError if the graph lacks inputs or outputs.
    """

    def __init__(self, graph: DelayedGraph, *, pipelined: bool = False) -> None:
        plain = graph.plain
        if not plain.inputs or not plain.outputs:
            raise ValueError(f"Graph must have inputs and outputs, not {len(plain.inputs)} and "
                             f"{len(plain.outputs)}")
        self.graph = graph
        self.pipelined = pipelined
        self.timing = Timing(graph, pipelined=pipelined)
        self.latency = self.timing.latency
        self.input_layout = layout([(port.lo, port.hi) for port in plain.inputs])
        self.output_layout = layout(graph.output_ranges)
        members = {
            "clk": In(1), "en": In(1),
            "x": In(unsigned(sum(width for _, width, _ in self.input_layout))),
            "y": Out(unsigned(sum(width for _, width, _ in self.output_layout))),
        }
        if self.timing.line_bits:
            members["line_d"] = Out(unsigned(self.timing.line_bits))
            members["line_q"] = In(unsigned(self.timing.line_bits))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain(reset_less=True)
        m.d.comb += domain.clk.eq(self.clk)
        plain, words = self.graph.plain, _Words(m, self)
        reads = iter(self.timing.reads)
        for n, (offset, width, is_signed) in enumerate(self.input_layout):
            bits = self.x[offset:offset + width]
            words.add(f"x_{n}", bits.as_signed() if is_signed else bits, is_made=False)
        for k, node in enumerate(plain.nodes):
            a, b = next(reads)
            words.add(f"add_{k}", sum_of(node, words.at(*a), words.at(*b)), is_made=True)
        for n, _ in enumerate(plain.negations):
            (read,) = next(reads)
            words.add(f"neg_{n}", -words.at(*read), is_made=True)
        parts = []
        for output, (_, width, _) in zip(plain.outputs, self.output_layout, strict=True):
            if output.signal is None:
                parts.append(Const(0, width))
            else:
                (read,) = next(reads)
                parts.append(placed(words.at(*read), output.shift, width))
        m.d.comb += self.y.eq(Cat(parts))
        if words.into_lines:
            m.d.comb += self.line_d.eq(Cat(words.into_lines))
        return m


class _Words:
    """The words of a component and what they were earlier."""

    def __init__(self, m: Module, component: DelayedComponent) -> None:
        self._m, self._component = m, component
        self._held: list[list[list[Value]]] = []      # word, image rows ago, pixels ago
        self.into_lines: list[Value] = []
        self._used = 0                                # bits of line_q

    def add(self, name: str, value: Value, *, is_made: bool) -> None:
        """Add the next word; ``is_made`` if it comes from an adder."""
        timing, number = self._component.timing, len(self._held)
        shape = shape_of(*timing.ranges[number])
        if is_made:
            word = Signal(value.shape() if len(value) > shape.width else shape, name=name)
            self._m.d.comb += word.eq(value)
            cut = word[:shape.width]
            value = cut.as_signed() if shape.signed else cut
            if timing.registered:
                value = self._register(f"q_{name}", value)
        rows: list[list[Value]] = []
        for row in range(timing.lines.get(number, 0) + 1):
            if row:
                value = self._line(rows[-1][0], shape)
            chain, label = [value], f"r{row}_{name}" if row else name
            for n in range(timing.pixels.get((number, row), 0)):
                chain.append(self._register(f"d{n + 1}_{label}", chain[-1]))
            rows.append(chain)
        self._held.append(rows)

    def at(self, word: int, delay: Delay) -> Value:
        """Return a word as it was some image rows and pixels ago."""
        return self._held[word][delay[0]][delay[1]]

    def _register(self, name: str, value: Value) -> Signal:
        later = Signal(value.shape(), name=name, reset_less=True)
        self._m.d.sync += later.eq(Mux(self._component.en, value, later))
        return later

    def _line(self, value: Value, shape) -> Value:
        self.into_lines.append(value[:shape.width])
        bits = self._component.line_q[self._used:self._used + shape.width]
        self._used += shape.width
        return bits.as_signed() if shape.signed else bits


def delayed_verilog(component: DelayedComponent, *, header: str, row_length: int = 28) -> str:
    """Return the text of module ``adder_graph``; with line memory ROW, a row's length, is a
    parameter of it.

    Parameters: component; header, a comment; row_length, of ROW where nobody sets it.
    """
    from hwgen.verilog import to_verilog

    lines = component.timing.line_bits
    if not lines:
        return to_verilog(component, name="adder_graph", header=header)
    top = TOP.read_text(encoding="utf-8")
    for name, value in (("X_BITS", len(component.x)), ("Y_BITS", len(component.y)),
                        ("LINE_BITS", lines), ("ROW", row_length)):
        before = f"parameter {name} = 1"
        if top.count(before) != 1:
            raise AssertionError(f"{TOP.name} must hold {before} once")
        top = top.replace(before, f"parameter {name} = {value}")
    return to_verilog(component, name="adder_graph__core", header=header) + "\n" + top
