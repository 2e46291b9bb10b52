"""What a reference network is: how it is built, what it takes, how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hwgen.compress.training.augment import NONE, Augmentation
from hwgen.errors import HwgenError

Arrays = Mapping[str, npt.NDArray[np.generic]]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a reference network is made and trained.

    Parameters
    ----------
    build : callable
        () -> nn.Module with fresh weights from torch's current seed.
    shape : (channels, height, width)
        Of the images it takes.
    scale : float
        Real value of one code of the raw image; a power of two where the raw pixel is to be the
        code.
    epochs, batch, rate, decay : training: passes, images a step, highest learning rate, weight
    decay.
    smoothing : float
        Part of the label spread over all classes.
    augmentation : Augmentation
    threads : int
        Of torch. Sums in another order have other last bits, so it is fixed; small steps are faster
        with one.
    classes : int
    half : bool
        On a GPU, train with bfloat16 products.
    mean, std : tuple of float, optional
        Normalisation by channel, ``(code * scale - mean) / std``.
    published : callable, optional
        Arrays of the published weights, by name -> the module's state dict.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    scale: float
    epochs: int
    batch: int
    rate: float
    decay: float
    smoothing: float = 0.0
    augmentation: Augmentation = NONE
    threads: int = 1
    classes: int = 10
    half: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    published: Callable[[Arrays], Tensors] | None = None


def tensor(arrays: Arrays, name: str, *axes: int) -> torch.Tensor:
    """Return a published array as a float32 tensor, its axes in the order given.

    Raises: HwgenError naming the array if it is missing, of other dimensions or not finite.
    """
    if name not in arrays:
        raise HwgenError(
            f"published weights: an array {name} needed, there are {', '.join(sorted(arrays)[:6])}"
            f"{' ...' if len(arrays) > 6 else ''}"
        )
    array: npt.NDArray[Any] = np.asarray(arrays[name])
    if array.dtype.kind != "f" or (axes and array.ndim != len(axes)):
        raise HwgenError(
            f"published weights: {name} as floats"
            f"{f' of {len(axes)} dimensions' if axes else ''} needed, not {array.dtype} "
            f"{array.shape}"
        )
    if not np.all(np.isfinite(array)):
        raise HwgenError(f"published weights: finite {name} needed, there is NaN or infinity in it")
    turned = array.transpose(axes) if axes else array
    return torch.from_numpy(np.ascontiguousarray(turned, dtype=np.float32))
