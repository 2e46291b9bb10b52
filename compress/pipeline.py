"""From a trained model to the network file: import, approximate, calibrate, lower, measure.

Searches look at the last training images alone; the test images are read once, at the end,
for the two accuracies that are reported.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwgen import cost, datasets, netfile
from hwgen.compress import dyadic_budget, forward
from hwgen.compress.calibrate import Format, Statistics, covariances, observe
from hwgen.compress.importers import graph as g
from hwgen.compress.importers import model as models
from hwgen.compress.lower import LowerOptions, linear_nodes, lower, observed
from hwgen.compress.methods.dyadic import Options, Result, Scale, approximate
from hwgen.compress.methods.output_error import refine
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.options import DyadicChoice, Norm, parse_methods
from hwgen.compress.simplify import input_frac, simplify, with_input_scaling
from hwgen.errors import HwgenError
from hwgen.files import write_atomic, write_json
from hwgen.layers import Conv2d, Dense, Int64Array
from hwgen.network import Network
from hwgen.progress import Progress, silent
from hwgen.sim import golden

STATISTICS_IMAGES = 1000  # for formats, mean images and covariances
SCORE_IMAGES = 5000  # for comparing candidates; both are the last of the training images
TOLERANCE = 0.001  # accuracy (a share) that fewer scale digits may cost: noise of the measurement
SHARED_DIGITS = (
    4000  # a layer with more digits is reported unshared: it is not built as one adder graph
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model made ready: the simplified graph, what its input means, and what calibration saw."""

    graph: g.Graph
    scaling: InputScaling
    input_codes: Format
    statistics: Statistics
    covariances: Mapping[str, g.FloatArray]
    classify: bool


def compress(
    model: str,
    methods: Sequence[str],
    data: str,
    out: Path,
    *,
    budget: float | None = None,
    seed: int = 0,
    act_bits: int = 8,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compress a trained model and write ``out``, with ``compress.json`` and ``before.npz`` beside
    it.

    Parameters
    ----------
    model, data : str
        The MODEL and DATA arguments, see ``importers.model`` and ``hwgen.datasets``.
    methods : sequence of str
        The ``--method`` arguments, see ``hwgen.compress.options``.
    out : Path
        The network file.
    budget : float, optional
        Points of accuracy that may be lost on the last training images; more is an error, and
        nothing is written.
    seed : int
        Recorded; this method draws nothing at random.
    act_bits : int
        Of the codes between layers, 2 to 16.
    mean, std : sequence of float, optional
        Normalisation by channel, where the model itself says nothing.

    Returns: the content of compress.json; accuracies are shares, 0 to 1.
    Raises: HwgenError, one line, if anything given does not fit; earlier files stay as they were.
    """
    start, tell = time.perf_counter(), progress or silent
    choice = parse_methods(methods)
    options = LowerOptions(act_bits=act_bits)
    tell("load images and model", 0, 5)
    images = datasets.load(data, mean=mean, std=std)
    loaded = models.load(model, images.shape)
    tell("calibrate", 1, 5)
    prepared = prepare(loaded, images)
    options = LowerOptions(
        act_bits=act_bits,
        classify=prepared.classify,
        bias_digits=choice.extra.bias,
        pool_digits=choice.extra.pool,
    )
    tell("approximate weights", 2, 5)
    network, weights, digits = _search(
        prepared, images, choice, options, _metadata(loaded, images, prepared, methods), budget
    )
    tell("measure on the test images", 3, 5)
    float_accuracy = accuracy_float(prepared, images.test_x, images.test_y)
    integer_accuracy = golden.accuracy(network, images.test_x, images.test_y)
    tell("count adders and write", 4, 5)
    report = {
        "digest": network.digest,
        "methods": [choice.text(digits)],
        "seed": seed,
        "accuracy_float": float_accuracy,
        "accuracy_integer": integer_accuracy,
        "images": len(images.test_x),
        "layers": _layers(network, prepared.graph, weights),
    }
    _write(
        Path(out),
        network,
        prepared.graph,
        report | {"seconds": round(time.perf_counter() - start, 2)},
    )
    tell("compressed", 5, 5)
    return report | {"seconds": round(time.perf_counter() - start, 2)}


def prepare(loaded: models.Model, images: datasets.Dataset) -> Prepared:
    """Simplify a model's graph and run the last training images through it."""
    scaling = loaded.scaling or InputScaling(images.scale, images.mean, images.std)
    frac = input_frac(scaling)
    graph = simplify(with_input_scaling(loaded.graph, scaling, frac=frac))
    channels, *pixels = graph.shapes[graph.output.name]
    classes = len(images.class_names)
    if pixels != [1, 1] or channels < max(classes, 2):
        raise HwgenError(
            f"A model with one score for each of {max(classes, 2)} classes needed, not one with "
            f"{channels} outputs of {pixels[0]}x{pixels[1]} pixels"
        )
    last = images.train_x[-STATISTICS_IMAGES:]
    codes = torch.from_numpy(np.array(last, dtype=np.float64) * 2.0**-frac).to(torch.float32)
    return Prepared(
        graph,
        scaling,
        Format(images.lo, images.hi, frac),
        observe(graph, codes, observed(graph)),
        covariances(graph, codes),
        classify=True,
    )


def accuracy_float(prepared: Prepared, x: datasets.Images, y: Int64Array) -> float:
    """Return the share of images that the float graph puts into the right class."""
    output, frac = prepared.graph.output.name, prepared.input_codes.frac
    right = 0
    for first in range(0, len(x), 1000):
        codes = torch.from_numpy(np.array(x[first : first + 1000], dtype=np.float64) * 2.0**-frac)
        scores = forward.run(prepared.graph, codes.to(torch.float32), keep=[output])[output]
        right += int((scores.flatten(1).argmax(1).numpy() == y[first : first + 1000]).sum())
    return right / len(x)


def weights_of(prepared: Prepared, choice: DyadicChoice, *, digits: int) -> dict[str, Result]:
    """Approximate the weights of all convolutions and dense layers.

    The last layer of a classifier keeps a real scale, one for all classes: nothing multiplies by
    it.
    """
    results, graph = {}, prepared.graph
    if choice.extra.spends:
        return dyadic_budget.spend(
            {node.name: _task(prepared, choice, node, digits) for node in linear_nodes(graph)},
            choice.extra,
        )
    for node in linear_nodes(graph):
        scale = choice.scale if isinstance(node, g.Conv) else choice.dense
        last = node is graph.output
        options = Options(choice.levels, Scale.LAYER if last else scale, None if last else digits)
        try:
            if choice.extra.solver is dyadic_budget.Solver.ILP:
                task = _task(prepared, choice, node, digits)
                result = dyadic_budget.by_programme(task, choice.levels)
            else:
                result = approximate(node.weight, options)
            if choice.norm is Norm.DATA and node.name in prepared.covariances:
                result = refine(node.weight, result, choice.levels, prepared.covariances[node.name])
            results[node.name] = result
        except HwgenError as error:
            raise HwgenError(f"{node.name}: {error}") from error
    return results


def _task(
    prepared: Prepared, choice: DyadicChoice, node: g.Conv | g.Dense, digits: int
) -> dyadic_budget.Task:
    last = node is prepared.graph.output
    scale = choice.scale if isinstance(node, g.Conv) else choice.dense
    return dyadic_budget.Task(
        node.weight,
        Scale.LAYER if last else scale,
        None if last else digits,
        prepared.covariances.get(node.name) if choice.norm is Norm.DATA else None,
    )


def _search(
    prepared: Prepared,
    images: datasets.Dataset,
    choice: DyadicChoice,
    options: LowerOptions,
    metadata: Mapping[str, Any],
    budget: float | None,
) -> tuple[Network, dict[str, Result], int]:
    """Return the network with the fewest scale digits that cost no accuracy in training images."""
    x, y = images.train_x[-SCORE_IMAGES:], images.train_y[-SCORE_IMAGES:]
    tried = {}
    for digits in (3, 2, 1) if choice.digits is None else (choice.digits,):
        weights = weights_of(prepared, choice, digits=digits)
        network = lower(
            prepared.graph,
            weights,
            prepared.statistics,
            input_codes=prepared.input_codes,
            options=options,
            metadata={**metadata, "options": _as_json(choice, options, digits)},
        )
        tried[digits] = (golden.accuracy(network, x, y), network, weights)
    best = max(accuracy for accuracy, _, _ in tried.values())
    fewest = min(
        digits for digits, (accuracy, _, _) in tried.items() if accuracy >= best - TOLERANCE
    )
    accuracy, network, weights = tried[fewest]
    if budget is not None:
        lost = 100 * (accuracy_float(prepared, x, y) - accuracy)
        if lost > budget:
            raise HwgenError(
                f"--budget {budget:g}: at most {budget:g} points needed, "
                f"dyadic:{choice.extra.text if choice.extra.spends else choice.set_name} "
                f"loses {lost:.2f} on the last training images; a larger set loses less"
            )
    return network, weights, fewest


def _as_json(choice: DyadicChoice, options: LowerOptions, digits: int) -> dict[str, Any]:
    return {
        "set": None if choice.extra.spends else choice.set_name,
        "extra": choice.extra.text,
        "scale": choice.scale.value,
        "dense": choice.dense.value,
        "norm": choice.norm.value,
        "scale_digits": digits,
        **asdict(options),
    }


def _metadata(
    loaded: models.Model, images: datasets.Dataset, prepared: Prepared, methods: Sequence[str]
) -> dict[str, Any]:
    scaling = prepared.scaling
    return {
        "model": loaded.name,
        "method": list(methods) or ["dyadic"],
        "data": images.name.partition(":")[0],
        "class_names": list(loaded.class_names or images.class_names),
        "input": {"scale": scaling.scale, "mean": scaling.mean, "std": scaling.std},
    }


def _layers(
    network: Network, graph: g.Graph, weights: Mapping[str, Result]
) -> list[dict[str, Any]]:
    """One entry a layer with weights, in the order that graph and network share."""
    entries = []
    layers = [layer for layer in network.layers if isinstance(layer, (Conv2d, Dense))]
    for layer, node, price in zip(
        layers, linear_nodes(graph), cost.network_cost(network), strict=True
    ):
        entries.append(
            {
                "name": layer.name,
                "error": weights[node.name].relative_error,
                "nonzeros": price.nonzeros,
                "digits": price.digits,
                "adders": _shared_adders(layer, price),
                "macs": price.macs,
            }
        )
    return entries


def _shared_adders(layer: Conv2d | Dense, price: cost.LayerCost) -> int:
    """Adders of a layer's shared graphs, one a group; unshared where it is too large."""
    if price.digits > SHARED_DIGITS:
        return price.adders
    from hwgen.adders import search

    groups = layer.groups if isinstance(layer, Conv2d) else 1
    total = int(np.count_nonzero(layer.bias))
    for part in np.split(layer.weight, groups):
        matrix = part.reshape(len(part), -1).T
        total += search.build(np.ascontiguousarray(matrix), input_lo=-128, input_hi=127).adders
    return total


def _write(out: Path, network: Network, graph: g.Graph, report: Mapping[str, Any]) -> None:
    """Write before.npz, the network file and compress.json, each whole; the report last."""
    layers = [layer.name for layer in network.layers if isinstance(layer, (Conv2d, Dense))]
    before = {
        f"{name}.{field}": np.asarray(getattr(node, field), np.float32)
        for name, node in zip(layers, linear_nodes(graph), strict=True)
        for field in ("weight", "bias")
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **before)
    write_atomic(out.with_name("before.npz"), buffer.getvalue())
    netfile.save(network, out)
    write_json(out.with_name("compress.json"), report)
