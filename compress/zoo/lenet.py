"""Networks for digits: the demo's, LeNet-5, and two wider ones of the same plan.

Ref: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86(11), 1998 (LeNet-5; here with ReLU and max pooling, as is usual since);
Y. Jia et al., "Caffe: convolutional architecture for fast feature embedding", ACM Multimedia, 2014
(its MNIST example, 20-50-500-10, one ReLU alone).
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from hwgen.compress.training.augment import Augmentation
from hwgen.compress.zoo.recipe import Arrays, Recipe, Tensors, tensor


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


def few_maps(first: int, second: int) -> nn.Module:
    """Return first@5x5 - second@5x5 - 10 on 28x28 images, without a hidden dense layer.

    The clip in front changes no pixel: as codes it is where they get as few bits as the others.
    """
    return nn.Sequential(
        OrderedDict(
            levels=nn.Hardtanh(0.0, 1.0),
            conv1=nn.Conv2d(1, first, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc=nn.Linear(16 * second, 10),
        )
    )


def lenet200() -> nn.Module:
    """Return 20@5x5 - 50@5x5 - 200 - 10 on 28x28 images: 187,780 parameters."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(800, 200),
            relu3=nn.ReLU(),
            fc2=nn.Linear(200, 10),
        )
    )


def caffe_lenet() -> nn.Module:
    """Return Caffe's 20-50-500-10: 431,080 parameters; no activation behind the convolutions."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, 5),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            ip1=nn.Linear(800, 500),
            relu1=nn.ReLU(),
            ip2=nn.Linear(500, 10),
        )
    )


def caffe_weights(arrays: Arrays) -> Tensors:
    """Return the state dict of ``caffe_lenet`` from Caffe's arrays, OIHW."""
    return {
        f"{layer}.{field}": tensor(arrays, f"{layer}.{field}")
        for layer in ("conv1", "conv2", "ip1", "ip2")
        for field in ("weight", "bias")
    }


_HANDWRITING = Augmentation(turn=10, zoom=0.1, shift=2.0)

RECIPES = {
    "digits": Recipe(
        digits_net,
        (1, 8, 8),
        1 / 16,
        epochs=50,
        batch=64,
        rate=0.015,
        decay=1e-3,
        smoothing=0.05,
        augmentation=Augmentation(turn=8, zoom=0.08, shift=0.6),
    ),
    "lenet5": Recipe(
        lenet5,
        (1, 28, 28),
        1 / 256,
        epochs=14,
        batch=128,
        rate=0.004,
        decay=5e-4,
        augmentation=_HANDWRITING,
        threads=2,
    ),
    **{
        "-".join(map(str, ("lenet", *sizes))): Recipe(
            partial(few_maps, *sizes),
            (1, 28, 28),
            1 / 256,
            epochs=16,
            batch=128,
            rate=0.008,
            decay=2e-4,
            augmentation=Augmentation(turn=8, zoom=0.08, shift=1.5),
        )
        for sizes in ((4, 8), (5, 10), (6, 12))
    },
    "lenet-200": Recipe(
        lenet200,
        (1, 28, 28),
        1 / 256,
        epochs=10,
        batch=128,
        rate=0.003,
        decay=5e-4,
        augmentation=_HANDWRITING,
        threads=2,
    ),
    "caffe-lenet": Recipe(
        caffe_lenet,
        (1, 28, 28),
        1 / 256,
        epochs=10,
        batch=128,
        rate=0.002,
        decay=5e-4,
        augmentation=_HANDWRITING,
        threads=2,
        published=caffe_weights,
    ),
}
