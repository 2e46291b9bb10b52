"""What the benchmarks of training share: a model made ready, projections, results kept on disk."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwgen import datasets
from hwgen.compress import forward
from hwgen.compress.calibrate import Format, Statistics, observe
from hwgen.compress.importers import graph as g
from hwgen.compress.importers import model as models
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods.dyadic import FloatArray, Levels, Options, Result, Scale, approximate
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.simplify import input_frac, simplify, with_input_scaling
from hwgen.compress.training import finetune, integer_forward
from hwgen.files import write_json
from hwgen.network import Network
from hwgen.progress import Progress
from hwgen.sim import golden

PUBLISHED = {
    "caffe-lenet": "lenet5_caffe_mnist",
    "resnet8": "mlperf_tiny_resnet8_float_cifar10",
    "resnet20": "resnet20_cifar10",
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float network, simplified, and what calibration saw."""

    graph: g.Graph
    input_codes: Format
    statistics: Statistics


def model_of(
    name: str,
    data: str,
    folder: Path,
    weights: Path | None,
    progress: Progress,
    epochs: int | None,
    device: str = "auto",
) -> Path:
    """Return the model file of a reference network: made before, imported or trained now."""
    path = folder / f"{name}.safetensors"
    if path.exists():
        return path
    published = weights / f"{PUBLISHED[name]}.npz" if weights and name in PUBLISHED else None
    if published is not None and published.exists():
        finetune.import_weights(name, data, path, published)
    else:
        finetune.train(name, data, path, epochs=epochs, device=device, progress=progress)
    return path


def prepare(path: Path, images: datasets.Dataset) -> Prepared:
    """Read a model and run the last 1,000 training images through it."""
    loaded = models.load(str(path), images.shape)
    return prepare_graph(loaded.graph, loaded.scaling or InputScaling(images.scale), images)


def prepare_graph(graph: g.Graph, scaling: InputScaling, images: datasets.Dataset) -> Prepared:
    """Simplify an imported graph and run the last 1,000 training images through it."""
    frac = input_frac(scaling)
    graph = simplify(with_input_scaling(graph, scaling, frac=frac))
    codes = torch.from_numpy(images.train_x[-1000:].astype(np.float32) * 2.0**-frac)
    statistics = observe(graph, codes, observed(graph))
    return Prepared(graph, Format(images.lo, images.hi, frac), statistics)


def shortened(images: datasets.Dataset, limit: int | None) -> datasets.Dataset:
    """Return the data with the last training images alone, so many of them to learn.

    The last tenth, at most 5,000, is still kept out of the training.
    """
    if not limit:
        return images
    total = max(-(-limit * 10 // 9), 1) if limit < 45_000 else limit + datasets.CALIBRATION
    part = slice(-min(total, len(images.train_x)), None)
    return datasets.replace(images, train_x=images.train_x[part], train_y=images.train_y[part])


def accuracy_float(ready: Prepared, x: datasets.Images, y: datasets.Array) -> float:
    """Return the float graph's share of right classes."""
    name, right = ready.graph.output.name, 0
    for first in range(0, len(x), 500):
        codes = torch.from_numpy(x[first : first + 500] * np.float32(2.0**-ready.input_codes.frac))
        scores = forward.run(ready.graph, codes.float(), keep=[name])[name].flatten(1)
        right += int((scores.argmax(1).numpy() == y[first : first + 500]).sum())
    return right / len(x)


def dyadic_projection(
    graph: g.Graph, levels: str, *, digits: int = 2
) -> Callable[[Mapping[str, FloatArray]], dict[str, Result]]:
    """Return the projection on a set: a scale a filter of a convolution, one a dense layer."""
    last, chosen = graph.output.name, Levels.parse(levels)

    def project(latent: Mapping[str, FloatArray]) -> dict[str, Result]:
        made = {}
        for name, weight in latent.items():
            scale = Scale.FILTER if weight.ndim == 4 and name != last else Scale.LAYER
            made[name] = approximate(
                weight, Options(chosen, scale, None if name == last else digits)
            )
        return made

    return project


def network_of(
    ready: Prepared, graph: g.Graph, statistics: Statistics, project: Any
) -> Network:
    """Return the integer network of a graph and a projection."""
    weights = project({node.name: node.weight for node in linear_nodes(graph)})
    return lower(
        graph, weights, statistics, input_codes=ready.input_codes, options=LowerOptions(),
        metadata={},
    )


def final_accuracy(
    network: Network, images: datasets.Dataset, device: torch.device | None = None
) -> float:
    """Return the golden model's accuracy on the test images: read once, for a final figure.

    With a GPU that computes them, the golden model checks the classes of the first 500.

    Raises: AssertionError if a class differs.
    """
    if device is None or device.type == "cpu":
        return golden.accuracy(network, images.test_x, images.test_y)
    found = integer_forward.classes(network, images.test_x, device)
    np.testing.assert_array_equal(found[:500], golden.classes(network, images.test_x[:500]))
    return float(np.mean(found == images.test_y))


class Kept:
    """Results by key in a JSON file, so that a benchmark that was stopped goes on.

    Several processes may share the file: each reads what is there before it adds its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, Any] = self._read()

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """Return the result of a key, made now if it is not there."""
        if key not in self.results:
            found = make()
            with open(self.path.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.results = {**self._read(), key: found}
                write_json(self.path, self.results)
        return self.results[key]

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found
