"""The sequencer of a COMPUTE: pixels, the steps of each, and where each step reads.

    stage 0   counters of step, column and row; base of the pixel (line, y, x)
    stage 1   the tap memory's output, then its register
    stage 2   the step's tap (offset, dy, dx)
    stage 3   line of NBin, y and x of the tap: NBin and SB are read
    stage 4   inside the loaded block or not; the memories' outputs
"""

from __future__ import annotations

from typing import Any

from amaranth import Array, Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu import isa
from hwgen.nfu.compare import less
from hwgen.nfu.config import Config
from hwgen.verilog import add

FIELDS = {field.name: field for field in isa.FIELDS[isa.Op.COMPUTE]}


def fields_layout(*names: str) -> data.StructLayout:
    """Return a layout of fields of COMPUTE."""
    return data.StructLayout({
        name: signed(FIELDS[name].width) if FIELDS[name].signed else unsigned(FIELDS[name].width)
        for name in names
    })


TAP_LAYOUT = data.StructLayout({"offset": 16, "dy": 8, "dx": 7, "other": 1})
COMMON = ("hold", "rows", "cols", "steps", "period", "sb_line", "in_line", "in_row", "in_col",
          "step_y", "step_x", "y", "x", "height", "width")
LISTED = ("tap_line", "left", "right")
COUNTED = ("kernel_h", "kernel_w", "tap_y", "tap_x", "tap_col", "tap_row", "tap_tile")


class TapList(wiring.Component):
    """The memory of taps, read from ``tap_line`` on for every pixel.

    Members
    -------
    fields : In. fresh : In, a pixel's first step is next; step : In, go on to the next one.
    tap : Out, 3 cycles behind the step.
    write, write_word, write_data : In, a word of several taps to be kept.
    """

    latency = 3

    def __init__(self, *, config: Config) -> None:
        self.config = config
        self.words = config.tap_count // config.taps_in_word
        super().__init__({
            "fields": In(fields_layout("tap_line")), "fresh": In(1), "step": In(1),
            "tap": Out(TAP_LAYOUT),
            "write": In(1), "write_word": In(range(self.words)),
            "write_data": In(8 * config.word_bytes),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        taps = memory.Memory(shape=unsigned(8 * self.config.word_bytes), depth=self.words, init=[])
        m.submodules.taps = taps
        read, write = taps.read_port(), taps.write_port()
        at = Signal(range(self.config.tap_count), name="at")
        inner = (self.config.taps_in_word - 1).bit_length()
        place = Signal(max(inner, 1), name="place")
        with m.If(self.fresh):
            m.d.sync += at.eq(self.fields.tap_line)
        with m.Elif(self.step):
            m.d.sync += at.eq(at + 1)
        m.d.comb += [read.en.eq(1), read.addr.eq(at >> inner), write.en.eq(self.write),
                     write.addr.eq(self.write_word), write.data.eq(self.write_data)]
        # The memory is slow: its word is held before one of its taps is picked.
        word = Signal(8 * self.config.word_bytes, name="word", reset_less=True)
        later = Signal.like(place, name="place_later")
        m.d.sync += [place.eq(at[:inner] if inner else 0), later.eq(place), word.eq(read.data)]
        tap = Signal(32, name="held", reset_less=True)
        words = [word[32 * n : 32 * n + 32] for n in range(self.config.taps_in_word)]
        m.d.sync += tap.eq(Array(words)[later] if inner else words[0])
        m.d.comb += self.tap.as_value().eq(tap)
        return m


class KernelCounters(wiring.Component):
    """The taps of a dense kernel over several tiles, by counters alone: the unmodified DianNao.

    Members as of ``TapList``, without the writing ones.
    """

    latency = 3

    def __init__(self, *, config: Config) -> None:
        self.config = config
        super().__init__({"fields": In(fields_layout(*COUNTED)), "fresh": In(1), "step": In(1),
                          "tap": Out(TAP_LAYOUT)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        fields = self.fields
        row, column = Signal(8, name="row"), Signal(8, name="column")
        now = Signal(TAP_LAYOUT, name="now")
        last_column, last_row = Signal(name="last_column"), Signal(name="last_row")
        m.d.comb += [last_column.eq(column + 1 == fields.kernel_w),
                     last_row.eq(row + 1 == fields.kernel_h)]
        with m.If(self.fresh):
            m.d.sync += [row.eq(0), column.eq(0), now.eq(0)]
        with m.Elif(self.step):
            with m.If(~last_column):
                m.d.sync += [column.eq(column + 1), now.dx.eq(now.dx + fields.tap_x),
                             now.offset.eq(now.offset + fields.tap_col)]
            with m.Elif(~last_row):
                m.d.sync += [column.eq(0), row.eq(row + 1), now.dx.eq(0),
                             now.dy.eq(now.dy + fields.tap_y),
                             now.offset.eq(now.offset + fields.tap_row)]
            with m.Else():
                m.d.sync += [column.eq(0), row.eq(0), now.dx.eq(0), now.dy.eq(0),
                             now.offset.eq(now.offset + fields.tap_tile)]
        later, latest, held = (Signal(TAP_LAYOUT, name=name, reset_less=True)
                               for name in ("later", "latest", "held"))
        m.d.sync += [later.eq(now), latest.eq(later), held.eq(latest)]
        m.d.comb += self.tap.eq(held)
        return m


class Walk(wiring.Component):
    """Walks over a block of pixels.

    Parameters: config.

    Members
    -------
    start : In, one cycle; fields : In, held until the walk is over. stop : In, end it at once.
    closing : Out, the last step of all (stage 0).
    line, sb_line : Out, lines of NBin and SB to read (stage 3).
    valid, first, last, ending : Out, a step; it is the first, the last of its pixel; of the last
    pixel (all stage 3). covered : Out, the tap is in the loaded block; halves : Out, which halves
    of its lanes are; other : Out, activations are not signed as the fields say (all stage 4).
    tap_write, tap_word, tap_data : In, of the tap memory.
    walking : Out.

    Timing: stage 3 of the first step is 6 cycles behind ``start``; a pixel takes ``period`` cycles.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        own = COUNTED if config.multipliers else LISTED
        members = {
            "start": In(1), "stop": In(1), "fields": In(fields_layout(*COMMON, *own)),
            "line": Out(range(config.nbin_lines)), "sb_line": Out(range(config.sb_lines)),
            "valid": Out(1), "first": Out(1), "last": Out(1), "ending": Out(1), "covered": Out(1),
            "halves": Out(2), "other": Out(1), "walking": Out(1), "closing": Out(1),
        }
        if not config.multipliers:
            words = config.tap_count // config.taps_in_word
            members |= {"tap_write": In(1), "tap_word": In(range(words)),
                        "tap_data": In(8 * config.word_bytes)}
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        fields = self.fields
        fresh, active = Signal(name="fresh"), Signal(name="active")
        # Counters run down; registers say that they are at 1, and that they begin there. The last
        # beat is one of a walk.
        steps_left, beats_left = Signal(16, name="steps_left"), Signal(16, name="beats_left")
        first = Signal(name="first_step")
        last_step, last_beat = Signal(name="last_step"), Signal(name="last_beat")
        one_step, one_beat = Signal(name="one_step"), Signal(name="one_beat")
        marks = data.StructLayout({"valid": 1, "first": 1, "last": 1, "ending": 1})
        mark = [Signal(marks, name=f"mark_{n}") for n in range(5)]
        sb = [Signal(range(self.config.sb_lines), name=f"sb_{n}") for n in range(5)]

        # ``fresh`` is the cycle before a pixel's first: the first one's, or the last of another.
        started = Signal(name="started")
        m.d.sync += [started.eq(self.start), one_step.eq(fields.steps == 1),
                     one_beat.eq(fields.period == 1)]
        more = self._pixels(m, fresh, started)
        m.d.comb += [
            fresh.eq(started | (last_beat & ~more["ending"])),
            mark[0].valid.eq(active), mark[0].first.eq(first), mark[0].last.eq(last_step),
            mark[0].ending.eq(more["ending"]),
        ]
        with m.If(fresh):
            m.d.sync += [steps_left.eq(fields.steps), beats_left.eq(fields.period), first.eq(1),
                         active.eq(1), self.walking.eq(1), sb[0].eq(fields.sb_line),
                         last_step.eq(one_step), last_beat.eq(one_beat)]
        with m.Elif(self.walking):
            m.d.sync += [steps_left.eq(steps_left - 1), beats_left.eq(beats_left - 1),
                         first.eq(0), sb[0].eq(sb[0] + ~fields.hold),
                         last_step.eq(steps_left == 2), last_beat.eq(beats_left == 2)]
            with m.If(last_step):
                m.d.sync += active.eq(0)
            with m.If(last_beat):
                m.d.sync += self.walking.eq(0)
        with m.If(self.stop):
            m.d.sync += [active.eq(0), self.walking.eq(0), last_beat.eq(0)]
        m.d.sync += [mark[n + 1].eq(mark[n]) for n in range(4)]
        m.d.sync += [sb[n + 1].eq(sb[n]) for n in range(4)]

        tap = self._taps(m, platform, fresh)
        line = Signal(16, name="line_3", reset_less=True)
        y, x = (Signal(signed(17), name=f"{name}_3", reset_less=True) for name in "yx")
        covered = Signal(name="covered_4", reset_less=True)
        # The last steps of the COMPUTE before may still be under way when this one starts.
        last_y, last_x = (Signal(signed(17), name=f"last_{name}_3") for name in "yx")
        later = Signal(name="started_2")
        m.d.sync += later.eq(started)
        with m.If(later):
            m.d.sync += [last_y.eq(fields.height - 1), last_x.eq(fields.width - 1)]
        m.d.sync += [
            line.eq(more["line"] + tap.offset), y.eq(more["y"] + tap.dy), x.eq(more["x"] + tap.dx),
        ]
        inside = Signal(name="in_block")
        halves = Signal(2, name="halves_4", reset_less=True)
        m.d.comb += inside.eq(~(y[-1] | less(last_y, y) | x[-1] | less(last_x, x)))
        m.d.sync += [covered.eq(inside), halves.eq(inside.replicate(2))]
        if not self.config.multipliers:
            edges = Signal(2, name="edges")
            with m.If(later):
                m.d.sync += edges.eq(Cat(fields.left, fields.right))
            ends = Cat(edges[0] & (x == 0), edges[1] & (x == last_x))
            m.d.sync += halves.eq(inside.replicate(2) & ~ends)
        other = Signal(name="other_3", reset_less=True)
        m.d.sync += [other.eq(tap.other), self.other.eq(other)]
        m.d.comb += [
            self.line.eq(line), self.sb_line.eq(sb[4]), self.valid.eq(mark[4].valid),
            self.first.eq(mark[4].first), self.last.eq(mark[4].last),
            self.ending.eq(mark[4].ending), self.covered.eq(covered),
            self.halves.eq(halves),
            self.closing.eq(active & last_step & more["ending"]),
        ]
        return m

    def _pixels(self, m: Module, fresh: Signal, started: Signal) -> dict[str, Any]:
        """Count columns and rows; return the pixel's base of two stages later, and ``ending``."""
        fields = self.fields
        rows_left, columns_left = Signal(16, name="rows_left"), Signal(16, name="columns_left")
        row_line, line = Signal(16, name="row_line"), Signal(16, name="line_0")
        y, x = Signal(signed(16), name="y_0"), Signal(signed(16), name="x_0")
        last_row, last_column = Signal(name="last_row"), Signal(name="last_column")
        one_row, one_column = Signal(name="one_row"), Signal(name="one_column")
        ending = Signal(name="ending")
        m.d.comb += ending.eq(last_column & last_row)
        m.d.sync += [one_row.eq(fields.rows == 1), one_column.eq(fields.cols == 1)]
        with m.If(started):
            m.d.sync += [rows_left.eq(fields.rows), columns_left.eq(fields.cols),
                         last_row.eq(one_row), last_column.eq(one_column),
                         row_line.eq(fields.in_line),
                         line.eq(fields.in_line), y.eq(fields.y), x.eq(fields.x)]
        with m.Elif(fresh):
            with m.If(last_column):
                m.d.sync += [rows_left.eq(rows_left - 1), columns_left.eq(fields.cols),
                             last_row.eq(rows_left == 2), last_column.eq(one_column),
                             row_line.eq(row_line + fields.in_row),
                             line.eq(row_line + fields.in_row), y.eq(y + fields.step_y),
                             x.eq(fields.x)]
            with m.Else():
                m.d.sync += [columns_left.eq(columns_left - 1), line.eq(line + fields.in_col),
                             last_column.eq(columns_left == 2), x.eq(x + fields.step_x)]
        later: dict[str, Any] = {"ending": ending}
        for name, value in (("line", line), ("y", y), ("x", x)):
            one = Signal.like(value, name=f"{name}_1", reset_less=True)
            two = Signal.like(value, name=f"{name}_2", reset_less=True)
            three = Signal.like(value, name=f"{name}_3_base", reset_less=True)
            m.d.sync += [one.eq(value), two.eq(one), three.eq(two)]
            later[name] = three
        return later

    def _taps(self, m: Module, platform: Any, fresh: Signal) -> Any:
        make = KernelCounters if self.config.multipliers else TapList
        taps = make(config=self.config)
        add(m, platform, "taps", taps)
        m.d.comb += [taps.fresh.eq(fresh), taps.step.eq(self.walking)]
        m.d.comb += [getattr(taps.fields, name).eq(getattr(self.fields, name))
                     for name in taps.fields.shape().members]
        if not self.config.multipliers:
            m.d.comb += [taps.write.eq(self.tap_write), taps.write_word.eq(self.tap_word),
                         taps.write_data.eq(self.tap_data)]
        return taps.tap
