"""A layer in quantisation-aware training: latent weights, and the codes that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hwgen.compress.importers import graph as g
from hwgen.compress.methods.checks import BoolArray
from hwgen.compress.methods.dyadic import FloatArray
from hwgen.layers import Conv2d, Dense, Requantise
from hwgen.network import Network

USUAL = 0.15  # root mean square of weights at which the rate is the one that was asked for

_NOTHING = torch.empty(0)  # until the method's answer


@dataclass
class Linear:
    """A layer that is trained: its tensors, and what the method's answer fixed."""

    node: g.Conv | g.Dense
    weight: torch.Tensor
    bias: torch.Tensor
    mask: torch.Tensor
    pace: torch.Tensor  # of each filter's weights, as a part of the rate
    layer: str = ""  # in the network
    addend: str = ""  # the layer that adds the bias
    bias_unit: float = 1.0  # real value of an addend of 1
    bias_bits: torch.Tensor = _NOTHING  # fractional bits of the addend, by channel
    step: torch.Tensor = _NOTHING  # real value of a code of 1
    factor: torch.Tensor = _NOTHING  # real value of an integer weight of 1
    levels: torch.Tensor = _NOTHING
    edges: torch.Tensor = _NOTHING
    chosen: torch.Tensor = _NOTHING  # the method's codes
    near: torch.Tensor = _NOTHING  # and the nearest ones, at that time
    scale: float | FloatArray = 1.0  # ``step`` in double precision

    def by_output(self, values: FloatArray) -> torch.Tensor:
        """Return values by output channel (or kernel) in a form that meets the weights."""
        shape = values.shape + (1,) * (self.weight.ndim - values.ndim)
        return torch.from_numpy(np.ascontiguousarray(values.reshape(shape))).to(self.weight)

    def nearest(self) -> torch.Tensor:
        """Return the level, in codes, nearest to each latent weight."""
        place = (self.weight.detach() / self.step).contiguous()
        return self.levels[torch.bucketize(place, self.edges)]

    def codes(self) -> torch.Tensor:
        """Return the codes of the weights."""
        near = self.nearest()
        return torch.where(near == self.near, self.chosen, near) * self.mask

    def integers(self) -> torch.Tensor:
        """Return the integer weights, with the gradient of the latent ones."""
        hard = self.codes() * (self.step / self.factor)
        return hard + (self.weight - self.weight.detach()) / self.factor

    def confine(self, old: torch.Tensor) -> None:
        """Shorten a step from old weights to each filter's pace, keep masked weights at zero and
        the others within half a gap of the largest level.

        Beyond it nothing changes but the latent weight.
        """
        last_edge = self.edges[-1] if len(self.edges) else self.levels[-1]
        top = 2 * self.levels[-1] - last_edge
        with torch.no_grad():
            self.weight.copy_(torch.lerp(old, self.weight, self.pace) * self.mask)
            reach = (top * self.step).expand_as(self.weight)
            self.weight.copy_(torch.minimum(torch.maximum(self.weight, -reach), reach))

    def addends(self) -> torch.Tensor:
        """Return what is added to the accumulators or codes, with the gradient of the bias."""
        bias, unit = self.bias, self.bias_unit
        lifted = bias.detach().double() / unit
        hard = torch.round(lifted * 2**self.bias_bits) * 2**-self.bias_bits
        return hard.to(bias.dtype) + (bias - bias.detach()) / unit


def paces(weight: FloatArray, mask: BoolArray) -> FloatArray:
    """Return each filter's root mean square, inside the mask, over the usual one: (rows, 1, ...).

    Filters much smaller than their layer count as a twentieth of it: they may come back.
    """
    rows, kept = weight.reshape(len(weight), -1), mask.reshape(len(weight), -1)
    energy, count = (rows**2 * kept).sum(1), kept.sum(1)
    size = np.sqrt(energy / np.maximum(count, 1))
    least = 0.05 * np.sqrt(energy.sum() / max(count.sum(), 1))
    pace: FloatArray = np.maximum(size, least) / USUAL
    return pace.reshape((-1,) + (1,) * (weight.ndim - 1))


def pairs(network: Network) -> list[tuple[Conv2d | Dense, Requantise | None]]:
    """Return the layers with weights and the Requantise behind each, None behind the last."""
    behind = {layer.source: layer for layer in network.layers if isinstance(layer, Requantise)}
    return [
        (layer, behind.get(layer.name))
        for layer in network.layers
        if isinstance(layer, (Conv2d, Dense))
    ]


def is_wiring(node: g.Conv | g.Dense) -> bool:
    """Return whether a layer only moves its inputs: one power of two a row, no bias."""
    if node.weight.size != node.weight.shape[0] * node.weight.shape[1]:
        return False
    used = node.weight[node.weight != 0]
    alone = np.count_nonzero(node.weight.reshape(len(node.weight), -1), axis=1).max() <= 1
    powers = bool(np.all(np.frexp(np.abs(used))[0] == 0.5))
    return bool(alone and powers and not node.bias.any())
