"""The one range analysis: which integers each layer's output can take, channel by channel.

Inputs of a layer are taken as independent and every tap as inside the image, so every bound is
reached by some codes in the sources' ranges, and the bounds hold for every image. Ranges of codes
always include 0, the value of the padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hwgen.layers import (
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
    int64,
)
from hwgen.network import Network

LIMIT = 1 << 62               # every value and intermediate stays below, so that int64 is exact


@dataclass(frozen=True, eq=False)
class Range:
    """Smallest and largest integer of each channel, both included.

    Parameters: lo and hi, (channels,) int64.
    """

    lo: Int64Array
    hi: Int64Array

    def shapes(self) -> list[tuple[int, bool]]:
        """Return (bits, signed) of the smallest representation of each channel; 1 bit at least."""
        return [width_of(int(lo), int(hi)) for lo, hi in zip(self.lo, self.hi, strict=True)]


def width_of(lo: int, hi: int) -> tuple[int, bool]:
    """Return (bits, signed) of the smallest representation that holds lo..hi; at least 1 bit."""
    if lo < 0:
        return max((-lo - 1).bit_length(), max(hi, 0).bit_length()) + 1, True
    return max(hi.bit_length(), 1), False


def value_ranges(network: Network) -> Mapping[str, Range]:
    """Return the range of every layer's output, by layer name.

    Raises: HwgenError naming the layer if a value or an exact intermediate could reach 2**62.
    """
    ranges: dict[str, Range] = {}
    for layer in network.layers:
        lo, hi = _range(layer, [ranges[name] for name in layer.inputs], network)
        if network.tensors[layer.name].is_codes:
            lo, hi = np.minimum(lo, 0), np.maximum(hi, 0)
        ranges[layer.name] = Range(int64(lo), int64(hi))
    return MappingProxyType(ranges)


def linear_range(weight: Int64Array, lo: Int64Array,
                 hi: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the exact range of ``weight @ x`` for lo <= x <= hi.

    Parameters: weight, (outputs, inputs); lo and hi, (inputs,). Returns two (outputs,) arrays.
    """
    plus: Int64Array = np.maximum(weight, 0)
    minus: Int64Array = np.minimum(weight, 0)
    return plus @ lo + minus @ hi, plus @ hi + minus @ lo


def _range(layer: Layer, sources: list[Range], network: Network) -> tuple[Int64Array, Int64Array]:
    own = getattr(layer, "own_range", None)  # a layer that an engine alone knows
    if own is not None:
        found: tuple[Int64Array, Int64Array] = own(sources[0].lo, sources[0].hi)
        return found
    match layer:
        case Input():
            count = layer.channels
            return int64([layer.lo] * count), int64([layer.hi] * count)
        case Conv2d():
            return _conv(layer, sources[0])
        case Dense():
            return _linear(layer, layer.weight, layer.bias, sources[0])
        case Requantise():
            ends = [_shifted(layer, bound, layer.multiplier, layer.offset, layer.shift)
                    for bound in (sources[0].lo, sources[0].hi)]
            return np.minimum(*ends), np.maximum(*ends)
        case Activation():
            return _activation(layer, sources[0])
        case AvgPool():
            taps = layer.kernel[0] * layer.kernel[1]
            return sources[0].lo * taps, sources[0].hi * taps
        case Add():
            return _add(layer, sources)
        case Concat():
            return (np.concatenate([s.lo for s in sources]),
                    np.concatenate([s.hi for s in sources]))
        case Flatten():
            pixels = network.tensors[layer.name].channels // sources[0].lo.size
            return np.repeat(sources[0].lo, pixels), np.repeat(sources[0].hi, pixels)
        case ArgMax():
            return np.zeros(1, np.int64), np.full(1, sources[0].lo.size - 1)
        case MaxPool():
            return sources[0].lo, sources[0].hi
    raise TypeError(f"No range rule for {type(layer).__name__}")


def _bounded(layer: Layer, largest: float) -> None:
    if not largest < LIMIT / 2:
        raise layer.error("range", "values below 2**61", f"{float(largest):.3g}")


def _add(layer: Add, sources: list[Range]) -> tuple[Int64Array, Int64Array]:
    ends = [np.stack([source.lo, source.hi]) for source in sources]
    reach = sum(np.abs(end.astype(float)) * 2.0**up
                for end, up in zip(ends, layer.shifts, strict=True))
    _bounded(layer, float(np.max(reach)))
    total = np.zeros_like(ends[0])
    for end, up in zip(ends, layer.shifts, strict=True):
        total += end << up
    return total[0], total[1]


def _linear(layer: Layer, weight: Int64Array, bias: Int64Array,
            x: Range) -> tuple[Int64Array, Int64Array]:
    reach = np.maximum(-x.lo, x.hi).astype(float)
    _bounded(layer, float((np.abs(weight.astype(float)) @ reach + np.abs(bias)).max()))
    lo, hi = linear_range(weight, x.lo, x.hi)
    return lo + bias, hi + bias


def _conv(layer: Conv2d, x: Range) -> tuple[Int64Array, Int64Array]:
    outputs, inputs = layer.weight.shape[:2]
    per_group = outputs // layer.groups
    los, his = [], []
    for group in range(layer.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        columns = slice(group * inputs, (group + 1) * inputs)
        taps = layer.weight.shape[2] * layer.weight.shape[3]
        part = Range(np.repeat(x.lo[columns], taps), np.repeat(x.hi[columns], taps))
        lo, hi = _linear(layer, layer.weight[rows].reshape(per_group, -1), layer.bias[rows], part)
        los.append(lo)
        his.append(hi)
    return np.concatenate(los), np.concatenate(his)


def _shifted(layer: Requantise | Activation, x: Int64Array, factor: Int64Array, offset: Int64Array,
             shift: Int64Array) -> Int64Array:
    """Return clip((x * factor + offset + half) >> shift) in int64, after bounding the product."""
    _bounded(layer, float((np.abs(x.astype(float) * factor) + np.abs(offset)).max()) + 2.0**48)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    y: Int64Array = np.clip((x * factor + offset + half) >> shift, layer.lo, layer.hi)
    return y


def _activation(layer: Activation, x: Range) -> tuple[Int64Array, Int64Array]:
    """Each segment is monotone, so its extremes lie at its ends, cut to the source's range."""
    starts = np.concatenate([[-LIMIT], layer.breakpoints])
    ends = np.concatenate([layer.breakpoints - 1, [LIMIT]])
    lo, hi = np.full(x.lo.size, layer.hi), np.full(x.lo.size, layer.lo)
    shift = np.full(1, layer.shift)
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        first, last = np.maximum(x.lo, start), np.minimum(x.hi, end)
        used = first <= last
        for bound in (first[used], last[used]):
            if bound.size:
                y = _shifted(layer, bound, layer.slopes[k], layer.offsets[k], shift)
                lo[used], hi[used] = np.minimum(lo[used], y), np.maximum(hi[used], y)
    return lo, hi
