"""The CFF face detector: 951 free parameters over windows of 32 columns and 36 rows.

Ref: C. Garcia, M. Delakis, "Convolutional face finder: a neural architecture for fast and robust
face detection", IEEE Trans. PAMI 26(11), 2004; approximated in R. J. Cintra, S. Duffner, C. Garcia,
A. Leite, "Low-complexity approximate convolutional neural networks", 2018::

    C1  4 maps 5x5                                        4 * 26            = 104
    S1  mean of 2x2 times a coefficient, plus a bias      4 * 2             =   8
    C2  each S1 map into two maps, each pair into one     8 * 10 + 6 * 19   = 194
    S2  as S1                                             14 * 2            =  28
    N1  14 neurons, each on all of one S2 map (7 rows, 6 columns)  14 * 43  = 602
    N2  one neuron                                                          =  15

The subsampling is a depthwise 2x2 convolution with stride 2 whose four weights are one number; C2
is one convolution with zeros where maps are not joined. Hooks on the gradients keep both so. The
one output y becomes two scores, -y and y, by constants, so that the largest names the class.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict

import torch
from torch import nn

from hwgen.compress.training.augment import Augmentation
from hwgen.compress.zoo.recipe import Recipe

ROWS, COLUMNS = 36, 32
CONFIDENCE = 4.0  # scores are plus and minus this at most: tanh alone could not be sure


def cff() -> nn.Module:
    """Return the detector with fresh weights."""
    vote = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        vote.weight.copy_(torch.tensor([[-CONFIDENCE], [CONFIDENCE]]))
    vote.weight.requires_grad_(False)
    return nn.Sequential(
        OrderedDict(
            c1=nn.Conv2d(1, 4, 5),
            s1=_subsample(4),
            tanh1=nn.Tanh(),
            c2=_pairs(),
            s2=_subsample(14),
            tanh2=nn.Tanh(),
            n1=nn.Conv2d(14, 14, (7, 6), groups=14),
            tanh3=nn.Tanh(),
            flatten=nn.Flatten(),
            n2=nn.Linear(14, 1),
            tanh4=nn.Tanh(),
            vote=vote,
        )
    )


def joined() -> torch.Tensor:
    """Return which S1 map each C2 map reads, (14, 4) bool: two a map, then the six pairs."""
    alone = [(k // 2,) for k in range(8)]
    reads = [*alone, *itertools.combinations(range(4), 2)]
    table = torch.zeros(14, 4, dtype=torch.bool)
    for row, maps in enumerate(reads):
        table[row, list(maps)] = True
    return table


def free_parameters(module: nn.Module) -> int:
    """Return how many numbers of the detector training may choose."""
    total = 0
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight = layer.weight
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (2, 2):
                weight = weight[:, :, :1, :1]
            if weight.requires_grad:
                total += int(torch.count_nonzero(weight))
            total += 0 if layer.bias is None else layer.bias.numel()
    return total


def _subsample(maps: int) -> nn.Conv2d:
    layer = nn.Conv2d(maps, maps, 2, stride=2, groups=maps)
    with torch.no_grad():
        layer.weight.fill_(0.25)
        layer.bias.zero_()  # type: ignore[union-attr]

    def tie(gradient: torch.Tensor) -> torch.Tensor:
        return gradient.mean((2, 3), keepdim=True).expand_as(gradient).contiguous()

    layer.weight.register_hook(tie)  # type: ignore[no-untyped-call]
    return layer


def _pairs() -> nn.Conv2d:
    layer = nn.Conv2d(4, 14, 3)
    used = joined()[:, :, None, None]
    with torch.no_grad():
        layer.weight *= used

    def cut(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * used.to(gradient.device)

    layer.weight.register_hook(cut)  # type: ignore[no-untyped-call]
    return layer


RECIPES = {
    "cff": Recipe(
        cff,
        (1, ROWS, COLUMNS),
        1 / 128,
        epochs=400,
        batch=32,
        rate=0.01,
        decay=1e-4,
        smoothing=0.05,
        augmentation=Augmentation(turn=5, zoom=0.06, shift=1.0, flip=True),
        classes=2,
        mean=(1.0,),
        std=(1.0,),
    )
}
