"""Shapes against the totals that the papers and their authors' plots give."""

from __future__ import annotations

import pytest

from hwgen.compress.shapes import LayerShape, alexnet, resnet18, vgg16
from hwgen.errors import HwgenError


def totals(layers):
    return sum(layer.weights for layer in layers), sum(layer.macs for layer in layers)


def test_vgg16_totals():
    weights, macs = totals(vgg16())
    assert weights == 14_715_584
    assert macs / 1e9 == pytest.approx(0.3132, abs=5e-5)
    assert len(vgg16()) == 14


def test_vgg16_large_images():
    convolutions = vgg16(side=224)[:-1]
    assert sum(layer.macs for layer in convolutions) / 1e6 == pytest.approx(15_347, abs=0.5)


def test_resnet18_totals():
    weights, macs = totals(resnet18())
    assert weights == 11_164_352
    assert macs / 1e9 == pytest.approx(0.5554, abs=5e-5)
    assert sum(layer.kh == 1 for layer in resnet18()) == 4  # three shortcuts and the classifier


def test_alexnet_totals():
    layers = alexnet()
    assert sum(layer.macs for layer in layers[:5]) / 1e6 == pytest.approx(665.8, abs=0.05)
    assert layers[5].weights == alexnet(dense_as_kernels=True)[5].weights == 4096 * 9216


def test_alexnet_matrices():
    """About 1.2 million matrices: the convolutions' kernels, and fc6 seen as 6 x 6 ones."""
    kernels = [layer.kernels for layer in alexnet(dense_as_kernels=True)[:6]]
    assert kernels == [288, 12_288, 98_304, 73_728, 49_152, 1_048_576]
    assert sum(kernels) == 1_282_336


def test_channels_follow_each_other():
    layers = vgg16()
    for before, after in zip(layers, layers[1:], strict=False):
        assert after.ci == before.co


@pytest.mark.parametrize(("make", "side"), [(vgg16, 30), (vgg16, 0), (resnet18, 12)])
def test_side_wrong(make, side):
    with pytest.raises(HwgenError, match=f"multiple of .* needed, not {side}"):
        make(side=side)


def test_sizes_wrong():
    with pytest.raises(HwgenError, match="positive sizes"):
        LayerShape("conv", 4, 0, 3, 3)
    with pytest.raises(HwgenError, match="multiple of groups"):
        LayerShape("conv", 5, 1, 3, 3, groups=2)
