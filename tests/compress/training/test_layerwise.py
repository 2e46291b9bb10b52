"""Layer-wise compression: pruned, ternary with dyadic sigmas, within the budget, and counted."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from hwgen import datasets
from hwgen.compress.calibrate import Format, observe
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods import packed
from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.simplify import simplify
from hwgen.compress.training import layerwise
from hwgen.errors import HwgenError
from hwgen.layers import signed_digits
from hwgen.sim import golden

CODES = Format(0, 16, 4)


@pytest.fixture(scope="module")
def images():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def graph(images):
    """A small network, trained by plain torch."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 32), nn.ReLU(),
        nn.Linear(32, 10),
    )
    count = len(images.train_x) - images.calibration_size
    x = torch.tensor(images.train_x[:count] / 16, dtype=torch.float32)
    y = torch.from_numpy(images.train_y[:count])
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(80):
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(module(x), y))
        optimiser.step()
    return simplify(import_module(module.eval(), (1, 8, 8)))


def run(graph, images, **options):
    chosen = {"sparsity": 0.7, "budget": 12.0, "epochs_pruning": 3, "epochs_layer": 6,
              "rate": 0.005, "batch": 64, "device": "cpu", **options}  # fmt: skip
    return layerwise.compress(
        graph, input_codes=CODES, images=images, options=layerwise.Options(**chosen)
    )


@pytest.fixture(scope="module")
def outcome(graph, images):
    return run(graph, images, scale=Scale.FILTER)


def test_ternary_sparse_and_within_the_budget(outcome, graph):
    assert outcome.accuracy_float > 0.9
    assert outcome.accuracy >= outcome.accuracy_float - 0.12
    assert outcome.sparsity > 0.699  # weights that came nearer to 0 than to sigma are zero too
    sizes = {node.name: node.weight.shape[0] for node in linear_nodes(graph)}
    first = next(iter(sizes))
    assert {turn.layer for turn in outcome.turns} == set(sizes)
    for node in linear_nodes(outcome.graph):
        sigma = outcome.sigma[node.name]
        assert sigma.shape == ((sizes[first],) if node.name == first else (1,))
        for row, value in zip(node.weight.reshape(len(sigma), -1), sigma, strict=True):
            assert set(np.unique(np.abs(row))) <= {0.0, value}
            assert signed_digits(Fraction(value).numerator) <= 2
        assert not node.weight[~outcome.masks[node.name]].any()
    sparse = [1 - outcome.masks[turn.layer].mean() for turn in outcome.turns]
    assert sparse == sorted(sparse, reverse=True)


def test_a_ternary_weight_is_the_nearest_level_inside_its_mask(graph):
    node = linear_nodes(graph)[0]
    random = np.random.default_rng(0)
    latent, mask = random.normal(0, 1, node.weight.shape), random.random(node.weight.shape) < 0.7
    sigma = np.linspace(0.3, 1.7, len(latent))
    layer = layerwise._Layer(
        node, torch.tensor(latent), torch.tensor(node.bias), torch.tensor(mask).double(),
        torch.tensor(sigma), True,
    )
    levels = sigma[:, None, None, None, None] * np.array([-1, 0, 1])
    nearest = np.abs(latent[..., None] - levels).argmin(-1)
    wanted = np.take_along_axis(np.broadcast_to(levels, (*latent.shape, 3)), nearest[..., None], -1)
    np.testing.assert_allclose(layer.used().numpy(), wanted[..., 0] * mask)


def test_lowered_it_is_as_accurate(outcome, images):
    x = torch.tensor(images.train_x[-200:] / 16, dtype=torch.float32)
    network = lower(
        outcome.graph, outcome.results(), observe(outcome.graph, x, observed(outcome.graph)),
        input_codes=CODES, options=LowerOptions(), metadata={},
    )
    x, y = images.calibration()
    assert golden.accuracy(network, x, y) >= outcome.accuracy - 0.02
    for layer in network.layers:
        if hasattr(layer, "weight"):
            assert set(np.unique(layer.weight)) <= {-1, 0, 1}


def test_size_counts_all_and_is_decoded(outcome):
    data, floats = layerwise.size(outcome)
    nodes = linear_nodes(outcome.graph)
    assert floats == 4 * sum(node.weight.size + node.bias.size for node in nodes)
    assert len(data) < floats / 12
    for node, layer in zip(nodes, packed.unpack(data), strict=True):
        np.testing.assert_array_equal(layer.values(), node.weight)
        assert np.abs(layer.bias * layer.bias_scale - node.bias).max() <= layer.bias_scale / 2


def test_a_layer_that_costs_too_much_is_restored(graph, images):
    """Without a budget no layer may lose an image, so the dense ones stay as pruning left them."""
    strict = run(graph, images, sparsity=0.97, budget=0.0, steps=1, epochs_end=0, epochs_layer=1)
    refused = [turn.layer for turn in strict.turns if not turn.accepted]
    assert refused
    for name in refused:
        assert len(np.unique(np.abs(strict.graph.by_name[name].weight))) > 3
        assert name not in strict.sigma
    # They are counted, with dyadic weights near the floats.
    data, _ = layerwise.size(strict)
    nodes = linear_nodes(strict.graph)
    for node, layer in zip(nodes, packed.unpack(data), strict=True):
        error = ((layer.values() - node.weight) ** 2).sum() / (node.weight**2).sum()
        assert error < 0.02 if node.name in refused else error == 0


def test_order_by_sensitivity(graph, images):
    found = run(graph, images, order=layerwise.Order.SENSITIVITY, epochs_pruning=1, epochs_layer=1)
    assert len(found.turns) == 3


@pytest.mark.parametrize(("options", "message"), [
    ({"sparsity": 1.0}, "a sparsity from 0 to below 1"),
    ({"digits": 4}, "sigmas by layer or filter of 1, 2 or 3 digits"),
    ({"scale": Scale.KERNEL}, "not by kernel"),
    ({"steps": 0}, "steps, passes and batch from 1"),
])  # fmt: skip
def test_options_wrong(options, message):
    with pytest.raises(HwgenError, match=message):
        layerwise.Options(**options)
