"""The golden model: the integers of every layer of a network, exactly as its file says.

It needs numpy and the network file alone. The arithmetic of a layer is in hwgen.sim.golden_layers,
whose functions are also here under their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.network import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Conv2d,
    Dense,
    Input,
    Int64Array,
    Layer,
    Network,
    Requantise,
    int64,
)
from hwgen.sim.golden_layers import (
    INT64_EXACT,
    activation,
    add,
    argmax,
    avg_pool,
    concat,
    conv2d,
    dense,
    flatten,
    layer_output,
    max_pool,
    requantise,
    sum_type,
)

__all__ = [
    "accuracy", "activation", "add", "argmax", "avg_pool", "bounds", "check_images", "classes",
    "concat", "conv2d", "dense", "flatten", "largest", "layer_output", "max_pool", "requantise",
    "run", "sum_type",
]

BATCH_ELEMENTS = 1 << 21      # of the largest array of a batch: few enough to stay near the cache

Images = npt.NDArray[np.integer[Any]]
Keep = Literal["all", "last"] | Iterable[str]


def run(network: Network, images: Images, *, keep: Keep = "all",
        batch: int | None = None) -> dict[str, Int64Array]:
    """Compute the integers of a network's layers for some images.

    Parameters
    ----------
    network : Network
    images : integer array, (N, C, H, W)
        Codes of the Input, in its range.
    keep : "all", "last" or layer names
        What to return: every layer; the outputs (the last layer and, if that is an ArgMax, the
        scores it read); or the layers named.
    batch : int, optional
        Images computed at a time: bounds the memory, never changes a result.

    Returns: layer name -> (N, C, H, W) int64, in the order of the layers.
    Raises: HwgenError if an image, a name or the batch does not fit, or a value could pass 2**63.
    """
    images = check_images(network, images)
    bounds(network)
    names = _kept(network, keep)
    if batch is None:
        batch = max(1, min(1024, BATCH_ELEMENTS // _largest_array(network)))
    elif batch < 1:
        raise HwgenError(f"A batch of at least 1 image needed, not {batch}")
    results = {name: np.empty((len(images), *network.tensors[name].shape), np.int64)
               for name in names}
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        _run_batch(network, images[part], {name: full[part] for name, full in results.items()})
    return results


def classes(network: Network, images: Images, *, batch: int | None = None) -> Int64Array:
    """Return the class of each image, (N,) int64: the ArgMax, or the index of the largest score.

    Scores of several fracs are compared by their values; the lowest index wins a tie.

    Raises: HwgenError if the network gives more than one pixel an image, and as ``run``.
    """
    last = network.output
    tensor = network.tensors[last.name]
    if (tensor.height, tensor.width) != (1, 1):
        raise last.error("output", "one pixel an image", f"{tensor.height}x{tensor.width}")
    result = run(network, images, keep=[last.name], batch=batch)[last.name][:, :, 0, 0]
    if isinstance(last, ArgMax):
        return result[:, 0]
    lifts = (int(tensor.frac.max()) - tensor.frac).tolist()
    if any(bound << up >= INT64_EXACT
           for bound, up in zip(bounds(network)[last.name], lifts, strict=True)):
        raise last.error("frac", "scores comparable in 63 bits", f"fracs {max(lifts)} apart")
    largest: Int64Array = np.argmax(result << int64(lifts), axis=1).astype(np.int64)
    return largest


def accuracy(network: Network, images: Images, labels: Images, *,
             batch: int | None = None) -> float:
    """Return the share, 0 to 1, of images whose class is their label.

    Parameters: images, (N, C, H, W) codes; labels, (N,) class numbers; N >= 1.
    Raises: HwgenError if the labels do not fit, and as ``classes``.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or not len(labels):
        raise HwgenError(f"One label an image and at least one image needed, not labels "
                         f"{labels.shape} for {len(images)} images")
    return float(np.mean(classes(network, images, batch=batch) == labels))


def check_images(network: Network, images: Images) -> Images:
    """Return the images if they are integer codes of the network's Input.

    Raises: HwgenError, one line: what was needed and what came.
    """
    images = np.asarray(images)
    source = network.input
    channels, height, width = source.channels, source.height, source.width
    if images.ndim != 4 or images.shape[1:] != (channels, height, width):
        raise HwgenError(f"Images of shape (N, {channels}, {height}, {width}) needed, "
                         f"not {images.shape}")
    if images.dtype.kind not in "iu":
        raise HwgenError(f"Images of integer codes needed, not {images.dtype}")
    wrong = (images < source.lo) | (images > source.hi)
    if wrong.any():
        place = np.unravel_index(np.argmax(wrong), wrong.shape)
        where = ", ".join(f"{side} {index}" for side, index in
                          zip(("image", "channel", "row", "column"), place, strict=True))
        raise HwgenError(f"Images of codes from {source.lo} to {source.hi} needed, "
                         f"not {images[place]} ({where})")
    return images


def bounds(network: Network) -> Mapping[str, Sequence[int]]:
    """Return a bound of every layer's magnitudes, a Python int a channel, by layer name.

    Proved from the declared ranges of the codes, so it holds for every image.

    Raises: HwgenError naming the layer if a value or an intermediate could reach 2**63.
    """
    found: dict[str, Sequence[int]] = {}
    for layer in network.layers:
        tensor = network.tensors[layer.name]
        peaks = _peaks(layer, [found[name] for name in layer.inputs])
        if max(peaks) >= INT64_EXACT:
            raise layer.error("range", "values below 2**63", f"up to {float(max(peaks)):.3g}")
        if tensor.lo is not None and tensor.hi is not None:
            peaks = [max(-tensor.lo, tensor.hi)] * tensor.channels
        found[layer.name] = peaks
    return found


def largest(network: Network) -> int:
    """Return a bound of the magnitudes of all sums and codes, those in a Requantise before its
    shift left out.
    """
    found = bounds(network)
    return max(
        max(max(found[layer.name]), 0 if isinstance(layer, (Input, Requantise, Activation))
            else max(_peaks(layer, [found[name] for name in layer.inputs])))
        for layer in network.layers
    )


def _peaks(layer: Layer, sources: Sequence[Sequence[int]]) -> Sequence[int]:
    """Bound what a layer computes before any clip, a channel each; 0 where it only moves codes."""
    match layer:
        case Conv2d() | Dense():
            # One reach for all inputs: they are codes of one range.
            sums = np.abs(layer.weight).reshape(len(layer.weight), -1).sum(axis=1).tolist()
            return [total * max(sources[0]) + abs(b)
                    for total, b in zip(sums, layer.bias.tolist(), strict=True)]
        case Requantise():
            return [bound * abs(m) + abs(b) + (1 << s >> 1) for bound, m, b, s in zip(
                sources[0], layer.multiplier.tolist(), layer.offset.tolist(),
                layer.shift.tolist(), strict=True)]
        case Activation():
            steepest, furthest = np.abs(layer.slopes).max(), np.abs(layer.offsets).max()
            return [bound * int(steepest) + int(furthest) + (1 << layer.shift >> 1)
                    for bound in sources[0]]
        case AvgPool():
            return [layer.kernel[0] * layer.kernel[1] * bound for bound in sources[0]]
        case Add():
            return [sum(bound << up for bound, up in zip(column, layer.shifts, strict=True))
                    for column in zip(*sources, strict=True)]
    return [0]


def _run_batch(network: Network, images: Images, results: Mapping[str, Int64Array]) -> None:
    """Compute one batch into ``results``; a tensor is dropped after its last reader."""
    last_reader = {name: layer.name for layer in network.layers for name in layer.inputs}
    values: dict[str, Int64Array] = {}
    for layer in network.layers:
        if isinstance(layer, Input):
            value = images.astype(np.int64)
        else:
            value = layer_output(layer, *(values[name] for name in layer.inputs))
        values[layer.name] = value
        if layer.name in results:
            results[layer.name][:] = value
        for name in set(layer.inputs):
            if last_reader[name] == layer.name:
                del values[name]


def _kept(network: Network, keep: Keep) -> list[str]:
    if keep == "all":
        return [layer.name for layer in network.layers]
    if keep == "last":
        wanted = {network.scores.name, network.output.name}
    else:
        wanted = {keep} if isinstance(keep, str) else set(keep)
    if unknown := sorted(wanted - set(network.by_name)):
        raise HwgenError(f"keep: all, last or names of layers needed, not {unknown[0]!r}")
    return [layer.name for layer in network.layers if layer.name in wanted]


def _largest_array(network: Network) -> int:
    """Number of elements of the largest array that one image needs on its way."""
    largest = network.tensors[network.input.name].size
    for layer in network.layers:
        tensor = network.tensors[layer.name]
        columns = tensor.channels
        if isinstance(layer, Conv2d):
            _, _, kh, kw = layer.weight.shape
            columns = max(columns, network.tensors[layer.source].channels * kh * kw)
        largest = max(largest, tensor.height * tensor.width * columns)
    return largest
