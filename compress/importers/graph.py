"""The float graph: what an imported model computes, in few layers, before any of it becomes an
integer.

Nodes are frozen, in an order in which each follows its sources; tensors are (channels, height,
width), a flat one (channels, 1, 1). ``Graph`` checks names, order and shapes, and works out every
node's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

FloatArray = npt.NDArray[np.float64]
Shape = tuple[int, int, int]


def floats(values: npt.ArrayLike) -> FloatArray:
    """Return a read-only float64 copy."""
    array = np.array(values, dtype=np.float64, order="C")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Node:
    """What all nodes have: a name (its path in the model, with dots) and its sources' names."""

    name: str
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, np.ndarray) or part.type == "FloatArray":
                array = floats(value)
                if not np.all(np.isfinite(array)):
                    bad = "NaN" if np.isnan(array).any() else "infinity"
                    raise HwgenError(
                        f"{self.name}: finite {part.name} needed, there is {bad} in it"
                    )
                object.__setattr__(self, part.name, array)

    def shape(self, *shapes: Shape) -> Shape:
        """Return the shape of the output for given shapes of the sources."""
        raise NotImplementedError

    def needs(self, needed: str, came: object) -> HwgenError:
        """Return the error that names this node, what was needed and what came."""
        return HwgenError(f"{self.name}: {needed} needed, not {came}")


@dataclass(frozen=True, eq=False)
class Source(Node):
    """The image; no sources."""

    channels: int
    height: int
    width: int

    def shape(self, *shapes: Shape) -> Shape:
        return (self.channels, self.height, self.width)


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Convolution: weight (co, ci / groups, kh, kw); padding (top, left, bottom, right).

    ``step`` is (co,) where the model's weights are quantised: weight / step are integers.
    """

    weight: FloatArray
    bias: FloatArray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    step: FloatArray | None = field(default=None, kw_only=True)

    def shape(self, *shapes: Shape) -> Shape:
        if self.weight.ndim != 4:
            raise self.needs("a weight of 4 dimensions", self.weight.shape)
        if shapes[0][0] != self.weight.shape[1] * self.groups:
            raise self.needs(f"{self.weight.shape[1] * self.groups} channels", shapes[0][0])
        kernel = (self.weight.shape[2], self.weight.shape[3])
        size = _window(self, shapes[0], kernel, self.stride, self.padding, self.dilation)
        return (self.weight.shape[0], *size)


@dataclass(frozen=True, eq=False)
class Dense(Node):
    """Matrix product over a flat tensor: weight (outputs, inputs), bias (outputs,); step as in
    Conv.
    """

    weight: FloatArray
    bias: FloatArray
    step: FloatArray | None = field(default=None, kw_only=True)

    def shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != (self.weight.shape[1], 1, 1):
            raise self.needs(f"a flat tensor of {self.weight.shape[1]}", _text(shapes[0]))
        return (self.weight.shape[0], 1, 1)


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """By channel, ``y = x * factor + offset``: batch norm in evaluation, or input normalisation."""

    factor: FloatArray
    offset: FloatArray

    def shape(self, *shapes: Shape) -> Shape:
        if self.factor.shape != (shapes[0][0],) or self.offset.shape != self.factor.shape:
            raise self.needs(f"{shapes[0][0]} factors and offsets", self.factor.size)
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Clip(Node):
    """``min(max(x, lo), hi)``; ReLU is 0, None."""

    lo: float | None
    hi: float | None

    def shape(self, *shapes: Shape) -> Shape:
        if (self.lo is not None and self.lo > 0) or (self.hi is not None and self.hi < 0):
            raise self.needs("lower bound <= 0 <= upper bound", f"{self.lo}, {self.hi}")
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Curve(Node):
    """A function of one number that becomes a table: "tanh", "sigmoid", "hardswish" or
    "leaky_relu".

    ``slope`` is that of a leaky ReLU below zero, from 0 to 1.
    """

    function: str
    slope: float = 0.0

    def shape(self, *shapes: Shape) -> Shape:
        if self.function not in ("tanh", "sigmoid", "hardswish", "leaky_relu"):
            raise self.needs("tanh, sigmoid, hardswish or leaky_relu", self.function)
        if not 0 <= self.slope <= 1:
            raise self.needs("a slope from 0 to 1", self.slope)
        return shapes[0]

    @property
    def rising(self) -> bool:
        """True if a larger number never gives a smaller one."""
        return self.function != "hardswish"


@dataclass(frozen=True, eq=False)
class Quantise(Node):
    """``step * min(max(round(x / step), lo), hi)``: codes that the model itself asks for.

    Ties go to the even code, as in ONNX. lo <= 0 <= hi: zero points are subtracted.
    """

    lo: int
    hi: int
    step: float

    def shape(self, *shapes: Shape) -> Shape:
        if not self.lo <= 0 < self.hi - self.lo < 1 << 16 or self.hi < 0:
            raise self.needs("codes of at most 16 bits around zero", f"{self.lo} to {self.hi}")
        if not 2.0**-64 <= self.step <= 2.0**64:
            raise self.needs("a step from 2**-64 to 2**64", self.step)
        return shapes[0]

    @property
    def frac(self) -> int:
        """Of the power of two nearest to the step: ``step ~ 2**-frac``."""
        return round(-float(np.log2(self.step)))


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """Zeros around the image: (top, left, bottom, right), never negative."""

    padding: tuple[int, int, int, int]

    def shape(self, *shapes: Shape) -> Shape:
        if min(self.padding) < 0:
            raise self.needs("padding of 0 or more", self.padding)
        top, left, bottom, right = self.padding
        return (shapes[0][0], shapes[0][1] + top + bottom, shapes[0][2] + left + right)


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Largest element of each window; padding is ignored."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def shape(self, *shapes: Shape) -> Shape:
        return (shapes[0][0], *_window(self, shapes[0], self.kernel, self.stride, self.padding))


@dataclass(frozen=True, eq=False)
class AvgPool(Node):
    """Mean of each window, padded zeros included."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def shape(self, *shapes: Shape) -> Shape:
        return (shapes[0][0], *_window(self, shapes[0], self.kernel, self.stride, self.padding))


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Sum of two or more tensors of one shape."""

    def shape(self, *shapes: Shape) -> Shape:
        for other in shapes[1:]:
            if other != shapes[0]:
                raise self.needs(f"tensors of one shape, {_text(shapes[0])},", _text(other))
        return shapes[0]


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Tensors side by side along the channels."""

    def shape(self, *shapes: Shape) -> Shape:
        for other in shapes[1:]:
            if other[1:] != shapes[0][1:]:
                raise self.needs(f"images of one size, {_text(shapes[0][1:])},", _text(other[1:]))
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """(C, H, W) to (C * H * W, 1, 1), in C, H, W order."""

    def shape(self, *shapes: Shape) -> Shape:
        return (int(np.prod(shapes[0])), 1, 1)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order: the first is the only Source, the last the output, and every other one is
    read.

    Raises: HwgenError naming the node if the order, the use or a shape does not fit.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        names = [node.name for node in self.nodes]
        if len(names) < 2 or not isinstance(self.nodes[0], Source):
            raise HwgenError("A model needs an input and a layer at least")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise HwgenError(f"{twice}: a name of its own needed, another node has it")
        seen: set[str] = set()
        for node in self.nodes:
            if missing := [source for source in node.sources if source not in seen]:
                raise node.needs("earlier nodes as sources", missing[0])
            seen.add(node.name)
        _ = self.shapes

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every node's output."""
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            shapes[node.name] = node.shape(*(shapes[source] for source in node.sources))
        return MappingProxyType(shapes)

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return MappingProxyType({node.name: node for node in self.nodes})

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the nodes that read each node."""
        return MappingProxyType(
            {
                node.name: tuple(
                    other.name
                    for other in self.nodes
                    for source in other.sources
                    if source == node.name
                )
                for node in self.nodes
            }
        )

    @property
    def output(self) -> Node:
        """The last node."""
        return self.nodes[-1]

    def with_node(self, node: Node) -> Graph:
        """Return a graph in which the node of the same name is replaced."""
        return Graph(tuple(node if old.name == node.name else old for old in self.nodes))

    def without(self, name: str) -> Graph:
        """Return a graph in which the readers of a node with one source read that source."""
        (source,) = self.by_name[name].sources
        nodes = [
            replace(node, sources=tuple(source if s == name else s for s in node.sources))
            for node in self.nodes
            if node.name != name
        ]
        return Graph(tuple(nodes))


def _window(
    node: Any,
    shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    top, left, bottom, right = padding
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        raise node.needs(
            "kernel, stride and dilation from 1, padding from 0", (kernel, stride, padding)
        )
    rows = (shape[1] + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (shape[2] + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    if min(rows, columns) < 1:
        raise node.needs("an image that the window fits into", _text(shape))
    return rows, columns


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
