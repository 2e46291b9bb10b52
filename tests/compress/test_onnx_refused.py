"""ONNX files that are not read: each gets one line that names the place and what was needed."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hwgen.compress.importers import model as models
from hwgen.compress.importers.onnx_import import import_onnx, supported
from hwgen.errors import HwgenError
from tests.compress.onnx_models import SHAPE, Making, codes, quantise, save


def plain(m):
    x = m("Relu", m("Conv", "image", m.weights(4, 3, 3, 3), m.weights(4)))
    return m("Gemm", m("Flatten", x), m.weights(5, 168), m.weights(5), transB=1)


def after_conv(op, *extra, **given):
    def make(m):
        x = m("Conv", "image", m.weights(4, 3, 3, 3), name="first")
        return m(op, x, *(m.const(*e) for e in extra), name="second", **given)

    return make


SECOND = "node 'second': "
MADE = {
    "erf": (
        after_conv("Erf"), SECOND + "Erf is not supported; supported: the ONNX operators Add, "
    ),
    "transposed": (
        lambda m: m("ConvTranspose", "image", m.weights(3, 4, 3, 3), name="up"),
        "node 'up': ConvTranspose is not supported",
    ),
    "no_name": (
        lambda m: m("Elu", "image", name=""),
        "the node that makes 'Elu_0_out': Elu is not supported",
    ),
    "other_domain": (
        after_conv("Gelu", domain="com.microsoft"),
        SECOND + "Gelu of the operators 'com.microsoft' is not supported",
    ),
    "product": (
        lambda m: m("Mul", m("Relu", "image"), "image", name="second"),
        SECOND + "Mul with input 1 that depends on the image is not supported",
    ),
    "by_pixel": (
        after_conv("Mul", (np.arange(6.0),)),
        SECOND + r"Mul as it is used here cannot be read \(constants that differ from pixel",
    ),
    "no_broadcast": (after_conv("Add", (np.ones((5, 1, 1)),)), SECOND + "Add as it is used here"),
    "zero_divisor": (after_conv("Div", (0.0,)), SECOND + r"Div .*\(division by zero\)"),
    "slice": (
        after_conv("Slice", ([0], np.int64), ([2], np.int64), ([1], np.int64)),
        SECOND + r"Slice of \(1, 4, 7, 6\) other than every s-th row and column is not supported",
    ),
    "prelu": (
        after_conv("PRelu", (np.array([[[0.1]], [[0.2]], [[0.1]], [[0.1]]]),)),
        SECOND + "PRelu with slopes that differ is not supported",
    ),
    "leaky": (after_conv("LeakyRelu", alpha=-0.5), "second: a leaky ReLU of slope -0.5"),
    "softmax": (
        lambda m: m("Relu", m("Softmax", "image", axis=1), name="second"),
        SECOND + r"Softmax before the end of the model \(before Relu\) is not supported",
    ),
    "softmax_axis": (after_conv("Softmax", axis=2), SECOND + "Softmax along side 2"),
    "argmax_last": (
        after_conv("ArgMax", axis=1, select_last_index=1), SECOND + "ArgMax with select_last_index"
    ),
    "concat": (
        lambda m: m("Concat", "image", "image", axis=2, name="second"),
        SECOND + r"Concat along side 2 \(channels are side 1\) is not supported",
    ),
    "transpose": (
        after_conv("Transpose", perm=[0, 1, 3, 2]),
        SECOND + r"Transpose of NCHW by \[0, 1, 3, 2\] \(NHWC to NCHW and back is\)",
    ),
    "reshape": (
        after_conv("Reshape", (np.array([0, 2, -1]), np.int64)),
        SECOND + r"Reshape of \(1, 4, 7, 6\) as \[1, 2, -1\]",
    ),
    "flatten": (after_conv("Flatten", axis=2), SECOND + "Flatten from side 2"),
    "reduce": (
        after_conv("ReduceMean", axes=[1]), SECOND + r"ReduceMean over the sides \[1\]"
    ),
    "cast": (after_conv("Cast", to=TensorProto.INT32), SECOND + "Cast to integers"),
    "average": (
        after_conv("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        "second: average pooling with padding and count_include_pad=False is not supported",
    ),
    "average_ceil": (
        after_conv("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        "second: average pooling with ceil_mode and a window that hangs over the edge is not",
    ),
    "pool_dilated": (
        after_conv("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
        "second: max pooling with dilation is not supported",
    ),
    "pool_1d": (after_conv("MaxPool", kernel_shape=[2]), SECOND + "MaxPool over 1 dimensions"),
    "pad_value": (
        after_conv("Pad", ([0, 0, 1, 1, 0, 0, 1, 1], np.int64), (1.0,)),
        "second: padding with constant 1.0 is not supported",
    ),
    "pad_mode": (
        after_conv("Pad", ([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect"),
        "second: padding with reflect 0.0 is not supported",
    ),
    "matmul": (
        after_conv("MatMul", (np.ones((6, 2)),)),
        SECOND + r"MatMul of a tensor that is not flat \(batch, features\) is not supported",
    ),
    "gemm": (
        lambda m: m("Gemm", m("Flatten", "image"), m.weights(9, 2), name="second"),
        "second: a flat tensor of 9 needed, not 216x1x1",
    ),
    "channels": (
        lambda m: m("Conv", "image", m.weights(4, 2, 3, 3), name="second"),
        "second: 2 channels needed, not 3",
    ),
    "groups": (
        lambda m: m("Conv", "image", m.weights(4, 1, 3, 3), group=3, name="second"),
        "second: groups that divide 4 outputs needed, not 3",
    ),
    "conv_1d": (
        lambda m: m("Conv", "image", m.weights(4, 3, 3), name="second"),
        SECOND + "a convolution over 1 dimensions is not supported",
    ),
    "bias": (
        lambda m: m("Conv", "image", m.weights(4, 3, 3, 3), m.weights(5), name="second"),
        r"second: a bias of 4 numbers needed, not \(5,\)",
    ),
    "strides": (
        lambda m: m("Conv", "image", m.weights(4, 3, 3, 3), strides=[0, 1], name="second"),
        SECOND + r"Conv .*\(strides and dilations, two each from 1, not \(0, 1\)",
    ),
    "auto_pad": (
        lambda m: m("Conv", "image", m.weights(4, 3, 3, 3), auto_pad="SAME", name="second"),
        SECOND + "Conv with auto_pad 'SAME' is not supported",
    ),
    "nan": (
        lambda m: m("Conv", "image", m.const(np.full((4, 3, 3, 3), np.nan)), name="second"),
        "second: finite weight needed, there is NaN in it",
    ),
    "clip": (after_conv("Clip", (0.5,)), "second: lower bound <= 0 <= upper bound needed, not 0.5"),
    "missing": (
        lambda m: m("Relu", "nowhere", name="second"),
        SECOND + "an input that an earlier node makes needed, not 'nowhere'",
    ),
    "constant_output": (
        lambda m: m("Neg", m.const(1.0)), "a tensor that depends on the image needed"
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_operators(name, tmp_path):
    make, message = MADE[name]
    m = Making()
    path = save(m.model(make(m), opset=17), tmp_path / "m.onnx")
    with pytest.raises(HwgenError, match=message) as caught:
        import_onnx(path, SHAPE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def changed(change, **given):
    m = Making()
    model = m.model(plain(m), **given)
    change(model)
    return model


def _two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def _two_outputs(model):
    model.graph.output.append(helper.make_tensor_value_info("Relu_1_out", TensorProto.FLOAT, None))


def _huge(model):
    model.graph.initializer[0].dims[0] = 1 << 40


def _external(name, **more):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        for key, value in {"location": name, **more}.items():
            tensor.external_data.add(key=key, value=str(value))

    return change


FILES = {
    "two_inputs": (changed(_two_inputs), r"A model with one input needed, not 2 \('image', 'more'"),
    "two_outputs": (changed(_two_outputs), "A model with one output needed, not 2"),
    "opset": (changed(lambda m: setattr(m.opset_import[0], "version", 6)),
              "operator set 7 to .* needed, not 6"),
    "future": (changed(lambda m: setattr(m.opset_import[0], "version", 999)), "not 999"),
    "shape": (changed(lambda m: None, shape=("n", 3, 8, 8)),
              "Images 3x8x8 needed by the model's input 'image', not 3x9x8"),
    "sides": (changed(lambda m: None, shape=("n", 3, 8)), "a tensor of 4 sides needed"),
    "huge": (changed(_huge), "tensor 't0': at most 268435456 numbers needed"),
    "short": (changed(lambda m: setattr(m.graph.initializer[0], "raw_data", b"abc")),
              "tensor 't0': 108 numbers of a known type needed"),
    "type": (changed(lambda m: setattr(m.graph.initializer[0], "data_type", 77)),
             "tensor 't0': 108 numbers of a known type needed"),
    "text": (changed(lambda m: setattr(m.graph.initializer[0], "data_type", 8)), "tensor 't0': "),
    "parent": (changed(_external("../w.bin")),
               r"tensor 't0': external data in the same folder needed, not '\.\./w\.bin'"),
    "absolute": (changed(_external("/etc/passwd")), "external data in the same folder needed"),
    "nothing": (changed(_external("")), "external data in the same folder needed, not ''"),
    "absent": (changed(_external("w.bin")), "external data file 'w.bin' needed"),
    "same_name": (changed(lambda m: m.graph.node[1].output.__setitem__(0, "Conv_0_out")),
                  "an output with a name of its own needed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files(name, tmp_path):
    model, message = FILES[name]
    path = save(model, tmp_path / "m.onnx")
    with pytest.raises(HwgenError, match=message) as caught:
        models.load(str(path), SHAPE)
    assert "\n" not in str(caught.value)


def test_external_data_beside_the_file(tmp_path):
    m = Making()
    model = m.model(plain(m))
    before, _ = import_onnx(save(model, tmp_path / "m.onnx"), SHAPE)
    (tmp_path / "w.bin").write_bytes(b"****" + model.graph.initializer[0].raw_data)
    _external("w.bin", offset=4, length=432)(model)
    after, _ = import_onnx(save(model, tmp_path / "m.onnx"), SHAPE)
    assert np.array_equal(before.nodes[1].weight, after.nodes[1].weight)
    (tmp_path / "w.bin").write_bytes(b"****")
    with pytest.raises(HwgenError, match=r"bytes 4 to 436 of w\.bin needed, it has 4"):
        import_onnx(tmp_path / "m.onnx", SHAPE)


def test_external_data_behind_a_link(tmp_path):
    m = Making()
    model = m.model(plain(m))
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "w.bin").write_bytes(model.graph.initializer[0].raw_data)
    os.symlink(tmp_path / "w.bin", inner / "w.bin")
    _external("w.bin")(model)
    with pytest.raises(HwgenError, match="external data in the same folder needed"):
        import_onnx(save(model, inner / "m.onnx"), SHAPE)


def test_missing_and_empty(tmp_path):
    with pytest.raises(HwgenError, match="an .onnx file needed, there is none"):
        import_onnx(tmp_path / "none.onnx", SHAPE)
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(HwgenError, match="from 1 to 2147483647 bytes needed, not 0"):
        import_onnx(tmp_path / "m.onnx", SHAPE)
    (tmp_path / "m.onnx").write_bytes(b"not a model at all")
    with pytest.raises(HwgenError, match="a whole .onnx file needed"):
        import_onnx(tmp_path / "m.onnx", SHAPE)
    with pytest.raises(HwgenError, match="cannot be read"):
        import_onnx(tmp_path, SHAPE)


def test_package_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(HwgenError, match=r"needs the package onnx \(pip install 'hwgen\[train\]'"):
        import_onnx(tmp_path / "m.onnx", SHAPE)


def victim():
    """A model with most of what is read."""
    m = Making()
    x = quantise(m, "image", 0.25)
    x = m("Conv", x, codes(m, (4, 3, 3, 3), 0.1), auto_pad="SAME_UPPER")
    x = m("MaxPool", m("Clip", x, m.const(0.0)), kernel_shape=[2, 2], strides=[2, 2])
    to = m("Concat", m("Gather", m("Shape", x), m.const([0], np.int64)),
           m("Constant", value=numpy_helper.from_array(np.array([-1]))), axis=0)  # fmt: skip
    return m.model(m("Gemm", m("Reshape", x, to), m.weights(64, 5))).SerializeToString()


VICTIM = victim()


def read_quietly(data, path):
    """Anything may happen to the file, but no traceback."""
    path.write_bytes(data)
    said = ""
    try:
        import_onnx(path, SHAPE)
    except HwgenError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1200


@pytest.mark.parametrize("part", range(8))
def test_truncated(part, tmp_path):
    for size in range(part, len(VICTIM), 29):
        read_quietly(VICTIM[:size], tmp_path / "m.onnx")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(VICTIM) - 1), st.integers(1, 255)), min_size=1,
                max_size=4))  # fmt: skip
def test_flipped(tmp_path_factory, changes):
    data = bytearray(VICTIM)
    for place, mask in changes:
        data[place] ^= mask
    read_quietly(bytes(data), tmp_path_factory.getbasetemp() / "flipped.onnx")


def test_supported_names_exist_in_onnx():
    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert set(supported()) <= known
