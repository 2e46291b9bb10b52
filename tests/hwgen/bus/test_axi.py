"""Runs cut into bursts: AXI4's rules, and nothing lost."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hwgen.bus.axi import BurstCut
from hwgen.bus.axilite import AxiLiteTarget


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("word_bits", [32, 128, 512])
def test_bursts(word_bits):
    """Runs of all kinds of lengths and places: no burst meets 4 KiB, none is longer than 256."""
    rng = random.Random(word_bits)
    dut = BurstCut(word_bits=word_bits)
    size = word_bits // 8
    page = 4096 // size
    runs = [(0, 1), (page - 1, 2), (0, 256), (5, 256), (page, 3 * page + 1), (7, 1000)]
    runs += [(rng.randrange(1 << 16), rng.randint(1, 2 * page)) for _ in range(20)]

    async def bench(ctx):
        for address, length in runs:
            ctx.set(dut.valid, 1)
            ctx.set(dut.address, address)
            ctx.set(dut.length, length)
            assert ctx.get(dut.ready)
            await ctx.tick()
            ctx.set(dut.valid, 0)
            at, waited = address * size, 1
            while ctx.get(dut.busy):
                ready = rng.random() < 0.7
                ctx.set(dut.burst_ready, int(ready))
                valid = ctx.get(dut.burst_valid)
                assert valid or waited < dut.latency
                waited = 1 if ready and valid else waited + 1
                if ready and valid:
                    beats = ctx.get(dut.burst_length) + 1
                    assert ctx.get(dut.burst_address) == at
                    assert 1 <= beats <= 256
                    assert at // 4096 == (at + beats * size - 1) // 4096
                    at += beats * size
                await ctx.tick()
            assert at == (address + length) * size

    simulate(dut, bench)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_lite_target(seed):
    """Writes and reads in any order, with gaps; answers are those of the one who is asked."""
    rng = random.Random(seed)
    dut = AxiLiteTarget()
    store = {}

    async def gap(ctx):
        if seed is not None:
            await ctx.tick().repeat(rng.randint(0, 3) + 1)

    async def write(ctx, address, data):
        ctx.set(dut.bus.awvalid, 1)
        ctx.set(dut.bus.awaddr, address)
        await gap(ctx)
        ctx.set(dut.bus.wvalid, 1)
        ctx.set(dut.bus.wdata, data)
        ctx.set(dut.bus.wstrb, 15)
        while not ctx.get(dut.bus.awready & dut.bus.wready):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.bus.awvalid, 0)
        ctx.set(dut.bus.wvalid, 0)
        await gap(ctx)
        ctx.set(dut.bus.bready, 1)
        while not ctx.get(dut.bus.bvalid):
            await ctx.tick()
        found = ctx.get(dut.bus.bresp)
        await ctx.tick()
        ctx.set(dut.bus.bready, 0)
        return found

    async def read(ctx, address):
        ctx.set(dut.bus.arvalid, 1)
        ctx.set(dut.bus.araddr, address)
        while not ctx.get(dut.bus.arready):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.bus.arvalid, 0)
        while not ctx.get(dut.bus.rvalid):
            await ctx.tick()
        held = ctx.get(dut.bus.rdata), ctx.get(dut.bus.rresp)
        await gap(ctx)
        assert ctx.get(dut.bus.rvalid)
        assert (ctx.get(dut.bus.rdata), ctx.get(dut.bus.rresp)) == held
        ctx.set(dut.bus.rready, 1)
        await ctx.tick()
        ctx.set(dut.bus.rready, 0)
        return held

    async def bench(ctx):
        for turn in range(40):
            address = 4 * rng.randrange(8)
            if turn % 2:
                assert await read(ctx, address) == (
                    store.get(address, 0), 2 if address == 28 else 0)
            else:
                data = rng.randrange(1 << 32)
                assert await write(ctx, address, data) == (2 if address == 28 else 0)

    async def slave(ctx):
        """Answers a request some cycles later; address 28 is an error."""
        while True:
            await ctx.tick()
            if ctx.get(dut.write | dut.read):
                if seed is not None:
                    await ctx.tick().repeat(rng.randint(1, 3))
                address = ctx.get(dut.address)
                if ctx.get(dut.write):
                    store[address] = ctx.get(dut.data)
                ctx.set(dut.answer, store.get(address, 0))
                ctx.set(dut.error, int(address == 28))
                ctx.set(dut.done, 1)
                await ctx.tick()
                ctx.set(dut.done, 0)
                ctx.set(dut.answer, 0xDEAD)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(slave, background=True)
    simulator.add_testbench(bench)
    simulator.run()
