# amaranth: UnusedElaboratable=no
"""Lanes and trees against plain sums of products."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.nfu.compiler.digits import weight_codes
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.neuron import Neuron


def run(dut, inputs):
    """Feed (x, codes) a cycle; return the totals, each ``latency`` cycles later."""
    found = []

    async def bench(ctx):
        for n in range(len(inputs) + dut.latency):
            if n < len(inputs):
                ctx.set(dut.x, inputs[n][0])
                ctx.set(dut.codes, inputs[n][1])
            if n >= dut.latency:
                found.append(ctx.get(dut.total))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def packed(values, bits):
    word = 0
    for n, value in enumerate(values):
        word |= (int(value) & (1 << bits) - 1) << n * bits
    return word


def fed(config, x, signs, shifts):
    codes = weight_codes(signs, shifts, config)
    return packed(x, config.act_bits + 1), packed(codes, config.weight_bits)


DIGITS = [(0, 0), *itertools.product((1, -1), range(8))]


@pytest.mark.parametrize("code", ["wide", "narrow", "base"])
def test_every_digit_on_every_edge(code):
    """All digits in each lane by the least, the largest and odd activations; others are random."""
    config = Config(tn=4, code=WeightCode(code))
    rng = np.random.default_rng(0)
    digits = [digit for digit in DIGITS if digit[1] <= config.code.largest_shift]
    inputs, wanted = [], []
    for lane, (sign, shift), value in itertools.product(
            range(4), digits, (-128, -1, 0, 1, 85, 127, 255)):
        x = rng.integers(-128, 256, 4)
        picks = [digits[n] for n in rng.integers(0, len(digits), 4)]
        x[lane], picks[lane] = value, (sign, shift)
        signs, shifts = (np.array(part) for part in zip(*picks, strict=True))
        inputs.append(fed(config, x, signs, shifts))
        # A negative digit gives its product inverted: one less.
        wanted.append(int((x * (signs << shifts)).sum() - (signs < 0).sum()))
    assert run(Neuron(config=config), inputs) == wanted


@pytest.mark.parametrize("tn", [4, 8])
@pytest.mark.parametrize("act_bits", [8, 16])
def test_extremes_do_not_wrap(tn, act_bits):
    config = Config(tn=tn, act_bits=act_bits)
    lo, hi = -(1 << act_bits - 1), (1 << act_bits) - 1
    ones, sevens = np.ones(tn, np.int64), np.full(tn, 7)
    inputs = [fed(config, [x] * tn, sign * ones, sevens) for x in (lo, hi) for sign in (1, -1)]
    wanted = [tn * x * 128 * sign - (tn if sign < 0 else 0) for x in (lo, hi) for sign in (1, -1)]
    assert run(Neuron(config=config), inputs) == wanted


def test_multipliers():
    config = Config(tn=4, code=WeightCode.PRODUCT)
    rng = np.random.default_rng(1)
    x, weights = rng.integers(-128, 256, (60, 4)), rng.integers(-128, 128, (60, 4))
    x[0], weights[0] = 255, -128
    inputs = [(packed(a, 9), packed(w, 8)) for a, w in zip(x, weights, strict=True)]
    assert run(Neuron(config=config), inputs) == (x * weights).sum(axis=1).tolist()


@pytest.mark.parametrize(("tn", "latency"), [(4, 4), (8, 5), (16, 6), (32, 7)])
def test_latency(tn, latency):
    assert Neuron(config=Config(tn=tn)).latency == latency
