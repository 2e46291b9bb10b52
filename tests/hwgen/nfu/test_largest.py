"""The running argmax against numpy's, ties and lanes without a channel among them."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.nfu.config import Config
from hwgen.nfu.largest import LargestLane


@pytest.mark.parametrize("finishers", [1, 2, 4])
def test_class(finishers):
    config = Config(tn=4, finishers=finishers)
    dut = LargestLane(config=config)
    rng = np.random.default_rng(finishers)

    async def bench(ctx):
        for turn in range(40):
            classes = int(rng.integers(1, 13))
            values = rng.integers(-3, 4, classes) if turn % 2 else rng.integers(
                -(1 << 30), 1 << 30, classes)
            full = np.full(-(-classes // 4) * 4, 1 << 30)       # what is no channel must not win
            full[:classes] = values
            for tile in range(0, classes, 4):
                ctx.set(dut.base, tile)
                ctx.set(dut.lanes, min(4, classes - tile))
                for lane in range(0, 4, finishers):
                    word = 0
                    for n in range(finishers):
                        word |= (int(full[tile + lane + n]) & (1 << 32) - 1) << 32 * n
                    ctx.set(dut.totals, word)
                    ctx.set(dut.lane, lane)
                    ctx.set(dut.fresh, tile == 0 and lane == 0)
                    ctx.set(dut.enable, 1)
                    await ctx.tick()
                ctx.set(dut.enable, 0)
                await ctx.tick()
            await ctx.tick().repeat(dut.latency)
            assert ctx.get(dut.found) == int(np.argmax(values))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
