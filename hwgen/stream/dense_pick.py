"""A dense layer in time without shifters: every term of a lane reads its own activation.

Each term has its own copy of the image's activations, and their negatives, in a block RAM; the
memory of steps says which one it takes. One step a cycle; the stages behind the step counter::

    stage 0   step counter -> address of the memory of steps
    stage 1   the memory's output
    stage 2   register behind it: addresses of the activations
    stage 3   the activations
    stage 4   registers behind them, 0 where the term is not used
    stage 5.. a tree of adders, a register after each
    then      s = (2 s, or s, or 0) + tree
    then      at a slot's end, s and the bias move to the output

See hwgen.stream.pick_code for the steps and the words of the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.ranges import width_of
from hwgen.stream.beat import BeatFormat, shape_of
from hwgen.stream.pick_code import PickCode
from hwgen.verilog import add


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
    """One copy of two images' activations and their negatives.

    Parameters: bits of an activation; address_bits.
    Members: write, write_address, write_data; address, used, enable; value.
    Latency: 2 cycles from ``address`` and ``used`` to ``value``, under ``enable``.
    """

    latency = 2

    def __init__(self, *, bits: int, address_bits: int) -> None:
        self.bits, self.address_bits = bits, address_bits
        super().__init__(
            {
                "write": In(1),
                "write_address": In(address_bits),
                "write_data": In(bits),
                "address": In(address_bits),
                "used": In(1),
                "enable": In(1),
                "value": Out(signed(bits)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        words = memory.Memory(shape=unsigned(self.bits), depth=1 << self.address_bits, init=[])
        m.submodules.words = words
        write, read = words.write_port(), words.read_port()
        used = Signal(name="term_used")
        held = Signal(signed(self.bits), name="held")
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.addr.eq(self.address),
            read.en.eq(self.enable),
            self.value.eq(held),
        ]
        with m.If(self.enable):
            m.d.sync += used.eq(self.used)
        with m.If(self.enable & ~used):  # a reset that goes before the enable: no LUTs
            m.d.sync += held.eq(0)
        with m.Elif(self.enable):
            m.d.sync += held.eq(read.data)
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


class DensePick(wiring.Component):
    """``y = weight x + bias`` over the words of one image, ``lanes`` outputs at a time.

    Parameters
    ----------
    code : PickCode
        Weights in stream order, lanes and terms.
    source : BeatFormat
        Of the words; ``source.beats`` of them are one image.
    format : BeatFormat
        Of the sums: ``code.lanes`` lanes, ``code.slots`` folds.

    Interval: ``interval`` cycles an image, if the output is taken in time. Latency: ``latency``
    cycles from an image's last word to its first sums.
    Resources: a block RAM a term, the memory of steps, lanes * terms adders; no multiplier, no
    shifter.
    """

    def __init__(self, *, code: PickCode, source: BeatFormat, format: BeatFormat) -> None:
        if (code.words, code.weight.shape[2]) != (source.beats, source.lanes):
            raise ValueError(
                f"{source.beats} words of {source.lanes} places needed, not {code.weight.shape[1:]}"
            )
        if (format.lanes, format.folds) != (code.lanes, code.slots):
            raise ValueError(
                f"{code.slots} folds of {code.lanes} lanes needed, not {format.folds} of "
                f"{format.lanes}"
            )
        self.code, self.source, self.format = code, source, format
        lo, hi = min(*source.lo, 0), max(*source.hi, 0)
        self.bits = max(width_of(min(lo, -hi), max(hi, -lo))[0], 2)
        self.totals = [
            max(width_of(min(low, -1), high)[0], 4)
            for low, high in zip(*(b.tolist() for b in code.bounds(lo, hi)), strict=True)
        ]
        self.sums = [
            Sums(terms=code.terms, bits=self.bits, total=total) for total in self.totals
        ]
        self.depth = 4 + self.sums[0].latency  # stage of the lanes' totals
        self.interval = code.interval
        # From the last word: it is written, each activation and its negative, then the first slot.
        self.latency = 2 * source.lanes + int(code.slot_ends[0]) + self.depth
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def take(
        self, offered: Int64Array, ready: tuple[int, int] | None = None
    ) -> tuple[Int64Array, tuple[int, int]]:
        """Return when each word of an image is taken, given when it is offered.

        Parameters and second result: ready, the first cycles in which a word can be taken, and in
        which the bank that comes after this image's is free.
        """
        ready = ready or (0, 0)
        each, now, taken = 2 * self.source.lanes, ready[0], []
        for time in offered.tolist():
            now = max(now, time) + each
            taken.append(now - 1)
        # The image before is worked on while this one comes in; then this bank's turn begins.
        begun = max(now, ready[1])
        return np.array(taken, np.int64), (max(now, ready[1]), begun + self.code.steps)

    def departures(self, times: Int64Array) -> Int64Array:
        """Return when each beat of the first image is offered, given when its words are."""
        taken, _ = self.take(times)
        return taken[-1] + 1 + self.code.slot_ends + self.depth

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        code = self.code
        enable = Signal(name="enable")
        address = Signal(range(code.steps), name="address")
        valid = Signal(name="image_there")
        last = Signal(name="last_step")
        m.d.comb += last.eq(address == code.steps - 1)
        used = Signal(name="bank_used")
        with m.If(enable & valid):
            m.d.sync += address.eq(Mux(last, 0, address + 1))
            with m.If(last):
                m.d.sync += used.eq(~used)
        going = delayed(m, enable, valid, self.depth, "valid")
        banks = delayed(m, enable, used, 3, "bank")
        ends = delayed(m, enable, last & valid, 3, "last")

        steps = Steps(code=code)
        add(m, platform, "steps", steps)
        m.d.comb += [steps.address.eq(address), steps.enable.eq(enable)]
        word = steps.word
        start, end = word[-2], word[-1]
        tree = self.depth - 1                              # stage of the trees' outputs
        starts = delayed(m, enable, start, tree - 2, "start")
        stops = delayed(m, enable, end, self.depth - 2, "end")

        write = self._write(m, valid, used, ends[3] & enable, banks[3])
        results: list[Value] = []
        for n, sums in enumerate(self.sums):
            share = word[n * code.lane_bits : (n + 1) * code.lane_bits]
            self._lane(m, platform, n, share, banks[2], write, enable)
            add(m, platform, f"sums_{n}", sums)
            double = share[code.terms * code.term_bits]
            doubles = delayed(m, enable, double, tree - 2, f"double_{n}")
            m.d.comb += [
                sums.enable.eq(enable),
                sums.start.eq(starts[-1]),
                sums.double.eq(doubles[-1]),
            ]
            total: Value = sums.total << code.base
            if code.bias_bits:
                field = share[code.terms * code.term_bits + 1 :].as_signed()
                biases = delayed(m, enable, field, self.depth - 2, f"bias_{n}")
                total = total + biases[-1].as_signed()
            results.append(total)

        done, full = Signal(name="done"), Signal(name="full")
        held = Signal(self.format.layout, name="held", reset_less=True)
        m.d.comb += [
            done.eq(going[-1] & stops[-1]),
            enable.eq(~(done & full & ~self.o.ready)),
            self.o.valid.eq(full),
            self.o.payload.eq(held),
        ]
        with m.If(done & enable):
            m.d.sync += [full.eq(1), *(held[f"c{n}"].eq(value) for n, value in enumerate(results))]
        with m.Elif(self.o.ready):
            m.d.sync += full.eq(0)
        return m

    def _lane(self, m: Module, platform: Any, n: int, share: Value, bank: Value,
              write: tuple[Value, Value, Value], enable: Value) -> None:
        """Add the copies of the activations that a lane reads, and connect them to its sums."""
        code = self.code
        values = []
        for k in range(code.terms):
            copy = Activations(bits=self.bits, address_bits=code.address_bits + 2)
            add(m, platform, f"copy_{n}_{k}", copy)
            term = share[k * code.term_bits : (k + 1) * code.term_bits]
            m.d.comb += [
                copy.write.eq(write[0]),
                copy.write_address.eq(write[1]),
                copy.write_data.eq(write[2]),
                copy.address.eq(Cat(term[: code.address_bits + 1], bank)),
                copy.used.eq(term[-1]),
                copy.enable.eq(enable),
            ]
            values.append(copy.value)
        m.d.comb += self.sums[n].x.eq(Cat(*values))

    def _write(self, m: Module, valid: Signal, used: Signal, freed: Value,
               bank: Value) -> tuple[Value, Value, Value]:
        """Write each activation and its negative into the bank that is not read; return the port.

        A bank is free when the last step's activations have been read.
        """
        code, source = self.code, self.source
        full = Signal(2, name="bank_full")
        filled = Signal(name="bank_filled")
        number = Signal(range(code.inputs), name="activation")
        place = Signal(range(source.lanes), name="place")
        minus = Signal(name="minus")
        write, last = Signal(name="write"), Signal(name="last_place")
        shape = shape_of(min(*source.lo, 0), max(*source.hi, 0))
        values = [(value | Const(0, shape))[: shape.width] for value in
                  source.values(self.i.payload)]
        value = Signal(shape, name="value")
        if source.lanes > 1:
            with m.Switch(place):
                for n, one in enumerate(values):
                    with m.Case(n):
                        m.d.comb += value.eq(one)
        else:
            m.d.comb += value.eq(values[0])
        m.d.comb += [
            write.eq(self.i.valid & ~full.bit_select(filled, 1)),
            last.eq(place == source.lanes - 1),
            self.i.ready.eq(~full.bit_select(filled, 1) & minus & last),
            valid.eq(full.bit_select(used, 1)),
        ]
        with m.If(freed):
            m.d.sync += full.bit_select(bank, 1).eq(0)
        with m.If(write):
            m.d.sync += minus.eq(~minus)
            with m.If(minus):
                m.d.sync += place.eq(Mux(last, 0, place + 1))
                m.d.sync += number.eq(number + 1)
                with m.If(number == code.inputs - 1):
                    m.d.sync += [
                        number.eq(0),
                        filled.eq(~filled),
                        full.bit_select(filled, 1).eq(1),
                    ]
        # A register in front of the many copies; valid waits for it no longer than the pipeline.
        port = [Signal(name="write_later"),
                Signal(code.address_bits + 2, name="write_address"),
                Signal(self.bits, name="write_data")]
        m.d.sync += [
            port[0].eq(write),
            port[1].eq(Cat((number | Const(0, code.address_bits))[: code.address_bits],
                           minus, filled)),
            port[2].eq(Mux(minus, -value, value)),
        ]
        return port[0], port[1], port[2]


def delayed(m: Module, enable: Value, value: Value, count: int, name: str) -> list[Value]:
    """Return a value and its ``count`` registers, one behind the other."""
    found = [value]
    for n in range(count):
        later = Signal(len(value), name=f"{name}_{n + 1}")
        with m.If(enable):
            m.d.sync += later.eq(found[-1])
        found.append(later)
    return found
