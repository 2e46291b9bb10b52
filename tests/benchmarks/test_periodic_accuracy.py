"""The MACs that the accuracy benchmark puts beside each other."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import _prepared as common
from benchmarks import periodic_accuracy as bench
from hwgen import datasets
from hwgen.compress.training import masked

SHAPE = (1, 28, 28)
# Convolutions of the quick VGG after the first: kernels and output pixels.
VGG = [(8 * 8, 784), (8 * 16, 196), (16 * 16, 196), (16 * 32, 49), (32 * 32, 49)]
REST = 8 * 9 * 784 + 32 * 9 * 10  # first convolution, classifier: always dense


def measured(net, variant):
    module = bench.builders(bench.SIZES[True], SHAPE)[net]()
    chosen = bench.SPARSE[variant]
    masks = masked.masks_for(module, chosen, np.random.default_rng(0)) if chosen else {}
    return bench.macs(module, SHAPE, masks)[0]


@pytest.mark.parametrize(("variant", "taps"), [
    ("dense", 9), ("PSD1_P8", 2), ("pSC2", 2), ("PS2_P6", 2),
])  # fmt: skip
def test_macs_of_the_vgg(variant, taps):
    """Widths are multiples of the period 8, so PSD1_P8 has exactly 2 taps on average."""
    assert measured("vgg", variant) == REST + sum(kernels * taps * px for kernels, px in VGG)


def test_the_mobilenet_is_of_the_same_size():
    sparse = [measured(net, "PSD1_P8") for net in ("resnet", "vgg")]
    assert measured("mobilenet", "dense") == 556_960  # by hand, layer by layer
    assert min(sparse) < 556_960 < max(sparse)
    # Layers of few tile pairs do not end with a whole period.
    tile = measured("vgg", "PSD1_P8, tile phase")
    assert abs(tile / measured("vgg", "PSD1_P8") - 1) < 0.15


@pytest.mark.parametrize("limit", [9, 45, 90, 500])
def test_shortened_to_what_is_learnt(limit):
    x = np.zeros((100, 1, 2, 2), np.uint8)
    y = np.arange(100) % 2
    data = datasets.Dataset("d", x, y, x, y, 0, 255, 1.0, ("a", "b"))
    short = common.shortened(data, limit)
    assert len(short.train_x) - short.calibration_size == min(limit, 90)
    np.testing.assert_array_equal(short.train_y, y[100 - len(short.train_y):])
    assert common.shortened(data, None) is data
