"""NFU-1 and NFU-2 with their buffers: NBin and SB in, sums or maxima of a pixel out.

Stages go on from those of ``hwgen.nfu.walk``; L is the depth of an adder tree::

    stage 3        NBin is read
    stage 4        its output; SB is read
    stage 5        a register of NBin's; the output of SB
    stage 6        registers: activations (0 outside the block), weights
    stage 7, 8     lanes                          stage 7, 8   maxima
    stage 8 + L    the trees' sums; the pixel's partial sums, read two stages before
    stage 9 + L    accumulators; kept as partial sums, or taken by the finisher

A register with neither reset nor enable directly behind each memory: block RAMs have it inside.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import Config
from hwgen.nfu.finisher import LineMemory
from hwgen.nfu.neuron import Neuron
from hwgen.nfu.sums import Accumulators, Maxima
from hwgen.nfu.walk import fields_layout
from hwgen.verilog import add

FIELDS = ("max", "first", "last", "signed", "out_line")
MARKS = data.StructLayout({"valid": 1, "first": 1, "last": 1, "ending": 1})


class LaneArray(wiring.Component):
    """The lanes, trees and accumulators, NBin, SB and the partial sums of NBout.

    Parameters: config; weights, what is in SB from the start: then nothing is written to it.

    Members
    -------
    start, fields : In, as of the walk; the array takes each field when the COMPUTE before needs it
    no more. turn : Out, one cycle: the last ones were taken. near : Out, a cycle before a pixel's
    sums.
    line, sb_line, marks : In, of stage 3; covered, halves, other : In, of the walk, of stage 4.
    sums, take, ending : Out, a pixel's sums for the finisher.
    kept : Out, the last pixel's sums were kept as partial sums.
    nbin_write, nbin_line, nbin_data : In. sb_write, sb_write_line, sb_word, sb_data : In.

    ``latency``: cycles from stage 3 of a pixel's last step to ``take``, of sums;
    ``max_latency`` of maxima.
    """

    def __init__(self, *, config: Config, weights: bytes = b"") -> None:
        self.config, self.weights = config, weights
        self.neurons = [Neuron(config=config) for _ in range(config.tn)]
        self.latency = 3 + self.neurons[0].latency + Accumulators.latency
        self.max_latency = 3 + Maxima.latency
        word = 8 * config.word_bytes
        super().__init__({
            "start": In(1), "fields": In(fields_layout(*FIELDS)),
            "line": In(range(config.nbin_lines)), "sb_line": In(range(config.sb_lines)),
            "marks": In(MARKS), "covered": In(1), "halves": In(2), "other": In(1),
            "turn": Out(1), "near": Out(1),
            "sums": Out(config.tn * config.acc_bits), "take": Out(1), "ending": Out(1),
            "kept": Out(1), "overflow": Out(1),
            "nbin_write": In(1), "nbin_line": In(range(config.nbin_lines)), "nbin_data": In(word),
            "sb_write": In(1), "sb_write_line": In(range(config.sb_lines)),
            "sb_word": In(range(max(config.sb_words, 2))), "sb_data": In(word),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        self._turns(m)
        # marks[n] is of stage 3 + n.
        marks = [self.marks]
        for n in range(self.latency):
            later = Signal(MARKS, name=f"marks_{n + 4}")
            m.d.sync += later.eq(marks[-1])
            marks.append(later)
        x, covered = self._activations(m)
        codes = self._weights(m, platform)
        totals = []
        for n, neuron in enumerate(self.neurons):
            add(m, platform, f"neuron_{n}", neuron)
            share = config.tn * config.weight_bits
            m.d.comb += [neuron.x.eq(x), neuron.codes.eq(codes[n * share : (n + 1) * share])]
            totals.append(neuron.total)
        sums = Accumulators(config=config, total_bits=len(totals[0]))
        add(m, platform, "accumulators", sums)
        at, ahead = marks[self.latency - 1], marks[self.latency - 2]
        m.d.comb += [sums.totals.eq(Cat(*totals)), sums.enable.eq(at.valid)]
        m.d.sync += [sums.keep.eq(~ahead.first), sums.resume.eq(ahead.first & ~self.first)]
        maxima = Maxima(config=config)
        add(m, platform, "maxima", maxima)
        m.d.comb += [maxima.x.eq(x), maxima.enable.eq(marks[3].valid),
                     maxima.start.eq(marks[3].first), maxima.covered.eq(covered)]
        self._partial(m, platform, marks, sums)
        self._out(m, marks, sums, maxima)
        return m

    def _turns(self, m: Module) -> None:
        """Take the fields of a COMPUTE behind the last step of the one before, stage by stage.

        Stage s of its first step is s + 3 cycles behind ``start``; a step of the one before was
        there at least 4 cycles earlier. Maxima are not overlapped, and need theirs early.
        """
        last = self.latency + 3
        since = Signal(last + 1, name="since")
        m.d.sync += since.eq(since << 1 | self.start)
        self.signed, self.first = Signal(name="signed_5"), Signal(name="first_7")
        self.last, self.max = Signal(name="last_9"), Signal(name="max_9")
        self.reading = since[last - 3]
        m.d.comb += self.turn.eq(since[last - 1] | (since[3] & self.fields.max))
        with m.If(since[3]):
            m.d.sync += self.signed.eq(self.fields.signed)
        with m.If(self.reading):
            m.d.sync += self.first.eq(self.fields.first)
        with m.If(self.turn):
            m.d.sync += [self.last.eq(self.fields.last), self.max.eq(self.fields.max)]

    def _activations(self, m: Module) -> tuple[Value, Value]:
        """NBin and its output register: tn signed activations of stage 6, 0 outside."""
        config = self.config
        bits = config.act_bits
        store = memory.Memory(shape=unsigned(config.tn * bits), depth=config.nbin_lines, init=[])
        m.submodules.nbin = store
        read, write = store.read_port(), store.write_port()
        m.d.comb += [read.en.eq(1), read.addr.eq(self.line), write.en.eq(self.nbin_write),
                     write.addr.eq(self.nbin_line), write.data.eq(self.nbin_data)]
        held = Signal(config.tn * bits, name="nbin_5", reset_less=True)
        halves, other = Signal(2, name="halves_5"), Signal(name="other_5")
        m.d.sync += [held.eq(read.data), halves.eq(self.halves), other.eq(self.other)]
        lanes = []
        for n in range(config.tn):
            lane = Signal(signed(bits + 1), name=f"x_{n}", reset_less=True)
            raw = held[n * bits : (n + 1) * bits]
            minus = raw[-1] & (self.signed ^ other)
            m.d.sync += lane.eq(Mux(halves[n * 2 // config.tn], Cat(raw, minus), 0))
            lanes.append(lane)
        covered = Signal(2, name="covered_later", reset_less=True)
        m.d.sync += covered.eq(Cat(self.covered, covered[0]))
        covered = covered[1]
        return Cat(*lanes), covered

    def _weights(self, m: Module, platform: Any) -> Signal:
        """SB and its output register: the codes of stage 6."""
        config = self.config
        bits = config.tn * config.tn * config.weight_bits
        codes = Signal(bits, name="codes", reset_less=True)
        line = Signal.like(self.sb_line, name="sb_line_4", reset_less=True)
        m.d.sync += line.eq(self.sb_line)
        if self.weights:
            size = config.sb_words * config.word_bytes
            lines = [int.from_bytes(self.weights[at : at + size], "little") & (1 << bits) - 1
                     for at in range(0, len(self.weights), size)]
            m.submodules.sb = rom = memory.Memory(shape=unsigned(bits), depth=max(len(lines), 2),
                                                  init=lines)
            read = rom.read_port()
            m.d.comb += [read.en.eq(1), read.addr.eq(line)]
            m.d.sync += codes.eq(read.data)
            return codes
        store = LineMemory(words=config.sb_words, word_bits=8 * config.word_bytes,
                           lines=config.sb_lines)
        add(m, platform, "sb", store)
        m.d.comb += [store.line.eq(line), store.write.eq(self.sb_write),
                     store.write_line.eq(self.sb_write_line), store.write_word.eq(self.sb_word),
                     store.write_data.eq(self.sb_data)]
        m.d.sync += codes.eq(store.data)
        return codes

    def _partial(self, m: Module, platform: Any, marks: list[Any], sums: Accumulators) -> None:
        """Partial sums: read for each pixel's first step, written behind its last."""
        config = self.config
        width = config.tn * config.acc_bits
        store = memory.Memory(shape=unsigned(width), depth=config.nbout_lines, init=[])
        m.submodules.partial = store
        read, write = store.read_port(), store.write_port()
        ahead, behind = marks[self.latency - 3], marks[self.latency]
        read_at = Signal(range(config.nbout_lines), name="read_at")
        write_at = Signal(range(config.nbout_lines * 2), name="write_at")
        before = Signal(width, name="earlier", reset_less=True)
        keep = behind.valid & behind.last & ~self.last
        m.d.comb += [
            read.en.eq(1), read.addr.eq(read_at), sums.earlier.eq(before),
            write.addr.eq(write_at), write.data.eq(sums.sums), write.en.eq(keep & ~write_at[-1]),
            self.overflow.eq(keep & write_at[-1]), self.kept.eq(keep & behind.ending),
        ]
        m.d.sync += before.eq(read.data)
        with m.If(self.reading):
            m.d.sync += read_at.eq(self.fields.out_line)
        with m.Elif(ahead.valid & ahead.last):
            m.d.sync += read_at.eq(read_at + 1)
        with m.If(self.turn):
            m.d.sync += write_at.eq(self.fields.out_line)
        with m.Elif(keep):
            m.d.sync += write_at.eq(write_at + 1)

    def _out(self, m: Module, marks: list[Any], sums: Accumulators, maxima: Maxima) -> None:
        config = self.config
        wide = config.act_bits + 1
        largest = Cat(*(
            Cat(part, part[-1].replicate(config.acc_bits - wide))
            for part in (maxima.largest[n * wide : (n + 1) * wide] for n in range(config.tn))
        ))
        # Both a cycle ahead, so that registers drive what they start.
        near, take = Signal(MARKS, name="near_ahead"), Signal(MARKS, name="take_ahead")
        m.d.comb += [
            near.eq(Mux(self.max, marks[self.max_latency - 2].as_value(),
                        marks[self.latency - 2].as_value())),
            take.eq(Mux(self.max, marks[self.max_latency - 1].as_value(),
                        marks[self.latency - 1].as_value())),
            self.sums.eq(Mux(self.max, largest, sums.sums)),
        ]
        m.d.sync += [self.near.eq(near.valid & near.last), self.ending.eq(take.ending),
                     self.take.eq(take.valid & take.last & self.last)]
