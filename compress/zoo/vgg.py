"""A small VGG for 32x32 colour images, and VGG16.

Ref: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
recognition", 2015: 3x3 convolutions in pairs, the width doubled at each halving; here three stages
of 16, 32 and 64 maps with batch norm, 82,554 parameters. VGG16 wants a GPU.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from hwgen.compress.training.augment import Augmentation
from hwgen.compress.zoo.recipe import Recipe

CIFAR = Augmentation(crop=4, flip=True)
Stages = tuple[tuple[int, int], ...]


def vgg_small(
    channels: int = 3,
    side: int = 32,
    widths: tuple[int, ...] = (16, 32, 64),
    classes: int = 10,
) -> nn.Module:
    """Return the small network: two convolutions a width, a 2x2 maximum behind each pair."""
    return vgg(channels, side, tuple((width, 2) for width in widths), classes)


def vgg16() -> nn.Module:
    """Return VGG16 for 32x32 images: thirteen convolutions, one dense layer, 14,715,584 weights."""
    return vgg(3, 32, ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 10)


def vgg(channels: int, side: int, stages: Stages, classes: int) -> nn.Module:
    """Return a network of stages (width, convolutions), a 2x2 maximum behind each."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = channels
    for stage, (width, count) in enumerate(stages, start=1):
        for number in range(1, count + 1):
            name = f"{stage}_{number}"
            layers[f"conv{name}"] = nn.Conv2d(before, width, 3, padding=1, bias=False)
            layers[f"norm{name}"] = nn.BatchNorm2d(width)
            layers[f"relu{name}"] = nn.ReLU()
            before = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
        side //= 2
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(before * side * side, classes)
    return nn.Sequential(layers)


RECIPES = {
    "vgg-small": Recipe(
        vgg_small,
        (3, 32, 32),
        1 / 256,
        epochs=40,
        batch=128,
        rate=0.01,
        decay=5e-3,
        augmentation=CIFAR,
        threads=2,
    ),
    "vgg16": Recipe(
        vgg16,
        (3, 32, 32),
        1 / 256,
        epochs=40,
        batch=256,
        rate=2e-3,
        decay=0.2,
        smoothing=0.05,
        augmentation=CIFAR,
        threads=2,
        half=True,
    ),
}
