"""Neighbouring pixels side by side in the lanes, where a layer's channels fill only half of them.

A tensor of at most tn / 2 channels is kept as pairs of columns: channel c of column 2 p + b becomes
channel ``b * C + c`` of column p. A convolution of it is one of wider kernels, half of whose
weights are zero, over half as many columns: a 3x3 kernel takes 9 steps for two pixels in place of
18. It is a rewriting of the network alone: the same sums, in another order of places.

Of phase 1 a tensor is kept as columns 2 p - 1 and 2 p. Two pixels under a 3x3 kernel need four
columns: of the other phase these are two pairs, and 6 steps will do::

    columns   -1 | 0  1 | 2  3 | 4 ...         phase 0: | marks its pairs
                 ^^^^^^^ needs columns -1, 0, 1, 2: of phase 1 the pairs (-1, 0) and (1, 2)

What a tensor of phase 1 holds in its columns -1 and W is no pixel; whoever reads it takes 0 there
(fields ``left`` and ``right`` of COMPUTE).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import Activation, Add, Conv2d, Int64Array, Layer, Requantise, int64
from hwgen.network import Network

ROUNDS = 3
MOST_GROUPS = 8               # of tensors whose phases are tried


@dataclass(frozen=True)
class Paired:
    """How a tensor was before it was paired. Parameters: shape, (C, H, W); phase, 0 or 1."""

    shape: tuple[int, int, int]
    phase: int = 0


Phases = Mapping[str, int]    # of the tensors in pairs


def all_paired(network: Network, tn: int, *,
               shift: bool = True) -> tuple[Network, list[Mapping[str, Paired]]]:
    """Pair again and again while that is possible.

    Parameters: shift, with phases where they save steps: in the last round alone, as its halves of
    the lanes are what the hardware knows.
    Returns: the network, and of each round the tensors that it paired, as they were before.
    """
    rounds: list[Mapping[str, Paired]] = []
    before = network
    for _ in range(ROUNDS):
        changed, phases = paired(network, tn)
        if not phases:
            break
        rounds.append(_shapes(network, phases))
        before, network = network, changed
    if rounds and shift:
        network, phases = paired(before, tn, shift=True)
        rounds[-1] = _shapes(before, phases)
    return network, rounds


def _shapes(network: Network, phases: Phases) -> dict[str, Paired]:
    return {name: Paired(network.tensors[name].shape, phase) for name, phase in phases.items()}


def paired(network: Network, tn: int, *, shift: bool = False) -> tuple[Network, Phases]:
    """Return a network with its narrow tensors in pairs of columns, and which those are.

    Layers keep their names. Nothing is paired if the rewritten network would break a rule.
    """
    groups = _eligible(network, tn)
    plain = {name: 0 for group in groups for name in group}
    for phases in ([_phases(network, groups, tn)] if shift else []) + [plain]:
        layers = [_rewritten(layer, network, phases) for layer in network.layers]
        try:
            return Network(tuple(layers), network.metadata), phases
        except HwgenError:
            continue
    return network, {}


def unpaired_places(flat: Int64Array, how: Paired) -> Int64Array:
    """Return the places in a tensor (C, H, W) of flat places in its pairs (2 C, H, pairs).

    -1 stays as it is, and is the place of what is outside the tensor.
    """
    channels, height, width = how.shape
    pairs = width // 2 + how.phase
    column = flat % pairs
    row = flat // pairs % height
    side, channel = np.divmod(flat // (pairs * height), channels)
    column = 2 * column - how.phase + side
    places = (channel * height + row) * width + column
    return np.where((flat < 0) | (column < 0) | (column >= width), -1, places)


def _eligible(network: Network, tn: int) -> list[frozenset[str]]:
    """Return the layers whose tensors are paired, in groups: those that are added or rescaled
    together, all or not at all; and where a convolution walks by whole pairs.
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
            found = [frozenset(together[layer.name]) for layer in network.layers
                     if layer.name in chosen]
            return list(dict.fromkeys(found))
        blocked |= more


def _phases(network: Network, groups: list[frozenset[str]], tn: int) -> Phases:
    """Return the phases of the fewest steps, 0 of tensors in groups beyond the first few."""
    def all_of(choice: tuple[int, ...]) -> dict[str, int]:
        padded = (*choice, *[0] * (len(groups) - len(choice)))
        return {name: phase for group, phase in zip(groups, padded, strict=True) for name in group}

    choices = [all_of(choice) for choice in product((0, 1), repeat=min(len(groups), MOST_GROUPS))]
    return min(choices, key=lambda phases: _steps(network, phases, tn))


def _steps(network: Network, phases: Phases, tn: int) -> int:
    """Return the steps of all layers between tensors in pairs, about: no weight is looked at."""
    total = 0
    for layer in network.layers:
        tensor = network.tensors[layer.name]
        outs = 1 + (layer.name in phases)
        columns = tensor.width // outs + phases.get(layer.name, 0)
        if isinstance(layer, Conv2d) and (outs > 1 or layer.source in phases):
            ins = 1 + (layer.source in phases)
            reached = {offset for _, _, offset, _ in _taps(layer, phases)}
            tiles = -(-outs * tensor.channels // tn) * -(
                -ins * network.tensors[layer.source].channels // tn)
            total += tensor.height * columns * tiles * layer.weight.shape[2] * len(reached)
        elif isinstance(layer, Add) and outs > 1:
            total += tensor.height * columns
    return total


def _taps(layer: Conv2d, phases: Phases) -> list[tuple[int, int, int, int]]:
    """Return for each output column b of a pair and column s of the kernel which input pair it
    meets, from the one of the window of p, and which side of it: (b, s, pair, side).

    Output column ``outs * p + b - phase`` meets input column ``step * p + t``, of which the
    input's pair is ``(step * p + t + its phase) div ins``.
    """
    outs, ins = 1 + (layer.name in phases), 1 + (layer.source in phases)
    stride, dilation, left = layer.stride[1], layer.dilation[1], layer.padding[1]
    shift = phases.get(layer.source, 0) - stride * phases.get(layer.name, 0)
    found = []
    for b in range(outs):
        for s in range(layer.weight.shape[3]):
            place = stride * b + s * dilation - left + shift
            found.append((b, s, place // ins, place % ins))
    return found


def _rewritten(layer: Layer, network: Network, phases: Phases) -> Layer:
    match layer:
        case Conv2d():
            return _conv(layer, network, phases)
        case Requantise() if layer.name in phases:
            return replace(layer, multiplier=np.tile(layer.multiplier, 2),
                           offset=np.tile(layer.offset, 2), shift=np.tile(layer.shift, 2))
    return layer


def _conv(layer: Conv2d, network: Network, phases: Phases) -> Conv2d:
    """Return a convolution between tensors of which either may be in pairs."""
    outs, ins = 1 + (layer.name in phases), 1 + (layer.source in phases)
    if outs == ins == 1:
        return layer
    co, ci, kh, _ = layer.weight.shape
    taps = _taps(layer, phases)
    first = min(0, *(pair for _, _, pair, _ in taps))
    step = layer.stride[1] * outs // ins
    columns = network.tensors[layer.name].width // outs + phases.get(layer.name, 0)
    source = network.tensors[layer.source].width // ins + phases.get(layer.source, 0)
    # As wide as reaches the last pair, and no column more than there are fits.
    wide = max(*(pair for _, _, pair, _ in taps), 0, source - columns * step) - first + 1
    right = max(0, (columns - 1) * step + wide - source + first)
    weight = np.zeros((outs * co, ins * ci, kh, wide), np.int64)
    for b, s, pair, side in taps:
        weight[b * co : (b + 1) * co, side * ci : (side + 1) * ci, :, pair - first] = (
            layer.weight[:, :, :, s])
    top, _, bottom, _ = layer.padding
    return replace(
        layer, weight=int64(weight), bias=np.tile(layer.bias, outs),
        frac_w=np.tile(layer.frac_w, outs), stride=(layer.stride[0], step),
        padding=(top, -first, bottom, right), dilation=(layer.dilation[0], 1))
