# amaranth: UnusedElaboratable=no
"""A convolution in time: every term of a lane reads its own activation from a ring of rows.

The rows that windows need, and some more, are kept in a ring; every term has a copy. A window is
worked out like a dense layer (see hwgen.stream.dense_pick), its activations' numbers counted from
the window's first pixel::

    number   {row, column, channel}, each in whole bits       + {window's row, window's column, 0}

so that one short adder a term finds the place in the ring, whose rows wrap around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.ranges import width_of
from hwgen.stream.beat import BeatFormat
from hwgen.stream.border import Border
from hwgen.stream.pick_code import PickCode
from hwgen.stream.pick_lanes import Copies, Walk, add_lanes
from hwgen.stream.pick_parts import Sums, delayed, term_shapes, write_port
from hwgen.stream.raster import Axis


@dataclass(frozen=True)
class Ring:
    """Where codes lie in the copies: channel lowest, then column, then row.

    Parameters: rows, columns, Axis without padding; places, channels of a pixel, filled up to whole
    beats.
    """

    rows: Axis
    columns: Axis
    places: int

    @property
    def channel_bits(self) -> int:
        """Bits of a channel's number."""
        return (self.places - 1).bit_length()

    @property
    def column_bits(self) -> int:
        """Bits of a column's number."""
        return (self.columns.size - 1).bit_length()

    @property
    def row_bits(self) -> int:
        """Bits of a row's: those of a window, the next windows' and one that is written at least.
        """
        return (self.rows.reach + self.rows.stride + 1).bit_length()

    @property
    def slots(self) -> int:
        """Rows of the ring."""
        return 1 << self.row_bits

    @property
    def bits(self) -> int:
        """Bits of a code's number."""
        return max(self.channel_bits + self.column_bits + self.row_bits, 1)

    def numbers(self, channels: int) -> Int64Array:
        """Return the number of every activation of a window, in the order (row, column, channel).
        """
        y = np.arange(self.rows.kernel) * self.rows.dilation
        x = np.arange(self.columns.kernel) * self.columns.dilation
        base = (y[:, None] << self.column_bits) + x
        found: Int64Array = (base[..., None] << self.channel_bits) + np.arange(channels)
        return found.ravel()


class ConvPick(wiring.Component):
    """``y = x @ matrix + bias`` over the windows of a stream of pixels, ``code.lanes`` at a time.

    Parameters
    ----------
    code : PickCode
        Weights (outputs, taps, channels), with the ring's numbers; ``least`` 1.
    source : BeatFormat
        Of the pixels, whole or in folds.
    rows, columns : Axis
        The window's walk; padding is kept in the ring with the pixels.
    format : BeatFormat
        Of the sums: ``code.lanes`` lanes, ``code.slots`` folds.

    Interval: ``interval`` cycles an image. A row of windows begins when its rows are whole.
    Resources: a copy of the ring (block RAM) a term, the memory of steps, two adders a term.
    """

    def __init__(
        self, *, code: PickCode, source: BeatFormat, rows: Axis, columns: Axis, format: BeatFormat
    ) -> None:
        if (format.lanes, format.folds) != (code.lanes, code.slots):
            raise ValueError(
                f"{code.slots} folds of {code.lanes} lanes needed, not {format.folds} of "
                f"{format.lanes}"
            )
        self.code, self.source, self.format = code, source, format
        self.border = Border(source=source, rows=rows, columns=columns)
        self.rows, self.columns = rows.padded, columns.padded
        rows, columns = self.rows, self.columns
        self.ring = Ring(rows, columns, source.folds * source.lanes)
        lo, hi = min(*source.lo, 0), max(*source.hi, 0)
        self.bits, self.stored = term_shapes(lo, hi, code.inverts)
        totals = [
            max(width_of(min(low, -1), high)[0], 4)
            for low, high in zip(*(b.tolist() for b in code.bounds(lo, hi)), strict=True)
        ]
        self.sums = [Sums(terms=code.terms, bits=self.bits, total=total) for total in totals]
        self.depth = 4 + self.sums[0].latency
        self.each = code.writes * source.lanes  # cycles that a beat takes
        beats = rows.size * columns.size * source.folds
        self.interval = max(rows.count * columns.count * code.steps, beats * self.each)
        self.latency = self.each * source.folds + int(code.slot_ends[0]) + self.depth
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def take(
        self, offered: Int64Array, ready: Any = None
    ) -> tuple[Int64Array, Any]:
        """Return when each beat of an image is taken, given when it is offered.

        Parameters and second result: ready, what the image before leaves: the first cycles in which
        a beat can be taken and a window begun, and when the ring's last rows are free.
        """
        taken, _, state = self._walk(offered, ready)
        return taken, state

    def departures(self, times: Int64Array) -> Int64Array:
        """Return when each beat of the first image is offered, given when its pixels are."""
        begun = self._walk(times, None)[1]
        found: Int64Array = begun[:, None] + self.code.slot_ends + self.depth
        return found.ravel()

    def _walk(self, offered: Int64Array, state: Any) -> tuple[Int64Array, Int64Array, Any]:
        rows, columns, slots = self.rows, self.columns, self.ring.slots
        now, free, freed = state or (0, 0, [0] * slots)
        freed = list(freed)  # when the slot of each of the next rows is free, then of all later
        arrivals = self.border.around(offered).reshape(rows.size, -1).tolist()
        taken: list[int] = []
        begun: list[int] = []
        window = 0
        for row, beats in enumerate(arrivals):
            now = max(now, freed[row])
            for time in beats:
                now = max(now, time) + self.each
                taken.append(now - 1)
            if window < rows.count and row == window * rows.stride + rows.reach:
                start = max(free, now)
                begun += range(start, start + columns.count * self.code.steps, self.code.steps)
                free = start + columns.count * self.code.steps
                window += 1
                gone = rows.stride if window < rows.count else rows.size - len(freed) + slots
                freed += [free + 3] * gone
        # An image's rows behind its last window are freed with that one.
        freed += [free + 3] * max(rows.size + slots - len(freed), 0)
        return (np.array(taken, np.int64)[self.border.real], np.array(begun, np.int64),
                (now, free, freed[rows.size :]))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        code, ring = self.code, self.ring
        enable = Signal(name="enable")
        address = Signal(range(code.steps), name="address")
        valid, last = Signal(name="window_there"), Signal(name="last_step")
        base, gone = self._windows(m, enable, valid, last)
        m.d.comb += last.eq(address == code.steps - 1)
        with m.If(enable & valid):
            m.d.sync += address.eq(Mux(last, 0, address + 1))
        bases = delayed(m, enable, base, 2, "base")
        leaves = delayed(m, enable, gone, 3, "rows_gone")

        def place(name: str, term: Value) -> Value:
            found = Signal(ring.bits, name=name)
            m.d.comb += found.eq(term + (bases[2] << ring.channel_bits))
            return found

        write = self._write(m, Mux(enable, leaves[3], 0), gone, enable, valid)
        copies = Copies(ring.bits, ring.row_bits, write, place)
        add_lanes(m, platform, self, Walk(enable, address, valid), copies)
        return m

    def _windows(
        self, m: Module, enable: Value, valid: Signal, last: Signal
    ) -> tuple[Value, Value]:
        """Walk over the windows; return the place {row, column} of the first pixel, and how many
        rows are done with in this step.
        """
        rows, columns, ring = self.rows, self.columns, self.ring
        x, y = Signal(range(columns.count), name="x"), Signal(range(rows.count), name="y")
        column = Signal(max(ring.column_bits, 1), name="column")
        row = Signal(ring.row_bits, name="row")
        row_end, image_end = Signal(name="row_end"), Signal(name="image_end")
        whole = rows.size - (rows.count - 1) * rows.stride  # rows that an image's last windows free
        gone = Signal(range(max(whole, rows.stride) + 1), name="gone")
        m.d.comb += [row_end.eq(x == columns.count - 1), image_end.eq(y == rows.count - 1)]
        with m.If(valid & last & row_end):
            m.d.comb += gone.eq(Mux(image_end, whole, rows.stride))
        with m.If(enable & valid & last):
            m.d.sync += [
                x.eq(Mux(row_end, 0, x + 1)),
                column.eq(Mux(row_end, 0, column + columns.stride)),
            ]
            with m.If(row_end):
                m.d.sync += [y.eq(Mux(image_end, 0, y + 1)), row.eq(row + gone)]
        place = Cat(column, row) if ring.column_bits else row
        return place, gone

    def _write(self, m: Module, freed: Value, gone: Value, enable: Value,
               valid: Signal) -> list[Signal]:
        """Write the codes into the ring; return the port of the copies.

        ``room`` counts the rows of the ring that may be written, ``whole`` those that have been and
        are not yet done with; a row of windows begins when all its rows are whole.
        """
        ring = self.ring
        channel = Signal(max(ring.channel_bits, 1), name="channel")
        column = Signal(range(self.columns.size), name="to_column")
        row = Signal(ring.row_bits, name="to_row")
        # Rows behind an image's last window are done with before they come.
        early = self.rows.size
        room = Signal(range(ring.slots + early + 1), name="room", init=ring.slots)
        whole = Signal(range(-early, ring.slots + early), name="whole_rows")
        pixel_end, row_end = Signal(name="pixel_end"), Signal(name="to_row_end")
        parts: list[Value] = []
        if ring.channel_bits:
            parts.append(channel)
        if ring.column_bits:
            parts.append((column | Const(0, ring.column_bits))[: ring.column_bits])
        has_room, there = Signal(name="has_room", init=1), Signal(name="rows_there")
        beats: Any = self.i
        if not self.border.real.all():
            m.submodules.border = border = self.border
            wiring.connect(m, wiring.flipped(self.i), border.i)
            beats = border.o
        writer = write_port(m, self, beats, has_room, Cat(*parts, row))
        room_after, whole_after = Signal.like(room), Signal.like(whole)
        room_after.name, whole_after.name = "room_after", "whole_after"
        m.d.comb += [
            pixel_end.eq(writer.beat_end & (channel == ring.places - 1)),
            row_end.eq(pixel_end & (column == self.columns.size - 1)),
            valid.eq(there),
            room_after.eq(room + freed - row_end),
            whole_after.eq(whole + row_end - Mux(enable, gone, 0)),
        ]
        # What they say stands in registers beside them, for the enables.
        m.d.sync += [
            room.eq(room_after),
            whole.eq(whole_after),
            has_room.eq(room_after != 0),
            there.eq(whole_after > self.rows.reach),
        ]
        with m.If(writer.done):
            m.d.sync += channel.eq(Mux(pixel_end, 0, channel + 1))
        with m.If(pixel_end):
            m.d.sync += column.eq(Mux(row_end, 0, column + 1))
        with m.If(row_end):
            m.d.sync += row.eq(row + 1)
        return writer.port
