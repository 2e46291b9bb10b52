"""The host link's frames in hardware; ``hwgen.boards.protocol`` is the same in software.

::

    bytes ──► Deframer ──► requests (identify, image, or what was wrong)
                  └──────► bytes of an image, to be believed only with the request behind them
    answer, payload ──► Framer ──► bytes
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from hwgen.boards.protocol import CRC_BYTES, HEADER_BYTES, MAX_PAYLOAD, SYNC, Fault, Kind

REQUEST = data.StructLayout({"kind": 8, "sequence": 8, "fault": 8})
ANSWER = HEADER = data.StructLayout({"kind": 8, "sequence": 8, "length": 16})


def _crc(m: Module, name: str) -> crc.Processor:
    processor = crc.Processor(CRC32_ISO_HDLC(8))
    m.submodules[name] = processor
    return processor


class Deframer(wiring.Component):
    """Requests out of a stream of bytes that may hold anything.

    Between frames bytes are dropped until the two of the synchronisation come. Whatever is wrong
    with a frame ends it: a request with its fault is given, and the search begins again at the next
    byte.

    Parameters
    ----------
    image_bytes : int
        Length of an image.
    timeout : int
        Cycles without a byte after which a frame that was begun is given up.

    Members
    -------
    i : In(stream.Signature(8, always_ready=True))
    line_error : In(1)
        A byte was lost on the line.
    busy : In(1)
        There is no room for an image; looked at when its header is complete.
    request : Out(stream.Signature(REQUEST, always_ready=True))
        ``kind`` is IDENTIFY or IMAGE, or ERROR with the ``fault``. ``sequence`` is that of the
        frame, 0 if its header was damaged.
    first : Out(1)
        For one cycle: the bytes of an image are about to come.
    o : Out(stream.Signature(8, always_ready=True))
        The bytes of an image, each for one cycle, before it is known whether they are right.
    """

    def __init__(self, *, image_bytes: int, timeout: int) -> None:
        if not 1 <= image_bytes <= MAX_PAYLOAD:
            raise ValueError(f"An image must have from 1 to {MAX_PAYLOAD} bytes, not {image_bytes}")
        if timeout < 1:
            raise ValueError(f"Timeout must be at least 1 cycle, not {timeout}")
        self.image_bytes = image_bytes
        self.timeout = timeout
        super().__init__({
            "i": In(stream.Signature(8, always_ready=True)),
            "line_error": In(1),
            "busy": In(1),
            "request": Out(stream.Signature(REQUEST, always_ready=True)),
            "first": Out(1),
            "o": Out(stream.Signature(8, always_ready=True)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        check = _crc(m, "crc")
        fields = Signal(HEADER, name="fields")
        left = Signal(range(MAX_PAYLOAD + CRC_BYTES + 1), name="left")
        waited = Signal(range(self.timeout + 1), name="waited")
        code, given_up = Signal(8, name="code"), Signal(name="given_up")
        m.d.comb += [
            check.data.eq(self.i.payload), self.o.payload.eq(self.i.payload),
            self.request.payload.sequence.eq(fields.sequence),
            self.request.payload.kind.eq(fields.kind),
            code.eq(Mux(self.line_error, Fault.LINE, Fault.TIMEOUT)),
            given_up.eq(self.line_error | (waited == self.timeout)),
        ]
        with m.FSM(name="state") as fsm:
            with m.State("search"):
                m.d.comb += check.start.eq(1)
                with m.If(self.i.valid & (self.i.payload == SYNC[0])):
                    m.next = "second"
            with m.State("second"):
                m.d.comb += check.start.eq(1)
                m.d.sync += left.eq(HEADER_BYTES - len(SYNC))
                with m.If(self.i.valid & (self.i.payload == SYNC[1])):
                    m.next = "header"
                with m.Elif(self.i.valid & (self.i.payload != SYNC[0])):
                    m.next = "search"
            with m.State("header"):
                m.d.comb += check.valid.eq(self.i.valid)
                with m.If(given_up):
                    m.d.comb += self.request.payload.sequence.eq(0)     # it may be wrong
                    self._fail(m, code)
                with m.Elif(self.i.valid):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left > CRC_BYTES):
                        m.d.sync += fields.eq(Cat(fields.as_value()[8:], self.i.payload))
                    with m.If(left == 1):
                        m.next = "judge"
            with m.State("judge"):
                m.d.comb += check.start.eq(1)
                m.d.sync += left.eq(fields.length + CRC_BYTES)
                self._judge(m, fields, check.match_detected)
            with m.State("payload"):
                m.d.comb += [check.valid.eq(self.i.valid),
                             self.o.valid.eq(self.i.valid & (left > CRC_BYTES))]
                with m.If(given_up):
                    self._fail(m, code)
                with m.Elif(self.i.valid):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "believe"
            with m.State("believe"):
                with m.If(check.match_detected):
                    m.d.comb += self.request.valid.eq(1)
                    m.next = "search"
                with m.Else():
                    self._fail(m, Fault.PAYLOAD)
        inside = fsm.ongoing("header") | fsm.ongoing("payload")
        with m.If(self.i.valid | ~inside):
            m.d.sync += waited.eq(0)
        with m.Else():
            m.d.sync += waited.eq(waited + 1)
        return m

    def _fail(self, m: Module, fault: Any) -> None:
        """End the frame with a fault."""
        m.d.comb += [self.request.valid.eq(1), self.request.payload.kind.eq(Kind.ERROR),
                     self.request.payload.fault.eq(fault)]
        m.next = "search"

    def _judge(self, m: Module, fields: Any, right: Any) -> None:
        """What follows a header."""
        with m.If(~right):
            m.d.comb += self.request.payload.sequence.eq(0)
            self._fail(m, Fault.HEADER)
        with m.Elif((fields.kind != Kind.IDENTIFY) & (fields.kind != Kind.IMAGE)):
            self._fail(m, Fault.KIND)
        with m.Elif(fields.length != Mux(fields.kind == Kind.IMAGE, self.image_bytes, 0)):
            self._fail(m, Fault.LENGTH)
        with m.Elif(fields.kind == Kind.IDENTIFY):
            m.d.comb += self.request.valid.eq(1)
            m.next = "search"
        with m.Elif(self.busy):
            self._fail(m, Fault.BUSY)
        with m.Else():
            m.d.comb += self.first.eq(1)
            m.next = "payload"


class Framer(wiring.Component):
    """Bytes of a frame from its header's fields and its payload.

    Members
    -------
    answer : In(stream.Signature(ANSWER))
        Taken when the frame begins. ``length`` is at least 1.
    payload : In(stream.Signature(8))
        Exactly ``length`` bytes are taken, and none before the answer is.
    o : Out(stream.Signature(8))
    """

    def __init__(self) -> None:
        super().__init__({
            "answer": In(stream.Signature(ANSWER)),
            "payload": In(stream.Signature(8)),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        check = _crc(m, "crc")
        held, place = Signal(ANSWER, name="held"), Signal(range(HEADER_BYTES), name="place")
        left, moved = Signal(16, name="left"), Signal(name="moved")
        header = [*SYNC, held.kind, held.sequence, held.length[:8], held.length[8:]]
        m.d.comb += [moved.eq(self.o.valid & self.o.ready), check.data.eq(self.o.payload)]
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.comb += [self.answer.ready.eq(1), check.start.eq(1)]
                m.d.sync += [held.eq(self.answer.payload), place.eq(0)]
                with m.If(self.answer.valid):
                    m.next = "header"
            with m.State("header"):
                m.d.comb += [self.o.valid.eq(1), check.valid.eq(moved & (place >= len(SYNC)))]
                with m.Switch(place):
                    for n, byte in enumerate(header):
                        with m.Case(n):
                            m.d.comb += self.o.payload.eq(byte)
                with m.If(moved):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == len(header) - 1):
                        m.d.sync += place.eq(0)
                        m.next = "header check"
            for name, following in (("header check", "payload"), ("payload check", "idle")):
                with m.State(name):
                    m.d.comb += [self.o.valid.eq(1),
                                 self.o.payload.eq(check.crc.word_select(place[:2], 8))]
                    m.d.sync += left.eq(held.length)
                    with m.If(moved):
                        m.d.sync += place.eq(place + 1)
                        with m.If(place == 3):
                            m.d.sync += place.eq(0)
                            m.d.comb += check.start.eq(1)
                            m.next = following
            with m.State("payload"):
                m.d.comb += [self.o.valid.eq(self.payload.valid),
                             self.o.payload.eq(self.payload.payload),
                             self.payload.ready.eq(self.o.ready), check.valid.eq(moved)]
                with m.If(moved):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "payload check"
        return m
