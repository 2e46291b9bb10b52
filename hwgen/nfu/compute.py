"""The unit that executes a COMPUTE: walk, lane array, finisher, and the codes of NBout."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.array import FIELDS as ARRAY_FIELDS
from hwgen.nfu.array import LaneArray
from hwgen.nfu.compare import less
from hwgen.nfu.config import Config
from hwgen.nfu.finish_lane import SEARCH
from hwgen.nfu.finisher import FIELDS as FINISH_FIELDS
from hwgen.nfu.finisher import Finisher
from hwgen.nfu.walk import COMMON, COUNTED, LISTED, Walk, fields_layout
from hwgen.verilog import add

ALL_FIELDS = tuple(dict.fromkeys((*COMMON, *LISTED, *COUNTED, *ARRAY_FIELDS, *FINISH_FIELDS)))


def used_fields(config: Config) -> tuple[str, ...]:
    """Return the fields that a COMPUTE of this kind reads."""
    unused = LISTED if config.multipliers else COUNTED
    return tuple(name for name in ALL_FIELDS if name not in unused)


def fill_layout(config: Config) -> data.StructLayout:
    """Return the layout of a word on its way into a buffer."""
    most = max(config.nbin_lines, config.sb_lines, config.tap_count, config.par_lines)
    words = max(config.sb_words, config.par_words, config.entry_words, 2)
    return data.StructLayout({
        "nbin": 1, "sb": 1, "taps": 1, "parameters": 1, "table": 1, "line": range(most),
        "word": range(words), "data": 8 * config.word_bytes,
    })


class Compute(wiring.Component):
    """Executes one COMPUTE after the other; the walk of one begins while the sums of the one before
    are still being finished::

        walk      |  A             |4|  B             |
        array        |  A             |4|  B             |
        finisher        |  A             | |  B             |

    Fields are taken by the array and by the finisher as late as they need them. B starts so that
    A's last code is written before B's first pixel is finished; maxima are not overlapped.

    Parameters: config; weights, as of LaneArray.

    Members
    -------
    start : In, with fields; only when ``open``. open : Out, that COMPUTE whose fields were there in
    the cycle before may start. busy : Out, one is not at its end; older : Out, two are not.
    overflow : Out, a line beyond NBout.
    stop : In, give up at once.
    fill : In, a word for one of the buffers (one of its flags is high).
    read_line : In, codes : Out, the codes of NBout, 1 cycle behind.
    """

    def __init__(self, *, config: Config, weights: bytes = b"") -> None:
        self.config = config
        self.walk = Walk(config=config)
        self.array = LaneArray(config=config, weights=weights)
        self.finisher = Finisher(config=config)
        super().__init__({
            "start": In(1), "stop": In(1), "fields": In(fields_layout(*used_fields(config))),
            "open": Out(1), "busy": Out(1), "older": Out(1), "overflow": Out(1),
            "fill": In(fill_layout(config)),
            "read_line": In(range(config.nbout_lines)), "codes": Out(8 * config.word_bytes),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        walk, array, finisher = self.walk, self.array, self.finisher
        fields = Signal(self.fields.shape(), name="fields_held")
        started = Signal(name="started")
        m.d.sync += started.eq(self.start)
        with m.If(self.start):
            m.d.sync += fields.eq(self.fields)
        m.d.comb += walk.stop.eq(self.stop)
        for name, part in (("walk", walk), ("array", array), ("finisher", finisher)):
            add(m, platform, name, part)
        for part in (walk, array):
            m.d.comb += part.start.eq(started)
            m.d.comb += [getattr(part.fields, field).eq(getattr(fields, field))
                         for field in part.fields.shape().members]
        self._overlap(m, fields)
        m.d.comb += [
            array.line.eq(walk.line), array.sb_line.eq(walk.sb_line),
            array.covered.eq(walk.covered), array.halves.eq(walk.halves),
            array.other.eq(walk.other),
            array.marks.valid.eq(walk.valid), array.marks.first.eq(walk.first),
            array.marks.last.eq(walk.last), array.marks.ending.eq(walk.ending),
            finisher.sums.eq(array.sums), finisher.take.eq(array.take),
            finisher.ending.eq(array.ending),
            self.overflow.eq(array.overflow | finisher.overflow),
        ]
        self._fill(m)
        self._codes(m)
        return m

    def _overlap(self, m: Module, fields: Signal) -> None:
        """Hand the fields to the finisher in time; tell when another COMPUTE may start."""
        walk, array, finisher = self.walk, self.array, self.finisher
        kept = Signal(finisher.fields.shape(), name="fields_finish")
        # ``pending``: not yet with the finisher; ``fresh``: to be given with the next pixel.
        pending, fresh = Signal(name="pending"), Signal(name="fresh")
        unfinished, rest = Signal(2, name="unfinished"), Signal(range(64), name="rest")
        given, late = Signal(name="given"), Signal(name="late")           # rest is not 0
        m.d.comb += [
            given.eq(fresh & array.near), finisher.fields.eq(kept),
            self.busy.eq(unfinished != 0), self.older.eq(unfinished[1]),
        ]
        m.d.sync += [
            finisher.start.eq(given),
            unfinished.eq(unfinished + self.start - (array.kept | finisher.done)),
            self.open.eq((unfinished == 0) | (
                ~walk.walking & ~pending & ~unfinished[1] & ~fields.max & ~self.fields.max
                & ~less(self.fields.steps, rest))),
        ]
        with m.If(array.turn & pending):
            m.d.sync += fresh.eq(1)
        with m.If(given):
            m.d.sync += [fresh.eq(0), pending.eq(0)]
            m.d.sync += [getattr(kept, name).eq(getattr(fields, name))
                         for name in kept.shape().members]
        with m.If(self.start):
            m.d.sync += pending.eq(1)
        with m.If(walk.closing & fields.last):
            time = fields.digits << (self.config.groups - 1).bit_length()     # of a pixel
            m.d.sync += [rest.eq(time + finisher.latency - 3), late.eq(1)]
        with m.Elif(late):
            m.d.sync += [rest.eq(rest - 1), late.eq(rest != 1)]
        with m.If(self.stop):
            m.d.sync += [unfinished.eq(0), pending.eq(0), fresh.eq(0)]

    def _fill(self, m: Module) -> None:
        """Words from memory into the buffers."""
        walk, array, finisher = self.walk, self.array, self.finisher
        # The buffers lie far apart: some get a word a cycle later than others, from registers of
        # their own.
        fill = [self.fill, *(Signal(self.fill.shape(), name=f"fill_{n}") for n in (1, 2))]
        m.d.sync += [after.eq(before) for before, after in zip(fill, fill[1:], strict=False)]
        m.d.comb += [
            array.nbin_write.eq(fill[0].nbin), array.nbin_line.eq(fill[0].line),
            array.nbin_data.eq(fill[0].data),
            finisher.par_write.eq(fill[1].parameters), finisher.par_line.eq(fill[1].line),
            finisher.par_word.eq(fill[1].word), finisher.par_data.eq(fill[1].data),
            array.sb_write.eq(fill[2].sb), array.sb_write_line.eq(fill[2].line),
            array.sb_word.eq(fill[2].word), array.sb_data.eq(fill[2].data),
        ]
        if not self.config.multipliers:
            m.d.comb += [walk.tap_write.eq(fill[0].taps), walk.tap_word.eq(fill[0].line),
                         walk.tap_data.eq(fill[0].data)]
        if self.config.segments:
            self._table(m)

    def _table(self, m: Module) -> None:
        """Gather an entry of 16 bytes from its words."""
        config, fill, finisher = self.config, self.fill, self.finisher
        bits = 8 * config.word_bytes
        entry = Signal(max(128, bits), name="table_entry", reset_less=True)
        write = Signal(name="table_write")
        place = Signal(SEARCH, name="table_place", reset_less=True)
        with m.If(fill.table):
            m.d.sync += place.eq(fill.line)
            for n in range(config.entry_words):
                with m.If(fill.word == n):
                    m.d.sync += entry[n * bits : (n + 1) * bits].eq(fill.data)
        m.d.sync += write.eq(fill.table & (fill.word == config.entry_words - 1))
        m.d.comb += [finisher.table_write.eq(write), finisher.table_entry.eq(place),
                     finisher.table_data.eq(entry)]

    def _codes(self, m: Module) -> None:
        config = self.config
        store = memory.Memory(shape=unsigned(8 * config.word_bytes), depth=config.nbout_lines,
                              init=[])
        m.submodules.codes = store
        read, write = store.read_port(), store.write_port()
        m.d.comb += [
            read.en.eq(1), read.addr.eq(self.read_line), self.codes.eq(read.data),
            write.en.eq(self.finisher.write), write.addr.eq(self.finisher.out_line),
            write.data.eq(self.finisher.codes),
        ]
