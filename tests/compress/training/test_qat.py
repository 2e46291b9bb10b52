"""Fine-tuning of the integer network: the pass that is trained is the network that is built."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hwgen import datasets
from hwgen.compress.calibrate import Format, observe
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods.dyadic import Levels, Options, Scale, approximate
from hwgen.compress.simplify import simplify
from hwgen.compress.training import qat
from hwgen.compress.training.augment import Augmentation
from hwgen.errors import HwgenError
from hwgen.sim import golden

CODES = Format(0, 16, 4)
OPTIONS = LowerOptions()


class Net(nn.Module):
    """Stride 2, a residual with wiring around it, tanh, average pooling."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.short = nn.Conv2d(6, 8, 1, stride=2, bias=False)
        with torch.no_grad():
            self.short.weight.zero_()
            for k in range(6):
                self.short.weight[k + 1, k] = 1
        self.pool = nn.AvgPool2d(2)
        self.fc1 = nn.Linear(32, 12)
        self.fc2 = nn.Linear(12, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x) + self.short(x))
        x = torch.tanh(self.fc1(self.pool(x).flatten(1)))
        return self.fc2(x)


def project_with(graph, name="P5", digits=2, masks=None):
    last = graph.output.name

    def project(latent):
        made = {}
        for layer, weight in latent.items():
            scale = Scale.LAYER if layer == last or weight.ndim == 2 else Scale.FILTER
            if masks and layer in masks:
                weight = np.where(masks[layer], weight, 0)
            made[layer] = approximate(
                weight, Options(Levels.parse(name), scale, None if layer == last else digits)
            )
        return made

    return project


@pytest.fixture(scope="module")
def images():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def start(images):
    """A network trained by plain torch, and what calibration saw."""
    torch.manual_seed(0)
    net = Net()
    net.short.weight.requires_grad_(False)
    count = len(images.train_x) - images.calibration_size
    x = torch.tensor(images.train_x[:count] / 16, dtype=torch.float32)
    y = torch.from_numpy(images.train_y[:count])
    optimiser = torch.optim.Adam([v for v in net.parameters() if v.requires_grad], lr=0.01)
    for _ in range(300):
        chosen = torch.randint(0, count, (128,))
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(net(x[chosen]), y[chosen]))
        optimiser.step()
    graph = simplify(import_module(net.eval(), (1, 8, 8)))
    x = torch.tensor(images.train_x[-100:] / 16, dtype=torch.float32)
    return graph, observe(graph, x, observed(graph))


@pytest.fixture(scope="module")
def rolled(start):
    """The same with the classes moved on by one: all wrong, so any training is better."""
    graph, statistics = start
    last = graph.output
    moved = replace(last, weight=np.roll(last.weight, 1, 0), bias=np.roll(last.bias, 1))
    return graph.with_node(moved), statistics


def tune(start, images, project, *, masks=None, progress=None, **training):
    graph, statistics = start
    return qat.finetune(
        graph, statistics, input_codes=CODES, options=OPTIONS, project=project, masks=masks or {},
        images=images, progress=progress,
        training=qat.Training(
            device="cpu", **{"epochs": 2, "rate": 0.005, "batch": 32, **training}
        ),
    )


def built(graph, statistics, project):
    weights = project({node.name: node.weight for node in linear_nodes(graph)})
    return lower(graph, weights, statistics, input_codes=CODES, options=OPTIONS, metadata={})


def test_it_learns_and_what_it_returns_is_what_was_measured(start, images):
    project = project_with(start[0], "T3")
    told = []
    graph, statistics = tune(
        start, images, project, epochs=6, augmentation=Augmentation(shift=0.2),
        progress=lambda *event: told.append(event),
    )
    x, y = images.calibration()
    before = golden.accuracy(built(*start, project), x, y)
    after = golden.accuracy(built(graph, statistics, project), x, y)
    assert after > before + 0.03
    shown = [float(text.partition("accuracy ")[2].partition(" %")[0])
             for text, _, _ in told if "accuracy" in text]
    assert max(shown) == pytest.approx(100 * after, abs=0.006)


@pytest.mark.parametrize(("name", "digits"), [("T3", 1), ("P9", 2), ("Q8", 3)])
def test_the_pass_that_is_trained_is_golden(start, images, name, digits):
    """Golden with the codes that the pass used."""
    graph, statistics = start
    tuner = qat._Tuner(
        graph, statistics, CODES, OPTIONS, project_with(graph, name, digits), {}, images,
        qat.Training(device="cpu"),
    )
    x = images.train_x[:50]
    scores = tuner.scores(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    network = tuner._network
    wanted = golden.run(network, x, keep=[network.scores.name])[network.scores.name][:, :, 0, 0]
    unit = network.metadata["score_scale"][0] * 2.0 ** -float(
        np.max(network.tensors[network.scores.name].frac))
    np.testing.assert_array_equal(np.rint(scores / unit), wanted)
    assert np.abs(scores / unit - wanted).max() < 1e-2
    # Moved a little, every weight takes the nearest level of the same scale.
    generator = np.random.default_rng(0)
    for item in tuner._linear:
        with torch.no_grad():
            item.weight += torch.tensor(generator.normal(0, 0.05, item.weight.shape)).float()
        result = tuner._results[item.node.name]
        step = np.ldexp(result.scale, -result.bits)
        step = step.reshape(step.shape + (1,) * (item.weight.ndim - step.ndim))
        levels = np.unique([result.codes, -result.codes])
        place = item.weight.detach().double().numpy() / step
        near = levels[np.abs(place[..., None] - levels).argmin(-1)]
        used = item.integers().detach().double() * item.factor.double()
        allowed = item.mask.numpy() != 0
        same = np.isclose(used.numpy(), near * step, rtol=1e-5, atol=1e-7)
        assert np.mean(same[allowed]) > 0.99
        assert not used.numpy()[~allowed].any()


def test_gradients_go_straight_through(start, images):
    graph, statistics = start
    tuner = qat._Tuner(
        graph, statistics, CODES, OPTIONS, project_with(graph, "Q16", 3), {}, images,
        qat.Training(device="cpu"),
    )
    codes = torch.tensor(images.train_x[:64], dtype=torch.float32)
    torch.autograd.backward(tuner.scores(codes)[:, 3].sum())
    # A score's gradient in the last weights is what the layer reads, in real units.
    names = [node.name for node in linear_nodes(graph)]
    last = tuner._linear[names.index(graph.output.name)]
    source = tuner._network.by_name[last.layer].source
    hidden = golden.run(tuner._network, images.train_x[:64], keep=[source])[source][:, :, 0, 0]
    wanted = hidden.sum(0) * 2.0 ** -float(np.max(tuner._network.tensors[source].frac))
    np.testing.assert_allclose(last.weight.grad[3].numpy(), wanted, rtol=1e-4, atol=1e-4)
    assert not last.weight.grad[4].any()
    assert all(bool(item.weight.grad.any()) for item in tuner._linear if item.node.name != "short")
    np.testing.assert_allclose(last.bias.grad.numpy(), 64 * (np.arange(10) == 3), atol=1e-3)


def test_masks_and_wiring_stay(rolled, images):
    graph, _ = rolled
    names = [node.name for node in linear_nodes(graph)]
    mask = np.random.default_rng(1).random(graph.by_name["conv2"].weight.shape) < 0.4
    project = project_with(graph, masks={"conv2": mask})
    tuned, _ = tune(rolled, images, project, masks={"conv2": mask}, epochs=2)
    assert "short" in names
    np.testing.assert_array_equal(tuned.by_name["short"].weight, graph.by_name["short"].weight)
    assert not tuned.by_name["conv2"].weight[~mask].any()
    assert not np.array_equal(tuned.by_name["conv2"].weight[mask],
                              np.float32(graph.by_name["conv2"].weight[mask]))


def test_resumed_is_the_same(rolled, images, tmp_path):
    project = project_with(rolled[0])
    path = tmp_path / "q.checkpoint.safetensors"
    whole, _ = tune(rolled, images, project)
    pressed = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def progress(text, done, total):
        if done >= 60 and not pressed:
            pressed.append(done)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tune(rolled, images, project, path=path, progress=progress)
    assert path.exists()
    with pytest.raises(HwgenError, match="training is .* here"):
        tune(rolled, images, project, path=path, rate=0.01)
    signal.signal(signal.SIGINT, before)
    again, _ = tune(rolled, images, project, path=path)
    assert not path.exists()
    for node in linear_nodes(whole):
        np.testing.assert_array_equal(again.by_name[node.name].weight, node.weight)
        np.testing.assert_array_equal(again.by_name[node.name].bias, node.bias)


def test_the_test_images_are_not_read(rolled, images):
    project = project_with(rolled[0])
    other = datasets.replace(images, test_x=images.test_x[:1] * 0, test_y=images.test_y[:1])
    one, _ = tune(rolled, images, project, epochs=1)
    two, _ = tune(rolled, other, project, epochs=1)
    for node in linear_nodes(one):
        np.testing.assert_array_equal(two.by_name[node.name].weight, node.weight)


def test_distillation_changes_the_loss(rolled, images):
    project = project_with(rolled[0])
    one, _ = tune(rolled, images, project, epochs=1)
    two, _ = tune(rolled, images, project, epochs=1, distil=1.0)
    assert not np.array_equal(one.by_name["fc2"].weight, two.by_name["fc2"].weight)


@pytest.mark.parametrize(("options", "message"), [
    ({"epochs": 0}, "epochs, batch and threads from 1 needed, not 0"),
    ({"rate": 0.0}, "a rate between 0 and 1"),
    ({"distil": 1.5}, "distil from 0 to 1"),
])  # fmt: skip
def test_training_wrong(options, message):
    with pytest.raises(HwgenError, match=message):
        qat.Training(**options)


def test_masks_wrong(start, images):
    project = project_with(start[0])
    with pytest.raises(HwgenError, match="Masks of layers with weights needed, not of conv9"):
        tune(start, images, project, masks={"conv9": np.ones(3, bool)})
    with pytest.raises(HwgenError, match="conv1: a mask of .* needed"):
        tune(start, images, project, masks={"conv1": np.ones(3, bool)})
