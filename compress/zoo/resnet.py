"""Residual networks for CIFAR-10: ResNet-8 of MLPerf Tiny, ResNet-20, ResNet-32 and ResNet18.

Ref: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
section 4.2 (6n + 2 layers; option A: a shortcut takes every second pixel and fills new channels
with zeros); C. Banbury et al., "MLPerf Tiny benchmark", 2021 (ResNet-8: one block a stage, shortcut
by 1x1 convolution, TensorFlow's "same" padding, which puts the odd row and column at the end).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hwgen.compress.training.augment import Augmentation
from hwgen.compress.zoo.recipe import Arrays, Recipe, Tensors, tensor

CIFAR_MEAN, CIFAR_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the published weights
KERAS_EPS = 1e-3
HWIO = (3, 2, 0, 1)


# ---------------------------------------------------------------------------------------------
# ResNet-20, ResNet-32


def option_a(before: int, after: int) -> nn.Conv2d:
    """Return the shortcut as a 1x1 convolution of zeros and ones with stride 2, not trained."""
    layer = nn.Conv2d(before, after, 1, stride=2, bias=False)
    above = (after - before) // 2  # zeros on both sides
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(before):
            layer.weight[above + channel, channel] = 1.0
    layer.weight.requires_grad_(False)
    return layer


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and the shortcut around them."""

    def __init__(
        self, before: int, after: int, stride: int, shortcut: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        if shortcut is None:
            shortcut = nn.Identity() if stride == 1 else option_a(before, after)
        self.shortcut = shortcut
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: torch.Tensor = self.relu2(y + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """A stem, three stages of blocks, a mean over all pixels, one dense layer."""

    def __init__(
        self,
        blocks: int,
        widths: tuple[int, int, int] = (16, 32, 64),
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        before = widths[0]
        for stage, width in enumerate(widths, start=1):
            layers = []
            for number in range(blocks):
                layers.append(BasicBlock(before, width, 2 if stage > 1 and not number else 1))
                before = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for name in ("layer1", "layer2", "layer3"):
            x = self.get_submodule(name)(x)
        scores: torch.Tensor = self.linear(self.flatten(self.pool(x)))
        return scores


def resnet20() -> nn.Module:
    """Return ResNet-20: 269,722 trained parameters."""
    return ResNet(3)


def resnet32() -> nn.Module:
    """Return ResNet-32: 464,154 trained parameters."""
    return ResNet(5)


class ResNet18(nn.Module):
    """ResNet18 for 32x32 images: a 3x3 stem, two blocks a stage, shortcuts by 1x1 convolution."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        blocks: list[nn.Module] = []
        before = 64
        for width in (64, 128, 256, 512):
            if width == before:
                blocks.append(BasicBlock(before, width, 1))
            else:
                projection = nn.Sequential(
                    nn.Conv2d(before, width, 1, stride=2, bias=False), nn.BatchNorm2d(width)
                )
                blocks.append(BasicBlock(before, width, 2, projection))
            blocks.append(BasicBlock(width, width, 1))
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        scores: torch.Tensor = self.linear(self.flatten(self.pool(x)))
        return scores


def _published(blocks: int, arrays: Arrays) -> Tensors:
    """State dict from arrays named as in the module, OIHW; option A's constants are our own."""
    state = ResNet(blocks).state_dict()
    for name in state:
        if "shortcut" not in name and "num_batches" not in name:
            state[name] = tensor(arrays, name)
    return dict(state)


# ---------------------------------------------------------------------------------------------
# ResNet-8


class TinyBlock(nn.Module):
    """A block of ResNet-8; stride 2 comes with padding at the end alone and a 1x1 shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.Identity()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 0 if stride == 2 else 1)
        self.bn1 = nn.BatchNorm2d(after, eps=KERAS_EPS)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(after, eps=KERAS_EPS)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(before, after, 1, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(self.pad(x))))))
        out: torch.Tensor = self.relu2(y + self.shortcut(x))
        return out


class ResNet8(nn.Module):
    """ResNet-8 on pixels 0 to 255: 78,186 trained parameters, 12.5 million MACs an image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16, eps=KERAS_EPS)
        self.relu = nn.ReLU()
        self.stack1 = TinyBlock(16, 16, 1)
        self.stack2 = TinyBlock(16, 32, 2)
        self.stack3 = TinyBlock(32, 64, 2)
        self.pool = nn.AvgPool2d(8)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stack3(self.stack2(self.stack1(self.relu(self.bn(self.conv(x))))))
        scores: torch.Tensor = self.dense(self.flatten(self.pool(x)))
        return scores


# Keras numbers its layers in the order they were made.
_CONVOLUTIONS = {
    "conv": "conv2d",
    "stack1.conv1": "conv2d_1",
    "stack1.conv2": "conv2d_2",
    "stack2.conv1": "conv2d_3",
    "stack2.conv2": "conv2d_4",
    "stack2.shortcut": "conv2d_5",
    "stack3.conv1": "conv2d_6",
    "stack3.conv2": "conv2d_7",
    "stack3.shortcut": "conv2d_8",
}
_NORMS = ("bn", *(f"stack{stage}.bn{number}" for stage in (1, 2, 3) for number in (1, 2)))
_NORM_FIELDS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def resnet8_weights(arrays: Arrays) -> Tensors:
    """Return the state dict of ``ResNet8`` from Keras's arrays: HWIO to OIHW."""
    state: Tensors = dict(ResNet8().state_dict())
    for ours, keras in _CONVOLUTIONS.items():
        state[f"{ours}.weight"] = tensor(arrays, f"{keras}.kernel", *HWIO)
        state[f"{ours}.bias"] = tensor(arrays, f"{keras}.bias")
    for number, ours in enumerate(_NORMS):
        keras = f"batch_normalization_{number}" if number else "batch_normalization"
        for field, name in _NORM_FIELDS.items():
            state[f"{ours}.{field}"] = tensor(arrays, f"{keras}.{name}")
    state["dense.weight"] = tensor(arrays, "dense.kernel", 1, 0)
    state["dense.bias"] = tensor(arrays, "dense.bias")
    return state


_AUGMENTATION = Augmentation(crop=4, flip=True)


def _option_a_recipe(build: Callable[[], nn.Module], blocks: int) -> Recipe:
    """Return the recipe of ResNet-20 and ResNet-32: so many blocks a stage."""
    return Recipe(
        build,
        (3, 32, 32),
        1 / 255,
        epochs=100,
        batch=128,
        rate=0.01,
        decay=5e-3,
        augmentation=_AUGMENTATION,
        threads=2,
        mean=CIFAR_MEAN,
        std=CIFAR_STD,
        published=lambda arrays: _published(blocks, arrays),
    )


RECIPES = {
    "resnet8": Recipe(
        ResNet8,
        (3, 32, 32),
        1.0,
        epochs=60,
        batch=128,
        rate=0.005,
        decay=1e-3,
        augmentation=_AUGMENTATION,
        threads=2,
        published=resnet8_weights,
    ),
    "resnet18": Recipe(
        ResNet18,
        (3, 32, 32),
        1 / 256,
        epochs=40,
        batch=256,
        rate=3e-3,
        decay=0.2,
        smoothing=0.05,
        augmentation=_AUGMENTATION,
        threads=2,
        half=True,
    ),
    "resnet20": _option_a_recipe(resnet20, 3),
    "resnet32": _option_a_recipe(resnet32, 5),
}
