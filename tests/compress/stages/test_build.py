"""The stages one behind the other: supports that last, errors of the exact weights, corners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwgen.compress.calibrate import covariances, observe
from hwgen.compress.choices.plan import parse_methods
from hwgen.compress.importers import graph as g
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods.output_error import output_error
from hwgen.compress.stages.build import Stages
from hwgen.errors import HwgenError
from hwgen.layers import Conv2d, Dense, signed_digits
from hwgen.network import Network
from hwgen.sim import golden
from tests.compress.small import dataset, prepared, scores, stages

COMBINATIONS = [
    ("linear-features:0.5",),
    ("lower-kernel:taps=0.5",),
    ("lower-kernel:taps=0.5,unit=kernel", "dyadic:P7"),
    ("lower-kernel:loss=0.4,order=tiles,tile=4",),
    ("periodic:PS2_P6",),
    ("periodic:pSC3", "ternary:filter"),
    ("ternary:prune=0.6",),
    ("ternary:prune=0.5,layers=fc", "dyadic:P5"),
    ("ternary:prune=0.3,layers=none", "dyadic:Q8,kernel,digits=2"),
    ("linear-features:0.75,terms=2", "lower-kernel:taps=0.7", "dyadic:Q8"),
    ("lower-kernel:taps=0.8", "periodic:PSD4_P8"),
    ("linear-features:0.75", "lower-kernel:loss=0.1", "periodic:PSD4_P8",
     "ternary:prune=0.2,layers=fc", "dyadic:P9"),
]
BUDGETS = [
    ("dyadic:budget=0.8",),
    ("lower-kernel:taps=0.5", "dyadic:budget=0.5,norm=weights"),
    ("lower-kernel:taps=0.5", "ternary:layers=fc", "dyadic:budget=1"),
]  # fmt: skip


def built(*methods, digits=2):
    made = stages(*methods)
    return made, made.build(made.start(), digits=digits, metadata={})


def weights(network: Network):
    return [layer for layer in network.layers if isinstance(layer, (Conv2d, Dense))]


@pytest.mark.parametrize("methods", [("dyadic:budget=0.7",),
                                     ("lower-kernel:taps=0.5", "dyadic:budget=0.7")])
def test_a_budget_of_digits_is_of_all_layers(methods):
    _, result = built(*methods)
    layers = weights(result.network)
    spent = sum(signed_digits(w) for layer in layers for w in layer.weight.ravel().tolist())
    size = sum(layer.weight.size for layer in layers)
    assert 0.6 * size < spent <= 0.7 * size
    assert result.treatments["conv1"].words()[-1] == "dyadic:budget=0.7"


def test_the_programme_finds_what_the_sweep_finds():
    sweep = built("dyadic:P7,norm=weights,digits=3")[1].results
    programme = built("dyadic:P7,norm=weights,digits=3,solver=ilp")[1].results
    for name, result in programme.items():
        assert result.relative_error <= sweep[name].relative_error * 1.02 + 1e-9


@pytest.mark.parametrize("methods", COMBINATIONS + BUDGETS)
def test_masks_hold_to_the_end(methods):
    made, result = built(*methods)
    masks = made.masks(result)
    layers = weights(result.network)
    assert len(layers) == len(linear_nodes(result.graph))
    for layer, node in zip(layers, linear_nodes(result.graph), strict=True):
        assert layer.weight.shape == node.weight.shape
        assert not layer.weight[~masks[node.name]].any()
    text = " ".join(methods)
    if "lower-kernel" in text or "periodic" in text or "prune" in text:
        assert not all(mask.all() for mask in masks.values())
    codes = golden.run(result.network, dataset().train_x[:20])
    assert codes[result.network.output.name].shape == (20, 1, 1, 1)


def test_masks_would_not_hold_without_being_asked():
    """The refinement does move a weight that is zero, where no mask forbids it."""
    made, result = built("periodic:PS2_P6")
    mask = made.masks(result)["conv2"]
    free = replace(result.supports["conv2"], mask=None)
    from hwgen.compress.stages import coding

    node = result.graph.by_name["conv2"]
    result = coding.encode(
        node, free.weight, None, made.plan.fixed().dyadic, last=False, digits=2,
        covariance=prepared().covariances["conv2"],
    )  # fmt: skip
    assert result.codes[~mask].any()


def test_what_each_method_did_is_noted():
    _, result = built("linear-features:0.5", "lower-kernel:taps=0.5", "periodic:PSD4_P8")
    notes = {name: dict(own.notes) for name, own in result.supports.items()}
    assert notes["conv2"]["linear_features"]["basis"] == 4
    assert set(notes["conv2.basis"]) == {"lower_kernel", "periodic"}
    assert sum(notes["conv2.basis"]["lower_kernel"]["units"].values()) == 4
    assert notes["conv2.basis"]["lower_kernel"]["taps"] <= 0.5
    assert "periodic" not in notes["conv1.basis"]  # the first convolution stays dense
    assert notes["fc"] == {}
    assert result.treatments["conv2"].words() == [
        "linear-features:0.5", "lower-kernel:taps=0.5", "periodic:PSD4_P8", "dyadic:P9",
    ]  # fmt: skip


def test_only_the_layers_named():
    made, result = built("lower-kernel:taps=0.5,layers=conv2", "ternary:layers=fc", "dyadic:P9")
    assert made.masks(result)["conv1"].all()
    assert not made.masks(result)["conv2"].all()
    codes = {layer.name: np.unique(np.abs(layer.weight)) for layer in weights(result.network)}
    assert codes["fc"].tolist() == [0, 1]
    assert len(codes["conv1"]) > 2


@pytest.mark.parametrize("method", ["linear-features", "lower-kernel", "periodic", "ternary"])
def test_layers_that_are_not_there(method):
    with pytest.raises(HwgenError, match=f"--method {method}: layers of conv1, conv2, fc needed, "
                                         "not 'conv9'"):  # fmt: skip
        stages(f"{method}:layers=conv9")


def test_refit_loses_less_than_cutting():
    """For any masks: the closed form against the same weights cut."""
    for method in ("lower-kernel:taps=0.5", "periodic:PSD2_P8", "periodic:pSC4"):
        _, fitted = built(method)
        _, cut = built(f"{method},refit=no")
        node, spread = fitted.graph.by_name["conv2"], prepared().covariances["conv2"]
        assert (fitted.supports["conv2"].mask == cut.supports["conv2"].mask).all() or (
            "lower" in method
        )
        losses = []
        for one in (fitted, cut):
            wrong = (node.weight - one.supports["conv2"].weight).reshape(8, -1)
            losses.append(float(np.einsum("on,nm,om->", wrong, spread[0], wrong)))
        assert losses[0] < losses[1]


@pytest.mark.parametrize("method", ["dyadic:P5", "ternary", "ternary:prune=0.4"])
def test_refinement_never_loses_at_the_output(method):
    _, refined = built(method)
    _, plain = built(method + ("," if ":" in method else ":") + "norm=weights")
    for name in ("conv1", "conv2", "fc"):
        node, spread = refined.graph.by_name[name], prepared().covariances[name]
        ridge = 1e-3 * np.trace(spread[0]) / len(spread[0]) * np.eye(len(spread[0]))
        errors = [output_error(node.weight, one.results[name], spread + ridge).sum()
                  for one in (refined, plain)]  # fmt: skip
        assert errors[0] <= errors[1] * (1 + 1e-9)


@pytest.mark.parametrize("methods", [("dyadic:P7,norm=weights",), ("ternary:norm=weights",)])
def test_dyadic_weights_stay_as_they_are(methods):
    """Coding what is coded already changes nothing."""
    made, result = built(*methods)
    project = made.projection(result, digits=2, pruned=False)
    values = {name: one.values() for name, one in result.results.items()}
    again = {name: one.values() for name, one in project(values).items()}
    for name in values:
        assert np.array_equal(values[name], again[name])


@pytest.mark.parametrize("methods", COMBINATIONS)
def test_projection_is_the_same_network(methods):
    """Without a look at the inputs the stages make the very codes that ``project`` makes."""
    plain = [m + ("," if ":" in m else ":") + "norm=weights" if m[0] in "dt" else m
             for m in methods]  # fmt: skip
    if not any(m.startswith(("dyadic", "ternary")) for m in methods):
        plain.append("dyadic:norm=weights")
    made, result = built(*plain)
    pruned = "prune" in " ".join(methods)
    project = made.projection(result, digits=2, pruned=pruned)
    latent = {name: own.weight for name, own in result.supports.items()}
    for name, one in project(latent).items():
        assert np.array_equal(one.codes, result.results[name].codes)
        assert np.array_equal(one.scale, result.results[name].scale)


def test_projection_keeps_the_masks():
    made, result = built("lower-kernel:taps=0.5", "ternary:prune=0.5")
    project = made.projection(result, digits=2, pruned=True)
    noise = np.random.default_rng(0)
    latent = {name: noise.normal(size=own.weight.shape) for name, own in result.supports.items()}
    for name, one in project(latent).items():
        mask = made.masks(result)[name]
        assert not one.codes[~mask].any()
        assert (np.abs(one.codes[mask]) == 1).all()


@pytest.mark.parametrize("method", ["lower-kernel:taps={}", "linear-features:{}"])
def test_more_is_never_worse(method):
    """With more taps, or more filters, the convolution's own error falls."""
    errors = []
    for share in (0.3, 0.6, 1.0):
        _, result = built(method.format(share))
        own = result.supports["conv2"].notes
        errors.append(own["lower_kernel"]["loss"] if "lower_kernel" in own
                      else own["linear_features"]["left"])  # fmt: skip
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12


def test_a_larger_set_is_never_worse():
    errors = [built(f"dyadic:{name},norm=weights")[1].results["conv2"].relative_error
              for name in ("T3", "P5", "P7", "P9")]  # fmt: skip
    assert errors == sorted(errors, reverse=True)


def permuted(order):
    """The network with conv2's filters in another order, and fc's inputs likewise."""
    ready = prepared()
    conv, fc = ready.graph.by_name["conv2"], ready.graph.by_name["fc"]
    inputs = np.arange(128).reshape(8, 16)[order].ravel()
    graph = ready.graph.with_node(replace(conv, weight=conv.weight[order], bias=conv.bias[order]))
    graph = graph.with_node(replace(fc, weight=fc.weight[:, inputs]))
    means = {name: mean[order] if len(mean) == 8 else mean
             for name, mean in ready.statistics.means.items()}  # fmt: skip
    means = {name: mean[inputs] if len(mean) == 128 else mean for name, mean in means.items()}
    spread = dict(ready.covariances)
    spread["fc"] = spread["fc"][:, inputs][:, :, inputs]
    return replace(
        ready, graph=graph, statistics=replace(ready.statistics, means=means), covariances=spread
    )


@pytest.mark.parametrize("methods", [
    ("dyadic:P7,norm=weights",), ("lower-kernel:taps=0.6", "dyadic:P7,norm=weights"),
    ("ternary:filter,norm=weights",), ("linear-features:0.5", "dyadic:P7,norm=weights"),
])  # fmt: skip
def test_the_order_of_filters_does_not_matter(methods):
    order = np.random.default_rng(4).permutation(8)
    plan, options = parse_methods(methods), LowerOptions()
    results = []
    for ready in (prepared(), permuted(order)):
        made = Stages(ready, plan, options=options)
        network = made.build(made.start(), digits=2, metadata={}).network
        results.append(golden.run(network, dataset().train_x[:50], keep="last"))
    first, second = (list(one.values())[0] for one in results)
    assert np.array_equal(first, second)


def changed(weight):
    """The small network with another conv2, calibrated again."""
    ready = prepared()
    node = ready.graph.by_name["conv2"]
    graph = ready.graph.with_node(replace(node, weight=weight))
    x = torch.from_numpy(dataset().train_x[:60] * 2.0**-4)
    return replace(
        ready, graph=graph, statistics=observe(graph, x, observed(graph)),
        covariances=covariances(graph, x),
    )  # fmt: skip


@pytest.mark.parametrize("methods", COMBINATIONS)
@pytest.mark.parametrize("kind", ["zero", "one", "huge", "tiny"])
def test_extreme_weights(methods, kind):
    weight = prepared().graph.by_name["conv2"].weight
    one = np.zeros(weight.shape)
    one[3, 2, 1, 1] = 0.7
    values = {"zero": 0 * weight, "one": one, "huge": weight * 2.0**20, "tiny": weight * 2.0**-40}
    made = Stages(changed(values[kind]), parse_methods(methods), options=LowerOptions())
    result = made.build(made.start(), digits=2, metadata={})
    layer = [layer for layer in weights(result.network) if layer.name.startswith("conv2")][0]
    if kind == "zero":
        assert not layer.weight.any()
    golden.run(result.network, dataset().train_x[:5])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_numbers(bad):
    weight = np.array(prepared().graph.by_name["conv2"].weight)
    weight[0, 0, 0, 0] = bad
    with pytest.raises(HwgenError, match="conv2: finite weight needed"):
        changed(weight)


def test_a_scale_has_the_digits_that_were_asked_for():
    for digits in (1, 2, 3):
        _, result = built("ternary:filter", digits=digits)
        scale = result.results["conv2"].scale
        assert max(signed_digits(round(float(np.ldexp(s, 20)))) for s in scale) <= digits


def test_accuracy_of_mild_methods():
    """What loses little in the weights loses little in the classes."""
    for methods in (("dyadic:Q16",), ("linear-features:0.875", "dyadic:Q16"),
                    ("lower-kernel:loss=0.01", "dyadic:Q16")):  # fmt: skip
        _, result = built(*methods, digits=3)
        assert scores().measure(result.network).accuracy > 0.92


def test_graph_names_are_the_networks():
    _, result = built("linear-features:0.5")
    assert [layer.name for layer in weights(result.network)] == [
        "conv1_basis", "conv1", "conv2_basis", "conv2", "fc",
    ]  # fmt: skip
    assert isinstance(result.graph.by_name["conv2.basis"], g.Conv)
