"""Accumulators to codes where the channels of one lane differ in scale."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Requantise as RequantiseLayer
from hwgen.stream.beat import BeatFormat, shape_of
from hwgen.stream.control import pipeline
from hwgen.stream.requantise import clipped, digits_of, half, same_beats


class FoldedRequantise(wiring.Component):
    """``y = clip((x * multiplier + offset + half) >> shift, lo, hi)``, a lane for several channels.

    The signed digits of the multiplier are added one after the other, the largest first, each
    shifted as the channel of this fold wants it.

    Parameters
    ----------
    layer : hwgen.layers.Requantise
    source, format : BeatFormat
        Of the accumulators and of the codes; the same folds.
    straight : bool
        As of hwgen.stream.control.pipeline.

    What a fold chooses is decoded a cycle ahead, while the accumulator is registered.

    Latency: 3 cycles, one more for each signed digit beyond the first.
    Throughput: 1 beat a cycle. Resources a lane: an adder and a choice of shifts a digit, a choice
    of shifts and at most two comparators for the code.
    """

    def __init__(
        self, *, layer: RequantiseLayer, source: BeatFormat, format: BeatFormat,
        straight: bool = False,
    ) -> None:
        same_beats(source, format)
        self.layer, self.source, self.format = layer, source, format
        self.straight = straight
        self.digits = [digits_of(int(value)) for value in layer.multiplier]
        self.levels = max(max(map(len, self.digits)), 1)
        self.latency = 2 + self.levels
        self.interval = format.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = pipeline(m, self.i, self.o, self.latency, self.straight)
        folds = self.source.folds
        fold = Signal(range(folds), name="fold")
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += fold.eq(Mux(fold == folds - 1, 0, fold + 1))
        turns = [fold]
        for n in range(self.levels + 1):
            later = Signal(range(folds), name=f"fold_{n + 1}", reset_less=True)
            with m.If(enable):
                m.d.sync += later.eq(turns[-1])
            turns.append(later)
        for lane, value in enumerate(self.source.values(self.i.payload)):
            x = Signal(self.source.shapes[lane], name=f"held_{lane}", reset_less=True)
            with m.If(enable):
                m.d.sync += x.eq(value)
            chooser = _Chooser(m, enable, turns)
            m.d.comb += self.o.payload[f"c{lane}"].eq(self._lane(m, lane, x, chooser, enable))
        return m

    def _lane(self, m: Module, lane: int, x: Value, choose: _Chooser, enable: Value) -> Value:
        layer, lanes = self.layer, self.source.lanes
        channels = range(lane, layer.multiplier.size, lanes)
        lo, hi = self.source.lo[lane], self.source.hi[lane]
        constants = [int(layer.offset[c]) + half(int(layer.shift[c])) for c in channels]
        digits = [self.digits[c] for c in channels]
        total: Value = choose.value(0, constants, f"constant_{lane}")
        for level in range(self.levels):
            total = self._level(lane, level, total, x, digits, choose)
            ends = [self._ends(constants[n], digits[n][: level + 1], lo, hi)
                    for n in range(len(constants))]
            shape = shape_of(min(low for low, _ in ends), max(high for _, high in ends))
            held = Signal(shape, name=f"total_{lane}_{level}", reset_less=True)
            with m.If(enable):
                m.d.sync += held.eq(total)
            total = held
            if level + 1 < self.levels:
                later = Signal.like(x, name=f"x_{lane}_{level}", reset_less=True)
                with m.If(enable):
                    m.d.sync += later.eq(x)
                x = later
        code = Signal(self.format.shapes[lane], name=f"code_{lane}", reset_less=True)
        shifts = [int(layer.shift[c]) for c in channels]
        with m.If(enable):
            m.d.sync += code.eq(self._code(m, lane, total, shifts, choose))
        return code

    def _ends(self, constant: int, digits: list[tuple[int, bool]], lo: int,
              hi: int) -> tuple[int, int]:
        factor = sum(-(1 << power) if negative else 1 << power for power, negative in digits)
        ends = (constant + factor * lo, constant + factor * hi)
        return min(ends), max(ends)

    def _level(self, lane: int, level: int, total: Value, x: Value,
               digits: list[list[tuple[int, bool]]], choose: _Chooser) -> Value:
        """Return the sum with each channel's digit of this level."""
        here = [channel[level] if level < len(channel) else None for channel in digits]
        powers = sorted({digit[0] for digit in here if digit is not None})
        if not powers:
            return total
        width = len(x) + powers[-1] + 1
        choices: list[Value] = []
        for power in powers:
            wanted = [int(digit is not None and digit[0] == power) for digit in here]
            take = choose.value(level, wanted, f"take_{lane}_{level}_{power}")
            choices.append(_shifted(x, power, width) & take.replicate(width))
        term = choices[0]
        for choice in choices[1:]:
            term = term | choice
        signs = [int(digit is not None and digit[1]) for digit in here]
        if not any(signs):
            return total + term.as_signed()
        if all(signs):
            return total - term.as_signed()
        # -t is ~t + 1; that 1 goes in as the adder's carry, one place below the sum.
        minus = choose.value(level, signs, f"minus_{lane}_{level}")
        signed_total = Cat(Const(1, 1), total)
        signed_total = signed_total.as_signed() if total.shape().signed else signed_total
        longer = signed_total + Cat(minus, term ^ minus.replicate(width)).as_signed()
        return longer[1:].as_signed()

    def _code(self, m: Module, lane: int, total: Value, shifts: list[int],
              choose: _Chooser) -> Value:
        """Return the code: shifted as the channel wants it, and clipped."""
        lo, hi = self.layer.lo, self.layer.hi
        least = -(1 << len(total) - 1) if total.shape().signed else 0
        most = (1 << len(total) - total.shape().signed) - 1
        power = hi + 1 if lo == 0 and hi & hi + 1 == 0 else None
        codes: list[Value] = []
        overs: list[Value] = []
        used = sorted(set(shifts))
        takes = [choose.value(self.levels, [int(s == shift) for s in shifts], f"by_{lane}_{shift}")
                 for shift in used]
        for shift in used:
            if power is None:
                one = Signal(self.format.shapes[lane], name=f"code_{lane}_by_{shift}")
                m.d.comb += one.eq(clipped(total >> shift, lo, hi, least >> shift, most >> shift))
                codes.append(one)
                continue
            bits = total[shift : max(len(total) - total.shape().signed, shift)]
            width = power.bit_length() - 1
            codes.append(bits[:width] if len(bits) >= width
                         else Cat(bits, Const(0, width - len(bits))))
            overs.append(bits[width:].any() if len(bits) > width else Const(0, 1))
        code = _taken(codes, takes)
        if power is None:
            return code.as_signed() if self.format.shapes[lane].signed else code
        # Codes from 0 to 2**n - 1: a bit above them makes them all ones, a negative sum zeros.
        over = _taken(overs, takes)
        code = code | over.replicate(len(code))
        return Mux(total[-1], 0, code) if total.shape().signed else code


def _taken(values: list[Value], takes: list[Signal]) -> Value:
    """Return the value whose bit is high, of all that are as long as the first."""
    found: Value = values[0] & takes[0].replicate(len(values[0]))
    for value, take in zip(values[1:], takes[1:], strict=True):
        found = found | (value & take.replicate(len(value)))
    return found


def _shifted(x: Value, power: int, width: int) -> Value:
    """Return ``x << power`` in so many bits, extended by its sign."""
    top = x[-1] if x.shape().signed else Const(0, 1)
    return Cat(Const(0, power), x, top.replicate(width - power - len(x)))


class _Chooser:
    """Values that go with the folds, decoded a cycle ahead.

    Parameters: m; enable; turns, the fold at the input and behind each register.
    """

    def __init__(self, m: Module, enable: Value, turns: list[Signal]) -> None:
        self._m, self._enable, self._turns = m, enable, turns

    def value(self, level: int, values: list[int], name: str) -> Signal:
        """Return, at a level behind the first register, the value of the fold that is there; of
        folds without one, any.
        """
        m, found = self._m, Signal(shape_of(min(*values, 0), max(*values, 0)), name=name)
        if len(set(values)) == 1:
            m.d.comb += found.eq(values[0])
            return found
        ahead = Signal(found.shape(), name=f"{name}_ahead")
        with m.Switch(self._turns[level]):
            for n, value in enumerate(values):
                with m.Case(n):
                    m.d.comb += ahead.eq(value)
            if len(values) < 1 << len(self._turns[level]):
                with m.Default():
                    m.d.comb += ahead.eq(values[0])
        with m.If(self._enable):
            m.d.sync += found.eq(ahead)
        return found
