"""Line buffer and window for words that come a digit a cycle.

Pixels walk over the same raster as in hwgen.stream.window. Only in rows in which windows leave do
their digits go on into the window: a place takes ``steps`` cycles there, one a digit, and 1 cycle
elsewhere. The taps of a kernel row are one chain of digits, ``steps`` of them a place::

    pixel and the rows above ──► digit ──► [ .... ][ .... ][ .... ]     a row of a kernel of 3 taps,
                                           tap 2   tap 1   tap 0        4 digits a place

so that the digit at a tap's front is followed by the others while the next pixel comes in. A word
of the sums may take longer than its taps' digits: then the chain stands still, and the digits
behind a tap's last one are its sign, or 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.stream.beat import BeatFormat
from hwgen.stream.raster import Axis, Raster
from hwgen.stream.window import pixels_above


class Walk:
    """When a serial window takes its pixels and begins its words.

    Parameters: rows, columns, Axis; steps, digits of a pixel; digits, of a word.
    """

    def __init__(self, *, rows: Axis, columns: Axis, steps: int, digits: int) -> None:
        self.rows, self.columns, self.steps, self.digits = rows, columns, steps, digits

    @property
    def interval(self) -> int:
        """Cycles an image takes if every pixel is there in time."""
        quiet, spaced = self.rows.places - self.rows.count, self.columns.stride * self.steps
        waits = max(self.digits - spaced, 0) * (self.columns.count - 1)
        behind = (self.columns.places - (self.columns.count - 1) * self.columns.stride) * self.steps
        row = (self.columns.count - 1) * spaced + waits + max(behind, self.digits)
        return quiet * self.columns.places + self.rows.count * row

    def run(
        self, offered: Int64Array, ready: tuple[int, int] = (0, 0)
    ) -> tuple[Int64Array, Int64Array, tuple[int, int]]:
        """Walk over one image.

        Parameters: offered, (pixels,) cycle in which each pixel is there; ready, the first cycles
        in which the walk, and a word, can begin. Returns: the cycles in which each pixel is taken,
        those in which each word's first digit enters the window, and ``ready`` of the next image.
        """
        rows, columns = self.rows, self.columns
        across = range(columns.first, columns.last + 1, columns.stride)
        down = range(rows.first, rows.last + 1, rows.stride)
        taken, begun, pixel = np.empty(offered.size, np.int64), [], 0
        now, free = ready
        arrivals = offered.tolist()
        for row in range(rows.places):
            walked = row in down
            for column in range(columns.places):
                real = row < rows.size and column < columns.size
                if real:
                    now = max(now, arrivals[pixel])
                if walked and column in across:
                    now = max(now, free)
                    begun.append(now)
                    free = now + self.digits
                now += self.steps if walked else 1
                if real:
                    taken[pixel] = now - 1
                    pixel += 1
        return taken, np.array(begun, np.int64), (now, free)


class SerialWindow(wiring.Component):
    """Line buffer and window, a digit of every tap a cycle.

    Parameters
    ----------
    format : BeatFormat
        Of the pixels; one fold.
    rows, columns : Axis
        The window's walk down and across. Padding is code 0.
    digit : int
        Bits a cycle.
    digits : int
        Of the words that are made of the taps: they begin at least so many cycles apart.

    Members
    -------
    i : In(stream), pixels in raster order. en : In(1), enable of every register.
    start : Out(1), high in the cycle before digit 0. x : Out, this cycle's digit of every tap, in
    the order (kernel row, kernel column, channel).

    Latency: 1 cycle from a window's last pixel to ``start``. Interval: ``walk.interval``.
    Resources: (kernel rows - 1) * dilation rows of line memory, a register a bit under the kernel.
    """

    latency = 1

    def __init__(
        self, *, format: BeatFormat, rows: Axis, columns: Axis, digit: int, digits: int
    ) -> None:
        if format.folds != 1:
            raise ValueError(f"A window needs whole pixels, not {format.folds} folds")
        for axis in (rows, columns):
            if axis.before > axis.reach:
                raise ValueError(
                    f"Padding must be at most the window's reach of {axis.reach}, not {axis.before}"
                )
        self.format, self.rows, self.columns, self.digit = format, rows, columns, digit
        self.steps = -(-max(shape.width for shape in format.shapes) // digit)
        if digits < self.steps:
            raise ValueError(f"Words of at least {self.steps} digits needed, not {digits}")
        self.walk = Walk(rows=rows, columns=columns, steps=self.steps, digits=digits)
        self.interval = self.walk.interval
        self.taps = rows.kernel * columns.kernel
        super().__init__(
            {
                "i": In(format.signature),
                "en": In(1),
                "start": Out(1),
                "x": Out(unsigned(self.taps * format.lanes * digit)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rows, columns, steps = self.rows, self.columns, self.steps
        primed, moves, step = Signal(name="primed"), Signal(name="moves"), Signal(name="step")
        place = Raster(m, rows=rows, columns=columns, step=step)
        walked, hit = Signal(name="walked"), Signal(name="hit")
        count = Signal(range(steps), name="digit_of_pixel")
        fresh, last = Signal(name="first_digit", init=1), Signal(name="last_digit", init=steps == 1)
        waits = Signal(name="waits")  # no word can begin yet
        m.d.comb += [
            walked.eq(place.in_row & place.started),
            hit.eq(place.in_column & walked),
            moves.eq(
                self.en & primed & (~place.real | self.i.valid) & ~(hit & fresh & waits)
            ),
            step.eq(moves & (~walked | last)),
            self.i.ready.eq(step & place.real),
        ]
        if steps > 1:
            with m.If(moves & walked):
                m.d.sync += [
                    count.eq(Mux(last, 0, count + 1)),
                    fresh.eq(last),
                    last.eq(count == (steps - 2) % steps),
                ]
        begins = moves & hit & fresh
        if self.walk.digits > 1:
            # Cycles since a word began, one high: ``waits`` needs no comparison behind ``moves``.
            began = Signal(self.walk.digits - 1, name="began")
            m.d.sync += waits.eq(begins | (waits & ~(self.en & began[-1])))
            with m.If(self.en):
                m.d.sync += began.eq(Cat(begins, began))

        shown = Signal(name="shown")  # the chains' fronts are digits of a window
        with m.If(self.en):
            m.d.sync += [self.start.eq(begins), shown.eq(moves & hit)]
        pixel = Signal(self.format.bits, name="pixel")
        m.d.comb += pixel.eq(Mux(place.real, self.i.payload.as_value(), 0))
        stack = pixels_above(m, platform, pixel, rows, columns, place.column, step, primed)
        clear = step & place.at_end & ~walked
        fronts = [self._chain(m, r, stack, count, moves & walked, clear)
                  for r in range(rows.kernel)]
        self._digits(m, [front for row_fronts in fronts for front in row_fronts], shown)
        return m

    def _chain(
        self, m: Module, r: int, stack: list[Value], count: Signal, moves: Value, clear: Value
    ) -> list[Signal]:
        """Return this cycle's digits of the taps of kernel row r, all channels of a tap together.

        With padding on the left what the row before has left in the chain is cleared: that row may
        have been one without windows.
        """
        rows, columns, digit = self.rows, self.columns, self.digit
        pixel = stack[(rows.kernel - 1 - r) * rows.dilation]
        digits: list[Value] = []
        for k in range(self.steps):
            parts: list[Value] = []
            offset = 0
            for shape in self.format.shapes:
                lane = pixel[offset : offset + shape.width]
                parts.append(_digit(lane, shape, k, digit))
                offset += shape.width
            digits.append(Cat(*parts))
        places: list[Signal] = []
        for n in range(columns.reach * self.steps + 1):
            place = Signal(self.format.lanes * digit, name=f"row_{r}_back_{n}",
                           reset_less=columns.before == 0)
            if columns.before:
                with m.If(clear):
                    m.d.sync += place.eq(0)
                with m.Elif(moves):
                    m.d.sync += place.eq(places[-1] if places else _chosen(digits, count))
            else:
                with m.If(moves):
                    m.d.sync += place.eq(places[-1] if places else _chosen(digits, count))
            places.append(place)
        apart = columns.dilation * self.steps
        return [places[(columns.kernel - 1 - c) * apart] for c in range(columns.kernel)]

    def _digits(self, m: Module, fronts: list[Signal], shown: Signal) -> None:
        """Register the digits of all taps; behind the last one their signs, or 0."""
        parts: list[Value] = []
        ends = Signal(name="ends")  # a reset that goes before the enable: no LUTs
        m.d.comb += ends.eq(self.en & ~shown)
        for n, front in enumerate(fronts):
            for lane, shape in enumerate(self.format.shapes):
                held = Signal(self.digit, name=f"tap_{n}_{lane}")
                after = held[-1].replicate(self.digit) if shape.signed else Const(0, self.digit)
                with m.If(ends):
                    m.d.sync += held.eq(after)
                with m.Elif(self.en):
                    m.d.sync += held.eq(front[lane * self.digit : (lane + 1) * self.digit])
                parts.append(held)
        m.d.comb += self.x.eq(Cat(*parts))


def _digit(word: Value, shape: Shape, k: int, digit: int) -> Value:
    """Return digit k of a word, extended by its sign."""
    bits = word[k * digit : (k + 1) * digit]
    missing = digit - len(bits)
    if missing <= 0:
        return bits
    return Cat(bits, word[-1].replicate(missing) if shape.signed else Const(0, missing))


def _chosen(values: list[Value], index: Value) -> Value:
    """Return ``values[index]`` by choices of two."""
    bit = 0
    while len(values) > 1:
        values = [
            Mux(index[bit], *reversed(values[n : n + 2])) if n + 1 < len(values) else values[n]
            for n in range(0, len(values), 2)
        ]
        bit += 1
    return values[0]
