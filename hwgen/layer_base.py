"""What all layers of a network of integers have in common: limits, tensors, fields and checks.

The kinds of layers, and what each one means, are in hwgen.layers.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

Int64Array = npt.NDArray[np.int64]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
MAX_CODE_BITS = 16
MAX_SHIFT = 48
MAX_FRAC = 64
MAX_WEIGHT = 2**31
MAX_SIDE = 1 << 16            # channels, rows or columns of one tensor
MAX_ELEMENTS = 1 << 28        # of one tensor or one weight array

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80


def shown(value: object) -> str:
    """Return the repr of a value for a message: one line, short however large the value is."""
    return " ".join(_SHORT.repr(value).split())


def signed_digits(value: int) -> int:
    """Return the number of nonzero digits of an integer in canonical signed digit form."""
    value = abs(int(value))
    return ((3 * value) ^ value).bit_count()


def int64(values: npt.ArrayLike) -> Int64Array:
    """Return a read-only, C-contiguous int64 copy of integers; floats are refused, not rounded.

    Raises: TypeError if they are no integers, ValueError if one is too large or rows differ.
    """
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"Integers are needed, not {array.dtype}")
    if array.size and int(array.max()) >= 1 << 63:
        raise ValueError(f"Integers below 2**63 are needed, not {array.max()}")
    array = np.array(array, dtype=np.int64, order="C")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Tensor:
    """The format of one tensor between layers; no values.

    A tensor is either **codes** (at most 16 bits, one ``frac`` for all channels, ``lo <= 0 <=
    hi``), or exact **accumulators** (any width, one ``frac`` a channel; ``lo`` and ``hi`` are None,
    see ``hwgen.ranges``). The real value of an element is ``integer * 2**-frac[channel]``.
    """

    channels: int
    height: int
    width: int
    frac: Int64Array            # (channels,)
    lo: int | None = None
    hi: int | None = None

    @property
    def is_codes(self) -> bool:
        """True for codes, False for accumulators."""
        return self.lo is not None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (self.channels, self.height, self.width)

    @property
    def size(self) -> int:
        """Number of elements of one image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, eq=False)
class Layer:
    """What all layers have: a name (a Verilog identifier without double underscores), sources."""

    name: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kind = str(field.type)
            if kind == "str":
                value = self._text(field.name, value)
            elif kind == "Int64Array":
                value = self._integers(field.name, value)
            elif kind == "int":
                value = self._whole(field.name, value)
            elif kind.startswith("tuple"):
                if isinstance(value, str):
                    raise self.error(field.name, "a sequence", shown(value))
                try:
                    value = tuple(value)
                except TypeError as error:
                    raise self.error(field.name, "a sequence", shown(value)) from error
                check = self._whole if kind.startswith("tuple[int") else self._text
                value = tuple(check(field.name, part) for part in value)
            object.__setattr__(self, field.name, value)

    def _integers(self, field: str, value: npt.ArrayLike) -> Int64Array:
        try:
            return int64(value)
        except TypeError as error:
            raise self.error(field, "integers", np.asarray(value).dtype) from error
        except ValueError as error:
            raise self.error(field, "an array of 64-bit integers", shown(value)) from error

    def _text(self, field: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.error(field, "a name", shown(value))
        return value

    def _whole(self, field: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise self.error(field, "an integer", shown(value))
        return int(value)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the layers this one reads."""
        source = getattr(self, "source", None)
        return getattr(self, "sources", ()) if source is None else (source,)

    def error(self, field: str, needed: str, came: object) -> HwgenError:
        """Return the error that names this layer, the field, what was needed and what came."""
        text = " ".join(str(came).split())
        text = text if len(text) <= 160 else f"{text[:157]}..."
        return HwgenError(f"Layer {shown(self.name)}, {field}: {needed} needed, not {text}")

    def infer(self, *tensors: Tensor) -> Tensor:
        """Check this layer against the tensors it reads; return the tensor it makes."""
        raise NotImplementedError

    # --- checks that several layers share ---------------------------------------------------------

    def _codes(self, tensor: Tensor) -> Tensor:
        if not tensor.is_codes:
            raise self.error("source", "codes (put a Requantise in between)", "accumulators")
        return tensor

    def _array(self, field: str, shape: tuple[int, ...], *, limit: int = MAX_WEIGHT) -> None:
        array: Int64Array = getattr(self, field)
        if array.shape != shape:
            raise self.error(field, f"shape {shape}", array.shape)
        if array.size and max(-int(array.min()), int(array.max())) > limit:
            raise self.error(field, f"values within +-{limit}", f"{array.min()}..{array.max()}")

    def _code_range(self, lo: int, hi: int, frac: int) -> None:
        if not lo <= 0 <= hi:
            raise self.error("lo, hi", "lo <= 0 <= hi", f"{shown(lo)}, {shown(hi)}")
        half = 1 << MAX_CODE_BITS - 1
        if lo < -half or hi >= (half if lo < 0 else 2 * half):
            raise self.error("lo, hi", f"a range of at most {MAX_CODE_BITS} bits",
                             f"{shown(lo)}..{shown(hi)}")
        if abs(frac) > MAX_FRAC:
            raise self.error("frac", f"a number from -{MAX_FRAC} to {MAX_FRAC}", frac)

    def _window(self, tensor: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...],
                padding: tuple[int, ...],
                dilation: tuple[int, ...] = (1, 1)) -> tuple[int, int]:
        """Return the output's (height, width), after checking the numbers of a window."""
        for field, value, count, least in (
                ("kernel", kernel, 2, 1), ("stride", stride, 2, 1), ("padding", padding, 4, 0),
                ("dilation", dilation, 2, 1)):
            if len(value) != count or min(value) < least or max(value) > MAX_SIDE:
                raise self.error(field, f"{count} numbers from {least} to {MAX_SIDE}", value)
        top, left, bottom, right = padding
        height, width = (
            (side + pad - dil * (k - 1) - 1) // step + 1
            for side, pad, dil, k, step in zip(tensor.shape[1:], (top + bottom, left + right),
                                               dilation, kernel, stride, strict=True))
        if min(height, width) < 1:
            raise self.error("kernel", f"a window that fits into the padded {tensor.height}x"
                             f"{tensor.width} image", f"{kernel[0]}x{kernel[1]}")
        for k, dil, pads in zip(kernel, dilation, ((top, bottom), (left, right)), strict=True):
            if max(pads) > dil * (k - 1):
                raise self.error("padding", f"at most the window's reach of {dil * (k - 1)}",
                                 max(pads))
        return height, width

    def _one_frac(self, tensor: Tensor) -> int:
        if np.any(tensor.frac != tensor.frac[0]):
            raise self.error("source", "one frac for all channels (put a Requantise in between)",
                             "several")
        return int(tensor.frac[0])

    def _few_channels(self, channels: int) -> None:
        if channels > MAX_SIDE:
            raise self.error("sources", f"at most {MAX_SIDE} channels together", channels)
