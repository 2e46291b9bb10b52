"""The cost model: what the layers of a network cost before any sharing; numpy only.

Nonzeros are counted, not shapes: a weight of zero costs nothing. A weight of d signed digits is d
shifted copies of its input; a sum of n copies takes n - 1 adders. In space an adder takes a LUT
position a bit; in time a tiled array takes a cycle for each tap that a tile uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from hwgen.layers import Conv2d, Dense, Int64Array, Requantise
from hwgen.network import Network
from hwgen.ranges import value_ranges

TILE = 16  # outputs and inputs of a tiled array


class Objective(Enum):
    """What a search makes few."""

    ADDERS = "adders"
    LUTS = "luts"
    CYCLES = "cycles"
    MACS = "macs"


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


def layer_luts(layer: Conv2d | Dense | Requantise, widths: Int64Array) -> int:
    """Return the LUT positions of a layer's adders laid out in space, none of them shared.

    Parameters: widths, (co,), bits of each output's exact sum: each of its adders is that wide.
    """
    if isinstance(layer, Requantise):
        digits = digit_count(layer.multiplier)
        adders = np.maximum(digits - 1, 0) + ((layer.offset != 0) | (layer.shift > 0))
    else:
        by_output = digit_count(layer.weight).reshape(layer.weight.shape[0], -1).sum(axis=1)
        adders = np.maximum(by_output + (layer.bias != 0) - 1, 0)
    return int((adders * widths).sum())


def nfu_cycles(layer: Conv2d | Dense, pixels: int, *, tile: int = TILE) -> int:
    """Return the cycles of a layer on an array of ``tile`` x ``tile``, without pipeline filling.

    Taps are walked in time: a tile of filters and input channels takes a cycle a pixel for each tap
    that any of its kernels uses. Filters are sorted by their taps first, those with most in front;
    the next layer's input channels undo it. Groups do not share tiles.
    """
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    used = (layer.weight != 0).reshape(*layer.weight.shape[:2], -1)  # (co, ci, taps)
    cycles = 0
    for part in np.split(used, groups):
        by_filter = part.any(axis=1)
        # The last key counts first: taps, falling; then equal ones side by side.
        order = np.lexsort(np.vstack([by_filter.T, -by_filter.sum(axis=1)]))
        rows, channels = part.shape[:2]
        tiles = np.logical_or.reduceat(part[order], np.arange(0, rows, tile), axis=0)
        tiles = np.logical_or.reduceat(tiles, np.arange(0, channels, tile), axis=1)
        cycles += int(tiles.sum())
    return cycles * pixels


def total(network: Network, objective: Objective) -> int:
    """Return what a network costs: its convolutions and dense layers, and in space its Requantises.

    Adders and LUT positions are for an engine that takes a pixel a cycle, without sharing; MACs and
    cycles are those of an image.
    """
    if objective is Objective.MACS:
        return sum(layer.macs for layer in network_cost(network))
    cost, tensors = 0, network.tensors
    ranges = value_ranges(network) if objective is Objective.LUTS else {}
    for layer in network.layers:
        if isinstance(layer, Requantise) and objective is Objective.ADDERS:
            cost += requantise_adders(layer)
        elif isinstance(layer, (Conv2d, Dense)) and objective is Objective.CYCLES:
            out = tensors[layer.name]
            cost += nfu_cycles(layer, out.height * out.width)
        elif isinstance(layer, (Conv2d, Dense)) and objective is Objective.ADDERS:
            cost += layer_cost(layer, 1).adders
        elif isinstance(layer, (Conv2d, Dense, Requantise)) and objective is Objective.LUTS:
            sums = ranges[layer.source if isinstance(layer, Requantise) else layer.name]
            cost += layer_luts(layer, np.array([bits for bits, _ in sums.shapes()], np.int64))
    return cost
