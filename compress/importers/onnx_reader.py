"""An ONNX graph to the float graph: the walk over its nodes, and what every operator shares.

The operators themselves are in ``onnx_layers`` and ``onnx_codes``; what depends on constants alone
is worked out by ``onnx_fold``. A tensor keeps its layout (NCHW, NHWC or flat) while it is read, so
that a Transpose is no operation and a flatten of NHWC reorders the dense weights behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hwgen.compress.importers.builder import Builder
from hwgen.compress.importers.graph import Graph, Shape
from hwgen.compress.importers.onnx_file import (
    Array,
    File,
    attributes,
    one_line,
    shown,
    sides,
)
from hwgen.compress.importers.onnx_fold import FOLDS, whole_numbers
from hwgen.compress.importers.onnx_values import Constant, Image, Layout, Value
from hwgen.errors import HwgenError

_FAULTS = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError,
           ZeroDivisionError, MemoryError)  # fmt: skip


class Call:
    """One node while it is read: its place, inputs, attributes, and the builder.

    Members: reader; op, the operator; place, its name in the float graph; inputs, by position, None
    where left out; given, its attributes.
    """

    def __init__(self, reader: Reader, node: Any, place: str, inputs: list[Value | None]) -> None:
        self.reader, self.node, self.place, self.inputs = reader, node, place, inputs
        self.op: str = node.op_type
        self.builder = reader.builder
        self.opset = reader.file.opset
        self.given: Mapping[str, Any] = attributes(node, reader.file.path)

    def refused(self, what: str) -> HwgenError:
        """The error that names this node, what is there, and what would be supported."""
        return self.builder.unsupported(self.reader.where(self.node), what)

    def image(self, position: int = 0, *, codes: bool = False) -> Image:
        """An input that depends on the image; integer codes only if the operator takes them."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if not isinstance(value, Image):
            what = "a constant" if isinstance(value, Constant) else "nothing"
            raise self.refused(f"{self.op} with {what} as input {position}")
        if value.ended and self.op not in ENDINGS:
            raise self.refused(f"{value.ended} before the end of the model (before {self.op})")
        if value.codes is not None and not codes:
            raise self.refused(f"{self.op} of integer codes (a DequantizeLinear goes before it)")
        return value

    def pixels(self, position: int = 0, *, codes: bool = False) -> Image:
        """An input in the order NCHW."""
        value = self.image(position, codes=codes)
        if value.layout is not Layout.NCHW:
            raise self.refused(f"{self.op} of a tensor in the order {value.layout.value}")
        return value

    def constant(self, position: int) -> Constant | None:
        """An input that the file fixes, None if left out."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if isinstance(value, Image):
            raise self.refused(f"{self.op} with input {position} that depends on the image")
        return value

    def needed(self, position: int) -> Array:
        """The array of a constant that must be there."""
        value = self.constant(position)
        if value is None:
            raise ValueError(f"input {position} missing")
        return value.array

    def numbers(self, position: int, name: str) -> list[int] | None:
        """Whole numbers, an attribute or, in newer operator sets, an input."""
        return whole_numbers(
            [self.constant(k) if k else None for k in range(len(self.inputs))],
            position, self.given, name,
        )  # fmt: skip

    def made(self, node: str, like: Image, **changes: Any) -> Image:
        """An image of a new node, otherwise like another."""
        return replace(like, node=node, shape=self.builder.shape(node), **changes)


Rule = Callable[[Call], "Value | str"]
ENDINGS = (
    "ArgMax", "Cast", "DequantizeLinear", "Flatten", "Identity", "LogSoftmax", "QuantizeLinear",
    "Reshape", "Softmax", "Squeeze",
)  # fmt: skip


class Reader:
    """Reads one file. Parameters: file; shape, (channels, height, width) of the images; rules, by
    operator.
    """

    def __init__(self, file: File, shape: Shape, rules: Mapping[str, Rule]) -> None:
        self.file, self._rules = file, rules
        supported = ", ".join(sorted({*rules, *FOLDS}))
        self.builder = Builder(shape, f"the ONNX operators {supported}")
        self.batch = 1
        self.notes: list[str] = []
        self._values: dict[str, Value] = {
            name: Constant(values) for name, values in file.arrays.items()
        }
        self._input(shape)

    def where(self, node: Any) -> str:
        """Name a node's place for an error: its name, or the tensor that it makes."""
        if node.name:
            return f"node {shown(node.name)}"
        return f"the node that makes {shown(node.output[0] if node.output else '')}"

    def read(self) -> Graph:
        """Return the float graph.

        Raises: HwgenError naming the node.
        """
        for node in self.file.graph.node:
            self._node(node)
        outputs = [value.name for value in self.file.graph.output]
        if len(outputs) != 1:
            raise HwgenError(f"A model with one output needed, not {len(outputs)}"
                             f" ({', '.join(map(shown, outputs[:5]))})")
        result = self._values.get(outputs[0])
        if not isinstance(result, Image):
            raise HwgenError(f"Output {shown(outputs[0])}: a tensor that depends on the image "
                             "needed")
        if result.order is not None:
            raise HwgenError(f"Output {shown(outputs[0])}: scores, or pixels in the order NCHW, "
                             "needed, not a flattened NHWC tensor")
        return self.builder.graph(result.node)

    def _input(self, shape: Shape) -> None:
        """Find the one input and whether its channels come first or last."""
        inputs = [v for v in self.file.graph.input if v.name not in self.file.arrays]
        if len(inputs) != 1:
            raise HwgenError(f"A model with one input needed, not {len(inputs)}"
                             f" ({', '.join(shown(v.name) for v in inputs[:5])})")
        name, declared = inputs[0].name, sides(inputs[0])
        flat = len(declared) == 2 and declared[1] in (None, shape[0] * shape[1] * shape[2])
        if declared and len(declared) != 4 and not flat:
            raise HwgenError(f"Input {shown(name)}: a tensor of 4 sides needed, not {declared}")
        if declared and declared[0]:
            self.batch = declared[0]
        if flat:
            node = self.builder.flatten(f"{name}.flat", "input")
            self._values[name] = Image(node, self.builder.shape(node), Layout.FLAT)
            return

        def fits(order: tuple[int, ...]) -> bool:
            return all(d is None or d == s for d, s in zip(declared[1:], order, strict=False))

        readers = [n for n in self.file.graph.node if name in n.input]
        turned = any(
            n.op_type == "Transpose" and attributes(n, self.file.path).get("perm") == [0, 3, 1, 2]
            for n in readers
        )
        last = (shape[1], shape[2], shape[0])
        if fits(shape) and not (turned and fits(last)):
            layout = Layout.NCHW
        elif fits(last):
            layout = Layout.NHWC
        else:
            wanted = "x".join("?" if d is None else str(d) for d in declared[1:])
            raise HwgenError(f"Images {wanted} needed by the model's input {shown(name)}, not "
                             f"{'x'.join(map(str, shape))}")
        self._values[name] = Image("input", shape, layout)

    def _node(self, node: Any) -> None:
        where = self.where(node)
        if node.domain not in ("", "ai.onnx"):
            raise self.builder.unsupported(
                where, f"{node.op_type} of the operators {shown(node.domain)}"
            )
        inputs: list[Value | None] = []
        for name in node.input:
            if name and name not in self._values:
                raise HwgenError(f"{where}: an input that an earlier node makes needed, not "
                                 f"{shown(name)}")
            inputs.append(self._values[name] if name else None)
        try:
            value = self._value(node, inputs)
        except HwgenError:
            raise
        except _FAULTS as error:
            raise HwgenError(
                f"{where}: {shown(node.op_type)[1:-1]} as it is used here cannot be read "
                f"({one_line(error)})"
            ) from error
        if not node.output or not node.output[0] or node.output[0] in self._values:
            raise HwgenError(f"{where}: an output with a name of its own needed")
        self._values[node.output[0]] = value

    def _value(self, node: Any, inputs: list[Value | None]) -> Value:
        op = node.op_type
        if op == "Constant":
            return self._constant(node)
        constants = [value for value in inputs if not isinstance(value, Image)]
        if op == "Shape" and isinstance(inputs[0], Image):
            return self._shape(node, inputs[0])
        if len(constants) == len(inputs) and op in FOLDS:
            return FOLDS[op](constants, attributes(node, self.file.path))
        if op not in self._rules:
            what = op if op in FOLDS else shown(op)[1:-1]
            extra = " on tensors that depend on the image" if op in FOLDS else ""
            raise self.builder.unsupported(self.where(node), what + extra)
        call = Call(self, node, self._place(node), inputs)
        made = self._rules[op](call)
        if isinstance(made, str):
            return call.made(made, next(v for v in inputs if isinstance(v, Image)))
        return made

    def _place(self, node: Any) -> str:
        """The node's name in the float graph."""
        name = (node.name or node.output[0]).strip("/").replace("/", ".")
        return shown(name)[1:-1] or "node"

    def _constant(self, node: Any) -> Constant:
        given = attributes(node, self.file.path)
        (key,) = given
        value = given[key]
        if key not in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            raise ValueError(f"a number or a tensor needed, not {key}")
        return Constant(np.asarray(value, None if key == "value" else
                                   np.float64 if "float" in key else np.int64))

    def _shape(self, node: Any, image: Image) -> Constant:
        given = attributes(node, self.file.path)
        full = image.sides(self.batch)[given.get("start", 0) : given.get("end")]
        return Constant(np.array(full, np.int64))

