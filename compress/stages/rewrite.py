"""Linear features in the graph: a convolution becomes one with fewer filters, and a 1 x 1 one that
combines their maps, both before the activation.

Nothing has to be measured again: the maps that stay are maps of the old convolution, and the second
moments of the combination's inputs follow from those of the convolution's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwgen.compress.calibrate import Statistics, patch_mean
from hwgen.compress.choices.linear_features import LinearFeaturesChoice
from hwgen.compress.importers import graph as g
from hwgen.compress.methods.linear_features import Options, approximate
from hwgen.compress.options import Norm
from hwgen.layers import Int64Array

SUFFIX = ".basis"


@dataclass(frozen=True, eq=False)
class Split:
    """A convolution in two.

    Parameters
    ----------
    basis : Conv
        The filters that stay, under a name of its own.
    combination : Conv
        1 x 1, under the old name, so that readers stay as they are.
    kept : int64 array, (r,)
        The filters that stay.
    covariance : float64 array or None, (1, r, r)
        Of the basis maps, where that of the convolution's inputs was given.
    left : float
        Part of the maps' energy (of the filters', for ``Norm.WEIGHTS``) that is lost.
    terms : int
        Products a pixel of the combinations.
    """

    basis: g.Conv
    combination: g.Conv
    kept: Int64Array
    covariance: g.FloatArray | None
    left: float
    terms: int


def can_split(node: g.Node) -> bool:
    """Return whether a node is a convolution whose filters all see the same inputs."""
    return isinstance(node, g.Conv) and node.groups == 1 and len(node.weight) > 1


def split(
    graph: g.Graph,
    node: g.Conv,
    share: float,
    choice: LinearFeaturesChoice,
    *,
    mean: g.FloatArray,
    covariance: g.FloatArray | None,
) -> Split:
    """Return a convolution in two, with a share of its filters, at least one.

    Parameters
    ----------
    graph : Graph
        For a free name.
    node : Conv
        ``can_split``.
    share : float
        Of the filters that stay.
    choice : LinearFeaturesChoice
    mean : float64 array, (C, H, W)
        Mean image of the input.
    covariance : float64 array or None, (1, N, N)
        Of what a filter meets, about the mean.
    """
    filters = max(1, int(share * len(node.weight) + 1e-9))
    moments = covariance[0] if covariance is not None and choice.norm is Norm.DATA else None
    found = approximate(node.weight, Options(filters, choice.terms), moments)
    kept, matrix = found.basis, found.matrix
    # Each map keeps its mean: what the combination lacks on average goes into its bias.
    lacks = (node.weight - found.weights(node.weight)).reshape(len(node.weight), -1)
    bias = node.bias - matrix @ node.bias[kept] + lacks @ patch_mean(node, mean)[0]
    name = node.name + SUFFIX
    while name in graph.by_name:
        name += "_"
    basis = replace(node, name=name, weight=node.weight[kept], bias=node.bias[kept])
    rows = basis.weight.reshape(len(kept), -1)
    return Split(
        basis,
        g.Conv(node.name, (name,), g.floats(matrix[:, :, None, None]), g.floats(bias)),
        kept,
        None if covariance is None else (rows @ covariance[0] @ rows.T)[None],
        found.left,
        found.terms,
    )


def with_splits(graph: g.Graph, splits: dict[str, Split]) -> g.Graph:
    """Return the graph with convolutions, by name, in two."""
    nodes: list[g.Node] = []
    for node in graph.nodes:
        found = splits.get(node.name)
        nodes += [node] if found is None else [found.basis, found.combination]
    return g.Graph(tuple(nodes))


def with_split_statistics(statistics: Statistics, splits: dict[str, Split]) -> Statistics:
    """Return the statistics with those of the basis maps: maps that the convolution had."""
    values, means = dict(statistics.values), dict(statistics.means)
    for name, found in splits.items():
        values[found.basis.name] = values[name]
        means[found.basis.name] = np.ascontiguousarray(means[name][found.kept])
    return Statistics(values, means)
