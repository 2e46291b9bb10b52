"""The cost model against counts by hand."""

from __future__ import annotations

import numpy as np

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
