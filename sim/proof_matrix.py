"""A layer of the network as the constant matrix its hardware must be, in the hardware's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hwgen.network import AvgPool, Conv2d, Dense, Int64Array, Network
from hwgen.ranges import Range, linear_range, value_ranges, width_of


@dataclass(frozen=True, eq=False)
class Matrix:
    """y = x @ weights, x and y in the order of the hardware's words.

    Parameters
    ----------
    weights : (inputs, outputs) int64
    channels : (inputs,) int64
        Channel of the source tensor that each word of x carries.
    alive : (inputs,) bool
        False for words that are always 0, whose coefficients do not matter.
    tap : callable
        The place of word i, in words.
    """

    weights: Int64Array
    channels: Int64Array
    alive: np.typing.NDArray[np.bool_]
    tap: Callable[[int], str]

    def widths(self, source: Range) -> list[int]:
        """Return the bits of each word of y, for the ranges of the source's channels."""
        lo, hi = linear_range(self.weights.T, source.lo[self.channels], source.hi[self.channels])
        return [width_of(int(a), int(b))[0] for a, b in zip(lo, hi, strict=True)]


def matrix_of(network: Network, layer: Conv2d | Dense | AvgPool,
              aliases: Mapping[str, str]) -> Matrix:
    """Return the matrix of a layer, bias left out; aliases as in ``stream_order``."""
    inputs = network.tensors[layer.source].channels
    if isinstance(layer, Dense):
        order, place = stream_order(network, layer.source, aliases)
        weights, channels = layer.weight.T[order], order
        tap = place
    else:
        kh, kw = layer.kernel if isinstance(layer, AvgPool) else layer.weight.shape[2:]
        weights = _pool(layer, inputs) if isinstance(layer, AvgPool) else _conv(layer, inputs)
        channels = np.tile(np.arange(inputs), kh * kw)

        def tap(i: int) -> str:
            pixel, channel = divmod(i, inputs)
            return f"tap row {pixel // kw}, column {pixel % kw}, input channel {channel}"

    source = value_ranges(network)[layer.source]
    alive = (source.lo < source.hi)[channels]
    return Matrix(weights, channels, alive, tap)


def _conv(layer: Conv2d, inputs: int) -> Int64Array:
    """Return the dense matrix, rows (kh, kw, input channel); zeros where a group does not read."""
    outputs, per_group, kh, kw = layer.weight.shape
    dense = np.zeros((kh, kw, inputs, outputs), np.int64)
    for output in range(outputs):
        first = output // (outputs // layer.groups) * per_group
        for k in range(per_group):
            dense[:, :, first + k, output] = layer.weight[output, k]
    return dense.reshape(kh * kw * inputs, outputs)


def _pool(layer: AvgPool, inputs: int) -> Int64Array:
    return np.tile(np.eye(inputs, dtype=np.int64), (layer.kernel[0] * layer.kernel[1], 1))


def stream_order(network: Network, name: str,
                 aliases: Mapping[str, str]) -> tuple[Int64Array, Callable[[int], str]]:
    """Return the order in which the channels of a flat tensor come, and a name for each place.

    Behind a Flatten that is wiring alone, that is the raster order of the pixels of the tensor
    before it, all channels of a pixel together; else the order of the channels.

    Parameters: network; name, of the layer; aliases, the Flatten layers that are wiring alone, each
    with its source.
    """
    while name in aliases:
        name = aliases[name]
    shape = network.tensors[name].shape
    channels, _, width = shape
    order = np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()

    def place(i: int) -> str:
        pixel, channel = divmod(i, channels)
        if shape[1:] == (1, 1):
            return f"input channel {channel}"
        return f"input row {pixel // width}, column {pixel % width}, channel {channel}"

    return order, place
