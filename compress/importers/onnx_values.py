"""What flows along the edges of an ONNX graph while it is read: constants, and images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.compress.importers.graph import Shape
from hwgen.layers import Int64Array

Array = npt.NDArray[Any]


class Layout(Enum):
    """The order of an image tensor's sides; the first is the batch."""

    NCHW = "NCHW"
    NHWC = "NHWC"
    FLAT = "NC"


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that the file fixes.

    Parameters
    ----------
    array : array
    step : float64 array or None
        Where they are quantised: broadcasts with ``array``; array / step are integers.
    """

    array: Array
    step: Array | None = None


@dataclass(frozen=True, eq=False)
class Codes:
    """How an integer tensor means numbers: ``(code - zero) * step``; codes of an integer type."""

    step: float
    zero: int


@dataclass(frozen=True, eq=False)
class Image:
    """A tensor that depends on the image.

    Parameters
    ----------
    node : str
        In the float graph; the real numbers that the tensor means.
    shape : (channels, height, width) of that node
    layout : Layout
    order : int64 array or None
        FLAT: element i of the tensor is element order[i] of the node. None: the same order.
    codes : Codes or None
        Between QuantizeLinear and DequantizeLinear: how the integers mean those numbers.
    ended : str
        Softmax or ArgMax, once one was left out at the end of the model; "" before.
    """

    node: str
    shape: Shape
    layout: Layout
    order: Int64Array | None = None
    codes: Codes | None = None
    ended: str = ""

    def sides(self, batch: int) -> tuple[int, ...]:
        """The tensor's shape in ONNX."""
        channels, height, width = self.shape
        if self.layout is Layout.FLAT:
            return batch, channels
        if self.layout is Layout.NHWC:
            return batch, height, width, channels
        return batch, channels, height, width

    @property
    def channel_axis(self) -> int:
        """Which side is the channels."""
        return 3 if self.layout is Layout.NHWC else 1

    def by_channel(self, values: Array) -> npt.NDArray[np.float64]:
        """Return constants that meet this tensor elementwise as one number a channel of the node.

        Raises: ValueError if they do not broadcast to it, or differ by pixel.
        """
        sides = self.sides(1)
        full = np.asarray(values, np.float64)
        if np.broadcast_shapes(full.shape, sides) != sides:
            raise ValueError(f"constants {full.shape} that make {sides} larger")
        full = full.reshape((1,) * (len(sides) - full.ndim) + full.shape)
        first = full[tuple(slice(None) if k == self.channel_axis else slice(1)
                           for k in range(len(sides)))]  # fmt: skip
        if np.any(full != first):
            raise ValueError("constants that differ from pixel to pixel")
        found = np.array(np.broadcast_to(first.reshape(-1), (sides[self.channel_axis],)))
        if self.order is not None:
            back = np.empty_like(found)
            back[self.order] = found
            found = back
        return found


Value = Constant | Image
