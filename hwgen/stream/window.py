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

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.stream.beat import BeatFormat, packed
from hwgen.stream.raster import Axis, Raster
from hwgen.verilog import BLOCK, add


def in_blocks(columns: int, bits: int) -> bool:
    """Tell whether a line memory is to lie in block RAM: where distributed RAM would take more than
    16 LUT positions for each block (16 words of 4 bits take 6, a block has words of 36 bits).
    """
    distributed = 6 * -(-columns // 16) * -(-bits // 4)
    return distributed > 16 * -(-bits // 36) * -(-columns // 512)


def columns_ahead(columns: int, bits: int) -> int:
    """Return how many columns before its own a word is read: 2 with a register behind block RAM."""
    return 2 if in_blocks(columns, bits) and columns > 2 else 1


class Lines(wiring.Component):
    """One word a column, for the rows above: while a word is written, that of the column after the
    next one is read, and that of the next one goes into a register behind the memory. Without block
    RAM the next column's word is read, without a further register.

    Parameters: bits of a word; columns; first, the column of the first step. Members: column, step:
    ``data`` is written to ``column``, and ``above`` is the next column's word from then on; primed,
    there has been time since the reset to read the first one. Resources: one memory of columns x
    bits, one write and one read port.
    """

    def __init__(self, *, bits: int, columns: int, first: int = 0) -> None:
        self.bits, self.columns, self.first = bits, columns, first
        self.in_blocks = in_blocks(columns, bits)
        self.ahead = columns_ahead(columns, bits)
        super().__init__(
            {
                "column": In(range(columns)),
                "step": In(1),
                "data": In(bits),
                "above": Out(bits),
                "primed": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        words = memory.Memory(shape=unsigned(self.bits), depth=self.columns, init=[])
        m.submodules[f"{BLOCK}words" if self.in_blocks else "words"] = words
        read, write = words.read_port(), words.write_port()
        fetch, following = Signal(name="fetch"), Signal(range(self.columns), name="following")
        started = [Signal(name=f"started_{n}") for n in range(self.ahead)]
        after: Value = self.column + self.ahead
        for n in range(self.ahead):
            after = Mux(self.column == self.columns - 1 - n, self.ahead - 1 - n, after)
        begin: Value = Const(self.first)
        for n, signal in enumerate(started[:-1], 1):
            begin = Mux(signal, (self.first + n) % self.columns, begin)
        m.d.sync += Cat(started).eq(Cat(1, *started))
        m.d.comb += [
            self.primed.eq(started[-1]),
            following.eq(Mux(self.primed, after, begin)),
            fetch.eq(self.step | ~self.primed),
            read.en.eq(fetch),
            read.addr.eq(following),
            write.en.eq(self.step & self.primed),
            write.addr.eq(self.column),
            write.data.eq(self.data),
        ]
        if self.ahead == 1:
            m.d.comb += self.above.eq(read.data)
        else:
            held = Signal(self.bits, name="held", reset_less=True)
            with m.If(fetch):
                m.d.sync += held.eq(read.data)
            m.d.comb += self.above.eq(held)
        return m


def pixels_above(
    m: Module, platform: Any, fresh: Value, rows: Axis, columns: Axis, column: Signal,
    step: Value, primed: Signal,
) -> list[Value]:
    """Return the pixels of this column: element n is the one n rows up, 0 the new pixel.

    Parameters: fresh, the new pixel; rows, columns, the window's walk; column, of the new pixel;
    step, it is taken; primed is driven: the pixels above are valid.
    """
    depth, bits = rows.reach, len(fresh)
    stack: list[Value] = [fresh]
    if depth == 0 or columns.places == 1:
        m.d.sync += primed.eq(1)
        for n in range(1, depth + 1):
            above = Signal(bits, name=f"up_{n}", reset_less=True)
            with m.If(step):
                m.d.sync += above.eq(stack[-1])
            stack.append(above)
        return stack
    # One word a column holds the rows above. The addresses of reading and writing never meet, and
    # synthesis can see that.
    lines = Lines(bits=depth * bits, columns=columns.places, first=column.init)
    add(m, platform, "lines", lines)
    m.d.comb += [
        lines.column.eq(column),
        lines.step.eq(step),
        primed.eq(lines.primed),
        lines.data.eq(Cat(fresh, lines.above)),
    ]
    return [*stack, *(lines.above[n * bits : (n + 1) * bits] for n in range(depth))]


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
    straight : bool
        As of hwgen.stream.control.pipeline.

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
        self, *, format: BeatFormat, rows: Axis, columns: Axis,
        fill: tuple[int, ...] | None = None, straight: bool = False
    ) -> None:
        if format.folds != 1:
            raise ValueError(f"A window needs whole pixels, not {format.folds} folds")
        for axis in (rows, columns):
            if axis.before > axis.reach:
                raise ValueError(
                    f"Padding must be at most the window's reach of {axis.reach}, not {axis.before}"
                )
        self.format, self.rows, self.columns = format, rows, columns
        self.straight = straight
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
        primed = Signal(name="primed")  # the line memory's output is valid
        step, free = Signal(name="step"), Signal(name="free")
        place = Raster(m, rows=rows, columns=columns, step=step)
        m.d.comb += [
            free.eq(primed & (self.o.ready if self.straight else ~self.o.valid | self.o.ready)),
            step.eq(free & (~place.real | self.i.valid)),
            self.i.ready.eq(free & place.real),
        ]

        fresh = Signal(pixel, name="pixel")
        for n, lane in enumerate(self.format.values(self.i.payload)):
            m.d.comb += fresh[f"c{n}"].eq(Mux(place.real, lane, self.fill[n]))
        stack = pixels_above(m, platform, fresh.as_value(), rows, columns, place.column, step,
                             primed)
        taps = self._taps(m, pixel, stack, step)
        m.d.comb += self.o.payload.eq(Cat(*taps))

        valid = Signal(name="window_valid")
        m.d.comb += self.o.valid.eq(valid)
        with m.If(step):
            m.d.sync += valid.eq(place.in_row & place.in_column & place.started)
        with m.Elif(self.o.ready):
            m.d.sync += valid.eq(0)
        return m

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
