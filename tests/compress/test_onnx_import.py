"""ONNX files to the float graph: outputs against onnxruntime's, and the whole way to integers."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from onnx import TensorProto
from torch import nn

from hwgen.compress import forward
from hwgen.compress.calibrate import Format, observe
from hwgen.compress.importers import model as models
from hwgen.compress.importers.onnx_import import import_onnx, supported
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods.dyadic import Levels, Options, Scale, approximate
from hwgen.compress.simplify import simplify
from hwgen.sim import golden
from tests.compress.onnx_models import SHAPE, Making, reference, save

FINE = Levels.parse("+".join(f"{k}/128" for k in range(1, 129)))
FRAC = 4  # of the images: codes -64..63 in sixteenths


def conv(m, x, co=4, ci=3, k=3, **given):
    return m("Conv", x, m.weights(co, ci // given.get("group", 1), k, k), m.weights(co), **given)


def head(m, x, features, classes=5):
    """A flatten and a Gemm."""
    return m("Gemm", m("Flatten", x), m.weights(classes, features), m.weights(classes), transB=1)


def by(*steps):
    """A model that applies steps in turn, then global average pooling and a Gemm."""

    def make():
        m = Making()
        x = "image"
        for step in steps:
            x = step(m, x)
        return m.model(head(m, m("GlobalAveragePool", x), 4))

    return make


def op(name, **given):
    return lambda m, x: m(name, x, **given)


def with_constant(name, shape, *, first=False, positive=False):
    def step(m, x):
        values = m.random.uniform(0.5, 1.5, shape) if positive else m.random.normal(0, 1, shape)
        c = m.const(values)
        return m(name, c, x) if first else m(name, x, c)

    return step


def batch_norm(m, x):
    values = [m.const(m.random.uniform(0.5, 1.5, 4)) for _ in range(2)]
    return m("BatchNormalization", x, values[0], m.weights(4), m.weights(4), values[1],
             epsilon=1e-3)  # fmt: skip


def clip(m, x):
    return m("Clip", x, m.const(0.0), m.const(6.0))


def residual(m, x):
    return m("Relu", m("Add", x, conv(m, x, 4, 4, pads=[1, 1, 1, 1])))


def concat(m, x):
    y = m("Concat", conv(m, x, 2, 4, 1), m("Tanh", conv(m, x, 2, 4, 1)), axis=1)
    return m("Sub", y, conv(m, x, 4, 4, 1))


def zero_pad(m, x):
    return m("Pad", m("Relu", x), m.const([0, 0, 1, 0, 0, 0, 0, 2], np.int64), m.const(0.0))


def opset7():
    """Attributes where newer operator sets have inputs; no name; biases left out."""
    m = Making()
    x = m("Conv", "image", m.weights(4, 3, 3, 3), name="")
    x = m("Dropout", m("Clip", m("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), min=0.0,
                       max=6.0), ratio=0.3)  # fmt: skip
    x = m("Reshape", m("ReduceMean", x, axes=[2, 3]), m.const([0, -1], np.int64))
    x = m("MatMul", x, m.weights(4, 5))
    return m.model(m("Softmax", m("Add", x, m.weights(1, 5))), opset=8, shape=(1, *SHAPE))


def view():
    """What torch makes of x.view(x.size(0), -1), with normalisation in front."""
    m = Making()
    x = m("Div", m("Sub", "image", m.weights(3, 1, 1)), m.const(np.full((1, 3, 1, 1), 1.25)))
    x = m("Relu", conv(m, x, pads=[0, 1, 1, 2], strides=[2, 1]))
    size = m("Gather", m("Shape", x), m.const(0, np.int64), axis=0)
    rest = m("Constant", value_ints=[-1])
    to = m("Concat", m("Unsqueeze", size, m.const([0], np.int64)), rest, axis=0)
    x = m("Reshape", x, to)
    return m.model(m("Gemm", x, m.weights(4 * 4 * 9, 5), m.weights(5), alpha=0.5, beta=2.0))


def nhwc():
    """As from TensorFlow: channels last at the borders, a flatten in that order."""
    m = Making()
    x = m("Transpose", "image", perm=[0, 3, 1, 2])
    x = m("Relu", conv(m, x, auto_pad="SAME_UPPER", strides=[2, 2]))
    x = m("Add", m("Transpose", x, perm=[0, 2, 3, 1]), m.weights(4))
    x = m("Flatten", m("Tanh", x))
    x = m("MatMul", m("Mul", x, m.weights(5 * 4 * 4)), m.weights(5 * 4 * 4, 5))
    return m.model(x, shape=("n", 9, 8, 3))


def nhwc_mean():
    m = Making()
    x = m("Relu", conv(m, m("Transpose", "image", perm=[0, 3, 1, 2]), 4, pads=[1, 1, 1, 1]))
    x = m("Pad", m("Transpose", x, perm=[0, 2, 3, 1]), m.const([0, 1, 0, 0, 0, 0, 1, 0], np.int64))
    x = m("AveragePool", m("Transpose", x, perm=[0, 3, 1, 2]), kernel_shape=[2, 2])
    x = m("ReduceMean", m("Transpose", x, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)
    return m.model(m("MatMul", x, m.weights(4, 5)), shape=(1, 9, 8, 3))


def flat_input():
    m = Making()
    x = m("Relu", m("Gemm", "image", m.weights(216, 7), m.weights(7)))
    return m.model(m("Gemm", x, m.weights(5, 7), transB=1), shape=("n", 216))


def newest():
    """Axes as inputs, a Cast, a squeeze, an ArgMax behind the scores' Softmax."""
    m = Making()
    x = m("Relu", conv(m, m("Cast", "image", to=TensorProto.FLOAT), dilations=[2, 1]))
    x = m("ReduceMean", x, m.const([2, 3], np.int64), keepdims=1)
    x = m("Squeeze", m("Identity", x), m.const([2, 3], np.int64))
    return m.model(m("Gemm", x, m.weights(5, 4), m.weights(5), transB=1), opset=21)


START = (lambda m, x: conv(m, x), op("Relu"))
MODELS = {
    "relu": by(*START),
    "batch_norm_clip": by(lambda m, x: conv(m, x), batch_norm, clip),
    "groups": by(*START, lambda m, x: conv(m, x, 4, 4, group=2)),
    "depthwise": by(*START, lambda m, x: conv(m, x, 4, 4, group=4, pads=[1, 0, 0, 1])),
    "dilations": by(lambda m, x: conv(m, x, dilations=[2, 3], pads=[2, 3, 2, 3])),
    "same_upper": by(lambda m, x: conv(m, x, k=4, strides=[2, 3], auto_pad="SAME_UPPER")),
    "same_lower": by(lambda m, x: conv(m, x, k=4, strides=[2, 3], auto_pad="SAME_LOWER")),
    "valid": by(lambda m, x: conv(m, x, auto_pad="VALID")),
    "leaky": by(lambda m, x: conv(m, x), op("LeakyRelu", alpha=0.125)),
    "prelu": by(lambda m, x: conv(m, x), lambda m, x: m("PRelu", x, m.const(np.full((4, 1, 1),
                                                                                    0.25)))),
    "tanh_sigmoid": by(*START, op("Tanh"), lambda m, x: conv(m, x, 4, 4), op("Sigmoid")),
    "hard": by(lambda m, x: conv(m, x), op("HardSigmoid", alpha=0.2, beta=0.5)),
    "hardswish": by(lambda m, x: conv(m, x), op("HardSwish")),
    "max_pool": by(*START, op("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])),
    "max_pool_ceil": by(*START, op("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)),
    "max_pool_same": by(*START, op("MaxPool", kernel_shape=[3, 3], strides=[2, 2],
                                   auto_pad="SAME_UPPER")),
    "average_pool": by(*START, op("AveragePool", kernel_shape=[3, 2], strides=[2, 1],
                                  pads=[1, 0, 1, 1], count_include_pad=1)),
    "global_max": by(*START, op("GlobalMaxPool")),
    "residual": by(*START, residual),
    "concat": by(*START, concat),
    "pad": by(*START, zero_pad, lambda m, x: conv(m, x, 4, 4)),
    "mul_channels": by(*START, with_constant("Mul", (4, 1, 1)), with_constant("Add", ())),
    "constant_minus": by(*START, with_constant("Sub", (1, 4, 1, 1), first=True)),
    "division": by(with_constant("Div", (3, 1, 1), positive=True), *START),
    "opset7": opset7,
    "view": view,
    "nhwc": nhwc,
    "nhwc_mean": nhwc_mean,
    "flat_input": flat_input,
    "newest": newest,
}  # fmt: skip


def image_codes(count=40):
    return np.random.default_rng(3).integers(-64, 64, (count, *SHAPE))


def as_given(model, x):
    """NCHW images in the order that the model's input has."""
    sides = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    if len(sides) == 2:
        return x.reshape(len(x), -1)
    return x.transpose(0, 2, 3, 1) if sides[-1] == 3 else x


def expected(model, x):
    """onnxruntime's outputs, an image at a time where the batch is fixed."""
    given = as_given(model, x)
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    parts = [given[k : k + 1] for k in range(len(given))] if fixed else [given]
    return np.concatenate([reference(model, part) for part in parts]).reshape(len(x), -1)


def run(graph, x):
    name = graph.output.name
    return forward.run(graph, torch.from_numpy(x), keep=[name])[name].flatten(1).numpy()


def lowered(graph, codes, *, results=None, classify=False, frac=FRAC):
    """The network of integers, calibrated on the images themselves."""
    x = torch.from_numpy(codes * 2.0**-frac).float()
    weights = results or {
        node.name: approximate(
            node.weight,
            Options(FINE, Scale.LAYER if node is graph.output else Scale.FILTER,
                    None if node is graph.output else 3),
        )
        for node in linear_nodes(graph)
    }  # fmt: skip
    lo, hi = int(min(codes.min(), 0)), int(max(codes.max(), 1))
    return lower(
        graph, weights, observe(graph, x, observed(graph)), input_codes=Format(lo, hi, frac),
        options=LowerOptions(act_bits=12, classify=classify), metadata={},
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_against_onnxruntime(name, tmp_path):
    model = MODELS[name]()
    codes = image_codes()
    x = (codes / 2.0**FRAC).astype(np.float32)
    graph, notes = import_onnx(save(model, tmp_path / "m.onnx"), SHAPE)
    wanted = expected(model, x)
    if notes:                                             # the Softmax was left out
        assert re.fullmatch(r"Softmax .* left out: it keeps the order of the scores", notes[0])
        scores = torch.from_numpy(run(graph, x))
        assert np.array_equal(scores.argmax(1), wanted.argmax(1))
        wanted_is = torch.softmax(scores, 1).numpy()
        np.testing.assert_allclose(wanted_is, wanted, rtol=1e-4, atol=1e-5)
        wanted = scores.numpy()
    scale = np.abs(wanted).max()
    assert np.abs(run(graph, x) - wanted).max() <= 1e-4 * scale
    simple = simplify(graph)
    assert np.abs(run(simple, x) - wanted).max() <= 1e-4 * scale
    network = lowered(simple, codes)
    last = network.output
    found = golden.run(network, codes)[last.name].reshape(len(codes), -1)
    real = found * 2.0 ** -float(network.tensors[last.name].frac[0])
    spread = np.ptp(wanted)
    assert np.abs(real - wanted).max() <= 0.04 * spread + 1e-6


class Net(nn.Module):
    """An option-A shortcut, a concatenation and the usual rest."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4),
                                  nn.ReLU6())
        self.down = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        short = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = torch.relu(self.down(x) + short)
        return self.head(x.mean((2, 3)))


TORCH = {
    "plain": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Hardswish(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, groups=4), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(4, 5)),
    "shortcut": Net,
    "pooled": lambda: nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 0)), nn.Conv2d(3, 4, 3, padding=1), nn.Hardtanh(),
        nn.AvgPool2d(3), nn.Conv2d(4, 5, 3), nn.Hardsigmoid(), nn.Dropout(),
        nn.Flatten(), nn.Linear(5, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_exported_from_torch(name, tmp_path):
    torch.manual_seed(0)
    module, path = TORCH[name]().eval(), tmp_path / "m.onnx"
    x = torch.randn(6, *SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=False, input_names=["image"],
                          dynamic_axes={"image": {0: "n"}})  # fmt: skip
    loaded = models.load(str(path), SHAPE)
    assert loaded.name == "m"
    wanted = module(x).detach().numpy()
    found = run(loaded.graph, x.numpy())
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_argmax_is_left_out(tmp_path):
    m = Making()
    scores = head(m, conv(m, "image"), 4 * 7 * 6)
    model = m.model(m("ArgMax", m("Softmax", scores, axis=1), axis=1, keepdims=0),
                    out_kind=TensorProto.INT64)  # fmt: skip
    graph, notes = import_onnx(save(model, tmp_path / "m.onnx"), SHAPE)
    x = (image_codes() / 16).astype(np.float32)
    assert np.array_equal(run(graph, x).argmax(1), reference(model, x))
    assert [note.split()[0] for note in notes] == ["Softmax", "ArgMax"]
    assert notes[1].endswith("left out: the class is the index of the largest score")


def test_every_supported_operator_is_in_the_table(repository):
    text = (repository / "docs" / "import.md").read_text()
    table = text.split("## ONNX operators")[1].split("\n## ")[0]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", "\n".join(
        line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))))
    assert named == set(supported())
