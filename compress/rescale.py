"""Codes that a model asks for, in steps of any size, as codes in steps of powers of two.

A tensor of codes in steps of s holds the same codes in steps of ``2**-frac`` when everything behind
it multiplies by ``s * 2**frac``. So each ``Quantise`` of another step becomes a factor, a
``Quantise`` of a power of two, and the opposite factor; the factors are then moved to
convolutions, dense layers and sums, which take them in. No code changes: what is rounded, once, is
the factor of the Requantise in which they meet.

Ref: B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018, equation 5 (the factor ``S1 * S2 / S3``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwgen.compress.importers import graph as g

Step = Callable[[g.Graph, g.Node], g.Graph | None]
_LINEAR = (g.Add, g.AvgPool, g.Concat, g.Flatten, g.MaxPool, g.Pad)
_EPS = 1e-9  # factors this near to 1 came from rounding


def rescaled(graph: g.Graph) -> g.Graph:
    """Return a graph that computes the same, in which every Quantise has a power of two as step."""
    if not any(isinstance(node, g.Quantise) for node in graph.nodes):
        return graph
    graph = _with_factors(graph)
    for step in (_to_front, _own_factor, _to_back, _drop):
        graph = until_done(graph, step)
    return graph


def until_done(graph: g.Graph, step: Step) -> g.Graph:
    """Apply a step, which returns a new graph or None, at any node until none changes."""
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            after = step(graph, node)
            if after is not None:
                graph, changed = after, True
                break
    return graph


def merge_codes(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A clip just before or behind a Quantise is part of it; so is the same Quantise again.

    Rounding keeps order, so clipping before it is clipping the codes behind it.
    """
    if not isinstance(node, g.Quantise):
        return None
    before = graph.by_name[node.sources[0]]
    if isinstance(before, g.Clip) and graph.readers[before.name] == (node.name,):
        return graph.with_node(_clipped(node, before)).without(before.name)
    same = isinstance(before, g.Quantise) and before.step == node.step
    if same and graph.readers[before.name] == (node.name,):
        assert isinstance(before, g.Quantise)
        both = replace(node, lo=max(node.lo, before.lo), hi=min(node.hi, before.hi))
        return graph.with_node(both).without(before.name)
    readers = graph.readers[node.name]
    after = graph.by_name[readers[0]] if len(readers) == 1 else None
    if isinstance(after, g.Clip):
        bounds = [bound / node.step for bound in (after.lo, after.hi) if bound is not None]
        if all(bound == round(bound) for bound in bounds):
            return graph.with_node(_clipped(node, after)).without(after.name)
    return None


def codes_first(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """Max pool, flatten or zero padding, then codes: the same as the codes first."""
    if not isinstance(node, (g.MaxPool, g.Flatten, g.Pad)):
        return None
    readers = graph.readers[node.name]
    after = graph.by_name[readers[0]] if len(readers) == 1 else None
    return swapped(graph, node, after) if isinstance(after, g.Quantise) else None


def swapped(
    graph: g.Graph, node: g.Node, after: g.Node, *, late: g.Node | None = None
) -> g.Graph:
    """Return a graph in which a node and its only reader, one source each, change places.

    Parameters: late, what the node is in its new place, if its parameters differ there.
    """
    order = [other for other in graph.nodes if other is not after]
    place = order.index(node)
    order[place : place + 1] = [
        replace(after, sources=node.sources),
        replace(late or node, sources=(after.name,)),
    ]
    return g.Graph(tuple(
        other
        if other.name in (node.name, after.name)
        else _reading(other, {after.name: node.name})
        for other in order
    ))


def _clipped(node: g.Quantise, clip: g.Clip) -> g.Quantise:
    lo = node.lo if clip.lo is None else max(node.lo, round(clip.lo / node.step))
    hi = node.hi if clip.hi is None else min(node.hi, round(clip.hi / node.step))
    return replace(node, lo=min(lo, 0), hi=max(hi, 0))


def _reading(node: g.Node, new: dict[str, str]) -> g.Node:
    return replace(node, sources=tuple(new.get(name, name) for name in node.sources))


def _affine(graph: g.Graph, name: str, source: str, factor: float) -> g.Affine:
    channels = graph.shapes[source][0]
    return g.Affine(
        name, (source,), g.floats(np.full(channels, factor)), g.floats(np.zeros(channels))
    )


def _with_factors(graph: g.Graph) -> g.Graph:
    """A factor before and one behind each Quantise whose step is no power of two."""
    nodes: list[g.Node] = []
    renamed: dict[str, str] = {}
    for old in graph.nodes:
        node = _reading(old, renamed)
        if not isinstance(node, g.Quantise) or math.frexp(node.step)[0] == 0.5:
            nodes.append(node)
            continue
        power = 2.0**-node.frac
        into, out = (_free(graph, f"{node.name}.{end}") for end in ("into", "from"))
        nodes.append(
            replace(_affine(graph, into, old.sources[0], power / node.step), sources=node.sources)
        )
        nodes.append(replace(node, sources=(into,), step=power))
        nodes.append(_affine(graph, out, node.name, node.step / power))
        renamed[node.name] = out
    return g.Graph(tuple(nodes))


def _free(graph: g.Graph, name: str) -> str:
    while name in graph.by_name:
        name += "_"
    return name


def _factor(node: g.Node | None) -> float | None:
    """The factor of a node that only multiplies, by one positive number; None for others."""
    if not isinstance(node, g.Affine) or node.offset.any():
        return None
    first = float(node.factor[0])
    return first if first > 0 and np.all(node.factor == first) else None


def _to_front(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A factor behind a sum, a pool or a clip moves before it, and into the factor there."""
    factor = _factor(node)
    if factor is None:
        return None
    before = graph.by_name[node.sources[0]]
    if graph.readers[before.name] != (node.name,):
        return None
    if (earlier := _factor(before)) is not None:
        merged = _affine(graph, node.name, before.sources[0], earlier * factor)
        return graph.with_node(merged).without(before.name)
    if isinstance(before, g.Clip):
        scaled = [None if b is None else b * factor for b in (before.lo, before.hi)]
        before = replace(before, lo=scaled[0], hi=scaled[1])
        return swapped(graph.with_node(before), graph.with_node(before).by_name[before.name], node)
    if not isinstance(before, _LINEAR):
        return None
    # Sums have several sources: each gets the factor.
    nodes: list[g.Node] = []
    for other in graph.nodes:
        if other.name == node.name:
            continue
        if other is not before:
            nodes.append(_reading(other, {node.name: before.name}))
            continue
        sources = []
        for place, source in enumerate(before.sources):
            name = node.name if not place else _free(graph, f"{node.name}.{place}")
            nodes.append(_affine(graph, name, source, factor))
            sources.append(name)
        nodes.append(replace(before, sources=tuple(sources)))
    return g.Graph(tuple(nodes))


def _own_factor(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A factor with several readers becomes one for each of them; factors in a row become one."""
    factor = _factor(node)
    if factor is None:
        return None
    readers = graph.readers[node.name]
    after = graph.by_name[readers[0]] if len(set(readers)) == 1 else None
    if after is not None:
        later = _factor(after)
        if later is None:
            return None
        merged = _affine(graph, after.name, node.sources[0], factor * later)
        return graph.with_node(merged).without(node.name)
    nodes: list[g.Node] = []
    count = 0
    for other in graph.nodes:
        if other is node:
            continue
        if node.name in other.sources:
            name = node.name if not count else _free(graph, f"{node.name}.{count}")
            nodes.append(_affine(graph, name, node.sources[0], factor))
            other = _reading(other, {node.name: name})
            count += 1
        nodes.append(other)
    return g.Graph(tuple(nodes)) if count else None


def _to_back(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A factor before a pool, a flatten or a clip moves behind it, towards what takes it in."""
    factor = _factor(node)
    if factor is None or abs(factor - 1) < _EPS:
        return None
    readers = graph.readers[node.name]
    after = graph.by_name[readers[0]] if len(readers) == 1 else None
    if isinstance(after, g.Clip):
        bounds = [None if b is None else b / factor for b in (after.lo, after.hi)]
        after = replace(after, lo=bounds[0], hi=bounds[1])
        graph = graph.with_node(after)
    elif not isinstance(after, (g.AvgPool, g.Flatten, g.MaxPool, g.Pad)):
        return None
    late = _affine(graph, node.name, after.name, factor)
    return swapped(graph, graph.by_name[node.name], graph.by_name[after.name], late=late)


def _drop(graph: g.Graph, node: g.Node) -> g.Graph | None:
    """A factor of one is nothing."""
    factor = _factor(node)
    if factor is None or abs(factor - 1) > _EPS or not graph.readers[node.name]:
        return None
    return graph.without(node.name)
