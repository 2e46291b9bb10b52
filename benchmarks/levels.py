"""Every dyadic set on trained networks: accuracy of the integer network, additions, shifts.

``python -m benchmarks.levels MODEL DATA [MODEL DATA ...] [--sets T3,P5,...] [--budgets 0.6,1.0]
[--options norm=weights,digits=2] [--json FILE]``; MODEL and DATA as for ``hwgen compress``. Each
set, and each budget of signed digits a weight, compresses the network from the start, biases and
pooling coefficients included; accuracy is that of the golden model on all test images. Additions
and shifts are those of one image, without sharing; a shift is a digit that is not at weight 1.
Multiplications are what the float network has; the integer one has none. FILE keeps the rows of
other networks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._rows import write_rows
from hwgen import cost, netfile
from hwgen.compress.methods.dyadic import SETS
from hwgen.compress.pipeline import compress
from hwgen.errors import HwgenError
from hwgen.layers import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    MaxPool,
    Requantise,
)
from hwgen.network import Network

MOVES = (Input, MaxPool, Flatten, ArgMax, Concat)  # compare and route, and do no arithmetic


def shifts_of(values: Int64Array) -> int:
    """Return the digits of whole numbers that are not at weight 1."""
    digits = cost.digit_count(values)
    return int((digits - (np.asarray(values) & 1)).sum())


def operations(network: Network) -> dict[str, int]:
    """Return the additions and shifts of an image, and the products with no shift-and-add form."""
    additions = shifts = products = 0
    tensors = network.tensors
    for layer in network.layers:
        made = tensors[layer.name]
        pixels = made.height * made.width
        match layer:
            case Conv2d() | Dense():
                additions += cost.layer_cost(layer, pixels).adders * pixels
                shifts += shifts_of(layer.weight) * pixels
            case Requantise():
                additions += cost.requantise_adders(layer) * pixels
                shifts += (shifts_of(layer.multiplier) + layer.shift.size) * pixels
            case Activation():  # a slope of two digits, an offset, the rounding folded into it
                additions += 2 * made.channels * pixels
                shifts += 3 * made.channels * pixels
            case AvgPool():
                additions += (layer.kernel[0] * layer.kernel[1] - 1) * made.channels * pixels
            case Add():
                additions += (len(layer.sources) - 1) * made.channels * pixels
                shifts += sum(shift > 0 for shift in layer.shifts) * made.channels * pixels
            case _:
                products += 0 if isinstance(layer, MOVES) else 1
    return {"additions": additions, "shifts": shifts, "multiplications": products}


def dense_products(network: Network) -> int:
    """Return the multiplications of an image in the network before, zeros counted."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, (Conv2d, Dense)):
            made = network.tensors[layer.name]
            total += layer.weight.size * made.height * made.width
    return total


def measure(model: str, data: str, method: str, options: str) -> dict[str, Any]:
    """Compress once and return a row."""
    words = ",".join(word for word in (method, "bias=3", "pool=3", options) if word)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "net.npz")
        report = compress(model, [f"dyadic:{words}"], data, out)
        network = netfile.load(out)
    return {
        "model": Path(model.rpartition(":")[0] or model).stem,
        "data": data.partition(":")[0],
        "method": method,
        "options": words,
        "digest": report["digest"],
        "accuracy_float": report["accuracy_float"],
        "accuracy_integer": report["accuracy_integer"],
        "lost_points": round(100 * (report["accuracy_float"] - report["accuracy_integer"]), 2),
        "images": report["images"],
        "digits": sum(layer["digits"] for layer in report["layers"]),
        "adders": sum(layer["adders"] for layer in report["layers"]),
        "before": dense_products(network),
        **operations(network),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    """Print the table; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Every dyadic set on trained networks.")
    parser.add_argument("pairs", nargs="*", metavar="MODEL DATA")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--budgets", default="", help="signed digits a weight: 0.6,1.0")
    parser.add_argument("--options", default="", help="more options of dyadic, for every row")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if len(chosen.pairs) % 2:
        parser.error("MODEL and DATA in pairs are needed")
    if not chosen.pairs:
        print("left out: no MODEL DATA pair was given")
        return
    methods = [name for name in chosen.sets.split(",") if name]
    methods += [f"budget={value}" for value in chosen.budgets.split(",") if value]
    rows: list[dict[str, Any]] = []
    print(
        "| network | data | set | float | integer | lost | digits | adders, shared | additions "
        "an image | shifts | multiplications before, after |\n|---|---|" + "---|" * 9, flush=True
    )
    for model, data in zip(chosen.pairs[::2], chosen.pairs[1::2], strict=True):
        for method in methods:
            try:
                row = measure(model, data, method, chosen.options)
            except HwgenError as error:
                raise SystemExit(f"{model}, {data}, {method}: {error}") from error
            rows.append(row)
            print(
                f"| {row['model']} | {row['data']} | {row['method']} "
                f"| {row['accuracy_float']:.2%} | {row['accuracy_integer']:.2%} "
                f"| {row['lost_points']:.2f} | {row['digits']:,} | {row['adders']:,} "
                f"| {row['additions']:,} | {row['shifts']:,} "
                f"| {row['before']:,}, {row['multiplications']} |",
                flush=True,
            )
            write_rows(chosen.json, rows, ("model", "data", "method", "options"), seed=0)


if __name__ == "__main__":
    main()
