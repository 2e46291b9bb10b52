"""The harness finds what it is there to find: each fault is planted in a register stage."""

from __future__ import annotations

import pytest
from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tests.hwgen.stream.harness import StreamFault, run


class Stage(wiring.Component):
    """One register; with one of the faults, if named."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        full, held = Signal(name="full"), Signal(8, name="held")
        asked, other = Signal(name="asked"), Signal(name="other")
        free = ~full | self.o.ready
        m.d.comb += [self.i.ready.eq(free), self.o.valid.eq(full), self.o.payload.eq(held)]
        with m.If(free):
            m.d.sync += [full.eq(self.i.valid), held.eq(self.i.payload)]
        m.d.sync += [asked.eq(self.o.ready), other.eq(~other)]
        match self.fault:
            case "drops under stall":
                m.d.comb += self.i.ready.eq(1)
            case "payload changes":
                m.d.comb += self.o.payload.eq(held + (full & other))
            case "payload is not held":
                m.d.comb += self.o.payload.eq(Mux(asked, held, self.i.payload))
            case "valid goes away":
                m.d.comb += self.o.valid.eq(full & other)
            case "valid waits for ready":
                m.d.comb += self.o.valid.eq(full & self.o.ready)
            case "valid waits for a cycle of ready":
                m.d.comb += self.o.valid.eq(full & asked)
            case "takes what is not valid":
                with m.If(free):
                    m.d.sync += full.eq(self.i.valid | (full & other))
            case "stands still":
                with m.If(held == 5):
                    m.d.comb += self.i.ready.eq(0)
        return m


BEATS = [(n,) for n in range(40)]


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_good_stage(seed):
    found, times = run(Stage(), BEATS, len(BEATS), seed=seed)
    assert found == BEATS
    assert {b - a for a, b in zip(times.taken, times.offered, strict=True)} == (
        {1} if seed is None else {b - a for a, b in zip(times.taken, times.offered, strict=True)}
    )
    if seed is None:
        assert times.taken == list(range(len(BEATS)))
    else:
        assert times.taken[-1] > 1.3 * len(BEATS)


@pytest.mark.parametrize(
    "fault",
    [
        "drops under stall",
        "payload changes",
        "payload is not held",
        "valid goes away",
        "valid waits for ready",
        "valid waits for a cycle of ready",
        "takes what is not valid",
        "stands still",
    ],
)
def test_fault_is_found(fault):
    try:
        found, _ = run(Stage(fault), BEATS, len(BEATS), seed=0)
    except StreamFault:
        return
    assert found != BEATS


def test_dropped_word_passes_flat_out():
    """Why every component is also run with gaps."""
    assert run(Stage("drops under stall"), BEATS, len(BEATS))[0] == BEATS


def test_reset_starts_anew():
    found, _ = run(Stage(), [*BEATS[:5], None, *BEATS[7:20]], 13, seed=1)
    assert found == BEATS[7:20]
