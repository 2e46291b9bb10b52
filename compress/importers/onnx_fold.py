"""Operators on constants: shapes worked out while the model runs, weights put into another form.

Each function gets a node's constant inputs and attributes and returns the constant it makes; sizes
are checked before memory is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hwgen.compress.importers.onnx_file import Array
from hwgen.compress.importers.onnx_values import Constant

MOST = 1 << 20  # numbers that are made from fewer

Attributes = Mapping[str, Any]
Inputs = Sequence[Constant | None]


def _given(inputs: Inputs, place: int) -> Constant:
    value = inputs[place] if place < len(inputs) else None
    if value is None:
        raise ValueError(f"input {place} missing")
    return value


def _array(inputs: Inputs, place: int) -> Array:
    return _given(inputs, place).array


def whole_numbers(
    inputs: Inputs, place: int, attributes: Attributes, name: str
) -> list[int] | None:
    """Return a list that is an attribute in older operator sets and an input in newer ones."""
    if name in attributes:
        return list(attributes[name])
    if place < len(inputs) and inputs[place] is not None:
        return [int(v) for v in _array(inputs, place).ravel()]
    return None


def _small(shape: Sequence[int], *inputs: Array) -> None:
    """Refuse a result that is much larger than what it is made from."""
    limit = max([MOST, *(values.size for values in inputs)])
    if min(shape, default=0) < 0 or math.prod(shape) > limit:
        raise ValueError(f"at most {limit} numbers needed, not {tuple(shape)}")


def _elementwise(function: Callable[[Array, Array], Array]) -> Callable[..., Constant]:
    def fold(inputs: Inputs, attributes: Attributes) -> Constant:
        a, b = _array(inputs, 0), _array(inputs, 1)
        _small(np.broadcast_shapes(a.shape, b.shape), a, b)
        return Constant(function(a, b))

    return fold


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if not np.all(b):
            raise ValueError("division by zero")
        quotient: Array = np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))
        return quotient
    return np.asarray(a / b)


def _unary(function: Callable[[Array], Array]) -> Callable[..., Constant]:
    return lambda inputs, attributes: Constant(np.asarray(function(_array(inputs, 0))))


def _identity(inputs: Inputs, attributes: Attributes) -> Constant:
    return _given(inputs, 0)


def _cast(inputs: Inputs, attributes: Attributes) -> Constant:
    import onnx

    values = _array(inputs, 0)
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])).kind
    if kind in "iub":
        return Constant(np.trunc(values).astype(np.int64))
    return Constant(values.astype(np.float64))


def _gather(inputs: Inputs, attributes: Attributes) -> Constant:
    values, places = _array(inputs, 0), _array(inputs, 1).astype(np.int64)
    axis = int(attributes.get("axis", 0))
    _small((places.size, *np.delete(values.shape, axis).tolist()), values)
    return Constant(np.take(values, places, axis=axis))


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Constant:
    axes = whole_numbers(inputs, 1, attributes, "axes")
    if axes is None:
        raise ValueError("axes missing")
    return Constant(np.expand_dims(_array(inputs, 0), tuple(axes)))


def _squeeze(inputs: Inputs, attributes: Attributes) -> Constant:
    axes = whole_numbers(inputs, 1, attributes, "axes")
    return Constant(np.squeeze(_array(inputs, 0), None if axes is None else tuple(axes)))


def _concat(inputs: Inputs, attributes: Attributes) -> Constant:
    arrays = [_array(inputs, place) for place in range(len(inputs))]
    _small((sum(a.size for a in arrays),), *arrays)
    return Constant(np.concatenate(arrays, axis=int(attributes["axis"])))


def _slice(inputs: Inputs, attributes: Attributes) -> Constant:
    values = _array(inputs, 0)
    starts, ends = (
        whole_numbers(inputs, place, attributes, name) or []
        for place, name in ((1, "starts"), (2, "ends"))
    )
    axes = whole_numbers(inputs, 3, attributes, "axes") or list(range(len(starts)))
    steps = whole_numbers(inputs, 4, attributes, "steps") or [1] * len(starts)
    parts = [slice(None)] * values.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        parts[axis] = slice(start, None if step < 0 and end < -values.shape[axis] else end, step)
    return Constant(values[tuple(parts)])


def _reshape(inputs: Inputs, attributes: Attributes) -> Constant:
    given = _given(inputs, 0)
    shape = [int(v) for v in _array(inputs, 1).ravel()]
    if not attributes.get("allowzero"):
        shape = [given.array.shape[i] if side == 0 else side for i, side in enumerate(shape)]
    step = given.step
    if step is not None:  # one step for all stays; others lose their place
        step = np.reshape(step, (1,) * len(shape)) if step.size == 1 else None
    return Constant(given.array.reshape(shape), step)


def _transpose(inputs: Inputs, attributes: Attributes) -> Constant:
    given = _given(inputs, 0)
    order = attributes.get("perm") or list(range(given.array.ndim))[::-1]
    step = None if given.step is None else np.transpose(given.step, order)
    return Constant(np.transpose(given.array, order), step)


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> Constant:
    shape = [int(v) for v in _array(inputs, 0).ravel()]
    _small(shape)
    value = np.asarray(attributes.get("value", np.zeros(1)))
    return Constant(np.full(shape, value.reshape(-1)[0]))


def integer_range(kind: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and largest code of an integer type of at most 16 bits."""
    if kind.kind not in "iu" or kind.itemsize > 2:
        raise ValueError(f"codes of 8 or 16 bits needed, not {kind}")
    limits = np.iinfo(kind)
    return int(limits.min), int(limits.max)


def code_type(zero: Constant | None, attributes: Attributes) -> np.dtype[Any]:
    """Return the type of a QuantizeLinear's codes: the zero point's, or output_dtype, or uint8."""
    if zero is not None:
        return zero.array.dtype
    if number := attributes.get("output_dtype", 0):
        import onnx

        kind: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
        return kind
    return np.dtype(np.uint8)


def along(values: Array, ndim: int, axis: int) -> Array:
    """Return a number, or one a place along an axis, in a form that broadcasts to ndim sides."""
    if values.size == 1:
        return values.reshape((1,) * ndim)
    if values.ndim != 1:
        raise ValueError("one scale, or one a place along an axis, needed")
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def scales(inputs: Inputs, attributes: Attributes, ndim: int) -> tuple[Array, Array]:
    """Return (step, zero) of a QuantizeLinear or DequantizeLinear, broadcastable to its input."""
    if attributes.get("block_size"):
        raise ValueError("scales by block")
    axis = int(attributes.get("axis", 1)) % max(ndim, 1)
    step = along(np.asarray(_array(inputs, 1), np.float64), ndim, axis)
    zero = inputs[2] if len(inputs) > 2 else None
    zeros = np.zeros(1, np.int64) if zero is None else zero.array.astype(np.int64)
    if not np.all(np.isfinite(step)) or np.any(step <= 0):
        raise ValueError("positive finite scales needed")
    return step, along(zeros, ndim, axis)


def _dequantise(inputs: Inputs, attributes: Attributes) -> Constant:
    codes = _array(inputs, 0)
    if codes.dtype.kind not in "iu":
        raise ValueError(f"integers to dequantise needed, not {codes.dtype}")
    step, zero = scales(inputs, attributes, codes.ndim)
    return Constant((codes.astype(np.int64) - zero) * step, step)


def _quantise(inputs: Inputs, attributes: Attributes) -> Constant:
    values = _array(inputs, 0)
    step, zero = scales(inputs, attributes, values.ndim)
    given = inputs[2] if len(inputs) > 2 else None
    kind = code_type(given, attributes)
    lo, hi = integer_range(kind)
    # In float32, as ONNX divides.
    exact = values.astype(np.float32) / step.astype(np.float32)
    return Constant(np.clip(np.rint(exact).astype(np.float64) + zero, lo, hi).astype(kind))


FOLDS: dict[str, Callable[[Inputs, Attributes], Constant]] = {
    "Add": _elementwise(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantise,
    "Div": _elementwise(_divide),
    "Gather": _gather,
    "Identity": _identity,
    "Mul": _elementwise(np.multiply),
    "Neg": _unary(np.negative),
    "QuantizeLinear": _quantise,
    "Reciprocal": _unary(lambda a: 1 / a),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _elementwise(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
