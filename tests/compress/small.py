"""A small network and images that it classifies without an error: searches and stages without any
training. The labels are what the float network says.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cache

import numpy as np
import torch
from torch import nn

from hwgen import datasets
from hwgen.compress import pipeline
from hwgen.compress.choices.plan import parse_methods
from hwgen.compress.importers import model as models
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.lower_rules import LowerOptions
from hwgen.compress.measure import Scores
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.stages.build import Stages

SHAPE = (1, 8, 8)
SCALING = InputScaling(1 / 16, None, None)


def images(count: int = 400, *, seed: int = 0) -> np.ndarray:
    """Codes 0 to 16, (N, 1, 8, 8): a few bright blobs on a dark ground."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:8, :8]
    made = np.zeros((count, 8, 8))
    for _ in range(3):
        row, column, width = (random.uniform(low, high, (count, 1, 1))
                              for low, high in ((0, 7), (0, 7), (0.6, 2)))
        made += np.exp(-((y - row) ** 2 + (x - column) ** 2) / width**2)
    return np.clip(np.rint(16 * made), 0, 16).astype(np.int64)[:, None]


def module() -> nn.Module:
    """Two convolutions with redundant filters, and a dense layer whose classes are balanced."""
    torch.manual_seed(3)
    net = nn.Sequential(OrderedDict(
        conv1=nn.Conv2d(1, 6, 3, padding=1), relu1=nn.ReLU(),
        conv2=nn.Conv2d(6, 8, 3, padding=1), relu2=nn.ReLU(), pool=nn.MaxPool2d(2),
        flatten=nn.Flatten(), fc=nn.Linear(128, 4),
    ))  # fmt: skip
    with torch.no_grad():
        for layer in (net.conv1, net.conv2):
            layer.weight *= 2
            layer.weight[:, :, 0] *= 0.2        # taps that matter little
            layer.weight[4] = 0.6 * layer.weight[0] - 0.5 * layer.weight[1]
        scores = net(torch.from_numpy(images(seed=9) / 16).float())
        net.fc.weight /= scores.std(0)[:, None]
        net.fc.bias /= scores.std(0)
        scores = net(torch.from_numpy(images(seed=9) / 16).float())
        net.fc.bias -= scores.mean(0)
    return net.eval()


@cache
def dataset() -> datasets.Dataset:
    """400 images to train, 100 to test, with the float network's own labels: those of 2,000 whose
    best two scores are furthest apart.
    """
    x = images(2000)
    with torch.inference_mode():
        scores = module()(torch.from_numpy(x / 16).float())
    best = scores.topk(2).values
    chosen = np.sort((best[:, 1] - best[:, 0]).argsort().numpy()[:500])
    x, y = x[chosen], scores.argmax(1).numpy()[chosen]
    return datasets.Dataset(
        "small", x[:400], y[:400], x[400:], y[400:], 0, 16, 1 / 16, ("a", "b", "c", "d")
    )


@cache
def prepared() -> pipeline.Prepared:
    """The network, calibrated."""
    model = models.Model("small", import_module(module(), SHAPE), SCALING)
    return pipeline.prepare(model, dataset())


def stages(*methods: str, searched: bool = False, **options: object) -> Stages:
    """The stages of some ``--method`` arguments."""
    plan = parse_methods(methods, searched=searched)
    return Stages(prepared(), plan, options=LowerOptions(**options))


@cache
def scores() -> Scores:
    """All training images: the float network is right on each."""
    return Scores.of(prepared().graph, prepared().input_codes.frac, dataset())
