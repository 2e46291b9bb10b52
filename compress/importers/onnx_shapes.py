"""The ONNX operators that only arrange: layouts, flattening, padding, concatenation, and those that
do nothing in evaluation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.compress.importers.onnx_reader import Call, Rule
from hwgen.compress.importers.onnx_values import Image, Layout
from hwgen.layers import int64


def _concat(call: Call) -> Image:
    images = [call.image(position) for position in range(len(call.inputs))]
    first = images[0]
    axis = call.given["axis"] % len(first.sides(1))
    if axis != first.channel_axis or any(
        i.layout is not first.layout or i.order is not None for i in images
    ):
        raise call.refused(f"Concat along side {axis} (channels are side {first.channel_axis})")
    return call.made(call.builder.concat(call.place, [i.node for i in images], 1), first)


def _pad(call: Call) -> Image:
    image = call.image(codes=False)
    pads = call.numbers(1, "pads") or []
    rank = len(image.sides(1))
    axes = call.constant(3)
    if axes is not None:
        full = [0] * (2 * rank)
        for place, axis in enumerate(axes.array.ravel().tolist()):
            full[axis % rank], full[axis % rank + rank] = pads[place], pads[place + axes.array.size]
        pads = full
    value = call.constant(2)
    fill = call.given.get("value", 0.0) if value is None else float(value.array.reshape(-1)[0])
    if len(pads) != 2 * rank or rank != 4:
        raise call.refused(f"Pad by {pads}")
    channel = image.channel_axis
    row, column = (1, 2) if image.layout is Layout.NHWC else (2, 3)
    if pads[0] or pads[4]:
        raise call.refused("Pad of the batch")
    sides = [pads[column], pads[column + 4], pads[row], pads[row + 4],
             pads[channel], pads[channel + 4]]  # fmt: skip
    mode = call.given.get("mode", "constant")
    if not any(sides):
        return image
    return call.made(call.builder.pad(call.place, image.node, sides, mode, fill), image)


def _slice(call: Call) -> Image:
    """Every s-th row and column, from the first: what a ResNet's option-A shortcut does."""
    image = call.image(codes=True)
    sides = image.sides(1)
    starts, ends = call.numbers(1, "starts") or [], call.numbers(2, "ends") or []
    axes = call.numbers(3, "axes")
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.numbers(4, "steps") or [1] * len(starts)
    row = 1 if image.layout is Layout.NHWC else 2
    every = {row: 1, row + 1: 1}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis % len(sides)
        strides = step >= 1 and (step == 1 or (len(sides) == 4 and place in every))
        if start or end < sides[place] or not strides:
            raise call.refused(f"Slice of {sides} other than every s-th row and column")
        if place in every:
            every[place] *= step
    return call.made(call.builder.every(call.place, image.node, *every.values()), image)


def _flattened(call: Call, image: Image) -> Image:
    if image.layout is Layout.FLAT:
        return image
    made = call.builder.flatten(call.place, image.node)
    order = None
    channels, height, width = image.shape
    if image.layout is Layout.NHWC and height * width > 1 and channels > 1:
        at = np.arange(channels * height * width).reshape(channels, height, width)
        order = int64(at.transpose(1, 2, 0).reshape(-1))
    return call.made(made, image, layout=Layout.FLAT, order=order)


def _flatten(call: Call) -> Image:
    image = call.image(codes=True)
    rank = len(image.sides(1))
    if call.given.get("axis", 1) % rank != 1:
        raise call.refused(f"Flatten from side {call.given['axis']}")
    return _flattened(call, image)


def _reshape(call: Call) -> Image:
    image = call.image(codes=True)
    target = [int(v) for v in call.needed(1).ravel()] if len(call.inputs) > 1 else []
    now = image.sides(call.reader.batch)
    if not call.given.get("allowzero"):
        target = [now[k] if v == 0 and k < len(now) else v for k, v in enumerate(target)]
    size = int(np.prod(now[1:]))
    free = -1 in target
    batch_fits = bool(target) and target[0] in (-1, 1, call.reader.batch)
    rest = [size // max(1, -int(np.prod(target[1:]))) if v == -1 else v for v in target[1:]]
    if image.ended and int(np.prod(rest)) in (1, size):
        return image
    if not batch_fits or target.count(-1) > 1 or (free and 0 in target):
        raise call.refused(f"Reshape of {now} as {target}")
    if rest == [size]:
        return _flattened(call, image)
    if tuple(rest) == now[1:]:
        return image
    if image.layout is Layout.FLAT and image.order is None and rest in ([size, 1, 1], [1, 1, size]):
        layout = Layout.NCHW if rest[0] == size else Layout.NHWC
        return replace(image, layout=layout)
    raise call.refused(f"Reshape of {now} as {target}")


def _squeeze(call: Call) -> Image:
    image = call.image(codes=True)
    axes = call.numbers(1, "axes")
    rank = len(image.sides(1))
    if image.ended and axes is not None:
        return image
    pixels = [1, 2] if image.layout is Layout.NHWC else [2, 3]
    if rank == 4 and axes is not None and image.shape[1:] == (1, 1):
        if sorted(a % rank for a in axes) == pixels:
            return _flattened(call, image)
    raise call.refused(f"Squeeze of {image.sides(1)} by the sides {axes}")


def _unsqueeze(call: Call) -> Image:
    image = call.image(codes=True)
    axes = call.numbers(1, "axes") or []
    pixels = sorted(a % 4 for a in axes) == [2, 3]
    if image.layout is Layout.FLAT and image.order is None and pixels:
        return replace(image, layout=Layout.NCHW)
    raise call.refused(f"Unsqueeze of {image.sides(1)} by the sides {axes}")


def _transpose(call: Call) -> Image:
    image = call.image(codes=True)
    order = list(call.given.get("perm", []))
    if order == list(range(len(image.sides(1)))):
        return image
    if image.layout is Layout.NCHW and order == [0, 2, 3, 1]:
        return replace(image, layout=Layout.NHWC)
    if image.layout is Layout.NHWC and order == [0, 3, 1, 2]:
        return replace(image, layout=Layout.NCHW)
    raise call.refused(f"Transpose of {image.layout.value} by {order} (NHWC to NCHW and back is)")


def _identity(call: Call) -> Image:
    return call.image(codes=True)


def _dropout(call: Call) -> Image:
    training = call.constant(2)
    if training is not None and np.any(training.array):
        raise call.refused("Dropout in training mode")
    return call.image()


def _cast(call: Call) -> Image:
    import onnx

    image = call.image()
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(call.given["to"])).kind
    if kind in "iub" and not image.ended:
        raise call.refused("Cast to integers (a QuantizeLinear is)")
    return image


SHAPE_RULES: dict[str, Rule] = {
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
