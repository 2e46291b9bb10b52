"""NFU-3 of one channel at a time: bias, dyadic multiplier or straight segment, shift, clip."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu import isa
from hwgen.nfu.compare import less
from hwgen.nfu.config import Config, WeightCode
from hwgen.verilog import add

UP_BITS = 4                   # of a digit's shift to the left
BASE_BITS = 3                 # of the shift by a filter's base
SEARCH = (isa.SEGMENTS - 1).bit_length()


def packed(fields: tuple[isa.Field, ...]) -> data.FlexibleLayout:
    """Return the layout of packed fields of 16 bytes."""
    return data.FlexibleLayout(128, {
        field.name: data.Field(signed(field.width) if field.signed else unsigned(field.width),
                               32 * field.word + field.bit)
        for field in fields
    })


PARAMETER = packed(isa.PARAMETER)
SEGMENT = packed(isa.SEGMENT)


class Segments(wiring.Component):
    """Finds the segment of a value, by halving, and gives its line.

    Members
    -------
    x : In, signed. digit : In, which digit of the slope.
    offset, up, negative, zero : Out, of the segment (the digit's). x_out : Out, x, as late.
    write, write_entry, write_data : In, an entry of 16 bytes to be kept.

    Latency: 5 cycles. Resources: a comparator for each halving; the table in small memories.
    """

    latency = SEARCH + 1

    def __init__(self, *, config: Config) -> None:
        self.config = config
        shape = signed(config.total_bits)
        super().__init__({
            "x": In(shape), "digit": In(2), "x_out": Out(shape), "offset": Out(shape),
            "up": Out(UP_BITS), "negative": Out(1), "zero": Out(1),
            "write": In(1), "write_entry": In(SEARCH), "write_data": In(128),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        entry = data.View(SEGMENT, self.write_data)
        x, digit = self.x, self.digit
        found: Value = Signal(0)
        for level in range(SEARCH):
            # Which half: compare with the start of segment (2 * found + 1) * half.
            half = isa.SEGMENTS >> level + 1
            starts = memory.Memory(shape=signed(32), depth=1 << level, init=[])
            m.submodules[f"starts_{level}"] = starts
            read, write = starts.read_port(domain="comb"), starts.write_port()
            here = (self.write_entry & (2 * half - 1)) == half
            m.d.comb += [read.addr.eq(found), write.addr.eq(self.write_entry >> SEARCH - level),
                         write.data.eq(entry.start), write.en.eq(self.write & here)]
            above = Signal(name=f"above_{level}")
            m.d.comb += above.eq(x >= read.data)
            next_found = Signal(level + 1, name=f"found_{level}", reset_less=True)
            next_x = Signal.like(self.x, name=f"x_{level}", reset_less=True)
            next_digit = Signal(2, name=f"digit_{level}", reset_less=True)
            m.d.sync += [next_found.eq(found << 1 | above), next_x.eq(x), next_digit.eq(digit)]
            found, x, digit = next_found, next_x, next_digit
        bits = self.config.total_bits
        line = data.StructLayout({"offset": signed(bits), "up_0": UP_BITS, "negative_0": 1,
                                  "zero_0": 1, "up_1": UP_BITS, "negative_1": 1, "zero_1": 1})
        lines = memory.Memory(shape=line, depth=isa.SEGMENTS, init=[])
        m.submodules.lines = lines
        read, write = lines.read_port(domain="comb"), lines.write_port()
        whole = Signal(signed(48), name="offset_in")
        m.d.comb += [
            whole.eq(entry.offset_low | entry.offset_high << 32),
            read.addr.eq(found), write.en.eq(self.write), write.addr.eq(self.write_entry),
            write.data.offset.eq(whole),
            *(getattr(write.data, f"{name}_{d}").eq(getattr(entry, f"{name}_{d}"))
              for name in ("up", "negative", "zero") for d in range(2)),
        ]
        m.d.sync += [self.offset.eq(read.data.offset), self.x_out.eq(x)]
        second = digit[0]
        for name in ("up", "negative", "zero"):
            chosen = Mux(second, getattr(read.data, f"{name}_1"), getattr(read.data, f"{name}_0"))
            m.d.sync += getattr(self, name).eq(chosen)
        # A third digit there is not.
        with m.If(digit[1]):
            m.d.sync += self.zero.eq(1)
        return m


class FinishLane(wiring.Component):
    """``t = offset + sum over digits of +-((acc << base) + bias) << up; code = clip(t >> shift)``.

    One digit a cycle, those of a channel one behind the other.

    Members
    -------
    acc : In, accumulator. entry : In, 16 bytes of parameters. digit : In, number of the digit.
    activate : In, offset and digits come from the table. wrap, lo, hi : In.
    total : Out, t up to this digit (``total_latency``). code : Out (``latency``).
    table_write, table_entry, table_data : In, with segments.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        self.has_base = config.code is WeightCode.BASE
        self.total_latency = 5 + (Segments.latency if config.segments else 0)
        self.latency = self.total_latency + 4
        members = {
            "acc": In(signed(config.acc_bits)), "entry": In(PARAMETER), "digit": In(2),
            "activate": In(1), "wrap": In(1), "lo": In(signed(17)), "hi": In(signed(17)),
            "total": Out(signed(config.total_bits)), "code": Out(config.act_bits),
        }
        if config.segments:
            members |= {"table_write": In(1), "table_entry": In(SEARCH), "table_data": In(128)}
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        shape = signed(self.config.total_bits)
        # Cycle 0: the base; cycle 1: the bias.
        based, biased = (Signal(shape, name=name, reset_less=True) for name in ("based", "biased"))
        bias = Signal(signed(32), name="bias", reset_less=True)
        base = self.entry.base[:BASE_BITS] if self.has_base else 0
        m.d.sync += [based.eq(self.acc << base), bias.eq(self.entry.bias),
                     biased.eq(based + bias)]
        whole = Signal(signed(48), name="offset_in")
        m.d.comb += whole.eq(self.entry.offset_low | self.entry.offset_high << 32)
        wait = self.total_latency - 3
        line = {
            "x": biased,
            "offset": self._later(m, whole[: shape.width].as_signed(), wait, "offset"),
            "up": self._later(m, self.entry.up[:UP_BITS], wait, "up"),
            "negative": self._later(m, self.entry.negative, wait, "negative"),
            "zero": self._later(m, self.entry.zero, wait, "zero"),
        }
        if self.config.segments:
            self._segments(m, platform, line, biased)
        # The product of the digit, by the lowest bits of its shift and then by the others, inverted
        # if it is negative; then the sum.
        half, product = (Signal(shape, name=name, reset_less=True) for name in ("half", "product"))
        rest = Signal(UP_BITS - 2, name="up_rest", reset_less=True)
        minus = Signal(name="minus", reset_less=True)
        m.d.sync += [half.eq(line["x"] << line["up"][:2]), rest.eq(line["up"][2:])]
        zero, negative = (self._later(m, line[name], 1, f"{name}_half")
                          for name in ("zero", "negative"))
        shifted = Signal(shape, name="shifted")
        m.d.comb += shifted.eq(Mux(zero, 0, half << (rest << 2)))
        m.d.sync += [product.eq(Mux(negative, ~shifted, shifted)), minus.eq(negative)]
        offset = self._later(m, line["offset"], 2, "held_offset")
        first = self._later(m, self.digit == 0, self.total_latency - 1, "first")
        m.d.sync += self.total.eq(Mux(first, offset, self.total) + product + minus)
        self._shift(m)
        return m

    def _segments(self, m: Module, platform: Any, line: dict[str, Any], biased: Signal) -> None:
        """Put the segment's offset and digit in place of the channel's, where asked for."""
        segments = Segments(config=self.config)
        add(m, platform, "segments", segments)
        m.d.comb += [
            segments.x.eq(biased), segments.digit.eq(self._later(m, self.digit, 2, "digit")),
            segments.write.eq(self.table_write), segments.write_entry.eq(self.table_entry),
            segments.write_data.eq(self.table_data),
        ]
        line["x"] = segments.x_out
        for name in ("offset", "up", "negative", "zero"):
            line[name] = Mux(self.activate, getattr(segments, name), line[name])

    def _shift(self, m: Module) -> None:
        """Four cycles: shift by the lowest bits of the amount, by the others, compare, clip."""
        config = self.config
        shape = signed(config.total_bits)
        amount = self._later(m, self.entry.shift, self.total_latency, "amount")
        fine, coarse = (Signal(shape, name=name, reset_less=True) for name in ("fine", "coarse"))
        rest = Signal(3, name="amount_rest", reset_less=True)
        m.d.sync += [fine.eq(self.total >> amount[:3]), rest.eq(amount[3:]),
                     coarse.eq(fine >> (rest << 3))]
        low, high = (Signal(name=name, reset_less=True) for name in ("low", "high"))
        inside = Signal(config.act_bits, name="unclipped", reset_less=True)
        m.d.sync += [low.eq(less(coarse, self.lo) & ~self.wrap), inside.eq(coarse),
                     high.eq(less(self.hi, coarse) & ~self.wrap)]
        with m.If(~(low | high)):
            m.d.sync += self.code.eq(inside)
        with m.Else():
            m.d.sync += self.code.eq(Mux(low, self.lo, self.hi))

    def _later(self, m: Module, value: Value, cycles: int, name: str) -> Value:
        """Return a value some cycles later."""
        for n in range(cycles):
            held = Signal.like(value, name=f"{name}_{n}", reset_less=True)
            m.d.sync += held.eq(value)
            value = held
        return value
