"""Small MNIST classifiers the whole way: accuracy over all test images, size, images a second.

``python -m benchmarks.mnist_small --data DIR [--designs NAME ...] [--seeds N] [--out DIR] [--json
FILE]``; DIR holds MNIST's four files. Every step is the command that a user would type: train,
compress, rtl, verify (all test images through the RTL), synth with place and route. What has been
made in ``--out`` is used again, trained networks too. The RTL is that of the first seed; accuracies
are of all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lenet5 import must, verified
from hwgen.files import make_folder, read_json, write_json

KEYS = ("lut", "ff", "bram", "dsp", "mul_cells", "fmax_mhz", "placed")


@dataclass(frozen=True)
class Design:
    """One design.

    Parameters: network, of ``hwgen train``; compress, words after the method's ``--method``; rtl,
    words of ``hwgen rtl``; target.
    """

    network: str
    compress: tuple[str, ...]
    rtl: tuple[str, ...]
    target: str


DESIGNS = {
    "up5k": Design("lenet-4-8", ("dyadic:P9", "--act-bits", "4"), ("--fit", "up5k"), "up5k"),
    "ecp5": Design("lenet5", ("dyadic:P9", "--act-bits", "5"), (), "ecp5-85"),
    "ecp5-caffe": Design("caffe-lenet", ("dyadic:P9",), ("--fit", "ecp5-85"), "ecp5-85"),
}
PUBLISHED = {"caffe-lenet": "lenet5_caffe_mnist.npz"}


def measure(design: Design, data: str, out: Path, seeds: int, weights: Path | None) -> Any:
    """Go the whole way in ``out`` and return the figures."""
    seconds: dict[str, float] = {}
    given = weights / PUBLISHED[design.network] if weights and design.network in PUBLISHED else None
    accuracies = []
    for seed in range(1 if given else seeds):
        folder = make_folder(out / f"seed{seed}")
        model, net = folder / "m.safetensors", folder / "net.npz"
        if not model.exists():
            words = ["--weights", str(given)] if given else ["--seed", str(seed)]
            must(seconds, f"train {seed}", "train", design.network, "--data", data, "--out",
                 str(model), *words)
        if not net.exists():
            must(seconds, f"compress {seed}", "compress", str(model), "--data", data, "--out",
                 str(net), "--method", *design.compress)
        found = read_json(folder / "compress.json")
        accuracies.append({key: found[key] for key in
                           ("digest", "accuracy_float", "accuracy_integer", "images")})
    rtl, first = out / "rtl", out / "seed0" / "net.npz"
    must(seconds, "rtl", "rtl", str(first), "--out", str(rtl), *design.rtl)
    must(seconds, "synth", "synth", str(rtl), "--target", design.target, "--pnr")
    synth = read_json(rtl / "synth.json")
    must(seconds, "verify", "verify", str(rtl), "--data", data, "--images", "all", "--layers",
         "last", "--proof")
    check = verified(rtl)
    must(seconds, "verify with stalls", "verify", str(rtl), "--data", data, "--images", "20",
         "--stalls")
    plan = read_json(rtl / "plan.json")
    return {
        "network": design.network,
        "compress": list(design.compress),
        "seeds": accuracies,
        "mean_accuracy_integer": statistics.mean(one["accuracy_integer"] for one in accuracies),
        "interval": plan["interval"],
        "estimate": plan["estimate"],
        "forms": {layer["name"]: layer["form"] for layer in plan["layers"]},
        "target": design.target,
        **{key: synth[key] for key in KEYS},
        "images_per_second": round(synth["fmax_mhz"] * 1e6 / plan["interval"]),
        "verify": check,
        "verify_stalls": verified(rtl),
        "seconds": seconds,
    }


def show(results: dict[str, Any]) -> None:
    """The table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table("design", "network", "accuracy (mean)", "hardware", "LUT", "FF", "BRAM", "DSP",
                  "MHz", "cycles", "images/s", box=None)  # fmt: skip
    for name, one in results.items():
        table.add_row(
            name, one["network"], f"{one['mean_accuracy_integer']:.2%}",
            f"{one['verify']['accuracy_rtl']:.2%}",
            *(f"{one[key]:,}" for key in (
                "lut", "ff", "bram", "dsp", "fmax_mhz", "interval", "images_per_second")),
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)


def main() -> int:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="Small MNIST classifiers.")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's four files")
    parser.add_argument("--designs", nargs="*", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="folder with published weights")
    parser.add_argument("--out", type=Path, default=Path("build/bench/mnist_small"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    for name in options.designs:
        out = make_folder(options.out / name)
        results[name] = measure(DESIGNS[name], f"mnist:{options.data}", out, options.seeds,
                                options.weights)
    show(results)
    if options.json is not None:
        known = read_json(options.json) if options.json.exists() else {}
        write_json(options.json, {**known, **results})
    else:
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
