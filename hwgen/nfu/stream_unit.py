"""One NFU that holds its program: pixels of an image in, its results out, over and over."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ChipMemory
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.nfu.core import Core
from hwgen.nfu.estimate import estimate
from hwgen.nfu.feed import Drain, Feed, image_format, readings, result_format
from hwgen.verilog import add


class StreamUnit(wiring.Component):
    """An NFU, its memory, and what fills and empties it.

    Parameters: program, of a Config that is ``streamed``; network, that it was made of.

    Members
    -------
    i : In(stream), pixels in raster order, whole images.
    o : Out(stream), results.
    fault : Out, sticky: the program stopped with a fault.

    Attributes: latency, cycles from the first pixel taken to the last result given, where nothing
    waits; the next image's first pixel may enter in the next cycle. filling, emptying: those of
    them in which pixels are taken, and from the program's end on.
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
        # A result is offered ``drain.cycles`` after the program's end or the one before was taken.
        self.filling, self.emptying = self.feed.cycles, self.output.beats * self.drain.cycles
        self.latency = self.filling + estimate(program).cycles + self.emptying
        super().__init__({"i": In(self.input.signature), "o": Out(self.output.signature),
                          "fault": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = Core(config=self.program.config, weights=self.program.weights)
        memory = ChipMemory(word_bits=self.bits, words=self.words, image=self.program.image)
        feed, drain = self.feed, self.drain
        parts = {"core": core, "memory": memory, "feed": feed, "drain": drain}
        if feed.window is not None:
            parts["window"] = feed.window
        for name, part in parts.items():
            add(m, platform, name, part)
        wiring.connect(m, core.memory, memory.runs)
        wiring.connect(m, drain.o, wiring.flipped(self.o))
        m.d.comb += [
            memory.poke.eq(feed.valid), memory.poke_address.eq(feed.address),
            memory.poke_data.eq(feed.data), memory.poke_mask.eq(~0),
            memory.peek.eq(drain.peek), memory.peek_address.eq(drain.address),
            drain.data.eq(memory.peek_data),
        ]
        self._run(m, core)
        return m

    def _run(self, m: Module, core: Core) -> None:
        """Let an image in, run the program, let the result out."""
        feed, drain = self.feed, self.drain
        first: Any = feed if feed.window is None else feed.window
        if feed.window is not None:
            wiring.connect(m, feed.window.o, feed.i)
        beats = Signal(range(self.input.beats), name="beats")
        opened, taken = Signal(name="opened", init=1), Signal(name="taken")
        stored = Signal(name="stored")
        m.d.comb += [
            first.i.valid.eq(self.i.valid & opened), first.i.payload.eq(self.i.payload),
            self.i.ready.eq(first.i.ready & opened), taken.eq(self.i.valid & self.i.ready),
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
            m.d.sync += self.fault.eq(1)
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
