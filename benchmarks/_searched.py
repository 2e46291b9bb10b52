"""What the benchmarks of searches under a budget share: the runs, their figures, the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._prepared import Kept
from hwgen import netfile
from hwgen.files import make_folder, write_json
from hwgen.layers import Conv2d
from hwgen.network import Network


def arguments(description: str, *, budget: float = 1.0) -> argparse.ArgumentParser:
    """Return a parser with what all of them take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "pairs", nargs="*", metavar="MODEL DATA",
        help="trained networks, each with its images, as for `hwgen compress`; without any the "
        "digits network is trained first",
    )
    parser.add_argument("--budget", type=float, default=budget, help="points that may be lost")
    parser.add_argument("--finetune", type=int, default=0, metavar="EPOCHS")
    parser.add_argument("--device", default="auto", help="of the searches' measurements, training")
    parser.add_argument("--out", type=Path, help="keep results there, to go on after a stop")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


def kept(options: argparse.Namespace, folder: Path) -> Kept:
    """Return the results that are kept in ``--out``, or in a folder of this run."""
    place = options.out or folder
    make_folder(place)
    return Kept(place / "results.json")


def pairs_of(parser: argparse.ArgumentParser, words: Sequence[str], folder: Path) -> list[Any]:
    """Return (model, data) pairs; train the digits network into a folder if there are none."""
    if len(words) % 2:
        parser.error(f"MODEL and DATA in turn are needed, not {len(words)} words")
    if words:
        return list(zip(words[::2], words[1::2], strict=True))
    from hwgen.compress.training import finetune

    model = folder / "digits.safetensors"
    tell("train the digits network")
    finetune.train("digits", "digits", model)
    return [(str(model), "digits")]


def tell(text: str) -> None:
    """Say what is being done, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def compress(
    model: str, data: str, methods: Sequence[str], *, budget: float | None, objective: str,
    finetune: int = 0, device: str = "auto",
) -> tuple[dict[str, Any], Network]:
    """Return compress.json and the network of ``hwgen compress``."""
    from hwgen.compress import pipeline

    tell(f"{model}: {' '.join(methods)}, budget {budget}, {objective}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "net.npz"
        report = pipeline.compress(
            model, methods, data, out, budget=budget, objective=objective, finetune=finetune,
            device=device,
        )
        network = netfile.load(out)
    lost = 100 * (report["accuracy_float"] - report["accuracy_integer"])
    tell(f"  {lost:.2f} points lost on {report['images']} test images, {report['seconds']:.0f} s")
    return report, network


def savings(
    title: str, methods: Sequence[str], paper: Mapping[str, int],
    parser: argparse.ArgumentParser, options: argparse.Namespace,
) -> None:
    """Search each network for the fewest MACs of its convolutions; a row each, and the median.

    Parameters: methods, as for ``hwgen compress``; paper, its percentages.
    """

    def measure(model: str, data: str) -> dict[str, Any]:
        report, network = compress(
            model, data, methods, budget=options.budget, objective="macs",
            finetune=options.finetune, device=options.device,
        )
        return row(model, data, report, network)

    with tempfile.TemporaryDirectory() as folder:
        found = kept(options, Path(folder))
        rows = [
            found.get(
                f"{Path(model).stem} {data.partition(':')[0]} {methods[0]} {options.budget:g} "
                f"{options.finetune}",
                lambda model=model, data=data: measure(model, data),
            )
            for model, data in pairs_of(parser, options.pairs, Path(folder))
        ]
    show(f"{title}, budget {options.budget:g} points, {options.finetune} passes of training", rows)
    middle = median(rows, "saved_percent")
    print(f"median saving {middle} %; the paper: {paper['least_percent']} to "
          f"{paper['most_percent']} %, median {paper['median_percent']} %")
    finish(options.json, {
        "method": list(methods), "budget": options.budget, "finetune": options.finetune,
        "networks": rows, "median_percent": middle, "paper": dict(paper),
    })  # fmt: skip


def conv_macs(report: dict[str, Any], network: Network) -> tuple[int, int]:
    """Return (dense, left) MACs of the convolutions, from windows and combinations alone.

    Weights that quantising makes zero count as MACs here, as in the paper.
    """
    dense = left = 0
    whole: dict[str, int] = {}
    entries = {entry["name"]: entry for entry in report["layers"]}
    for layer in network.layers:
        if not isinstance(layer, Conv2d):
            continue
        tensor, entry = network.tensors[layer.name], entries[layer.name]
        pixels = tensor.height * tensor.width
        macs = int(np.prod(layer.weight.shape)) * pixels
        if (split := entry.get("linear_features")) is not None:
            left += split["terms"] * pixels
            # The convolution before it had as many filters as the combination gives maps.
            dense += whole.pop("basis") // split["basis"] * layer.weight.shape[0]
            continue
        taps = entry.get("lower_kernel", {}).get("taps", 1.0)
        left += round(macs * taps)
        if layer.name.endswith("_basis"):
            whole["basis"] = macs
        else:
            dense += macs
    return dense, left


def row(model: str, data: str, report: dict[str, Any], network: Network) -> dict[str, Any]:
    """Return the figures of one network, for a table."""
    dense, left = conv_macs(report, network)
    return {
        "network": Path(model).stem, "data": data.partition(":")[0],
        "float_percent": round(100 * report["accuracy_float"], 2),
        "integer_percent": round(100 * report["accuracy_integer"], 2),
        "lost_points": round(100 * (report["accuracy_float"] - report["accuracy_integer"]), 2),
        "conv_macs_dense": dense, "conv_macs": left,
        "saved_percent": round(100 * (1 - left / dense), 1) if dense else 0.0,
        "networks_measured": report.get("networks_measured"), "seconds": report["seconds"],
    }  # fmt: skip


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table."""
    print(f"{title}\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for one in rows:
        print("| " + " | ".join("-" if v is None else str(v) for v in one.values()) + " |")
    print()


def median(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Return the median of a column."""
    return round(float(np.median([one[key] for one in rows])), 1)


def finish(path: Path | None, result: dict[str, Any]) -> None:
    """Write the figures if a file was named."""
    if path is not None:
        write_json(path, result)
