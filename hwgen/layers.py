"""The layers of a network of integers: what each one means, exactly, and which shapes it takes.

Every layer is a frozen dataclass of ints, tuples and read-only ``int64`` arrays. Its docstring is
its definition; the golden model and the generators each write the arithmetic themselves. ``infer``
checks the layer against the tensors it reads and returns the tensor it makes; it never computes a
code.

Symbols: ``x`` an input tensor (N, C, H, W), ``y`` the output, ``half(s)`` = 2**(s-1), or 0 if
s = 0; ``>>`` is the arithmetic shift (towards minus infinity), so ``(v + half(s)) >> s`` rounds to
nearest, ties towards plus infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.layer_base import (
    MAX_ELEMENTS,
    MAX_FRAC,
    MAX_SHIFT,
    MAX_SIDE,
    MAX_WEIGHT,
    NAME,
    Int64Array,
    Layer,
    Tensor,
    int64,
    shown,
    signed_digits,
)

__all__ = [
    "KINDS", "MAX_ELEMENTS", "MAX_FRAC", "MAX_SHIFT", "MAX_SIDE", "MAX_WEIGHT", "NAME",
    "Activation", "Add", "ArgMax", "AvgPool", "Concat", "Conv2d", "Dense", "Flatten", "Input",
    "Int64Array", "Layer", "MaxPool", "Requantise", "Tensor", "int64", "shown", "signed_digits",
]


@dataclass(frozen=True, eq=False)
class Input(Layer):
    """The image as it enters: codes, usually raw pixels 0..255."""

    channels: int
    height: int
    width: int
    lo: int
    hi: int
    frac: int

    def infer(self, *tensors: Tensor) -> Tensor:
        sides = (self.channels, self.height, self.width)
        if not all(1 <= side <= MAX_SIDE for side in sides) or np.prod(sides) > MAX_ELEMENTS:
            raise self.error("channels, height, width", f"sides from 1 to {MAX_SIDE}", sides)
        self._code_range(self.lo, self.hi, self.frac)
        return Tensor(*sides, int64([self.frac] * self.channels), self.lo, self.hi)


@dataclass(frozen=True, eq=False)
class Conv2d(Layer):
    """Exact convolution (correlation): ``y[o] = bias[o] + sum(weight[o, i, r, c] * x[g(o, i)])``.

    weight is (co, ci / groups, kh, kw); output channel o reads the input channels of its group
    ``o // (co / groups)``. Pixel (r, c) of the window of output pixel (oy, ox) is input row
    ``oy * stride[0] - top + r * dilation[0]`` and column ``ox * stride[1] - left + c *
    dilation[1]``; places outside the image are 0. padding is (top, left, bottom, right). Size:
    ``floor((H + top + bottom - dilation * (kh - 1) - 1) / stride) + 1``. y is an accumulator in
    units of ``2**-(frac of x + frac_w[o])``; so is bias.
    """

    source: str
    weight: Int64Array
    bias: Int64Array
    frac_w: Int64Array
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *tensors: Tensor) -> Tensor:
        x = self._codes(tensors[0])
        if self.weight.ndim != 4 or 0 in self.weight.shape:
            raise self.error("weight", "a shape (co, ci, kh, kw)", self.weight.shape)
        co, ci, kh, kw = self.weight.shape
        if self.groups < 1 or co % self.groups or x.channels % self.groups:
            raise self.error("groups", f"a divisor of {x.channels} inputs and {co} outputs",
                             self.groups)
        self._array("weight", (co, x.channels // self.groups, kh, kw))
        self._array("bias", (co,), limit=1 << 50)
        self._array("frac_w", (co,), limit=MAX_FRAC)
        height, width = self._window(x, (kh, kw), self.stride, self.padding, self.dilation)
        return Tensor(co, height, width, int64(x.frac[0] + self.frac_w))


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """Exact matrix product over a flat tensor: ``y[o] = bias[o] + sum(weight[o, i] * x[i])``.

    weight is (outputs, inputs); x is (inputs, 1, 1), usually from Flatten. Units as in Conv2d.
    """

    source: str
    weight: Int64Array
    bias: Int64Array
    frac_w: Int64Array

    def infer(self, *tensors: Tensor) -> Tensor:
        x = self._codes(tensors[0])
        if (x.height, x.width) != (1, 1):
            raise self.error("source", "a flat tensor (put a Flatten in between)",
                             f"{x.height}x{x.width} pixels")
        if self.weight.ndim != 2 or 0 in self.weight.shape:
            raise self.error("weight", "a shape (outputs, inputs)", self.weight.shape)
        outputs = self.weight.shape[0]
        self._array("weight", (outputs, x.channels))
        self._array("bias", (outputs,), limit=1 << 50)
        self._array("frac_w", (outputs,), limit=MAX_FRAC)
        return Tensor(outputs, 1, 1, int64(x.frac[0] + self.frac_w))


@dataclass(frozen=True, eq=False)
class Requantise(Layer):
    """Scale, round, shift and clip to codes, with parameters per channel.

    ``y = clip((x * multiplier[c] + offset[c] + half(shift[c])) >> shift[c], lo, hi)``; the product
    is exact, multiplier has at most three signed digits (usually one), shift is 0..48. ReLU is
    ``lo = 0``.
    """

    source: str
    multiplier: Int64Array
    offset: Int64Array
    shift: Int64Array
    lo: int
    hi: int
    frac: int

    def infer(self, *tensors: Tensor) -> Tensor:
        x = tensors[0]
        self._array("multiplier", (x.channels,))
        self._array("offset", (x.channels,), limit=1 << 56)
        self._array("shift", (x.channels,), limit=MAX_SHIFT)
        worst = max(self.multiplier.tolist(), key=signed_digits)
        if signed_digits(worst) > 3:
            raise self.error("multiplier", "at most 3 signed digits", f"{worst}")
        if self.shift.min() < 0:
            raise self.error("shift", f"a number from 0 to {MAX_SHIFT}", self.shift.min())
        self._code_range(self.lo, self.hi, self.frac)
        return Tensor(*x.shape, int64([self.frac] * x.channels), self.lo, self.hi)


@dataclass(frozen=True, eq=False)
class Activation(Layer):
    """A piecewise-linear function, the same for every channel.

    K segments; ``k`` = number of ``breakpoints`` (K - 1 of them, strictly rising) that are <= x;
    ``y = clip((x * slopes[k] + offsets[k] + half(shift)) >> shift, lo, hi)``. Slopes have at most
    two signed digits. x may be codes or accumulators, but with one frac for all channels.
    """

    source: str
    breakpoints: Int64Array
    slopes: Int64Array
    offsets: Int64Array
    shift: int
    lo: int
    hi: int
    frac: int

    def infer(self, *tensors: Tensor) -> Tensor:
        x = tensors[0]
        self._one_frac(x)
        segments = self.slopes.size
        if not 1 <= segments <= 256:
            raise self.error("slopes", "from 1 to 256 segments", segments)
        self._array("slopes", (segments,))
        self._array("offsets", (segments,), limit=1 << 56)
        self._array("breakpoints", (segments - 1,), limit=1 << 56)
        if np.any(np.diff(self.breakpoints) <= 0):
            raise self.error("breakpoints", "strictly rising numbers", self.breakpoints.tolist())
        worst = max(self.slopes.tolist(), key=signed_digits)
        if signed_digits(worst) > 2:
            raise self.error("slopes", "at most 2 signed digits", f"{worst}")
        if not 0 <= self.shift <= MAX_SHIFT:
            raise self.error("shift", f"a number from 0 to {MAX_SHIFT}", self.shift)
        self._code_range(self.lo, self.hi, self.frac)
        return Tensor(*x.shape, int64([self.frac] * x.channels), self.lo, self.hi)


@dataclass(frozen=True, eq=False)
class MaxPool(Layer):
    """Largest code of each window; places in the padding are ignored. Geometry as in Conv2d.

    Padding is smaller than the kernel, so every window holds a pixel of the image.
    """

    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *tensors: Tensor) -> Tensor:
        x = self._codes(tensors[0])
        height, width = self._window(x, self.kernel, self.stride, self.padding)
        return Tensor(x.channels, height, width, x.frac, x.lo, x.hi)


@dataclass(frozen=True, eq=False)
class AvgPool(Layer):
    """Exact **sum** of each window, padded zeros included: an accumulator with the frac of x.

    The division is part of the Requantise that follows (1/49 by signed digits). Geometry as in
    Conv2d.
    """

    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *tensors: Tensor) -> Tensor:
        x = self._codes(tensors[0])
        height, width = self._window(x, self.kernel, self.stride, self.padding)
        return Tensor(x.channels, height, width, x.frac)


@dataclass(frozen=True, eq=False)
class Add(Layer):
    """Exact sum of tensors of one shape: ``y = sum(x_i << shifts[i])``, an accumulator.

    ``frac of x_i + shifts[i]`` must be the same for all i, channel by channel: it is the frac of y.
    """

    sources: tuple[str, ...]
    shifts: tuple[int, ...]

    def infer(self, *tensors: Tensor) -> Tensor:
        if len(tensors) < 2 or len(self.shifts) != len(tensors):
            raise self.error("sources, shifts", "two or more, one shift each",
                             f"{len(tensors)} sources, {len(self.shifts)} shifts")
        if not all(0 <= shift <= 31 for shift in self.shifts):
            raise self.error("shifts", "numbers from 0 to 31", self.shifts)
        frac = tensors[0].frac + self.shifts[0]
        for tensor, shift in zip(tensors, self.shifts, strict=True):
            if tensor.shape != tensors[0].shape:
                raise self.error("sources", f"one shape, {tensors[0].shape}", tensor.shape)
            if np.any(tensor.frac + shift != frac):
                raise self.error("shifts", "shifts that make all fracs equal",
                                 f"{tensor.frac[0]} + {shift} beside {frac[0]}")
        return Tensor(*tensors[0].shape, int64(frac))


@dataclass(frozen=True, eq=False)
class Concat(Layer):
    """Codes of several tensors side by side along the channels, in the order of ``sources``.

    All have the same height, width and frac; the range is the union of theirs.
    """

    sources: tuple[str, ...]

    def infer(self, *tensors: Tensor) -> Tensor:
        if len(tensors) < 2:
            raise self.error("sources", "two or more", len(tensors))
        first = self._codes(tensors[0])
        for tensor in tensors:
            self._codes(tensor)
            if tensor.shape[1:] != first.shape[1:]:
                raise self.error("sources", f"{first.height}x{first.width} pixels",
                                 f"{tensor.height}x{tensor.width}")
            if tensor.frac[0] != first.frac[0]:
                raise self.error("sources", f"frac {first.frac[0]} (put a Requantise in between)",
                                 tensor.frac[0])
        lo, hi = min(t.lo or 0 for t in tensors), max(t.hi or 0 for t in tensors)
        self._code_range(lo, hi, int(first.frac[0]))
        channels = sum(t.channels for t in tensors)
        self._few_channels(channels)
        return Tensor(channels, *first.shape[1:], int64([first.frac[0]] * channels), lo, hi)


@dataclass(frozen=True, eq=False)
class Flatten(Layer):
    """Codes (C, H, W) as (C * H * W, 1, 1), in C, H, W order: element ``(c * H + h) * W + w``."""

    source: str

    def infer(self, *tensors: Tensor) -> Tensor:
        x = self._codes(tensors[0])
        self._few_channels(x.size)
        return Tensor(x.size, 1, 1, int64([x.frac[0]] * x.size), x.lo, x.hi)


@dataclass(frozen=True, eq=False)
class ArgMax(Layer):
    """Index of the largest channel of each pixel; ties: the lowest. One channel, frac 0."""

    source: str

    def infer(self, *tensors: Tensor) -> Tensor:
        x = tensors[0]
        self._one_frac(x)
        return Tensor(1, x.height, x.width, int64([0]), 0, max(x.channels - 1, 0))


KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (
    Input, Conv2d, Dense, Requantise, Activation, MaxPool, AvgPool, Add, Concat, Flatten, ArgMax)}
