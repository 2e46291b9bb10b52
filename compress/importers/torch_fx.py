"""A torch module to the float graph, through ``torch.fx``.

The module is traced symbolically: its layers stay what they are (``nn.Conv2d`` and so on), plain
functions and tensor methods in ``forward`` are read where they have a meaning here. What has none
is named with its path.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import fx, nn

from hwgen.compress.importers.builder import Builder, unsupported
from hwgen.compress.importers.graph import Graph, Shape
from hwgen.compress.importers.torch_modules import MODULES, array
from hwgen.errors import HwgenError


def import_module(module: nn.Module, shape: Shape) -> Graph:
    """Return the float graph of a torch module in evaluation mode.

    Parameters
    ----------
    module : nn.Module
        Left alone; its parameters are copied.
    shape : (channels, height, width)
        Of one image.

    Raises: HwgenError naming the place in the module if it cannot be traced, a layer is not
    supported, a parameter is not finite, or the shapes do not fit.
    """
    check_finite(module)
    if type(module) in MODULES:  # a single layer: traced from outside, it stays a layer
        module = nn.Sequential(module)
    try:
        traced = fx.Tracer().trace(module)
    except HwgenError:
        raise
    except Exception as error:  # forward is the user's code and may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HwgenError(
            f"{type(module).__name__}: a forward that torch.fx can trace needed ({reason})"
        ) from error
    return _Reader(module, shape).read(traced)


def check_finite(module: nn.Module) -> None:
    """Refuse NaN and infinity in parameters and buffers, naming the layer and the parameter."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            layer, _, parameter = name.rpartition(".")
            bad = "NaN" if bool(torch.isnan(tensor).any()) else "infinity"
            raise HwgenError(
                f"{layer or type(module).__name__}: finite {parameter} needed, there is {bad} in it"
            )


class _Reader:
    """Walks a traced graph; one method a kind of fx node."""

    def __init__(self, module: nn.Module, shape: Shape) -> None:
        self._module = module
        self._builder = Builder(shape)
        self._names: dict[fx.Node, str] = {}
        self._constants: dict[fx.Node, npt.NDArray[Any]] = {}  # buffers and parameters in forward
        self._sizes: dict[fx.Node, tuple[Any, ...]] = {}  # results of size() and shape

    def read(self, traced: fx.Graph) -> Graph:
        inputs = 0
        for node in traced.nodes:
            if node.op == "placeholder":
                inputs += 1
                if inputs > 1 and not node.args:
                    raise HwgenError(
                        f"{node.target}: a model with one input needed, this is a second one"
                    )
                self._names[node] = "input"
            elif node.op == "output":
                result = node.args[0]
                if not isinstance(result, fx.Node) or result not in self._names:
                    raise HwgenError(
                        "A model with one tensor as output needed, this one returns "
                        f"{type(result).__name__}"
                    )
                return self._builder.graph(self._names[result])
            elif node.op == "call_module":
                self._call_module(node)
            elif node.op == "get_attr":
                self._constants[node] = self._buffer(node)
            else:
                self._call_function(node)
        raise HwgenError("A model with an output needed")

    def _buffer(self, node: fx.Node) -> npt.NDArray[Any]:
        value: Any = self._module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        values = array(value) if isinstance(value, torch.Tensor) else None
        if values is None:
            raise unsupported(str(node.target), f"{type(value).__name__} in forward")
        return values

    def _factor(self, node: fx.Node, value: object) -> npt.NDArray[Any] | None:
        """A number, or a tensor of the model with one number a channel; None for an image."""
        if isinstance(value, fx.Node) and value in self._names:
            return None
        if isinstance(value, fx.Node) and value in self._constants:
            values = self._constants[value]
            if values.size == 1 or (values.ndim in (3, 4) and values.size == values.shape[-3]):
                return values.reshape(-1)
            raise unsupported(self._place(node), f"{node.target} with a tensor {values.shape}, "
                              "which has no number a channel (C, 1, 1),")
        if isinstance(value, (int, float)):
            return np.array([float(value)])
        raise unsupported(self._place(node), f"{node.target} with {value!r}")

    def _source(self, node: fx.Node, position: int = 0) -> str:
        value = node.args[position] if len(node.args) > position else node.kwargs.get("input")
        return self._tensor(node, value)

    def _tensor(self, node: fx.Node, value: object) -> str:
        if isinstance(value, fx.Node) and value in self._names:
            return self._names[value]
        raise unsupported(self._place(node), f"{node.target} with {value!r}, which is no image,")

    @staticmethod
    def _place(node: fx.Node) -> str:
        stack = node.meta.get("nn_module_stack") or {}
        path = next((value[0] for value in reversed(stack.values())), "")
        return f"{path}.{node.name}" if path else node.name

    def _call_module(self, node: fx.Node) -> None:
        path = str(node.target)
        layer = self._module.get_submodule(path)
        for kind, read in MODULES.items():
            if type(layer) is kind:
                self._names[node] = read(self._builder, path, self._source(node), layer)
                return
        raise unsupported(path, f"nn.{type(layer).__name__}")

    def _call_function(self, node: fx.Node) -> None:
        target = node.target if isinstance(node.target, str) else _FUNCTIONS.get(node.target)
        read = getattr(self, f"_op_{target}", None) if target else None
        if read is None:
            what = (
                node.target
                if isinstance(node.target, str)
                else getattr(node.target, "__name__", node.target)
            )
            raise unsupported(self._place(node), f"{what}()")
        try:
            result = read(node, *node.args, **node.kwargs)
        except TypeError as error:
            raise unsupported(
                self._place(node), f"{target} as it is called here ({error})"
            ) from error
        if isinstance(result, str):
            self._names[node] = result

    # --- functions and methods; signatures are torch's
    # ------------------------------------------------

    def _op_relu(self, node: fx.Node, input: object, inplace: bool = False) -> str:
        return self._builder.clip(self._place(node), self._tensor(node, input), 0.0, None)

    def _op_relu6(self, node: fx.Node, input: object, inplace: bool = False) -> str:
        return self._builder.clip(self._place(node), self._tensor(node, input), 0.0, 6.0)

    def _op_hardtanh(
        self,
        node: fx.Node,
        input: object,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
    ) -> str:
        return self._builder.clip(self._place(node), self._tensor(node, input), min_val, max_val)

    def _op_clamp(
        self, node: fx.Node, input: object, min: float | None = None, max: float | None = None
    ) -> str:
        return self._builder.clip(self._place(node), self._tensor(node, input), min, max)

    def _op_tanh(self, node: fx.Node, input: object) -> str:
        return self._builder.curve(self._place(node), self._tensor(node, input), "tanh")

    def _op_sigmoid(self, node: fx.Node, input: object) -> str:
        return self._builder.curve(self._place(node), self._tensor(node, input), "sigmoid")

    def _op_add(self, node: fx.Node, input: object, other: object, *, alpha: float = 1) -> str:
        if alpha != 1:
            raise unsupported(self._place(node), f"add with alpha={alpha}")
        return self._sum(node, input, other, 1.0)

    def _op_sub(self, node: fx.Node, input: object, other: object, *, alpha: float = 1) -> str:
        if alpha != 1:
            raise unsupported(self._place(node), f"sub with alpha={alpha}")
        return self._sum(node, input, other, -1.0)

    def _sum(self, node: fx.Node, input: object, other: object, sign: float) -> str:
        place, build = self._place(node), self._builder
        first, second = self._factor(node, input), self._factor(node, other)
        if second is not None:
            return build.affine(place, self._tensor(node, input), 1.0, sign * second)
        source = self._tensor(node, other)
        if first is not None:
            return build.affine(place, source, sign, first)
        if sign < 0:
            source = build.affine(f"{place}.minus", source, sign, 0.0)
        return build.add(place, [self._tensor(node, input), source])

    def _op_mul(self, node: fx.Node, input: object, other: object) -> str:
        first, second = self._factor(node, input), self._factor(node, other)
        if first is not None:
            input, second = other, first
        if second is None:
            raise unsupported(self._place(node), "a product of two images")
        return self._builder.affine(self._place(node), self._tensor(node, input), second, 0.0)

    def _op_div(self, node: fx.Node, input: object, other: object) -> str:
        second = self._factor(node, other)
        if second is None or not np.all(second):
            raise unsupported(self._place(node), "a division by an image or by zero")
        return self._builder.affine(self._place(node), self._tensor(node, input), 1 / second, 0.0)

    def _op_hardswish(self, node: fx.Node, input: object, inplace: bool = False) -> str:
        return self._builder.curve(self._place(node), self._tensor(node, input), "hardswish")

    def _op_hardsigmoid(self, node: fx.Node, input: object, inplace: bool = False) -> str:
        return self._builder.hardsigmoid(self._place(node), self._tensor(node, input))

    def _op_leaky_relu(
        self, node: fx.Node, input: object, negative_slope: float = 0.01, inplace: bool = False
    ) -> str:
        return self._builder.leaky_relu(
            self._place(node), self._tensor(node, input), negative_slope
        )

    def _op_cat(self, node: fx.Node, tensors: Sequence[object], dim: int = 0) -> str:
        return self._builder.concat(
            self._place(node), [self._tensor(node, v) for v in tensors], dim
        )

    def _op_flatten(
        self, node: fx.Node, input: object, start_dim: int = 0, end_dim: int = -1
    ) -> str:
        return self._builder.flatten(
            self._place(node), self._tensor(node, input), start_dim, end_dim
        )

    def _op_view(self, node: fx.Node, input: object, *shape: Any) -> str:
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        plain = tuple(
            self._sizes[v][0] if isinstance(v, fx.Node) and v in self._sizes else v for v in shape
        )
        return self._builder.view(self._place(node), self._tensor(node, input), plain)

    _op_reshape = _op_view

    def _op_size(self, node: fx.Node, input: object, dim: int | None = None) -> None:
        sizes = (None, *self._builder.shape(self._tensor(node, input)))
        self._sizes[node] = sizes if dim is None else (sizes[dim],)

    def _op_getattr(self, node: fx.Node, input: object, name: str) -> None:
        if name != "shape":
            raise unsupported(self._place(node), f"the attribute {name}")
        self._op_size(node, input)

    def _op_getitem(self, node: fx.Node, input: object, index: object) -> str | None:
        if isinstance(input, fx.Node) and input in self._sizes and isinstance(index, int):
            self._sizes[node] = (self._sizes[input][index],)
            return None
        parts = index if isinstance(index, tuple) else (index,)
        plain = [p for p in parts if isinstance(p, slice) and not p.start and p.stop is None]
        steps = [p.step or 1 for p in plain] + [1] * (4 - len(plain))
        whole = all(isinstance(step, int) and step > 0 for step in steps)
        if len(plain) != len(parts) or len(steps) != 4 or not whole or steps[:2] != [1, 1]:
            raise unsupported(self._place(node), "indexing of a tensor")
        return self._builder.every(self._place(node), self._tensor(node, input), *steps[2:])

    def _op_mean(self, node: fx.Node, input: object, dim: Any = (), keepdim: bool = False) -> str:
        dims = [dim] if isinstance(dim, int) else list(dim)
        return self._builder.mean(self._place(node), self._tensor(node, input), dims)

    def _op_max_pool2d(
        self,
        node: fx.Node,
        input: object,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> str:
        return self._builder.max_pool(
            self._place(node),
            self._tensor(node, input),
            kernel_size,
            stride,
            padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
        )

    def _op_avg_pool2d(
        self,
        node: fx.Node,
        input: object,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: object = None,
    ) -> str:
        return self._builder.avg_pool(
            self._place(node),
            self._tensor(node, input),
            kernel_size,
            stride,
            padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor=divisor_override,
        )

    def _op_adaptive_avg_pool2d(self, node: fx.Node, input: object, output_size: Any) -> str:
        return self._builder.adaptive_avg_pool(
            self._place(node), self._tensor(node, input), output_size
        )

    def _op_pad(
        self,
        node: fx.Node,
        input: object,
        pad: Any,
        mode: str = "constant",
        value: float | None = None,
    ) -> str:
        return self._builder.pad(
            self._place(node), self._tensor(node, input), tuple(pad), mode, value
        )

    def _op_dropout(self, node: fx.Node, input: object, *args: Any, **kwargs: Any) -> str:
        if (args[1] if len(args) > 1 else kwargs.get("training", True)) is True:
            raise unsupported(self._place(node), "dropout that stays on in evaluation")
        return self._tensor(node, input)

    def _op_contiguous(self, node: fx.Node, input: object) -> str:
        return self._tensor(node, input)


_FUNCTIONS: dict[Any, str] = {
    F.relu: "relu",
    torch.relu: "relu",
    F.relu6: "relu6",
    F.hardtanh: "hardtanh",
    torch.clamp: "clamp",
    torch.tanh: "tanh",
    F.tanh: "tanh",
    torch.sigmoid: "sigmoid",
    F.sigmoid: "sigmoid",
    operator.add: "add",
    operator.iadd: "add",
    operator.sub: "sub",
    torch.sub: "sub",
    operator.mul: "mul",
    torch.mul: "mul",
    operator.truediv: "div",
    torch.div: "div",
    F.hardswish: "hardswish",
    F.hardsigmoid: "hardsigmoid",
    F.leaky_relu: "leaky_relu",
    F.dropout2d: "dropout",
    F.relu_: "relu",
    torch.relu_: "relu",
    torch.add: "add",
    torch.cat: "cat",
    torch.concat: "cat",
    torch.flatten: "flatten",
    torch.reshape: "reshape",
    torch.mean: "mean",
    F.max_pool2d: "max_pool2d",
    torch.max_pool2d: "max_pool2d",
    F.avg_pool2d: "avg_pool2d",
    F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.pad: "pad",
    F.dropout: "dropout",
    getattr: "getattr",
    operator.getitem: "getitem",
}
