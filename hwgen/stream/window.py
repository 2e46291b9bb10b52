"""Line buffer and window: a raster stream of pixels becomes a stream of windows.

Zeros (or another padding code) are pushed in behind each row and each image where the padding needs
them, so that one run of them serves the right edge of a row and the left edge of the next, the
bottom of an image and the top of the next. Pixels then walk over a raster of ``rows`` x
``columns``::

    columns  0 .. W-1    W .. columns-1
    row 0    pixels      padding           The two counters name the place of the window's last
    ...      pixels      padding           tap (bottom right). A window leaves when that place is
    row H    padding     padding           one of the rows first, first + stride, ..., last, and
                                           likewise for the column.

After a reset the padding behind the last row is walked once before the first image, then the
padding rows, so that neither what an interrupted image left in the line memory can be seen nor what
was there at power-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.stream.beat import BeatFormat, packed
from hwgen.verilog import BLOCK, add


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

    def hit(self, m: Module, place: Signal, step: Value, name: str) -> Value:
        """Return a bit that is high while ``place`` is a window's; ``step`` is the bit that moves
        it on.
        """
        inside: Value = Const(1, 1)
        if self.first > 0:
            inside = inside & (place >= self.first)
        if self.last < self.places - 1:
            inside = inside & (place <= self.last)
        if self.stride == 1:
            return inside
        start = -self.first % self.stride
        # Wrong in the first walk over padding alone, in which no window leaves.
        phase = Signal(range(self.stride), name=f"{name}_phase", init=start)
        with m.If(step):
            m.d.sync += phase.eq(
                Mux(place == self.places - 1, start, Mux(phase == self.stride - 1, 0, phase + 1))
            )
        return inside & (phase == 0)


def in_blocks(columns: int, bits: int) -> bool:
    """Tell whether a line memory is to lie in block RAM: where distributed RAM would take more than
    16 LUT positions for each block (16 words of 4 bits take 6, a block has words of 36 bits).
    """
    distributed = 6 * -(-columns // 16) * -(-bits // 4)
    return distributed > 16 * -(-bits // 36) * -(-columns // 512)


class Lines(wiring.Component):
    """One word a column, for the rows above: the word of the next column is read while this one is
    written.

    Parameters: bits of a word; columns; first, the column of the first step. Members: column, step:
    ``data`` is written to ``column`` and the next column is read; prime: the first column is read;
    above, the word read, valid until the next step. Resources: one memory of columns x bits, one
    write and one read port.
    """

    def __init__(self, *, bits: int, columns: int, first: int = 0) -> None:
        self.bits, self.columns, self.first = bits, columns, first
        super().__init__(
            {
                "column": In(range(columns)),
                "step": In(1),
                "prime": In(1),
                "data": In(bits),
                "above": Out(bits),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        words = memory.Memory(shape=unsigned(self.bits), depth=self.columns, init=[])
        m.submodules[f"{BLOCK}words" if in_blocks(self.columns, self.bits) else "words"] = words
        read, write = words.read_port(), words.write_port()
        following = Signal(range(self.columns), name="following")
        m.d.comb += [
            following.eq(Mux(self.column == self.columns - 1, 0, self.column + 1)),
            read.en.eq(self.step | self.prime),
            read.addr.eq(Mux(self.prime, self.first, following)),
            write.en.eq(self.step),
            write.addr.eq(self.column),
            write.data.eq(self.data),
            self.above.eq(read.data),
        ]
        return m


class Window(wiring.Component):
    """Line buffer and window registers.

    Parameters
    ----------
    format : BeatFormat
        Of the pixels; one fold.
    rows, columns : Axis
        The window's walk down and across.
    fill : tuple of int or None
        Code of the padding, lane by lane: the lowest codes where a maximum follows. None: 0.

    Members
    -------
    i : In(stream), pixels in raster order. o : Out(stream), windows in raster order; payload fields
    ``c0, c1, ...`` are the taps in the order (kernel row, kernel column, channel).

    Latency: 1 cycle from a window's last pixel. Interval: rows.places * columns.places cycles an
    image. Resources: (kernel rows - 1) * dilation rows of line memory, a register a place under the
    kernel.
    """

    latency = 1

    def __init__(
        self, *, format: BeatFormat, rows: Axis, columns: Axis, fill: tuple[int, ...] | None = None
    ) -> None:
        if format.folds != 1:
            raise ValueError(f"A window needs whole pixels, not {format.folds} folds")
        for axis in (rows, columns):
            if axis.before > axis.reach:
                raise ValueError(
                    f"Padding must be at most the window's reach of {axis.reach}, not {axis.before}"
                )
        self.format, self.rows, self.columns = format, rows, columns
        self.fill = fill = (0,) * format.lanes if fill is None else fill
        self.taps = rows.kernel * columns.kernel
        self.tap_lo = tuple(map(min, format.lo, fill)) * self.taps
        self.tap_hi = tuple(map(max, format.hi, fill)) * self.taps
        self.layout = packed(self.tap_lo, self.tap_hi)
        self.interval = rows.places * columns.places
        super().__init__({"i": In(format.signature), "o": Out(stream.Signature(self.layout))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rows, columns = self.rows, self.columns
        pixel = packed(self.tap_lo[: self.format.lanes], self.tap_hi[: self.format.lanes])
        # The first walk begins behind the last row's last pixel.
        column = Signal(range(columns.places), name="column", init=columns.size % columns.places)
        row = Signal(
            range(rows.places), name="row", init=(rows.size - bool(columns.zeros)) % rows.places
        )
        started = Signal(
            name="started", init=not (rows.zeros or columns.zeros)
        )  # that walk is done
        primed = Signal(name="primed")  # the line memory's output is valid
        step = Signal(name="step")
        real = Signal(name="is_pixel")  # this place is a pixel of the image
        at_end = Signal(name="at_end")
        m.d.comb += [
            real.eq((row < rows.size) & (column < columns.size)),
            step.eq(primed & (~self.o.valid | self.o.ready) & (~real | self.i.valid)),
            self.i.ready.eq(primed & (~self.o.valid | self.o.ready) & real),
            at_end.eq(column == columns.places - 1),
        ]
        m.d.sync += primed.eq(1)
        with m.If(step):
            m.d.sync += column.eq(Mux(at_end, 0, column + 1))
            with m.If(at_end):
                m.d.sync += row.eq(Mux(row == rows.places - 1, 0, row + 1))
                with m.If(row == rows.places - 1):
                    m.d.sync += started.eq(1)

        fresh = Signal(pixel, name="pixel")
        for n, lane in enumerate(self.format.values(self.i.payload)):
            m.d.comb += fresh[f"c{n}"].eq(Mux(real, lane, self.fill[n]))
        stack = self._line_memory(m, platform, fresh, column, step, ~primed)
        taps = self._taps(m, pixel, stack, step)
        m.d.comb += self.o.payload.eq(Cat(*taps))

        valid = Signal(name="window_valid")
        hit = rows.hit(m, row, step & at_end, "row") & columns.hit(m, column, step, "column")
        m.d.comb += self.o.valid.eq(valid)
        with m.If(step):
            m.d.sync += valid.eq(hit & started)
        with m.Elif(self.o.ready):
            m.d.sync += valid.eq(0)
        return m

    def _line_memory(
        self,
        m: Module,
        platform: Any,
        fresh: data.View[Any],
        column: Signal,
        step: Signal,
        prime: Value,
    ) -> list[Value]:
        """Return the pixels of this column: element n is the one n rows up, 0 the new pixel."""
        depth, bits = self.rows.reach, len(fresh.as_value())
        stack: list[Value] = [fresh.as_value()]
        if depth == 0:
            return stack
        if self.columns.places == 1:
            for n in range(1, depth + 1):
                above = Signal(bits, name=f"up_{n}", reset_less=True)
                with m.If(step):
                    m.d.sync += above.eq(stack[-1])
                stack.append(above)
            return stack
        # One word a column holds the rows above. The word of the next column is read while this one
        # is written: the two addresses never meet, and synthesis can see that.
        lines = Lines(bits=depth * bits, columns=self.columns.places, first=column.init)
        add(m, platform, "lines", lines)
        m.d.comb += [
            lines.column.eq(column),
            lines.step.eq(step),
            lines.prime.eq(prime),
            lines.data.eq(Cat(fresh.as_value(), lines.above)),
        ]
        return [*stack, *(lines.above[n * bits : (n + 1) * bits] for n in range(depth))]

    def _taps(
        self, m: Module, pixel: data.StructLayout, stack: list[Value], step: Signal
    ) -> list[Value]:
        """Return the taps in the order (row, column), a whole pixel each."""
        rows, columns = self.rows, self.columns
        blank = pixel.const({f"c{n}": code for n, code in enumerate(self.fill)}).as_value().value
        taps = []
        for r in range(rows.kernel):
            source = stack[(rows.kernel - 1 - r) * rows.dilation]
            places: list[Signal] = []  # places[n]: the pixel n columns to the left
            for n in range(columns.reach + 1):
                place = Signal(pixel.size, name=f"row_{r}_back_{n}", init=blank)
                with m.If(step):
                    m.d.sync += place.eq(places[-1] if places else source)
                places.append(place)
            taps += [
                places[(columns.kernel - 1 - c) * columns.dilation] for c in range(columns.kernel)
            ]
        return taps
