"""A piecewise-linear function on every lane: find the segment, choose its line, add.

With few segments whatever depends on the segment alone is one look-up table a bit, and a lane has
one adder for two digits of a slope and one for the offset, however many segments there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Activation as ActivationLayer
from hwgen.stream.beat import BeatFormat, shape_of
from hwgen.stream.control import pipeline
from hwgen.stream.requantise import clipped, digits_of, half, same_beats

TABLES = 12                   # bits up to which a comparison is made of look-up tables alone


@dataclass(frozen=True, eq=False)
class Line:
    """What the inputs lo..hi meet of a function.

    Parameters: layer; lo, hi.
    """

    layer: ActivationLayer
    lo: int
    hi: int

    @cached_property
    def used(self) -> list[int]:
        """The segments that an input can lie in."""
        edges = self.layer.breakpoints.tolist()
        return [k for k in range(self.layer.slopes.size)
                if (k == 0 or edges[k - 1] <= self.hi) and (k == len(edges) or edges[k] > self.lo)]

    @property
    def edges(self) -> list[int]:
        """The breakpoints between those segments."""
        return [int(self.layer.breakpoints[k - 1]) for k in self.used[1:]]

    @cached_property
    def digits(self) -> list[list[tuple[int, bool]]]:
        """Digits (power, negative) of each segment's slope."""
        return [digits_of(int(self.layer.slopes[k])) for k in self.used]

    @property
    def terms(self) -> int:
        """Terms that are added to the offset: as many as the most digits of a slope."""
        return max(map(len, self.digits))

    def powers(self, term: int) -> tuple[int, int]:
        """Return the smallest and the largest power of a term."""
        found = [digits[term][0] for digits in self.digits if term < len(digits)]
        return min(found), max(found)

    @property
    def constants(self) -> list[int]:
        """What is added to each segment's terms: a negative one is taken as ~x = -x - 1."""
        rounding = half(self.layer.shift)
        return [int(self.layer.offsets[k]) + rounding + sum(negative for _, negative in digits)
                for k, digits in zip(self.used, self.digits, strict=True)]

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value before the shift."""
        starts, ends = [self.lo, *self.edges], [edge - 1 for edge in self.edges] + [self.hi]
        found = []
        for k, first, last in zip(self.used, starts, ends, strict=True):
            slope, offset = int(self.layer.slopes[k]), int(self.layer.offsets[k])
            found += [x * slope + offset + half(self.layer.shift) for x in (first, last)]
        return min(found), max(found)


class Activation(wiring.Component):
    """A piecewise-linear function of dyadic slopes, the same on every lane (see
    hwgen.layers.Activation).

    Parameters: layer; source, format, as of hwgen.stream.requantise.Requantise; straight.
    Latency: ``latency`` cycles: compare, number the segment, look its line up, shift, add the
    slope's digits if there are two, add the offset, clip. Throughput: 1 beat a cycle.
    Resources a lane: a comparator a breakpoint; for each digit of a slope a shifter; an adder a
    digit; two comparators at most for the clip.
    """

    def __init__(
        self, *, layer: ActivationLayer, source: BeatFormat, format: BeatFormat,
        straight: bool = False,
    ) -> None:
        same_beats(source, format)
        self.layer, self.source, self.format = layer, source, format
        self.straight = straight
        self.lines = [Line(layer, lo, hi) for lo, hi in zip(source.lo, source.hi, strict=True)]
        self.adds = max(line.terms for line in self.lines) > 1
        self.latency = 6 + self.adds
        self.interval = format.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = pipeline(m, self.i, self.o, self.latency, self.straight)
        for lane, value in enumerate(self.source.values(self.i.payload)):
            m.d.comb += self.o.payload[f"c{lane}"].eq(self._lane(m, lane, value, enable))
        return m

    def _lane(self, m: Module, lane: int, x: Value, enable: Value) -> Value:
        line, layer = self.lines[lane], self.layer
        least, most = line.bounds
        shape, wide = self.source.shapes[lane], shape_of(least, most)

        def held(value: Value, name: str, shape: Shape | None = None) -> Signal:
            result = Signal(shape or value.shape(), name=f"{name}_{lane}", reset_less=True)
            with m.If(enable):
                m.d.sync += result.eq(value)
            return result

        above = [held(at_least(x, edge, shape), f"above_{n}") for n, edge in enumerate(line.edges)]
        x = held(x, "x_1", shape)
        number = held(Cat(*count(above)), "number") if above else Const(0, 1)
        x = held(x, "x_2", shape)
        # All that depends on the segment alone.
        offset = held(_look_up(m, number, line.constants), "offset", wide)
        x = held(x, "x_3", shape)
        terms = []
        for n in range(line.terms):
            low, high = line.powers(n)
            digits = [each[n] if n < len(each) else None for each in line.digits]
            amount = held(_look_up(m, number, [d[0] - low if d else 0 for d in digits]),
                          f"amount_{n}", unsigned(max((high - low).bit_length(), 1)))
            negative = held(_look_up(m, number, [int(d[1]) if d else 0 for d in digits]),
                            f"minus_{n}")
            used = held(_look_up(m, number, [int(d is not None) for d in digits]), f"used_{n}")
            moved = Signal(wide, name=f"moved_{n}_{lane}")
            m.d.comb += moved.eq(Mux(used, x, 0) << amount << low)
            terms.append(held(moved ^ negative.replicate(wide.width), f"term_{n}", wide))
        # Sums wrap on the way as long as the last one does not.
        offset = held(offset, "offset_1", wide)
        total: Value = terms[0] if terms else Const(0, wide)
        if self.adds:
            total = held(total + terms[1] if len(terms) > 1 else total, "sum", wide)
            offset = held(offset, "offset_2", wide)
        total = held(total + offset, "line", wide)
        return held(clipped(total >> layer.shift, layer.lo, layer.hi, least >> layer.shift,
                            most >> layer.shift), "code", self.format.shapes[lane])


def at_least(x: Value, edge: int, shape: Shape) -> Value:
    """Return whether x, of a shape that ``edge`` fits into, is at least ``edge``.

    Of few bits it is said bit by bit, from the lowest: a look-up table takes three of them, a
    carry chain one.
    """
    if shape.width > TABLES:
        return x >= edge
    result: Value = Const(1)
    for n in range(shape.width):
        turned = shape.signed and n == shape.width - 1
        bit = ~x[n] if turned else x[n]
        result = bit & result if (edge >> n & 1) != turned else bit | result
    return result


def count(marks: Sequence[Value]) -> list[Value]:
    """Return how many of some bits are 1, lowest bit first, if no 1 follows on a 0."""
    if not marks:
        return []
    middle = 1 << len(marks).bit_length() - 1             # that many, or more?
    top, below, beyond = marks[middle - 1], count(marks[: middle - 1]), count(marks[middle:])
    beyond += [Const(0)] * (len(below) - len(beyond))
    return [*(Mux(top, more, less) for less, more in zip(below, beyond, strict=True)), top]


def _look_up(m: Module, number: Value, values: Sequence[int]) -> Value:
    """Return ``values[number]``."""
    found = Signal(shape_of(min(values), max(values)))
    with m.Switch(number):
        for n, value in enumerate(values[:-1]):
            with m.Case(n):
                m.d.comb += found.eq(value)
        with m.Default():
            m.d.comb += found.eq(values[-1])
    return found
