"""Blocks of memory into the buffers and back, with ChipMemory on the other side."""

from __future__ import annotations

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hwgen.bus.memory import ChipMemory
from hwgen.nfu.config import Config
from hwgen.nfu.move import BlockWalk, Loader, Storer

CONFIG = Config(tn=4, memory_bytes=4096)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def set_block(ctx, dut, address, cols, rows=1, planes=1, row_pitch=0, plane_pitch=0):
    for name, value in (("address", address), ("cols", cols), ("rows", rows), ("planes", planes),
                        ("row_pitch", row_pitch), ("plane_pitch", plane_pitch)):
        ctx.set(getattr(dut.block, name), value)
    ctx.set(dut.single, (rows == 1) | (planes == 1) << 1)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_runs_of_a_block(seed):
    rng = random.Random(seed)
    dut = BlockWalk(config=CONFIG)
    block = {"address": 64, "cols": 3, "rows": 4, "planes": 2, "row_pitch": 40, "plane_pitch": 400}
    wanted = [((64 + 400 * plane + 40 * row) // 4, 3) for plane in range(2) for row in range(4)]
    found = []

    async def bench(ctx):
        set_block(ctx, dut, **block)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for _ in range(200):
            ready = seed is None or rng.random() < 0.5
            ctx.set(dut.ready, int(ready))
            if ready and ctx.get(dut.valid):
                found.append((ctx.get(dut.address), ctx.get(dut.length)))
            await ctx.tick()
        assert not ctx.get(dut.busy)

    simulate(dut, bench)
    assert found == wanted


@pytest.mark.parametrize(("address", "cols", "fault"), [
    (0, 1024, False), (4092, 1, False), (4092, 2, True), (4096, 1, True), (2, 1, True),
    (0xFFFFFFFC, 2, True),
])
def test_addresses(address, cols, fault):
    dut = BlockWalk(config=CONFIG)
    seen = []

    async def bench(ctx):
        set_block(ctx, dut, address, cols)
        ctx.set(dut.start, 1)
        ctx.set(dut.ready, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for _ in range(6):
            seen.append((ctx.get(dut.fault), ctx.get(dut.valid)))
            await ctx.tick()
        assert not ctx.get(dut.busy)

    simulate(dut, bench)
    assert any(one for one, _ in seen) == fault
    assert any(valid for _, valid in seen) != fault


class Moved(wiring.Component):
    """A loader and a storer at one memory."""

    def __init__(self):
        self.loader, self.storer = Loader(config=CONFIG), Storer(config=CONFIG)
        self.memory = ChipMemory(word_bits=32, words=1024)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules += [self.loader, self.storer, self.memory]
        for part in (self.loader, self.storer):
            for name, member in part.runs.signature.members.items():
                inner, outer = getattr(part.runs, name), getattr(self.memory.runs, name)
                m.d.comb += outer.eq(inner) if member.flow is wiring.Out else inner.eq(outer)
        return m


async def poke(ctx, dut, words):
    ctx.set(dut.memory.poke, 1)
    ctx.set(dut.memory.poke_mask, 1)
    for n, word in words.items():
        ctx.set(dut.memory.poke_address, n)
        ctx.set(dut.memory.poke_data, word)
        await ctx.tick()
    ctx.set(dut.memory.poke, 0)


@pytest.mark.parametrize(("buffer", "name", "words", "line"), [
    (0, "nbin", 1, 5), (1, "sb", 3, 2), (2, "taps", 1, 7), (3, "parameters", 4, 3),
    (4, "table", 4, 1),
])
def test_load_fills_lines(buffer, name, words, line):
    dut = Moved()
    content = {100 + n: 1000 + n for n in range(40)}
    found = []

    async def bench(ctx):
        await poke(ctx, dut, content)
        set_block(ctx, dut.loader, 400, 3, rows=4, row_pitch=16)
        ctx.set(dut.loader.buffer, buffer)
        ctx.set(dut.loader.line, line)
        ctx.set(dut.loader.start, 1)
        await ctx.tick()
        ctx.set(dut.loader.start, 0)
        for _ in range(60):
            fill = dut.loader.fill
            if ctx.get(getattr(fill, name)):
                found.append((ctx.get(fill.line), ctx.get(fill.word), ctx.get(fill.data)))
            others = {"nbin", "sb", "taps", "parameters", "table"} - {name}
            assert not any(ctx.get(getattr(fill, other)) for other in others)
            assert not ctx.get(dut.loader.word_valid)
            await ctx.tick()
        assert not ctx.get(dut.loader.busy)

    simulate(dut, bench)
    order = [content[100 + 4 * row + n] for row in range(4) for n in range(3)]
    assert found == [(line + n // words, n % words, word) for n, word in enumerate(order)]


def test_line_beyond_the_buffer():
    dut = Moved()
    seen = []

    async def bench(ctx):
        set_block(ctx, dut.loader, 0, 3)
        ctx.set(dut.loader.line, CONFIG.nbin_lines - 1)
        ctx.set(dut.loader.start, 1)
        await ctx.tick()
        ctx.set(dut.loader.start, 0)
        for _ in range(20):
            seen.append((ctx.get(dut.loader.overflow), ctx.get(dut.loader.fill.nbin)))
            await ctx.tick()
        assert not ctx.get(dut.loader.busy)

    simulate(dut, bench)
    assert sum(fill for _, fill in seen) == 1
    assert sum(overflow for overflow, _ in seen) == 2


def test_store_writes_lines():
    dut = Moved()

    async def bench(ctx):
        set_block(ctx, dut.storer, 64, 3, rows=2, planes=2, row_pitch=32, plane_pitch=256)
        ctx.set(dut.storer.line, 9)
        ctx.set(dut.storer.start, 1)
        await ctx.tick()
        ctx.set(dut.storer.start, 0)
        for _ in range(120):
            line = ctx.get(dut.storer.read_line)
            await ctx.tick()
            ctx.set(dut.storer.codes, 500 + line)              # as a memory: a cycle later
        assert not ctx.get(dut.storer.busy)
        ctx.set(dut.memory.peek, 1)
        n = 0
        for plane in range(2):
            for row in range(2):
                for col in range(3):
                    ctx.set(dut.memory.peek_address, 16 + 64 * plane + 8 * row + col)
                    await ctx.tick().repeat(5)
                    assert ctx.get(dut.memory.peek_data) == 509 + n
                    n += 1

    simulate(dut, bench)
