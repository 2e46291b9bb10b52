"""Digit-serial adder graphs against the matrix product, words back to back and apart, stalled."""

from __future__ import annotations

import random

import numpy as np
import pytest
from amaranth import Const
from amaranth.sim import Simulator

from hwgen.adders.graph import Add, AdderGraph, Input, Output
from hwgen.adders.search import build
from hwgen.adders.serial import SerialSchedule
from hwgen.stream import serial_graph
from hwgen.stream.serial_graph import SerialGraph


def digit_of(value: int, k: int, digit: int) -> int:
    """Digit k of a word in two's complement of any length."""
    return (value >> k * digit) & (1 << digit) - 1


def results(dut: SerialGraph, words, seed: int | None) -> list[list[int]]:
    """Send words (None of them stands still) and return what y shows at every done."""
    schedule, chance = dut.schedule, random.Random(seed)
    digit, found = schedule.digit, []

    async def drive(ctx):
        waiting, sent = [], []        # digits still to come; start is one cycle ahead of them
        for n in range(len(words) + 1):
            gap = 0 if seed is None or chance.random() < 0.5 else chance.randrange(1, 12)
            for cycle in range(gap if n == len(words) else schedule.digits + gap):
                stall = seed is not None and chance.random() < 0.3
                while stall:
                    ctx.set(dut.en, 0)
                    await ctx.tick()
                    stall = chance.random() < 0.3
                ctx.set(dut.en, 1)
                ctx.set(dut.start, int(cycle == 0 and n < len(words)))
                if sent:
                    ctx.set(dut.x, sum(
                        digit_of(value, len(waiting), digit) << i * digit
                        for i, value in enumerate(sent)))
                    waiting.append(0)
                _, _, done, y = await ctx.tick().sample(dut.done, dut.y)
                if done:
                    found.append(y)
                if cycle == 0 and n < len(words):
                    sent, waiting = words[n], []
        ctx.set(dut.start, 0)
        for _ in range(dut.latency + schedule.digits + 2):
            ctx.set(dut.x, sum(digit_of(value, len(waiting), digit) << i * digit
                               for i, value in enumerate(sent)))
            waiting.append(0)
            _, _, done, y = await ctx.tick().sample(dut.done, dut.y)
            if done:
                found.append(y)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(drive)
    simulator.run()
    unpacked = []
    for y in found:
        row = []
        for offset, width, is_signed in dut.output_layout:
            value = y >> offset & (1 << width) - 1
            row.append(value - (1 << width) if is_signed and value >> width - 1 else value)
        unpacked.append(row)
    return unpacked


def check(
    matrix, lo, hi, digit: int, seed: int | None, count: int = 24, stage: int = 1
) -> SerialSchedule:
    graph = build(matrix, input_lo=lo, input_hi=hi)
    schedule = SerialSchedule(graph, digit, stage)
    rng = np.random.default_rng(5)
    x = rng.integers(lo, hi, (count, len(lo)), endpoint=True)
    x[0], x[1], x[2] = lo, hi, lo
    x[4] = np.where(matrix[:, 0] > 0, hi, lo)
    x[5] = np.where(matrix[:, 0] > 0, lo, hi)
    found = results(SerialGraph(schedule=schedule), x.tolist(), seed)
    assert found == (x @ matrix).tolist()
    return schedule


@pytest.mark.parametrize("bits", range(2, 17))
def test_word_lengths(bits):
    """Every length of the inputs, signed and not, with the digits from one bit to the word."""
    rng = np.random.default_rng(bits)
    matrix = rng.integers(-9, 10, (4, 3))
    lo = np.where(rng.random(4) < 0.5, 0, -(1 << bits - 1))
    hi = np.where(lo < 0, (1 << bits - 1) - 1, (1 << bits) - 1)
    for digit in {1, 2, 3, 4, 5, bits, bits + 4}:
        check(matrix, lo, hi, digit, None if digit % 2 else 3, count=10)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(("digit", "stage"), [(1, 1), (1, 2), (2, 3), (3, 1), (4, 2), (7, 1)])
def test_random_graphs(digit, stage, seed):
    """Shared sums, large shifts, negated and empty outputs."""
    rng = np.random.default_rng(digit)
    matrix = rng.integers(-40, 41, (7, 6)) * (rng.random((7, 6)) < 0.6)
    matrix[:, 1] = -abs(matrix[:, 1])
    matrix[:, 2] = 0
    matrix[:, 3] = 0
    matrix[2, 3] = -1024
    lo, hi = np.array([0] * 4 + [-8] * 3), np.array([255] * 4 + [7] * 3)
    schedule = check(matrix, lo, hi, digit, seed, stage=stage)
    if stage > 1:
        assert schedule.done < SerialSchedule(schedule.graph, digit).done


@pytest.mark.parametrize("digit", [1, 2, 4])
def test_output_shifted_down(digit):
    """An output may be half of a signal that is always even."""
    nodes = (Add(0, 1), Add(0, 1, b_negative=True), Add(2, 3))
    graph = AdderGraph((Input(-8, 7), Input(0, 15)), nodes, (Output(4, -1), Output(2, 1)))
    dut = SerialGraph(schedule=SerialSchedule(graph, digit))
    x = np.random.default_rng(0).integers([-8, 0], [7, 15], (20, 2), endpoint=True)
    assert results(dut, x.tolist(), 1) == [[a, 2 * (a + b)] for a, b in x.tolist()]


def test_word_holds_outputs_only():
    """A word is as long as the longest output, in digits."""
    schedule = check(np.array([[3, 1], [5, -2]]), np.array([0, 0]), np.array([255, 255]), 2, None)
    assert schedule.digits == 6                               # 0..2040 takes 11 bits
    assert SerialSchedule(schedule.graph, 11).digits == 1


@pytest.mark.parametrize("digit", [1, 3, 4])
def test_carry_fault_is_caught(digit, monkeypatch):
    """A carry that is not set anew at a word's begin shows in the words behind."""
    right = serial_graph._adder

    def faulty(m, name, a, b, minus, begin, en):
        return right(m, name, a, b, minus, Const(0, 1), en)

    monkeypatch.setattr(serial_graph, "_adder", faulty)
    with pytest.raises(AssertionError):
        check(np.array([[3, -5], [-7, 9]]), np.array([-8, -8]), np.array([7, 7]), digit, None)


def test_numbers_wrong():
    graph = build(np.array([[3]]), input_lo=0, input_hi=1)
    with pytest.raises(ValueError, match="Adders per stage must be at least 1, not 0"):
        SerialSchedule(graph, 1, 0)
    with pytest.raises(ValueError, match="A digit must have at least 1 bit, not 0"):
        SerialSchedule(graph, 0)
