"""Blocks of memory to the buffers and back: the units that execute LOAD and STORE."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ADDRESS_BITS, LENGTH_BITS, MemorySignature
from hwgen.nfu.compute import fill_layout
from hwgen.nfu.config import Config
from hwgen.nfu.isa import Buffer
from hwgen.verilog import add

BLOCK = data.StructLayout({"address": ADDRESS_BITS, "cols": LENGTH_BITS, "rows": 16, "planes": 16,
                           "row_pitch": 32, "plane_pitch": 32})
QUEUE = 8                     # words on their way out of NBout


class BlockWalk(wiring.Component):
    """Rows of a block, one run of words after the other.

    Members
    -------
    start : In, with block. busy : Out. fault : Out, one cycle: an address that is no word's, or is
    beyond the memory; the walk ends there.
    valid, ready, address, length : a run, address in words.

    Timing: the first run 2 cycles behind ``start``, others 2 cycles behind the one before, if that
    is taken at once.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        self.low = (config.word_bytes - 1).bit_length()
        super().__init__({
            "start": In(1), "block": In(BLOCK), "busy": Out(1), "fault": Out(1),
            "valid": Out(1), "ready": In(1), "address": Out(ADDRESS_BITS - self.low),
            "length": Out(LENGTH_BITS),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        block = Signal(BLOCK, name="held")
        at, plane_at = Signal(ADDRESS_BITS, name="at"), Signal(ADDRESS_BITS, name="plane_at")
        row, plane = Signal(16, name="row"), Signal(16, name="plane")
        looked = Signal(name="looked")
        end = Signal(ADDRESS_BITS - self.low + 1, name="behind")
        limit = (self.config.memory_bytes or 1 << ADDRESS_BITS) >> self.low
        wrong = Signal(name="wrong")
        last_row = Signal(name="last_row")
        m.d.comb += [
            wrong.eq((at[: self.low] != 0) | (end > limit)),
            last_row.eq(row + 1 == block.rows),
            end.eq(at[self.low :] + block.cols),
            self.address.eq(at >> self.low), self.length.eq(block.cols),
        ]
        m.d.sync += self.fault.eq(0)
        with m.If(self.start):
            m.d.sync += [block.eq(self.block), at.eq(self.block.address),
                         plane_at.eq(self.block.address), row.eq(0), plane.eq(0), looked.eq(0),
                         self.busy.eq(1)]
        with m.Elif(self.busy & ~looked):
            m.d.sync += looked.eq(1)
            with m.If(wrong):
                m.d.sync += [self.fault.eq(1), self.busy.eq(0), looked.eq(0)]
        with m.Elif(self.valid & self.ready):
            m.d.sync += [looked.eq(0), row.eq(row + 1), at.eq(at + block.row_pitch)]
            with m.If(last_row):
                m.d.sync += [row.eq(0), plane.eq(plane + 1), at.eq(plane_at + block.plane_pitch),
                             plane_at.eq(plane_at + block.plane_pitch)]
                with m.If(plane + 1 == block.planes):
                    m.d.sync += self.busy.eq(0)
        m.d.comb += self.valid.eq(self.busy & looked)
        return m


class Loader(wiring.Component):
    """Reads a block, word by word: into a buffer, or for the one who fetches instructions.

    Members
    -------
    start : In, with block, buffer, line and fetch. busy : Out. runs : to memory.
    word_valid, word : Out, a word that was fetched. fill : Out, a word for a buffer.
    fault : Out, an address; overflow : Out, a line beyond the buffer.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        signature = MemorySignature(word_bits=8 * config.word_bytes)
        reading = {name: member for name, member in signature.members.items()
                   if name.startswith("read_") or name.startswith("data")}
        super().__init__({
            "start": In(1), "block": In(BLOCK), "buffer": In(3), "line": In(16), "fetch": In(1),
            "busy": Out(1), "runs": Out(wiring.Signature(reading)),
            "word_valid": Out(1), "word": Out(8 * config.word_bytes),
            "fill": Out(fill_layout(config)), "fault": Out(1), "overflow": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, port = self.config, self.runs
        walk = BlockWalk(config=config)
        add(m, platform, "walk", walk)
        waiting = Signal(24, name="waiting")               # words asked for, not here yet
        asked = walk.valid & walk.ready
        m.d.comb += [
            walk.start.eq(self.start), walk.block.eq(self.block),
            port.read_valid.eq(walk.valid & ~waiting[-1]),
            walk.ready.eq(port.read_ready & ~waiting[-1]),
            port.read_address.eq(walk.address), port.read_length.eq(walk.length),
            self.busy.eq(walk.busy | (waiting != 0)), self.fault.eq(walk.fault),
        ]
        m.d.sync += waiting.eq(waiting + Mux(asked, walk.length, 0) - port.data_valid)
        fetch, buffer = Signal(name="fetch_held"), Signal(3, name="buffer_held")
        line, place = Signal(17, name="at_line"), Signal(len(self.fill.word), name="at_word")
        with m.If(self.start):
            m.d.sync += [fetch.eq(self.fetch), buffer.eq(self.buffer), line.eq(self.line),
                         place.eq(0)]
            with m.If(self.buffer == Buffer.TAPS):         # its lines are taps, several a word
                m.d.sync += line.eq(self.line >> (config.taps_in_word - 1).bit_length())
        m.d.comb += [self.word.eq(port.data), self.word_valid.eq(port.data_valid & fetch),
                     self.fill.data.eq(port.data), self.fill.word.eq(place)]
        kinds = {
            Buffer.NBIN: ("nbin", 1, config.nbin_lines),
            Buffer.SB: ("sb", config.sb_words, config.sb_lines),
            Buffer.TAPS: ("taps", 1, config.tap_count // config.taps_in_word),
            Buffer.PARAMETERS: ("parameters", config.par_words, config.par_lines),
            Buffer.TABLE: ("table", config.entry_words, 16),
        }
        whole, beyond = Signal(name="whole"), Signal(name="beyond")
        with m.Switch(buffer):
            for kind, (name, words, lines) in kinds.items():
                with m.Case(int(kind)):
                    m.d.comb += [
                        whole.eq(place == words - 1), beyond.eq(line >= lines),
                        getattr(self.fill, name).eq(port.data_valid & ~fetch & ~beyond),
                    ]
        m.d.comb += [self.fill.line.eq(line),
                     self.overflow.eq(port.data_valid & ~fetch & beyond)]
        with m.If(port.data_valid & ~beyond):
            m.d.sync += [place.eq(Mux(whole, 0, place + 1)), line.eq(line + whole)]
        return m


class Storer(wiring.Component):
    """Writes lines of NBout's codes to a block of memory.

    Members
    -------
    start : In, with block and line. busy : Out. runs : to memory.
    read_line : Out, codes : In, NBout, 1 cycle behind. fault : Out, an address.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        signature = MemorySignature(word_bits=8 * config.word_bytes)
        writing = {name: member for name, member in signature.members.items()
                   if name.startswith("w")}
        super().__init__({
            "start": In(1), "block": In(BLOCK), "line": In(16), "busy": Out(1),
            "runs": Out(wiring.Signature(writing)), "read_line": Out(range(config.nbout_lines)),
            "codes": In(8 * config.word_bytes), "fault": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, port = self.config, self.runs
        walk = BlockWalk(config=config)
        add(m, platform, "walk", walk)
        queue = fifo.SyncFIFOBuffered(width=8 * config.word_bytes, depth=QUEUE)
        m.submodules.queue = queue
        left = Signal(24, name="left")                     # words promised to memory, not yet read
        space = Signal(range(QUEUE), init=QUEUE - 1, name="space")
        line = Signal(len(self.read_line), name="at_line")
        go, came = Signal(name="go"), Signal(name="came")
        asked = walk.valid & walk.ready
        out = port.wdata_valid & port.wdata_ready
        m.d.comb += [
            walk.start.eq(self.start), walk.block.eq(self.block),
            port.write_valid.eq(walk.valid & ~left[-1]),
            walk.ready.eq(port.write_ready & ~left[-1]),
            port.write_address.eq(walk.address), port.write_length.eq(walk.length),
            go.eq((left != 0) & (space != 0)), self.read_line.eq(line),
            queue.w_en.eq(came), queue.w_data.eq(self.codes),
            port.wdata_valid.eq(queue.r_rdy), port.wdata.eq(queue.r_data),
            queue.r_en.eq(port.wdata_ready),
            self.busy.eq(walk.busy | (left != 0) | came | queue.r_rdy | (space != QUEUE - 1)
                         | port.write_busy),
            self.fault.eq(walk.fault),
        ]
        m.d.sync += [
            came.eq(go), space.eq(space + out - go),
            left.eq(left + Mux(asked, walk.length, 0) - go),
        ]
        with m.If(self.start):
            m.d.sync += line.eq(self.line)
        with m.Elif(go):
            m.d.sync += line.eq(line + 1)
        return m
