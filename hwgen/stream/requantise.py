"""Accumulators to codes: scale, round, shift, clip."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.adders.csd import csd_digits
from hwgen.layers import Requantise as RequantiseLayer
from hwgen.layers import int64
from hwgen.stream.beat import BeatFormat, shape_of
from hwgen.stream.control import pipeline
from hwgen.verilog import BLOCK

TABLE = 16  # constants of a lane from which they lie in a block RAM


def digits_of(value: int) -> list[tuple[int, bool]]:
    """Return (shift, negative) of each nonzero signed digit of an integer, the largest first."""
    _, shifts, signs = csd_digits(int64([value]))
    return sorted(zip(shifts.tolist(), (signs < 0).tolist(), strict=True), reverse=True)


def half(shift: int) -> int:
    """Return what rounding adds before a shift: 2**(shift - 1), or 0."""
    return (1 << shift) >> 1


def clipped(value: Value, lo: int, hi: int, least: int, most: int) -> Value:
    """Return ``value``, which lies in least..most, clipped to lo..hi, with only the comparisons
    needed.
    """
    chosen = value
    if least < lo:
        chosen = Mux(value < lo, lo, chosen)
    if most > hi:
        chosen = Mux(value > hi, hi, chosen)
    return chosen


def same_beats(source: BeatFormat, format: BeatFormat) -> None:
    """Raise ValueError unless two streams have the same folds and lanes."""
    if (source.folds, source.lanes) != (format.folds, format.lanes):
        raise ValueError(
            f"{source.folds} folds of {source.lanes} lanes needed on both sides, not "
            f"{format.folds} of {format.lanes}"
        )


class Requantise(wiring.Component):
    """``y = clip((x * multiplier + offset + half) >> shift, lo, hi)``, channel by channel.

    Parameters
    ----------
    layer : hwgen.layers.Requantise
        Its parameters; channels that share a lane must have the same multiplier and shift.
    source, format : BeatFormat
        Of the accumulators and of the codes; the same folds.
    straight : bool
        As of hwgen.stream.control.pipeline.

    Latency: 2 cycles, one more for each signed digit of the multiplier beyond the first, and one
    more behind a memory of constants. Throughput: 1 beat a cycle.
    Resources a lane: one adder a digit, two comparators at most.
    """

    def __init__(
        self, *, layer: RequantiseLayer, source: BeatFormat, format: BeatFormat,
        straight: bool = False,
    ) -> None:
        same_beats(source, format)
        self.layer, self.source, self.format = layer, source, format
        self.straight = straight
        if not lanes_agree(layer, source.lanes):
            raise ValueError("Channels that share a lane must have one multiplier and one shift")
        most = max(len(digits_of(int(value))) for value in layer.multiplier)
        self.tabled = source.folds >= TABLE
        self.latency = 1 + max(most, 1) + self.tabled
        self.interval = format.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        taken: Any = self.i
        if self.tabled:  # the memory's output is not valid in the first cycle
            primed = Signal(name="primed")
            taken = self.source.signature.create(path=("taken",))
            m.d.sync += primed.eq(1)
            m.d.comb += [
                taken.valid.eq(self.i.valid & primed),
                taken.payload.eq(self.i.payload),
                self.i.ready.eq(taken.ready & primed),
            ]
        enable = pipeline(m, taken, self.o, self.latency, self.straight)
        fold = Signal(range(self.source.folds), name="fold")
        self.following = Signal.like(fold, name="next_fold")
        m.d.comb += self.following.eq(fold)
        if self.source.folds > 1:
            with m.If(taken.valid & taken.ready):
                m.d.comb += self.following.eq(Mux(fold == self.source.folds - 1, 0, fold + 1))
        m.d.sync += fold.eq(self.following)
        for lane, value in enumerate(self.source.values(self.i.payload)):
            m.d.comb += self.o.payload[f"c{lane}"].eq(self._lane(m, lane, value, fold, enable))
        return m

    def _table(self, m: Module, lane: int, constants: list[int], shape: Shape) -> Value:
        """Return the constant of this fold from a memory, read a cycle ahead."""
        mask = (1 << shape.width) - 1
        rom = memory.Memory(shape=unsigned(shape.width), depth=len(constants),
                            init=[value & mask for value in constants])
        m.submodules[f"{BLOCK}constants_{lane}"] = rom
        port = rom.read_port()
        m.d.comb += [port.addr.eq(self.following), port.en.eq(1)]
        return port.data.as_signed() if shape.signed else port.data

    def _lane(self, m: Module, lane: int, x: Value, fold: Signal, enable: Value) -> Value:
        layer, lanes = self.layer, self.source.lanes
        shift = int(layer.shift[lane])
        constants = [int(value) + half(shift) for value in layer.offset[lane::lanes]]
        constants += [0] * (self.source.folds - len(constants))
        multiplier = int(layer.multiplier[lane])
        lo, hi = self.source.lo[lane], self.source.hi[lane]
        digits = digits_of(multiplier) or [(0, False)]
        if multiplier == 0:
            x, lo, hi = Value.cast(0), 0, 0
        # Level n holds the sum of the constant and the first n digits' products, and x for the next
        # one.
        constant = Signal(shape_of(min(constants), max(constants)), name=f"constant_{lane}")
        if len(set(constants)) == 1:
            m.d.comb += constant.eq(constants[0])
        elif len(constants) >= TABLE:
            m.d.comb += constant.eq(self._table(m, lane, constants, constant.shape()))
        else:
            with m.Switch(fold):
                for n, value in enumerate(constants):
                    with m.Case(n):
                        m.d.comb += constant.eq(value)
        if self.tabled:  # a block RAM's output is late
            early, late = Signal.like(constant, name=f"constant_{lane}_held"), x
            x = Signal(self.source.shapes[lane], name=f"x_{lane}_held", reset_less=True)
            with m.If(enable):
                m.d.sync += [early.eq(constant), x.eq(late)]
            constant = early
        total: Value = constant
        factor, base = 0, (min(constants), max(constants))
        for level in range(1, self.latency - self.tabled):
            if level <= len(digits):
                power, negative = digits[level - 1]
                factor += -(1 << power) if negative else 1 << power
                term = x << power
                total = total - term if negative else total + term
            least = base[0] + min(factor * lo, factor * hi)
            most = base[1] + max(factor * lo, factor * hi)
            held = Signal(shape_of(least, most), name=f"sum_{lane}_{level}", reset_less=True)
            with m.If(enable):
                m.d.sync += held.eq(total)
            total = held
            if level < len(digits):
                later = Signal.like(x, name=f"x_{lane}_{level}", reset_less=True)
                with m.If(enable):
                    m.d.sync += later.eq(x)
                x = later
        least, most = least >> shift, most >> shift
        code = Signal(self.format.shapes[lane], name=f"code_{lane}", reset_less=True)
        with m.If(enable):
            m.d.sync += code.eq(clipped(total >> shift, layer.lo, layer.hi, least, most))
        return code


def lanes_agree(layer: RequantiseLayer, lanes: int) -> bool:
    """Tell whether channels ``lanes`` apart have the same multiplier and shift, so that a lane can
    serve them.
    """
    return all(
        (values[n::lanes] == values[n]).all()
        for values in (layer.multiplier, layer.shift)
        for n in range(min(lanes, values.size))
    )
