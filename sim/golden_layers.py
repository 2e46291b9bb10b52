"""The golden model, one layer at a time: the definitions of hwgen.layers in numpy.

Sums of products are BLAS matrix products in floating point where that is exact, and plain int64
otherwise. Every product and every partial sum, in whatever order BLAS adds them, is an integer of
magnitude at most ``sum |w| max |x|``; so it is exact in float32 up to 2**24, in float64 up to 2**53
and in int64 below 2**63. What could pass 2**63 is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.layers import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Int64Array,
    Layer,
    MaxPool,
    Requantise,
)

# Magnitudes below which every integer, hence every partial sum, is represented exactly.
FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
INT64_EXACT = 1 << 63

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]           # top, left, bottom, right

NO_PADDING = (0, 0, 0, 0)


def layer_output(layer: Layer, *inputs: Int64Array) -> Int64Array:
    """Compute one layer (not an Input) from the tensors it reads.

    Parameters: inputs, (N, C, H, W) int64, in the order of ``layer.inputs``.
    Returns: (N, C', H', W') int64.
    Raises: TypeError if an input is not int64; HwgenError if a value could pass 2**63.
    """
    x = inputs[0]
    match layer:
        case Conv2d():
            return conv2d(x, layer.weight, layer.bias, stride=layer.stride, padding=layer.padding,
                          dilation=layer.dilation, groups=layer.groups)
        case Dense():
            return dense(x, layer.weight, layer.bias)
        case Requantise():
            return requantise(x, multiplier=layer.multiplier, offset=layer.offset,
                              shift=layer.shift, lo=layer.lo, hi=layer.hi)
        case Activation():
            return activation(x, breakpoints=layer.breakpoints, slopes=layer.slopes,
                              offsets=layer.offsets, shift=layer.shift, lo=layer.lo, hi=layer.hi)
        case MaxPool():
            return max_pool(x, kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
        case AvgPool():
            return avg_pool(x, kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
        case Add():
            return add(inputs, layer.shifts)
        case Concat():
            return concat(inputs)
        case Flatten():
            return flatten(x)
        case ArgMax():
            return argmax(x)
    raise TypeError(f"A layer that computes needed, not {type(layer).__name__}")


def conv2d(x: Int64Array, weight: Int64Array, bias: Int64Array, *, stride: Pair = (1, 1),
           padding: Sides = NO_PADDING, dilation: Pair = (1, 1), groups: int = 1) -> Int64Array:
    """Correlate exactly: ``y[o] = bias[o] + sum(weight[o] * window of its group)``; padding is 0.

    Parameters: x, (N, ci, H, W) int64; weight, (co, ci / groups, kh, kw); bias, (co,).
    Returns: (N, co, H', W') int64.
    Raises: TypeError if x is not int64; HwgenError if a sum could pass 2**63.
    """
    _int64_only(x)
    kind = sum_type(weight, bias, x)
    co, _, kh, kw = weight.shape
    windows = _windows(x.astype(kind), (kh, kw), stride, padding, dilation, 0)
    count, ci, height, width = windows.shape[:4]
    # (N, groups, taps of a group, pixels)
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(
        count, groups, ci // groups * kh * kw, height * width)
    kernels = weight.astype(kind).reshape(groups, co // groups, -1)
    sums: Int64Array = np.matmul(kernels, columns).astype(np.int64)
    return sums.reshape(count, co, height, width) + bias[:, None, None]


def dense(x: Int64Array, weight: Int64Array, bias: Int64Array) -> Int64Array:
    """Multiply exactly: ``y[o] = bias[o] + sum(weight[o, i] * x[i])``.

    Parameters: x, (N, inputs, 1, 1) int64; weight, (outputs, inputs); bias, (outputs,).
    Returns: (N, outputs, 1, 1) int64.
    Raises: TypeError if x is not int64; HwgenError if a sum could pass 2**63.
    """
    _int64_only(x)
    kind = sum_type(weight, bias, x)
    sums = (x[:, :, 0, 0].astype(kind) @ weight.T.astype(kind)).astype(np.int64)
    return np.asarray(sums + bias)[:, :, None, None]


def requantise(acc: Int64Array, *, multiplier: Int64Array, offset: Int64Array, shift: Int64Array,
               lo: int, hi: int) -> Int64Array:
    """Scale, round, shift and clip accumulators to codes.

    ``y = clip((acc * multiplier[c] + offset[c] + half(shift[c])) >> shift[c], lo, hi)``: ties
    towards plus infinity.

    Parameters: acc, (N, C, H, W) int64; multiplier, offset and shift, (C,) int64.
    Returns: (N, C, H, W) int64 in [lo, hi].
    Raises: TypeError if acc is not int64; HwgenError if a product could pass 2**63.
    """
    _int64_only(acc)
    addend = [b + (1 << s >> 1) for b, s in zip(offset.tolist(), shift.tolist(), strict=True)]
    for channel, (m, b) in enumerate(zip(multiplier.tolist(), addend, strict=True)):
        _int64_holds(_reach(acc[:, channel]) * abs(m) + abs(b))
    y = acc * multiplier[:, None, None]
    y += np.array(addend, np.int64)[:, None, None]
    y >>= shift[:, None, None]
    return np.clip(y, lo, hi, out=y)


def activation(x: Int64Array, *, breakpoints: Int64Array, slopes: Int64Array, offsets: Int64Array,
               shift: int, lo: int, hi: int) -> Int64Array:
    """Evaluate a piecewise-linear table: k = the number of breakpoints <= x, and
    ``y = clip((x * slopes[k] + offsets[k] + half(shift)) >> shift, lo, hi)``.

    Parameters: x, (N, C, H, W) int64; breakpoints, (K - 1,); slopes and offsets, (K,) int64.
    Returns: (N, C, H, W) int64 in [lo, hi].
    Raises: TypeError if x is not int64; HwgenError if a product could pass 2**63.
    """
    _int64_only(x)
    half = 1 << shift >> 1
    _int64_holds(_reach(x) * _reach(slopes) + _reach(offsets) + half)
    segment = np.searchsorted(breakpoints, x, side="right")
    y = x * slopes[segment]
    y += offsets[segment]
    y += half
    y >>= shift
    return np.clip(y, lo, hi, out=y)


def max_pool(x: Int64Array, *, kernel: Pair, stride: Pair,
             padding: Sides = NO_PADDING) -> Int64Array:
    """Return the largest code of each window, (N, C, H', W') int64; padded places never win."""
    _int64_only(x)
    below_all = int(np.iinfo(np.int64).min)
    windows = _windows(x, kernel, stride, padding, (1, 1), below_all)
    y: Int64Array = windows[..., 0, 0].copy()
    for row, column in np.ndindex(*kernel):
        np.maximum(y, windows[..., row, column], out=y)
    return y


def avg_pool(x: Int64Array, *, kernel: Pair, stride: Pair,
             padding: Sides = NO_PADDING) -> Int64Array:
    """Return the sum of each window, padded zeros included, (N, C, H', W') int64.

    Raises: TypeError if x is not int64; HwgenError if a sum could pass 2**63.
    """
    _int64_only(x)
    _int64_holds(_reach(x) * kernel[0] * kernel[1])
    windows = _windows(x, kernel, stride, padding, (1, 1), 0)
    y = np.zeros(windows.shape[:4], np.int64)
    for row, column in np.ndindex(*kernel):
        y += windows[..., row, column]
    return y


def add(tensors: Sequence[Int64Array], shifts: Sequence[int]) -> Int64Array:
    """Return ``sum(x_i << shifts[i])``, int64, of tensors of one shape.

    Raises: TypeError if a tensor is not int64; HwgenError if a sum could pass 2**63.
    """
    for x in tensors:
        _int64_only(x)
    _int64_holds(sum(_reach(x) << up for x, up in zip(tensors, shifts, strict=True)))
    y = np.zeros(tensors[0].shape, np.int64)
    for x, up in zip(tensors, shifts, strict=True):
        y += x << up
    return y


def concat(tensors: Sequence[Int64Array]) -> Int64Array:
    """Return tensors side by side along the channels."""
    for x in tensors:
        _int64_only(x)
    return np.concatenate(list(tensors), axis=1)


def flatten(x: Int64Array) -> Int64Array:
    """Return (N, C, H, W) as (N, C * H * W, 1, 1): element ``(c * H + h) * W + w``."""
    _int64_only(x)
    _, channels, height, width = x.shape
    return x.reshape(-1, channels * height * width, 1, 1)


def argmax(x: Int64Array) -> Int64Array:
    """Return the index of each pixel's largest channel, (N, 1, H, W) int64; ties: the lowest."""
    _int64_only(x)
    largest: Int64Array = np.argmax(x, axis=1, keepdims=True).astype(np.int64)
    return largest


def sum_type(weight: Int64Array, bias: Int64Array, x: Int64Array) -> type[np.generic]:
    """Return the fastest of float32, float64, int64 in which ``weight`` applied to x is exact.

    Parameters: weight, (outputs, ...); bias, (outputs,); x, any shape; all int64.
    Raises: HwgenError if none is: a sum, the bias included, could reach 2**63.
    """
    _int64_holds(_reach(weight) * (weight.size // len(weight)))     # so that the next sum is exact
    rows = np.abs(weight).reshape(len(weight), -1).sum(axis=1)
    largest = _reach(rows) * _reach(x)
    _int64_holds(largest + _reach(bias))
    # Each operand must be exact too, even where the other one is all zeros.
    largest = max(largest, _reach(x), _reach(weight))
    if largest < FLOAT32_EXACT:
        return np.float32
    return np.float64 if largest < FLOAT64_EXACT else np.int64


def _reach(x: Int64Array) -> int:
    """Largest magnitude, as a Python int."""
    return max(-int(x.min(initial=0)), int(x.max(initial=0)))


def _int64_only(x: Int64Array) -> None:
    if x.dtype != np.int64:
        raise TypeError(f"An int64 array is needed, not {x.dtype}")


def _int64_holds(largest: int) -> None:
    if largest >= INT64_EXACT:
        raise HwgenError(f"Values below 2**63 needed, these could reach {float(largest):.3g}")


def _windows(x: Array, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair,
             fill: int) -> Array:
    """Return a view (N, C, H', W', kh, kw) of the windows of an image padded with ``fill``."""
    top, left, bottom, right = padding
    if any(padding):
        count, channels, height, width = x.shape
        padded = np.full((count, channels, top + height + bottom, left + width + right), fill,
                         x.dtype)
        padded[:, :, top:top + height, left:left + width] = x
        x = padded
    span = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, span, axis=(2, 3))
    return windows[:, :, ::stride[0], ::stride[1], ::dilation[0], ::dilation[1]]
