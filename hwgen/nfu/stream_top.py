"""The NFU with the ports of a streaming engine: program and weights in its memory from the start,
pixels in, results out."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ChipMemory
from hwgen.layers import ArgMax
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.nfu.core import Core
from hwgen.nfu.estimate import estimate
from hwgen.nfu.feed import Drain, Feed, image_format, readings, result_format
from hwgen.stream.frame import FrameGuard, FrameOut, whole_bytes
from hwgen.verilog import add


class StreamTop(wiring.Component):
    """An NFU that holds its program and runs it for each image that comes.

    Parameters: program, of a Config that is ``streamed``; network, that it was made of.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast : AXI4-Stream of pixels
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast : AXI4-Stream of results
        Both as those of ``hwgen.stream.top.StreamTop``.
    frame_error : Out
        Sticky: a ``tlast`` came in the wrong place, or the program stopped with a fault.

    Attributes: interval, latency, cycles as of that one. An image enters when the result of the one
    before has left.
    """

    def __init__(self, *, program: Program, network: Network) -> None:
        (region,) = program.inputs
        config = program.config
        bits, words = 8 * config.word_bytes, config.memory_bytes // config.word_bytes
        self.program, self.bits, self.words = program, bits, words
        self.input, self.output = image_format(network), result_format(network)
        self.feed = Feed(region=region, format=self.input, word_bits=bits,
                         act_bits=config.act_bits)
        self.drain = Drain(readings=readings(program, network, self.output), format=self.output,
                           words=words, word_bits=bits)
        # A result is offered ``drain.cycles`` after the program's end or the one before was taken;
        # a cycle after the last one the next image may enter.
        self.latency = (self.feed.cycles + estimate(program).cycles
                        + self.output.beats * self.drain.cycles)
        self.interval = self.latency + 1
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
        core = Core(config=self.program.config, weights=self.program.weights)
        guard, out = FrameGuard(format=self.input), FrameOut(format=self.output)
        memory = ChipMemory(word_bits=self.bits, words=self.words, image=self.program.image)
        feed, drain = self.feed, self.drain
        parts = {"core": core, "memory": memory, "guard": guard, "feed": feed, "drain": drain,
                 "out": out}
        if feed.window is not None:
            parts["window"] = feed.window
        for name, part in parts.items():
            add(m, platform, name, part)
        wiring.connect(m, core.memory, memory.runs)
        wiring.connect(m, drain.o, out.i)
        for part, prefix in ((guard, "s_axis"), (out, "m_axis")):
            for name in ("tdata", "tvalid", "tready", "tlast"):
                inner, outer = getattr(part, name), getattr(self, f"{prefix}_{name}")
                into = part.signature.members[name].flow is In
                m.d.comb += inner.eq(outer) if into else outer.eq(inner)
        m.d.comb += [
            memory.poke.eq(feed.valid), memory.poke_address.eq(feed.address),
            memory.poke_data.eq(feed.data), memory.poke_mask.eq(~0),
            memory.peek.eq(drain.peek), memory.peek_address.eq(drain.address),
            drain.data.eq(memory.peek_data),
        ]
        self._run(m, core, guard)
        return m

    def _run(self, m: Module, core: Core, guard: FrameGuard) -> None:
        """Let an image in, run the program, let the result out."""
        feed, drain = self.feed, self.drain
        first: Any = feed if feed.window is None else feed.window
        if feed.window is not None:
            wiring.connect(m, feed.window.o, feed.i)
        beats = Signal(range(self.input.beats), name="beats")
        opened, taken = Signal(name="opened", init=1), Signal(name="taken")
        stored, faulty = Signal(name="stored"), Signal(name="faulty")
        m.d.comb += [
            first.i.valid.eq(guard.o.valid & opened), first.i.payload.eq(guard.o.payload),
            guard.o.ready.eq(first.i.ready & opened), taken.eq(guard.o.valid & guard.o.ready),
            self.frame_error.eq(guard.frame_error | faulty),
        ]
        last_pixel = taken & (beats == self.input.beats - 1)
        last_word = feed.valid & feed.last
        with m.If(taken):
            m.d.sync += beats.eq(beats + 1)
        with m.If(last_pixel):
            m.d.sync += [opened.eq(0), beats.eq(0)]
        with m.If(last_word):
            m.d.sync += stored.eq(1)
        with m.If(core.status.done & (core.status.fault != 0)):
            m.d.sync += faulty.eq(1)
        with m.FSM(name="state"):
            with m.State("FILL"):
                with m.If((last_pixel | ~opened) & (last_word | stored)):
                    m.d.comb += core.start.eq(1)
                    m.d.sync += stored.eq(0)
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(core.status.done):
                    m.d.comb += drain.start.eq(1)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(drain.done):
                    m.d.sync += opened.eq(1)
                    m.next = "FILL"
