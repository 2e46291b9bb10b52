"""What units that pick their activations are made of: see hwgen.stream.dense_pick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.ranges import width_of
from hwgen.stream.beat import shape_of
from hwgen.stream.pick_code import PickCode
from hwgen.verilog import BLOCK


class Steps(wiring.Component):
    """The memory of steps. Latency: 2 cycles from ``address`` to ``word``, both under ``enable``.

    Parameters: code.
    """

    latency = 2

    def __init__(self, *, code: PickCode) -> None:
        self.code = code
        super().__init__(
            {"address": In(range(code.steps)), "enable": In(1), "word": Out(code.word_bits)}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        code = self.code
        rom = memory.Memory(shape=unsigned(code.word_bits), depth=code.steps, init=code.memory())
        m.submodules.rom = rom
        port = rom.read_port()
        held = Signal(code.word_bits, name="held", reset_less=True)
        m.d.comb += [port.addr.eq(self.address), port.en.eq(self.enable), self.word.eq(held)]
        with m.If(self.enable):
            m.d.sync += held.eq(port.data)
        return m


class Activations(wiring.Component):
    """One copy of the activations, read as they are or negated.

    Parameters
    ----------
    bits : int
        Of a term, sign included.
    address_bits : int
    apart : int
        Top bits of the address in which what is written and what is read differ whenever the value
        matters: where they are the same nothing is read, so that synthesis sees that the memory's
        ports never meet (and adds no logic for it).
    stored : Shape or None
        Of the activations, if they alone are stored and inverted on the way; None: each is stored
        with its negative.

    Members
    -------
    write, write_address, write_minus, write_data : In
        ``write_data``, the activation or, with ``write_minus``, its negative, is stored.
    address, minus, used, enable : In
    value : Out
        The activation, with ``minus`` its negative (~x if inverted); 0 unless ``used``.

    Latency: 2 cycles from ``address`` to ``value``, under ``enable``. Resources: block RAM, however
    few the activations are; a choice of many words would take more LUTs than the unit.
    """

    latency = 2

    def __init__(
        self, *, bits: int, address_bits: int, apart: int, stored: Shape | None = None
    ) -> None:
        self.bits, self.address_bits, self.apart, self.stored = bits, address_bits, apart, stored
        super().__init__(
            {
                "write": In(1),
                "write_address": In(address_bits),
                "write_minus": In(1),
                "write_data": In(bits),
                "address": In(address_bits),
                "minus": In(1),
                "used": In(1),
                "enable": In(1),
                "value": Out(signed(bits)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        stored = signed(self.bits) if self.stored is None else self.stored
        depth = (1 if self.stored is not None else 2) << self.address_bits
        words = memory.Memory(shape=unsigned(stored.width), depth=depth, init=[])
        m.submodules[f"{BLOCK}words"] = words
        write, read = words.write_port(), words.read_port()
        used, minus = Signal(name="term_used"), Signal(name="term_minus")
        held = Signal(signed(self.bits), name="held")
        low = self.address_bits - self.apart
        meets = Signal(name="meets")
        m.d.comb += [
            meets.eq(self.write & (self.address[low:] == self.write_address[low:])),
            write.en.eq(self.write),
            write.addr.eq(Cat(self.write_address, self.write_minus)),
            write.data.eq(self.write_data),
            read.addr.eq(Cat(self.address, self.minus)),
            read.en.eq(self.enable & ~meets),
            self.value.eq(held),
        ]
        value: Value = read.data
        if self.stored is not None:
            word = read.data.as_signed() if stored.signed else read.data
            value = (word | Const(0, signed(self.bits)))[: self.bits]
            value = value ^ minus.replicate(self.bits)
        with m.If(self.enable):
            m.d.sync += [used.eq(self.used), minus.eq(self.minus)]
        with m.If(self.enable & ~used):  # a reset that goes before the enable: no LUTs
            m.d.sync += held.eq(0)
        with m.Elif(self.enable):
            m.d.sync += held.eq(value)
        return m


class Sums(wiring.Component):
    """One lane: a tree of adders, then ``s = (double ? 2 s : start ? 0 : s) + tree``.

    Parameters: terms; bits, of a signed term; total, bits of s.
    Members: x, the terms side by side; start, double, in step with the tree's output; enable;
    total. Latency: ``latency`` = ceil(log2(terms)) + 1 cycles.
    """

    def __init__(self, *, terms: int, bits: int, total: int) -> None:
        self.terms, self.bits = terms, bits
        self.latency = (terms - 1).bit_length() + 1
        super().__init__(
            {
                "x": In(terms * bits),
                "start": In(1),
                "double": In(1),
                "enable": In(1),
                "total": Out(signed(total)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        values: list[Value] = [
            self.x[n * self.bits : (n + 1) * self.bits].as_signed() for n in range(self.terms)
        ]
        level = 0
        while len(values) > 1:
            held = []
            for n in range(0, len(values), 2):
                value = values[n] if n + 1 == len(values) else values[n] + values[n + 1]
                term = Signal(value.shape(), name=f"sum_{level}_{n // 2}", reset_less=True)
                with m.If(self.enable):
                    m.d.sync += term.eq(value)
                held.append(term)
            values, level = held, level + 1
        before = Signal(self.total.shape(), name="earlier")
        doubled = Mux(self.double, self.total << 1, self.total)
        m.d.comb += before.eq(Mux(self.start, 0, doubled))
        with m.If(self.enable):
            m.d.sync += self.total.eq(before + values[0])
        return m


def term_shapes(lo: int, hi: int, inverts: bool) -> tuple[int, Shape | None]:
    """Return the bits of a term, and the shape of what is stored if only that is.

    Parameters: lo and hi, range of the activations; inverts, as of PickCode.
    """
    bits = max(width_of(min(lo, -hi - inverts), max(hi, -lo - inverts))[0], 2)
    return bits, shape_of(lo, hi) if inverts else None


@dataclass
class Writer:
    """The writing side of the copies: port {write, address, minus, data}; done, high with an
    activation's last cycle; beat_end, with a beat's.
    """

    port: list[Signal]
    done: Value
    beat_end: Value


def write_port(m: Module, unit: Any, beats: Any, free: Value, address: Value) -> Writer:
    """Take beats apart, an activation (and its negative) after the other.

    Parameters: m; unit, with ``source``, ``code`` and ``bits``; beats, stream of ``source``; free,
    there is room for the next one; address, its place.
    """
    source, twice = unit.source, not unit.code.inverts
    shape = shape_of(min(*source.lo, 0), max(*source.hi, 0))
    value, place = Signal(shape, name="value"), Signal(range(source.lanes), name="place")
    minus = Signal(name="minus")
    write, done, last = Signal(name="write"), Signal(name="written"), Signal(name="last_place")
    values = [(one | Const(0, shape))[: shape.width] for one in source.values(beats.payload)]
    with m.Switch(place):
        for n, one in enumerate(values):
            with m.Case(n):
                m.d.comb += value.eq(one)
    ends = minus if twice else Const(1, 1)
    m.d.comb += [
        write.eq(beats.valid & free),
        done.eq(write & ends),
        last.eq(place == source.lanes - 1),
        beats.ready.eq(free & ends & last),
    ]
    if twice:
        with m.If(write):
            m.d.sync += minus.eq(~minus)
    with m.If(done):
        m.d.sync += place.eq(Mux(last, 0, place + 1))
    # A register behind the queue, whose memory is slow, and one in front of the many copies. The
    # first step reads a cycle later.
    early = [Signal(name="write_early"), Signal(len(address), name="early_address"),
             Signal(name="early_minus"), Signal(shape, name="early_value")]
    port = [Signal(name="write_later"), Signal(len(address), name="write_address"),
            Signal(name="write_minus"), Signal(unit.bits, name="write_data")]
    m.d.sync += [early[0].eq(write), early[1].eq(address), early[2].eq(minus), early[3].eq(value)]
    m.d.sync += [port[0].eq(early[0]), port[1].eq(early[1]), port[2].eq(early[2]),
                 port[3].eq(Mux(early[2], -early[3], early[3]))]
    return Writer(port, done, done & last)


def delayed(m: Module, enable: Value, value: Value, count: int, name: str) -> list[Value]:
    """Return a value and its ``count`` registers, one behind the other."""
    found = [value]
    for n in range(count):
        later = Signal(len(value), name=f"{name}_{n + 1}")
        with m.If(enable):
            m.d.sync += later.eq(found[-1])
        found.append(later)
    return found
