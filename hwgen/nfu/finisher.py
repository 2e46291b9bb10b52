"""NFU-3: the sums of a pixel to codes, ``finishers`` channels at a time, a digit a cycle.

    cycle 0   a pixel's sums are held; group and digit counters; parameters are read
    cycle 1   the group's sums; the parameter memory's output
    cycle 2   registers of both; then the lanes (hwgen.nfu.finish_lane)
    ...       codes of a group into their places of the line; the line is written when it is whole
"""

from __future__ import annotations

from typing import Any

from amaranth import Array, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import CHANNEL_BYTES, Config
from hwgen.nfu.finish_lane import SEARCH, FinishLane
from hwgen.nfu.largest import LargestLane
from hwgen.nfu.walk import fields_layout
from hwgen.verilog import add

FIELDS = ("activate", "wrap", "argmax", "argmax_first", "digits", "par_line", "out_line", "lanes",
          "lo", "hi", "class_base")


class LineMemory(wiring.Component):
    """Lines of several words, written word by word, read whole.

    Members: write, write_line, write_word, write_data : In; line : In; data : Out, a cycle later.
    """

    def __init__(self, *, words: int, word_bits: int, lines: int) -> None:
        self.words, self.word_bits, self.lines = words, word_bits, lines
        super().__init__({
            "write": In(1), "write_line": In(range(lines)), "write_word": In(range(max(words, 2))),
            "write_data": In(word_bits), "line": In(range(lines)), "data": Out(words * word_bits),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for n in range(self.words):
            part = memory.Memory(shape=unsigned(self.word_bits), depth=self.lines, init=[])
            m.submodules[f"word_{n}"] = part
            read, write = part.read_port(), part.write_port()
            m.d.comb += [
                read.en.eq(1), read.addr.eq(self.line), write.addr.eq(self.write_line),
                write.data.eq(self.write_data), write.en.eq(self.write & (self.write_word == n)),
                self.data[n * self.word_bits : (n + 1) * self.word_bits].eq(read.data),
            ]
        return m


class Finisher(wiring.Component):
    """Finishes the sums of one pixel after the other.

    Parameters: config.

    Members
    -------
    start : In, a COMPUTE begins; fields : In, held until it is over.
    sums : In, tn accumulators. take : In, they are a pixel's; ending : In, the last one's.
    write, out_line, codes : Out, a line of NBout. done : Out, with the last pixel's.
    par_write, par_line, par_word, par_data : In, of the parameter memory.
    table_write, table_entry, table_data : In, of the segments, if there are any.

    A pixel can be taken every ``groups * digits`` cycles; its line is written ``groups * digits +
    latency`` cycles behind ``take``.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        members = {
            "start": In(1), "fields": In(fields_layout(*FIELDS)),
            "sums": In(config.tn * config.acc_bits), "take": In(1), "ending": In(1),
            "write": Out(1), "out_line": Out(range(config.nbout_lines)),
            "codes": Out(config.tn * config.act_bits), "done": Out(1), "overflow": Out(1),
            "par_write": In(1), "par_line": In(range(config.par_lines)),
            "par_word": In(range(max(config.par_words, 2))), "par_data": In(8 * config.word_bytes),
        }
        if config.segments:
            members |= {"table_write": In(1), "table_entry": In(SEARCH), "table_data": In(128)}
        self.lanes = [FinishLane(config=config) for _ in range(config.finishers)]
        self.largest = LargestLane(config=config)
        # From the cycle of a group's last digit to the line's write: codes and classes alike.
        self.latency = 2 + max(self.lanes[0].latency,
                               self.lanes[0].total_latency + self.largest.latency) + 1
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, fields = self.config, self.fields
        held = Signal(config.tn * config.acc_bits, name="held", reset_less=True)
        running, held_final = Signal(name="running"), Signal(name="held_final")
        group, digit = Signal(range(max(config.groups, 2)), name="group"), Signal(2, name="digit")
        par_at = Signal(range(config.par_lines), name="par_at")
        last_digit, last_group = Signal(name="last_digit"), Signal(name="last_group")
        m.d.comb += [last_digit.eq(digit + 1 == fields.digits),
                     last_group.eq(group == config.groups - 1)]
        with m.If(running):
            m.d.sync += [digit.eq(Mux(last_digit, 0, digit + 1)), par_at.eq(par_at + 1)]
            with m.If(last_digit):
                m.d.sync += group.eq(group + 1)
                with m.If(last_group):
                    m.d.sync += running.eq(0)
        with m.If(self.take):
            m.d.sync += [held.eq(self.sums), held_final.eq(self.ending), running.eq(1), group.eq(0),
                         digit.eq(0), par_at.eq(fields.par_line)]
        marks = data.StructLayout({
            "valid": 1, "digit": 2, "last_digit": 1, "first_group": 1, "last_group": 1, "ending": 1,
            "group": group.shape()})
        stages = [Signal(marks, name=f"stage_{n}") for n in range(self.latency + 1)]
        m.d.comb += [
            stages[0].valid.eq(running), stages[0].digit.eq(digit),
            stages[0].last_digit.eq(last_digit), stages[0].group.eq(group),
            stages[0].first_group.eq(group == 0), stages[0].last_group.eq(last_group),
            stages[0].ending.eq(held_final),
        ]
        m.d.sync += [after.eq(before) for before, after in zip(stages, stages[1:], strict=False)]
        parameters = self._parameters(m, platform, par_at)
        chosen = self._group(m, held, group)
        self._lanes(m, platform, stages, chosen, parameters)
        self._lines(m, platform, stages)
        return m

    def _parameters(self, m: Module, platform: Any, par_at: Signal) -> Signal:
        """Return the parameters of a group, cycle 2."""
        config = self.config
        store = LineMemory(words=config.par_words, word_bits=8 * config.word_bytes,
                           lines=config.par_lines)
        add(m, platform, "parameters", store)
        held = Signal(config.finishers * 8 * CHANNEL_BYTES, name="parameters_2", reset_less=True)
        m.d.comb += [store.line.eq(par_at), store.write.eq(self.par_write),
                     store.write_line.eq(self.par_line), store.write_word.eq(self.par_word),
                     store.write_data.eq(self.par_data)]
        m.d.sync += held.eq(store.data)
        return held

    def _group(self, m: Module, held: Signal, group: Signal) -> Signal:
        """Return a group's sums, cycle 2."""
        width = self.config.finishers * self.config.acc_bits
        chosen = Signal(width, name="sums_1", reset_less=True)
        later = Signal(width, name="sums_2", reset_less=True)
        groups = [held[n * width : (n + 1) * width] for n in range(self.config.groups)]
        m.d.sync += [chosen.eq(Array(groups)[group]),
                     later.eq(chosen)]
        return later

    def _lanes(self, m: Module, platform: Any, stages: list[Any], sums: Signal,
               parameters: Signal) -> None:
        config, fields = self.config, self.fields
        width = config.acc_bits
        for n, lane in enumerate(self.lanes):
            add(m, platform, f"lane_{n}", lane)
            entry = parameters[128 * n : 128 * (n + 1)]
            m.d.comb += [
                lane.acc.eq(sums[width * n : width * (n + 1)]),
                lane.entry.as_value().eq(entry), lane.digit.eq(stages[2].digit),
                lane.activate.eq(fields.activate), lane.wrap.eq(fields.wrap),
                lane.lo.eq(fields.lo), lane.hi.eq(fields.hi),
            ]
            if config.segments:
                m.d.comb += [lane.table_write.eq(self.table_write),
                             lane.table_entry.eq(self.table_entry),
                             lane.table_data.eq(self.table_data)]
        add(m, platform, "largest", self.largest)
        ready = stages[2 + self.lanes[0].total_latency]
        m.d.comb += [
            self.largest.totals.eq(Cat(*(lane.total for lane in self.lanes))),
            self.largest.enable.eq(ready.valid & ready.last_digit),
            self.largest.fresh.eq(ready.first_group & fields.argmax_first),
            self.largest.lane.eq(ready.group << (config.finishers - 1).bit_length()),
            self.largest.lanes.eq(fields.lanes), self.largest.base.eq(fields.class_base),
        ]

    def _lines(self, m: Module, platform: Any, stages: list[Any]) -> None:
        """Gather a line of codes and write it."""
        config, fields = self.config, self.fields
        share = config.finishers * config.act_bits
        line = Signal(config.tn * config.act_bits, name="line", reset_less=True)
        here = stages[2 + self.lanes[0].latency]
        codes = Cat(*(lane.code for lane in self.lanes))
        for n in range(config.groups):
            with m.If(here.valid & here.last_digit & (here.group == n)):
                m.d.sync += line[n * share : (n + 1) * share].eq(codes)
        end = stages[self.latency]
        at = Signal(len(self.out_line) + 1, name="at")
        # The line is complete some cycles before the class is: kept for as long.
        slack = self.latency - (2 + self.lanes[0].latency + 1)
        kept: Value = line
        for n in range(slack):
            later = Signal.like(line, name=f"line_{n}", reset_less=True)
            m.d.sync += later.eq(kept)
            kept = later
        found: Value = self.largest.found
        for n in range(self.latency - (2 + self.lanes[0].total_latency + self.largest.latency)):
            later = Signal.like(found, name=f"class_{n}", reset_less=True)
            m.d.sync += later.eq(found)
            found = later
        classes = Cat(found[: config.act_bits], (found >> config.act_bits)[: config.act_bits])
        written = end.valid & end.last_digit & end.last_group
        m.d.comb += [
            self.codes.eq(Mux(fields.argmax, classes, kept)), self.out_line.eq(at),
            self.write.eq(written & ~at[-1]), self.overflow.eq(written & at[-1]),
            self.done.eq(written & end.ending),
        ]
        with m.If(self.start):
            m.d.sync += at.eq(fields.out_line)
        with m.Elif(written):
            m.d.sync += at.eq(at + 1)
