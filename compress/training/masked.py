"""Modules whose masked weights stay zero: training of pre-defined sparsity.

Ref: S. Kundu, M. Nazemi, M. Pedram, K. M. Chugg, P. A. Beerel, "Pre-defined sparsity for
low-complexity convolutional neural networks", IEEE Trans. Computers 69(7), 2020: weights times the
mask at the beginning, gradients times the mask in each step; the first convolution, those of 1x1
and the classifier stay dense. From scratch, or from a trained dense network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from hwgen.compress.methods import periodic
from hwgen.compress.methods.checks import BoolArray
from hwgen.errors import HwgenError


def masks_for(
    module: nn.Module, options: periodic.Options, random: np.random.Generator | None = None
) -> dict[str, BoolArray]:
    """Return the masks of a module's convolutions by the paper's rule, by the layer's path.

    Depthwise and grouped convolutions stay dense too. Supports by energy look at the weights that
    the module has now.

    Raises: HwgenError if a kernel is too small for the supports, and for pSC without a generator.
    """
    masks: dict[str, BoolArray] = {}
    first = True
    for path, layer in module.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        kh, kw = layer.kernel_size
        if layer.groups == 1 and not periodic.stays_dense(first=first, kh=kh, kw=kw):
            if options.supports is periodic.Supports.ENERGY:
                weight = layer.weight.detach().cpu().double().numpy()
                masks[path] = periodic.approximate(weight, options, random).mask
            else:
                masks[path] = periodic.mask(tuple(layer.weight.shape), options, random)
        first = False
    return masks


def hold(module: nn.Module, masks: Mapping[str, BoolArray]) -> None:
    """Set the weights outside the masks to zero, and their gradients in every backward pass.

    Adam, with or without weight decay, then leaves them at zero.

    Raises: HwgenError naming a layer that is no convolution, or whose mask is of another shape.
    """
    for path, mask in masks.items():
        layer = module.get_submodule(path)
        if not isinstance(layer, nn.Conv2d) or tuple(layer.weight.shape) != np.shape(mask):
            raise HwgenError(f"{path}: a convolution with a mask of its shape needed")
        kept = torch.tensor(np.asarray(mask), dtype=layer.weight.dtype)
        with torch.no_grad():
            layer.weight.mul_(kept.to(layer.weight.device))
        hook = _times(kept)
        layer.weight.register_hook(hook)  # type: ignore[no-untyped-call]


def _times(kept: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda gradient: gradient * kept.to(gradient.device)
