"""Neighbouring pixels side by side in the lanes, where a layer's channels fill only half of them.

A tensor of at most tn / 2 channels is kept as pairs of columns: channel c of column 2 p + b becomes
channel ``b * C + c`` of column p. A convolution of it is one of wider kernels, half of whose
weights are zero, over half as many columns: a 3x3 kernel takes 9 steps for two pixels in place of
18. It is a rewriting of the network alone: the same sums, in another order of places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import Activation, Add, Conv2d, Int64Array, Layer, Requantise, int64
from hwgen.network import Network

ROUNDS = 3


def paired(network: Network, tn: int) -> tuple[Network, frozenset[str]]:
    """Return a network with its narrow tensors in pairs of columns, and which those are.

    Layers keep their names. Nothing is paired if the rewritten network would break a rule.
    """
    chosen = _eligible(network, tn)
    if not chosen:
        return network, frozenset()
    layers = [_rewritten(layer, network, chosen) for layer in network.layers]
    try:
        return Network(tuple(layers), network.metadata), frozenset(chosen)
    except HwgenError:
        return network, frozenset()


def unpaired_places(flat: Int64Array, shape: tuple[int, int, int]) -> Int64Array:
    """Return the places in a tensor (C, H, W) of flat places in its pairs (2 C, H, W / 2).

    -1 stays as it is.
    """
    channels, height, width = shape
    column = flat % (width // 2)
    row = flat // (width // 2) % height
    side, channel = np.divmod(flat // (width // 2 * height), channels)
    places = (channel * height + row) * width + 2 * column + side
    return np.where(flat < 0, -1, places)


def _eligible(network: Network, tn: int) -> set[str]:
    """Return the layers whose tensors are paired: those that are added or rescaled together all or
    not at all, and where a convolution walks by whole pairs.
    """
    together = {layer.name: {layer.name} for layer in network.layers}
    blocked = {network.input.name, network.output.name, network.scores.name}
    for layer in network.layers:
        if isinstance(layer, (Requantise, Activation, Add)):
            for source in layer.inputs:
                joined = together[layer.name] | together[source]
                for name in joined:
                    together[name] = joined
        elif not isinstance(layer, Conv2d) or layer.groups > 1:
            blocked |= {layer.name, *layer.inputs}
    for name, tensor in network.tensors.items():
        if tensor.channels > tn // 2 or tensor.width % 2 or tensor.width < 4:
            blocked.add(name)
    while True:
        chosen = {name for name, others in together.items() if not others & blocked}
        more = {layer.source for layer in network.layers
                if isinstance(layer, Conv2d) and layer.source in chosen
                and layer.stride[1] % 2 and layer.name not in chosen}
        if not more:
            return chosen
        blocked |= more


def _rewritten(layer: Layer, network: Network, chosen: set[str]) -> Layer:
    match layer:
        case Conv2d():
            return _conv(layer, network, chosen)
        case Requantise() if layer.name in chosen:
            return replace(layer, multiplier=np.tile(layer.multiplier, 2),
                           offset=np.tile(layer.offset, 2), shift=np.tile(layer.shift, 2))
    return layer


def _conv(layer: Conv2d, network: Network, chosen: set[str]) -> Conv2d:
    """Return a convolution between tensors of which either may be in pairs.

    Column ``x`` of a tap s of output column ``outs * p + b`` is ``step * p + t`` with
    ``t = stride * b + s * dilation - left``: of the input's ``ins`` columns side by side it is
    number ``t mod ins``, and its pair lies ``t div ins`` from where the window of p is.
    """
    outs, ins = 1 + (layer.name in chosen), 1 + (layer.source in chosen)
    if outs == ins == 1:
        return layer
    co, ci, kh, kw = layer.weight.shape
    stride, dilation, left = layer.stride[1], layer.dilation[1], layer.padding[1]
    taps = [(b, s, stride * b + s * dilation - left) for b in range(outs) for s in range(kw)]
    first = min(0, *(t // ins for _, _, t in taps))
    wide = max(t // ins for _, _, t in taps) - first + 1
    weight = np.zeros((outs * co, ins * ci, kh, wide), np.int64)
    for b, s, t in taps:
        a = t % ins
        weight[b * co : (b + 1) * co, a * ci : (a + 1) * ci, :, t // ins - first] = (
            layer.weight[:, :, :, s])
    step = stride * outs // ins
    columns = network.tensors[layer.name].width // outs
    source = network.tensors[layer.source].width // ins
    right = max(0, (columns - 1) * step + wide - source + first)
    top, _, bottom, _ = layer.padding
    return replace(
        layer, weight=int64(weight), bias=np.tile(layer.bias, outs),
        frac_w=np.tile(layer.frac_w, outs), stride=(layer.stride[0], step),
        padding=(top, -first, bottom, right), dilation=(layer.dilation[0], 1))


def all_paired(network: Network,
               tn: int) -> tuple[Network, list[Mapping[str, tuple[int, int, int]]]]:
    """Pair again and again while that is possible.

    Returns: the network, and of each round the shapes before it of the tensors that it paired.
    """
    rounds: list[Mapping[str, tuple[int, int, int]]] = []
    for _ in range(ROUNDS):
        changed, names = paired(network, tn)
        if not names:
            break
        rounds.append({name: network.tensors[name].shape for name in names})
        network = changed
    return network, rounds
