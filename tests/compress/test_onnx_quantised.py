"""Quantised ONNX models: their codes in the golden model against onnxruntime's, one by one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from hwgen.compress import forward, pipeline, quantised
from hwgen.compress.calibrate import Format, observe
from hwgen.compress.importers import graph as g
from hwgen.compress.importers.onnx_import import import_onnx
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.simplify import simplify
from hwgen.errors import HwgenError
from hwgen.sim import golden
from tests.compress.onnx_models import SHAPE, Making, codes, quantise, reference, save

STEP = 2.0**-4  # of the images


def int_bias(m, count, step):
    values = m.random.integers(-200, 200, count)
    zero = m.const(0, np.int32)
    return m("DequantizeLinear", m.const(values, np.int32), m.const(step), zero)


def chain(w_step=2.0**-6, first=2.0**-3, second=2.0**-2, zero=0, kind=np.int8, image=STEP):
    """conv, relu, pool, depthwise conv, dense: codes asked for everywhere."""
    m = Making()
    x = quantise(m, "image", image)
    w1 = codes(m, (4, 3, 3, 3), w_step)
    x = m("Conv", x, w1, int_bias(m, 4, w_step * image), pads=[1, 0, 1, 2])
    x = quantise(m, m("Relu", x), first, zero, kind)
    x = quantise(m, m("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), first, zero, kind)
    w2 = codes(m, (4, 1, 3, 3), [w_step, w_step / 2, w_step, w_step * 2])
    x = quantise(m, m("Conv", x, w2, int_bias(m, 4, w_step * first / 2), group=4), second)
    x = m("Flatten", x)
    w3 = codes(m, (5, 4 * 2 * 2), w_step / 2)
    x = m("Gemm", x, w3, int_bias(m, 5, w_step * second / 2), transB=1)
    return m.model(quantise(m, x, second * 4))


def residual():
    """Two branches of different steps added, one concatenated."""
    m = Making(1)
    x = quantise(m, "image", STEP)
    a = quantise(m, m("Conv", x, codes(m, (4, 3, 3, 3), 2.0**-7), pads=[1] * 4), 2.0**-4)
    b = quantise(m, m("Conv", a, codes(m, (4, 4, 1, 1), 2.0**-7)), 2.0**-3, 5)
    y = quantise(m, m("Relu", m("Add", a, b)), 2.0**-3, -128)
    y = quantise(m, m("Concat", y, quantise(m, m("Relu", b), 2.0**-3, -128), axis=1), 2.0**-3, -128)
    y = quantise(m, m("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2]), 2.0**-4, -128)
    y = quantise(m, m("GlobalMaxPool", y), 2.0**-4, -128)
    y = m("Gemm", m("Flatten", y), codes(m, (5, 8), 2.0**-6), transB=1)
    return m.model(quantise(m, y, 2.0**-3))


def padded():
    """Zeros around the image by a layer of their own, between codes of one step."""
    m = Making(3)
    x = quantise(m, "image", STEP, 3)
    around = m.const([0, 0, 1, 0, 0, 0, 2, 1], np.int64)
    x = quantise(m, m("Pad", x, around), STEP, 3)
    x = quantise(m, m("Conv", x, codes(m, (4, 3, 3, 3), 2.0**-7), strides=[2, 1]), 2.0**-2)
    x = quantise(m, m("Flatten", m("MaxPool", x, kernel_shape=[5, 7])), 2.0**-2)
    return m.model(quantise(m, m("MatMul", x, codes(m, (4, 5), 2.0**-6)), 2.0**-2))


def operators():
    """QLinearConv and QLinearMatMul, weights with zero points, an unsigned input."""
    m = Making(2)
    s, z = m.const(STEP), m.const(60, np.uint8)
    x = m("QuantizeLinear", "image", s, z)
    w = m.const(m.random.integers(0, 256, (4, 3, 2, 2)), np.uint8)
    s1, z1 = m.const(2.0**-2), m.const(111, np.uint8)
    bias = m.const(m.random.integers(-300, 300, 4), np.int32)
    ws, wz = m.const([2.0**-7, 2.0**-6, 2.0**-7, 2.0**-8]), m.const([128] * 4, np.uint8)
    x = m("QLinearConv", x, s, z, w, ws, wz, s1, z1, bias, strides=[2, 2])
    x = m("Flatten", m("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    w2 = m.const(m.random.integers(-60, 60, (16, 5)), np.int8)
    s2, z2 = m.const(2.0**-2), m.const(128, np.uint8)
    x = m("QLinearMatMul", x, s1, z1, w2, m.const(2.0**-7), m.const(0, np.int8), s2, z2)
    return m.model(m("DequantizeLinear", x, s2, z2))


def images(count=60):
    return np.random.default_rng(7).integers(-64, 64, (count, *SHAPE))


def integers(path, x_codes, *, frac=4):
    """(graph, network) that keep the model's own integers."""
    graph = simplify(import_onnx(path, SHAPE)[0])
    results = {
        node.name: quantised.exact(node, common=False) for node in linear_nodes(graph)
    }
    x = torch.from_numpy(x_codes * 2.0**-frac).float()
    network = lower(
        graph, results, observe(graph, x, observed(graph)), input_codes=Format(-64, 63, frac),
        options=LowerOptions(classify=False), metadata={},
    )  # fmt: skip
    return graph, network


def real(network, x_codes):
    last = network.output.name
    found = golden.run(network, x_codes)[last].reshape(len(x_codes), -1)
    return found * 2.0 ** -float(network.tensors[last].frac[0])


POWERS = {
    "int8": lambda: chain(),
    "zero_point": lambda: chain(zero=-128),
    "odd_zero_point": lambda: chain(zero=4),
    "uint8": lambda: chain(kind=np.uint8, zero=3),
    "fine": lambda: chain(w_step=2.0**-7, first=2.0**-4, second=2.0**-4),
    "residual": residual,
    "padded": padded,
    "operators": operators,
}


def ties_upwards(model):
    """The same model with its QuantizeLinear nodes rounding ties towards plus infinity: half a step
    of the finest grid added in front, less than anything but a tie can tell.
    """
    changed = type(model)()
    changed.CopyFrom(model)
    nodes = list(changed.graph.node)
    del changed.graph.node[:]
    steps = {t.name: t for t in changed.graph.initializer}
    for count, node in enumerate(nodes):
        if node.op_type == "QuantizeLinear":
            scale = np.frombuffer(steps[node.input[1]].raw_data, np.float32)[0]
            name = f"nudge{count}"
            changed.graph.initializer.append(
                helper.make_tensor(name, TensorProto.FLOAT, [], [scale * 2.0**-12])
            )
            changed.graph.node.append(
                helper.make_node("Add", [node.input[0], name], [f"{name}_out"])
            )
            node.input[0] = f"{name}_out"
        changed.graph.node.append(node)
    return changed


@pytest.mark.parametrize("name", [n for n in POWERS if n != "operators"])
def test_powers_of_two_are_exact(name, tmp_path):
    """Every output code equals onnxruntime's, once ties go the same way."""
    model, x_codes = POWERS[name](), images()
    _, network = integers(save(model, tmp_path / "m.onnx"), x_codes)
    wanted = reference(ties_upwards(model), (x_codes * STEP).astype(np.float32))
    found = real(network, x_codes)
    assert np.unique(found).size > 10
    assert np.array_equal(found, wanted.reshape(len(wanted), -1))
    assert network.metadata["rescaled"] == {}


def test_linear_operators(tmp_path):
    """QLinearConv and QLinearMatMul: at most the ties differ, by one code at the first layer."""
    model, x_codes = operators(), images()
    _, network = integers(save(model, tmp_path / "m.onnx"), x_codes)
    wanted = reference(model, (x_codes * STEP).astype(np.float32))
    found = real(network, x_codes)
    assert np.unique(found).size > 20
    assert (found == wanted).mean() > 0.9
    assert np.abs(found - wanted).max() <= 2 * 2.0**-2


def one_layer(step):
    """x, a 1x1 convolution by one, codes in steps of ``step``: only the rounding is left."""
    m = Making()
    x = quantise(m, "image", STEP)
    w = m("DequantizeLinear", m.const(np.eye(3).reshape(3, 3, 1, 1), np.int8), m.const(1.0),
          m.const(0, np.int8))  # fmt: skip
    return m.model(quantise(m, m("Conv", x, w), step))


def test_ties(tmp_path):
    """ONNX rounds a tie to the even code, the network towards plus infinity; nothing else
    differs."""
    model = one_layer(STEP * 4)
    x_codes = np.resize(np.arange(-64, 64), (1, *SHAPE))
    _, network = integers(save(model, tmp_path / "m.onnx"), x_codes)
    found = real(network, x_codes) / (STEP * 4)
    wanted = reference(model, (x_codes * STEP).astype(np.float32)).reshape(1, -1) / (STEP * 4)
    exact = x_codes.reshape(1, -1) / 4
    assert np.array_equal(found, np.floor(exact + 0.5))
    assert np.array_equal(wanted, np.rint(exact))
    differs = found != wanted
    tie = np.abs(exact - np.trunc(exact)) == 0.5
    assert np.array_equal(differs, tie & (np.floor(exact) % 2 == 0))


@pytest.mark.parametrize("options", [
    {"w_step": 0.0131, "first": 0.117, "second": 0.31, "zero": -128},
    {"w_step": 0.0131, "first": 2.0**-3, "second": 2.0**-2, "zero": -128},
    {"first": 0.117, "second": 0.31},
    {"image": 0.05},
])  # fmt: skip
def test_other_steps(options, tmp_path):
    """Steps that are no powers of two: the codes stay, the factors between them are near."""
    model, x_codes = chain(**options), images()
    graph, network = integers(save(model, tmp_path / "m.onnx"), x_codes)
    steps = [node.step for node in graph.nodes if isinstance(node, g.Quantise)]
    assert all(np.log2(step) == round(np.log2(step)) for step in steps)
    changes = network.metadata["rescaled"]
    assert changes
    assert max(changes.values()) < 0.02
    wanted = reference(model, (x_codes * STEP).astype(np.float32)).reshape(len(x_codes), -1)
    scale = 4 * options.get("second", 2.0**-2)
    found = golden.run(network, x_codes)[network.output.name].reshape(len(x_codes), -1)
    assert np.unique(wanted).size > 20
    assert np.abs(found - wanted / scale).mean() < 1.5        # of codes from -128 to 127
    assert np.abs(found - wanted / scale).max() <= 6
    if np.log2(scale) != round(np.log2(scale)):
        assert network.metadata["score_scale"][0] == pytest.approx(
            scale * 2.0 ** round(-np.log2(scale)), rel=1e-6
        )


@pytest.mark.parametrize("make", [
    lambda: chain(w_step=0.0131, first=0.117, second=0.31, image=0.05), residual,
])  # fmt: skip
def test_simplified_graphs_compute_the_same(make, tmp_path):
    """Steps become powers of two without another value; a last bit may turn a tie."""
    model = make()
    for tensor in model.graph.initializer:                # residual: steps that are no powers
        if not tensor.dims and tensor.data_type == TensorProto.FLOAT and make is residual:
            step = np.frombuffer(tensor.raw_data, np.float32) * 0.83
            tensor.raw_data = step.astype(np.float32).tobytes()
    graph, _ = import_onnx(save(model, tmp_path / "m.onnx"), SHAPE)
    simple = simplify(graph)
    x = torch.from_numpy(images(20) * STEP)
    before, after = (
        forward.run(one, x, keep=[one.output.name])[one.output.name] for one in (graph, simple)
    )
    assert float((before - after).abs().gt(1e-9).double().mean()) < 0.02
    assert before.unique().numel() > 10
    steps = [node.step for node in simple.nodes if isinstance(node, g.Quantise)]
    assert all(np.log2(step) == round(np.log2(step)) for step in steps)


def test_zero_points_are_subtracted(tmp_path):
    path = save(chain(zero=4), tmp_path / "m.onnx")
    graph, _ = import_onnx(path, SHAPE)
    assert {(node.lo, node.hi) for node in graph.nodes if isinstance(node, g.Quantise)} == {
        (-128, 127), (-132, 123)}  # fmt: skip
    _, network = integers(path, images())
    assert (0, 123) in {(layer.lo, layer.hi) for layer in network.layers if hasattr(layer, "lo")}


def test_weights_stay_as_they_are(tmp_path):
    model = chain()
    graph = simplify(import_onnx(save(model, tmp_path / "m.onnx"), SHAPE)[0])
    assert quantised.is_quantised(graph)
    first = linear_nodes(graph)[0]
    (weights,) = [t for t in model.graph.initializer if tuple(t.dims) == (4, 3, 3, 3)]
    exact = np.frombuffer(weights.raw_data, np.int8).reshape(4, 3, 3, 3)
    assert np.array_equal(quantised.exact(first, common=True).codes, exact)


def test_steps_a_class_become_one(tmp_path):
    m = Making()
    x = m("Flatten", m("GlobalAveragePool", quantise(m, "image", STEP)))
    y = m("MatMul", x, codes(m, (3, 4), [2.0**-3, 2.0**-5, 2.0**-4, 0.07], axis=1))
    graph = simplify(import_onnx(save(m.model(y), tmp_path / "m.onnx"), SHAPE)[0])
    (node,) = linear_nodes(graph)
    np.testing.assert_allclose(node.step, [2.0**-3, 2.0**-5, 2.0**-4, 0.07], rtol=1e-6)
    result = quantised.exact(node, common=True)
    assert np.unique(result.scale).size == 1
    made = result.values()
    assert np.array_equal(made[:3], node.weight[:3])
    np.testing.assert_allclose(made[3], node.weight[3], rtol=0.02)


@pytest.mark.parametrize(("method", "says"), [((), "none"), (("dyadic:P9",), "dyadic:P9")])
def test_compress(method, says, tmp_path):
    """The command's function: weights kept without --method, approximated with it."""
    m = Making(4)
    x = quantise(m, "image", 2.0**-4, 0, np.uint8)
    x = m("Conv", x, codes(m, (4, 1, 3, 3), 0.011), int_bias(m, 4, 0.011 / 16))
    x = quantise(m, m("Relu", x), 0.03, 0, np.uint8)
    x = m("Gemm", m("Flatten", x), codes(m, (10, 144), 0.011), transB=1)
    model = m.model(m("Softmax", x, axis=1), shape=("n", 1, 8, 8))
    path, out = save(model, tmp_path / "m.onnx"), tmp_path / "net.npz"
    report = pipeline.compress(str(path), method, "digits", out)
    assert report["methods"][0].startswith(says)
    assert any(note.startswith("Softmax") for note in report["notes"])
    assert any(note.startswith("scales that are no powers of two: factors have three signed "
                               "digits, at most ") for note in report["notes"])  # fmt: skip
    assert ("quantised weights kept as they are" in report["notes"]) == (not method)
    assert json.loads(out.with_name("compress.json").read_text())["notes"] == report["notes"]
    if not method:
        assert abs(report["accuracy_float"] - report["accuracy_integer"]) < 0.02
        assert all(layer["error"] < 1e-9 for layer in report["layers"])


REFUSED = {
    "scale_a_channel": (
        lambda m: m("QuantizeLinear", "image", m.const([0.1, 0.2, 0.1]),
                    m.const([0, 0, 0], np.int8), axis=1),
        "QuantizeLinear with a scale a channel is not supported",
    ),
    "scale_zero": (
        lambda m: quantise(m, "image", 0.0), "a positive finite scale needed, not 0.0",
    ),
    "scale_nan": (
        lambda m: quantise(m, "image", np.nan), "a positive finite scale needed, not nan",
    ),
    "other_scale": (
        lambda m: m("DequantizeLinear", m("QuantizeLinear", "image", m.const(0.5),
                                          m.const(0, np.int8)), m.const(0.25),
                    m.const(0, np.int8)),
        "DequantizeLinear with scale 0.25 and zero 0 of codes with 0.5 and 0 is not supported",
    ),
    "codes": (
        lambda m: m("Relu", m("QuantizeLinear", "image", m.const(0.5), m.const(0, np.int8))),
        r"Relu of integer codes \(a DequantizeLinear goes before it\) is not supported",
    ),
    "int32": (
        lambda m: m("QuantizeLinear", "image", m.const(0.5), m.const(0, np.int32)),
        "codes of 8 or 16 bits needed, not int32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    make, message = REFUSED[name]
    m = Making()
    path = save(m.model(make(m)), tmp_path / "m.onnx")
    with pytest.raises(HwgenError, match=message) as caught:
        import_onnx(path, SHAPE)
    assert "\n" not in str(caught.value)
