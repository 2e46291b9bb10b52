"""The CFF face detector over five folds of the 200 face crops: float, dyadic, fine-tuned.

``python -m benchmarks.cff --faces DIR [--sets Q8 P9 ...] [--tune N] [--json FILE]``. Each crop is
held out once. All elements become dyadic: weights, the coefficients of the subsampling, biases, and
tanh as a table of slopes of at most two signed digits. 200 crops suffice for a demonstration, not
for a detection rate. Target: float at least 95 %, dyadic at most 2 crops fewer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _prepared as common
from hwgen import datasets
from hwgen.compress import zoo
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.training import finetune, qat
from hwgen.files import make_folder, write_json
from hwgen.sim import golden


def fold_of(images: datasets.Dataset, number: int, count: int) -> datasets.Dataset:
    """Return the data of a fold: the others learn, it tests."""
    x = np.concatenate([images.train_x, images.test_x])
    y = np.concatenate([images.train_y, images.test_y])
    kept, held = datasets.folds(y, count=count)[number]
    kept = np.random.default_rng(number).permutation(kept)  # both classes in the last part
    return datasets.replace(
        images, train_x=x[kept], train_y=y[kept], test_x=x[held], test_y=y[held]
    )


def measure(
    images: datasets.Dataset, number: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one fold and return how many of its crops each form gets right."""
    started = time.perf_counter()
    data = fold_of(images, number, options.folds)
    recipe = zoo.recipe("cff")
    torch.manual_seed(number)
    module = recipe.build()
    epochs = options.epochs or recipe.epochs
    finetune.fit(module, recipe, data, name=f"cff, fold {number}", epochs=epochs, seed=number)
    scaling = InputScaling(recipe.scale, recipe.mean, recipe.std)
    right = finetune.accuracy(module, data.test_x, data.test_y, scaling) / 100 * len(data.test_x)
    found: dict[str, Any] = {"crops": len(data.test_x), "float": round(right)}
    ready = common.prepare_graph(import_module(module, recipe.shape), scaling, data)
    for levels in options.sets:
        project = common.dyadic_projection(ready.graph, levels, digits=3)
        network = common.network_of(ready, ready.graph, ready.statistics, project)
        found[levels] = _right(network, data)
        if options.tune:
            graph, seen = qat.finetune(
                ready.graph, ready.statistics, input_codes=ready.input_codes,
                options=common.LowerOptions(), project=project, masks={}, images=data,
                training=qat.Training(
                    epochs=options.tune, rate=2e-3, batch=32, device="cpu",
                    augmentation=recipe.augmentation, distil=0.5,
                ),
            )  # fmt: skip
            tuned = common.network_of(ready, graph, seen, project)
            found[f"{levels}, tuned"] = _right(tuned, data)
    return found | {"seconds": round(time.perf_counter() - started, 1)}


def _right(network: Any, data: datasets.Dataset) -> int:
    return int((golden.classes(network, data.test_x) == data.test_y).sum())


def show(results: dict[str, Any]) -> None:
    """The table on standard output."""
    from rich.console import Console
    from rich.table import Table

    folds = list(results.values())
    table = Table("form", *(f"fold {n}" for n in range(len(folds))), "all", "share", box=None)
    crops = sum(fold["crops"] for fold in folds)
    for form in (key for key in folds[0] if key not in ("crops", "seconds")):
        right = [fold.get(form, 0) for fold in folds]
        total = sum(right)
        table.add_row(form, *map(str, right), f"{total} of {crops}", f"{total / crops:.1%}")
    Console(markup=False, highlight=False).print(table)


def main() -> None:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="The CFF face detector over five folds.")
    parser.add_argument("--faces", type=Path, required=True, help="folder with lfw_subset.npy")
    parser.add_argument("--sets", nargs="*", default=["Q16", "Q8", "P9"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--tune", type=int, default=0, help="passes of fine-tuning of each set")
    parser.add_argument("--out", type=Path, default=Path("build/bench/cff"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make_folder(options.out)
    images = datasets.load(f"faces:{options.faces}")
    kept = common.Kept(options.out / "results.json")
    for number in range(options.folds):
        found = kept.get(str(number), lambda number=number: measure(images, number, options))
        print(f"  fold {number}: {found}", file=sys.stderr, flush=True)
    show(kept.results)
    if options.json is not None:
        write_json(options.json, kept.results)
    else:
        print(json.dumps(kept.results))


if __name__ == "__main__":
    main()
