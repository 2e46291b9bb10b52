"""NFUs with the ports of a streaming engine: program and weights in their memory from the start,
pixels in, results out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import ArgMax
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.nfu.stream_unit import StreamUnit
from hwgen.stream.frame import FrameGuard, FrameOut, whole_bytes
from hwgen.verilog import add


class StreamTop(wiring.Component):
    """One NFU or several, each of which holds the program and runs it for the images dealt to it.

        s_axis ─► FrameGuard ─► NFU 0, 1, .. in turn ─► FrameOut ─► m_axis

    Parameters: program, of a Config that is ``streamed``, which says how many NFUs; network, that
    it was made of.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast : AXI4-Stream of pixels
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast : AXI4-Stream of results
        Both as those of ``hwgen.stream.top.StreamTop``.
    frame_error : Out
        Sticky: a ``tlast`` came in the wrong place, or a program stopped with a fault.

    Attributes: interval, latency, cycles as of that one. An image enters an NFU when the result of
    the one before has left it, and no sooner than an interval after the image dealt before, so that
    results come evenly.
    """

    def __init__(self, *, program: Program, network: Network) -> None:
        cores = program.config.cores
        self.units = [StreamUnit(program=program, network=network) for _ in range(cores)]
        unit = self.units[0]
        self.input, self.output, self.latency = unit.input, unit.output, unit.latency
        # One port for the pixels of all, and one for all results.
        self.interval = max(-(-(unit.latency + 1) // cores), unit.filling, unit.emptying)
        self.names = [f"score_{n}" for n in range(self.output.lanes)]
        if isinstance(network.output, ArgMax):
            self.names = ["class", *self.names[:-1]]
        super().__init__({
            "s_axis_tdata": In(whole_bytes(self.input.bits)), "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1), "s_axis_tlast": In(1),
            "m_axis_tdata": Out(whole_bytes(self.output.bits)), "m_axis_tvalid": Out(1),
            "m_axis_tready": In(1), "m_axis_tlast": Out(1),
            "frame_error": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        guard, out = FrameGuard(format=self.input), FrameOut(format=self.output)
        units = {f"nfu_{n}": unit for n, unit in enumerate(self.units)}
        for name, part in {"guard": guard, "out": out, **units}.items():
            add(m, platform, name, part)
        for part, prefix in ((guard, "s_axis"), (out, "m_axis")):
            for name in ("tdata", "tvalid", "tready", "tlast"):
                inner, outer = getattr(part, name), getattr(self, f"{prefix}_{name}")
                into = part.signature.members[name].flow is In
                m.d.comb += inner.eq(outer) if into else outer.eq(inner)
        faults = Cat(unit.fault for unit in self.units)
        m.d.comb += self.frame_error.eq(guard.frame_error | faults.any())
        if len(self.units) == 1:
            wiring.connect(m, guard.o, self.units[0].i)
            wiring.connect(m, self.units[0].o, out.i)
        else:
            deal(m, guard.o, [unit.i for unit in self.units], beats=self.input.beats,
                 interval=self.interval)
            collect(m, [unit.o for unit in self.units], out.i, beats=self.output.beats)
        return m


def deal(m: Module, source: Any, targets: Sequence[Any], *, beats: int, interval: int) -> None:
    """Give each frame of ``beats`` beats to the next target, the first beats of two frames at least
    ``interval`` cycles apart.
    """
    turn, beat = _turn(m, "in", source, len(targets), beats)
    rest = Signal(range(interval), name="rest")
    may = Signal(name="may")
    m.d.comb += may.eq((beat != 0) | (rest == 0))
    with m.If(rest != 0):
        m.d.sync += rest.eq(rest - 1)
    with m.If(source.valid & source.ready & (beat == 0)):
        m.d.sync += rest.eq(interval - 1)
    m.d.comb += source.ready.eq(Array(target.ready for target in targets)[turn] & may)
    for n, target in enumerate(targets):
        m.d.comb += [target.valid.eq(source.valid & may & (turn == n)),
                     target.payload.eq(source.payload)]


def collect(m: Module, sources: Sequence[Any], target: Any, *, beats: int) -> None:
    """Take a frame of ``beats`` beats from each source in turn."""
    turn, _ = _turn(m, "out", target, len(sources), beats)
    m.d.comb += [
        target.valid.eq(Array(source.valid for source in sources)[turn]),
        target.payload.as_value().eq(
            Array(source.payload.as_value() for source in sources)[turn]),
    ]
    for n, source in enumerate(sources):
        m.d.comb += source.ready.eq(target.ready & (turn == n))


def _turn(m: Module, side: str, port: Any, count: int, beats: int) -> tuple[Signal, Signal]:
    """Count frames that go over a port, and their beats: whose turn it is, and which beat."""
    turn = Signal(range(count), name=f"turn_{side}")
    beat = Signal(range(beats), name=f"beat_{side}")
    last = Signal(name=f"last_{side}")
    m.d.comb += last.eq(beat == beats - 1)
    with m.If(port.valid & port.ready):
        m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        with m.If(last):
            m.d.sync += turn.eq(Mux(turn == count - 1, 0, turn + 1))
    return turn, beat
