"""The reference networks: small CNNs of the literature, as torch modules, with the recipe that
trains each.

Ref: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86(11), 1998 (LeNet-5; here with ReLU and max pooling, as is usual since).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from hwgen.errors import HwgenError


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
        Real value of one code of the raw image; a power of two, so that the raw pixel is the code.
    epochs, batch, rate, decay : training: passes, images a step, highest learning rate, weight
    decay.
    smoothing : float
        Part of the label spread over all classes.
    turn, zoom, shift : augmentation: degrees, factor and pixels, each way at most; 0 is none.
    threads : int
        Of torch. Sums in another order have other last bits, so it is fixed; small steps are faster
        with one.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    scale: float
    epochs: int
    batch: int
    rate: float
    decay: float
    smoothing: float
    turn: float
    zoom: float
    shift: float
    threads: int


def digits_net() -> nn.Module:
    """Return the demo's network: 8x8 digits, two small convolutions, 1,328 parameters."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 7, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(7, 12, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc=nn.Linear(48, 10),
        )
    )


def lenet5() -> nn.Module:
    """Return LeNet-5 for 28x28 images, without padding: 44,426 parameters."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(256, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, 10),
        )
    )


ZOO: dict[str, Recipe] = {
    "digits": Recipe(
        digits_net,
        (1, 8, 8),
        1 / 16,
        epochs=50,
        batch=64,
        rate=0.015,
        decay=1e-3,
        smoothing=0.05,
        turn=8,
        zoom=0.08,
        shift=0.6,
        threads=1,
    ),
    "lenet5": Recipe(
        lenet5,
        (1, 28, 28),
        1 / 256,
        epochs=14,
        batch=128,
        rate=0.004,
        decay=5e-4,
        smoothing=0.0,
        turn=10,
        zoom=0.1,
        shift=2.0,
        threads=2,
    ),
}


def recipe(name: str) -> Recipe:
    """Return the recipe of a reference network.

    Raises: HwgenError naming the known ones if there is none of that name.
    """
    if name not in ZOO:
        raise HwgenError(f"Network must be one of {', '.join(ZOO)}, not {name!r}")
    return ZOO[name]
