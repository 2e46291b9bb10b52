"""Fine-tuning on the integer forward pass: one signed digit a weight, before and after.

``python -m benchmarks.qat --data MNIST [--cifar DIR] [--weights DIR] [--nets NAME ...] [--levels
SET] [--json FILE]``. MNIST's folder serves lenet5, lenet-200 and caffe-lenet; with ``--cifar`` also
resnet8 and, by name, resnet20. Networks with published weights start from these where ``--weights``
names their folder. A run that is stopped goes on where it was. Accuracies are of the golden model
on all test images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import _prepared as common
from hwgen import cost, datasets
from hwgen.compress import zoo
from hwgen.compress.training import checkpoint, qat
from hwgen.files import make_folder, write_json

MNIST = ("lenet5", "lenet-200", "caffe-lenet")
# network -> (passes, highest rate, part of the loss from the float network's scores)
SCHEDULE = {
    "lenet5": (6, 2e-3, 0.0),
    "lenet-200": (4, 1e-3, 0.0),
    "caffe-lenet": (4, 1e-3, 0.0),
    "resnet8": (12, 4e-4, 0.5),
    "resnet20": (12, 2e-4, 0.5),
}


def say(text: str, done: int, total: int) -> None:
    """Progress on standard error, a line now and then."""
    if done % 200 == 0 or done == total:
        print(f"  {text}", file=sys.stderr, flush=True)


def measure(name: str, data: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one network."""
    folder: Path = options.out
    images = common.shortened(datasets.load(data), options.train_images)
    model = common.model_of(name, data, folder, options.weights, say, options.train_epochs,
                            options.device)
    ready = common.prepare(model, images)
    project = common.dyadic_projection(ready.graph, options.levels)
    before = common.network_of(ready, ready.graph, ready.statistics, project)
    epochs, rate, distil = SCHEDULE[name]
    started = time.perf_counter()
    path = folder / f"{name}.{options.levels}{checkpoint.SUFFIX}"
    graph, statistics = qat.finetune(
        ready.graph,
        ready.statistics,
        input_codes=ready.input_codes,
        options=common.LowerOptions(),
        project=project,
        masks={},
        images=images,
        training=qat.Training(
            epochs=options.epochs or epochs,
            rate=rate,
            batch=options.batch,
            distil=distil,
            device=options.device,
            augmentation=zoo.recipe(name).augmentation,
            threads=torch.get_num_threads(),
            path=path,
        ),
        progress=say,
    )
    network = common.network_of(ready, graph, statistics, project)
    prices = cost.network_cost(network)
    return {
        "network": name,
        "levels": options.levels,
        "epochs": options.epochs or epochs,
        "learnt_images": len(images.train_x) - images.calibration_size,
        "float": common.accuracy_float(ready, images.test_x, images.test_y),
        "before": common.final_accuracy(before, images),
        "after": common.final_accuracy(network, images),
        "digits_a_weight": sum(price.digits for price in prices)
        / sum(layer.weight.size for layer in network.layers if hasattr(layer, "weight")),
        "digest": network.digest,
        "seconds": round(time.perf_counter() - started, 1),
    }


def show(results: dict[str, Any]) -> None:
    """The table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table("network", "set", "float", "integer", "fine-tuned", "loss", "digits a weight",
                  box=None)  # fmt: skip
    for found in results.values():
        loss = 100 * (found["float"] - found["after"])
        table.add_row(
            found["network"], found["levels"], f"{found['float']:.2%}", f"{found['before']:.2%}",
            f"{found['after']:.2%}", f"{loss:.2f}", f"{found['digits_a_weight']:.3f}",
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)


def main() -> None:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="Fine-tuning on the integer forward pass.")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's four files")
    parser.add_argument("--cifar", type=Path, help="folder with CIFAR-10")
    parser.add_argument("--weights", type=Path, help="folder with published weights")
    parser.add_argument("--nets", nargs="*", choices=SCHEDULE, help="default: all with data")
    parser.add_argument("--levels", default="P9", help="set of the weights (default: P9)")
    parser.add_argument("--epochs", type=int, help="of the fine-tuning; default: as listed")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--train-epochs", type=int, help="of the float networks trained first")
    parser.add_argument("--train-images", type=int, help="at most, of the fine-tuning")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/bench/qat"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make_folder(options.out)
    kept = common.Kept(options.out / "results.json")
    for name in options.nets or [*MNIST, *(["resnet8"] if options.cifar else [])]:
        data = f"mnist:{options.data}" if name in MNIST else f"cifar10:{options.cifar}"
        key = f"{name} {options.levels}"
        kept.get(key, lambda name=name, data=data: measure(name, data, options))
    show(kept.results)
    if options.json is not None:
        write_json(options.json, kept.results)
    else:
        print(json.dumps(kept.results))


if __name__ == "__main__":
    main()
