"""Fine-tuning: what the trainer is given, and that what comes back is what is built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.compress import pipeline
from hwgen.compress.importers import graph as g
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import linear_nodes
from hwgen.compress.training import qat
from hwgen.compress.training.tuning import Tuning, finetune
from hwgen.errors import HwgenError
from hwgen.progress import silent
from tests.compress.small import dataset, stages


@pytest.fixture
def trainer(monkeypatch):
    """A trainer that moves all weights and biases a little, and keeps what it was given."""
    given = {}

    def train(graph, statistics, **options):
        given.update(options, graph=graph, statistics=statistics)
        random = np.random.default_rng(1)
        for node in linear_nodes(graph):
            moved = node.weight * (1 + 0.1 * random.normal(size=node.weight.shape))
            graph = graph.with_node(replace(node, weight=moved, bias=node.bias + 0.01))
        given["returned"] = graph
        return graph, statistics

    monkeypatch.setattr(qat, "finetune", train)
    return given


METHODS = [("dyadic:P7",), ("lower-kernel:taps=0.5", "ternary:prune=0.4"),
           ("linear-features:0.5", "periodic:PSD4_P8", "dyadic:P9")]  # fmt: skip


def tuned(*methods):
    made = stages(*methods)
    built = finetune(
        made, made.start(), Tuning(2, "cpu", seed=5), dataset(), digits=2, metadata={},
        progress=silent,
    )  # fmt: skip
    return made, built


@pytest.mark.parametrize("methods", METHODS)
def test_what_was_trained_is_what_is_built(trainer, methods):
    made, built = tuned(*methods)
    latent = {node.name: node.weight for node in linear_nodes(trainer["returned"])}
    network = lower(
        trainer["returned"], trainer["project"](latent), trainer["statistics"],
        input_codes=trainer["input_codes"], options=trainer["options"], metadata={},
    )  # fmt: skip
    assert network.digest == built.network.digest
    assert not trainer["options"].correct_bias


@pytest.mark.parametrize("methods", METHODS)
def test_what_the_trainer_is_given(trainer, methods):
    made, built = tuned(*methods)
    assert trainer["training"] == qat.Training(2, 1e-3, 128, 5, "cpu", distil=0.5)
    start = made.build(made.start(), digits=2, metadata={})
    assert set(trainer["masks"]) == {node.name for node in linear_nodes(start.graph)}
    for node in linear_nodes(trainer["graph"]):
        mask = trainer["masks"][node.name]
        assert mask.shape == node.weight.shape
        assert not node.weight[~mask].any()
    for name, result in built.results.items():
        assert not result.codes[~trainer["masks"][name]].any()


def test_biases_start_corrected(trainer):
    """Training starts from the network that lowering corrects by itself."""
    made, _ = tuned("dyadic:P5,norm=weights")
    start = made.build(made.start(), digits=2, metadata={})
    graph, latent = trainer["graph"], {}
    for node in linear_nodes(graph):
        latent[node.name] = node.weight
    network = lower(
        graph, trainer["project"](latent), trainer["statistics"],
        input_codes=trainer["input_codes"], options=trainer["options"], metadata={},
    )  # fmt: skip
    assert network.digest == start.network.digest


def test_the_graph_is_left_alone(trainer):
    made = stages("dyadic:P7")
    before = {node.name: node.weight.copy() for node in linear_nodes(made.calibrated.graph)}
    tuned("dyadic:P7")
    for node in linear_nodes(made.calibrated.graph):
        assert np.array_equal(before[node.name], node.weight)
        assert isinstance(node, (g.Conv, g.Dense))


MODULE = "from tests.compress.small import module as make\n"


@pytest.mark.parametrize(("methods", "budget"), [(["dyadic:P7"], None), (["dyadic"], 3.0)])
def test_a_run_with_fine_tuning(trainer, tmp_path, monkeypatch, methods, budget):
    from hwgen import datasets

    (tmp_path / "net.py").write_text(MODULE)
    monkeypatch.setattr(datasets, "load", lambda *args, **kwargs: dataset())
    report = pipeline.compress(
        f"python:{tmp_path / 'net.py'}:make", methods, "small", tmp_path / "net.npz",
        budget=budget, finetune=2, device="cpu",
    )  # fmt: skip
    assert report["finetune"] == 2
    assert len(trainer["images"].test_x) == 0  # training cannot see them
    if budget is not None:
        assert report["pareto"]


@pytest.mark.parametrize(("options", "message"), [
    ({"finetune": -1}, "--finetune: a number of epochs from 0 needed, not -1"),
    ({"finetune": 1, "device": "tpu"}, "--device: auto, cpu or cuda needed, not 'tpu'"),
    ({"objective": "watts"}, "--objective: adders, luts, cycles or macs needed, not 'watts'"),
])  # fmt: skip
def test_wrong(tmp_path, options, message):
    with pytest.raises(HwgenError, match=message):
        pipeline.compress("none.safetensors", [], "nothing", tmp_path / "net.npz", **options)
