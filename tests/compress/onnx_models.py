"""ONNX models made with onnx.helper, and what onnxruntime computes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SHAPE = (3, 9, 8)


class Making:
    """Collects nodes; every call adds one and returns the name of its output."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def const(self, values: Any, dtype: Any = np.float32) -> str:
        """An initialiser."""
        name = f"t{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        """An initialiser of random numbers, small enough for sums near one."""
        return self.const(self.random.normal(0, 1 / np.sqrt(max(1, np.prod(shape[1:]))), shape))

    def __call__(self, op: str, *inputs: str, name: str | None = None, **given: Any) -> str:
        out = f"{op}_{len(self.nodes)}_out"
        node = name if name is not None else f"/body/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=node, **given))
        return out

    def model(
        self,
        output: str,
        *,
        shape: tuple[Any, ...] = ("n", *SHAPE),
        opset: int = 17,
        kind: int = TensorProto.FLOAT,
        out_kind: int = TensorProto.FLOAT,
    ) -> Any:
        """The finished model, checked by onnx itself."""
        graph = helper.make_graph(
            self.nodes, "g",
            [helper.make_tensor_value_info("image", kind, shape)],
            [helper.make_tensor_value_info(output, out_kind, None)],
            self.tensors,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        return model


def save(model: Any, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def reference(model: Any, x: Any) -> Any:
    """What onnxruntime computes, without its rewriting of graphs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def quantise(m: Making, x: str, scale: float, zero: int = 0, dtype: Any = np.int8) -> str:
    """QuantizeLinear, then DequantizeLinear."""
    s, z = m.const(scale), m.const(zero, dtype)
    return m("DequantizeLinear", m("QuantizeLinear", x, s, z), s, z)


def codes(m: Making, shape: tuple[int, ...], scale: Any, *, axis: int = 0, most: int = 127) -> str:
    """int8 weights behind a DequantizeLinear; one scale, or one an output along ``axis``."""
    values = m.random.integers(-most, most + 1, shape)
    w = m.const(values, np.int8)
    zero = m.const(np.zeros(np.shape(scale)), np.int8)
    given = {"axis": axis} if np.ndim(scale) else {}
    return m("DequantizeLinear", w, m.const(scale), zero, **given)


assert onnx.__version__
