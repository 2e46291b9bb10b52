"""The ONNX operators that compute: one function each, ``(Call) -> Image``, or the name of a node of
the float graph that is otherwise like the first image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.compress.importers.onnx_codes import batch_axis_scale, codes_rules
from hwgen.compress.importers.onnx_reader import Call, Rule
from hwgen.compress.importers.onnx_shapes import SHAPE_RULES
from hwgen.compress.importers.onnx_values import Constant, Image, Layout, Value


def padding(call: Call, image: Image, kernel: Any, stride: Any, dilation: Any) -> tuple[int, ...]:
    """Return (top, left, bottom, right) of a window from ``pads`` or ``auto_pad``."""
    mode = call.given.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for side, k, step, spread in zip(image.shape[1:], kernel, stride, dilation, strict=True):
            total = max((-(-side // step) - 1) * step + (k - 1) * spread + 1 - side, 0)
            small, large = total // 2, total - total // 2
            before.append(small if mode == "SAME_UPPER" else large)
            after.append(large if mode == "SAME_UPPER" else small)
        return *before, *after
    if mode != "NOTSET":
        raise call.refused(f"{call.op} with auto_pad {mode!r}")
    pads = call.given.get("pads", [0, 0, 0, 0])
    if len(pads) != 4:
        raise call.refused(f"{call.op} over {len(pads) // 2} dimensions")
    return tuple(pads)


def convolution(call: Call, image: Image, weight: Constant, bias: Any) -> str:
    """A convolution of any weights; bias an array or None."""
    if weight.array.ndim != 4:
        raise call.refused(f"a convolution over {weight.array.ndim - 2} dimensions")
    kernel = weight.array.shape[2:]
    if list(call.given.get("kernel_shape", kernel)) != list(kernel):
        raise ValueError(f"kernel_shape {call.given['kernel_shape']} beside weights {kernel}")
    stride = tuple(call.given.get("strides", [1, 1]))
    dilation = tuple(call.given.get("dilations", [1, 1]))
    if len(stride) != 2 or len(dilation) != 2 or min(*stride, *dilation) < 1:
        raise ValueError(f"strides and dilations, two each from 1, not {stride}, {dilation}")
    return call.builder.conv(
        call.place,
        image.node,
        weight.array,
        bias,
        stride=stride,
        padding=padding(call, image, kernel, stride, dilation),
        dilation=dilation,
        groups=call.given.get("group", 1),
        step=batch_axis_scale(weight, 0),
    )


def dense(call: Call, image: Image, weight: Constant, bias: Any) -> Image:
    """A matrix product of any weights, (outputs, inputs)."""
    if image.layout is not Layout.FLAT or weight.array.ndim != 2:
        raise call.refused(f"{call.op} of a tensor that is not flat (batch, features)")
    values = weight.array
    if image.order is not None:
        if values.shape[1] != len(image.order):
            raise ValueError(f"{len(image.order)} features, not {values.shape[1]}")
        turned = np.empty_like(values)
        turned[:, image.order] = values
        values = turned
    made = call.builder.dense(
        call.place, image.node, values, bias, step=batch_axis_scale(weight, 0)
    )
    return call.made(made, image, order=None)


def _conv(call: Call) -> str:
    bias = call.constant(2)
    weight = call.constant(1)
    if weight is None:
        raise ValueError("weights missing")
    return convolution(call, call.pixels(), weight, None if bias is None else bias.array)


def _gemm(call: Call) -> Image:
    alpha, beta = call.given.get("alpha", 1.0), call.given.get("beta", 1.0)
    if call.given.get("transA"):
        raise call.refused("Gemm with transA")
    weight, bias = call.constant(1), call.constant(2)
    if weight is None or weight.array.ndim != 2:
        raise ValueError("a matrix of weights needed")
    if not call.given.get("transB"):
        weight = Constant(weight.array.T, None if weight.step is None else weight.step.T)
    step = None if weight.step is None or alpha <= 0 else weight.step * alpha
    shift = None
    if bias is not None:
        rows = np.broadcast_to(bias.array, (1, len(weight.array)))[0]
        shift = beta * rows.astype(np.float64)
    return dense(call, call.image(), Constant(weight.array * alpha, step), shift)


def _matmul(call: Call) -> Image:
    weight = call.constant(1)
    if weight is None or weight.array.ndim != 2:
        raise call.refused("MatMul by anything but a constant matrix")
    step = None if weight.step is None else weight.step.T
    return dense(call, call.image(), Constant(weight.array.T, step), None)


def _batch_norm(call: Call) -> str:
    if call.given.get("training_mode") or call.given.get("spatial", 1) != 1:
        raise call.refused("BatchNormalization in training mode or by pixel")
    image = call.image()
    if image.layout is Layout.NHWC or image.order is not None:
        raise call.refused(f"BatchNormalization of a tensor in the order {image.layout.value}")
    scale, bias, mean, variance = (call.needed(k) for k in (1, 2, 3, 4))
    epsilon = call.given.get("epsilon", 1e-5)
    return call.builder.batch_norm(call.place, image.node, scale, bias, mean, variance, epsilon)


def _clip(call: Call) -> str:
    bounds = []
    for position, name in ((1, "min"), (2, "max")):
        value = call.constant(position)
        number = call.given.get(name) if value is None else float(value.array.reshape(-1)[0])
        bounds.append(None if number is None or abs(number) > 1e30 else number)
    return call.builder.clip(call.place, call.image().node, *bounds)


def _prelu(call: Call) -> str:
    slopes = call.needed(1)
    if slopes.size == 0 or np.any(slopes != slopes.reshape(-1)[0]):
        raise call.refused("PRelu with slopes that differ")
    return call.builder.leaky_relu(call.place, call.image().node, float(slopes.reshape(-1)[0]))


def _hard_swish(call: Call) -> str:
    return call.builder.curve(call.place, call.image().node, "hardswish")


def _pool_window(call: Call, image: Image) -> tuple[Any, Any, Any]:
    kernel = tuple(call.given["kernel_shape"])
    if len(kernel) != 2:
        raise call.refused(f"{call.op} over {len(kernel)} dimensions")
    stride = tuple(call.given.get("strides", [1, 1]))
    dilation = tuple(call.given.get("dilations", [1, 1]))
    if min(*kernel, *stride, *dilation) < 1:
        raise ValueError("kernel_shape, strides and dilations from 1 needed")
    return kernel, stride, padding(call, image, kernel, stride, dilation)


def _max_pool(call: Call) -> str:
    if call.given.get("storage_order") or len(call.node.output) > 1:
        raise call.refused("MaxPool that gives indices")
    image = call.pixels(codes=True)
    kernel, stride, pads = _pool_window(call, image)
    return call.builder.max_pool(
        call.place, image.node, kernel, stride, pads,
        dilation=tuple(call.given.get("dilations", [1, 1])),
        ceil_mode=bool(call.given.get("ceil_mode")),
    )  # fmt: skip


def _average_pool(call: Call) -> str:
    if any(d != 1 for d in call.given.get("dilations", [1, 1])):
        raise call.refused("AveragePool with dilations")
    image = call.pixels()
    kernel, stride, pads = _pool_window(call, image)
    return call.builder.avg_pool(
        call.place, image.node, kernel, stride, pads,
        ceil_mode=bool(call.given.get("ceil_mode")),
        count_include_pad=bool(call.given.get("count_include_pad", 0)),
    )  # fmt: skip


def _global_average(call: Call) -> str:
    return call.builder.adaptive_avg_pool(call.place, call.pixels().node, 1)


def _global_max(call: Call) -> str:
    image = call.pixels(codes=True)
    return call.builder.max_pool(call.place, image.node, image.shape[1:], image.shape[1:], 0)


def _reduce_mean(call: Call) -> Image:
    image = call.image()
    axes = call.numbers(1, "axes")
    wanted = [1, 2] if image.layout is Layout.NHWC else [2, 3]
    if image.layout is Layout.FLAT or axes is None or sorted(a % 4 for a in axes) != wanted:
        raise call.refused(f"ReduceMean over the sides {axes}")
    made = call.made(call.builder.adaptive_avg_pool(call.place, image.node, 1), image)
    return made if call.given.get("keepdims", 1) else replace(made, layout=Layout.FLAT)


def _elementwise(sign: int) -> Rule:
    """Add or Sub: of two images of one shape, or of an image and constants by channel."""

    def rule(call: Call) -> Value | str:
        first, second = call.inputs
        if isinstance(first, Image) and isinstance(second, Image):
            return _sum(call, sign)
        place = 0 if isinstance(first, Image) else 1
        image = call.image(place)
        constant = second if place == 0 else first
        assert isinstance(constant, Constant)
        offset = image.by_channel(constant.array)
        if place == 0:
            return call.builder.affine(call.place, image.node, 1.0, sign * offset)
        return call.builder.affine(call.place, image.node, float(sign), offset)

    return rule


def _sum(call: Call, sign: int) -> str:
    first, second = call.image(0), call.image(1)
    same_order = (first.order is second.order) or (
        first.order is not None and second.order is not None
        and np.array_equal(first.order, second.order)
    )  # fmt: skip
    if first.layout is not second.layout or first.shape != second.shape or not same_order:
        raise call.refused(f"{call.op} of tensors {first.sides(1)} and {second.sides(1)}")
    other = second.node
    if sign < 0:
        other = call.builder.affine(f"{call.place}.minus", other, -1.0, 0.0)
    return call.builder.add(call.place, [first.node, other])


def _mul(call: Call) -> str:
    place = 0 if isinstance(call.inputs[0], Image) else 1
    constant = call.constant(1 - place)
    if constant is None:
        raise ValueError("two inputs needed")
    image = call.image(place)
    return call.builder.affine(call.place, image.node, image.by_channel(constant.array), 0.0)


def _div(call: Call) -> str:
    image = call.image(0)
    divisor = image.by_channel(call.needed(1))
    if not np.all(divisor):
        raise ValueError("division by zero")
    return call.builder.affine(call.place, image.node, 1.0 / divisor, 0.0)


def _ending(call: Call) -> Image:
    """Softmax and ArgMax name the same class as the scores before them."""
    image = call.image(codes=False)
    rank = len(image.sides(1))
    default = 0 if call.op == "ArgMax" else (-1 if call.opset >= 13 else 1)
    axis = call.given.get("axis", default) % rank
    to_end = call.opset < 13 and call.op != "ArgMax" and axis == 1
    if axis != image.channel_axis or (to_end and image.shape[1:] != (1, 1)):
        raise call.refused(f"{call.op} along side {axis} (channels are side {image.channel_axis})")
    if call.given.get("select_last_index"):
        raise call.refused("ArgMax with select_last_index")
    why = "the class is the index of the largest score" if call.op == "ArgMax" else (
        "it keeps the order of the scores"
    )
    call.reader.notes.append(f"{call.op} {call.place} left out: {why}")
    return replace(image, ended=call.op)


def _simple(method: Callable[[Call, str], str]) -> Rule:
    return lambda call: method(call, call.image().node)


RULES: dict[str, Rule] = {
    "Add": _elementwise(1),
    "ArgMax": _ending,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "Div": _div,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "HardSigmoid": _simple(lambda call, node: call.builder.hardsigmoid(
        call.place, node, call.given.get("alpha", 0.2), call.given.get("beta", 0.5))),
    "HardSwish": _hard_swish,
    "LeakyRelu": _simple(lambda call, node: call.builder.leaky_relu(
        call.place, node, call.given.get("alpha", 0.01))),
    "LogSoftmax": _ending,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "PRelu": _prelu,
    "ReduceMean": _reduce_mean,
    "Relu": _simple(lambda call, node: call.builder.clip(call.place, node, 0.0, None)),
    "Sigmoid": _simple(lambda call, node: call.builder.curve(call.place, node, "sigmoid")),
    "Softmax": _ending,
    "Sub": _elementwise(-1),
    "Tanh": _simple(lambda call, node: call.builder.curve(call.place, node, "tanh")),
    **SHAPE_RULES,
    **codes_rules(convolution, dense),
}
