"""The streaming engine of the demo's network: size, clock on several chips, speed of the rest.

``python -m benchmarks.stream [--net FILE] [--targets NAME,...] [--json FILE]``. Without ``--net``
it takes that of the last ``hwgen demo``, or trains and compresses the network first. Simulation is
a run of 10,000 random images in Verilator of which every result is compared, the build left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hwgen.boards.synth import synthesise
from hwgen.errors import HwgenError
from hwgen.files import write_json
from hwgen.sim.verify import verify
from hwgen.stream.emit import write_design

DEMO = Path("build/demo/net.npz")
TARGETS = "ecp5-85,up5k,hx8k"
IMAGES = 10_000


def demo_network(folder: Path) -> Path:
    """Train and compress the demo's network; return its network file."""
    from hwgen.compress import pipeline
    from hwgen.compress.training import finetune

    model, net = folder / "model.safetensors", folder / "net.npz"
    finetune.train("digits", "digits", model, seed=0)
    pipeline.compress(str(model), ("dyadic",), "digits", net, seed=0)
    return net


def measure(net: Path, folder: Path, targets: list[str]) -> dict[str, Any]:
    """Return the figures of a network file. ``folder`` holds what is generated."""
    start = time.monotonic()
    plan = write_design(net, folder)
    emission = time.monotonic() - start
    verify(folder, images=100, layers="last")             # builds the simulation
    run = verify(folder, images=IMAGES, layers="last")
    return {
        "digest": plan["digest"],
        "interval": plan["interval"],
        "emission_seconds": round(emission, 1),
        "simulated_images": run["images"],
        "mismatches": run["mismatches"],
        "cycles_per_second": round(run["cycles"] / run["seconds"]),
        "targets": {target: placed(folder, target, plan["interval"]) for target in targets},
    }


def placed(folder: Path, target: str, interval: int) -> dict[str, Any]:
    """Return what a target takes, or why the design does not fit."""
    try:
        report = synthesise(folder, target=target, pnr=True)
    except HwgenError as error:
        return {"failed": str(error)}
    figures = {key: report[key] for key in (
        "lut", "ff", "carry", "bram", "dsp", "mul_cells", "fmax_mhz", "seconds", "tools")}
    fmax = report["fmax_mhz"]
    return {**figures, "images_per_second": round(fmax * 1e6 / interval) if fmax else None}


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    console = Console(markup=False, highlight=False)
    console.print(f"network {figures['digest'][:12]}, {figures['interval']} cycles an image")
    console.print(f"Verilog in {figures['emission_seconds']} s")
    console.print(f"simulation {figures['cycles_per_second']:,} cycles/s, "
                  f"{figures['mismatches']} mismatches in {figures['simulated_images']:,} images")
    table = Table("target", "LUT", "FF", "BRAM", "DSP", "MHz", "images/s", "s", box=None)
    for target, found in figures["targets"].items():
        if "failed" in found:
            console.print(f"{target}: {found['failed']}")
            continue
        table.add_row(target, *(f"{found[key]:,}" for key in (
            "lut", "ff", "bram", "dsp", "fmax_mhz", "images_per_second", "seconds")))
    console.print(table)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The streaming engine of the demo's network.")
    parser.add_argument("--net", type=Path, help="a network file")
    parser.add_argument("--targets", default=TARGETS, help=f"default {TARGETS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as place:
        net = chosen.net or (DEMO if DEMO.is_file() else demo_network(Path(place)))
        figures = measure(net, Path(place) / "rtl", chosen.targets.split(","))
    show(figures)
    if chosen.json is not None:
        write_json(chosen.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
