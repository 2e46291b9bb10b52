"""What one beat of an internal stream carries.

A beat is one pixel, all channels side by side, channel 0 lowest, each in the fewest bits its range
needs; or, where a pixel's channels come one group after the other (**folds**), one group: beat j of
a pixel carries the channels ``j * lanes .. j * lanes + lanes - 1``, and lanes past the last channel
carry 0. Pixels come in raster order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amaranth import Shape, Value, signed, unsigned
from amaranth.lib import data, stream

from hwgen.layers import Tensor
from hwgen.ranges import Range, width_of


@dataclass(frozen=True)
class BeatFormat:
    """Lanes of a beat and the tensor they belong to.

    Parameters
    ----------
    lo, hi : tuple of int
        Smallest and largest value of each lane.
    channels, height, width : int
        Of the tensor; ``folds`` beats carry one pixel.
    """

    lo: tuple[int, ...]
    hi: tuple[int, ...]
    channels: int
    height: int
    width: int
    folds: int = 1

    def __post_init__(self) -> None:
        if len(self.lo) != len(self.hi) or not self.lo:
            raise ValueError(
                f"One lo and one hi a lane needed, not {len(self.lo)} and {len(self.hi)}"
            )
        if not (self.folds - 1) * self.lanes < self.channels <= self.folds * self.lanes:
            raise ValueError(
                f"{self.channels} channels do not make {self.folds} folds of {self.lanes} lanes"
            )

    @classmethod
    def of(cls, tensor: Tensor, values: Range, *, lanes: int | None = None) -> BeatFormat:
        """Return the format of a tensor with these value ranges, ``lanes`` channels a beat
        (default: all).
        """
        lanes = tensor.channels if lanes is None else lanes
        folds = -(-tensor.channels // lanes)
        padded = folds * lanes > tensor.channels
        los = [values.lo[lane::lanes].tolist() + [0] * padded for lane in range(lanes)]
        his = [values.hi[lane::lanes].tolist() + [0] * padded for lane in range(lanes)]
        return cls(tuple(min(lo) for lo in los), tuple(max(hi) for hi in his), *tensor.shape, folds)

    def with_class(self) -> BeatFormat:
        """Return the format of a beat of these scores with their class in front."""
        return BeatFormat((0, *self.lo), (self.lanes - 1, *self.hi), self.lanes + 1, self.height,
                          self.width)

    @property
    def lanes(self) -> int:
        """Values in one beat."""
        return len(self.lo)

    @property
    def beats(self) -> int:
        """Beats of one image."""
        return self.height * self.width * self.folds

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Amaranth shape of each lane."""
        return tuple(shape_of(lo, hi) for lo, hi in zip(self.lo, self.hi, strict=True))

    @cached_property
    def layout(self) -> data.StructLayout:
        """The lanes as fields ``c0, c1, ...``, the first lowest."""
        return data.StructLayout({f"c{n}": shape for n, shape in enumerate(self.shapes)})

    @property
    def signature(self) -> stream.Signature:
        """Stream of such beats."""
        return stream.Signature(self.layout)

    @property
    def bits(self) -> int:
        """Width of a beat."""
        return sum(shape.width for shape in self.shapes)

    def fields(self) -> list[dict[str, Any]]:
        """Return offset, width and sign of each lane, as ``ports.json`` gives them."""
        fields, offset = [], 0
        for shape in self.shapes:
            fields.append({"offset": offset, "width": shape.width, "signed": shape.signed})
            offset += shape.width
        return fields

    def values(self, payload: data.View[Any]) -> list[Value]:
        """Return the lanes of a payload, each with its own sign."""
        return [payload[f"c{n}"] for n in range(self.lanes)]


def shape_of(lo: int, hi: int) -> Shape:
    """Return the smallest Amaranth shape that holds lo..hi."""
    width, negative = width_of(lo, hi)
    return signed(width) if negative else unsigned(width)


def packed(lo: Sequence[int], hi: Sequence[int]) -> data.StructLayout:
    """Return a layout of values ``c0, c1, ...`` with these ranges, the first lowest."""
    return data.StructLayout(
        {f"c{n}": shape_of(a, b) for n, (a, b) in enumerate(zip(lo, hi, strict=True))}
    )
