"""The reference networks: their size, their import, their lowering, their published weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwgen.compress import forward, zoo
from hwgen.compress.calibrate import Format, observe
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods.dyadic import Levels, Options, Scale, approximate
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.simplify import input_frac, simplify, with_input_scaling
from hwgen.compress.training import finetune
from hwgen.compress.training.integer_forward import IntegerForward
from hwgen.compress.zoo import cff, resnet
from hwgen.errors import HwgenError
from hwgen.sim import golden

# From the papers, or from layer sizes by hand.
PARAMETERS = {
    "digits": 7 * 10 + 12 * 64 + 490,
    "lenet5": 44_426,
    "lenet-200": 187_780,
    "caffe-lenet": 431_080,
    "vgg-small": 71_856 + 448 + 10_250,
    "resnet8": 78_186,
    "resnet20": 269_722,
    "resnet32": 464_154,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    module = zoo.recipe(name).build()
    trained = [value for value in module.parameters() if value.requires_grad]
    assert sum(value.numel() for value in trained) == PARAMETERS[name]


def test_cff_has_951_and_keeps_its_structure():
    torch.manual_seed(0)
    module = cff.cff()
    assert cff.free_parameters(module) == 104 + 8 + 194 + 28 + 602 + 15 == 951
    assert cff.joined().sum(1).tolist() == [1] * 8 + [2] * 6
    optimiser = torch.optim.AdamW([v for v in module.parameters() if v.requires_grad], lr=0.05)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(
            module(torch.randn(6, 1, 36, 32)), torch.tensor([0, 1, 0, 1, 1, 0])
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    after = module.state_dict()
    assert torch.equal(after["vote.weight"], before["vote.weight"])
    for name in ("s1", "s2"):
        weight = after[f"{name}.weight"]
        assert torch.equal(weight, weight[:, :, :1, :1].expand_as(weight))
        assert not torch.equal(weight, before[f"{name}.weight"])
    assert bool((after["c2.weight"] == 0).eq(~cff.joined()[:, :, None, None]).all())
    assert cff.free_parameters(module) == 951


def prepared(name):
    """The network with fresh weights, simplified, over a few random images, and its formats."""
    recipe = zoo.recipe(name)
    torch.manual_seed(1)
    module = recipe.build().eval()
    graph = import_module(module, recipe.shape)
    scaling = InputScaling(recipe.scale, recipe.mean, recipe.std)
    frac = input_frac(scaling)
    high = 16 if name == "digits" else 255
    images = np.random.default_rng(2).integers(0, high + 1, (4, *recipe.shape))
    x = torch.tensor(images * 2.0**-frac, dtype=torch.float64)
    ready = simplify(with_input_scaling(graph, scaling, frac=frac))
    factor, offset = scaling.factors(recipe.shape[0])
    seen = torch.tensor(images * factor[:, None, None] + offset[:, None, None])
    with torch.inference_mode():
        exact = module.double()(seen).flatten(1)
    return ready, x, images, Format(0, high, frac), exact


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if name != "resnet32"])
def test_imported_and_lowered(name):
    """The graph computes what the module does; the training's forward what golden does."""
    graph, x, images, codes, exact = prepared(name)
    output = graph.output.name
    got = forward.run(graph, x, keep=[output])[output].flatten(1)
    torch.testing.assert_close(got, exact, rtol=1e-9, atol=1e-9)
    weights = {
        node.name: approximate(
            node.weight,
            Options(
                Levels.parse("P5"),
                Scale.LAYER if node is graph.output else Scale.FILTER,
                None if node is graph.output else 1,
            ),
        )
        for node in linear_nodes(graph)
    }
    network = lower(
        graph, weights, observe(graph, x, observed(graph)), input_codes=codes,
        options=LowerOptions(), metadata={},
    )
    wanted = golden.run(network, images[:2])
    run = IntegerForward(network, torch.device("cpu"), torch.float64)
    names = [layer.name for layer in network.layers]
    found = run(torch.from_numpy(images[:2]), keep=names)
    assert set(found) == set(wanted)
    for layer, values in wanted.items():
        np.testing.assert_array_equal(found[layer].numpy(), values, err_msg=layer)


# --- ResNet-8 against TensorFlow's definition, in numpy ---------------------------------------


def same(x, kernel, stride):
    """Convolution of NHWC by HWIO with TensorFlow's "same" padding."""
    kh, kw = kernel.shape[:2]
    pads = []
    for size, k in zip(x.shape[1:3], (kh, kw), strict=True):
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    return np.einsum("nyxchw,hwco->nyxo", windows[:, ::stride, ::stride], kernel)


def keras_resnet8(w, x):
    def conv(x, number, stride=1):
        name = f"conv2d_{number}" if number else "conv2d"
        return same(x, w[f"{name}.kernel"], stride) + w[f"{name}.bias"]

    def norm(x, number):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        mean, variance = w[f"{name}.moving_mean"], w[f"{name}.moving_variance"]
        return (x - mean) / np.sqrt(variance + 1e-3) * w[f"{name}.gamma"] + w[f"{name}.beta"]

    def relu(x):
        return np.maximum(x, 0)

    x = relu(norm(conv(x, 0), 0))
    y = norm(conv(relu(norm(conv(x, 1), 1)), 2), 2)
    x = relu(x + y)
    y = norm(conv(relu(norm(conv(x, 3, 2), 3)), 4), 4)
    x = relu(conv(x, 5, 2) + y)
    y = norm(conv(relu(norm(conv(x, 6, 2), 5)), 7), 6)
    x = relu(conv(x, 8, 2) + y)
    return x.mean((1, 2)) @ w["dense.kernel"] + w["dense.bias"]


def keras_arrays():
    random = np.random.default_rng(3)
    arrays = {}
    for name, value in resnet.ResNet8().state_dict().items():
        layer, _, field = name.rpartition(".")
        if field == "num_batches_tracked":
            continue
        size = tuple(value.shape)
        if layer in resnet._CONVOLUTIONS:
            key = f"{resnet._CONVOLUTIONS[layer]}.{'kernel' if field == 'weight' else 'bias'}"
            size = (size[2], size[3], size[1], size[0]) if len(size) == 4 else size
        elif layer == "dense":
            key = f"dense.{'kernel' if field == 'weight' else 'bias'}"
            size = size[::-1]
        else:
            number = resnet._NORMS.index(layer)
            key = f"batch_normalization_{number}" if number else "batch_normalization"
            key += f".{resnet._NORM_FIELDS[field]}"
        spread = random.normal(0, 0.2, size)
        arrays[key] = (np.abs(spread) + 0.5 if "variance" in key else spread).astype(np.float32)
    return arrays


def test_resnet8_is_that_of_keras():
    arrays = keras_arrays()
    module = resnet.ResNet8()
    module.load_state_dict(resnet.resnet8_weights(arrays))
    x = np.random.default_rng(4).random((2, 32, 32, 3))
    wanted = keras_resnet8({name: a.astype(np.float64) for name, a in arrays.items()}, x)
    with torch.inference_mode():
        got = module.double().eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-9, atol=1e-9)


def test_option_a_is_a_slice_and_zeros():
    x = torch.randn(2, 16, 8, 8)
    wanted = torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    torch.testing.assert_close(resnet.option_a(16, 32)(x), wanted)


# --- published weights -------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "message"), [
    ({"dense.kernel": None}, "an array dense.kernel needed, there are batch_normalization.beta"),
    ({"dense.kernel": np.zeros((64, 10, 1), np.float32)}, "dense.kernel as floats of 2 dimensions"),
    ({"dense.kernel": np.zeros((64, 10), np.int8)}, "as floats of 2 dimensions .* int8"),
    ({"dense.bias": np.full(10, np.nan, np.float32)}, "finite dense.bias needed"),
    ({"dense.bias": np.zeros(11, np.float32)}, "the weights of resnet8 needed .*size mismatch"),
])  # fmt: skip
def test_published_weights_wrong(tmp_path, change, message):
    arrays = {k: v for k, v in (keras_arrays() | change).items() if v is not None}
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(HwgenError, match=message):
        finetune.import_weights("resnet8", "none", tmp_path / "m", tmp_path / "w.npz")
    assert not (tmp_path / "m").exists()


def test_no_published_weights(tmp_path):
    with pytest.raises(HwgenError, match=r"\(caffe-lenet, resnet8, resnet20, resnet32\), not cff"):
        finetune.import_weights("cff", "none", tmp_path / "m", tmp_path / "w.npz")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file", "data", "accuracy"), [
    ("caffe-lenet", "lenet5_caffe_mnist", "mnist", 99.14),
    ("resnet8", "mlperf_tiny_resnet8_float_cifar10", "cifar10", 87.19),
    ("resnet20", "resnet20_cifar10", "cifar10", 91.73),
    ("resnet32", "resnet32_cifar10", "cifar10", 92.63),
])  # fmt: skip
def test_published_accuracy(hwgen_data, tmp_path, name, file, data, accuracy):
    found = finetune.import_weights(
        name, f"{data}:{hwgen_data / data}", tmp_path / "m", hwgen_data / "weights" / f"{file}.npz"
    )
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert found["notes"] == ()
