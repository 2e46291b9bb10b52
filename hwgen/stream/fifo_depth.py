"""How deep the FIFOs before a join must be: computed from how many beats each branch needs for each
result.

Where a stream forks and its branches meet again, the branch that needs fewer beats for its next
result runs ahead, and its results must wait. ``needs`` counts, for each output beat of a layer, how
many of its input beats have to be there; composed along a branch they say how many beats must have
passed the fork.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwgen.layers import Add, AvgPool, Concat, Conv2d, Dense, Flatten, Int64Array, MaxPool
from hwgen.network import Network
from hwgen.stream.beat import BeatFormat
from hwgen.stream.raster import Axis


def axes(layer: Conv2d | MaxPool | AvgPool, height: int, width: int) -> tuple[Axis, Axis]:
    """Return the walk of a layer's window down and across an image of this size."""
    top, left, bottom, right = layer.padding
    kernel = layer.weight.shape[2:] if isinstance(layer, Conv2d) else layer.kernel
    dilation = layer.dilation if isinstance(layer, Conv2d) else (1, 1)
    return (
        Axis(height, top, bottom, kernel[0], layer.stride[0], dilation[0]),
        Axis(width, left, right, kernel[1], layer.stride[1], dilation[1]),
    )


def beats_needed(network: Network, name: str, formats: Mapping[str, BeatFormat]) -> Int64Array:
    """Return for each output beat of a layer how many beats of its source must have come, (beats,)
    int64.

    Layers with several sources need beat n of each for beat n.
    """
    layer, format = network.by_name[name], formats[name]
    if isinstance(layer, (Conv2d, MaxPool, AvgPool)):
        source = formats[layer.source]
        rows, columns = axes(layer, source.height, source.width)
        # Padding behind a row or an image is pushed in without waiting for a pixel.
        y = np.minimum(rows.first + rows.stride * np.arange(rows.count), rows.size)
        x = np.minimum(columns.first + columns.stride * np.arange(columns.count), columns.size - 1)
        whole = y[:, None] * source.width + x[None, :] + 1
        return np.clip(whole, 0, source.height * source.width).ravel() * source.folds
    if isinstance(layer, (Dense, Flatten)) and format.beats != formats[layer.source].beats:
        return np.full(format.beats, formats[layer.source].beats)
    if isinstance(layer, Dense):
        return np.full(format.beats, formats[layer.source].beats)
    sources = layer.inputs or (name,)
    ratio = formats[sources[0]].beats // format.beats
    return (np.arange(format.beats) + 1) * max(ratio, 1)


def common_fork(network: Network, name: str) -> str:
    """Return the layer nearest to a join through which every path from the input to it goes."""
    dominators: dict[str, list[str]] = {}
    for layer in network.layers:
        lists = [dominators[source] for source in layer.inputs]
        common = [n for n in lists[0] if all(n in other for other in lists)] if lists else []
        dominators[layer.name] = [*common, layer.name]
    return dominators[name][-2]


def fifo_depths(network: Network, name: str, formats: Mapping[str, BeatFormat]) -> tuple[int, ...]:
    """Return for each source of an Add or Concat the fewest beats its FIFO must hold for the join
    to run.

    One beat less in any of those that are not 0 and the join waits for ever (as far as nothing else
    on that branch can hold a beat: registers of a layer on it only add to this).
    """
    layer = network.by_name[name]
    if not isinstance(layer, (Add, Concat)):
        raise TypeError(f"An Add or a Concat needed, not {type(layer).__name__}")
    fork = common_fork(network, name)
    needs = [_needs_from(network, source, fork, formats) for source in layer.inputs]
    together = np.maximum.reduce(needs)
    depths = []
    for need in needs:
        # When the slowest branch has just been offered its last beat for result n, the fork may
        # hold that beat back from this branch: it has seen one beat less, and made so many results.
        made = np.searchsorted(need, together - 1, side="right")
        depths.append(int(max((made - np.arange(need.size)).max(), 0)))
    return tuple(depths)


def _needs_from(
    network: Network, name: str, fork: str, formats: Mapping[str, BeatFormat]
) -> Int64Array:
    """Return how many beats of ``fork`` must have come for each beat of ``name``."""
    if name == fork:
        return np.arange(formats[name].beats) + 1
    own = beats_needed(network, name, formats)
    sources = [
        _needs_from(network, source, fork, formats) for source in network.by_name[name].inputs
    ]
    return np.maximum.reduce(
        [np.where(own > 0, source[np.maximum(own, 1) - 1], 0) for source in sources]
    )
