"""Blocks of memory to the buffers and back: the units that execute LOAD and STORE."""

from __future__ import annotations

from typing import Any

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ADDRESS_BITS, LENGTH_BITS, MemorySignature
from hwgen.nfu.compare import less
from hwgen.nfu.compute import fill_layout
from hwgen.nfu.config import Config
from hwgen.nfu.isa import Buffer
from hwgen.verilog import add

BLOCK = data.StructLayout({"address": ADDRESS_BITS, "cols": LENGTH_BITS, "rows": 16, "planes": 16,
                           "row_pitch": 32, "plane_pitch": 32})
QUEUE = 8                     # words on their way out of NBout


class BlockWalk(wiring.Component):
    """Rows of a block, one run of words after the other.

    stage 0   address of a row; rows and planes left
    stage 1   address; the end of the run
    stage 2   the run, within the memory or not

    Members
    -------
    start : In, with block and single: that it has one row, one plane. busy : Out. fault : Out, one
    cycle: an address that is no word's, or is beyond the memory; the walk ends there.
    valid, ready, address, length : a run, address in words.

    Timing: the first run 3 cycles behind ``start``, others a cycle behind the one before, if that
    is taken at once.
    """

    latency = 3

    def __init__(self, *, config: Config) -> None:
        self.config = config
        self.low = (config.word_bytes - 1).bit_length()
        super().__init__({
            "start": In(1), "block": In(BLOCK), "single": In(2), "busy": Out(1), "fault": Out(1),
            "valid": Out(1), "ready": In(1), "address": Out(ADDRESS_BITS - self.low),
            "length": Out(LENGTH_BITS),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        block = Signal(BLOCK, name="held")
        stages = Signal(3, name="stages")                  # those that hold a run
        last, on = Signal(name="last"), Signal(name="on")
        at = self._rows(m, block, last, on)
        at_1, odd = Signal(ADDRESS_BITS - self.low, name="at_1"), Signal(2, name="odd")
        end = Signal(len(at_1) + 1, name="behind")
        limit = (self.config.memory_bytes or 1 << ADDRESS_BITS) >> self.low
        beyond, wrong = Signal(name="beyond"), Signal(name="wrong")
        m.d.comb += [
            wrong.eq(stages[2] & (beyond | odd[1])),
            self.valid.eq(stages[2] & ~beyond & ~odd[1]), self.length.eq(block.cols),
            on.eq(~stages[2] | self.ready), self.busy.eq(stages.any()),
        ]
        m.d.sync += self.fault.eq(wrong)
        with m.If(self.start):
            m.d.sync += [block.eq(self.block), stages.eq(1)]
        with m.Elif(wrong):
            m.d.sync += stages.eq(0)
        with m.Elif(on):
            m.d.sync += [
                stages.eq(Cat(stages[0] & ~last, stages[:2])),
                at_1.eq(at >> self.low), end.eq((at >> self.low) + block.cols),
                self.address.eq(at_1), beyond.eq(less(C(limit), end)),
                odd.eq(Cat((at[: self.low] != 0), odd[0])),
            ]
        return m

    def _rows(self, m: Module, block: Any, last: Signal, on: Signal) -> Signal:
        """Return the address of stage 0; drive ``last``, that it is the last one."""
        at, plane_at = Signal(ADDRESS_BITS, name="at"), Signal(ADDRESS_BITS, name="plane_at")
        rows, planes = Signal(16, name="rows_left"), Signal(16, name="planes_left")
        # Registers say that the counters are at 1; ``one_row`` that they begin there.
        last_row, last_plane = Signal(name="last_row"), Signal(name="last_plane")
        one_row = Signal(name="one_row")
        next_plane = Signal(ADDRESS_BITS, name="next_plane")
        m.d.comb += [next_plane.eq(plane_at + block.plane_pitch), last.eq(last_row & last_plane)]
        with m.If(self.start):
            m.d.sync += [
                at.eq(self.block.address), plane_at.eq(self.block.address),
                rows.eq(self.block.rows), planes.eq(self.block.planes),
                Cat(last_row, last_plane).eq(self.single), one_row.eq(self.single[0]),
            ]
        with m.Elif(on):
            with m.If(last_row):
                m.d.sync += [at.eq(next_plane), plane_at.eq(next_plane), rows.eq(block.rows),
                             last_row.eq(one_row), planes.eq(planes - 1),
                             last_plane.eq(planes == 2)]
            with m.Else():
                m.d.sync += [at.eq(at + block.row_pitch), rows.eq(rows - 1),
                             last_row.eq(rows == 2)]
        return at


class Loader(wiring.Component):
    """Reads a block, word by word: into a buffer, or for the one who fetches instructions.

    Members
    -------
    start : In, with block, single, buffer, line and fetch. busy : Out. runs : to memory.
    word_valid, word : Out, a word that was fetched. fill : Out, a word for a buffer, both a cycle
    behind memory.
    fault : Out, an address; overflow : Out, a line beyond the buffer.

    Timing: ``busy`` until 2 cycles behind the last word from memory. It may be on its way to its
    buffer still, but is there long before a COMPUTE that is started then reads it.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        signature = MemorySignature(word_bits=8 * config.word_bytes)
        reading = {name: member for name, member in signature.members.items()
                   if name.startswith("read_") or name.startswith("data")}
        self.fetching = Signal(name="fetch_held")
        super().__init__({
            "start": In(1), "block": In(BLOCK), "single": In(2), "buffer": In(3), "line": In(16),
            "fetch": In(1), "busy": Out(1), "runs": Out(wiring.Signature(reading)),
            "word_valid": Out(1), "word": Out(8 * config.word_bytes),
            "fill": Out(fill_layout(config)), "fault": Out(1), "overflow": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, port = self.config, self.runs
        walk = BlockWalk(config=config)
        add(m, platform, "walk", walk)
        asked = walk.valid & walk.ready
        # Words asked for, not here yet; of up to three runs since it was looked at.
        waiting, more = Signal(LENGTH_BITS + 3, name="waiting"), Signal(LENGTH_BITS, name="more")
        counted = Signal(name="asked_before")
        m.d.comb += [
            walk.start.eq(self.start), walk.block.eq(self.block), walk.single.eq(self.single),
            port.read_valid.eq(walk.valid & ~waiting[-1]),
            walk.ready.eq(port.read_ready & ~waiting[-1]),
            port.read_address.eq(walk.address), port.read_length.eq(walk.length),
            self.fault.eq(walk.fault),
        ]
        m.d.sync += [
            counted.eq(asked), more.eq(Mux(asked, walk.length, 0)),
            waiting.eq(waiting + more - port.data_valid),
            self.busy.eq(self.start | walk.busy | counted | (waiting != 0)),
            self.fill.data.eq(port.data), self.word_valid.eq(port.data_valid & self.fetching),
        ]
        m.d.comb += self.word.eq(self.fill.data)
        self._places(m)
        return m

    def _places(self, m: Module) -> None:
        """Count lines and their words; say which buffer a word is for."""
        config, fill, come = self.config, self.fill, self.runs.data_valid
        buffer = Signal(3, name="buffer_held")
        line, place = Signal(17, name="at_line"), Signal(len(fill.word), name="at_word")
        whole, filled = Signal(name="whole"), Signal(name="filled")
        most = Signal.like(place, name="last_word")        # of a line
        kinds = {
            Buffer.NBIN: ("nbin", 1, config.nbin_lines),
            Buffer.SB: ("sb", config.sb_words, config.sb_lines),
            Buffer.TAPS: ("taps", 1, config.tap_count // config.taps_in_word),
            Buffer.PARAMETERS: ("parameters", config.par_words, config.par_lines),
            Buffer.TABLE: ("table", config.entry_words, 16),
        }
        filling = come & ~self.fetching
        m.d.sync += [filled.eq(filling), fill.line.eq(line), fill.word.eq(place)]
        flags = []
        for kind, (name, words, lines) in kinds.items():
            m.d.sync += getattr(fill, name).eq(filling & (buffer == int(kind)) & (line < lines))
            flags.append(getattr(fill, name))
            with m.If(self.start & (self.buffer == int(kind))):
                m.d.sync += most.eq(words - 1)
        m.d.comb += [whole.eq(place == most), self.overflow.eq(filled & ~Cat(*flags).any())]
        with m.If(self.start):
            m.d.sync += [self.fetching.eq(self.fetch), buffer.eq(self.buffer), line.eq(self.line),
                         place.eq(0)]
            with m.If(self.buffer == Buffer.TAPS):         # its lines are taps, several a word
                m.d.sync += line.eq(self.line >> (config.taps_in_word - 1).bit_length())
        with m.Elif(come):
            m.d.sync += place.eq(Mux(whole, 0, place + 1))
            # It stays beyond every buffer once it is.
            with m.If(whole & ~line[-1]):
                m.d.sync += line.eq(line + 1)


class Storer(wiring.Component):
    """Writes lines of NBout's codes to a block of memory.

    Members
    -------
    start : In, with block, single and line. busy : Out. runs : to memory.
    read_line : Out, codes : In, NBout, 1 cycle behind. fault : Out, an address.

    Timing: a run's first word 5 cycles behind the run; ``busy`` until a cycle behind memory's.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        signature = MemorySignature(word_bits=8 * config.word_bytes)
        writing = {name: member for name, member in signature.members.items()
                   if name.startswith("w")}
        super().__init__({
            "start": In(1), "block": In(BLOCK), "single": In(2), "line": In(16), "busy": Out(1),
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
        left = Signal(LENGTH_BITS, name="left")            # words of the run, not yet read
        reading = Signal(name="reading")
        space = Signal(range(QUEUE), init=QUEUE - 1, name="space")
        line = Signal(len(self.read_line), name="at_line")
        go, came, held = Signal(name="go"), Signal(name="came"), Signal(name="came_later")
        codes = Signal(8 * config.word_bytes, name="codes_held", reset_less=True)
        out = port.wdata_valid & port.wdata_ready
        m.d.comb += [
            walk.start.eq(self.start), walk.block.eq(self.block), walk.single.eq(self.single),
            port.write_valid.eq(walk.valid & ~reading),
            walk.ready.eq(port.write_ready & ~reading),
            port.write_address.eq(walk.address), port.write_length.eq(walk.length),
            go.eq(reading & (space != 0)), self.read_line.eq(line),
            queue.w_en.eq(held), queue.w_data.eq(codes),
            port.wdata_valid.eq(queue.r_rdy), port.wdata.eq(queue.r_data),
            queue.r_en.eq(port.wdata_ready), self.fault.eq(walk.fault),
        ]
        m.d.sync += [
            came.eq(go), held.eq(came), codes.eq(self.codes), space.eq(space + out - go),
            self.busy.eq(self.start | walk.busy | reading | (space != QUEUE - 1)
                         | port.write_busy),
        ]
        with m.If(walk.valid & walk.ready):
            m.d.sync += [left.eq(walk.length), reading.eq(1)]
        with m.Elif(go):
            m.d.sync += [left.eq(left - 1), reading.eq(left != 1)]
        with m.If(self.start):
            m.d.sync += line.eq(self.line)
        with m.Elif(go):
            m.d.sync += line.eq(line + 1)
        return m
