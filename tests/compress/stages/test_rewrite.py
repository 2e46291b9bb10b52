"""Linear features in the graph, against torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwgen.compress import forward
from hwgen.compress.calibrate import covariances, patch_mean
from hwgen.compress.choices.linear_features import LinearFeaturesChoice
from hwgen.compress.importers import graph as g
from hwgen.compress.options import Norm
from hwgen.compress.stages.rewrite import can_split, split, with_split_statistics, with_splits
from tests.compress.small import dataset, prepared


def halves(share, choice=None, name="conv2"):
    ready = prepared()
    node = ready.graph.by_name[name]
    return split(
        ready.graph, node, share, choice or LinearFeaturesChoice(),
        mean=ready.statistics.means[node.sources[0]], covariance=ready.covariances[name],
    )  # fmt: skip


def maps(graph, name):
    """The maps of a layer on the images that calibration saw."""
    x = torch.from_numpy(dataset().train_x * 2.0**-4)
    return forward.run(graph, x, keep=[name])[name]


@pytest.mark.parametrize("name", ["conv1", "conv2"])
def test_all_filters_are_the_same_network(name):
    graph = prepared().graph
    again = with_splits(graph, {name: halves(1.0, name=name)})
    exact = maps(graph, graph.output.name)
    assert torch.allclose(maps(again, graph.output.name), exact, atol=1e-5)


def test_a_combination_of_others_is_found():
    """conv2's fifth filter is 0.6 and -0.5 times the first two: seven filters lose nothing."""
    found = halves(7 / 8)
    assert len(found.kept) == 7
    assert found.left < 1e-12  # float32 rounded the filter
    graph = prepared().graph
    again = with_splits(graph, {"conv2": found})
    assert torch.allclose(maps(again, "conv2"), maps(graph, "conv2"), atol=1e-5)


@pytest.mark.parametrize("share", [0.75, 0.5, 0.25, 0.01])
def test_error_is_that_of_the_maps(share):
    """What is said to be lost, against the maps themselves; their means stay."""
    graph, found = prepared().graph, halves(share)
    again = with_splits(graph, {"conv2": found})
    exact, made = maps(graph, "conv2"), maps(again, "conv2")
    spread = exact - exact.mean((0, 2, 3), keepdim=True)
    lost = float(((exact - made) ** 2).sum() / (spread**2).sum())
    assert found.left == pytest.approx(lost, rel=1e-5, abs=1e-9)  # calibrated in float32
    assert torch.allclose(exact.mean((0, 2, 3)), made.mean((0, 2, 3)), atol=1e-6)
    assert len(found.kept) == max(1, int(share * 8))


def test_fewer_filters_lose_more():
    left = [halves(share).left for share in (1.0, 0.75, 0.5, 0.25, 0.125)]
    assert left == sorted(left)
    assert left[-1] > left[0]


def test_statistics_are_those_of_the_new_graph():
    ready, found = prepared(), halves(0.5)
    again = with_splits(ready.graph, {"conv2": found})
    statistics = with_split_statistics(ready.statistics, {"conv2": found})
    basis = maps(again, "conv2.basis")
    assert np.allclose(statistics.means["conv2.basis"], basis.mean(0).numpy(), atol=1e-6)
    assert statistics.values["conv2.basis"].max() >= float(basis.max()) - 1e-5
    x = torch.from_numpy(dataset().train_x * 2.0**-4)
    wanted = covariances(again, x)["conv2"]
    assert np.allclose(found.covariance, wanted, rtol=1e-4, atol=1e-6)


def test_patch_mean_is_the_mean_of_the_patches():
    node = prepared().graph.by_name["conv2"]
    mean = prepared().statistics.means[node.sources[0]]
    padded = np.pad(mean, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    wanted = windows.mean((1, 2)).ravel()
    assert np.allclose(patch_mean(node, mean)[0], wanted)


def test_weights_alone():
    data, weights = halves(0.5), halves(0.5, LinearFeaturesChoice(norm=Norm.WEIGHTS))
    rows = prepared().graph.by_name["conv2"].weight.reshape(8, -1)
    bound = np.linalg.svd(rows, compute_uv=False)[4:] ** 2
    assert weights.left >= bound.sum() / (rows**2).sum() - 1e-12
    assert data.left != weights.left


def test_few_terms():
    found = halves(0.5, LinearFeaturesChoice(terms=2))
    counts = np.count_nonzero(found.combination.weight[:, :, 0, 0], axis=1)
    others = np.setdiff1d(np.arange(8), found.kept)
    assert counts[others].max() <= 2
    assert found.terms == counts[others].sum()
    assert (counts[found.kept] == 1).all()


def test_a_name_of_its_own():
    graph = prepared().graph
    node = graph.by_name["conv1"]
    taken = replace(node, name="conv2.basis")
    nodes = [graph.nodes[0], taken, *(
        replace(other, sources=tuple("conv2.basis" if s == "conv1" else s for s in other.sources))
        for other in graph.nodes[1:] if other.name != "conv1"
    )]  # fmt: skip
    other = g.Graph(tuple(nodes))
    found = split(
        other, graph.by_name["conv2"], 0.5, LinearFeaturesChoice(),
        mean=prepared().statistics.means[graph.by_name["conv2"].sources[0]], covariance=None,
    )  # fmt: skip
    assert found.basis.name == "conv2.basis_"
    assert with_splits(other, {"conv2": found}).by_name["conv2"].sources == ("conv2.basis_",)


def test_what_can_be_split():
    graph = prepared().graph
    conv = graph.by_name["conv2"]
    assert can_split(conv)
    assert not can_split(graph.by_name["fc"])
    assert not can_split(replace(conv, weight=conv.weight[:1], bias=conv.bias[:1]))
    assert not can_split(replace(conv, weight=conv.weight[:, :3], groups=2))
