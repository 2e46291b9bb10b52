"""Networks for the NFU's benchmarks: published shapes, weights of one signed digit drawn at random.

Cycles depend on where weights are zero and on their digits alone, so that drawn ones will do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwgen.compress.shapes import LayerShape
from hwgen.network import (
    Add,
    ArgMax,
    AvgPool,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    Network,
    Requantise,
    int64,
)

Mask = Callable[[str, tuple[int, ...]], Int64Array]


def digits(rng: np.random.Generator, shape: tuple[int, ...], top: int = 3) -> Int64Array:
    """Return weights of one digit each, +-1 .. +-2**top."""
    return (1 << rng.integers(0, top + 1, shape)) * rng.choice([-1, 1], shape)


def requantise(name: str, source: str, channels: int, *, lo: int = 0, hi: int = 255,
               shift: int = 8, frac: int = 4) -> Requantise:
    """Return a Requantise with one shift for all channels."""
    return Requantise(name, source, int64([1] * channels), int64([0] * channels),
                      int64([shift] * channels), lo, hi, frac)


def one_layer(shape: LayerShape, weight: Int64Array | None = None, *, stride: int = 1,
              seed: int = 0) -> Network:
    """Return a network of one convolution of a published shape, padded so that its output has the
    published size.
    """
    rng = np.random.default_rng(seed)
    weight = digits(rng, shape.shape) if weight is None else weight
    kh, kw = shape.kh, shape.kw
    reach_y, reach_x = (shape.height - 1) * stride + kh, (shape.width - 1) * stride + kw
    top, left = (kh - 1) // 2 if stride == 1 else 0, (kw - 1) // 2 if stride == 1 else 0
    bottom, right = (kh - 1 - top, kw - 1 - left) if stride == 1 else (0, 0)
    source = Input("image", shape.ci * shape.groups, reach_y - top - bottom,
                   reach_x - left - right, 0, 255, 8)
    conv = Conv2d("conv", "image", weight, int64([0] * shape.co), int64([0] * shape.co),
                  (stride, stride), (top, left, bottom, right), (1, 1), shape.groups)
    return Network((source, conv, requantise("codes", "conv", shape.co)))


def resnet8(seed: int = 0, mask: Mask | None = None, *, codes: bool = False) -> Network:
    """Return MLPerf Tiny's ResNet-8 (32x32x3, 16-32-64 channels, ten classes).

    Parameters: mask, (layer name, shape of the weights) -> 0 or 1 for each weight; codes, the last
    convolution of a block is requantised before the addition, as `hwgen compress` has it.
    """
    rng = np.random.default_rng(seed)
    layers: list[Layer] = [Input("image", 3, 32, 32, 0, 255, 8)]

    def conv(name: str, source: str, ci: int, co: int, kernel: int, stride: int) -> str:
        weight = digits(rng, (co, ci, kernel, kernel))
        if mask is not None:
            weight = weight * mask(name, weight.shape)
        after = (kernel - 1) // 2
        before = after if stride == 1 else 0
        layers.append(Conv2d(name, source, weight, int64(rng.integers(-50, 50, co)),
                             int64([4] * co), (stride, stride), (before, before, after, after)))
        return name

    layers.append(requantise("act0", conv("conv0", "image", 3, 16, 3, 1), 16))
    x, ci = "act0", 16
    for stage, co in enumerate((16, 32, 64), start=1):
        stride = 1 if stage == 1 else 2
        name = f"stage{stage}"
        layers.append(requantise(f"{name}_act1", conv(f"{name}_conv1", x, ci, co, 3, stride), co))
        way = conv(f"{name}_conv2", f"{name}_act1", co, co, 3, 1)
        short = x
        if stride != 1:
            conv(f"{name}_short", x, ci, co, 1, stride)
            layers.append(requantise(f"{name}_shortcut", f"{name}_short", co, lo=-128, hi=127))
            short = f"{name}_shortcut"
        if codes:
            layers.append(requantise(f"{name}_act2", way, co, lo=-128, hi=127))
            way = f"{name}_act2"
        # The shortcut's frac 4, lifted to the 8 of the sums.
        layers.append(Add(f"{name}_add", (way, short), (0, 0 if codes else 4)))
        layers.append(requantise(f"{name}_out", f"{name}_add", co))
        x, ci = f"{name}_out", co
    layers.append(AvgPool("pool", x, (8, 8), (8, 8)))
    layers.append(requantise("pooled", "pool", 64, shift=6))
    layers.append(Flatten("flat", "pooled"))
    layers.append(Dense("scores", "flat", digits(rng, (10, 64)), int64(rng.integers(-50, 50, 10)),
                        int64([4] * 10)))
    layers.append(ArgMax("class", "scores"))
    return Network(tuple(layers))


def mobilenet(seed: int = 0) -> Network:
    """Return a small network of depthwise 3x3 and 1x1 convolutions, as MobileNet's, weights drawn
    (A. Howard et al., "MobileNets", 2017): 32x32x3, two of its strides 2, ten classes.
    """
    rng = np.random.default_rng(seed)
    layers: list[Layer] = [Input("image", 3, 32, 32, 0, 255, 8)]

    def conv(name: str, source: str, ci: int, co: int, kernel: int, stride: int = 1,
             groups: int = 1) -> str:
        weight = digits(rng, (co, ci // groups, kernel, kernel))
        pad = (kernel - 1) // 2
        layers.append(Conv2d(name, source, weight, int64(rng.integers(-50, 50, co)),
                             int64([4] * co), (stride, stride), (pad,) * 4, (1, 1), groups))
        layers.append(requantise(f"{name}_codes", name, co, shift=7))
        return f"{name}_codes"

    x = conv("first", "image", 3, 16, 3, 2)
    for n, (ci, co, stride) in enumerate(((16, 32, 1), (32, 64, 2), (64, 64, 1)), start=1):
        x = conv(f"depth{n}", x, ci, ci, 3, stride, groups=ci)
        x = conv(f"point{n}", x, ci, co, 1)
    layers += [AvgPool("pool", x, (8, 8), (8, 8)), requantise("pooled", "pool", 64, shift=6),
               Flatten("flat", "pooled"),
               Dense("scores", "flat", digits(rng, (10, 64)), int64(rng.integers(-50, 50, 10)),
                     int64([4] * 10)), ArgMax("class", "scores")]
    return Network(tuple(layers))


def vgg16_imagenet() -> tuple[LayerShape, ...]:
    """Return VGG-16's convolutions on 224 x 224 images (K. Simonyan, A. Zisserman, 2015)."""
    from hwgen.compress.shapes import vgg16

    return tuple(shape for shape in vgg16(side=224, classes=1000) if shape.kh > 1)
