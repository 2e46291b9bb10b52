"""Ranges: reached exactly where that can be tried out, and never left."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    MaxPool,
    Network,
    Requantise,
    int64,
)
from hwgen.ranges import linear_range, value_ranges, width_of
from tests import torch_reference
from tests.networks import THEMES, random_images, random_network


def every_image(source: Input) -> Int64Array:
    """All images of an Input, (N, C, H, W)."""
    count = source.channels * source.height * source.width
    codes = itertools.product(range(source.lo, source.hi + 1), repeat=count)
    shape = (-1, source.channels, source.height, source.width)
    return np.array(list(codes), np.int64).reshape(shape)


def reached(network: Network, images: Int64Array) -> dict[str, tuple[list[int], list[int]]]:
    """Smallest and largest value of every layer and channel, from an independent forward pass."""
    return {name: (values.min(axis=(0, 2, 3)).tolist(), values.max(axis=(0, 2, 3)).tolist())
            for name, values in torch_reference.run(network, images).items()}


# --- tried out ------------------------------------------------------------------------------------


def conv_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    return Network((
        Input("image", 2, 2, 2, -1, 2, 0),
        Conv2d("conv", "image", rng.integers(-9, 9, (4, 1, 2, 2)), rng.integers(-99, 99, 4),
               int64([0] * 4), groups=2)))


def dense_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    return Network((
        Input("image", 5, 1, 1, -3, 2, 0),
        Dense("dense", "image", rng.integers(-9, 9, (3, 5)) * (rng.random((3, 5)) < 0.7),
              rng.integers(-99, 99, 3), int64([0] * 3))))


def requantise_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    lo, hi = (-int(rng.integers(0, 40)), int(rng.integers(0, 40)))
    return Network((
        Input("image", 6, 1, 1, -5, 4, 0),
        Dense("one", "image", np.diag(rng.integers(-9, 9, 6)), rng.integers(-20, 20, 6),
              int64([0] * 6)),
        Requantise("codes", "one", int64([1, -1, 3, -6, 0, 7]), rng.integers(-50, 50, 6),
                   rng.integers(0, 5, 6), lo, hi, 0)))


def activation_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    segments = int(rng.integers(1, 6))
    starts = np.sort(rng.choice(np.arange(-60, 60), segments - 1, replace=False))
    return Network((
        Input("image", 1, 1, 1, -int(rng.integers(0, 60)), int(rng.integers(0, 60)), 0),
        Activation("curve", "image", starts, rng.choice([-6, -1, 0, 1, 2, 5], segments),
                   rng.integers(-50, 50, segments), int(rng.integers(0, 4)), -37, 41, 0)))


def joining_network(seed: int) -> Network:
    rng = np.random.default_rng(seed)
    one, two = np.array([[[[1]], [[0]]]]), np.array([[[[0]], [[int(rng.integers(-3, 4))]]]])
    shifts = (int(rng.integers(0, 4)), int(rng.integers(0, 4)))
    return Network((
        Input("image", 2, 2, 1, -2, 1, 0),
        Requantise("a", "image", int64([1, -3]), rng.integers(-2, 3, 2), int64([0, 1]), -5, 4, 3),
        AvgPool("sums", "a", (2, 1), (1, 1)),
        Conv2d("first", "a", one, rng.integers(-9, 9, 1), int64([shifts[1]])),
        Conv2d("second", "a", two, rng.integers(-9, 9, 1), int64([shifts[0]])),
        Add("sum", ("first", "second"), shifts),
        Requantise("b", "sum", int64([1]), int64([0]), int64([0]), -99, 99, 3),
        Requantise("c", "sums", int64([1, 1]), int64([0, 0]), int64([1, 0]), -8, 7, 3),
        MaxPool("d", "b", (2, 1), (1, 1)),
        Concat("all", ("d", "c")), Flatten("flat", "all"), ArgMax("best", "flat")))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("make", "layer"), [
    (conv_network, "conv"), (dense_network, "dense"), (requantise_network, "codes"),
    (activation_network, "curve"), (joining_network, "sums"), (joining_network, "sum"),
    (joining_network, "all"), (joining_network, "flat"),
])
def test_every_image_reaches_the_range(make: Any, layer: str, seed: int) -> None:
    """The smallest and the largest value of all images are the bounds, none is beyond."""
    network = make(seed)
    source = network.input
    if source.channels == 6:            # one channel does not see the others: try codes, not images
        images = np.arange(source.lo, source.hi + 1).repeat(6).reshape(-1, 6, 1, 1)
    else:
        images = every_image(source)
    lo, hi = reached(network, images)[layer]
    if network.tensors[layer].is_codes:
        lo, hi = [min(0, x) for x in lo], [max(0, x) for x in hi]
    found = value_ranges(network)[layer]
    assert found.lo.tolist() == lo
    assert found.hi.tolist() == hi


@pytest.mark.parametrize("seed", range(4 * len(THEMES)))
def test_random_runs_stay_within(seed: int) -> None:
    network = random_network(seed)
    ranges = value_ranges(network)
    assert list(ranges) == [layer.name for layer in network.layers]
    for name, (lo, hi) in reached(network, random_images(network, 30, seed)).items():
        assert (ranges[name].lo <= lo).all(), name
        assert (ranges[name].hi >= hi).all(), name
        tensor = network.tensors[name]
        assert ranges[name].lo.shape == ranges[name].hi.shape == (tensor.channels,)
        if tensor.lo is not None and tensor.hi is not None:
            assert tensor.lo <= ranges[name].lo.min() <= 0 <= ranges[name].hi.max() <= tensor.hi


@pytest.mark.parametrize("seed", range(2 * len(THEMES)))
def test_linear_layers_reach_their_range(seed: int) -> None:
    """The codes that make each sum largest and smallest, put in front of the layer alone."""
    network = random_network(seed)
    ranges = value_ranges(network)
    for layer in network.layers:
        if not isinstance(layer, Dense):
            continue
        x = ranges[layer.source]
        for o, row in enumerate(layer.weight):
            top = sum(int(w) * int(h if w > 0 else b)
                      for w, b, h in zip(row, x.lo, x.hi, strict=True))
            low = sum(int(w) * int(b if w > 0 else h)
                      for w, b, h in zip(row, x.lo, x.hi, strict=True))
            assert ranges[layer.name].hi[o] == top + layer.bias[o]
            assert ranges[layer.name].lo[o] == low + layer.bias[o]


# --- what the bounds do not depend on -------------------------------------------------------------


def test_padding_counts_as_zero() -> None:
    """Codes after a Requantise that gives 5 at least: with padding, a sum can still miss some."""
    network = Network((
        Input("image", 1, 2, 2, 0, 3, 0),
        Requantise("codes", "image", int64([1]), int64([5]), int64([0]), 0, 15, 0),
        AvgPool("sum", "codes", (2, 2), (1, 1), (1, 1, 1, 1))))
    ranges = value_ranges(network)
    assert (ranges["codes"].lo.tolist(), ranges["codes"].hi.tolist()) == ([0], [8])
    assert (ranges["sum"].lo.tolist(), ranges["sum"].hi.tolist()) == ([0], [32])


def test_source_read_twice() -> None:
    network = Network((Input("image", 1, 1, 1, -4, 3, 0), Add("sum", ("image", "image"), (2, 2))))
    assert value_ranges(network)["sum"].lo.tolist() == [-32]
    assert value_ranges(network)["sum"].hi.tolist() == [24]


def test_piece_ends_before_its_breakpoint() -> None:
    """Pieces of 4x + 50 below 0, 0 from there on: 50 itself is never reached, nor is 4 * 3 + 50."""
    network = Network((
        Input("image", 1, 1, 1, -4, 3, 0),
        Activation("curve", "image", int64([0]), int64([4, 0]), int64([50, 0]), 0, -99, 99, 0)))
    assert value_ranges(network)["curve"].hi.tolist() == [46]


def test_linear_range_by_every_corner() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 9, (5, 4))
    lo, hi = -rng.integers(0, 5, 4), rng.integers(0, 5, 4)
    corners = np.array(list(itertools.product(*zip(lo, hi, strict=True))))
    sums = corners @ weight.T
    low, top = linear_range(weight, lo, hi)
    assert low.tolist() == sums.min(axis=0).tolist()
    assert top.tolist() == sums.max(axis=0).tolist()


@pytest.mark.parametrize("hi", range(-3, 18))
@pytest.mark.parametrize("lo", range(-18, 4))
def test_width_of(lo: int, hi: int) -> None:
    """The least number of bits whose range holds both; unsigned where nothing is negative."""
    if lo > hi:
        return
    bits, signed = width_of(lo, hi)

    def fits(n: int) -> bool:
        return -(2**(n - 1)) <= lo and hi < 2**(n - 1) if signed else 0 <= lo and hi < 2**n

    assert signed == (lo < 0)
    assert bits >= 1
    assert fits(bits)
    assert bits == 1 or not fits(bits - 1)


def test_shapes() -> None:
    network = Network((Input("image", 2, 1, 1, -1, 3, 0),
                       Dense("sum", "image", np.array([[1, 0], [0, 0], [4, -4]]),
                             int64([1, 0, 0]), int64([0, 0, 0]))))
    assert value_ranges(network)["sum"].shapes() == [(3, False), (1, False), (6, True)]


# --- too large ------------------------------------------------------------------------------------


def tall(*layers: Layer) -> Network:
    return Network((
        Input("image", 1, 1, 1, 0, 65535, 0),
        Dense("product", "image", int64([[2**31]]), int64([0]), int64([0])), *layers))


@pytest.mark.parametrize("layer", [
    Requantise("tail", "product", int64([2**15]), int64([0]), int64([48]), 0, 1, 0),
    Requantise("tail", "product", int64([-(2**15)]), int64([0]), int64([0]), 0, 1, 0),
    Activation("tail", "product", int64([0]), int64([0, 2**15]), int64([0, 0]), 0, 0, 1, 0),
    Add("tail", ("product", "product"), (14, 14)),
])
def test_too_large(layer: Layer) -> None:
    with pytest.raises(HwgenError, match=r"^Layer 'tail', range: values below 2\*\*61 needed, not"):
        value_ranges(tall(layer))


@pytest.mark.parametrize("layer", [
    Requantise("tail", "product", int64([2**13]), int64([0]), int64([48]), 0, 32767, 0),
    Add("tail", ("product", "product"), (13, 13)),
])
def test_just_not_too_large(layer: Layer) -> None:
    product = 2**31 * 65535
    exact = (product * 2**13 + 2**47) >> 48 if isinstance(layer, Requantise) else product * 2**14
    assert value_ranges(tall(layer))["tail"].hi.tolist() == [exact]


def test_too_large_sum() -> None:
    inputs = 2**15
    network = Network((
        Input("image", inputs, 1, 1, 0, 65535, 0),
        Dense("sum", "image", np.full((1, inputs), 2**31), int64([0]), int64([0]))))
    with pytest.raises(HwgenError, match=r"^Layer 'sum', range: values below 2\*\*61 needed, not"):
        value_ranges(network)
