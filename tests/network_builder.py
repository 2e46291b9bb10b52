"""Builds a random network layer by layer for tests, and keeps its codes alive.

The values of a few images go along, so that shifts, offsets and biases fit what arrives: the codes
of a layer then vary, and a wrong one shows at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hwgen.network import (
    Activation,
    ArgMax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    Requantise,
    Tensor,
    int64,
    signed_digits,
)
from hwgen.sim import golden

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]

RANGES = [(0, 255), (0, 15), (-8, 7), (-128, 127), (0, 100)]
INPUT_RANGES = [(0, 255), (-128, 127), (-7, 8), (-132, 123), (0, 16)]
IMAGES = 24


class Builder:
    """Appends layers; keeps the tensor of each, and its values for ``IMAGES`` images."""

    def __init__(self, seed: int, scale: int = 1) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([1, seed])
        self.scale = scale
        self.layers: list[Layer] = []
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, Int64Array] = {}

    # --- choices --------------------------------------------------------------------------------

    def number(self, lo: int, hi: int) -> int:
        """Return a number from lo to hi, both included."""
        return int(self.rng.integers(lo, hi, endpoint=True))

    def side(self, lo: int = 3, hi: int = 8) -> int:
        """Return a side of an image."""
        return self.number(lo * self.scale, hi * self.scale)

    def digits(self, count: int, digits: int, top: int) -> Int64Array:
        """Return integers of at most ``digits`` signed powers of two up to 2**top."""
        powers = 2 ** self.rng.integers(0, top, (count, digits), endpoint=True)
        signs = self.rng.choice([-1, 0, 1], (count, digits), p=[0.4, 0.2, 0.4])
        values: Int64Array = (powers * signs).sum(axis=1)
        return values

    def weights(self, shape: tuple[int, ...], kind: str) -> Int64Array:
        """Return weights: any, dyadic, sparse, ternary, zero, or lowest (the most negative)."""
        count = math.prod(shape)
        lowest = -(1 << self.number(2, 7))
        kinds: dict[str, Callable[[], Int64Array]] = {
            "any": lambda: self.rng.integers(-31, 31, count, endpoint=True),
            "dyadic": lambda: self.digits(count, 2, 5),
            "sparse": lambda: self.digits(count, 2, 6) * (self.rng.random(count) < 0.4),
            "ternary": lambda: self.rng.integers(-1, 1, count, endpoint=True),
            "zero": lambda: np.zeros(count, np.int64),
            "lowest": lambda: np.where(self.rng.random(count) < 0.6, lowest, -lowest - 1),
        }
        return np.asarray(kinds[kind](), np.int64).reshape(shape)

    # --- layers ---------------------------------------------------------------------------------

    def put(self, kind: Callable[..., Layer], source: str | tuple[str, ...],
            *fields: object) -> str:
        """Append a layer, named by its kind and place; return its name."""
        stem = getattr(kind, "__name__", "layer").lower()
        return self.append(kind(f"{stem}{len(self.layers)}", source, *fields))

    def append(self, layer: Layer) -> str:
        """Append a layer; return its name."""
        tensor = layer.infer(*(self.tensors[name] for name in layer.inputs))
        self.layers.append(layer)
        self.tensors[layer.name] = tensor
        if not isinstance(layer, Input):
            sources = (self.values[name] for name in layer.inputs)
            self.values[layer.name] = golden.layer_output(layer, *sources)
        return layer.name

    def input(self, channels: int, height: int, width: int, *, lo: int | None = None, hi: int = 0,
              frac: int | None = None) -> str:
        """Append the Input, of the range given or a usual one."""
        if lo is None:
            lo, hi = INPUT_RANGES[self.number(0, len(INPUT_RANGES) - 1)]
        frac = self.number(-1, 8) if frac is None else frac
        layer = Input("image", channels, height, width, lo, hi, frac)
        self.values["image"] = images_of(layer, IMAGES, self.seed)
        return self.append(layer)

    def conv(self, source: str, co: int, kernel: Pair, *, stride: Pair = (1, 1),
             padding: Sides = (0, 0, 0, 0), dilation: Pair = (1, 1), groups: int = 1,
             weights: str | Int64Array = "any", frac_w: int | None = None) -> str:
        """Append a Conv2d; ``frac_w`` one for all, or any by default."""
        if isinstance(weights, str):
            channels = self.tensors[source].channels // groups
            weights = self.weights((co, channels, *kernel), weights)
        x = self.values[source]
        sums = golden.conv2d(x, weights, int64([0] * co), stride=stride, padding=padding,
                             dilation=dilation, groups=groups)
        return self.put(Conv2d, source, weights, self._bias(sums), self._frac_w(co, frac_w),
                        stride, padding, dilation, groups)

    def dense(self, source: str, outputs: int, *, weights: str = "any",
              frac_w: int | None = None) -> str:
        """Append a Dense; ``frac_w`` one for all, or any by default."""
        weight = self.weights((outputs, self.tensors[source].channels), weights)
        sums = golden.dense(self.values[source], weight, int64([0] * outputs))
        return self.put(Dense, source, weight, self._bias(sums), self._frac_w(outputs, frac_w))

    def _bias(self, sums: Int64Array) -> Int64Array:
        """Return biases that bring each channel near 0."""
        spread = np.maximum(1.0, sums.std(axis=(0, 2, 3)))
        bias = spread * self.rng.normal(0, 0.4, spread.size) - sums.mean(axis=(0, 2, 3))
        return int64(np.round(bias).astype(np.int64))

    def _frac_w(self, channels: int, frac_w: int | None) -> Int64Array:
        if frac_w is None:
            return int64(self.rng.integers(-2, 8, channels))
        return int64([frac_w] * channels)

    def requantise(self, source: str, *, lo: int | None = None, hi: int = 0, digits: int = 1,
                   shift: int | None = None, frac: int | None = None) -> str:
        """Append a Requantise to codes lo..hi, by default a usual range, that fits what arrives."""
        if lo is None:
            lo, hi = RANGES[self.number(0, len(RANGES) - 1)]
        x = self.values[source]
        mean, spread = x.mean(axis=(0, 2, 3)), np.maximum(0.5, x.std(axis=(0, 2, 3)))
        multiplier = np.ones(len(mean), np.int64)
        if digits > 1:
            multiplier = self.digits(len(mean), digits, 5)
            assert max(map(signed_digits, multiplier.tolist())) <= 3
        gain = spread * np.maximum(1, np.abs(multiplier)) / max(0.3, (hi - lo) / 4)
        shifts = np.clip(np.round(np.log2(gain) + self.rng.uniform(-1, 1, len(mean))), 0, 40)
        if shift is not None:
            shifts = np.full(len(mean), float(shift))
        # The middle of the codes gets what is a little off the middle of the values.
        middle = mean + spread * self.rng.normal(0, 0.4, len(mean))
        offset = np.round((lo + hi + 1) / 2 * 2**shifts - middle * multiplier)
        frac = self.number(0, 7) if frac is None else frac
        return self.put(Requantise, source, multiplier, offset.astype(np.int64),
                        shifts.astype(np.int64), lo, hi, frac)

    def activation(self, source: str, function: Callable[[float], float] | None = None, *,
                   segments: int = 6, lo: int = -127, hi: int = 127) -> str:
        """Append an Activation: a function in straight pieces, or a table that jumps."""
        reach = max(3, round(2.5 * float(self.values[source].std())))
        starts = np.unique(np.round(np.linspace(-reach, reach, segments + 1)[1:-1]))
        ends = np.concatenate([[-reach], starts, [reach]])
        shift = max(0, round(math.log2(reach / hi)) + 7)
        if function is None:
            steep = self.rng.uniform(-1.5, 1.5, len(ends) - 1) * hi / reach * 2**shift
            middles = (ends[:-1] + ends[1:]) / 2 * steep / 2**shift
            values = np.append(self.rng.uniform(lo / 2, hi / 2, len(middles)), 0)
            values[:-1] -= middles - ends[:-1] * steep / 2**shift
        else:
            values = np.array([hi * function(2.5 * end / reach) for end in ends.tolist()])
            steep = np.diff(values) / np.diff(ends) * 2**shift
        slopes = np.array([two_digits(slope) for slope in steep.tolist()])
        offsets = np.round(values[:-1] * 2**shift - slopes * ends[:-1])
        return self.put(Activation, source, starts.astype(np.int64), slopes,
                        offsets.astype(np.int64), shift, lo, hi, self.number(0, 7))

    def end(self, source: str, outputs: int = 4) -> None:
        """Flatten where needed, a Dense or two, then an ArgMax, codes, or raw scores."""
        tensor = self.tensors[source]
        if (tensor.height, tensor.width) != (1, 1) or self.number(0, 1):
            source = self.put(Flatten, source)
        if self.number(0, 1):
            source = self.requantise(self.dense(source, self.number(3, 6)))
        kind = self.number(0, 2)
        source = self.dense(source, outputs, frac_w=None if kind == 2 else self.number(0, 7))
        if kind == 0:
            self.put(ArgMax, source)
        elif kind == 1:
            self.requantise(source)


def two_digits(value: float) -> int:
    """Return the integer of at most two signed digits that is nearest to a number."""
    powers = [0, *(1 << n for n in range(1 + max(0, math.ceil(abs(value)).bit_length())))]
    signed = [*powers, *(-power for power in powers)]
    return min((a + b for a in signed for b in signed), key=lambda near: abs(near - value))


def images_of(source: Input, count: int, seed: int) -> Int64Array:
    """Return images, (count, C, H, W): first the extreme ones, then random codes.

    Extreme: all lo, all hi, two checkerboards, all 0 but one corner. The random ones take turns in
    any codes, codes near 0, and lo or hi alone.
    """
    shape = (source.channels, source.height, source.width)
    rng = np.random.default_rng([7, seed])
    board = np.indices(shape).sum(axis=0) % 2
    corner = np.zeros(shape, np.int64)
    corner[-1, -1, -1] = source.hi or source.lo
    images = [np.full(shape, source.lo), np.full(shape, source.hi),
              np.where(board, source.lo, source.hi), np.where(board, source.hi, source.lo), corner]
    while len(images) < count:
        kind = len(images) % 3
        lo, hi = (max(source.lo, -3), min(source.hi, 3)) if kind == 1 else (source.lo, source.hi)
        image = rng.integers(lo, hi, shape, endpoint=True)
        images.append(np.where(image > (lo + hi) / 2, hi, lo) if kind == 2 else image)
    return np.stack(images[:count]).astype(np.int64)
