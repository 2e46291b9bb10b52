"""A network in torch against the golden model: every layer, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwgen.compress.training.integer_forward import IntegerForward, classes
from hwgen.network import Conv2d, Input, Network, Requantise, int64
from hwgen.sim import golden
from tests.networks import digits_like_network, random_images, random_network

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", range(24))
def test_every_layer_is_golden(seed):
    network = random_network(seed)
    bound = golden.largest(network)
    assert bound < 2**53
    images = random_images(network, 6, seed)
    names = [layer.name for layer in network.layers]
    found = IntegerForward.exactly(network, CPU)(torch.from_numpy(images), keep=names)
    for name, wanted in golden.run(network, images).items():
        np.testing.assert_array_equal(found[name].numpy(), wanted)
        assert np.abs(wanted).max() <= bound


def test_sums_that_float32_does_not_hold():
    rng = np.random.default_rng(0)
    weight, zero = int64(rng.integers(-(1 << 15), 1 << 15, (3, 4, 3, 3))), int64(np.zeros(3, int))
    network = Network((
        Input("image", 4, 6, 6, 0, 65535, 0),
        Conv2d("conv", "image", weight, zero, zero, (1, 1), (0, 0, 0, 0), (1, 1), 1),
        Requantise("codes", "conv", int64([1, 3, 5]), zero, int64([20, 21, 22]), -512, 511, 0),
    ))  # fmt: skip
    assert 2**24 < golden.largest(network) < 2**53
    images = rng.integers(0, 65536, (5, 4, 6, 6))
    found = IntegerForward.exactly(network, CPU)(torch.from_numpy(images), keep=["conv", "codes"])
    for name in ("conv", "codes"):
        wanted = golden.run(network, images, keep=[name])[name]
        np.testing.assert_array_equal(found[name].numpy(), wanted)
    assert np.abs(wanted).max() <= 512


def test_classes_are_golden():
    network = digits_like_network(3)
    images = random_images(network, 700, 5)  # more than a batch
    np.testing.assert_array_equal(classes(network, images, CPU), golden.classes(network, images))
