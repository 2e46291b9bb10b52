# amaranth: UnusedElaboratable=no
from __future__ import annotations

import pytest
from amaranth import Module
from amaranth.sim import Simulator

from hwgen.boards.uart import UartRx, UartTx, phase_step

TEXT = bytes([0x00, 0xFF, 0x55, 0xAA, 0x80, 0x01, 0x68, 0x67])


def line(text: bytes, cycles: float) -> list[int]:
    """Levels of a line, a cycle each, that bytes make with bits of ``cycles``."""
    levels = [level for byte in text
              for level in (0, *(byte >> n & 1 for n in range(8)), 1)]
    return [levels[int(n / cycles)] for n in range(int(cycles * len(levels)))]


def receive(levels: list[int], step: int) -> tuple[bytes, int]:
    """Bytes and errors that a receiver finds on a line."""
    dut, got, errors = UartRx(step=step), [], []

    async def drive(ctx):
        for level in [1] * 20 + levels + [1] * 30:
            ctx.set(dut.rx, level)
            if ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload))
            errors.append(ctx.get(dut.error))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return bytes(got), sum(errors)


@pytest.mark.parametrize("off", [0.97, 1.0, 1.03])
@pytest.mark.parametrize("cycles", [6, 7.3, 21.75])
def test_receives(cycles, off):
    """Any number of cycles a bit, and a sender that is too slow or too fast by 3 %, or 1 %."""
    step = phase_step(clock_hz=round(cycles * 1e6), baud=1_000_000)
    if cycles < 8:
        off = 1 + (off - 1) / 3                     # the edges are known to one cycle only
    assert receive(line(TEXT, cycles * off), step) == (TEXT, 0)


def test_missing_stop_bit():
    """The byte is lost, and the next one is right once the line was high."""
    levels = [0] * 100 + [1] * 20 + line(b"k", 8)
    assert receive(levels, 1 << 13) == (b"k", 1)


def test_short_pulse_is_no_start_bit():
    assert receive([0] * 2 + [1] * 20 + line(b"k", 8), 1 << 13) == (b"k", 0)


@pytest.mark.parametrize("cycles", [6, 9.6])
def test_sends(cycles):
    dut, levels = UartTx(step=phase_step(clock_hz=round(cycles * 1e6), baud=1_000_000)), []
    m = Module()
    m.submodules.dut = dut

    async def drive(ctx):
        for byte in TEXT:
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(round(11 * cycles))

    async def watch(ctx):
        async for _, _, level in ctx.tick().sample(dut.tx):
            levels.append(level)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_process(watch)
    simulator.run()
    got, place = [], 0
    while 0 in levels[place:]:
        start = levels.index(0, place)
        bits = [levels[int(start + (n + 0.5) * cycles)] for n in range(10)]
        assert (bits[0], bits[9]) == (0, 1)
        got.append(sum(bit << n for n, bit in enumerate(bits[1:9])))
        place = int(start + 9.5 * cycles)
    assert bytes(got) == TEXT


def test_step_is_right_to_two_per_thousand():
    for clock in (6_000_000, 7_299_270, 48_000_000, 100_000_000, 400_000_000):
        baud = phase_step(clock_hz=clock, baud=1_000_000) / (1 << 16) * clock
        assert abs(baud / 1e6 - 1) < 0.002 + 1 / (1 << 16) * clock / 2e6


@pytest.mark.parametrize(("clock", "cycles"), [(5_000_000, "5.0"), (801_000_000, "801.0")])
def test_clock_wrong(clock, cycles):
    with pytest.raises(ValueError, match=rf"from 6 to 800 cycles, not {cycles} \(1000000 baud at"):
        phase_step(clock_hz=clock, baud=1_000_000)
