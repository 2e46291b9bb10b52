"""The finisher's lane against its formula in Python's integers."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hwgen.nfu import isa
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.finish_lane import FinishLane


def entry(bias, offset, sign, up, shift, base):
    raw = isa.pack(isa.PARAMETER, {
        "bias": bias, "offset_low": offset & 0xFFFFFFFF, "offset_high": offset >> 32 & 0xFFFF,
        "up": up, "negative": int(sign < 0), "zero": int(sign == 0), "shift": shift,
        "base": base}, 4)
    return int.from_bytes(raw, "little")


def segment_entry(start, offset, digits):
    values = {"start": start, "offset_low": offset & 0xFFFFFFFF,
              "offset_high": offset >> 32 & 0xFFFF}
    for d, (sign, up) in enumerate(digits):
        values |= {f"up_{d}": up, f"negative_{d}": int(sign < 0), f"zero_{d}": int(sign == 0)}
    return int.from_bytes(isa.pack(isa.SEGMENT, values, 4), "little")


def clip(value, lo, hi):
    return max(lo, min(hi, value))


def run(dut, cases, *, activate=0, wrap=0, lo=-128, hi=127, table=()):
    """Feed cases (acc, [parameter words]), a digit a cycle; return code of each."""
    beats = [(acc, word, d, d == len(words) - 1)
             for acc, words in cases for d, word in enumerate(words)]
    found = []

    async def bench(ctx):
        for n, word in enumerate(table):
            ctx.set(dut.table_write, 1)
            ctx.set(dut.table_entry, n)
            ctx.set(dut.table_data, word)
            await ctx.tick()
        if table:
            ctx.set(dut.table_write, 0)
        for name, value in (("activate", activate), ("wrap", wrap), ("lo", lo), ("hi", hi)):
            ctx.set(getattr(dut, name), value)
        for n in range(len(beats) + dut.latency):
            if n < len(beats):
                ctx.set(dut.acc, beats[n][0])
                ctx.set(dut.entry.as_value(), beats[n][1])
                ctx.set(dut.digit, beats[n][2])
            if n >= dut.latency and beats[n - dut.latency][3]:
                found.append(ctx.get(dut.code))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@pytest.mark.parametrize("code", ["wide", "base"])
@pytest.mark.parametrize("segments", [False, True])
def test_requantised(segments, code):
    config = Config(tn=4, segments=segments, code=WeightCode(code))
    rng = random.Random(0)
    cases, wanted = [], []
    for n in range(300):
        count = rng.randint(1, 3)
        acc = rng.choice([-(1 << 17), (1 << 17) - 1, 0, rng.randint(-9999, 9999)])
        base = rng.randint(0, 3) if code == "base" else 0
        bias, shift = rng.randint(-(1 << 16), 1 << 16), rng.randint(0, 20)
        offset = rng.choice([rng.randint(-(1 << 24), 1 << 24), 0, -1, (1 << shift) >> 1])
        digits = [(rng.choice([-1, 0, 1]), rng.randint(0, 8)) for _ in range(count)]
        cases.append((acc, [entry(bias, offset, *digit, shift, base) for digit in digits]))
        total = offset + sum(s * (((acc << base) + bias) << up) for s, up in digits)
        assert abs(total) < 1 << 31, n
        wanted.append(clip(total >> shift, -128, 127) & 255)
    assert run(FinishLane(config=config), cases) == wanted


def test_clip_to_unsigned_and_wide_shift():
    config = Config(tn=4, segments=False)
    accs = [-70000, -1, 0, 1, 255, 256, 70000]
    cases = [(acc, [entry(0, 0, 1, 0, 0, 0)]) for acc in accs]
    assert run(FinishLane(config=config), cases, lo=0, hi=255) == [
        clip(acc, 0, 255) for acc in accs]
    cases = [(acc, [entry(0, 0, 1, 0, 31, 0)]) for acc in accs]
    assert run(FinishLane(config=config), cases) == [(acc >> 31) & 255 for acc in accs]


@pytest.mark.parametrize("piece", [0, 1, 2])
def test_pieces_of_an_accumulator(piece):
    config = Config(tn=4, segments=False)
    accs = [-(1 << 23), -12345, -1, 0, 98765, (1 << 23) - 1]
    cases = [(acc, [entry(7, 0, 1, 0, 8 * piece, 0)]) for acc in accs]
    assert run(FinishLane(config=config), cases, wrap=1, lo=0, hi=0) == [
        (acc + 7) >> 8 * piece & 255 for acc in accs]


def test_segments():
    """Every segment, its ends, and beyond; slopes of no, one and two digits."""
    config = Config(tn=4, segments=True)
    rng = random.Random(1)
    starts = sorted(rng.sample(range(-3000, 3000), 15))
    slopes = [[(rng.choice([-1, 0, 1]), rng.randint(0, 7)) for _ in range(2)] for _ in range(16)]
    offsets = [rng.randint(-(1 << 18), 1 << 18) for _ in range(16)]
    table = [segment_entry(start, offset, digits) for start, offset, digits in
             zip([-(1 << 31), *starts], offsets, slopes, strict=True)]
    bias, shift = 50, 6
    accs = [*(start - bias + d for start in starts for d in (-1, 0, 1)), -100000, 100000]
    word = entry(bias, 12345, 1, 3, shift, 0)
    found = run(FinishLane(config=config), [(acc, [word, word]) for acc in accs], activate=1,
                table=table)
    wanted = []
    for acc in accs:
        x = acc + bias
        k = sum(start <= x for start in starts)
        total = offsets[k] + sum(s * (x << up) for s, up in slopes[k])
        wanted.append(clip(total >> shift, -128, 127) & 255)
    assert found == wanted
