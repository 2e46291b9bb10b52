"""Masked training: the weights outside stay zero, those inside learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwgen import datasets
from hwgen.compress.methods import periodic
from hwgen.compress.training import finetune, masked
from hwgen.compress.zoo import Recipe, mobilenet, resnet, vgg
from hwgen.errors import HwgenError


def small():
    torch.manual_seed(0)
    return vgg.vgg_small(1, 8, (4, 6), 10)


def options(text, **more):
    return periodic.Options(periodic.Variant.parse(text), **more)


def test_which_layers_are_masked():
    random = np.random.default_rng(0)
    assert list(masked.masks_for(small(), options("PSD1_P8"))) == ["conv1_2", "conv2_1", "conv2_2"]
    net = resnet.ResNet(1, (4, 8, 16))
    found = masked.masks_for(net, options("pSC2"), random)
    assert list(found) == [f"layer{s}.0.conv{n}" for s in (1, 2, 3) for n in (1, 2)]
    assert [int(mask.sum()) // 2 for mask in found.values()] == [16, 16, 32, 64, 128, 256]
    assert masked.masks_for(mobilenet.MobileNetSmall(), options("PS2_P6")) == {}


@pytest.mark.parametrize("more", [{}, {"supports": periodic.Supports.ENERGY},
                                  {"phase": periodic.Phase.TILE, "tile": 2}])  # fmt: skip
def test_masked_training(more):
    """From scratch and as fine-tuning: the loop is that of every training."""
    module, data = small(), datasets.load("digits")
    masks = masked.masks_for(module, options("PSD1_P4", **more))
    masked.hold(module, masks)
    before = {path: module.get_submodule(path).weight.detach().clone() for path in masks}
    recipe = Recipe(small, (1, 8, 8), 1 / 16, epochs=1, batch=64, rate=0.01, decay=0.01)
    finetune.fit(module, recipe, data, name="masked", epochs=1)
    for path, mask in masks.items():
        weight = module.get_submodule(path).weight.detach().numpy()
        assert not weight[~mask].any()
        assert np.mean(weight[mask] != before[path].numpy()[mask]) > 0.9


def test_wrong():
    with pytest.raises(HwgenError, match="conv1_1: a convolution with a mask of its shape needed"):
        masked.hold(small(), {"conv1_1": np.ones((1, 1, 1, 1), bool)})
    with pytest.raises(HwgenError, match="fc: a convolution"):
        masked.hold(small(), {"fc": np.ones((10, 24), bool)})
