"""Accumulators and running maxima against numpy."""

from __future__ import annotations

import numpy as np
from amaranth.sim import Simulator

from hwgen.nfu.config import Config
from hwgen.nfu.sums import Accumulators, Maxima
from tests.hwgen.nfu.test_neuron import packed


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def signed(word, n, bits):
    value = word >> n * bits & (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def test_sums_of_pixels_with_gaps():
    """Pixels of 1 to 5 steps, from zero or from partial sums, a cycle without a step between."""
    config = Config(tn=4)
    dut = Accumulators(config=config, total_bits=18)
    rng = np.random.default_rng(0)

    async def bench(ctx):
        for _ in range(40):
            steps = int(rng.integers(1, 6))
            resume = int(rng.integers(2))
            before = rng.integers(-(1 << 20), 1 << 20, 4) * resume
            totals = rng.integers(-(1 << 17), 1 << 17, (steps, 4))
            for n in range(steps):
                ctx.set(dut.enable, 1)
                ctx.set(dut.keep, n != 0)
                ctx.set(dut.resume, resume and n == 0)
                earlier = packed(before, 24) if resume and n == 0 else 0x123456
                ctx.set(dut.earlier, earlier)
                ctx.set(dut.totals, packed(totals[n], 18))
                await ctx.tick()
                if rng.random() < 0.3:
                    ctx.set(dut.enable, 0)
                    ctx.set(dut.totals, 77)
                    await ctx.tick()
            word = ctx.get(dut.sums)
            assert [signed(word, n, 24) for n in range(4)] == (
                before + totals.sum(axis=0)).tolist()

    simulate(dut, bench)


def test_maxima_ignore_what_is_outside():
    config = Config(tn=4)
    dut = Maxima(config=config)
    rng = np.random.default_rng(0)

    async def bench(ctx):
        for turn in range(60):
            steps = int(rng.integers(1, 6))
            x = rng.integers(-128, 256, (steps, 4))
            inside = rng.random(steps) < (0.5 if turn else 0.0)
            for n in range(steps):
                ctx.set(dut.enable, 1)
                ctx.set(dut.start, n == 0)
                ctx.set(dut.covered, int(inside[n]))
                ctx.set(dut.x, packed(x[n], 9))
                await ctx.tick()
            ctx.set(dut.enable, 0)
            await ctx.tick().repeat(Maxima.latency - 1)
            word = ctx.get(dut.largest)
            wanted = np.where(inside[:, None], x, -256).max(axis=0)
            assert [signed(word, n, 9) for n in range(4)] == wanted.tolist()

    simulate(dut, bench)
