# amaranth: UnusedElaboratable=no
"""A dense layer in time without shifters: every term of a lane reads its own activation.

Each term has its own copy of the image's activations in a block RAM, with their negatives or, where
that saves blocks, without (then a negative term is inverted on the way, and the bias has what
lacks); the memory of steps says which one it takes. One step a cycle; the stages behind the
step counter::

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
from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.ranges import width_of
from hwgen.stream.beat import BeatFormat
from hwgen.stream.pick_code import PickCode
from hwgen.stream.pick_lanes import Copies, Walk, add_lanes
from hwgen.stream.pick_parts import Sums, delayed, term_shapes, write_port


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
        self.bits, self.stored = term_shapes(lo, hi, code.inverts)
        self.each = code.writes * source.lanes  # cycles that a word takes
        self.totals = [
            max(width_of(min(low, -1), high)[0], 4)
            for low, high in zip(*(b.tolist() for b in code.bounds(lo, hi)), strict=True)
        ]
        self.sums = [
            Sums(terms=code.terms, bits=self.bits, total=total) for total in self.totals
        ]
        self.depth = 4 + self.sums[0].latency  # stage of the lanes' totals
        self.interval = code.interval
        # From the last word: it is written, then the first slot.
        self.latency = self.each + int(code.slot_ends[0]) + self.depth
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def take(
        self, offered: Int64Array, ready: tuple[int, int] | None = None
    ) -> tuple[Int64Array, tuple[int, int]]:
        """Return when each word of an image is taken, given when it is offered.

        Parameters and second result: ready, the first cycles in which a word can be taken, and in
        which the bank that comes after this image's is free.
        """
        ready = ready or (0, 0)
        each, now, taken = self.each, ready[0], []
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
        banks = delayed(m, enable, used, 3, "bank")
        ends = delayed(m, enable, last & valid, 3, "last")
        copies = Copies(
            code.address_bits + 1, 1, self._write(m, valid, used, ends[3] & enable, banks[3]),
            lambda name, term: Cat(term, banks[2]),
        )
        add_lanes(m, platform, self, Walk(enable, address, valid), copies)
        return m

    def _write(self, m: Module, valid: Signal, used: Signal, freed: Value,
               bank: Value) -> list[Signal]:
        """Write the activations into the bank that is not read; return the port of the copies.

        A bank is free when the last step's activations have been read.
        """
        code = self.code
        full, filled = Signal(2, name="bank_full"), Signal(name="bank_filled")
        number = Signal(range(code.inputs), name="activation")
        free = Signal(name="bank_free", init=1)              # of the bank that is filled
        writer = write_port(m, self, self.i, free, Cat((number | Const(0, code.address_bits))[
            : code.address_bits], filled))
        m.d.comb += valid.eq(full.bit_select(used, 1))
        with m.If(freed):
            m.d.sync += full.bit_select(bank, 1).eq(0)
        with m.If(free | (freed & (bank == filled))):
            m.d.sync += free.eq(1)
        with m.If(writer.done):
            m.d.sync += number.eq(number + 1)
            with m.If(number == code.inputs - 1):
                m.d.sync += [
                    number.eq(0), filled.eq(~filled), full.bit_select(filled, 1).eq(1),
                    free.eq(~full.bit_select(~filled, 1) | (freed & (bank != filled))),
                ]
        return writer.port
