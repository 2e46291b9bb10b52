"""ONNX's integer codes: QuantizeLinear, DequantizeLinear, QLinearConv, QLinearMatMul.

A tensor of codes means ``(code - zero) * step``. Zero points are subtracted, so codes here reach
from ``least - zero`` to ``largest - zero``; one step a tensor, for weights also one an output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.compress.importers.onnx_fold import Inputs, code_type, integer_range, scales
from hwgen.compress.importers.onnx_reader import Call, Rule
from hwgen.compress.importers.onnx_values import Array, Codes, Constant, Image

Convolve = Callable[[Call, Image, Constant, Any], str]
Multiply = Callable[[Call, Image, Constant, Any], Image]


def batch_axis_scale(weight: Constant, axis: int) -> Array | None:
    """Return each output's step, (co,), of weights whose outputs lie along an axis, or None."""
    if weight.step is None:
        return None
    other = [side for k, side in enumerate(weight.step.shape) if k != axis]
    if any(side != 1 for side in other):
        return None
    return np.broadcast_to(weight.step.reshape(-1), (weight.array.shape[axis],))


def _codes(call: Call, step: int, zero: int, kind: np.dtype[Any] | None = None) -> tuple[
    Codes, int, int
]:
    """Return (codes, lo, hi) that the inputs ``step`` and ``zero`` of a node describe."""
    given = call.constant(zero) if zero < len(call.inputs) else None
    if call.given.get("block_size"):
        raise call.refused("scales by block")
    scale, point = call.needed(step), np.zeros(1) if given is None else given.array
    if scale.size != 1 or point.size != 1:
        raise call.refused(f"{call.op} with a scale a channel")
    lo, hi = integer_range(code_type(given, call.given) if kind is None else kind)
    number, offset = float(scale.reshape(-1)[0]), int(point.reshape(-1)[0])
    if not 0 < number < float("inf"):
        raise ValueError(f"a positive finite scale needed, not {number}")
    return Codes(number, offset), lo - offset, hi - offset


def _quantise(call: Call) -> Image:
    image = call.image()
    codes, lo, hi = _codes(call, 1, 2)
    if image.ended:
        return image
    made = call.builder.quantise(call.place, image.node, lo, hi, codes.step)
    return call.made(made, image, codes=codes)


def _dequantise(call: Call) -> Image | str:
    image = call.image(codes=True)
    if image.ended:
        return image
    scale, zero = call.needed(1), call.constant(2)
    offset = np.zeros(1) if zero is None else zero.array
    if scale.size != 1 or offset.size != 1:
        raise call.refused(f"{call.op} with a scale a channel")
    step, point = float(scale.reshape(-1)[0]), int(offset.reshape(-1)[0])
    if not 0 < step < float("inf"):
        raise ValueError(f"a positive finite scale needed, not {step}")
    if image.codes is None:  # integers from outside: the model's input
        return call.builder.affine(call.place, image.node, step, -point * step)
    if (image.codes.step, image.codes.zero) != (step, point):
        raise call.refused(
            f"DequantizeLinear with scale {step:g} and zero {point} of codes with "
            f"{image.codes.step:g} and {image.codes.zero}"
        )
    return replace(image, codes=None)


def _weights(call: Call, values: int, step: int, zero: int, axis: int) -> Constant:
    given = call.constant(values)
    if given is None or given.array.dtype.kind not in "iu":
        raise ValueError("integer weights needed")
    inputs: Inputs = [given, call.constant(step), call.constant(zero)]
    scale, point = scales(inputs, {"axis": axis}, given.array.ndim)
    return Constant((given.array.astype(np.int64) - point) * scale, scale)


def _source(call: Call, step: int, zero: int) -> Image:
    """The codes that a node reads, as the numbers that they mean."""
    image = call.image(codes=True)
    needed, _, _ = _codes(call, step, zero)
    if image.codes is None or (image.codes.step, image.codes.zero) != (needed.step, needed.zero):
        raise call.refused(f"{call.op} of codes with another scale than it says")
    return replace(image, codes=None)


def codes_rules(convolve: Convolve, multiply: Multiply) -> dict[str, Rule]:
    """Return the rules by operator; the two functions build what the float operators build too."""

    def coded(call: Call, image: Image, step: int, zero: int) -> Image:
        codes, lo, hi = _codes(call, step, zero)
        made = call.builder.quantise(f"{call.place}.codes", image.node, lo, hi, codes.step)
        return call.made(made, image, codes=codes)

    def conv(call: Call) -> Image:
        image = _source(call, 1, 2)
        weight = _weights(call, 3, 4, 5, 0)
        step, bias = batch_axis_scale(weight, 0), call.constant(8)
        assert step is not None
        shift = None if bias is None else bias.array * step * float(call.needed(1).reshape(-1)[0])
        return coded(call, call.made(convolve(call, image, weight, shift), image), 6, 7)

    def matmul(call: Call) -> Image:
        image = _source(call, 1, 2)
        weight = _weights(call, 3, 4, 5, 1)
        turned = Constant(weight.array.T, None if weight.step is None else weight.step.T)
        return coded(call, multiply(call, image, turned, None), 6, 7)

    return {
        "DequantizeLinear": _dequantise,
        "QLinearConv": conv,
        "QLinearMatMul": matmul,
        "QuantizeLinear": _quantise,
    }
