"""A network of integers: layers in order, each reading earlier ones (see hwgen.layers).

After lowering there is no float left: this is what the golden model computes, what the generators
build and what the proof compares the netlist with. Nothing here does arithmetic on codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from hwgen.errors import HwgenError
from hwgen.layers import (
    KINDS,
    MAX_ELEMENTS,
    NAME,
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    MaxPool,
    Requantise,
    Tensor,
    int64,
    shown,
    signed_digits,
)

__all__ = [
    "KINDS", "Activation", "Add", "ArgMax", "AvgPool", "Concat", "Conv2d", "Dense", "Flatten",
    "Input", "Int64Array", "Layer", "MaxPool", "Network", "Requantise", "Tensor", "int64",
    "signed_digits",
]

MAX_LAYERS = 4096
MAX_CHANNELS = 1 << 22        # of all layers together
MAX_DEPTH = 32                # of lists and objects within each other in the metadata


@dataclass(frozen=True, eq=False)
class Network:
    """A directed acyclic graph of layers, in an order in which every layer follows its sources.

    Parameters
    ----------
    layers : tuple of Layer
        The first is the only Input, the last is the output; every other one is read by some layer.
        If the last one is an ArgMax, its source (the scores) is an output too.
    metadata : mapping
        Plain JSON values: compression method and options, class names, meaning of the input.
        Nothing here changes what the network computes.

    Raises: HwgenError (one line that names the layer and the field) if anything does not fit.
    """

    layers: tuple[Layer, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "metadata", MappingProxyType(_plain(self.metadata)))
        self.check()

    def check(self) -> None:
        """Check names, order, use and shapes of all layers; runs whenever a Network is made."""
        if not 2 <= len(self.layers) <= MAX_LAYERS:
            raise HwgenError(f"A network needs from 2 to {MAX_LAYERS} layers, "
                             f"not {len(self.layers)}")
        if not isinstance(self.layers[0], Input):
            raise HwgenError("The first layer must be an Input, "
                             f"not {type(self.layers[0]).__name__}")
        seen: set[str] = set()
        folded: set[str] = set()          # two names that differ in case only could meet in a file
        used: set[str] = set()
        for layer in self.layers:
            if type(layer) not in KINDS.values():
                raise HwgenError(f"A layer of a known kind is needed, not {type(layer).__name__}")
            if len(layer.name) > 64 or not NAME.fullmatch(layer.name):
                raise HwgenError(f"Layer {shown(layer.name)}, name: a letter, then letters, digits "
                                 "and single underscores needed, at most 64")
            if layer.name.lower() in folded:
                raise layer.error("name", "a name of its own", "one that another layer has")
            if isinstance(layer, Input) and layer is not self.layers[0]:
                raise layer.error("kind", "one Input, the first layer,", "a second one")
            for source in layer.inputs:
                if source not in seen:
                    raise layer.error("source", "the name of an earlier layer", shown(source))
            seen.add(layer.name)
            folded.add(layer.name.lower())
            used.update(layer.inputs)
        for layer in self.layers[:-1]:
            if layer.name not in used:
                raise layer.error("name", "a layer that reads it", "none")
        _ = self.tensors

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Format of every layer's output, by layer name."""
        tensors: dict[str, Tensor] = {}
        channels = 0
        for layer in self.layers:
            tensor = layer.infer(*(tensors[source] for source in layer.inputs))
            if tensor.size > MAX_ELEMENTS:
                raise layer.error("output", f"at most {MAX_ELEMENTS} elements", tensor.size)
            channels += tensor.channels
            if channels > MAX_CHANNELS:
                raise layer.error("output", f"at most {MAX_CHANNELS} channels up to here", channels)
            tensors[layer.name] = tensor
        return MappingProxyType(tensors)

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Layers by name."""
        return MappingProxyType({layer.name: layer for layer in self.layers})

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the layers that read each layer, in order (twice if read twice)."""
        readers: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for layer in self.layers:
            for source in layer.inputs:
                readers[source].append(layer.name)
        return MappingProxyType({name: tuple(names) for name, names in readers.items()})

    @property
    def input(self) -> Input:
        """The first layer."""
        first = self.layers[0]
        assert isinstance(first, Input)
        return first

    @property
    def output(self) -> Layer:
        """The last layer."""
        return self.layers[-1]

    @property
    def scores(self) -> Layer:
        """The layer whose tensor holds the scores: the ArgMax's source, or the last layer."""
        last = self.layers[-1]
        return self.by_name[last.source] if isinstance(last, ArgMax) else last

    @cached_property
    def digest(self) -> str:
        """Hexadecimal sha256 of everything in the network (see hwgen.netfile)."""
        from hwgen.netfile import network_digest
        return network_digest(self)


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of metadata as JSON gives it back."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise HwgenError(f"Network metadata: plain JSON values needed ({error})") from error
    layer: list[Any] = [plain]
    for _ in range(MAX_DEPTH):
        layer = [part for value in layer if isinstance(value, (dict, list))
                 for part in (value.values() if isinstance(value, dict) else value)]
    if layer:
        raise HwgenError(f"Network metadata: at most {MAX_DEPTH} levels needed, not more")
    return plain
