"""Bitstreams of every board: size, clock, images a second, time to build, sha256.

``python -m benchmarks.boards [--designs tiny,digits] [--design NAME=DIR]... [--boards NAME,...]
[--out DIR] [--jobs 1] [--json FILE]``. Two networks are made here: ``digits``, the demo's (of the
last ``hwgen demo``, or trained now), which needs an ECP5, and ``tiny``, a smaller one of the same
images that an iCE40 holds too: one convolution of 3 channels and stride 2, then the 10 scores.
``--design`` takes a folder of ``hwgen rtl``, LeNet-5's for example. A bitstream that lies in OUT
from an earlier run of the same network is not built again; ``--jobs`` builds several at once. FILE
keeps the rows of other networks and boards.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._rows import write_rows
from hwgen.boards.board import MODULES
from hwgen.files import make_folder, read_json

DEMO = Path("build/demo")
OUT = Path("build/bench/boards")
FILES = ("net.npz", "top.v", "ports.json", "plan.json")
KEYS = ("lut", "lut_engine", "ff", "bram", "fmax_mhz", "clock_mhz", "images_per_second",
        "link_images_per_second", "seconds", "sha256", "digest", "tools")


def tiny_net() -> Any:
    """Return a network of 310 weights for the 8x8 digits."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 10)
    )


def make_design(name: str, folder: Path) -> Path:
    """Train and compress ``tiny`` or ``digits`` and write its Verilog, if that was not done yet."""
    if name == "digits" and all((DEMO / file).is_file() for file in FILES):
        return DEMO
    if all((folder / file).is_file() for file in FILES):
        return folder
    from hwgen.compress import pipeline, zoo
    from hwgen.compress.training import finetune
    from hwgen.stream.emit import write_design

    zoo.ZOO["tiny"] = replace(zoo.ZOO["digits"], build=tiny_net)
    make_folder(folder)
    model, net = folder / "model.safetensors", folder / "net.npz"
    finetune.train(name, "digits", model, seed=0)
    found = pipeline.compress(str(model), ("dyadic",), "digits", net, seed=0)
    print(f"{name}: accuracy {found['accuracy_integer']:.2%}", file=sys.stderr, flush=True)
    write_design(net, folder)
    return folder


def build(design: str, source: Path, board: str, out: Path) -> dict[str, Any]:
    """Build a bitstream by the command line; return its figures, or why there is none."""
    folder = make_folder(out / f"{design}-{board}")
    report = folder / "bitstream.json"
    digest = read_json(source / "ports.json")["digest"]
    if not report.is_file() or read_json(report)["digest"] != digest:
        for name in FILES:
            shutil.copyfile(source / name, folder / name)
        print(f"$ hwgen bitstream {folder} --board {board}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "hwgen.commands", "bitstream", str(folder), "--board", board],
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if done.returncode:
            line = (done.stdout.strip().splitlines() or [""])[-1].removeprefix("hwgen: ")
            return {"design": design, "board": board, "refused": line}
    found = read_json(report)
    return {"design": design, "board": board, **{key: found[key] for key in KEYS}}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the figures."""
    console = Console(markup=False, highlight=False, width=140)
    table = Table("network", "board", "LUT", "BRAM", "Fmax", "clock", "images/s", "by cable", "s",
                  "sha256", box=None)
    for row in rows:
        if "refused" in row:
            console.print(f"{row['design']} on {row['board']}: {row['refused']}")
            continue
        table.add_row(row["design"], row["board"], *(
            "-" if row[key] is None else f"{row[key]:,}" for key in KEYS
            if key in ("lut", "bram", "fmax_mhz", "clock_mhz", "images_per_second",
                       "link_images_per_second", "seconds")
        ), (row["sha256"] or "-")[:16])
    console.print(table)


def main() -> int:
    """Build and print."""
    parser = argparse.ArgumentParser(description="Bitstreams of every board.")
    parser.add_argument("--designs", default="tiny,digits", help="of those made here")
    parser.add_argument("--design", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--boards", default=",".join(MODULES))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    chosen = parser.parse_args()
    designs = {name: make_design(name, chosen.out / name)
               for name in filter(None, chosen.designs.split(","))}
    for text in chosen.design:
        name, _, folder = text.partition("=")
        designs[name] = Path(folder)
    pairs = [(name, board) for name in designs for board in chosen.boards.split(",")]
    with ThreadPoolExecutor(chosen.jobs) as pool:
        rows = list(pool.map(
            lambda pair: build(pair[0], designs[pair[0]], pair[1], chosen.out), pairs
        ))
    show(rows)
    write_rows(chosen.json, rows, ("design", "board"))
    return 0 if any("refused" not in row for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
