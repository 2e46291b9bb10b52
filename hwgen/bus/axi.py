"""AXI4 as a manager: runs of words as bursts, several reads under way at a time.

A run is cut where it meets a boundary of 4 KiB or has 256 beats. Reads use one identifier, so their
data come in order; up to ``OUTSTANDING`` bursts are asked for ahead. A burst of a write is sent
when its address has been taken; its answer is waited for by ``write_busy``.
"""

from __future__ import annotations

from typing import Any

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import ADDRESS_BITS, LENGTH_BITS, MemorySignature
from hwgen.verilog import add

OUTSTANDING = 4
BOUNDARY = 4096
BEATS = 256


class AxiSignature(wiring.Signature):
    """AXI4 with identifiers of one bit, always 0, seen from the manager. Bursts are INCR, words
    whole.
    """

    def __init__(self, *, data_bits: int) -> None:
        self.data_bits = data_bits
        address: dict[str, Any] = {}
        for channel in ("aw", "ar"):
            address |= {
                f"{channel}id": Out(1), f"{channel}valid": Out(1), f"{channel}ready": In(1),
                f"{channel}addr": Out(32),
                f"{channel}len": Out(8), f"{channel}size": Out(3), f"{channel}burst": Out(2),
                f"{channel}lock": Out(1), f"{channel}cache": Out(4), f"{channel}prot": Out(3),
            }
        super().__init__({
            **address,
            "wvalid": Out(1), "wready": In(1), "wdata": Out(data_bits),
            "wstrb": Out(data_bits // 8), "wlast": Out(1),
            "bid": In(1), "bvalid": In(1), "bready": Out(1), "bresp": In(2),
            "rid": In(1), "rvalid": In(1), "rready": Out(1), "rdata": In(data_bits), "rresp": In(2),
            "rlast": In(1),
        })


class BurstCut(wiring.Component):
    """Cuts runs into bursts.

    Members: valid, ready, address, length : a run in words; burst_valid, burst_ready, burst_address
    (bytes), burst_length (beats less 1) : Out. busy : Out, a run is being cut.

    Latency: 2 cycles from a run taken to its first burst. Interval: 2 cycles a burst.
    """

    latency = 2

    def __init__(self, *, word_bits: int) -> None:
        self.word_bits = word_bits
        self.low = (word_bits // 8 - 1).bit_length()
        super().__init__({
            "valid": In(1), "ready": Out(1), "address": In(ADDRESS_BITS - self.low),
            "length": In(LENGTH_BITS), "busy": Out(1),
            "burst_valid": Out(1), "burst_ready": In(1), "burst_address": Out(32),
            "burst_length": Out(8),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        at = Signal(ADDRESS_BITS - self.low, name="at")
        left = Signal(LENGTH_BITS, name="left")
        page = BOUNDARY >> self.low                        # words up to the next boundary
        most = min(page, BEATS)
        low = (most - 1).bit_length()
        # Aligned to ``most`` words, a burst meets no boundary. ``left`` is compared with the room
        # in the cycle before ``known``. Beats are counted less 1.
        room, fits = Signal(low, name="room_less_1"), Signal(name="fits")
        known = Signal(name="known")
        m.d.comb += [
            room.eq(~at[:low]), self.ready.eq(~self.busy),
            self.burst_valid.eq(known), self.burst_address.eq(at << self.low),
            self.burst_length.eq(Mux(fits, left, room)),
        ]
        m.d.sync += [fits.eq(~(room - left)[-1]), known.eq(self.busy)]
        with m.If(self.valid & ~self.busy):
            m.d.sync += [at.eq(self.address), left.eq(self.length - 1), self.busy.eq(1)]
        with m.Elif(known & self.burst_ready):
            beats = Cat(at[:low], C(-1, len(left) - low))  # less than 0: those of the room
            m.d.sync += [at.eq((at[low:] + 1) << low), left.eq(left + beats), known.eq(0)]
            with m.If(fits):
                m.d.sync += self.busy.eq(0)
        return m


class AxiMaster(wiring.Component):
    """Serves a memory port from AXI4.

    Members: runs : the NFU's; bus : AXI4, the manager's side.

    Errors: an answer that is not OKAY or EXOKAY raises ``read_fault`` or ``write_fault``; the words
    come all the same.
    """

    def __init__(self, *, word_bits: int) -> None:
        self.word_bits = word_bits
        super().__init__({"runs": In(MemorySignature(word_bits=word_bits)),
                          "bus": Out(AxiSignature(data_bits=word_bits))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        size = (self.word_bits // 8 - 1).bit_length()
        for channel in ("aw", "ar"):
            # INCR; normal, not cacheable, bufferable; data, secure, unprivileged.
            m.d.comb += [getattr(self.bus, f"{channel}size").eq(size),
                         getattr(self.bus, f"{channel}burst").eq(1),
                         getattr(self.bus, f"{channel}cache").eq(3)]
        self._reads(m, platform)
        self._writes(m, platform)
        return m

    def _reads(self, m: Module, platform: Any) -> None:
        port, bus = self.runs, self.bus
        cut = BurstCut(word_bits=self.word_bits)
        add(m, platform, "read_cut", cut)
        flying = Signal(range(OUTSTANDING + 1), name="flying")
        held, address, length = (Signal(name="ar_held"), Signal(32, name="ar_address"),
                                 Signal(8, name="ar_length"))
        ended = bus.rvalid & bus.rready & bus.rlast
        # The address channel has a register: valid and payload stay until taken.
        take = cut.burst_valid & ~held & (flying != OUTSTANDING)
        m.d.comb += [
            cut.valid.eq(port.read_valid), port.read_ready.eq(cut.ready),
            cut.address.eq(port.read_address), cut.length.eq(port.read_length),
            cut.burst_ready.eq(take), bus.arvalid.eq(held), bus.araddr.eq(address),
            bus.arlen.eq(length), bus.rready.eq(1),
            port.data_valid.eq(bus.rvalid), port.data.eq(bus.rdata),
            port.read_fault.eq(bus.rvalid & bus.rresp[1]),
        ]
        m.d.sync += flying.eq(flying + take - ended)
        with m.If(take):
            m.d.sync += [held.eq(1), address.eq(cut.burst_address), length.eq(cut.burst_length)]
        with m.Elif(bus.arready):
            m.d.sync += held.eq(0)

    def _writes(self, m: Module, platform: Any) -> None:
        port, bus = self.runs, self.bus
        cut = BurstCut(word_bits=self.word_bits)
        add(m, platform, "write_cut", cut)
        held, address, length = (Signal(name="aw_held"), Signal(32, name="aw_address"),
                                 Signal(8, name="aw_length"))
        sending, left = Signal(name="sending"), Signal(8, name="beats_left")
        flying = Signal(range(OUTSTANDING + 1), name="answers")
        sent = bus.wvalid & bus.wready
        take = cut.burst_valid & ~held & ~sending & (flying != OUTSTANDING)
        m.d.comb += [
            cut.valid.eq(port.write_valid), port.write_ready.eq(cut.ready),
            cut.address.eq(port.write_address), cut.length.eq(port.write_length),
            cut.burst_ready.eq(take), bus.awvalid.eq(held), bus.awaddr.eq(address),
            bus.awlen.eq(length),
            bus.wvalid.eq(sending & port.wdata_valid), port.wdata_ready.eq(sending & bus.wready),
            bus.wdata.eq(port.wdata), bus.wstrb.eq((1 << self.word_bits // 8) - 1),
            bus.wlast.eq(left == 0), bus.bready.eq(1),
            port.write_busy.eq(cut.busy | held | sending | (flying != 0)),
            port.write_fault.eq(bus.bvalid & bus.bresp[1]),
        ]
        m.d.sync += flying.eq(flying + take - (bus.bvalid & bus.bready))
        with m.If(take):
            m.d.sync += [held.eq(1), address.eq(cut.burst_address), length.eq(cut.burst_length),
                         sending.eq(1), left.eq(cut.burst_length)]
        with m.Else():
            with m.If(bus.awready):
                m.d.sync += held.eq(0)
            with m.If(sent):
                m.d.sync += [left.eq(left - 1), sending.eq(left != 0)]
