"""What decides how a float graph is lowered: the options, which nodes become one layer, where sums
stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from hwgen.compress.importers import graph as g
from hwgen.compress.methods.dyadic import Result
from hwgen.compress.scales import steps_apart
from hwgen.errors import HwgenError

APART = 4  # powers of two between the filters of a layer whose accumulators a sum reads


@dataclass(frozen=True)
class LowerOptions:
    """How codes are chosen.

    Parameters
    ----------
    act_bits : int
        Of the codes between layers, 2 to 16.
    correct_bias : bool
        Move each bias by the mean error that the approximated weights make on the calibration
        images.
    segments : int
        At most, of a tanh or sigmoid table.
    classify : bool
        End in an ArgMax.
    bias_digits : int, optional
        Signed digits of a bias at most; None rounds it to a whole number at full precision.
    pool_digits : int, optional
        Signed digits of a pooling coefficient at most, 1 to 3; None is 3.
    """

    act_bits: int = 8
    correct_bias: bool = True
    segments: int = 16
    classify: bool = True
    bias_digits: int | None = None
    pool_digits: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.act_bits <= 16:
            raise HwgenError(f"--act-bits: from 2 to 16 needed, not {self.act_bits}")
        if self.bias_digits is not None and self.bias_digits < 1:
            raise HwgenError(f"Bias digits must be at least 1, not {self.bias_digits}")
        if self.pool_digits not in (None, 1, 2, 3):
            raise HwgenError(f"Pooling digits must be 1, 2 or 3, not {self.pool_digits}")


def linear_nodes(graph: g.Graph) -> tuple[g.Conv | g.Dense, ...]:
    """Return the nodes that have weights, in order."""
    return tuple(node for node in graph.nodes if isinstance(node, (g.Conv, g.Dense)))


def tail(graph: g.Graph, node: g.Node) -> g.Node:
    """Return the clip, or the codes asked for, that become part of a node's Requantise, or the
    node itself.
    """
    readers = graph.readers[node.name]
    after = graph.by_name[readers[0]] if len(readers) == 1 else None
    fuses = isinstance(node, (g.Conv, g.Dense, g.AvgPool, g.Add, g.Affine))
    return after if fuses and isinstance(after, (g.Clip, g.Quantise)) else node


def observed(graph: g.Graph) -> tuple[str, ...]:
    """Return the names of the nodes that ``lower`` needs statistics of."""
    return tuple(node.name for node in graph.nodes)


def keeps_accumulators(graph: g.Graph, node: g.Node, options: LowerOptions) -> bool:
    """True for the last node if its sums go into the ArgMax as they are."""
    return (
        options.classify
        and node is graph.output
        and isinstance(node, (g.Conv, g.Dense, g.AvgPool, g.Add))
    )


def corrected_bias(
    node: g.Conv | g.Dense, weight: g.FloatArray, mean: g.FloatArray
) -> g.FloatArray:
    """Return a node's bias, (co,), moved by what other weights change on average.

    Parameters: weight, in place of the node's own; mean, (C, H, W), mean image of its input.
    """
    image = torch.tensor(mean)[None]
    change = torch.tensor(node.weight - weight)
    if isinstance(node, g.Dense):
        moved = F.linear(image.flatten(1), change)[0]
    else:
        top, left, bottom, right = node.padding
        padded = F.pad(image, (left, right, top, bottom))
        moved = F.conv2d(padded, change, None, node.stride, 0, node.dilation, node.groups)
        moved = moved[0].mean((1, 2))
    bias: g.FloatArray = node.bias + moved.numpy()
    return bias


def joins(graph: g.Graph, node: g.Conv | g.Dense, weights: Mapping[str, Result]) -> bool:
    """True if a sum reads the node's accumulators as they are, with no codes in between.

    So it is for the largest convolution that only this sum reads, if a power of two is all that is
    between its accumulators and the sum. Nothing is rounded or clipped then, and an engine that
    adds to accumulators needs no pass of its own for the sum.

    Parameters: weights, by node name.
    """
    readers = graph.readers[node.name]
    total = graph.by_name[readers[0]] if len(readers) == 1 else None
    if not isinstance(total, g.Add):
        return False
    able = [
        source
        for source in (graph.by_name[name] for name in total.sources)
        if isinstance(source, g.Conv)
        and graph.readers[source.name] == (total.name,)
        and total.sources.count(source.name) == 1
        and _is_shift(weights[source.name])
    ]
    return bool(able) and node is max(able, key=lambda source: source.weight.size)


def _is_shift(result: Result) -> bool:
    """True if powers of two scale the filters, near enough for integers of one scale."""
    apart = steps_apart(result)
    power = bool(np.all(np.frexp(np.atleast_1d(result.scale))[0] == 0.5))
    return power and apart is not None and apart <= APART
