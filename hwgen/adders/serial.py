"""An adder graph on words that come a digit of some bits a cycle, the lowest digit first.

Ref: P. Denyer and D. Renshaw, VLSI Signal Processing: A Bit-Serial Approach, 1985; K. K. Parhi, A
systematic approach for design of digit-serial signal processing architectures, IEEE Trans. CAS 38
(1991), 358-375.

Cycle 0 is that in which digit 0 of every input is there; digit k follows in cycle k, in a word of
``digits`` digits. A signal of time t has its digit k in cycle t + k. An adder that reads its
operands from cycle T on gives a signal of time T, and keeps its carry in a flip-flop that the
cycle before T sets to its first value::

    cycle     T-1      T        T+1      ...  T+digits-1
    operands           a0 b0    a1 b1         the last digit
    carry     := 0     from 0   from digit 0
    sum                s0       s1            the last digit

Its readers take the sum as it is, up to ``adders_per_stage`` adders one behind the other, or
through flip-flops. Delay and left shift are the same chain of flip-flops: bit i of digit k of
``a << s`` is bit ``k * digit + i - s`` of a. Where that is below 0 the chain's last flip-flop is
cleared, unless the bits that the word before has there are 0. Everything is right modulo
2**(digits * digit), so the words need only hold the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hwgen.adders.graph import AdderGraph
from hwgen.ranges import width_of

CHAIN_FROM = 4                # bits of a digit from which an adder is a carry chain


@dataclass(frozen=True, slots=True)
class Wire:
    """One bit of an operand: a bit of a signal, delayed; cleared in the first cycles if asked.

    Parameters: lane, which bit of the signal's digit; delay, cycles; clear, cycles from the
    reader's first that are 0.
    """

    lane: int
    delay: int
    clear: int


@dataclass(frozen=True, slots=True)
class Operand:
    """What an adder reads: a signal (None: 0), bit by bit of a digit. Parameters: signal, wires."""

    signal: int | None
    wires: tuple[Wire, ...]
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One adder: the cycle in which it reads its first digit, and its two operands."""

    start: int
    a: Operand
    b: Operand


@dataclass(frozen=True)
class SerialSchedule:
    """When every adder of a graph works, and through how many flip-flops its operands come.

    Parameters
    ----------
    graph : AdderGraph
        Signals of an operation are numbered inputs, nodes, then ``graph.negations``.
    digit : int
        Bits a cycle, at least 1.
    adders_per_stage : int
        Adders without a flip-flop between them, at least 1.

    Raises: ValueError if digit or adders_per_stage is less than 1.
    """

    graph: AdderGraph
    digit: int
    adders_per_stage: int = 1

    def __post_init__(self) -> None:
        if self.digit < 1:
            raise ValueError(f"A digit must have at least 1 bit, not {self.digit}")
        if self.adders_per_stage < 1:
            raise ValueError(f"Adders per stage must be at least 1, not {self.adders_per_stage}")

    @cached_property
    def input_digits(self) -> int:
        """Digits that hold every input; the ones behind are its sign, or 0."""
        return max(self.digits_of(port.lo, port.hi) for port in self.graph.inputs)

    @cached_property
    def digits(self) -> int:
        """Digits of a word, the cycles from one word to the next at least."""
        ends = [self.digits_of(*self._bounds(end)) for end in self.ends if end is not None]
        return max(self.input_digits, *ends, 1)

    def digits_of(self, lo: int, hi: int) -> int:
        """Return the digits that hold lo..hi."""
        return -(-width_of(lo, hi)[0] // self.digit)

    @cached_property
    def ends(self) -> tuple[int | None, ...]:
        """For each output the signal it shows, before its shift; None for 0."""
        number = {signal: self.graph.signals + n for n, signal in enumerate(self.graph.negations)}
        return tuple(None if output.signal is None else
                     number[output.signal] if output.negative else output.signal
                     for output in self.graph.outputs)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """The adders, in the order of the nodes, then of the negations."""
        found: list[Operation] = []
        times = [0] * len(self.graph.inputs)
        place = list(times)                                 # in its stage; 0: a flip-flop's
        for node in self.graph.nodes:
            start = max(self._ready(times, node.a, node.a_shift),
                        self._ready(times, node.b, node.b_shift), 0)
            self._put(found, times, place, start, [
                (node.a, node.a_shift, node.a_negative), (node.b, node.b_shift, node.b_negative)
            ])
        for signal in self.graph.negations:
            self._put(found, times, place, times[signal], [(signal, 0, True)])
        return tuple(found)

    def _put(self, found: list[Operation], times: list[int], place: list[int], start: int,
             read: list[tuple[int, int, bool]]) -> None:
        """Add the operation that reads these (signal, shift, negative), from ``start`` on, or a
        cycle later if it is one adder too many behind the last flip-flop.
        """
        operands = [self._operand(times, start, *one) for one in read]
        here = 1 + max(self._place(place, operand) for operand in operands)
        if here > self.adders_per_stage:
            self._put(found, times, place, start + 1, read)
            return
        found.append(Operation(start, operands[0] if len(read) > 1 else Operand(None, ()),
                               operands[-1]))
        times.append(start)
        place.append(here)

    def _place(self, place: list[int], operand: Operand) -> int:
        """Return how many adders an operand has passed behind its last flip-flop."""
        assert operand.signal is not None
        direct = any(not wire.delay for wire in operand.wires)
        return place[operand.signal] if direct else 0

    @cached_property
    def times(self) -> tuple[int, ...]:
        """Cycle of digit 0 of every signal: inputs, nodes, negations."""
        return (*(0 for _ in self.graph.inputs), *(one.start for one in self.operations))

    @cached_property
    def done(self) -> int:
        """Cycle in which the last digit of the last output is there, in flip-flops."""
        return max((self.times[end] + self.digits_of(*self._bounds(end))
                    for end in self.ends if end is not None), default=0)

    @cached_property
    def depths(self) -> dict[tuple[int, int], int]:
        """Flip-flops behind each bit (signal, lane) that is read later than it comes."""
        depths: dict[tuple[int, int], int] = {}
        for operation in self.operations:
            for operand in (operation.a, operation.b):
                for wire in operand.wires:
                    assert operand.signal is not None
                    key = operand.signal, wire.lane
                    depth = wire.delay - (wire.clear > 0)       # the cleared one is the reader's
                    depths[key] = max(depths.get(key, 0), depth)
        for end in self.ends:
            if end is not None:
                for place in range(self.width(end)):
                    key = end, place % self.digit
                    depth = self.done - self.times[end] - place // self.digit
                    depths[key] = max(depths.get(key, 0), depth)
        return depths

    @cached_property
    def lut(self) -> int:
        """LUT positions of an ECP5 that the adders take."""
        each = 2 * self.digit
        if self.digit >= CHAIN_FROM:
            each = 2 * -(-(self.digit + 2) // 2)
        return each * len(self.operations)

    @cached_property
    def ff_bits(self) -> int:
        """Flip-flops: carries, sums and their delays, and those that are cleared."""
        cleared = {(one.start, operand.signal, wire.lane, wire.delay, wire.clear)
                   for one in self.operations for operand in (one.a, one.b)
                   for wire in operand.wires if wire.clear}
        return (len(self.operations) + sum(self.depths.values()) + len(cleared)
                + self.done + 2)

    def width(self, signal: int) -> int:
        """Return the bits of a signal's range."""
        return width_of(*self._bounds(signal))[0]

    def _bounds(self, signal: int) -> tuple[int, int]:
        signals = self.graph.signals
        if signal < signals:
            return self.graph.ranges[signal]
        lo, hi = self.graph.ranges[self.graph.negations[signal - signals]]
        return -hi, -lo

    def _must_clear(self, signal: int, shift: int) -> bool:
        """Tell whether the word before leaves ones where a shifted word has its low zeros."""
        lo, hi = self._bounds(signal)
        return shift > 0 and (lo < 0 or hi >> max(self.digits * self.digit - shift, 0) > 0)

    def _ready(self, times: list[int], signal: int, shift: int) -> int:
        """Return the first cycle from which a shifted signal can be read."""
        whole = shift // self.digit
        return times[signal] - whole + (whole > 0 and self._must_clear(signal, shift))

    def _operand(self, times: list[int], start: int, signal: int, shift: int,
                 negative: bool) -> Operand:
        whole, rest = divmod(shift, self.digit)
        clear = self._must_clear(signal, shift)
        wires = []
        for lane in range(self.digit):
            late = whole + (lane < rest)
            wires.append(Wire((lane - rest) % self.digit, start - times[signal] + late,
                              late if clear else 0))
        return Operand(signal, tuple(wires), negative)
