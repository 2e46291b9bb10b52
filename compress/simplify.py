"""The float graph made ready for integers: padding, batch norms and the input's scale folded into
their neighbours.

Every step keeps what the graph computes (up to the last bits of a float) and returns a new graph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.compress.importers import graph as g
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.rescale import codes_first, merge_codes, rescaled, swapped, until_done
from hwgen.errors import HwgenError

NORMALISE = "normalise"


def simplify(graph: g.Graph) -> g.Graph:
    """Fold pads, batch norms and clips; put activations before max pooling, where they are cheaper.

    Raises: HwgenError naming a padding layer that nothing can take in.
    """
    graph = rescaled(graph)
    for step in (
        codes_first,
        _pad,
        _stride_into_conv,
        _activation_first,
        _merge_clips,
        merge_codes,
        _affine_back,
        _affine_forward,
    ):
        graph = until_done(graph, step)
    for node in graph.nodes:
        if isinstance(node, g.Pad):
            raise node.needs(
                "a convolution or a pooling that takes the padding in", "another layer"
            )
    return graph


def with_input_scaling(graph: g.Graph, scaling: InputScaling, *, frac: int) -> g.Graph:
    """Return a graph whose input is ``code * 2**-frac``; the rest becomes a batch norm."""
    source = graph.nodes[0]
    assert isinstance(source, g.Source)
    factor, offset = scaling.factors(source.channels)
    factor = factor * 2.0**frac
    if np.all(factor == 1) and not offset.any():
        return graph
    if NORMALISE in graph.by_name:
        raise HwgenError(f"The model has a layer called {NORMALISE}; that name is taken")
    node = g.Affine(NORMALISE, (source.name,), g.floats(factor), g.floats(offset))
    rest = [
        replace(
            other,
            sources=tuple(NORMALISE if name == source.name else name for name in other.sources),
        )
        for other in graph.nodes[1:]
    ]
    return g.Graph((source, node, *rest))


def input_frac(scaling: InputScaling) -> int:
    """Return the frac of the raw codes: the power of two nearest to the input's scale."""
    return round(-float(np.log2(scaling.scale)))


def _only_reader(graph: g.Graph, name: str) -> g.Node | None:
    readers = graph.readers[name]
    return graph.by_name[readers[0]] if len(readers) == 1 else None


def _pad(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """Padding goes into convolutions and average pools; into a max pool after a ReLU."""
    if not isinstance(node, g.Pad):
        return None
    source = graph.by_name[node.sources[0]]
    if isinstance(source, g.Pad):
        top, left, bottom, right = (
            a + b for a, b in zip(node.padding, source.padding, strict=True)
        )
        if _only_reader(graph, source.name) is node:
            both = replace(node, sources=source.sources, padding=(top, left, bottom, right))
            return g.Graph(tuple(
                both if other is node else other for other in graph.nodes if other is not source
            ))
    kinds: tuple[type[g.Node], ...] = (g.Conv, g.AvgPool)
    if isinstance(source, g.Clip) and source.lo is not None and source.lo >= 0:
        kinds = (*kinds, g.MaxPool)  # a zero is never above codes from 0 up
    readers = [graph.by_name[name] for name in graph.readers[node.name]]
    if not readers or not all(isinstance(reader, kinds) for reader in readers):
        return None
    nodes: list[g.Node] = []  # in one step: between two the sizes would not fit
    for other in graph.nodes:
        if other is node:
            continue
        if node.name in other.sources:
            assert isinstance(other, (g.Conv, g.AvgPool, g.MaxPool))
            top, left, bottom, right = (
                a + b for a, b in zip(node.padding, other.padding, strict=True)
            )
            other = replace(other, sources=node.sources, padding=(top, left, bottom, right))
        nodes.append(other)
    return g.Graph(tuple(nodes))


def _stride_into_conv(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """Every s-th pixel, then a 1x1 convolution: that convolution with stride s."""
    if not isinstance(node, g.MaxPool) or node.kernel != (1, 1) or any(node.padding):
        return None
    after = _only_reader(graph, node.name)
    if not isinstance(after, g.Conv) or after.weight.shape[2:] != (1, 1) or any(after.padding):
        return None
    stride = (after.stride[0] * node.stride[0], after.stride[1] * node.stride[1])
    merged = replace(after, stride=stride, sources=node.sources)
    return g.Graph(tuple(
        merged if other is after else other for other in graph.nodes if other is not node
    ))


def _activation_first(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """max pool, then a rising function of one number: the same as that function first."""
    if not isinstance(node, g.MaxPool):
        return None
    after = _only_reader(graph, node.name)
    if not isinstance(after, (g.Clip, g.Curve)) or (
        isinstance(after, g.Curve) and not after.rising
    ):
        return None
    return swapped(graph, node, after)


def _merge_clips(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """Two clips in a row are one."""
    if not isinstance(node, g.Clip):
        return None
    before = graph.by_name[node.sources[0]]
    if not isinstance(before, g.Clip) or _only_reader(graph, before.name) is not node:
        return None
    los = [clip.lo for clip in (before, node) if clip.lo is not None]
    his = [clip.hi for clip in (before, node) if clip.hi is not None]
    merged = replace(node, lo=max(los, default=None), hi=min(his, default=None))
    return graph.with_node(merged).without(before.name)


def _affine_back(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A batch norm after a convolution, a dense layer or another batch norm is part of it."""
    if not isinstance(node, g.Affine):
        return None
    before = graph.by_name[node.sources[0]]
    if _only_reader(graph, before.name) is not node:
        return None
    if isinstance(before, (g.Conv, g.Dense)):
        factor = node.factor.reshape((-1,) + (1,) * (before.weight.ndim - 1))
        step = None
        if before.step is not None and node.factor.all():
            step = before.step * np.abs(node.factor)
        folded: g.Node = replace(
            before,
            weight=before.weight * factor,
            bias=before.bias * node.factor + node.offset,
            step=step,
        )
    elif isinstance(before, g.Affine):
        folded = replace(
            before,
            factor=before.factor * node.factor,
            offset=before.offset * node.factor + node.offset,
        )
    else:
        return None
    return graph.with_node(folded).without(node.name)


def _affine_forward(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A batch norm goes into the layers that read it, unless padding would miss its offset."""
    if not isinstance(node, g.Affine):
        return None
    readers = [graph.by_name[name] for name in graph.readers[node.name]]
    if not readers:
        return None
    for reader in readers:
        if not isinstance(reader, (g.Conv, g.Dense)):
            return None
        if isinstance(reader, g.Conv) and any(reader.padding) and node.offset.any():
            return None
    for reader in readers:
        assert isinstance(reader, (g.Conv, g.Dense))
        factor, offset = (_by_weight(reader, values) for values in (node.factor, node.offset))
        rest = tuple(range(1, reader.weight.ndim))
        bias = reader.bias + (reader.weight * offset).sum(axis=rest)
        first = node.factor[0]
        step = None
        if reader.step is not None and first and np.all(node.factor == first):
            step = reader.step * abs(first)
        graph = graph.with_node(
            replace(reader, weight=reader.weight * factor, bias=bias, step=step)
        )
    return graph.without(node.name)


def _by_weight(reader: g.Conv | g.Dense, values: g.FloatArray) -> g.FloatArray:
    """Return one value an input channel in a form that multiplies a layer's weights."""
    if isinstance(reader, g.Dense):
        return values[None, :]
    outputs = reader.weight.shape[0]
    by_group = values.reshape(reader.groups, -1)
    return np.repeat(by_group, outputs // reader.groups, axis=0)[:, :, None, None]
