"""A dense layer in time: weights in a memory, a few accumulators that shift and add.

One step a cycle; the stages behind the step counter::

    stage 0   step counters -> addresses of the weights and of the image's words
    stage 1   the memories' outputs
    stage 2   registers behind them: the codes of all lanes; the word's group of places
    stage 3   each lane: the place shifted by the code, inverted if the code is negative
    stage 4   each lane: accumulator + term, or bias + term if it is a slot's first step
    stage 5   at a slot's end all accumulators move to the output

See hwgen.stream.dense_code for the order of the steps and the words of the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import Array, Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.ranges import width_of
from hwgen.stream.beat import BeatFormat, shape_of
from hwgen.stream.control import hold
from hwgen.stream.dense_code import DenseCode
from hwgen.verilog import add


class Weights(wiring.Component):
    """The memory of encoded weights. Latency: 2 cycles from ``address`` to ``codes``, both under
    ``enable``.
    """

    latency = 2

    def __init__(self, *, code: DenseCode) -> None:
        self.code = code
        self.depth = code.slots * code.steps
        self.bits = code.lanes * code.terms * code.code_bits
        super().__init__(
            {"address": In(range(max(self.depth, 2))), "enable": In(1), "codes": Out(self.bits)}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rom = memory.Memory(shape=unsigned(self.bits), depth=self.depth, init=self.code.memory())
        m.submodules.rom = rom
        port = rom.read_port()
        held = Signal(self.bits, name="held", reset_less=True)
        m.d.comb += [port.addr.eq(self.address), port.en.eq(self.enable), self.codes.eq(held)]
        with m.If(self.enable):
            m.d.sync += held.eq(port.data)
        return m


class Lane(wiring.Component):
    """One accumulator: in a step, ``+-(x << shift)`` for each of ``terms`` places.

    Parameters
    ----------
    code : DenseCode
    place : Shape
        Of the codes x.
    total : Shape
        Of the accumulator; wide enough for every partial sum.

    Members
    -------
    x, codes : In, ``terms`` places and their weights' codes, the first lowest (stage 2).
    start, bias : In, the accumulator begins anew at ``bias`` (stage 3, a cycle behind x).
    enable : In. total : Out (stage 4).

    Latency: 2 cycles. Resources: a shifter and an adder a term.
    """

    latency = 2

    def __init__(self, *, code: DenseCode, place: Shape, total: Shape) -> None:
        self.code, self.place, self.shape = code, place, total
        super().__init__(
            {
                "x": In(code.terms * place.width),
                "codes": In(code.terms * code.code_bits),
                "start": In(1),
                "bias": In(total),
                "enable": In(1),
                "total": Out(total),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        total: Value = Signal(self.shape, name="base")
        m.d.comb += total.eq(Mux(self.start, self.bias, self.total))
        for n in range(self.code.terms):
            term, carry = self._term(m, n)
            # -p is ~p + 1; that 1 goes in as the adder's carry, one place below the sum.
            longer = Signal(signed(max(self.shape.width, len(term)) + 2), name=f"sum_{n}")
            m.d.comb += longer.eq(
                Cat(Const(1, 1), total).as_signed() + Cat(carry, term).as_signed()
            )
            total = longer[1:].as_signed()
        with m.If(self.enable):
            m.d.sync += self.total.eq(total)
        return m

    def _term(self, m: Module, n: int) -> tuple[Signal, Signal]:
        """Return registers for p or ~p, p = x << shift or 0, and whether 1 must be added."""
        code, width = self.code, self.place.width
        x = self.x[n * width : (n + 1) * width]
        x = x.as_signed() if self.place.signed else x
        bits = self.codes[n * code.code_bits : (n + 1) * code.code_bits]
        magnitude = bits[: code.magnitude_bits]
        shape = signed(width + code.base + code.exponents - 1 + (not self.place.signed))
        product = Signal(shape, name=f"product_{n}")
        # The magnitude is the shift + 1: shift by it and drop the lowest bit.
        shifted = (x << magnitude)[1:] if code.exponents > 1 else x
        shifted = shifted.as_signed() if self.place.signed else shifted
        with m.If(magnitude.any()):
            m.d.comb += product.eq(shifted << code.base)
        term = Signal(shape, name=f"term_{n}", reset_less=True)
        carry = Signal(name=f"carry_{n}", reset_less=True)
        minus = bits[-1] if code.signed else Const(0, 1)
        with m.If(self.enable):
            m.d.sync += [term.eq(Mux(minus, ~product, product)), carry.eq(minus)]
        return term, carry


class DenseRom(wiring.Component):
    """``y = weight x + bias`` over the words of one image, ``lanes`` outputs at a time.

    Parameters
    ----------
    code : DenseCode
        Weights in stream order, lanes and terms.
    bias : (outputs,) int64
    source : BeatFormat
        Of the words; ``source.beats`` of them are one image.
    format : BeatFormat
        Of the sums: ``code.lanes`` lanes, ``code.slots`` folds.

    Interval: ``interval`` cycles an image (slots * steps, or its words), if the output is taken in
    time. Latency: ``latency`` = steps + 5 cycles from an image's last word to its first sums.
    Resources: two images' words of buffer memory, the weights' memory, ``lanes`` accumulators.
    """

    def __init__(
        self, *, code: DenseCode, bias: Int64Array, source: BeatFormat, format: BeatFormat
    ) -> None:
        if (code.words, code.weight.shape[2]) != (source.beats, source.lanes):
            raise ValueError(
                f"{source.beats} words of {source.lanes} places needed, not {code.weight.shape[1:]}"
            )
        if (format.lanes, format.folds) != (code.lanes, code.slots):
            raise ValueError(
                f"{code.slots} folds of {code.lanes} lanes needed, not {format.folds} of "
                f"{format.lanes}"
            )
        self.code, self.bias, self.source, self.format = code, bias, source, format
        self.latency = code.steps + 5
        self.interval = max(code.interval, source.beats)
        self.place = shape_of(min(source.lo), max(source.hi))
        lo, hi = code.bounds(np.array(source.lo), np.array(source.hi), bias)
        self.totals = [
            signed(
                max(
                    width_of(
                        min(int(lo[n :: code.lanes].min()), -1), int(hi[n :: code.lanes].max())
                    )[0],
                    2,
                )
            )
            for n in range(code.lanes)
        ]
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        code = self.code
        enable = Signal(name="enable")
        marks = data.StructLayout(
            {
                "valid": 1,
                "start": 1,
                "end": 1,
                "last": 1,
                "slot": range(code.slots),
                "group": range(code.groups),
            }
        )
        stages = [Signal(marks, name=f"stage_{n}") for n in range(5)]
        word, address = (
            Signal(range(code.words), name="word"),
            Signal(range(code.interval), name="address"),
        )
        for before, after in zip(stages, stages[1:], strict=False):
            with m.If(enable):
                m.d.sync += after.eq(before)
        self._counters(m, stages[0], word, address, enable)
        line = self._buffer(m, stages[0], word, enable)
        places = Signal(code.terms * self.place.width, name="places", reset_less=True)
        with m.If(enable):
            m.d.sync += places.eq(self._places(line, stages[1].group))

        weights = Weights(code=code)
        add(m, platform, "weights", weights)
        m.d.comb += [weights.address.eq(address), weights.enable.eq(enable)]
        share = code.terms * code.code_bits
        sums = []
        for n, shape in enumerate(self.totals):
            lane = Lane(code=code, place=self.place, total=shape)
            add(m, platform, f"lane_{n}", lane)
            m.d.comb += [
                lane.x.eq(places),
                lane.codes.eq(weights.codes[n * share : (n + 1) * share]),
                lane.start.eq(stages[3].start),
                lane.enable.eq(enable),
            ]
            biases = self.bias[n :: code.lanes].tolist()
            if any(biases):
                bias = Signal(shape_of(min(biases), max(biases)), name=f"bias_{n}")
                m.d.comb += [bias.eq(Array([*biases, 0])[stages[3].slot]), lane.bias.eq(bias)]
            sums.append(lane.total)

        hold(m, self.o, enable, stages[4].valid & stages[4].end, sums)
        return m

    def _counters(self, m: Module, mark: Any, word: Signal, address: Signal, enable: Value) -> None:
        """Step through slot, word, group and pass, the last fastest, while an image is there."""
        code = self.code
        group, turn = (
            Signal(range(code.groups), name="group"),
            Signal(range(code.passes), name="pass"),
        )
        slot = Signal(range(code.slots), name="slot")
        m.d.comb += [
            mark.start.eq((word == 0) & (group == 0) & (turn == 0)),
            mark.end.eq(
                (word == code.words - 1) & (group == code.groups - 1) & (turn == code.passes - 1)
            ),
            mark.last.eq(mark.end & (slot == code.slots - 1)),
            mark.slot.eq(slot),
            mark.group.eq(group),
        ]
        carry: Value = enable & mark.valid
        with m.If(carry):
            m.d.sync += address.eq(Mux(mark.last, 0, address + 1))
        for counter, count in (
            (turn, code.passes),
            (group, code.groups),
            (word, code.words),
            (slot, code.slots),
        ):
            at_end = counter == count - 1
            with m.If(carry):
                m.d.sync += counter.eq(Mux(at_end, 0, counter + 1))
            carry = carry & at_end

    def _buffer(self, m: Module, mark: Any, word: Signal, enable: Value) -> Any:
        """Two banks, an image each: one is filled while the other is read. Return the word read."""
        bits = len(word)
        lines = memory.Memory(shape=unsigned(self.source.bits), depth=2 << bits, init=[])
        m.submodules.words = lines
        write, read = lines.write_port(), lines.read_port()
        full = Signal(2, name="bank_full")
        filled, used = Signal(name="bank_filled"), Signal(name="bank_used")
        place = Signal(range(self.code.words), name="place")
        m.d.comb += [
            self.i.ready.eq(~Mux(filled, full[1], full[0])),
            write.en.eq(self.i.valid & self.i.ready),
            write.addr.eq(Cat(place, filled)),
            write.data.eq(self.i.payload),
            read.en.eq(enable),
            read.addr.eq(Cat(word, used)),
            mark.valid.eq(Mux(used, full[1], full[0])),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += place.eq(place + 1)
            with m.If(place == self.code.words - 1):
                m.d.sync += [place.eq(0), filled.eq(~filled), full.bit_select(filled, 1).eq(1)]
        with m.If(enable & mark.valid & mark.last):
            m.d.sync += [used.eq(~used), full.bit_select(used, 1).eq(0)]
        return data.View(self.source.layout, read.data)

    def _places(self, line: Any, group: Signal) -> Value:
        """Return the ``terms`` places of a group, each in the common shape."""
        code, values = self.code, self.source.values(line)
        picked = []
        for n in range(code.terms):
            choices = []
            for g in range(code.groups):
                place = g * code.terms + n
                value = values[place] if place < len(values) else Const(0, 1)
                choices.append(extended(value, self.place))
            picked.append(choices[0] if code.groups == 1 else Array(choices)[group])
        return Cat(*picked)


def extended(value: Value, shape: Shape) -> Value:
    """Return ``value``, extended by its own sign, in exactly the bits of ``shape``."""
    return (value | Const(0, shape))[: shape.width]
