"""The walk over a raster of pixels and padding, and what each of its places is.

What a place is stands in registers, worked out a step ahead, so that only these registers and the
handshake are in front of the clock enables.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Const, Module, Mux, Signal, Value


@dataclass(frozen=True)
class Axis:
    """The walk of a window along one side of the raster, in places of its last tap.

    Parameters: size, pixels of the image; before and after, padding; kernel, stride, dilation.
    """

    size: int
    before: int
    after: int
    kernel: int
    stride: int = 1
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Distance from the first tap to the last."""
        return self.dilation * (self.kernel - 1)

    @property
    def count(self) -> int:
        """Number of windows."""
        return (self.size + self.before + self.after - self.reach - 1) // self.stride + 1

    @property
    def first(self) -> int:
        """Place of the first window's last tap."""
        return self.reach - self.before

    @property
    def last(self) -> int:
        """Place of the last window's last tap."""
        return self.first + (self.count - 1) * self.stride

    @property
    def zeros(self) -> int:
        """Places of padding behind the pixels: enough for this image's end and the next one's
        beginning.
        """
        return max(self.before, self.last - self.size + 1, 0)

    @property
    def places(self) -> int:
        """Places walked in all."""
        return self.size + self.zeros

    @property
    def padded(self) -> Axis:
        """The same windows over pixels that have the padding which they reach among them."""
        size = self.before + max(self.size, self.last + 1)
        return Axis(size, 0, 0, self.kernel, self.stride, self.dilation)

    def inside(self, place: Value) -> Value:
        """Return a bit that is high from the first window's place to the last one's."""
        found: Value = Const(1, 1)
        if self.first > 0:
            found = found & (place >= self.first)
        if self.last < self.places - 1:
            found = found & (place <= self.last)
        return found

    def hit(
        self, m: Module, place: Signal, following: Value, turns: Value, step: Value, name: str
    ) -> Value:
        """Return a register that is high while ``place`` is a window's.

        Parameters: following, the place that ``step`` moves on to; turns, it begins anew then.
        """
        if self.stride == 1 and self.count == self.places:
            return Const(1, 1)
        start = -self.first % self.stride
        found = Signal(
            name=f"{name}_hit", init=start == 0 and self.first <= place.init <= self.last
        )
        fits = self.inside(following)
        if self.stride > 1:
            # Wrong in the first walk over padding alone, in which no window leaves.
            phase = Signal(range(self.stride), name=f"{name}_phase", init=start)
            after = Signal.like(phase, name=f"{name}_next_phase")
            m.d.comb += after.eq(
                Mux(turns, start, Mux(phase == self.stride - 1, 0, phase + 1))
            )
            with m.If(step):
                m.d.sync += phase.eq(after)
            fits = fits & (after == 0)
        with m.If(step):
            m.d.sync += found.eq(fits)
        return found


class Raster:
    """Counters that walk over a raster, as part of a module.

    After a reset the padding behind the last row is walked once before the first image, then the
    padding rows.

    Parameters: m; rows, columns, Axis; step, the bit that moves on by one place.

    Attributes: column; at_end, of a row; real, the place is a pixel of the image; in_row and
    in_column, the place is a window's; started, the first walk over padding is done.
    """

    def __init__(self, m: Module, *, rows: Axis, columns: Axis, step: Signal) -> None:
        # The first walk begins behind the last row's last pixel.
        self.column = column = Signal(
            range(columns.places), name="column", init=columns.size % columns.places
        )
        row = Signal(
            range(rows.places), name="row", init=(rows.size - bool(columns.zeros)) % rows.places
        )
        self.started = started = Signal(name="started", init=not (rows.zeros or columns.zeros))
        next_column, next_row = Signal.like(column), Signal.like(row)
        next_column.name, next_row.name = "next_column", "next_row"
        self.at_end = at_end = _flag("at_end", columns.places, column.init)
        bottom = _flag("at_bottom", rows.places, row.init)
        m.d.comb += [
            next_column.eq(Mux(at_end, 0, column + 1)),
            next_row.eq(Mux(at_end, Mux(bottom, 0, row + 1), row)),
        ]
        with m.If(step):
            m.d.sync += [column.eq(next_column), row.eq(next_row)]
            if columns.places > 1:
                m.d.sync += at_end.eq(next_column == columns.places - 1)
            if rows.places > 1:
                m.d.sync += bottom.eq(next_row == rows.places - 1)
            with m.If(at_end & bottom):
                m.d.sync += started.eq(1)
        self.real: Value = Const(1, 1)
        if rows.zeros or columns.zeros:
            self.real = real = Signal(
                name="is_pixel", init=row.init < rows.size and column.init < columns.size
            )
            with m.If(step):
                m.d.sync += real.eq(_below(next_row, rows) & _below(next_column, columns))
        self.in_column = columns.hit(m, column, next_column, at_end, step, "column")
        self.in_row = rows.hit(m, row, next_row, bottom, step & at_end, "row")


def _flag(name: str, places: int, start: int) -> Signal:
    """Return a register that is high at the last of ``places``; there may be one alone."""
    return Signal(name=name, init=start == places - 1)


def _below(place: Value, axis: Axis) -> Value:
    return place < axis.size if axis.zeros else Const(1, 1)
