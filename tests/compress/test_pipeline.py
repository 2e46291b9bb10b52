"""Train, compress, measure: the whole way on small data."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from hwgen import datasets, netfile
from hwgen.compress import modelfile, pipeline
from hwgen.compress.training import finetune
from hwgen.errors import HwgenError
from hwgen.layers import Requantise, signed_digits
from hwgen.sim import golden


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The demo's network, trained as the demo trains it."""
    path = tmp_path_factory.mktemp("digits") / "m.safetensors"
    return finetune.train("digits", "digits", path), path


@pytest.fixture(scope="module")
def compressed(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("net") / "net.npz"
    told = []
    report = pipeline.compress(
        str(trained[1]), ["dyadic"], "digits", out, progress=lambda *event: told.append(event)
    )
    return report, out, told


def test_digits_are_learnt_and_kept(trained, compressed):
    metadata, _ = trained
    report, out, _ = compressed
    assert metadata["accuracy"] >= 97.0
    assert report["accuracy_float"] == pytest.approx(metadata["accuracy"] / 100)
    assert report["accuracy_float"] - report["accuracy_integer"] <= 0.01
    data = datasets.load("digits")
    network = netfile.load(out)
    assert report["images"] == len(data.test_x) == 360
    assert report["accuracy_integer"] == golden.accuracy(network, data.test_x, data.test_y)


def test_one_digit_a_weight_and_a_scale(compressed):
    _, out, _ = compressed
    network = netfile.load(out)
    for layer in network.layers:
        if hasattr(layer, "weight"):
            assert {signed_digits(w) for w in layer.weight.ravel().tolist()} <= {0, 1}
        if isinstance(layer, Requantise):
            assert max(signed_digits(m) for m in layer.multiplier.tolist()) <= 3


def test_report_and_files(compressed):
    report, out, told = compressed
    written = json.loads(out.with_name("compress.json").read_text())
    assert list(written) == ["digest", "methods", "seed", "accuracy_float", "accuracy_integer",
                             "images", "layers", "seconds"]  # fmt: skip
    assert {k: v for k, v in written.items() if k != "seconds"} == {
        k: v for k, v in report.items() if k != "seconds"
    }
    network = netfile.load(out)
    assert written["digest"] == network.digest
    assert [layer["name"] for layer in written["layers"]] == ["conv1", "conv2", "fc"]
    for entry in written["layers"]:
        assert set(entry) == {"name", "error", "nonzeros", "digits", "adders", "macs", "treatment"}
        assert entry["treatment"] == ["dyadic:P9"]
        weight = network.by_name[entry["name"]].weight
        assert entry["nonzeros"] == np.count_nonzero(weight)
        assert entry["digits"] == sum(map(signed_digits, weight.ravel().tolist()))
        assert 0 < entry["error"] < 0.2
        assert 0 < entry["adders"] < entry["digits"]
    with np.load(out.with_name("before.npz")) as before:
        assert before["conv1.weight"].shape == network.by_name["conv1"].weight.shape
        assert set(before.files) == {f"{layer['name']}.{field}" for layer in written["layers"]
                                     for field in ("weight", "bias")}  # fmt: skip
    assert network.metadata["class_names"] == [str(digit) for digit in range(10)]
    assert network.metadata["input"] == {"scale": 1 / 16, "mean": None, "std": None}
    assert told[-1][1:] == (5, 5)


def test_the_same_again_gives_the_same_bytes(trained, compressed, tmp_path):
    pipeline.compress(str(trained[1]), ["dyadic"], "digits", tmp_path / "net.npz")
    assert (tmp_path / "net.npz").read_bytes() == compressed[1].read_bytes()


def test_the_same_seed_gives_the_same_file(tmp_path):
    for name in ("a", "b"):
        finetune.train("digits", "digits", tmp_path / name, epochs=1)
    finetune.train("digits", "digits", tmp_path / "c", epochs=1, seed=1)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_the_test_images_are_read_once_for_the_figures(trained, tmp_path, monkeypatch):
    """Other test images change the two accuracies and nothing of the network."""
    data = datasets.load("digits")
    turned = np.rot90(data.test_x, axes=(2, 3)).copy()
    other = datasets.replace(data, test_x=turned)
    first = pipeline.compress(str(trained[1]), [], "digits", tmp_path / "a.npz")
    monkeypatch.setattr(datasets, "load", lambda *args, **kwargs: other)
    second = pipeline.compress(str(trained[1]), [], "digits", tmp_path / "b.npz")
    assert first["digest"] == second["digest"]
    assert second["accuracy_integer"] < first["accuracy_integer"]


def test_training_leaves_the_last_images_out(tmp_path, monkeypatch):
    """Nothing is learnt from the calibration part: with other labels there the file is the same."""
    data = datasets.load("digits")
    labels = data.train_y.copy()
    labels[-data.calibration_size :] = 0
    finetune.train("digits", "digits", tmp_path / "a", epochs=1)
    changed = datasets.replace(data, train_y=labels)
    monkeypatch.setattr(datasets, "load", lambda *args, **kwargs: changed)
    finetune.train("digits", "digits", tmp_path / "b", epochs=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_interrupted_run_leaves_what_was_there(trained, tmp_path):
    out = tmp_path / "net.npz"
    out.write_bytes(b"earlier")
    model = tmp_path / "m.safetensors"
    model.write_bytes(b"earlier")

    def stop(text, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.compress(str(trained[1]), [], "digits", out, progress=stop)
    with pytest.raises(KeyboardInterrupt):
        finetune.train("digits", "digits", model, epochs=1, progress=stop)
    assert out.read_bytes() == model.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "net.npz"]


def test_a_budget_that_cannot_be_met(trained, tmp_path):
    with pytest.raises(HwgenError, match="--budget 0.5: at most 0.5 points needed, dyadic:T3"):
        pipeline.compress(
            str(trained[1]), ["dyadic:T3"], "digits", tmp_path / "net.npz", budget=0.5
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["dyadic:Q16,kernel,digits=2", "dyadic:P9,layer,dense=filter",
                                    "dyadic:Q8,norm=weights", "dyadic:1/16+1/2+3/4+2"])  # fmt: skip
def test_other_choices(trained, tmp_path, method):
    report = pipeline.compress(str(trained[1]), [method], "digits", tmp_path / "net.npz")
    assert report["accuracy_integer"] > 0.9
    assert report["methods"][0].startswith(method.partition(",")[0])


# --- other models and data -------------------------------------------------------------------


def images_file(path, *, shape=(1, 8, 8), count=200, classes=3):
    """Images whose class is the third that is bright."""
    random = np.random.default_rng(0)
    y = random.integers(0, classes, count)
    x = random.integers(0, 60, (count, *shape)).astype(np.uint8)
    for image, label in zip(x, y, strict=True):
        image[:, :, label * 2 : label * 2 + 3] += 150
    np.savez(path, x=x, y=y)
    return f"npz:{path}"


MODULE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
                        nn.Flatten(), nn.Linear(16, 3))
    return net

def broken():
    raise RuntimeError("no weights\\nhere")

def number():
    return 5

text = "no function"
"""


def test_a_module_of_ones_own(tmp_path):
    (tmp_path / "net.py").write_text(MODULE)
    data = images_file(tmp_path / "data.npz")
    report = pipeline.compress(
        f"python:{tmp_path / 'net.py'}:make", ["dyadic:Q16"], data, tmp_path / "net.npz",
        mean=[0.2], std=[0.3],
    )  # fmt: skip
    network = netfile.load(tmp_path / "net.npz")
    assert report["images"] == 40
    assert network.metadata["input"] == {"scale": 1 / 255, "mean": [0.2], "std": [0.3]}
    assert network.metadata["model"] == "make"


def test_an_exported_module(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    exported = torch.export.export(net, (torch.zeros(1, 1, 8, 8),))
    torch.export.save(exported, tmp_path / "net.pt2")
    data = images_file(tmp_path / "data.npz")
    report = pipeline.compress(str(tmp_path / "net.pt2"), [], data, tmp_path / "net.npz")
    assert [layer["name"] for layer in report["layers"]] == ["conv_0", "dense_3"]


@pytest.mark.parametrize(("model", "message"), [
    ("net.py:make", "Model must be"),
    ("python:{}/net.py", "python:FILE:FACTORY needed|there is none"),
    ("python:{}/none.py:make", "a Python file needed, there is none"),
    ("python:{}/net.py:text", "a function or class text needed, it has str"),
    ("python:{}/net.py:none", "a function or class none needed, it has none"),
    ("python:{}/net.py:broken", r"broken\(\) failed with RuntimeError \(no weights\)"),
    ("python:{}/net.py:number", "must return an nn.Module, not int"),
    ("{}/net.onnx", "an .onnx file needed, there is none"),
    ("{}/none.safetensors", "a .safetensors file needed, there is none"),
    ("{}/net.py", "Model must be"),
])  # fmt: skip
def test_models_that_cannot_be_read(tmp_path, model, message):
    (tmp_path / "net.py").write_text(MODULE)
    data = images_file(tmp_path / "data.npz")
    with pytest.raises(HwgenError, match=message) as caught:
        pipeline.compress(model.format(tmp_path), [], data, tmp_path / "net.npz")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "net.npz").exists()


@pytest.mark.parametrize("size", [0, 7, 100, -5])
def test_a_broken_safetensors_file(trained, tmp_path, size):
    path = tmp_path / "m.safetensors"
    path.write_bytes(trained[1].read_bytes()[:size])
    with pytest.raises(HwgenError, match="a whole .safetensors file needed"):
        modelfile.load(path)


def test_a_safetensors_file_of_something_else(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, tmp_path / "m.safetensors")
    with pytest.raises(HwgenError, match="a model that `hwgen train` wrote needed"):
        modelfile.load(tmp_path / "m.safetensors")
    described = json.dumps({"network": "digits", "scale": 0.0625})
    save_file({"x": torch.zeros(3)}, tmp_path / "m.safetensors", {"hwgen": described})
    with pytest.raises(HwgenError, match="the tensors of digits needed"):
        modelfile.load(tmp_path / "m.safetensors")


def test_nan_weights(trained, tmp_path):
    module, metadata = modelfile.load(trained[1])
    with torch.no_grad():
        module.conv2.weight[0, 0, 0, 0] = float("nan")
    modelfile.save(module, tmp_path / "nan.safetensors", metadata)
    with pytest.raises(HwgenError, match="conv2: finite weight needed, there is NaN in it"):
        pipeline.compress(str(tmp_path / "nan.safetensors"), [], "digits", tmp_path / "net.npz")


def test_images_of_a_wrong_shape(trained, tmp_path):
    for shape in ((1, 9, 7), (3, 8, 8)):
        message = f"digits: images of 1x8x8 needed, not of {'x'.join(map(str, shape))}"
        data = images_file(tmp_path / "data.npz", shape=shape)
        with pytest.raises(HwgenError, match=message):
            pipeline.compress(str(trained[1]), [], data, tmp_path / "net.npz")


def test_more_classes_than_scores(tmp_path):
    (tmp_path / "net.py").write_text(MODULE)
    with pytest.raises(HwgenError, match="one score for each of 10 classes needed, not one with 3"):
        pipeline.compress(f"python:{tmp_path / 'net.py'}:make", [], "digits", tmp_path / "net.npz")


def test_methods_are_named_before_any_work(tmp_path):
    with pytest.raises(HwgenError, match="ternary, dyadic needed, not 'magic'"):
        pipeline.compress("none.safetensors", ["magic"], "nothing", tmp_path / "net.npz")


@pytest.mark.parametrize(("name", "data", "options", "message"), [
    ("lenet9", "digits", {}, "one of digits, lenet5, .*, not 'lenet9'"),
    ("lenet5", "digits", {}, "lenet5 takes 1x28x28 images of 10 classes, digits has 1x8x8"),
    ("digits", "digits", {"epochs": 0}, "--epochs: a number from 1 needed, not 0"),
    ("digits", "digits", {"device": "tpu"}, "auto, cpu or cuda needed, not 'tpu'"),
])  # fmt: skip
def test_training_wrong(tmp_path, name, data, options, message):
    with pytest.raises(HwgenError, match=message):
        finetune.train(name, data, tmp_path / "m", **options)
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_lenet5_on_mnist(tmp_path):
    if not (root := os.environ.get("HWGEN_DATA")):
        pytest.skip("HWGEN_DATA is not set: MNIST is needed")
    model, data = tmp_path / "m.safetensors", f"mnist:{root}/mnist"
    trained = finetune.train("lenet5", data, model)
    module, _ = modelfile.load(model)
    assert sum(value.numel() for value in module.parameters()) == 44_426
    assert trained["accuracy"] >= 98.9
    report = pipeline.compress(str(model), [], data, tmp_path / "net.npz")
    assert report["accuracy_float"] - report["accuracy_integer"] <= 0.003


def test_no_finetuning_with_a_budget_of_digits(trained, tmp_path):
    with pytest.raises(HwgenError, match=r"^--finetune: dyadic with a set needed, not with a budg"):
        pipeline.compress(
            str(trained[1]), ["dyadic:budget=0.7"], "digits", tmp_path / "n.npz", finetune=1
        )
    assert list(tmp_path.iterdir()) == []


def test_finetuned_as_built(trained, tmp_path):
    """Really trained: still ternary, no worse on the training images, and what the report says."""
    out = tmp_path / "n.npz"
    methods = ["dyadic:T3,norm=weights"]
    report = pipeline.compress(str(trained[1]), methods, "digits", out, finetune=8)
    network, data = netfile.load(out), datasets.load("digits")
    assert report["finetune"] == 8
    assert report["accuracy_integer"] == golden.accuracy(network, data.test_x, data.test_y)
    for layer in network.layers:
        if hasattr(layer, "weight"):
            assert len(np.unique(np.abs(layer.weight))) <= 2
    pipeline.compress(str(trained[1]), methods, "digits", tmp_path / "before.npz")
    before = golden.accuracy(netfile.load(tmp_path / "before.npz"), data.train_x, data.train_y)
    assert golden.accuracy(network, data.train_x, data.train_y) > before
