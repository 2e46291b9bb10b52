"""The NFU against the golden model: networks of all kinds in RTL, every stored layer compared.

``python -m benchmarks.nfu_verify [--network NAME=NET.npz[=DATA] ...] [--images N] [--random N]
[--tn N] [--code CODE] [--axi] [--icarus] [--json FILE]``. FILE keeps the rows of other networks.

* ``--network``: a network file, with memory on chip (``--axi``: behind AXI4, random latencies and
  stalls on all channels); test images of DATA, or random ones.
* ``--random N``: random networks of all kinds of layers, by three images each: the interpreter, the
  golden model and the RTL, pairwise.
* Without either: a depthwise network like MobileNet's, of drawn weights.

Images a second are those of the simulator, what is sent to it and read back from it included; not
the build of the simulation, nor the golden model.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._nfu_networks import mobilenet
from benchmarks._rows import write_rows
from hwgen import netfile
from hwgen.files import make_folder
from hwgen.network import Network
from hwgen.nfu.config import Config
from hwgen.nfu.emit import verilog_of, write_design
from hwgen.sim import golden, nfu
from hwgen.sim.build import Simulator
from hwgen.sim.nfu_verify import compare, verify

SMALL = Config(tn=4, acc_bits=32, total_bits=48, memory_bytes=1 << 16, nbin_lines=256,
               sb_lines=256, nbout_lines=128)
LIMIT = 200_000               # cycles of a random network


def whole(name: str, network: Network, data: str | None, options: argparse.Namespace
          ) -> dict[str, Any]:
    """Verify one network; return its row."""
    folder = make_folder(options.out / f"{name}-{network.digest[:8]}-{options.tn}")
    netfile.save(network, folder / "in.npz")
    write_design(folder / "in.npz", folder / "rtl", tn=options.tn, code=options.code,
                 axi=options.axi)
    report = verify(folder / "rtl", data=data, images=options.images, simulator=options.simulator,
                    stalls=options.axi)
    kept = ("digest", "images", "values_compared", "mismatches", "passed", "cycles_per_image",
            "interval", "accuracy_golden", "accuracy_rtl", "simulator", "stalls", "seconds",
            "simulation_seconds")
    return {
        "network": name, "tn": options.tn, "code": options.code,
        "memory": "AXI4, random stalls" if options.axi else "chip",
        **{key: report[key] for key in kept},
        "images_per_second": round(report["images"] / report["simulation_seconds"], 2),
    }


def random_ones(count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Compare interpreter, golden model and RTL on random networks; return the row."""
    from tests.hwgen.nfu.programs import compiled, interpreted
    from tests.networks import random_images

    cases, seed = [], 0
    while len(cases) < count:
        cases += compiled((seed,), SMALL)
        seed += 1
    start = time.monotonic()
    values = wrong = 0
    with tempfile.TemporaryDirectory(prefix="nfu-", dir=make_folder(options.out)) as place:
        folder = Path(place)
        (folder / "top.v").write_text(verilog_of(SMALL, "random networks"))
        built = nfu.build_chip(folder / "top.v", Simulator.of(options.simulator), folder / ".sim")
        script = nfu.Script()
        for network, program in cases:
            nfu.add_program(script, program, random_images(network, 3, 1), LIMIT)
        answers = nfu.run_script(built, script, folder / ".sim")
    for network, program in cases:
        images = random_images(network, 3, 1)
        ran = nfu.take_results(answers, program, network, 3)
        report = compare(network, program, images, None, ran)
        values += report["values_compared"]
        wrong += report["mismatches"] + len(report["problems"])
        wanted = golden.run(network, images)
        for n, image in enumerate(images):
            for layer, found in interpreted(program, network, image).items():
                values += 2 * found.size
                wrong += int((found != wanted[layer][n].reshape(found.shape)).sum())
                wrong += int((found != ran[n].layers[layer]).sum())
    return {"network": f"{count} random networks", "tn": SMALL.tn, "code": SMALL.code.value,
            "memory": "chip", "images": 3 * count, "values_compared": values, "mismatches": wrong,
            "passed": not wrong, "simulator": options.simulator,
            "seconds": round(time.monotonic() - start, 1)}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    print("| network | Tn | memory | simulator | images | values | different | cycles an image "
          "| estimate | images/s |\n|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['network']} | {row['tn']} | {row['memory']} | {row['simulator']} "
              f"| {row['images']:,} | {row['values_compared']:,} | {row['mismatches']} "
              f"| {row.get('cycles_per_image', '-')} | {row.get('interval', '-')} "
              f"| {row.get('images_per_second', '-')} |")


def main() -> None:
    """Verify and print; with ``--json`` also write the rows. Exit 1 if anything differs."""
    parser = argparse.ArgumentParser(description="The NFU against the golden model, in RTL.")
    parser.add_argument("--network", action="append", default=[], metavar="NAME=NET.npz[=DATA]")
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--tn", type=int, default=16)
    parser.add_argument("--code", default="wide")
    parser.add_argument("--axi", action="store_true")
    parser.add_argument("--icarus", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/bench/nfu_verify"))
    options = parser.parse_args()
    options.simulator = "icarus" if options.icarus else "verilator"
    rows = []
    for one in options.network:
        name, file, *data = one.split("=")
        rows.append(whole(name, netfile.load(Path(file)), data[0] if data else None, options))
    if options.random:
        rows.append(random_ones(options.random, options))
    if not rows:
        rows = [whole("depthwise, like MobileNet", mobilenet(), None, options)]
    show(rows)
    write_rows(options.json, rows, ("network", "tn", "code", "memory", "simulator"))
    if not np.all([row["passed"] for row in rows]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
