"""The cost model: what the layers of a network cost before any sharing; numpy only.

Nonzeros are counted, not shapes: a weight of zero costs nothing. A weight of d signed digits is d
shifted copies of its input; a sum of n copies takes n - 1 adders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.layers import Conv2d, Dense, Int64Array, Requantise
from hwgen.network import Network


@dataclass(frozen=True)
class LayerCost:
    """What one convolution or dense layer costs.

    Parameters
    ----------
    name : str
    nonzeros : int
        Weights that are not zero.
    digits : int
        Nonzero canonical signed digits of all weights.
    adders : int
        Two-input adders without sharing: digits - 1 an output channel; a bias adds one.
    macs : int
        Products that are not with zero, for one image: nonzeros times output pixels.
    """

    name: str
    nonzeros: int
    digits: int
    adders: int
    macs: int


def digit_count(values: Int64Array) -> Int64Array:
    """Return the number of canonical signed digits of each integer below 2**61 in magnitude."""
    magnitudes = np.abs(np.asarray(values, dtype=np.int64))
    return np.bitwise_count((3 * magnitudes) ^ magnitudes).astype(np.int64)


def layer_cost(layer: Conv2d | Dense, pixels: int) -> LayerCost:
    """Return the cost of a layer that makes ``pixels`` output pixels an image."""
    by_output = digit_count(layer.weight).reshape(layer.weight.shape[0], -1).sum(axis=1)
    terms = by_output + (layer.bias != 0)
    nonzeros = int(np.count_nonzero(layer.weight))
    return LayerCost(
        layer.name,
        nonzeros,
        int(by_output.sum()),
        int(np.maximum(terms - 1, 0).sum()),
        nonzeros * pixels,
    )


def network_cost(network: Network) -> tuple[LayerCost, ...]:
    """Return the costs of all convolutions and dense layers, in order."""
    tensors = network.tensors
    return tuple(
        layer_cost(layer, tensors[layer.name].height * tensors[layer.name].width)
        for layer in network.layers
        if isinstance(layer, (Conv2d, Dense))
    )


def requantise_adders(layer: Requantise) -> int:
    """Return the adders of a Requantise: those of each multiplier, and one for the offset."""
    digits = digit_count(layer.multiplier)
    addend = (layer.offset != 0) | (layer.shift > 0)
    return int((np.maximum(digits - 1, 0) + addend).sum())
