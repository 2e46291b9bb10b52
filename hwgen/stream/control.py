"""Handshakes that the components share: a pipeline with one enable, a skid buffer, a fork."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.hdl import ShapeLike, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


def pipeline(
    m: Module, i: stream.Interface, o: stream.Interface, stages: int, straight: bool = False
) -> Value:
    """Connect the handshake of a pipeline of ``stages`` register levels; return its clock enable.

    All levels move together: while the last one holds a beat that is not taken, none moves. Every
    cycle in which the enable is high takes a beat if one is offered, or an empty slot. With no
    level the handshake is passed on and the enable is constant.

    ``straight``: the reader's ``ready`` comes from registers and waits for no ``valid``, as a skid
    buffer's does. Then it is the enable, empty slots are not closed up, and pipelines one behind
    the other have one enable, without logic.
    """
    if stages == 0:
        m.d.comb += [o.valid.eq(i.valid), i.ready.eq(o.ready)]
        return i.valid
    full = [Signal(name=f"valid_{n}") for n in range(1, stages + 1)]
    enable = Signal(name="enable")
    moves = o.ready if straight else ~full[-1] | o.ready
    m.d.comb += [enable.eq(moves), i.ready.eq(enable), o.valid.eq(full[-1])]
    with m.If(enable):
        m.d.sync += [full[n].eq(full[n - 1] if n else i.valid) for n in range(stages)]
    return enable


def hold(m: Module, o: stream.Interface, enable: Signal, ends: Value, values: list[Value]) -> None:
    """Give results that come now and then to a stream, through one register.

    Parameters: m; o, whose payload has the fields ``c0, c1, ...``; enable, of every register in
    front, driven here: all stands still while a result is held back and the next one is ready;
    ends, ``values`` are a result.
    """
    done, full = Signal(name="done"), Signal(name="full")
    held = Signal(o.payload.shape(), name="held", reset_less=True)
    m.d.comb += [
        done.eq(ends),
        enable.eq(~(done & full & ~o.ready)),
        o.valid.eq(full),
        o.payload.eq(held),
    ]
    with m.If(done & enable):
        m.d.sync += [full.eq(1), *(held[f"c{n}"].eq(value) for n, value in enumerate(values))]
    with m.Elif(o.ready):
        m.d.sync += full.eq(0)


class SkidBuffer(wiring.Component):
    """Registers on both sides of a stream: neither ``valid`` nor ``ready`` passes through in one
    cycle.

    Latency: 1 cycle. Throughput: 1 beat a cycle. Capacity: 2 beats.
    """

    latency = 1

    def __init__(self, *, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        out = Signal(self.shape, name="out", reset_less=True)
        spare = Signal(self.shape, name="spare", reset_less=True)
        out_full, spare_full = Signal(name="out_full"), Signal(name="spare_full")
        m.d.comb += [
            self.o.valid.eq(out_full),
            self.o.payload.eq(out),
            self.i.ready.eq(~spare_full),
        ]
        with m.If(~out_full | self.o.ready):
            m.d.sync += [
                out.eq(Mux(spare_full, spare, self.i.payload)),
                out_full.eq(spare_full | self.i.valid),
                spare_full.eq(0),
            ]
        with m.Elif(self.i.valid & ~spare_full):
            m.d.sync += [spare.eq(self.i.payload), spare_full.eq(1)]
        return m


class Fork(wiring.Component):
    """Give every beat to ``count`` readers, each at its own time.

    A reader may take a beat before the others do; the next beat comes when all have taken this one.
    Latency: 0 cycles. Throughput: 1 beat a cycle.
    """

    latency = 0

    def __init__(self, *, shape: ShapeLike, count: int) -> None:
        if count < 2:
            raise ValueError(f"A fork needs at least 2 readers, not {count}")
        self.shape, self.count = shape, count
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                **{f"o{n}": Out(stream.Signature(shape)) for n in range(count)},
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        outs = [getattr(self, f"o{n}") for n in range(self.count)]
        done = Signal(self.count)
        taken = Signal(self.count)
        for n, o in enumerate(outs):
            m.d.comb += [
                o.payload.eq(self.i.payload),
                o.valid.eq(self.i.valid & ~done[n]),
                taken[n].eq(done[n] | o.ready),
            ]
        m.d.comb += self.i.ready.eq(taken.all())
        with m.If(self.i.valid):
            m.d.sync += done.eq(Mux(taken.all(), 0, taken))
        return m
