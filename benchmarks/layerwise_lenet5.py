"""Layer-wise compression of LeNet-5 on MNIST: zeros, loss, and bytes with everything counted.

``python -m benchmarks.layerwise_lenet5 --data MNIST [--model FILE] [--json FILE]``. Target: at
least 92 % zeros, a loss below 1 point, at least 57 times smaller than 32-bit floats, with biases,
scales and code tables counted. Layers that the greedy loop accepts are ternary; one that costs too
much is restored, and counted with its dyadic weights. The bytes are decoded again and the decoded
network is the one that is measured, on all test images, in the golden model.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _prepared as common
from hwgen import datasets
from hwgen.compress.calibrate import observe
from hwgen.compress.importers import graph as g
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes, observed
from hwgen.compress.methods import packed
from hwgen.compress.training import layerwise
from hwgen.files import make_folder, write_json

# No augmentation: what is left of the network, some 3,000 weights, has no room for more.
OPTIONS = layerwise.Options(
    sparsity=0.92, steps=3, budget=1.0, epochs_pruning=4, epochs_layer=4, epochs_end=4, rate=3e-3,
    distil=0.5,
)


def say(text: str, done: int, total: int) -> None:
    """Progress on standard error, a line now and then."""
    if done % 200 == 0 or done == total:
        print(f"  {text}", file=sys.stderr, flush=True)


def decoded(outcome: layerwise.Outcome, data: bytes) -> g.Graph:
    """Return the graph with the weights and biases that the bytes hold."""
    graph = outcome.graph
    for node, layer in zip(linear_nodes(graph), packed.unpack(data), strict=True):
        bias = layer.bias * layer.bias_scale
        graph = graph.with_node(replace(node, weight=layer.values(), bias=bias))
    return graph


def measure(
    model: Path, images: datasets.Dataset, options: layerwise.Options
) -> dict[str, Any]:
    """Compress and return the figures."""
    started = time.perf_counter()
    ready = common.prepare(model, images)
    outcome = layerwise.compress(
        ready.graph, input_codes=ready.input_codes, images=images, options=options, progress=say
    )
    found: dict[str, Any] = {
        "order": options.order.value,
        "scale": options.scale.value,
        "learnt_images": len(images.train_x) - images.calibration_size,
        "passes": [options.epochs_pruning, options.epochs_layer, options.epochs_end],
        "turns": [[turn.layer, turn.accuracy, turn.accepted] for turn in outcome.turns],
        "accuracy_float": common.accuracy_float(ready, images.test_x, images.test_y),
    }
    data, floats = layerwise.size(outcome)
    graph = decoded(outcome, data)
    for name, result in outcome.results().items():
        np.testing.assert_array_equal(graph.by_name[name].weight, result.values())
    frac = ready.input_codes.frac
    x = torch.from_numpy(images.train_x[-1000:].astype(np.float32) * 2.0**-frac)
    network = lower(
        graph, outcome.results(), observe(graph, x, observed(graph)),
        input_codes=ready.input_codes, options=LowerOptions(), metadata={},
    )  # fmt: skip
    return found | {
        "accuracy_integer": common.final_accuracy(network, images),
        "zeros": float(np.mean(np.concatenate([
            node.weight.ravel() == 0 for node in linear_nodes(graph)
        ]))),
        "bytes": len(data),
        "bytes_float32": floats,
        "times_smaller": floats / len(data),
        "digest": network.digest,
        "layers": {
            node.name: {
                "zeros": float(np.mean(node.weight == 0)),
                "ternary": node.name in outcome.sigma,
                "sigma": outcome.sigma[node.name].tolist() if node.name in outcome.sigma else [],
            }
            for node in linear_nodes(graph)
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def show(results: dict[str, Any]) -> None:
    """The table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table("order", "sigma by", "restored", "zeros", "float", "integer", "loss", "bytes",
                  "smaller", box=None)  # fmt: skip
    for found in results.values():
        loss = 100 * (found["accuracy_float"] - found["accuracy_integer"])
        table.add_row(
            found["order"], found["scale"],
            " ".join(name for name, layer in found["layers"].items() if not layer["ternary"]),
            f"{found['zeros']:.2%}",
            f"{found['accuracy_float']:.2%}", f"{found['accuracy_integer']:.2%}", f"{loss:.2f}",
            f"{found['bytes']:,}", f"{found['times_smaller']:.1f}x",
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)


def main() -> None:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="Layer-wise compression of LeNet-5.")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's four files")
    parser.add_argument("--model", type=Path, help="trained before; default: train now")
    parser.add_argument("--quick", action="store_true", help="one pass a stage, 15,000 images")
    parser.add_argument(
        "--passes", type=int, nargs=3, metavar=("PRUNING", "LAYER", "END"),
        help="after each pruning step, in each layer's turn, at the end; default: 4 4 4",
    )  # fmt: skip
    parser.add_argument("--train-images", type=int, help="at most; default: all")
    parser.add_argument("--only", metavar="ORDER,SCALE", help="such as sparsity,filter")
    parser.add_argument("--all", action="store_true", help="both orders, both kinds of sigma")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/bench/layerwise"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make_folder(options.out)
    data = f"mnist:{options.data}"
    limit = options.train_images or (15_000 if options.quick else None)
    images = common.shortened(datasets.load(data), limit)
    model = options.model or common.model_of("lenet5", data, options.out, None, say, None)
    chosen = OPTIONS
    if options.quick or options.passes:
        pruning, layer, end = options.passes or (1, 1, 1)
        chosen = replace(chosen, epochs_pruning=pruning, epochs_layer=layer, epochs_end=end)
    variants = [(layerwise.Order.SPARSITY, layerwise.Scale.LAYER)]
    if options.only:
        names = options.only.split(",")
        variants = [(layerwise.Order(names[0]), layerwise.Scale(names[1]))]
    elif options.all:
        variants = [(order, scale) for order in layerwise.Order
                    for scale in (layerwise.Scale.LAYER, layerwise.Scale.FILTER)]  # fmt: skip
    kept = common.Kept(options.out / "results.json")
    for order, scale in variants:
        settings = replace(
            chosen, order=order, scale=scale, threads=options.threads, device=options.device
        )
        kept.get(
            f"{order.value},{scale.value}",
            lambda settings=settings: measure(model, images, settings),
        )
    show(kept.results)
    if options.json is not None:
        write_json(options.json, kept.results)
    else:
        print(json.dumps(kept.results))


if __name__ == "__main__":
    main()
