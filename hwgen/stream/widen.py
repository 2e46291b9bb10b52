"""Several pixels a cycle: a network whose pixels are some of the given one's side by side.

Pixel X of the wider network is pixels ``P X .. P X + P - 1`` of a row, their channels one behind
the other, so its raster is P times shorter, and everything behind is built as for one pixel a beat.
It computes the same values. A convolution reads whole wide pixels; weights that a window does not
have are 0::

    given, kernel of 3, P = 2          x0 x1 | x2 x3      y0 = w0 x0 + w1 x1 + w2 x2
                                       -----   -----      y1 =         w0 x1 + w1 x2 + w2 x3
    wider, kernel of 2                   X0      X1       Y0 = (y0, y1)

Where a stride of s divides P, what comes out has P / s pixels side by side. A maximum of such
pixels is taken first (``Merge``), the rows' one behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwgen.layers import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    MaxPool,
    Requantise,
    Tensor,
    int64,
)
from hwgen.network import Network

MOST_PIXELS = 16
BEFORE = "pixels"  # of the name of what goes before a layer


@dataclass(frozen=True, eq=False)
class Merge(Layer):
    """``y[q * C + c]`` is the largest of ``x[(q * count + j) * C + c]``, 0 <= j < count.

    Parameters: source; channels, C; count.
    """

    source: str
    channels: int
    count: int

    def infer(self, *tensors: Tensor) -> Tensor:
        """Return the tensor it makes."""
        x = tensors[0]
        channels = x.channels // self.count
        return Tensor(channels, x.height, x.width, int64(x.frac[:channels]), x.lo, x.hi)

    def own_range(self, lo: Int64Array, hi: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the ranges of the channels, given those of the source's."""
        shape = (-1, self.count, self.channels)
        return (lo.reshape(shape).max(axis=1).ravel(), hi.reshape(shape).max(axis=1).ravel())


@dataclass(frozen=True, eq=False)
class Wide(Network):
    """A network made by ``widen``.

    Parameters
    ----------
    original : Network
    pixels : dict
        Of each layer of the original, by name: how many are side by side.
    """

    original: Network | None = None
    pixels: dict[str, int] | None = None

    def check(self) -> None:
        """The original has been checked; shapes are here."""
        _ = self.tensors

    @property
    def digest(self) -> str:
        """That of the original."""
        assert self.original is not None
        return self.original.digest


def pixels_of(network: Network, name: str) -> int:
    """Return how many pixels of the original a pixel of a layer is; 1 if it is no wider network."""
    return network.pixels.get(name, 1) if isinstance(network, Wide) and network.pixels else 1


def original_of(network: Network) -> Network:
    """Return the network that a wider one was made of, or the network itself."""
    return network.original or network if isinstance(network, Wide) else network


def widen(network: Network, pixels: int) -> Network:
    """Return the network that takes ``pixels`` pixels of a row at a time.

    Raises: HwgenError naming a layer that cannot do so.
    """
    if pixels == 1:
        return network
    made = _Widening(network, pixels)
    for layer in network.layers:
        made.add(layer)
    return Wide(tuple(made.layers), network.metadata, network, made.pixels)


class _Widening:
    def __init__(self, network: Network, pixels: int) -> None:
        self.network, self.first = network, pixels
        self.layers: list[Layer] = []
        self.pixels: dict[str, int] = {}

    def add(self, layer: Layer) -> None:
        """Add what stands for a layer."""
        side = {self.pixels[name] for name in layer.inputs}
        if len(side) > 1:
            raise layer.error("sources", "sources of one number of pixels a cycle",
                              " and ".join(map(str, sorted(side))))
        width = side.pop() if side else self.first
        tensor = self.network.tensors[layer.name]
        made, after = self._made(layer, width)
        if tensor.width % after:
            raise layer.error("width", f"a multiple of {after} pixels (--pixels-per-cycle)",
                              tensor.width)
        self.layers += made
        self.pixels[layer.name] = after

    def _made(self, layer: Layer, width: int) -> tuple[list[Layer], int]:
        """Return the layers that stand for one that reads so many pixels, and how many it gives."""
        if isinstance(layer, Input):
            wide = replace(layer, channels=layer.channels * width, width=layer.width // width)
            return [wide], width
        if width == 1:
            return [layer], 1
        match layer:
            case Requantise():
                multiplier, offset, shift = (
                    np.tile(values, width)
                    for values in (layer.multiplier, layer.offset, layer.shift)
                )
                wider = replace(layer, multiplier=multiplier, offset=offset, shift=shift)
                return [wider], width
            case Activation() | Add():
                return [layer], width
            case Conv2d():
                return [self._conv(layer, width)], self._strided(layer, layer.stride[1], width)
            case AvgPool():
                conv = _as_conv(layer, self.network.tensors[layer.source].channels)
                return [self._conv(conv, width)], self._strided(layer, layer.stride[1], width)
            case MaxPool():
                return self._pool(layer, width)
            case Concat() | Flatten() | Dense() | ArgMax():
                raise layer.error("source", "one pixel a cycle (--pixels-per-cycle)", str(width))
        raise TypeError(f"No wider {type(layer).__name__}")

    def _strided(self, layer: Layer, stride: int, width: int) -> int:
        if width % stride:
            raise layer.error("stride", f"a divisor of the {width} pixels a cycle", str(stride))
        return width // stride

    def _conv(self, layer: Conv2d, width: int) -> Conv2d:
        after = self._strided(layer, layer.stride[1], width)
        co, each, kh, kw = layer.weight.shape
        ci, (top, left, bottom, _) = each * layer.groups, layer.padding
        q, k = np.indices((after, kw))
        place = q * layer.stride[1] - left + k * layer.dilation[1]
        ahead, inner = place // width, place % width        # wide pixel, and pixel in it
        first = min(int(ahead.min()), 0)
        size = int(ahead.max()) - first + 1
        weight = np.zeros((after, co, width, ci, kh, size), np.int64)
        share = co // layer.groups
        for turn in range(after):
            for tap in range(kw):
                at = (inner[turn, tap], slice(None), slice(None), ahead[turn, tap] - first)
                for group in range(layer.groups):
                    outs = slice(group * share, (group + 1) * share)
                    ins = slice(group * each, (group + 1) * each)
                    weight[turn, outs, at[0], ins, :, at[3]] += layer.weight[outs, :, :, tap]
        source, made = (self.network.tensors[name] for name in (layer.source, layer.name))
        right = made.width // after - 1 + size - source.width // width + first
        if right < 0 or made.width % after:
            raise layer.error("width", f"a multiple of {after} pixels (--pixels-per-cycle)",
                              made.width)
        return replace(
            layer,
            weight=weight.reshape(after * co, width * ci, kh, size),
            bias=np.tile(layer.bias, after),
            frac_w=np.tile(layer.frac_w, after),
            stride=(layer.stride[0], 1),
            padding=(top, -first, bottom, right),
            dilation=(layer.dilation[0], 1),
            groups=1,
        )

    def _pool(self, layer: MaxPool, width: int) -> tuple[list[Layer], int]:
        across = layer.kernel[1]
        top, left, bottom, right = layer.padding
        if across != layer.stride[1] or left or right or width % across:
            raise layer.error(
                "kernel", f"windows that meet in a divisor of the {width} pixels a cycle, without "
                "padding at the sides,", f"{layer.kernel}, {layer.stride}, {layer.padding}")
        name = f"{layer.name}_{BEFORE}"
        while name in self.network.by_name:
            name += "0"
        channels = self.network.tensors[layer.source].channels
        merge = Merge(name, layer.source, channels, across)
        rows = replace(layer, source=name, kernel=(layer.kernel[0], 1),
                       stride=(layer.stride[0], 1), padding=(top, 0, bottom, 0))
        plain = rows.kernel == rows.stride == (1, 1)
        made: list[Layer] = [replace(merge, name=layer.name)] if plain else [merge, rows]
        return made, width // across


def _as_conv(layer: AvgPool, channels: int) -> Conv2d:
    """Return the sum of an average pooling as a convolution of ones."""
    ones = np.ones((channels, 1, *layer.kernel), np.int64)
    zeros = np.zeros(channels, np.int64)
    return Conv2d(layer.name, layer.source, ones, zeros, zeros, layer.stride, layer.padding,
                  groups=channels)
