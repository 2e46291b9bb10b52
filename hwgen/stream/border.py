"""An image with its padding around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import Int64Array
from hwgen.stream.beat import BeatFormat
from hwgen.stream.raster import Axis


class Border(wiring.Component):
    """Puts beats of zeros around the pixels of a stream.

    Parameters
    ----------
    source : BeatFormat
        Of the pixels, whole or in folds.
    rows, columns : Axis
        Of the window that reads them: what is put around is what their windows reach.

    Attributes: real, which of the beats that leave have come.
    Throughput: a beat a cycle. Latency: none, but for the beats in front.
    """

    def __init__(self, *, source: BeatFormat, rows: Axis, columns: Axis) -> None:
        self.source, self.rows, self.columns = source, rows, columns
        real = np.zeros((rows.padded.size, columns.padded.size, source.folds), bool)
        real[rows.before :, columns.before :][: rows.size, : columns.size] = True
        self.real = real.ravel()
        super().__init__({"i": In(source.signature), "o": Out(source.signature)})

    def around(self, beats: Int64Array) -> Int64Array:
        """Return when each beat with those around is offered, given when the pixels' are."""
        found = np.zeros(len(self.real), np.int64)
        found[self.real] = beats
        return found

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        step = Signal(name="step")
        ends: Value = step
        inside: list[Value] = []
        for name, size, axis in (("fold", self.source.folds, None),
                                 ("column", self.columns.padded.size, self.columns),
                                 ("row", self.rows.padded.size, self.rows)):
            place = Signal(range(size), name=name)
            following = Signal(range(size), name=f"next_{name}")
            end = Signal(name=f"{name}_end")
            m.d.comb += [end.eq(place == size - 1),
                         following.eq(Mux(ends, Mux(end, 0, place + 1), place))]
            m.d.sync += place.eq(following)
            ends = ends & end
            if axis is not None:
                inside.append((following >= axis.before)
                              & (following < axis.before + axis.size))
        real = Signal(name="real", init=not (self.rows.before or self.columns.before))
        m.d.sync += real.eq(inside[0] & inside[1])
        m.d.comb += [
            step.eq(self.o.valid & self.o.ready),
            self.o.valid.eq(self.i.valid | ~real),
            self.o.payload.eq(Mux(real, self.i.payload.as_value(), 0)),
            self.i.ready.eq(self.o.ready & real),
        ]
        return m
