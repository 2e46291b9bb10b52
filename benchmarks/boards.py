"""Bitstreams of every board: size, clock, images a second, time to build, sha256.

``python -m benchmarks.boards [--design NAME=DIR]... [--boards NAME,...] [--out DIR] [--jobs 1]
[--json FILE]``. The network is the demo's, ``digits`` (of the last ``hwgen demo``, or trained now),
or that of a folder of ``hwgen rtl``, LeNet-5's for example, or one of ``--engine nfu --ports
stream``. A streaming engine that a board does not hold is planned anew with ``hwgen rtl --fit
BOARD``. A bitstream that lies in OUT from an earlier run of the
same Verilog is not built again; ``--jobs`` builds several at once. FILE keeps the rows of other
networks and boards.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._rows import write_rows
from hwgen.boards.board import MODULES
from hwgen.files import make_folder, read_json

DEMO = Path("build/demo")
OUT = Path("build/bench/boards")
SEEDS = ("1", "2", "3")
FILES = ("net.npz", "top.v", "ports.json", "plan.json")
KEYS = ("engine", "lut", "lut_engine", "ff", "bram", "fmax_mhz", "clock_mhz", "images_per_second",
        "link_images_per_second", "seed", "seconds", "sha256", "digest", "tools")


def make_digits(folder: Path) -> Path:
    """Return a folder with the Verilog of the demo's network, made there if there is no demo's."""
    for made in (DEMO, folder):
        if all((made / file).is_file() for file in FILES):
            return made
    from hwgen.compress import pipeline
    from hwgen.compress.training import finetune
    from hwgen.stream.emit import write_design

    make_folder(folder)
    model, net = folder / "model.safetensors", folder / "net.npz"
    finetune.train("digits", "digits", model, seed=0)
    found = pipeline.compress(str(model), ("dyadic",), "digits", net, seed=0)
    print(f"digits: accuracy {found['accuracy_integer']:.2%}", file=sys.stderr, flush=True)
    write_design(net, folder)
    return folder


def hwgen(*arguments: str) -> str | None:
    """Run a command of hwgen; return the line that it failed with."""
    print(f"$ hwgen {' '.join(arguments)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "hwgen.commands", *arguments],
        check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if not done.returncode:
        return None
    return (done.stdout.strip().splitlines() or [""])[-1].removeprefix("hwgen: ")


def bitstream(folder: Path, board: str) -> str | None:
    """Build a bitstream, with another seed where the clock chosen is just missed; return why not.
    """
    refused = None
    for seed in SEEDS:
        refused = hwgen("bitstream", str(folder), "--board", board, "--seed", seed)
        if not refused or "try another --seed" not in refused:
            break
    return refused


def build(design: str, source: Path, board: str, out: Path) -> dict[str, Any]:
    """Build a bitstream by the command line; return its figures, or why there is none.

    A design that the board does not hold is planned anew, as fast as the board allows.
    """
    folder = make_folder(out / f"{design}-{board}")
    report = folder / "bitstream.json"
    row: dict[str, Any] = {"design": design, "board": board}
    text, given = (source / "top.v").read_bytes(), folder / "given.v"
    if not report.is_file() or not given.is_file() or given.read_bytes() != text:
        given.write_bytes(text)
        report.unlink(missing_ok=True)
        for name in FILES:
            shutil.copyfile(source / name, folder / name)
        refused = bitstream(folder, board)
        engine = read_json(folder / "ports.json")["engine"]
        if refused and " needs " in refused and engine == "stream":
            row["refused_whole"] = refused
            refused = hwgen("rtl", str(source / "net.npz"), "--out", str(folder), "--fit", board)
            refused = refused or bitstream(folder, board)
        if refused:
            return {**row, "refused": refused}
    found, plan = read_json(report), read_json(folder / "plan.json")
    return {**row, "fitted": plan.get("chip") == board, "interval": plan["interval"],
            **{key: found[key] for key in KEYS}}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the figures."""
    console = Console(markup=False, highlight=False, width=140)
    table = Table("network", "board", "engine", "cycles", "LUT", "BRAM", "Fmax", "clock",
                  "images/s", "by cable", "s", "sha256", box=None)
    for row in rows:
        if "refused" in row:
            console.print(f"{row['design']} on {row['board']}: {row['refused']}")
            continue
        fitted = " (--fit)" if row["fitted"] else ""
        what = row["design"] + fitted, row["board"], row["engine"], f"{row['interval']:,}"
        table.add_row(*what, *(
            "-" if row[key] is None else f"{row[key]:,}" for key in KEYS
            if key in ("lut", "bram", "fmax_mhz", "clock_mhz", "images_per_second",
                       "link_images_per_second", "seconds")
        ), (row["sha256"] or "-")[:16])
    console.print(table)


def main() -> int:
    """Build and print."""
    parser = argparse.ArgumentParser(description="Bitstreams of every board.")
    parser.add_argument("--design", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--boards", default=",".join(MODULES))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    chosen = parser.parse_args()
    designs = {name: Path(folder) for name, _, folder in
               (text.partition("=") for text in chosen.design)}
    if not designs:
        designs = {"digits": make_digits(chosen.out / "digits")}
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
