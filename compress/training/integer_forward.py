"""A Network's arithmetic in torch, with gradients: what is trained is what is built.

Every value is the integer that the golden model computes, held as a float: exact in float64 below
2**53, in float32 below 2**24 (beyond that a rounding may tip to the next code, which training
forgives; decisions use float64). Gradients go straight through roundings: those of weights and
offsets as if they were real, those of a Requantise or a table as of its slope, none where a code is
clipped.

Ref: Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through stochastic
neurons for conditional computation", 2013: the straight-through estimator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

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
    Layer,
    MaxPool,
    Requantise,
)
from hwgen.network import Network
from hwgen.sim import golden

BATCH = 250  # images at a time
Images = npt.NDArray[np.integer[Any]]


class _Floor(torch.autograd.Function):
    """The floor, whose gradient is taken as 1."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.floor(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def floor(x: torch.Tensor) -> torch.Tensor:
    """Return the floor; gradients go straight through."""
    made: torch.Tensor = _Floor.apply(x)  # type: ignore[no-untyped-call]
    return made


class IntegerForward:
    """A network that runs in torch.

    Parameters
    ----------
    network : Network
    device : torch.device
    dtype : torch.dtype
        Of all values between layers: wide enough for their integers, float32 below 2**24.
    exact : bool
        Round sums, and scale and shift in float64: the golden model's integers whatever the
        algorithms of the convolutions round. There is no gradient then.
    """

    def __init__(
        self, network: Network, device: torch.device, dtype: torch.dtype, *, exact: bool = False
    ) -> None:
        self._network, self._device, self._dtype = network, device, dtype
        self._exact = exact
        self._fine = torch.float64 if exact else dtype
        self._constants: dict[tuple[str, str], torch.Tensor] = {}
        readers: dict[str, int] = {}
        for layer in network.layers:
            for name in layer.inputs:
                readers[name] = readers.get(name, 0) + 1
        self._readers = readers

    def constant(
        self, layer: str, name: str, values: Any, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Return an array as a tensor of this device and dtype; kept for the next call."""
        key = (layer, name)
        if key not in self._constants:
            array = np.array(values, dtype=np.float64)
            self._constants[key] = torch.from_numpy(array).to(self._device, dtype or self._dtype)
        return self._constants[key]

    @classmethod
    def exactly(cls, network: Network, device: torch.device) -> IntegerForward:
        """Return one that computes the golden model's integers, in float32 where these fit."""
        narrow = device.type == "cpu" and golden.largest(network) < 2**24
        return cls(network, device, torch.float32 if narrow else torch.float64, exact=True)

    def __call__(
        self,
        codes: torch.Tensor,
        *,
        weights: Mapping[str, torch.Tensor] | None = None,
        addends: Mapping[str, torch.Tensor] | None = None,
        keep: Iterable[str] = (),
    ) -> dict[str, torch.Tensor]:
        """Return layers' values for images (N, C, H, W) of codes.

        Parameters
        ----------
        codes : tensor of whole numbers
        weights : mapping of layer name to tensor, optional
            In place of the integer weights of convolutions and dense layers.
        addends : mapping of layer name to tensor (C,), optional
            In place of a dense layer's or convolution's bias, or of ``offset * 2**-shift`` of a
            Requantise.
        keep : names of layers, besides the scores
        """
        weights, addends = weights or {}, addends or {}
        wanted = {self._network.scores.name, *keep}
        left = dict(self._readers)
        values: dict[str, torch.Tensor] = {}
        kept: dict[str, torch.Tensor] = {}
        for layer in self._network.layers:
            if isinstance(layer, Input):
                value = codes.to(self._device, self._dtype)
            elif isinstance(layer, ArgMax):
                value = values[layer.source].argmax(1, keepdim=True).to(self._dtype)
            else:
                sources = [values[name] for name in layer.inputs]
                value = self._layer(layer, sources, weights, addends)
            values[layer.name] = value
            if layer.name in wanted:
                kept[layer.name] = value
            for name in layer.inputs:
                left[name] -= 1
                if not left[name]:
                    values.pop(name, None)
        return kept

    def scores(self, codes: torch.Tensor, **given: Any) -> torch.Tensor:
        """Return the scores of images in real units, (N, classes)."""
        last = self._network.scores
        frac = np.asarray(self._network.tensors[last.name].frac, dtype=np.float64)
        scale = float(self._network.metadata.get("score_scale", [1.0])[0])
        unit = self.constant(last.name, "unit", np.atleast_1d(scale * 2.0**-frac), self._fine)
        return self(codes, **given)[last.name].flatten(1).to(self._fine) * unit

    def _layer(
        self,
        layer: Layer,
        sources: list[torch.Tensor],
        weights: Mapping[str, torch.Tensor],
        addends: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        x, name = sources[0], layer.name
        match layer:
            case Conv2d() | Dense():
                weight = weights.get(name)
                weight = self.constant(name, "weight", layer.weight) if weight is None else weight
                bias = addends.get(name)
                bias = self.constant(name, "bias", layer.bias) if bias is None else bias
                if isinstance(layer, Dense):
                    total = F.linear(x.flatten(1), weight, bias)[:, :, None, None]
                else:
                    padded = _padded(x, layer.padding, 0.0)
                    total = F.conv2d(
                        padded, weight, bias, layer.stride, 0, layer.dilation, layer.groups
                    )
                return torch.round(total) if self._exact else total
            case Requantise():
                return self._requantise(layer, x, addends.get(name))
            case Activation():
                return self._activation(layer, x)
            case MaxPool():
                lowest = _padded(x, layer.padding, float("-inf"))
                return F.max_pool2d(lowest, layer.kernel, layer.stride)
            case AvgPool():
                padded = _padded(x, layer.padding, 0.0)
                return F.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1)
            case Add():
                total = sources[0] * float(1 << layer.shifts[0])
                for source, shift in zip(sources[1:], layer.shifts[1:], strict=True):
                    total = total + source * float(1 << shift)
                return total
            case Concat():
                return torch.cat(sources, 1)
            case Flatten():
                return x.flatten(1)[:, :, None, None]
        raise TypeError(f"No rule for {type(layer).__name__}")

    def _requantise(
        self, layer: Requantise, x: torch.Tensor, addend: torch.Tensor | None
    ) -> torch.Tensor:
        down = np.ldexp(1.0, -layer.shift)
        factor = self.constant(layer.name, "factor", layer.multiplier * down, self._fine)
        half = self.constant(layer.name, "half", np.where(layer.shift > 0, 0.5, 0.0), self._fine)
        if addend is None:
            addend = self.constant(layer.name, "addend", layer.offset * down, self._fine)
        shifted = x.to(self._fine) * factor[:, None, None] + (addend + half)[:, None, None]
        return torch.clamp(floor(shifted), layer.lo, layer.hi).to(x.dtype)

    def _activation(self, layer: Activation, x: torch.Tensor) -> torch.Tensor:
        down = 2.0**-layer.shift
        half = 0.5 if layer.shift else 0.0
        breakpoints = self.constant(layer.name, "breakpoints", layer.breakpoints)
        slopes = self.constant(layer.name, "slopes", layer.slopes * down, self._fine)
        offsets = self.constant(
            layer.name, "offsets", layer.offsets * down + half, self._fine
        )
        segment = torch.bucketize(x.detach().contiguous(), breakpoints, right=True)
        made = x.to(self._fine) * slopes[segment] + offsets[segment]
        return torch.clamp(floor(made), layer.lo, layer.hi).to(x.dtype)


def classes(network: Network, images: Images, device: torch.device) -> npt.NDArray[np.int64]:
    """Return the class of each image, (N,): what ``golden.classes`` returns, computed in torch.

    Parameters: images, (N, C, H, W) codes. Networks whose values could pass 2**53 go to the golden
    model.
    """
    if golden.largest(network) >= 2**53:
        return golden.classes(network, images)
    exact, found = IntegerForward.exactly(network, device), []
    with torch.inference_mode():
        for first in range(0, len(images), BATCH):
            codes = torch.from_numpy(np.array(images[first : first + BATCH], dtype=np.float32))
            # numpy's argmax: of equal scores the first one.
            found.append(exact.scores(codes).cpu().numpy().argmax(1))
    return np.concatenate(found)


def _padded(x: torch.Tensor, padding: tuple[int, int, int, int], value: float) -> torch.Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x
