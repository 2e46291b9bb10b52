"""The sequencer's walk over a block, against loops in Python, from a tap list and by counters."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from hwgen.nfu import isa
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.walk import Walk

CASES = [
    # rows, cols, period - steps, step_y, step_x, y, x, height, width, hold
    (1, 1, 0, 1, 1, 0, 0, 3, 3, 0),
    (2, 3, 0, 1, 1, -1, -1, 2, 3, 0),
    (3, 2, 2, 2, 1, -1, 0, 6, 3, 0),
    (1, 4, 1, 1, 3, 0, -2, 1, 9, 1),
    (4, 1, 0, 3, 2, -2, -2, 9, 2, 0),
]
TAPS = [(0, 0, 0), (1, 0, 1), (5, 1, 0), (6, 1, 1), (77, 2, 0)]


def drive(dut, fields, taps=(), cycles=200):
    """Start a walk; return what each step reads, cycle by cycle of stage 3."""
    seen = []

    async def bench(ctx):
        for n, (offset, dy, dx) in enumerate(taps):
            raw = isa.pack(isa.TAP, {"offset": offset, "dy": dy, "dx": dx}, 1)
            ctx.set(dut.tap_write, 1)
            ctx.set(dut.tap_word, fields["tap_line"] + n)
            ctx.set(dut.tap_data, int.from_bytes(raw, "little"))
            await ctx.tick()
        if taps:
            ctx.set(dut.tap_write, 0)
        for name, value in fields.items():
            ctx.set(getattr(dut.fields, name), value)
        for cycle in range(cycles):
            ctx.set(dut.start, int(cycle == 0))
            if ctx.get(dut.valid):
                now = (cycle, ctx.get(dut.line), ctx.get(dut.sb_line), ctx.get(dut.first),
                       ctx.get(dut.last), ctx.get(dut.ending))
                await ctx.tick()
                seen.append((*now, ctx.get(dut.covered)))      # a stage later
            else:
                await ctx.tick()
        assert not ctx.get(dut.walking)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def expected(case, taps, in_line, sb_line):
    rows, cols, idle, step_y, step_x, y, x, height, width, hold = case
    found, cycle = [], 6
    for row in range(rows):
        for col in range(cols):
            for n, (offset, dy, dx) in enumerate(taps):
                at = in_line + row * 11 + col * 2 + offset & 255
                inside = (0 <= y + row * step_y + dy < height
                          and 0 <= x + col * step_x + dx < width)
                found.append((cycle, at, sb_line + (0 if hold else n), n == 0,
                              n == len(taps) - 1, (row, col) == (rows - 1, cols - 1), inside))
                cycle += 1
            cycle += idle
    return found


def fields_of(case, steps, in_line, sb_line):
    rows, cols, idle, step_y, step_x, y, x, height, width, hold = case
    return {"rows": rows, "cols": cols, "steps": steps, "period": steps + idle,
            "sb_line": sb_line, "in_line": in_line, "in_row": 11, "in_col": 2, "step_y": step_y,
            "step_x": step_x, "y": y, "x": x, "height": height, "width": width, "hold": hold}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_tap_list(case, steps):
    config = Config(tn=4, nbin_lines=256)
    fields = fields_of(case, steps, 250, 7) | {"tap_line": 3}
    seen = drive(Walk(config=config), fields, TAPS[:steps])
    assert seen == expected(case, TAPS[:steps], 250, 7)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("tiles", "kernel_h", "kernel_w"), [(1, 1, 1), (2, 1, 3), (1, 3, 2),
                                                             (3, 2, 2)])
def test_counters(case, tiles, kernel_h, kernel_w):
    """Taps one column, or 7 lines, apart; a tile is 40 lines."""
    config = Config(tn=4, nbin_lines=256, code=WeightCode.PRODUCT)
    taps = [(40 * tile + 7 * r + s, r, s) for tile in range(tiles) for r in range(kernel_h)
            for s in range(kernel_w)]
    fields = fields_of(case, len(taps), 3, 0) | {
        "kernel_h": kernel_h, "kernel_w": kernel_w, "tap_y": 1, "tap_x": 1, "tap_col": 1,
        "tap_row": 7 - (kernel_w - 1) & 0xFFFF,
        "tap_tile": 40 - 7 * (kernel_h - 1) - (kernel_w - 1) & 0xFFFF}
    seen = drive(Walk(config=config), fields, cycles=400)
    assert seen == expected(case, taps, 3, 0)


def test_stopped():
    """A walk that is stopped gives no more steps, and the next one begins anew."""
    dut = Walk(config=Config(tn=4, code=WeightCode.PRODUCT))
    fields = fields_of((50, 50, 0, 1, 1, 0, 0, 60, 60, 0), 4, 0, 0) | {
        "kernel_h": 1, "kernel_w": 4, "tap_x": 1, "tap_col": 1, "tap_tile": 1}
    counts = []

    async def bench(ctx):
        for name, value in fields.items():
            ctx.set(getattr(dut.fields, name), value)
        for _ in range(2):
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().repeat(random.Random(0).randint(20, 40))
            ctx.set(dut.stop, 1)
            await ctx.tick()
            ctx.set(dut.stop, 0)
            await ctx.tick().repeat(4)
            count = 0
            for _ in range(30):
                count += ctx.get(dut.valid)
                await ctx.tick()
            counts.append((count, ctx.get(dut.walking)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert counts == [(0, 0), (0, 0)]
