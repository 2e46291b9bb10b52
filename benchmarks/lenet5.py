"""LeNet-5 on MNIST the whole way, by the command line: accuracy, size, speed and time of each step.

``python -m benchmarks.lenet5 --data DIR [--model FILE] [--out DIR] [--json FILE]``; DIR holds
MNIST's four files. Every step is the command that a user would type; the figures are read from the
JSON files that it leaves.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hwgen.files import read_json, write_json

TARGETS = ("ecp5-85", "hx8k", "up5k")


def run(seconds: dict[str, float], name: str, *words: str) -> tuple[int, str]:
    """Run ``hwgen`` with these words; note its wall time; return exit code and last line."""
    print(f"$ hwgen {' '.join(words)}", file=sys.stderr, flush=True)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "hwgen.commands", *words],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds[name] = round(time.monotonic() - started, 1)
    lines = done.stdout.strip().splitlines() or [""]
    return done.returncode, lines[-1]


def must(seconds: dict[str, float], name: str, *words: str) -> None:
    """As ``run``, but stop with the last line if the command fails."""
    code, line = run(seconds, name, *words)
    if code:
        raise SystemExit(f"{name}: exit {code}: {line}")


def verified(directory: Path) -> dict[str, Any]:
    """What the last ``verify`` found."""
    found = read_json(directory / "verify.json")
    return {
        key: found[key]
        for key in (
            "simulator",
            "images",
            "values_compared",
            "mismatches",
            "cycles",
            "cycles_per_image",
            "accuracy_rtl",
            "seconds",
        )
    }


def measure(data: str, out: Path, model: Path | None) -> dict[str, Any]:
    """Go the whole way in ``out`` and return the figures."""
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    if model is None:
        model = out / "m.safetensors"
        must(seconds, "train", "train", "lenet5", "--data", data, "--out", str(model))
    net, design = out / "net.npz", out / "rtl"
    must(
        seconds,
        "compress",
        "compress",
        str(model),
        "--method",
        "dyadic",
        "--data",
        data,
        "--out",
        str(net),
    )
    must(seconds, "rtl", "rtl", str(net), "--engine", "stream", "--out", str(design))
    result: dict[str, Any] = {
        "compress": read_json(out / "compress.json"),
        "plan": read_json(design / "plan.json"),
        "verify": {},
        "synth": {},
    }
    runs = {
        "all images, proof": ["--images", "all", "--proof"],
        "20 images, stalls": ["--images", "20", "--stalls"],
    }
    if shutil.which("iverilog"):
        runs["2 images, stalls, icarus"] = ["--images", "2", "--stalls", "--simulator", "icarus"]
    for name, words in runs.items():
        must(seconds, f"verify {name}", "verify", str(design), "--data", data, *words)
        result["verify"][name] = verified(design)
        if "--proof" in words:
            layers = read_json(design / "verify.json")["layers"]
            result["proof"] = {
                layer["name"]: layer["proof"] for layer in layers if layer["proof"] != "none"
            }
    for target in TARGETS:
        code, line = run(
            seconds, f"synth {target}", "synth", str(design), "--target", target, "--pnr"
        )
        result["synth"][target] = (
            read_json(design / "synth.json") if code == 0 else {"refused": line}
        )
    return {**result, "seconds": seconds}


def show(result: dict[str, Any]) -> None:
    """The figures as tables on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    compress, plan = result["compress"], result["plan"]
    table = Table(
        "layer",
        "form",
        "adders",
        "lut (estimate)",
        "cycles an image",
        "proof",
        title=f"LeNet-5, digest {plan['digest'][:12]}",
        title_justify="left",
        box=None,
    )
    for layer in plan["layers"]:
        table.add_row(
            layer["name"],
            layer["form"],
            str(layer.get("adders", "")),
            str(layer["lut"]),
            str(layer["interval"]),
            result["proof"].get(layer["name"], ""),
        )
    console.print(table)
    whole = result["verify"]["all images, proof"]
    console.print(
        f"accuracy: float {compress['accuracy_float']:.2%}, integer "
        f"{compress['accuracy_integer']:.2%}, hardware {whole['accuracy_rtl']:.2%}"
    )
    for name, found in result["verify"].items():
        console.print(
            f"verify {name}: {found['values_compared']:,} values, {found['mismatches']} "
            f"mismatches, {found['cycles_per_image']} cycles an image, "
            f"{found['cycles'] / found['seconds']:,.0f} cycles a second, build included"
        )
    for target, found in result["synth"].items():
        if "refused" in found:
            console.print(f"{target}: {found['refused']}")
            continue
        rate = found["fmax_mhz"] * 1e6 / plan["interval"]
        console.print(
            f"{target}: {found['lut']:,} LUT, {found['ff']:,} FF, {found['bram']} BRAM, "
            f"{found['dsp']} DSP, {found['mul_cells']} multipliers, {found['fmax_mhz']:.1f} "
            f"MHz, {rate:,.0f} images/s"
        )
    console.print("seconds: " + ", ".join(f"{k} {v:.0f}" for k, v in result["seconds"].items()))


def main() -> None:
    """Measure, print the tables and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="LeNet-5 on MNIST the whole way.")
    parser.add_argument("--data", required=True, help="folder with MNIST's four files")
    parser.add_argument("--model", type=Path, help="trained before; default: train now")
    parser.add_argument("--out", type=Path, default=Path("build/bench/lenet5"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = options.data.removeprefix("mnist:")
    result = measure(f"mnist:{data}", options.out, options.model)
    show(result)
    if options.json is not None:
        write_json(options.json, result)
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
