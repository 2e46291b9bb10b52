"""AXI4-Lite as a target: one access at a time, as plain requests and answers."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

OKAY, SLVERR = 0, 2


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite, 32 bits of data, seen from the manager."""

    def __init__(self) -> None:
        super().__init__({
            "awvalid": Out(1), "awready": In(1), "awaddr": Out(32), "awprot": Out(3),
            "wvalid": Out(1), "wready": In(1), "wdata": Out(32), "wstrb": Out(4),
            "bvalid": In(1), "bready": Out(1), "bresp": In(2),
            "arvalid": Out(1), "arready": In(1), "araddr": Out(32), "arprot": Out(3),
            "rvalid": In(1), "rready": Out(1), "rdata": In(32), "rresp": In(2),
        })


class AxiLiteTarget(wiring.Component):
    """Turns AXI4-Lite accesses into requests.

    Members
    -------
    bus : the target's side.
    write, read : Out, held until ``done``; address, data, strobe : Out, of the request.
    done : In, the request is answered; answer : In, what was read; error : In.

    A write waits for both its address and its data; of a read and a write at the same time the
    write goes first. Latency: 3 cycles and the answer's.
    """

    def __init__(self) -> None:
        super().__init__({
            "bus": In(AxiLiteSignature()),
            "write": Out(1), "read": Out(1), "address": Out(32), "data": Out(32), "strobe": Out(4),
            "done": In(1), "answer": In(32), "error": In(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus = self.bus
        with m.FSM(name="state"):
            with m.State("REST"):
                with m.If(bus.awvalid & bus.wvalid):
                    m.next = "TAKE WRITE"
                with m.Elif(bus.arvalid):
                    m.next = "TAKE READ"
            # A cycle of its own: what is asked stays, and no path leads from valid to ready.
            with m.State("TAKE WRITE"):
                m.d.comb += [bus.awready.eq(1), bus.wready.eq(1)]
                m.d.sync += [self.address.eq(bus.awaddr), self.data.eq(bus.wdata),
                             self.strobe.eq(bus.wstrb)]
                m.next = "WRITE"
            with m.State("TAKE READ"):
                m.d.comb += bus.arready.eq(1)
                m.d.sync += self.address.eq(bus.araddr)
                m.next = "READ"
            with m.State("WRITE"):
                m.d.comb += self.write.eq(1)
                with m.If(self.done):
                    m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(self._answer())]
                    m.next = "WRITTEN"
            with m.State("WRITTEN"):
                with m.If(bus.bready):
                    m.d.sync += bus.bvalid.eq(0)
                    m.next = "REST"
            with m.State("READ"):
                m.d.comb += self.read.eq(1)
                with m.If(self.done):
                    m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(self.answer),
                                 bus.rresp.eq(self._answer())]
                    m.next = "GIVEN"
            with m.State("GIVEN"):
                with m.If(bus.rready):
                    m.d.sync += bus.rvalid.eq(0)
                    m.next = "REST"
        return m

    def _answer(self) -> Signal:
        return self.error << 1
