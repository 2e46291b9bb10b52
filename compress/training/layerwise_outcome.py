"""What layer-wise compression is asked for, what comes of it, and how many bytes that takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from hwgen.compress.importers import graph as g
from hwgen.compress.lower_rules import linear_nodes
from hwgen.compress.methods import dyadic, packed
from hwgen.compress.methods.checks import BoolArray
from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.training.augment import NONE, Augmentation
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64


class Order(Enum):
    """Which layer is compressed first."""

    SPARSITY = "sparsity"  # the sparsest: the paper's
    SENSITIVITY = "sensitivity"  # the one whose ternary fit costs the least accuracy


RESTORED, DIGITS = "Q16", 2  # levels of restored layers, signed digits of their scales


@dataclass(frozen=True)
class Options:
    """What to reach, and how long to train for it.

    Parameters
    ----------
    sparsity : float
        Part of all weights that is to be zero, 0 to 1.
    steps : int
        Of the pruning; each goes an equal part of the logarithm of what stays.
    scale : Scale
        Which weights of a convolution share a sigma: the layer's or a filter's. Dense layers have
        one.
    digits : int
        Signed digits of each sigma, 1 to 3.
    budget : float
        Points of accuracy, on the last training images, that all of it may cost.
    order : Order
    epochs_pruning, epochs_layer, epochs_end : int
        Passes after each pruning step, in each layer's turn, and over all of them at the end.
    distil : float
        Part of the loss, 0 to 1, that pulls towards the float network's scores.
    rate, batch, seed, device, augmentation, threads : of the training.

    Raises: HwgenError if a number is out of range.
    """

    sparsity: float = 0.93
    steps: int = 3
    scale: Scale = Scale.LAYER
    digits: int = 2
    budget: float = 1.0
    order: Order = Order.SPARSITY
    epochs_pruning: int = 2
    epochs_layer: int = 2
    epochs_end: int = 2
    distil: float = 0.0
    rate: float = 2e-3
    batch: int = 128
    seed: int = 0
    device: str = "auto"
    augmentation: Augmentation = NONE
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1 or self.budget < 0:
            raise HwgenError(
                "Layer-wise compression: a sparsity from 0 to below 1 and a budget from 0 needed, "
                f"not {self.sparsity}, {self.budget}"
            )
        if self.digits not in (1, 2, 3) or self.scale is Scale.KERNEL:
            raise HwgenError(
                "Layer-wise compression: sigmas by layer or filter of 1, 2 or 3 digits needed, "
                f"not by {self.scale.value} of {self.digits}"
            )
        if min(self.steps, self.epochs_layer, self.batch, self.threads) < 1:
            raise HwgenError("Layer-wise compression: steps, passes and batch from 1 needed")


@dataclass(frozen=True)
class Turn:
    """One layer's turn. Parameters: layer; accuracy after it, a share; accepted."""

    layer: str
    accuracy: float
    accepted: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of it.

    Parameters
    ----------
    graph : Graph
        Weights as they are used: ternary times sigma, or pruned floats in a restored layer.
    masks : mapping of layer to bool array
    sigma : mapping of layer to float64 array
        Of the ternary layers; (1,) or (co,).
    accuracy_float, accuracy_pruned, accuracy : float
        Shares on the last training images: before, after pruning, at the end.
    turns : tuple of Turn
    """

    graph: g.Graph
    masks: Mapping[str, BoolArray]
    sigma: Mapping[str, g.FloatArray]
    accuracy_float: float
    accuracy_pruned: float
    accuracy: float
    turns: tuple[Turn, ...]

    @property
    def sparsity(self) -> float:
        """Part of all weights that is zero."""
        nodes = linear_nodes(self.graph)
        zeros = sum(int(np.count_nonzero(node.weight == 0)) for node in nodes)
        return zeros / sum(node.weight.size for node in nodes)

    def results(self) -> dict[str, dyadic.Result]:
        """Return all layers in the form that ``lower`` takes: the ternary ones exactly, restored
        ones by the nearest of 33 dyadic levels a filter (of all weights, in the last layer).
        """
        made = {}
        for node in linear_nodes(self.graph):
            if node.name not in self.sigma:
                scale = Scale.LAYER if node is self.graph.output else Scale.FILTER
                made[node.name] = dyadic.approximate(
                    node.weight, dyadic.Options(dyadic.Levels.parse(RESTORED), scale, DIGITS)
                )
                continue
            sigma = self.sigma[node.name]
            energy = np.full(sigma.shape, float((node.weight**2).sum()) / sigma.size)
            codes = int64(np.sign(node.weight).astype(np.int64))
            made[node.name] = dyadic.Result(codes, 0, sigma, np.zeros(sigma.shape), energy)
        return made


def size(outcome: Outcome, *, bias_bits: int = 8) -> tuple[bytes, int]:
    """Return the network as bytes, all counted, and the bytes of the same as 32-bit floats.

    Biases are whole numbers of ``bias_bits`` times a power of two of their layer; weights of a
    restored layer are as in ``Outcome.results``.
    """
    results = outcome.results()
    layers = []
    for node in linear_nodes(outcome.graph):
        result = results[node.name]
        integers, unit = bias_codes(node.bias, bias_bits)
        scale = np.ldexp(result.scale, -result.bits)
        layers.append(packed.PackedLayer(result.codes, scale, integers, unit))
    return packed.pack(layers), packed.float_bytes(layers)


def bias_codes(bias: g.FloatArray, bits: int) -> tuple[Int64Array, float]:
    """Return (integers, unit): biases as signed integers of so many bits times a power of two."""
    top = float(np.abs(bias).max(initial=0.0))
    if not top:
        return int64(np.zeros(bias.shape, np.int64)), 1.0
    unit = float(2.0 ** np.ceil(np.log2(top / ((1 << (bits - 1)) - 1))))
    return int64(np.rint(bias / unit).astype(np.int64)), unit
