"""Memory on chip: banks are one memory, words come and go a cycle apart."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hwgen.bus.memory import ChipMemory, bank_sizes


@pytest.mark.parametrize("words", [1, 96, 512, 513, 600, 1024, 1500, 3600, 12800, 15872])
def test_bank_sizes(words):
    sizes = bank_sizes(words)
    assert 1 <= len(sizes) <= 3
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes[:-1]) < words <= sum(sizes)
    assert all(size & size - 1 == 0 for size in sizes) or sizes == [words]


@pytest.mark.parametrize("words", [96, 1024, 1500, 1800])
def test_runs_over_the_banks(words):
    """Written in runs and by poke, read in runs and by peek, over every border."""
    rng = random.Random(words)
    dut = ChipMemory(word_bits=64, words=words)
    port = dut.runs
    content = [rng.randrange(1 << 64) for _ in range(words)]

    async def write(ctx, address, length):
        ctx.set(port.write_address, address)
        ctx.set(port.write_length, length)
        ctx.set(port.write_valid, 1)
        assert ctx.get(port.write_ready)
        await ctx.tick()
        ctx.set(port.write_valid, 0)
        sent = 0
        while ctx.get(port.write_busy):
            valid = rng.random() < 0.8
            ctx.set(port.wdata_valid, int(valid))
            ctx.set(port.wdata, content[min(address + sent, words - 1)])
            assert ctx.get(port.wdata_ready)
            sent += valid
            await ctx.tick()
        ctx.set(port.wdata_valid, 0)
        assert sent == length

    async def read(ctx, runs):
        """Runs asked for as soon as they are taken: no cycle is lost between them."""
        found, asked, cycle, first = [], list(runs), 0, None
        while len(found) < sum(length for _, length in runs):
            ctx.set(port.read_valid, int(bool(asked)))
            if asked:
                ctx.set(port.read_address, asked[0][0])
                ctx.set(port.read_length, asked[0][1])
            if ctx.get(port.data_valid):
                first = cycle if first is None else first
                assert cycle == first + len(found)
                found.append(ctx.get(port.data))
            if asked and ctx.get(port.read_ready):
                asked.pop(0)
            await ctx.tick()
            cycle += 1
        assert first == dut.latency
        return found

    async def bench(ctx):
        half = words // 2
        await write(ctx, 0, half)
        for n in range(half, words):
            ctx.set(dut.poke, 1)
            ctx.set(dut.poke_address, n)
            for part in range(2):
                ctx.set(dut.poke_data, content[n] if part else content[n] ^ 1 << 63)
                ctx.set(dut.poke_mask, 1 << part)
                await ctx.tick()
        ctx.set(dut.poke, 0)
        runs = [(0, words), (words - 1, 1), (5, 1), (6, 2), (words - 40, 40)]
        wanted = [word for address, length in runs for word in content[address : address + length]]
        assert await read(ctx, runs) == wanted
        ctx.set(dut.peek, 1)
        for n in (0, half, words - 1, *(rng.randrange(words) for _ in range(20))):
            ctx.set(dut.peek_address, n)
            await ctx.tick().repeat(4)
            assert ctx.get(dut.peek_data) == content[n]

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
