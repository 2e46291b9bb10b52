"""Both ends of an asynchronous serial line, 8 data bits, no parity, one stop bit.

The bit clock is the top of a phase of 16 bits that a constant is added to each cycle, so any clock
will do: a bit's length is right to 0.2 % on average, and each edge to one cycle.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out

PHASE_BITS = 16
LEAST_CYCLES = 6               # of a bit: two of synchronising, and room for jitter
BITS = 10                      # of a byte on the line


def phase_step(*, clock_hz: int, baud: int) -> int:
    """Return what is added to the phase in each cycle.

    Raises: ValueError if a bit would take fewer than 6 cycles or more than 800, which the phase
    no longer gives to 1 %.
    """
    if not LEAST_CYCLES * baud <= clock_hz <= 800 * baud:
        raise ValueError(
            f"A bit must take from {LEAST_CYCLES} to 800 cycles, not {clock_hz / baud:.1f} "
            f"({baud} baud at {clock_hz / 1e6:g} MHz)"
        )
    return round(baud * (1 << PHASE_BITS) / clock_hz)


class UartRx(wiring.Component):
    """Bytes from a serial line.

    Parameters
    ----------
    step : int
        See :func:`phase_step`.

    Members
    -------
    rx : In(1)
        The line, not synchronised.
    o : Out(stream.Signature(8, always_ready=True))
        Each byte for one cycle.
    error : Out(1)
        For one cycle: a stop bit was missing, the byte is lost. Nothing more is read until the line
        has been high again.

    A byte is given in the middle of its stop bit.
    """

    def __init__(self, *, step: int) -> None:
        self.step = step
        super().__init__({
            "rx": In(1, init=1),
            "o": Out(stream.Signature(8, always_ready=True)),
            "error": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        line = Signal(name="line", init=1)
        m.submodules.synchroniser = cdc.FFSynchronizer(self.rx, line, init=1)
        phase, total = Signal(PHASE_BITS, name="phase"), Signal(PHASE_BITS + 1, name="total")
        count, tick = Signal(range(BITS), name="count"), Signal(name="tick")
        m.d.comb += [total.eq(phase + self.step), tick.eq(total[-1])]
        shift = Signal(8, name="shift")
        m.d.comb += self.o.payload.eq(shift)
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.sync += [phase.eq(1 << PHASE_BITS - 1), count.eq(0)]
                with m.If(~line):
                    m.next = "bits"
            with m.State("bits"):
                m.d.sync += phase.eq(total)
                with m.If(tick):
                    m.d.sync += [count.eq(count + 1), shift.eq(Cat(shift[1:], line))]
                    with m.If((count == 0) & line):         # too short for a start bit
                        m.next = "idle"
                    with m.If(count == BITS - 1):
                        m.d.sync += shift.eq(shift)
                        m.next = "done"
            with m.State("done"):
                m.d.comb += [self.o.valid.eq(line), self.error.eq(~line)]
                m.next = "idle"
                with m.If(~line):
                    m.next = "break"
            with m.State("break"):
                with m.If(line):
                    m.next = "idle"
        return m


class UartTx(wiring.Component):
    """Bytes onto a serial line.

    Parameters: step, see :func:`phase_step`.
    Members: i, In(stream.Signature(8)); tx, Out(1), the line.
    Throughput: a byte in ten bits and one cycle.
    """

    def __init__(self, *, step: int) -> None:
        self.step = step
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        phase, total = Signal(PHASE_BITS, name="phase"), Signal(PHASE_BITS + 1, name="total")
        shift = Signal(BITS - 1, name="shift", init=-1)
        count, line = Signal(range(BITS + 1), name="count"), Signal(name="line", init=1)
        m.d.comb += [total.eq(phase + self.step), self.i.ready.eq(count == 0), self.tx.eq(line)]
        with m.If(self.i.ready):
            m.d.sync += [phase.eq(0), shift.eq(Cat(self.i.payload, Const(1, 1)))]
            with m.If(self.i.valid):
                m.d.sync += [count.eq(BITS), line.eq(0)]
        with m.Else():
            m.d.sync += phase.eq(total)
            with m.If(total[-1]):
                m.d.sync += [count.eq(count - 1), line.eq(shift[0]),
                             shift.eq(Cat(shift[1:], Const(1, 1)))]
        return m
