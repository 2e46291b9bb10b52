"""A network of windows as one over whole frames: a detector that slides.

What comes behind the Flatten is a convolution then: a dense layer over C x h x w codes has a kernel
of h x w. Its result at (y, x) is that of the window whose corner is ``strides * (y, x)``, as long
as nothing is padded, so one pass over the frame does the work of all windows.

Ref: P. Sermanet et al., "OverFeat: integrated recognition, localization and detection using
convolutional networks", ICLR 2014, section 3.5.
"""

from __future__ import annotations

from dataclasses import replace

from hwgen.errors import HwgenError
from hwgen.layers import (
    MAX_SIDE,
    AvgPool,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPool,
)
from hwgen.network import Network


def on_frames(network: Network, height: int, width: int) -> Network:
    """Return the network that takes frames of this size, with an output for each window.

    Layers keep their names, a Flatten is left out. A layer whose own output has one place in the
    given network loses its stride, so that its windows are each one pixel apart.

    Raises: HwgenError if the frame is smaller than a window, or a layer pads (its result would not
    be that of any window).
    """
    least = network.input.height, network.input.width
    if not (least[0] <= height <= MAX_SIDE and least[1] <= width <= MAX_SIDE):
        raise HwgenError(
            f"--frame: from {least[0]}x{least[1]} to {MAX_SIDE}x{MAX_SIDE} pixels (rows, columns) "
            f"needed, not {height}x{width}"
        )
    layers: list[Layer] = []
    alias: dict[str, str] = {}
    for layer in network.layers:
        if isinstance(layer, Flatten):
            alias[layer.name] = alias.get(layer.source, layer.source)
            continue
        made = _slid(network, layer)
        if isinstance(made, Input):
            made = replace(made, height=height, width=width)
        elif hasattr(made, "sources"):
            sources = tuple(alias.get(name, name) for name in made.inputs)
            made = replace(made, sources=sources)  # type: ignore[call-arg]
        else:
            (name,) = made.inputs
            made = replace(made, source=alias.get(name, name))  # type: ignore[call-arg]
        layers.append(made)
    return Network(tuple(layers), {**network.metadata, "frame": [height, width]})


def _slid(network: Network, layer: Layer) -> Layer:
    """Return a layer as it slides over a frame."""
    if isinstance(layer, Dense):
        shape = network.tensors[layer.source].shape
        before = network.by_name[layer.source]
        while isinstance(before, Flatten):
            shape = network.tensors[before.source].shape
            before = network.by_name[before.source]
        weight = layer.weight.reshape(len(layer.weight), *shape)
        return Conv2d(layer.name, layer.source, weight, layer.bias, layer.frac_w)
    if isinstance(layer, (Conv2d, AvgPool, MaxPool)):
        if any(layer.padding):
            raise layer.error("padding", "none, for windows of a frame,", layer.padding)
        if network.tensors[layer.name].shape[1:] == (1, 1):
            return replace(layer, stride=(1, 1))
    return layer
