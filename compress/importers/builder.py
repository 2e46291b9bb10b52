"""One operation of a model at a time to nodes of the float graph; the front ends only translate
names.

A front end (``torch_fx``, ``torch_export``) calls a method an operation; arguments are checked
here, so that every front end refuses the same things with the same words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwgen.compress.importers import graph as g
from hwgen.errors import HwgenError
from hwgen.layer_base import MAX_ELEMENTS, MAX_SIDE

SUPPORTED = (
    "Conv2d, Linear, BatchNorm1d, BatchNorm2d, ReLU, ReLU6, Hardtanh, LeakyReLU, Tanh, Sigmoid, "
    "Hardsigmoid, Hardswish, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, Flatten, ZeroPad2d, Dropout, "
    "Identity, Sequential, their functional forms, add, cat, view, flatten, mean over pixels, "
    "factors and offsets by channel, x[:, :, ::s, ::s]"
)


def unsupported(place: str, what: str, supported: str = SUPPORTED) -> HwgenError:
    """Return the error for an operation without an integer layer, naming its place in the model."""
    return HwgenError(f"{place}: {what} is not supported; supported: {supported}")


def pair(place: str, what: str, value: object) -> tuple[int, int]:
    """Return one or two whole numbers as two."""
    values = list(value) if isinstance(value, Sequence) else [value]
    whole = [v for v in values if isinstance(v, int)]
    if len(values) not in (1, 2) or len(whole) != len(values):
        raise HwgenError(f"{place}: {what} of one or two whole numbers needed, not {value!r}")
    return whole[0], whole[-1]


def sides(place: str, value: object) -> tuple[int, int, int, int]:
    """Return padding as (top, left, bottom, right): four whole numbers, or one or two for both."""
    if isinstance(value, Sequence) and len(value) == 4 and all(isinstance(v, int) for v in value):
        top, left, bottom, right = value
        return top, left, bottom, right
    rows, columns = pair(place, "padding", value)
    return rows, columns, rows, columns


class Builder:
    """Collects nodes; every method adds one and returns its name.

    Parameters: shape, (channels, height, width) of the image; supported, what the front end reads,
    for its messages.
    """

    def __init__(self, shape: g.Shape, supported: str = SUPPORTED) -> None:
        self._supported = supported
        self._nodes: list[g.Node] = [g.Source("input", (), *shape)]
        self._shapes: dict[str, g.Shape] = {"input": shape}

    def unsupported(self, place: str, what: str) -> HwgenError:
        """Return the error that names a place, what is there, and what would be supported."""
        return unsupported(place, what, self._supported)

    def shape(self, name: str) -> g.Shape:
        """Return the shape of a node's output."""
        return self._shapes[name]

    def graph(self, output: str) -> g.Graph:
        """Return the graph that ends in a node, without what that node does not need."""
        used = {output}
        for node in reversed(self._nodes):
            if node.name in used:
                used.update(node.sources)
        nodes = [node for node in self._nodes if node.name in used]
        if not isinstance(nodes[0], g.Source):
            raise HwgenError("The model's output must depend on the image")
        return g.Graph(tuple(nodes))

    def _add(self, node: g.Node) -> str:
        name, count = node.name, 2
        while name in self._shapes:  # a module that is called twice
            name, count = f"{node.name}_{count}", count + 1
        object.__setattr__(node, "name", name)
        shape = node.shape(*(self._shapes[source] for source in node.sources))
        if max(shape) > MAX_SIDE or math.prod(shape) > MAX_ELEMENTS:
            raise node.needs(f"an image of at most {MAX_SIDE} channels, rows and columns and "
                             f"{MAX_ELEMENTS} numbers", "x".join(map(str, shape)))  # fmt: skip
        self._shapes[name] = shape
        self._nodes.append(node)
        return name

    def conv(
        self,
        name: str,
        source: str,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        *,
        stride: object = 1,
        padding: object = 0,
        dilation: object = 1,
        groups: int = 1,
        step: npt.ArrayLike | None = None,
    ) -> str:
        """Convolution; padding is a number, two, four (top, left, bottom, right), or "same" or
        "valid"; step, (co,), that of quantised weights.
        """
        array = np.asarray(weight)
        if array.ndim != 4:
            raise self.unsupported(name, f"a convolution over {array.ndim - 2} dimensions")
        steps, spread = pair(name, "stride", stride), pair(name, "dilation", dilation)
        if padding == "same":
            if steps != (1, 1):
                raise HwgenError(f"{name}: padding 'same' needs stride 1, not {steps}")
            reach = [d * (k - 1) for d, k in zip(spread, array.shape[2:], strict=True)]
            pads = (
                reach[0] // 2,
                reach[1] // 2,
                reach[0] - reach[0] // 2,
                reach[1] - reach[1] // 2,
            )
        else:
            pads = (0, 0, 0, 0) if padding == "valid" else sides(name, padding)
        shift = np.zeros(array.shape[0]) if bias is None else bias
        node = g.Conv(
            name,
            (source,),
            g.floats(array),
            g.floats(shift),
            steps,
            pads,
            spread,
            groups,
            step=None if step is None else g.floats(step),
        )
        if groups < 1 or array.shape[0] % groups:
            raise node.needs(f"groups that divide {array.shape[0]} outputs", groups)
        if node.bias.shape != (array.shape[0],):
            raise node.needs(f"a bias of {array.shape[0]} numbers", node.bias.shape)
        return self._add(node)

    def dense(
        self,
        name: str,
        source: str,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        *,
        step: npt.ArrayLike | None = None,
    ) -> str:
        """Matrix product over a flat tensor."""
        array = np.asarray(weight)
        if self._shapes[source][1:] != (1, 1):
            raise HwgenError(
                f"{name}: a Linear over a flat tensor needed (put a Flatten before it), not over "
                f"{'x'.join(map(str, self._shapes[source]))}"
            )
        shift = np.zeros(array.shape[0]) if bias is None else bias
        node = g.Dense(
            name,
            (source,),
            g.floats(array),
            g.floats(shift),
            step=None if step is None else g.floats(step),
        )
        if node.bias.shape != (array.shape[0],):
            raise node.needs(f"a bias of {array.shape[0]} numbers", node.bias.shape)
        return self._add(node)

    def batch_norm(
        self,
        name: str,
        source: str,
        weight: npt.ArrayLike | None,
        bias: npt.ArrayLike | None,
        mean: npt.ArrayLike | None,
        variance: npt.ArrayLike | None,
        eps: float,
    ) -> str:
        """Batch norm in evaluation, as one factor and one offset a channel."""
        if mean is None or variance is None:
            raise self.unsupported(name, "a batch norm without running statistics")
        centre, spread = g.floats(mean), g.floats(variance)
        gain = np.ones(centre.shape) if weight is None else g.floats(weight)
        shift = np.zeros(centre.shape) if bias is None else g.floats(bias)
        for field, values in (
            ("weight", gain),
            ("bias", shift),
            ("running mean", centre),
            ("running variance", spread),
        ):
            if not np.all(np.isfinite(values)):
                raise HwgenError(f"{name}: finite {field} needed, there is NaN or infinity in it")
        if np.any(spread + eps <= 0):
            raise HwgenError(f"{name}: a positive running variance needed, not {spread.min()}")
        factor = gain / np.sqrt(spread + eps)
        return self._add(
            g.Affine(name, (source,), g.floats(factor), g.floats(shift - centre * factor))
        )

    def clip(self, name: str, source: str, lo: float | None, hi: float | None) -> str:
        """ReLU (0, None), ReLU6 (0, 6), Hardtanh."""
        return self._add(g.Clip(name, (source,), lo, hi))

    def curve(self, name: str, source: str, function: str) -> str:
        """Tanh, sigmoid or hardswish."""
        return self._add(g.Curve(name, (source,), function))

    def leaky_relu(self, name: str, source: str, slope: float) -> str:
        """``x`` above zero, ``slope * x`` below."""
        if not 0 <= slope <= 1:
            raise self.unsupported(name, f"a leaky ReLU of slope {slope:g} (0 to 1 are)")
        if slope == 0:
            return self.clip(name, source, 0.0, None)
        return self._add(g.Curve(name, (source,), "leaky_relu", float(slope)))

    def hardsigmoid(
        self, name: str, source: str, alpha: float = 1 / 6, beta: float = 0.5
    ) -> str:
        """``min(max(alpha * x + beta, 0), 1)``: a factor, an offset and a clip."""
        return self.clip(name, self.affine(f"{name}.line", source, alpha, beta), 0.0, 1.0)

    def affine(
        self, name: str, source: str, factor: npt.ArrayLike, offset: npt.ArrayLike
    ) -> str:
        """``x * factor + offset``, a number each or one a channel."""
        count = (self._shapes[source][0],)
        values = [np.broadcast_to(np.asarray(v, np.float64), count) for v in (factor, offset)]
        return self._add(g.Affine(name, (source,), g.floats(values[0]), g.floats(values[1])))

    def quantise(self, name: str, source: str, lo: int, hi: int, step: float) -> str:
        """Codes that the model itself asks for, see ``graph.Quantise``."""
        return self._add(g.Quantise(name, (source,), lo, hi, step))

    def every(self, name: str, source: str, rows: int, columns: int) -> str:
        """Every rows-th row and columns-th column, from the first: a 1x1 window of that stride."""
        if (rows, columns) == (1, 1):
            return source
        return self._add(g.MaxPool(name, (source,), (1, 1), (rows, columns)))

    def pad_channels(self, name: str, source: str, before: int, after: int) -> str:
        """Channels of zeros before and behind: a 1x1 convolution of zeros and ones."""
        channels = self._shapes[source][0]
        if min(before, after) < 0:
            raise self.unsupported(name, f"a cut of channels by padding {before}, {after}")
        total = before + channels + after
        if total * channels > 1 << 24:
            raise HwgenError(f"{name}: a few channels of padding needed, not {before}, {after}")
        weight = np.zeros((total, channels, 1, 1))
        weight[before : before + channels, :, 0, 0] = np.eye(channels)
        return self.conv(name, source, weight, None)

    def max_pool(
        self,
        name: str,
        source: str,
        kernel: object,
        stride: object,
        padding: object,
        *,
        dilation: object = 1,
        ceil_mode: bool = False,
    ) -> str:
        """Max pooling; no dilation. With ceil_mode the last window may hang over the edge, which is
        padding.
        """
        if pair(name, "dilation", dilation) != (1, 1):
            raise self.unsupported(name, "max pooling with dilation")
        return self._add(
            g.MaxPool(
                name,
                (source,),
                *self._pool(name, source, kernel, stride, padding, ceil_mode, hang=True),
            )
        )

    def avg_pool(
        self,
        name: str,
        source: str,
        kernel: object,
        stride: object,
        padding: object,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: object = None,
    ) -> str:
        """Average pooling; padded places count."""
        window = self._pool(name, source, kernel, stride, padding, ceil_mode, hang=False)
        if not count_include_pad and any(window[2]):
            raise self.unsupported(name, "average pooling with padding and count_include_pad=False")
        if divisor is not None:
            raise self.unsupported(name, "average pooling with divisor_override")
        return self._add(g.AvgPool(name, (source,), *window))

    def _pool(
        self,
        name: str,
        source: str,
        kernel: object,
        stride: object,
        padding: object,
        ceil_mode: bool,
        *,
        hang: bool,
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        """Return (kernel, stride, padding); hang: a window may hang over with ceil_mode."""
        size = pair(name, "kernel", kernel)
        steps = size if stride is None or stride == [] else pair(name, "stride", stride)
        pads = sides(name, padding)
        if not ceil_mode:
            return size, steps, pads
        if min(*size, *steps) < 1:
            raise HwgenError(f"{name}: kernel and stride from 1 needed, not {size}, {steps}")
        more = []
        for side, k, step, before, after in zip(
            self._shapes[source][1:], size, steps, pads[:2], pads[2:], strict=True
        ):
            rest = (side + before + after - k) % step
            starts = side + before + after - k - rest + step  # of a window that hangs over
            more.append(step - rest if rest and starts < side + before else 0)
        if any(more) and not hang:
            raise self.unsupported(name, "average pooling with ceil_mode and a window that hangs "
                                         "over the edge")
        return size, steps, (pads[0], pads[1], pads[2] + more[0], pads[3] + more[1])

    def adaptive_avg_pool(self, name: str, source: str, size: object) -> str:
        """Average pooling to a given size that divides the image's."""
        values = list(size) if isinstance(size, Sequence) else [size, size]
        _, height, width = self._shapes[source]
        both = zip(values, (height, width), strict=True)
        rows, columns = pair(name, "size", [old if new is None else new for new, old in both])
        if min(rows, columns) < 1 or height % rows or width % columns:
            raise self.unsupported(
                name,
                f"adaptive pooling from {height}x{width} to {rows}x{columns} pixels "
                "(windows of unequal size)",
            )
        kernel = (height // rows, width // columns)
        return self._add(g.AvgPool(name, (source,), kernel, kernel))

    def add(self, name: str, sources: Sequence[str]) -> str:
        """Sum of tensors of one shape."""
        return self._add(g.Add(name, tuple(sources)))

    def concat(self, name: str, sources: Sequence[str], dim: int) -> str:
        """Tensors side by side along the channels."""
        if dim not in (1, -3):
            raise self.unsupported(name, f"cat along dimension {dim} (channels are dimension 1)")
        if len(sources) == 1:
            return sources[0]
        return self._add(g.Concat(name, tuple(sources)))

    def flatten(self, name: str, source: str, start: int = 1, end: int = -1) -> str:
        """(C, H, W) to flat; nothing to do if it is flat already."""
        if start != 1 or end not in (-1, 3, 1):
            raise self.unsupported(name, f"flatten of dimensions {start} to {end}")
        if self._shapes[source][1:] == (1, 1):
            return source
        return self._add(g.Flatten(name, (source,)))

    def mean(self, name: str, source: str, dims: Sequence[int]) -> str:
        """Mean over all pixels: dimensions 2 and 3."""
        if sorted(dim % 4 for dim in dims) != [2, 3]:
            raise self.unsupported(name, f"a mean over dimensions {list(dims)}")
        return self.adaptive_avg_pool(name, source, 1)

    def view(self, name: str, source: str, shape: Sequence[object]) -> str:
        """A view or reshape that only flattens: (N, -1) or (N, C * H * W)."""
        size = int(np.prod(self._shapes[source]))
        if len(shape) == 2 and shape[1] in (-1, size):
            return self.flatten(name, source)
        if tuple(shape[1:]) == self._shapes[source]:
            return source
        raise self.unsupported(name, f"a view as {tuple(shape)}")

    def pad(
        self,
        name: str,
        source: str,
        padding: Sequence[int],
        mode: str = "constant",
        value: float | None = 0.0,
    ) -> str:
        """Zero padding; padding is torch's (left, right, top, bottom)."""
        if mode != "constant" or (value or 0.0) != 0.0:
            raise self.unsupported(name, f"padding with {mode} {value}")
        if len(padding) % 2 or len(padding) > 6 or not all(isinstance(p, int) for p in padding):
            raise self.unsupported(name, f"padding by {tuple(padding)}")
        left, right, top, bottom, before, after = (*padding, *(0,) * (6 - len(padding)))
        if before or after:
            source = self.pad_channels(f"{name}.channels", source, before, after)
            if not any((left, right, top, bottom)):
                return source
        return self._add(g.Pad(name, (source,), (top, left, bottom, right)))
