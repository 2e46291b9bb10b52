"""An adder graph whose adders take a digit a cycle (see hwgen.adders.serial), words out in
parallel.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.adders.component import layout
from hwgen.adders.serial import CHAIN_FROM, Operand, SerialSchedule, Wire


class SerialGraph(wiring.Component):
    """``y = x @ W`` in ``schedule.digits`` cycles a word.

    Parameters: schedule, SerialSchedule.

    Members
    -------
    x : In
        This cycle's digit of every input, the first input lowest; behind the last digit of an
        input its sign, or 0.
    start : In(1)
        High in the cycle before digit 0; at least ``schedule.digits`` cycles apart.
    en : In(1)
        Clock enable of every register.
    y : Out
        The outputs, packed, each in the smallest width of its range.
    done : Out(1)
        High in the cycle in which y is the result, ``latency`` cycles behind start.
    soon : Out(1)
        High in the cycle before, under the enable.

    Latency: ``latency`` = schedule.done + 1 cycles. Throughput: a word every ``schedule.digits``
    cycles. Resources: ``schedule.lut`` positions, ``schedule.ff_bits`` flip-flops; no multiplier.
    """

    def __init__(self, *, schedule: SerialSchedule) -> None:
        self.schedule = schedule
        self.latency = schedule.done + 1
        self.output_layout = layout(schedule.graph.output_ranges)
        offset, width, _ = self.output_layout[-1]
        super().__init__(
            {
                "x": In(unsigned(len(schedule.graph.inputs) * schedule.digit)),
                "start": In(1),
                "en": In(1),
                "y": Out(unsigned(offset + width)),
                "done": Out(1),
                "soon": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        wires = _Wires(m, self)
        for n, operation in enumerate(self.schedule.operations):
            begin = wires.begin(operation.start)
            a = wires.operand(operation.a, operation.start)
            b = wires.operand(operation.b, operation.start)
            if operation.a.negative:
                a, b = b, a
            minus = operation.a.negative or operation.b.negative
            wires.keep(f"add_{n}", _adder(m, f"add_{n}", a, b, minus, begin, self.en))
        last = self.schedule.done
        m.d.comb += [self.done.eq(wires.ring(last)), self.soon.eq(wires.ring(last - 1))]
        parts: list[Value] = []
        graph = self.schedule.graph
        for end, output, (_, width, _) in zip(
            self.schedule.ends, graph.outputs, self.output_layout, strict=True
        ):
            # A shifted signal is exactly as wide as the output's range.
            word = Const(0, width) if end is None else wires.word(end)
            low = max(-output.shift, 0)  # bits that are 0 and go
            parts.append(Cat(Const(0, max(output.shift, 0)), word[low:])[:width])
        m.d.comb += self.y.eq(Cat(parts))
        return m


class _Wires:
    """Bits of signals, numbered inputs, nodes, negations, with their delays; and the control."""

    def __init__(self, m: Module, component: SerialGraph) -> None:
        self._m, self._component = m, component
        self._schedule = schedule = component.schedule
        self._digits: list[list[Value]] = []
        self._names: list[str] = []
        self._late: dict[tuple[int, int, int], Value] = {}
        self._cleared: dict[tuple[int, int, int, int, int], Signal] = {}
        self._when: dict[tuple[int, int], Value] = {}
        self._ring: list[Value] = [component.start]  # of cycle -1, 0, 1, ...
        for cycle in range(schedule.done + 1):
            later = Signal(name=f"begin_{cycle}")
            with m.If(component.en):
                m.d.sync += later.eq(self._ring[-1])
            self._ring.append(later)
        digit = schedule.digit
        for n in range(len(schedule.graph.inputs)):
            bits = component.x[n * digit : (n + 1) * digit]
            self.keep(f"x_{n}", [bits[lane] for lane in range(digit)])

    def keep(self, name: str, digit: list[Value]) -> None:
        """Add the next signal."""
        self._names.append(name)
        self._digits.append(digit)

    def ring(self, cycle: int) -> Value:
        """Return a bit that is high in a cycle of the word, from -1 on."""
        return self._ring[cycle + 1]

    def begin(self, start: int, count: int = 1) -> Value:
        """Return a bit that is high, with the enable, in the ``count`` cycles from the one before
        ``start`` on.
        """
        if (start, count) not in self._when:
            value: Value = self.ring(start - 1)
            for n in range(1, count):
                value = value | self.ring(start - 1 + n)
            found = Signal(name=f"from_{start}_for_{count}")
            self._m.d.comb += found.eq(value & self._component.en)
            self._when[start, count] = found
        return self._when[start, count]

    def operand(self, operand: Operand, start: int) -> list[Value]:
        """Return the digit that an operation reads."""
        if operand.signal is None:
            return [Const(0, 1)] * self._schedule.digit
        return [self._wire(operand.signal, wire, start) for wire in operand.wires]

    def _wire(self, signal: int, wire: Wire, start: int) -> Value:
        if not wire.clear:
            return self._delayed(signal, wire.lane, wire.delay)
        key = signal, wire.lane, wire.delay, wire.clear, start
        if key not in self._cleared:
            held = Signal(
                name=f"low_{self._names[signal]}_{wire.lane}_{wire.delay}_{wire.clear}_{start}",
                reset_less=True,
            )
            before, clear = (
                self._delayed(signal, wire.lane, wire.delay - 1),
                self.begin(start, wire.clear),
            )
            with self._m.If(clear):
                self._m.d.sync += held.eq(0)
            with self._m.Elif(self._component.en):
                self._m.d.sync += held.eq(before)
            self._cleared[key] = held
        return self._cleared[key]

    def _delayed(self, signal: int, lane: int, delay: int) -> Value:
        if delay == 0:
            return self._digits[signal][lane]
        if (signal, lane, delay) not in self._late:
            before = self._delayed(signal, lane, delay - 1)
            later = Signal(name=f"d{delay}_{self._names[signal]}_{lane}", reset_less=True)
            with self._m.If(self._component.en):
                self._m.d.sync += later.eq(before)
            self._late[signal, lane, delay] = later
        return self._late[signal, lane, delay]

    def word(self, signal: int) -> Value:
        """Return a whole word, as it is there in the cycle ``done``."""
        schedule = self._schedule
        width = schedule.width(signal)
        late = schedule.done - schedule.times[signal]
        return Cat(
            self._delayed(signal, n % schedule.digit, late - n // schedule.digit)
            for n in range(width)
        )


def _adder(
    m: Module, name: str, a: list[Value], b: list[Value], minus: bool, begin: Value, en: Value
) -> list[Value]:
    """Return the digit of ``a + b`` or ``a - b``; the carry begins anew at ``begin``."""
    digit = len(a)
    chain = digit >= CHAIN_FROM
    carry = Signal(name=f"carry_{name}", init=int(minus and not chain),
                   reset_less=True)
    after: Value
    if chain:  # one place more below takes the carry (or borrow) in
        low, high = Cat(Const(0, 1), *a), Cat(carry, *b)
        total = Signal(digit + 2, name=name)
        m.d.comb += total.eq(low - high if minus else Cat(Const(1, 1), *a) + high)
        found, after = [total[n + 1] for n in range(digit)], total[digit + 1]
    else:
        bits: list[Value] = []
        after, total = carry, Signal(digit, name=name)
        for one, other in zip(a, b, strict=True):
            other = ~other if minus else other
            bits.append(one ^ other ^ after)
            after = (one & other) | (after & (one ^ other))
        m.d.comb += total.eq(Cat(*bits))
        found = [total[n] for n in range(digit)]
    with m.If(begin):
        m.d.sync += carry.eq(carry.init)
    with m.Elif(en):
        m.d.sync += carry.eq(after)
    return found
