"""The cost model against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen import cost
from hwgen.layers import Conv2d, Dense, Flatten, Input, Requantise, int64
from hwgen.network import Network


def test_digits_by_hand():
    values = np.array([0, 1, -1, 2, 3, 5, 7, -7, 11, 15, 23, 27, 255, -32768])
    wanted = [0, 1, 1, 1, 2, 2, 2, 2, 3, 2, 3, 3, 2, 1]
    assert cost.digit_count(values).tolist() == wanted


def test_layers_by_hand():
    weight = np.zeros((3, 1, 2, 2), np.int64)
    weight[0, 0] = [[1, 3], [0, -7]]  # 5 digits: 4 adders
    weight[1, 0, 0, 0] = 4  # 1 digit and a bias: 1 adder
    codes = Requantise(
        "codes", "conv", int64([1, 5, 11]), int64([0, 9, 0]), int64([0, 0, 3]), 0, 15, 0
    )
    dense = Dense(
        "dense", "flat", int64(np.ones((2, 12))[:, :].astype(int)), int64([0, 1]), int64([0, 0])
    )
    network = Network((
        Input("image", 1, 3, 3, 0, 15, 0),
        Conv2d("conv", "image", int64(weight), int64([0, 2, 0]), int64([0, 0, 0])),
        codes,
        Flatten("flat", "codes"),
        dense,
    ))  # fmt: skip
    conv, fully = cost.network_cost(network)
    assert conv == cost.LayerCost("conv", nonzeros=4, digits=6, adders=5, macs=16)
    assert fully == cost.LayerCost("dense", nonzeros=24, digits=24, adders=23, macs=24)
    assert cost.requantise_adders(codes) == 0 + (1 + 1) + (2 + 1)


def one_conv(weight, *, hi=15, side=6, groups=1):
    """A convolution and its codes, (co, ci / groups, kh, kw), over an image of codes 0 to hi."""
    co, ci = weight.shape[0], weight.shape[1] * groups
    conv = Conv2d("conv", "image", int64(weight), int64([0] * co), int64([0] * co), groups=groups)
    codes = Requantise("codes", "conv", int64([1] * co), int64([0] * co), int64([0] * co), 0, 15, 0)
    return Network((Input("image", ci, side, side, 0, hi, 0), conv, codes))


def cycles(weight, **options):
    return cost.total(one_conv(weight, **options), cost.Objective.CYCLES)


@pytest.mark.parametrize("part", [0.5, 0.75])
def test_cycles_of_smaller_kernels(part):
    """128 filters 3 x 3, some of them 1 x 1: 1.80 and 3.00 times faster, as sorted tiles allow."""
    random = np.random.default_rng(0)
    weight = np.ones((128, 16, 3, 3), np.int64)
    small = random.permutation(128)[: int(128 * part)]
    weight[small] = 0
    weight[small, :, 1, 1] = 1
    dense = cycles(np.ones((128, 16, 3, 3), np.int64), side=3)
    assert dense == 8 * 9
    tiles = int(128 * part) // 16
    assert cycles(weight, side=3) == tiles + (8 - tiles) * 9
    ratio = {0.5: 1.80, 0.75: 3.00}[part]
    assert dense / cycles(weight, side=3) == pytest.approx(ratio, abs=0.005)


def test_cycles_by_hand():
    weight = np.zeros((3, 20, 2, 2), np.int64)
    weight[0, 0, 0, 0] = weight[2, 17, 1, 1] = weight[1, 18, 1, 1] = 5
    assert cycles(weight) == (1 + 1) * 25  # a tap in the first tile of channels, one in the second
    weight[1, 3, 1, 0] = -1
    assert cycles(weight) == (2 + 1) * 25
    assert cycles(np.zeros((3, 20, 2, 2), np.int64)) == 0
    assert cycles(np.ones((4, 1, 3, 3), np.int64), groups=4) == 4 * 9 * 16  # groups share no tile


def test_luts_are_adders_times_their_width():
    weight = np.zeros((2, 1, 2, 2), np.int64)
    weight[0, 0] = [[1, 3], [0, -7]]  # 4 adders; -7 * 15 .. 4 * 15 takes 8 bits
    weight[1, 0] = [[1, 1], [0, 0]]  # 1 adder; 0 .. 30 takes 5 bits
    network = one_conv(weight)
    assert cost.total(network, cost.Objective.LUTS) == 4 * 8 + 1 * 5
    assert cost.total(network, cost.Objective.ADDERS) == 5
    assert cost.total(network, cost.Objective.MACS) == 5 * 25


def test_requantises_cost_adders_and_luts():
    network = one_conv(np.ones((1, 1, 2, 2), np.int64))
    *rest, codes = network.layers
    more = Requantise("codes", "conv", int64([5]), int64([3]), int64([1]), 0, 15, 0)
    dearer = Network((*rest, more))
    for aim, wanted in ((cost.Objective.ADDERS, 2), (cost.Objective.LUTS, 2 * 6)):
        assert cost.total(dearer, aim) - cost.total(network, aim) == wanted
    assert codes.name == more.name
