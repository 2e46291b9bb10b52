"""A forward pass of a network in torch's operators, in float64: the second opinion of the tests.

Every value is checked to stay below 2**51, so float64 holds it, its half and its sums exactly.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hwgen.network import (
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
    Network,
    Requantise,
)

EXACT = 2.0**51


def run(network: Network, images: Int64Array) -> dict[str, Int64Array]:
    """Return layer name -> (N, C, H, W) int64 of every layer."""
    values: dict[str, Tensor] = {}
    for layer in network.layers:
        if isinstance(layer, Input):
            value = _real(images)
        else:
            value = _forward(layer, *(values[name] for name in layer.inputs))
        assert float(value.abs().max()) < EXACT
        assert bool((value == value.round()).all())
        values[layer.name] = value
    return {name: value.numpy().astype(np.int64) for name, value in values.items()}


def _forward(layer: Layer, *inputs: Tensor) -> Tensor:
    x = inputs[0]
    match layer:
        case Conv2d():
            return functional.conv2d(
                _padded(x, layer.padding, 0.0), _real(layer.weight), _real(layer.bias),
                stride=layer.stride, dilation=layer.dilation, groups=layer.groups)
        case Dense():
            y = functional.linear(x.flatten(1), _real(layer.weight), _real(layer.bias))
            return y[:, :, None, None]
        case Requantise():
            return _scaled(x, _channel(layer.multiplier), _channel(layer.offset),
                           _channel(layer.shift), layer.lo, layer.hi)
        case Activation():
            passed = x[..., None] >= _real(layer.breakpoints)
            segment = passed.sum(dim=-1)
            return _scaled(x, _real(layer.slopes)[segment], _real(layer.offsets)[segment],
                           torch.tensor(float(layer.shift)), layer.lo, layer.hi)
        case MaxPool():
            return functional.max_pool2d(_padded(x, layer.padding, -torch.inf),
                                         layer.kernel, layer.stride)
        case AvgPool():
            return functional.avg_pool2d(_padded(x, layer.padding, 0.0), layer.kernel,
                                         layer.stride, divisor_override=1)
        case Add():
            terms = [x * 2.0**up for x, up in zip(inputs, layer.shifts, strict=True)]
            return torch.stack(terms).sum(dim=0)
        case Concat():
            return torch.cat(inputs, dim=1)
        case Flatten():
            return torch.flatten(x, 1)[:, :, None, None]
        case ArgMax():
            # torch.argmax does not promise which of equal ones it names.
            index = _channel(np.arange(x.shape[1]))
            best = x == x.amax(dim=1, keepdim=True)
            return torch.where(best, index, torch.inf).amin(dim=1, keepdim=True)
    raise TypeError(f"No torch form of {type(layer).__name__}")


def _scaled(x: Tensor, factor: Tensor, offset: Tensor, shift: Tensor, lo: int, hi: int) -> Tensor:
    """The integer nearest to ``(x * factor + offset) / 2**shift``, halves upwards, clipped."""
    y = x * factor + offset
    assert float(y.abs().max()) < EXACT
    return torch.floor(y / torch.exp2(shift) + 0.5).clamp(lo, hi)


def _padded(x: Tensor, padding: tuple[int, int, int, int], fill: float) -> Tensor:
    top, left, bottom, right = padding
    return functional.pad(x, (left, right, top, bottom), value=fill)


def _real(array: Int64Array) -> Tensor:
    return torch.tensor(array.astype(np.float64))


def _channel(array: Int64Array) -> Tensor:
    return _real(array)[:, None, None]
