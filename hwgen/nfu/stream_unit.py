"""One NFU that holds its program: pixels of an image in, its results out, over and over.

    i ─► SkidBuffer ─► [Window] ─► Feed ─► register ─► memory ─► Drain ─► o

No path of a cycle goes through: NFUs side by side lie far from the ports that they share.
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ChipMemory
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.nfu.core import Core
from hwgen.nfu.estimate import estimate
from hwgen.nfu.feed import Drain, Feed, image_format, readings, result_format
from hwgen.stream.control import SkidBuffer
from hwgen.verilog import add

REGISTERS = 2                 # cycles: the buffer in front, and what says that all has been written


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
        self.latency = self.filling + REGISTERS + estimate(program).cycles + self.emptying
        super().__init__({"i": In(self.input.signature), "o": Out(self.output.signature),
                          "fault": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = Core(config=self.program.config, weights=self.program.weights)
        memory = ChipMemory(word_bits=self.bits, words=self.words, image=self.program.image)
        feed, drain = self.feed, self.drain
        pixels = SkidBuffer(shape=self.input.layout)
        parts = {"core": core, "memory": memory, "pixels": pixels, "feed": feed, "drain": drain}
        if feed.window is not None:
            parts["window"] = feed.window
        for name, part in parts.items():
            add(m, platform, name, part)
        wiring.connect(m, core.memory, memory.runs)
        wiring.connect(m, drain.o, wiring.flipped(self.o))
        for name in ("address", "data"):
            held = Signal.like(getattr(feed, name), name=f"poke_{name}", reset_less=True)
            m.d.sync += held.eq(getattr(feed, name))
            m.d.comb += getattr(memory, f"poke_{name}").eq(held)
        poke = Signal(name="poke")
        m.d.sync += poke.eq(feed.valid)
        m.d.comb += [
            memory.poke.eq(poke), memory.poke_mask.eq(~0),
            memory.peek.eq(drain.peek), memory.peek_address.eq(drain.address),
            drain.data.eq(memory.peek_data),
        ]
        self._run(m, core, pixels)
        return m

    def _run(self, m: Module, core: Core, pixels: SkidBuffer) -> None:
        """Let an image in, run the program, let the result out."""
        feed, drain = self.feed, self.drain
        first: Any = feed if feed.window is None else feed.window
        if feed.window is not None:
            wiring.connect(m, feed.window.o, feed.i)
        wiring.connect(m, pixels.o, first.i)
        # After a reset a window walks its padding first; a pixel would wait for that in the buffer.
        opened = Signal(name="opened", init=feed.window is None)
        m.d.comb += [
            pixels.i.valid.eq(self.i.valid & opened), pixels.i.payload.eq(self.i.payload),
            self.i.ready.eq(pixels.i.ready & opened),
        ]
        with m.If(self._last(m, "in", self.i.valid & self.i.ready)):
            m.d.sync += opened.eq(0)
        # ``passed``: the last pixel is out of the buffer; ``stored``: the last word is written.
        passed, stored = Signal(name="passed"), Signal(name="stored")
        with m.If(self._last(m, "passed", pixels.o.valid & pixels.o.ready)):
            m.d.sync += passed.eq(1)
        with m.If(feed.valid & feed.last):
            m.d.sync += stored.eq(1)
        with m.If(core.status.done & (core.status.fault != 0)):
            m.d.sync += self.fault.eq(1)
        with m.FSM(name="state"):
            if feed.window is not None:
                with m.State("WAKE"), m.If(feed.window.i.ready):
                    m.d.sync += opened.eq(1)
                    m.next = "FILL"
            with m.State("FILL"):
                with m.If(passed & stored):
                    m.d.comb += core.start.eq(1)
                    m.d.sync += [passed.eq(0), stored.eq(0)]
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(core.status.done):
                    m.d.comb += drain.start.eq(1)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(drain.done):
                    m.d.sync += opened.eq(1)
                    m.next = "FILL"

    def _last(self, m: Module, place: str, taken: Value) -> Value:
        """Count an image's pixels where they pass; return that this one is the last."""
        beat = Signal(range(self.input.beats), name=f"beat_{place}")
        last = Signal(name=f"last_{place}")
        m.d.comb += last.eq(taken & (beat == self.input.beats - 1))
        with m.If(taken):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        return last
