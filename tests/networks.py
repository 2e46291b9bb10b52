"""Seeded random networks and images for tests: small, legal, and as odd as the layers allow.

``random_network(seed)`` builds theme ``seed % len(THEMES)``, so that as many seeds in a row as
there are themes meet every kind of layer and every corner that the themes name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hwgen.network import Add, ArgMax, AvgPool, Concat, Flatten, Int64Array, MaxPool, Network
from tests.network_builder import Builder, images_of

SIZES = {"small": 1, "medium": 2}


def random_network(seed: int, *, size: str = "small") -> Network:
    """Return the network of a seed; images of at most 8x8, or 16x16 if ``size`` is "medium"."""
    build = Builder(seed, SIZES[size])
    theme = THEMES[seed % len(THEMES)]
    theme(build)
    return Network(tuple(build.layers), {"theme": theme.__name__, "seed": seed})


def random_images(network: Network, count: int, seed: int) -> Int64Array:
    """Return ``count`` images for a network, (count, C, H, W), the extreme ones first."""
    return images_of(network.input, count, seed)


def digits_like_network(seed: int) -> Network:
    """Return a network as the 8x8 digits want it: two convolutions of dyadic weights, a Dense."""
    build = Builder(seed)
    x = build.input(1, 8, 8, lo=0, hi=16, frac=4)
    for channels in (6, 12):
        x = build.conv(x, channels, (3, 3), padding=(1, 1, 1, 1), weights="dyadic")
        x = build.put(MaxPool, build.requantise(x, lo=0, hi=255), (2, 2), (2, 2))
    build.put(ArgMax, build.dense(build.put(Flatten, x), 10, weights="dyadic", frac_w=6))
    return Network(tuple(build.layers), {"seed": seed})


def lenet5_shape(seed: int) -> Network:
    """Return LeNet-5 (28x28, 6@5x5, pool, 16@5x5, pool, 256-120-84-10), random dyadic weights."""
    build = Builder(seed)
    x = build.input(1, 28, 28, lo=0, hi=255, frac=8)
    for channels in (6, 16):
        x = build.conv(x, channels, (5, 5), weights="dyadic")
        x = build.put(MaxPool, build.requantise(x, lo=0, hi=255), (2, 2), (2, 2))
    x = build.put(Flatten, x)
    for outputs in (120, 84):
        x = build.requantise(build.dense(x, outputs, weights="dyadic"), lo=0, hi=255)
    build.put(ArgMax, build.dense(x, 10, weights="dyadic", frac_w=6))
    return Network(tuple(build.layers), {"seed": seed})


# --- themes ---------------------------------------------------------------------------------------


def plain(b: Builder) -> None:
    """Convolution, ReLU, pool, convolution, Dense."""
    x = b.input(b.number(1, 3), b.side(6), b.side(6))
    x = b.requantise(b.conv(x, b.number(2, 4), (3, 3)), lo=0, hi=255)
    x = b.put(MaxPool, x, (2, 2), (2, 2))
    b.end(b.requantise(b.conv(x, b.number(2, 4), (2, 2), weights="dyadic")))


def groups(b: Builder) -> None:
    """Groups, depthwise with two outputs a channel, stride 2; a trained subsampling."""
    x = b.input(4, b.side(5), b.side(5))
    x = b.requantise(b.conv(x, 6, (3, 3), padding=(1, 1, 1, 1), groups=2))
    x = b.requantise(b.conv(x, 12, (3, 2), stride=(1, 2), padding=(1, 1, 1, 1), groups=6))
    x = b.requantise(b.conv(x, 12, (2, 2), stride=(2, 2), groups=12, weights="dyadic"))
    b.end(b.requantise(b.conv(x, 3, (1, 1), groups=3)))


def odd_windows(b: Builder) -> None:
    """Odd sizes, unequal strides, dilation, padding that differs on all four sides."""
    x = b.input(2, 2 * b.side(2, 3) + 1, 2 * b.side(2, 3) + 1)
    x = b.requantise(b.conv(x, 3, (3, 2), stride=(2, 1), padding=(2, 0, 1, 1)))
    x = b.requantise(b.conv(x, 3, (2, 3), dilation=(2, 1), padding=(0, 2, 1, 0)))
    x = b.conv(x, 2, (2, 2), stride=(1, 3), dilation=(1, 2), padding=(1, 2, 0, 1), weights="sparse")
    b.end(b.requantise(x))


def one_row(b: Builder) -> None:
    """One channel, one row or one column."""
    sides, kernel, padding = [((1, b.side()), (1, 3), (0, 1, 0, 2)),
                              ((b.side(), 1), (3, 1), (2, 0, 1, 0))][b.number(0, 1)]
    x = b.input(1, *sides)
    x = b.requantise(b.conv(x, 1, kernel, padding=padding))
    b.end(b.requantise(b.conv(x, 1, kernel)))


def one_pixel(b: Builder) -> None:
    """An image of one pixel, and a padded window that is larger than it."""
    x = b.input(b.number(1, 4), 1, 1)
    x = b.requantise(b.conv(x, 3, (1, 1)))
    b.end(b.requantise(b.conv(x, 2, (2, 3), padding=(1, 1, 0, 2))))


def extreme_weights(b: Builder) -> None:
    """Kernels of zeros alone, and of the most negative and most positive weights."""
    x = b.input(2, b.side(4), b.side(4), lo=-128, hi=127)
    weight = b.weights((4, 2, 3, 3), "lowest")
    weight[1] = 0
    weight[2, 0] = 0
    x = b.requantise(b.conv(x, 4, (3, 3), padding=(1, 0, 1, 2), weights=weight), lo=-128, hi=127)
    weight = b.weights((3, 4, 2, 2), "lowest")
    weight[b.number(0, 2)] = 0
    b.end(b.requantise(b.conv(x, 3, (2, 2), weights=weight)))


def narrow_and_wide(b: Builder) -> None:
    """1-bit codes, 0..1 and -1..0, and 16-bit ones, -32768..32767 and 0..65535."""
    lo, hi = [(-32768, 32767), (0, 65535)][b.number(0, 1)]
    x = b.input(2, b.side(), b.side(), lo=-1 if lo else 0, hi=0 if lo else 1, frac=0)
    x = b.requantise(b.conv(x, 3, (3, 3), padding=(1, 1, 1, 1)), lo=lo, hi=hi, digits=2)
    x = b.requantise(b.conv(x, 3, (2, 2), weights="dyadic"), lo=0, hi=1)
    x = b.requantise(b.conv(x, 2, (1, 2), weights="any"), lo=lo, hi=hi, digits=3)
    b.end(b.requantise(x, lo=-1, hi=0))


def multipliers(b: Builder) -> None:
    """Requantise by up to three digits, negative ones, and shift 0; on the raw input too."""
    x = b.input(3, b.side(4), b.side(4))
    x = b.requantise(x, lo=-128, hi=127, digits=3)
    x = b.requantise(b.conv(x, 4, (2, 2)), lo=-100, hi=99, digits=2)
    x = b.requantise(b.conv(x, 4, (1, 1), weights="ternary"), lo=-128, hi=127, shift=0)
    b.end(b.requantise(b.conv(x, 3, (2, 1)), lo=0, hi=255, digits=3))


def activations(b: Builder) -> None:
    """Tables like tanh and sigmoid on accumulators, one that jumps, one of a single piece."""
    x = b.input(2, b.side(4), b.side(4))
    x = b.conv(x, 3, (3, 3), padding=(1, 1, 1, 1), frac_w=b.number(0, 7))
    x = b.conv(b.activation(x, math.tanh), 3, (2, 2), frac_w=b.number(0, 7))
    x = b.activation(x, lambda value: 1 / (1 + math.exp(-2 * value)), segments=8, lo=0, hi=255)
    x = b.activation(x, segments=b.number(2, 5), lo=-100, hi=90)
    b.end(b.activation(b.conv(x, 2, (2, 2), frac_w=3), segments=1))


def pools(b: Builder) -> None:
    """Largest and sum of windows that overlap, leave rows over, and reach into the padding."""
    x = b.input(2, b.side(5), b.side(5), lo=-100, hi=90)
    x = b.put(MaxPool, x, (3, 2), (2, 1), (1, 0, 1, 1))
    x = b.requantise(b.conv(x, 3, (2, 2)), lo=-40, hi=0)
    x = b.put(MaxPool, x, (2, 2), (1, 1), (1, 1, 0, 1))
    x = b.requantise(b.put(AvgPool, x, (3, 3), (1, 2), (1, 2, 2, 0)), digits=2)
    rows, columns = b.tensors[x].shape[1:]
    b.end(b.requantise(b.put(AvgPool, x, (rows, columns), (1, 1)), digits=3))


def residual(b: Builder) -> None:
    """Sums with the block's own input: of codes and codes, then of accumulators and codes."""
    around = (1, 1, 1, 1)
    x = b.input(2, b.side(4), b.side(4))
    x = b.requantise(b.conv(x, 3, (3, 3), padding=around), frac=3, lo=0, hi=63)
    branch = b.requantise(b.conv(x, 3, (3, 3), padding=around), lo=-32, hi=31, frac=5)
    x = b.requantise(b.put(Add, (x, branch), (2, 0)), lo=0, hi=127, frac=4)
    up = b.number(0, 5)
    branch = b.conv(x, 3, (3, 3), padding=around, weights="dyadic", frac_w=up)
    b.end(b.requantise(b.put(Add, (branch, x), (0, up))))


def projection(b: Builder) -> None:
    """A residual block of stride 2; its other way a 1x1 convolution, or one of zeros and ones."""
    x = b.input(2, b.side(4), b.side(4))
    x = b.requantise(b.conv(x, 2, (1, 1)), lo=0, hi=63)
    way = b.requantise(b.conv(x, 4, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1)), lo=0, hi=63)
    way = b.conv(way, 4, (3, 3), padding=(1, 1, 1, 1), weights="sparse")
    way = b.requantise(way, lo=-64, hi=63, frac=4)
    pick: Int64Array = np.eye(4, 2, dtype=np.int64)[:, :, None, None]
    x = b.conv(x, 4, (1, 1), stride=(2, 2), weights=pick if b.number(0, 1) else "any")
    x = b.requantise(x, lo=-64, hi=63, frac=2)
    b.end(b.requantise(b.put(Add, (way, x), (0, 2)), lo=0, hi=127))


def concat(b: Builder) -> None:
    """Ways of several ranges and depths side by side, the input itself among them."""
    x = b.input(2, b.side(4), b.side(4), lo=-20, hi=11, frac=3)
    ways = [b.requantise(b.conv(x, 2, (3, 3), padding=(1, 1, 1, 1)), lo=-8, hi=7, frac=3), x]
    if b.number(0, 1):
        way = b.conv(x, 1, (1, 3), padding=(0, 2, 0, 0))
        ways.append(b.requantise(way, lo=0, hi=255, frac=3))
    if b.number(0, 1):
        ways.append(b.put(MaxPool, x, (3, 3), (1, 1), (1, 1, 1, 1)))
    b.end(b.requantise(b.conv(b.put(Concat, tuple(ways)), 3, (2, 2))))


def several_dense(b: Builder) -> None:
    """Flatten and several Dense layers, their weights of all kinds."""
    x = b.put(Flatten, b.input(b.number(1, 3), b.side(2, 4), b.side(2, 4)))
    for kind in ("any", "sparse", "lowest"):
        x = b.requantise(b.dense(x, b.number(3, 8), weights=kind), digits=2)
    b.end(x, outputs=5)


def map_of_classes(b: Builder) -> None:
    """A fully convolutional network: the class of every pixel, ties included."""
    x = b.input(1, b.side(4), b.side(4))
    x = b.conv(x, 3, (3, 3), padding=(1, 1, 1, 1), weights="ternary")
    x = b.conv(b.requantise(x, lo=0, hi=7), b.number(2, 5), (1, 1), weights="ternary", frac_w=1)
    if b.number(0, 1):
        x = b.requantise(x, lo=-2, hi=1)
    b.put(ArgMax, x)


def map_of_scores(b: Builder) -> None:
    """A fully convolutional network: raw accumulators, sums or codes of every pixel."""
    x = b.input(2, b.side(4), b.side(4))
    x = b.requantise(b.conv(x, 3, (3, 3), stride=(2, 1), padding=(1, 1, 1, 1)))
    kind = b.number(0, 2)
    if kind == 0:
        b.put(AvgPool, x, (2, 2), (1, 1))
        return
    x = b.conv(x, 2, (2, 2), padding=(0, 0, 1, 1), weights="dyadic")
    if kind == 1:
        b.requantise(x)


THEMES: tuple[Callable[[Builder], None], ...] = (
    plain, groups, odd_windows, one_row, one_pixel, extreme_weights, narrow_and_wide, multipliers,
    activations, pools, residual, projection, concat, several_dense, map_of_classes, map_of_scores,
)
