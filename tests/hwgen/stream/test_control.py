# amaranth: UnusedElaboratable=no
from __future__ import annotations

import random

import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.stream.control import Fork, SkidBuffer, pipeline
from tests.hwgen.stream.harness import SEEDS, Sink, Source, exchange, port, run

BEATS = [(n,) for n in range(-30, 30)]


class Delay(wiring.Component):
    """A pipeline that only passes its input through the given number of registers."""

    def __init__(self, stages: int) -> None:
        self.stages = stages
        super().__init__(
            {"i": In(stream.Signature(signed(6))), "o": Out(stream.Signature(signed(6)))}
        )

    def elaborate(self, platform):
        m = Module()
        enable = pipeline(m, self.i, self.o, self.stages)
        word = self.i.payload
        for n in range(self.stages):
            later = Signal(signed(6), name=f"later_{n}")
            with m.If(enable):
                m.d.sync += later.eq(word)
            word = later
        m.d.comb += self.o.payload.eq(word)
        return m


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stages", [0, 1, 2, 5])
def test_pipeline(stages, seed):
    found, times = run(Delay(stages), BEATS, len(BEATS), seed=seed)
    assert found == BEATS
    if seed is None:
        assert times.taken == list(range(len(BEATS)))
        assert times.offered == [time + stages for time in times.taken]


@pytest.mark.parametrize("seed", SEEDS)
def test_skid_buffer(seed):
    found, times = run(SkidBuffer(shape=signed(6)), BEATS, len(BEATS), seed=seed)
    assert found == BEATS
    if seed is None:
        assert times.taken == list(range(len(BEATS)))
        assert times.offered == [time + SkidBuffer.latency for time in times.taken]


@pytest.mark.parametrize("seed", [2, 3])
def test_skid_buffer_out_of_step(seed):
    """Bursts in, bursts out: full, empty and in between, many times."""
    found, _ = run(SkidBuffer(shape=signed(6)), BEATS, len(BEATS), seed=seed, pace=0.3)
    assert found == BEATS


def test_skid_buffer_cuts_both_ways():
    """Neither ``ready`` nor ``valid`` passes in one cycle; two beats are taken with ``ready``
    low."""
    dut = SkidBuffer(shape=signed(6))
    from amaranth.sim import Simulator

    async def bench(ctx):
        for full in range(4):
            for valid in (0, 1):
                for ready in (0, 1):
                    ctx.set(dut.i.valid, valid)
                    ctx.set(dut.o.ready, ready)
                    assert (ctx.get(dut.i.ready), ctx.get(dut.o.valid)) == (full < 2, full > 0)
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.o.ready, 0)
            ctx.set(dut.i.payload, full)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [2, 3])
def test_fork(count, seed):
    dut = Fork(shape=signed(6), count=count)
    source = Source(port(dut.i), BEATS)
    sinks = [Sink(port(getattr(dut, f"o{n}")), len(BEATS)) for n in range(count)]
    exchange(dut, [source], sinks, seed=seed)
    for sink in sinks:
        assert sink.found == BEATS
        if seed is None:
            assert sink.given == source.taken == list(range(len(BEATS)))


def test_fork_lets_one_reader_take_first():
    """A reader gets its beat while another one does not take it yet; then it has to wait."""
    dut = Fork(shape=signed(6), count=2)
    from amaranth.sim import Simulator

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.i.payload, 5)
        ctx.set(dut.o1.ready, 1)
        assert (ctx.get(dut.o0.valid), ctx.get(dut.o1.valid), ctx.get(dut.i.ready)) == (1, 1, 0)
        for _ in range(random.Random(0).randrange(2, 5)):
            await ctx.tick()
            assert (ctx.get(dut.o0.valid), ctx.get(dut.o1.valid), ctx.get(dut.i.ready)) == (1, 0, 0)
        ctx.set(dut.o0.ready, 1)
        assert ctx.get(dut.i.ready) == 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def test_fork_of_one():
    with pytest.raises(ValueError, match="A fork needs at least 2 readers, not 1"):
        Fork(shape=1, count=1)
