"""What every board shares: a serial line in front of an engine with streams.

::

    rx ──► UartRx ──► Deframer ──► ImageBuffer ──► s_axis  engine  m_axis ──► Answers
                          │                                                    │
                          └── identify, faults ──────────────────────────────► │
    tx ◄── UartTx ◄── Framer ◄─────────────────────────────────────────────────┘

An image enters the engine when all of it has come and its CRC was right, and not before the result
of the one before it has left. While it enters, or waits, the next image is refused (BUSY).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.boards.link import ANSWER, Deframer, Framer
from hwgen.boards.protocol import (
    ENGINES,
    MAX_PAYLOAD,
    TRAILER_BYTES,
    VERSION,
    Identity,
    Kind,
)
from hwgen.boards.uart import UartRx, UartTx, phase_step

TIMEOUT_BYTES = 4096           # a frame is given up after so many bytes' time without one: 41 ms


@dataclass(frozen=True)
class Beats:
    """One side of the engine: bytes of a beat, beats of an image."""

    bytes: int
    beats: int

    @property
    def total(self) -> int:
        """Bytes of an image, or of its result."""
        return self.bytes * self.beats


class ImageBuffer(wiring.Component):
    """One image: bytes in, beats out as AXI4-Stream.

    Parameters: side, Beats of the engine's input.
    Members
    -------
    first : In(1)
        The next byte is the first of an image.
    i : In(stream.Signature(8, always_ready=True))
        Its bytes; what came before is overwritten.
    start : In(1)
        For one cycle: send the image. Bytes must not come until ``done``.
    done : Out(1)
        For one cycle: its last beat is being taken.
    tdata, tvalid, tready, tlast : the engine's input

    Throughput: a beat a cycle. The first is offered two cycles after ``start``.
    """

    def __init__(self, *, side: Beats) -> None:
        self.side = side
        super().__init__({
            "first": In(1),
            "i": In(stream.Signature(8, always_ready=True)),
            "start": In(1),
            "done": Out(1),
            "tdata": Out(8 * side.bytes),
            "tvalid": Out(1),
            "tready": In(1),
            "tlast": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        side, depth = self.side, range(self.side.beats)
        m.submodules.memory = words = memory.Memory(
            shape=8 * side.bytes, depth=max(side.beats, 2), init=[]
        )
        write, read = words.write_port(), words.read_port()
        place, lane = Signal(depth, name="place"), Signal(range(side.bytes), name="lane")
        held = Signal(8 * (side.bytes - 1), name="held")
        full = Signal(name="full")                      # this byte completes a beat
        m.d.comb += [
            full.eq(lane == side.bytes - 1),
            write.addr.eq(place),
            write.data.eq(Cat(held, self.i.payload)),
            write.en.eq(self.i.valid & full),
        ]
        with m.If(self.first):
            m.d.sync += [place.eq(0), lane.eq(0)]
        with m.Elif(self.i.valid):
            m.d.sync += [lane.eq(Mux(full, 0, lane + 1)), place.eq(place + full)]
            if side.bytes > 1:
                m.d.sync += held.eq(Cat(held, self.i.payload)[8:])

        going, step, behind = Signal(name="going"), Signal(name="step"), Signal(name="behind")
        fetch, at_end = Signal(depth, name="fetch"), Signal(name="at_end")
        m.d.comb += [
            at_end.eq(fetch == side.beats - 1),
            step.eq(going & (~self.tvalid | self.tready)),
            read.addr.eq(fetch),
            read.en.eq(step),
            self.tdata.eq(read.data),
            self.tvalid.eq(behind),
            self.done.eq(self.tvalid & self.tready & self.tlast),
        ]
        last = Signal(name="last")
        m.d.comb += self.tlast.eq(last)
        with m.If(self.start):
            m.d.sync += [going.eq(1), fetch.eq(0)]
        with m.If(self.tvalid & self.tready):
            m.d.sync += behind.eq(0)
        with m.If(step):
            m.d.sync += [behind.eq(1), last.eq(at_end), fetch.eq(fetch + 1), going.eq(~at_end)]
        return m


class Answers(wiring.Component):
    """The answers of the board: which comes next, and its payload.

    Parameters
    ----------
    side : Beats
        Of the engine's output.
    identity : bytes
        What is answered to IDENTIFY.

    Members
    -------
    identify, fault : In(1)
        For one cycle: answer so, with ``sequence`` (and ``code``). One of each is remembered.
    sequence, code : In(8)
    image_sequence : In(8)
        Of the image in the engine.
    cycles : In(32), status : In(1)
        What follows the beats of a result; looked at when its last one is taken.
    tdata, tvalid, tready, tlast : the engine's output
    answer, payload : to the framer
    """

    def __init__(self, *, side: Beats, identity: bytes) -> None:
        self.side = side
        self.identity = identity
        super().__init__({
            "identify": In(1), "fault": In(1), "sequence": In(8), "code": In(8),
            "image_sequence": In(8), "cycles": In(32), "status": In(1),
            "tdata": In(8 * side.bytes), "tvalid": In(1), "tready": Out(1), "tlast": In(1),
            "answer": Out(stream.Signature(ANSWER)),
            "payload": Out(stream.Signature(8)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        asked, asked_by = Signal(name="asked"), Signal(8, name="asked_by")
        failed, failed_of = Signal(name="failed"), Signal(8, name="failed_of")
        code, taken = Signal(8, name="code_held"), Signal(name="taken")
        answer = self.answer.payload
        m.d.comb += taken.eq(self.answer.valid & self.answer.ready)
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.comb += self.answer.valid.eq(self.tvalid | asked | failed)
                with m.If(self.tvalid):
                    m.d.comb += [answer.kind.eq(Kind.RESULT), answer.length.eq(self._length),
                                 answer.sequence.eq(self.image_sequence)]
                    with m.If(taken):
                        m.next = "beat"
                with m.Elif(failed):
                    m.d.comb += [answer.kind.eq(Kind.ERROR), answer.length.eq(1),
                                 answer.sequence.eq(failed_of)]
                    with m.If(taken):
                        m.d.sync += failed.eq(0)
                        m.next = "code"
                with m.Else():
                    m.d.comb += [answer.kind.eq(Kind.IDENTITY), answer.sequence.eq(asked_by),
                                 answer.length.eq(len(self.identity))]
                    with m.If(taken):
                        m.d.sync += asked.eq(0)
                        m.next = "identity"
            self._result(m)
            with m.State("code"):
                m.d.comb += [self.payload.valid.eq(1), self.payload.payload.eq(code)]
                with m.If(self.payload.ready):
                    m.next = "idle"
            with m.State("identity"):
                place = Signal(range(len(self.identity)), name="place")
                m.d.comb += self.payload.valid.eq(1)
                with m.Switch(place):
                    for n, byte in enumerate(self.identity):
                        with m.Case(n):
                            m.d.comb += self.payload.payload.eq(byte)
                with m.If(self.payload.ready):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == len(self.identity) - 1):
                        m.d.sync += place.eq(0)
                        m.next = "idle"
        with m.If(self.identify):
            m.d.sync += [asked.eq(1), asked_by.eq(self.sequence)]
        with m.If(self.fault):
            m.d.sync += [failed.eq(1), failed_of.eq(self.sequence), code.eq(self.code)]
        return m

    @property
    def _length(self) -> int:
        return self.side.total + TRAILER_BYTES

    def _result(self, m: Module) -> None:
        """The states of a result: take a beat, send its bytes, the last with the trailer."""
        width = self.side.bytes + TRAILER_BYTES
        shift, left = Signal(8 * width, name="shift"), Signal(range(width + 1), name="left")
        last = Signal(name="last")
        with m.State("beat"):
            m.d.comb += self.tready.eq(1)
            m.d.sync += [shift.eq(Cat(self.tdata, self.cycles, self.status)), last.eq(self.tlast),
                         left.eq(Mux(self.tlast, width, self.side.bytes))]
            with m.If(self.tvalid):
                m.next = "bytes"
        with m.State("bytes"):
            m.d.comb += [self.payload.valid.eq(1), self.payload.payload.eq(shift[:8])]
            with m.If(self.payload.ready):
                m.d.sync += [shift.eq(shift >> 8), left.eq(left - 1)]
                with m.If(left == 1):
                    m.next = "beat"
                    with m.If(last):
                        m.next = "idle"


def check_shell(*, image: Beats, result: Beats, clock_hz: int, baud: int) -> None:
    """Check that an image and a result fit in a frame each, and that the clock suits the line.

    Raises: ValueError if not.
    """
    for what, bytes_, most in (("An image", image.total, MAX_PAYLOAD),
                               ("A result", result.total, MAX_PAYLOAD - TRAILER_BYTES)):
        if not 1 <= bytes_ <= most:
            raise ValueError(f"{what} must have from 1 to {most} bytes, not {bytes_}")
    phase_step(clock_hz=clock_hz, baud=baud)


class Shell(wiring.Component):
    """Everything between the serial line and an engine with streams.

    Parameters
    ----------
    image, result : Beats
        The engine's two sides.
    identity : Identity
        Of the network and the board.
    clock_hz, baud : int
        Of the engine's clock, of the line.
    timeout_bytes : int
        A frame is given up after the time of so many bytes without one.

    Members
    -------
    rx, tx : the line
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast : to the engine
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast : from the engine
    frame_error : In(1), of the engine; bit 0 of a result's status

    The cycles of a result count from the first beat taken by the engine to the last one offered by
    it, its own waiting for the line included where a result has several beats.
    Raises: ValueError if the clock is too slow or too fast for the line, or an image or a result is
    longer than a frame.
    """

    def __init__(
        self, *, image: Beats, result: Beats, identity: Identity, clock_hz: int, baud: int,
        timeout_bytes: int = TIMEOUT_BYTES,
    ) -> None:
        check_shell(image=image, result=result, clock_hz=clock_hz, baud=baud)
        self.image, self.result, self.identity = image, result, identity
        self.clock_hz, self.baud, self.timeout_bytes = clock_hz, baud, timeout_bytes
        self.step = phase_step(clock_hz=clock_hz, baud=baud)
        timeout = round(timeout_bytes * 10 * clock_hz / baud)
        self.deframer = Deframer(image_bytes=image.total, timeout=timeout)
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1),
            "s_axis_tdata": Out(8 * image.bytes), "s_axis_tvalid": Out(1),
            "s_axis_tready": In(1), "s_axis_tlast": Out(1),
            "m_axis_tdata": In(8 * result.bytes), "m_axis_tvalid": In(1),
            "m_axis_tready": Out(1), "m_axis_tlast": In(1),
            "frame_error": In(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.uart_rx = rx = UartRx(step=self.step)
        m.submodules.uart_tx = tx = UartTx(step=self.step)
        m.submodules.deframer = deframer = self.deframer
        m.submodules.framer = framer = Framer()
        m.submodules.buffer = buffer = ImageBuffer(side=self.image)
        m.submodules.answers = answers = Answers(side=self.result, identity=self.identity.pack())
        wiring.connect(m, rx.o, deframer.i)
        wiring.connect(m, deframer.o, buffer.i)
        wiring.connect(m, answers.answer, framer.answer)
        wiring.connect(m, answers.payload, framer.payload)
        wiring.connect(m, framer.o, tx.i)
        m.d.comb += [rx.rx.eq(self.rx), self.tx.eq(tx.tx), deframer.line_error.eq(rx.error),
                     buffer.first.eq(deframer.first)]
        for part, name in ((buffer, "s_axis"), (answers, "m_axis")):
            for signal in ("tdata", "tvalid", "tready", "tlast"):
                inner, outer = getattr(part, signal), getattr(self, f"{name}_{signal}")
                into = part.signature.members[signal].flow is In
                m.d.comb += inner.eq(outer) if into else outer.eq(inner)
        self._requests(m, deframer, answers)
        self._engine(m, deframer, buffer, answers)
        return m

    @staticmethod
    def _requests(m: Module, deframer: Any, answers: Any) -> None:
        """Identify and faults go to the answers."""
        request = deframer.request
        m.d.comb += [
            answers.identify.eq(request.valid & (request.payload.kind == Kind.IDENTIFY)),
            answers.fault.eq(request.valid & (request.payload.kind == Kind.ERROR)),
            answers.sequence.eq(request.payload.sequence),
            answers.code.eq(request.payload.fault),
        ]

    def _engine(self, m: Module, deframer: Any, buffer: Any, answers: Any) -> None:
        """When an image goes in, and how long it takes."""
        request = deframer.request
        waiting, sequence = Signal(name="waiting"), Signal(8, name="sequence")
        entering, running = Signal(name="entering"), Signal(name="running")
        of_engine = Signal(8, name="of_engine")
        beats = Signal(range(self.result.beats), name="beats")
        cycles, counting = Signal(32, name="cycles"), Signal(name="counting")
        taken = self.m_axis_tvalid & self.m_axis_tready
        m.d.comb += [
            deframer.busy.eq(waiting | entering),
            answers.image_sequence.eq(of_engine),
            answers.status.eq(self.frame_error),
            answers.cycles.eq(cycles),
            buffer.start.eq(waiting & ~running),
        ]
        with m.If(request.valid & (request.payload.kind == Kind.IMAGE)):
            m.d.sync += [waiting.eq(1), sequence.eq(request.payload.sequence)]
        with m.If(buffer.start):
            m.d.sync += [waiting.eq(0), entering.eq(1), running.eq(1), of_engine.eq(sequence),
                         cycles.eq(0), counting.eq(0), beats.eq(0)]
        with m.If(buffer.done):
            m.d.sync += entering.eq(0)
        with m.If(taken):
            m.d.sync += beats.eq(beats + 1)
            with m.If(beats == self.result.beats - 1):
                m.d.sync += running.eq(0)
        offered = self.m_axis_tvalid & (beats == self.result.beats - 1)
        with m.If(buffer.tvalid & buffer.tready & ~counting):
            m.d.sync += [counting.eq(1), cycles.eq(1)]
        with m.Elif(counting & ~offered & (cycles != (1 << 32) - 1)):
            m.d.sync += cycles.eq(cycles + 1)


def make_shell(
    *, image: Beats, result: Beats, digest: str, clock_hz: int, baud: int, engine: str = "stream",
    **options: Any,
) -> Shell:
    """Return the shell of a network, its identity made from the rest."""
    identity = Identity(VERSION, ENGINES[engine], image.total, result.total,
                        round(clock_hz / 1000), digest)
    return Shell(image=image, result=result, identity=identity, clock_hz=clock_hz, baud=baud,
                 **options)


def instance_ports(shell: Shell, *, image: str, result: str, frame_error: str) -> Mapping[str, Any]:
    """Return the arguments of an Instance of the engine that join it to a shell.

    Parameters: image, result: prefixes of the engine's two streams; frame_error: its port, or "".
    """
    ports = {f"i_{image}_{name}": getattr(shell, f"s_axis_{name}")
             for name in ("tdata", "tvalid", "tlast")}
    ports[f"o_{image}_tready"] = shell.s_axis_tready
    ports |= {f"o_{result}_{name}": getattr(shell, f"m_axis_{name}")
              for name in ("tdata", "tvalid", "tlast")}
    ports[f"i_{result}_tready"] = shell.m_axis_tready
    if frame_error:
        ports[f"o_{frame_error}"] = shell.frame_error
    return ports
