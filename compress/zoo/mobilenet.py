"""A small network of inverted residuals.

Ref: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: inverted residuals and
linear bottlenecks", CVPR 2018: expand by 1x1, filter each map by 3x3, project by 1x1 without an
activation, add the input where the shape is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hwgen.compress.training.augment import Augmentation
from hwgen.compress.zoo.recipe import Recipe

# expansion, maps, blocks, stride of the first block
STAGES = ((1, 16, 1, 1), (4, 24, 2, 2), (4, 32, 2, 2), (4, 64, 2, 1))


class InvertedResidual(nn.Module):
    """A block of the paper's figure 4."""

    def __init__(self, before: int, after: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        inside = before * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [
                nn.Conv2d(before, inside, 1, bias=False), nn.BatchNorm2d(inside), nn.ReLU6(),
            ]
        layers += [
            nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False),
            nn.BatchNorm2d(inside),
            nn.ReLU6(),
            nn.Conv2d(inside, after, 1, bias=False),
            nn.BatchNorm2d(after),
        ]
        self.inner = nn.Sequential(*layers)
        self.adds = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return x + y if self.adds else y


class MobileNetSmall(nn.Module):
    """Stem, stages of inverted residuals, a mean over all pixels, one dense layer."""

    def __init__(
        self,
        channels: int = 3,
        stem: int = 16,
        stages: Sequence[tuple[int, int, int, int]] = STAGES,
        last: int = 128,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU6()
        )
        blocks: list[nn.Module] = []
        before = stem
        for expansion, maps, count, stride in stages:
            for number in range(count):
                blocks.append(
                    InvertedResidual(
                        before, maps, stride=1 if number else stride, expansion=expansion
                    )
                )
                before = maps
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Conv2d(before, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.fc(
            self.flatten(self.pool(self.head(self.blocks(self.stem(x)))))
        )
        return scores


RECIPES = {
    "mobilenet-small": Recipe(
        MobileNetSmall,
        (3, 32, 32),
        1 / 256,
        epochs=40,
        batch=128,
        rate=0.01,
        decay=5e-3,
        augmentation=Augmentation(crop=4, flip=True),
        threads=2,
    )
}
