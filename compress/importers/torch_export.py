"""A ``torch.export`` archive (.pt2) to the float graph, read as what it is: JSON and raw numbers.

The archive holds ``models/model.json`` (the graph, in ATen operators), ``data/weights/*`` (raw
little-endian numbers) and ``data/weights/model_weights_config.json`` (their types and shapes).
Sample inputs and anything else that needs pickle are never opened; an archive whose weights are
pickled is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hwgen.compress.importers.builder import Builder, unsupported
from hwgen.compress.importers.graph import Graph, Shape
from hwgen.compress.importers.torch_archive import Array, read_archive
from hwgen.errors import HwgenError


def import_archive(path: Path, shape: Shape) -> Graph:
    """Return the float graph of a .pt2 file for images of (channels, height, width).

    Raises: HwgenError, one line, if the file is missing, broken, has pickled weights, operators
    that are not supported or numbers that are not finite.
    """
    model, weights = read_archive(path)
    try:
        return _Reader(model, weights, shape).read()
    except (KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise HwgenError(f"{path}: a graph of the known layout needed ({error!r})") from error


def _argument(arg: dict[str, Any]) -> tuple[str, Any]:
    """Return (kind, value) of a serialised argument."""
    kind, value = next(iter(arg.items()))
    return kind, value


class _Reader:
    """Walks the archive's graph; one method an ATen operator, arguments under ATen's names."""

    def __init__(self, model: dict[str, Any], weights: dict[str, Array], shape: Shape) -> None:
        self._module = model["graph_module"]
        self._builder = Builder(shape)
        self._names: dict[str, str] = {}  # tensor -> node
        self._arrays: dict[str, Array] = {}
        inputs = []
        for spec in self._module["signature"]["input_specs"]:
            kind, value = _argument(spec)
            if kind in ("parameter", "buffer"):
                self._arrays[value["arg"]["name"]] = weights[value[f"{kind}_name"]]
            elif kind == "user_input":
                inputs.append(_argument(value["arg"])[1]["name"])
            else:
                raise unsupported(kind, "a constant of this kind in the graph")
        if len(inputs) != 1:
            raise HwgenError(f"A model with one input needed, not {len(inputs)}")
        self._names[inputs[0]] = "input"
        self._check_shape(inputs[0], shape)

    def _check_shape(self, name: str, shape: Shape) -> None:
        sizes = [
            size.get("as_int") for size in self._module["graph"]["tensor_values"][name]["sizes"]
        ]
        if len(sizes) != 4 or any(
            want is not None and want != side for want, side in zip(sizes[1:], shape, strict=True)
        ):
            raise HwgenError(
                f"Images {'x'.join(map(str, sizes[1:]))} needed by the exported model, "
                f"not {'x'.join(map(str, shape))}"
            )

    def read(self) -> Graph:
        graph = self._module["graph"]
        for node in graph["nodes"]:
            self._node(node)
        outputs = [_argument(output)[1]["name"] for output in graph["outputs"]]
        if len(outputs) != 1 or outputs[0] not in self._names:
            raise HwgenError(f"A model with one tensor as output needed, not {len(outputs)}")
        return self._builder.graph(self._names[outputs[0]])

    def _node(self, node: dict[str, Any]) -> None:
        stack = [
            part.split(",")
            for part in node["metadata"].get("nn_module_stack", "").split(";")
            if part
        ]
        path, kind = (stack[-1][1], stack[-1][2].rpartition(".")[2]) if stack else ("", "")
        target = node["target"].removeprefix("torch.ops.aten.")
        operator = target.partition(".")[0].rstrip("_")
        place = path or node["name"]
        read = getattr(self, f"_op_{operator}", None)
        if read is None:
            raise unsupported(place, f"nn.{kind} ({target})" if path and kind else target)
        arguments = {}
        for entry in node["inputs"]:
            name = "self_" if entry["name"] == "self" else entry["name"]
            arguments[name] = self._value(*_argument(entry["arg"]))
        try:
            result = read(place, **arguments)
        except TypeError as error:
            raise unsupported(place, f"{target} as it is called here ({error})") from error
        self._names[_argument(node["outputs"][0])[1]["name"]] = result

    def _value(self, kind: str, value: Any) -> Any:
        if kind == "as_tensor":
            name = value["name"]
            return self._arrays[name] if name in self._arrays else self._names[name]
        if kind == "as_tensors":
            return [self._names[tensor["name"]] for tensor in value]
        if kind == "as_optional_tensors":
            raise TypeError("optional tensors")
        return None if kind == "as_none" else value

    # --- ATen operators; arguments as ATen names them
    # -----------------------------------------------------

    def _op_conv2d(
        self,
        place: str,
        input: str,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> str:
        return self._builder.conv(
            place,
            input,
            weight,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )

    def _op_linear(self, place: str, input: str, weight: Array, bias: Array | None = None) -> str:
        return self._builder.dense(place, input, weight, bias)

    def _op_batch_norm(
        self,
        place: str,
        input: str,
        weight: Array | None,
        bias: Array | None,
        running_mean: Array | None,
        running_var: Array | None,
        training: bool,
        momentum: float,
        eps: float,
        cudnn_enabled: bool,
    ) -> str:
        if training:
            raise unsupported(
                place, "a batch norm in training mode (call eval() before the export)"
            )
        return self._builder.batch_norm(place, input, weight, bias, running_mean, running_var, eps)

    def _op_relu(self, place: str, self_: str) -> str:
        return self._builder.clip(place, self_, 0.0, None)

    def _op_relu6(self, place: str, self_: str) -> str:
        return self._builder.clip(place, self_, 0.0, 6.0)

    def _op_hardtanh(
        self, place: str, self_: str, min_val: float = -1.0, max_val: float = 1.0
    ) -> str:
        return self._builder.clip(place, self_, float(min_val), float(max_val))

    def _op_clamp(
        self, place: str, self_: str, min: float | None = None, max: float | None = None
    ) -> str:
        return self._builder.clip(place, self_, min, max)

    def _op_tanh(self, place: str, self_: str) -> str:
        return self._builder.curve(place, self_, "tanh")

    def _op_sigmoid(self, place: str, self_: str) -> str:
        return self._builder.curve(place, self_, "sigmoid")

    def _op_max_pool2d(
        self,
        place: str,
        self_: str,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> str:
        return self._builder.max_pool(
            place, self_, kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode
        )

    def _op_avg_pool2d(
        self,
        place: str,
        self_: str,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> str:
        return self._builder.avg_pool(
            place,
            self_,
            kernel_size,
            stride,
            padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor=divisor_override,
        )

    def _op_adaptive_avg_pool2d(self, place: str, self_: str, output_size: Any) -> str:
        return self._builder.adaptive_avg_pool(place, self_, output_size)

    def _op_mean(
        self, place: str, self_: str, dim: Any, keepdim: bool = False, dtype: Any = None
    ) -> str:
        return self._builder.mean(place, self_, dim)

    def _op_add(self, place: str, self_: str, other: str, alpha: float = 1) -> str:
        if alpha != 1:
            raise unsupported(place, f"add with alpha={alpha}")
        return self._sum(place, self_, other, 1.0)

    def _op_sub(self, place: str, self_: str, other: Any, alpha: float = 1) -> str:
        if alpha != 1:
            raise unsupported(place, f"sub with alpha={alpha}")
        return self._sum(place, self_, other, -1.0)

    def _sum(self, place: str, first: str, second: Any, sign: float) -> str:
        factor = self._factor(place, second)
        if factor is not None:
            return self._builder.affine(place, first, 1.0, sign * factor)
        if sign < 0:
            second = self._builder.affine(f"{place}.minus", second, sign, 0.0)
        return self._builder.add(place, [first, second])

    def _op_mul(self, place: str, self_: str, other: Any) -> str:
        factor = self._factor(place, other)
        if factor is None:
            raise unsupported(place, "a product of two images")
        return self._builder.affine(place, self_, factor, 0.0)

    def _op_div(self, place: str, self_: str, other: Any) -> str:
        factor = self._factor(place, other)
        if factor is None or not np.all(factor):
            raise unsupported(place, "a division by an image or by zero")
        return self._builder.affine(place, self_, 1 / factor, 0.0)

    def _factor(self, place: str, value: Any) -> Array | None:
        """A number, or a tensor of the model with one number a channel; None for an image."""
        if isinstance(value, str):
            return None
        values = np.asarray(value, np.float64)
        if values.size == 1 or (values.ndim in (3, 4) and values.size == values.shape[-3]):
            return values.reshape(-1)
        raise unsupported(place, f"a tensor {values.shape}, which has no number a channel "
                          "(C, 1, 1),")

    def _op_hardswish(self, place: str, self_: str) -> str:
        return self._builder.curve(place, self_, "hardswish")

    def _op_hardsigmoid(self, place: str, self_: str) -> str:
        return self._builder.hardsigmoid(place, self_)

    def _op_leaky_relu(self, place: str, self_: str, negative_slope: float = 0.01) -> str:
        return self._builder.leaky_relu(place, self_, negative_slope)

    def _op_slice(
        self,
        place: str,
        self_: str,
        dim: int = 0,
        start: int | None = None,
        end: int | None = None,
        step: int = 1,
    ) -> str:
        sides = (1, *self._builder.shape(self_))
        if start or (end is not None and end < max(sides[dim], 1)) or (dim < 2 and step != 1):
            raise unsupported(place, "indexing of a tensor")
        rows, columns = (step if dim == side else 1 for side in (2, 3))
        return self._builder.every(place, self_, rows, columns)

    def _op_alias(self, place: str, self_: str) -> str:
        return self_

    def _op_cat(self, place: str, tensors: list[str], dim: int = 0) -> str:
        return self._builder.concat(place, tensors, dim)

    def _op_flatten(self, place: str, self_: str, start_dim: int = 0, end_dim: int = -1) -> str:
        return self._builder.flatten(place, self_, start_dim, end_dim)

    def _op_view(self, place: str, self_: str, size: Any) -> str:
        return self._builder.view(place, self_, size)

    def _op_reshape(self, place: str, self_: str, shape: Any) -> str:
        return self._builder.view(place, self_, shape)

    def _op_pad(
        self, place: str, self_: str, pad: Any, mode: str = "constant", value: float | None = None
    ) -> str:
        return self._builder.pad(place, self_, pad, mode, value)

    def _op_constant_pad_nd(self, place: str, self_: str, pad: Any, value: float = 0) -> str:
        return self._builder.pad(place, self_, pad, "constant", value)

    def _op_dropout(self, place: str, input: str, p: float, train: bool) -> str:
        if train:
            raise unsupported(place, "dropout in training mode (call eval() before the export)")
        return input
