"""Size and clock of the NFU on ECP5, and what the modification of DianNao costs there.

``python -m benchmarks.nfu_area [--json FILE] [--place] [--tn N,N]``. Positions are LUT4 + 2 CCU2C
as Yosys maps them (see hwgen.boards.targets).

* Datapath: NFU-1, NFU-2 and NFU-3 without buffers, from the parts (a neuron tn times, accumulators,
  finishers), multiplierless against multipliers in LUTs (Yosys' own ``*``, no DSP block).
* Control: sequencer, address generators and decoder (modules ``walk`` and ``dispatcher``), modified
  against unmodified.
* Whole core with memory on chip, multipliers in DSP blocks where it has any; ``--place`` places and
  routes it: minutes for tn = 8, many for 16.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from hwgen.boards.synth import synthesise
from hwgen.boards.targets import ECP5, TARGETS
from hwgen.errors import HwgenError
from hwgen.files import make_folder, read_json, write_json
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.core import Dispatcher
from hwgen.nfu.emit import compact, verilog_of
from hwgen.nfu.finish_lane import FinishLane
from hwgen.nfu.neuron import Neuron
from hwgen.nfu.sums import Accumulators, Maxima
from hwgen.nfu.walk import Walk
from hwgen.tools import run_yosys
from hwgen.verilog import to_verilog

# Memory on chip of the whole cores: what fits the device, and holds ResNet-8 in the larger one.
CORES = {8: ("ecp5-25", 1 << 15), 16: ("ecp5-85", 196608), 32: ("ecp5-85", 1 << 16)}
CODES = {"wide": 8, "base": 8, "product": 8, "product 16": 16}


def config_of(code: str, tn: int) -> Config:
    """Return the NFU of one row of the table."""
    kind = WeightCode(code.split()[0])
    return Config(tn=tn, code=kind, act_bits=CODES[code], segments=False,
                  acc_bits=24 if CODES[code] == 8 else 40,
                  total_bits=32 if CODES[code] == 8 else 48,
                  finishers=tn // 2 if code == "base" else tn // 4)


def cells_of(component: wiring.Component) -> dict[str, int]:
    """Map a component to ECP5 without DSP blocks; return the counts."""
    text = compact(to_verilog(component, name="top"))
    with tempfile.TemporaryDirectory(prefix="hwgen-area-", dir=Path.cwd()) as place:
        folder = Path(place)
        (folder / "top.v").write_text(text)
        rules = Path(__file__).resolve().parent.parent / "boards" / "adder_map.v"
        (folder / "adder_map.v").write_text(rules.read_text())
        script = ["read_verilog top.v", "hierarchy -check -top top", "proc"]
        script += [line.format(top="top") for line in TARGETS["ecp5-85"].synth]
        script[-1] += " -nodsp"
        run_yosys("\n".join([*script, "tee -q -o stat.json stat -json -top top"]), cwd=folder)
        cells = read_json(folder / "stat.json")["design"]["num_cells_by_type"]
    found = {kind: ECP5.count(kind, cells) for kind in ("lut", "ff", "bram", "dsp")}
    return {**found, "cells": sum(n for name, n in cells.items() if name != "$scopeinfo")}


def datapath(code: str, tn: int) -> dict[str, Any]:
    """NFU-1..3 of an array: positions of the parts and of all."""
    config = config_of(code, tn)
    neuron = Neuron(config=config)
    parts = {
        "neuron": cells_of(neuron),
        "accumulators": cells_of(Accumulators(
            config=config, total_bits=config.product_bits + neuron.levels)),
        "maxima": cells_of(Maxima(config=config)),
        "finisher": cells_of(FinishLane(config=config)),
    }
    counts = {"neuron": tn, "accumulators": 1, "maxima": 1, "finisher": config.finishers}
    return {
        "code": code, "tn": tn, "parts": parts, "counts": counts,
        **{kind: sum(parts[name][kind] * counts[name] for name in parts)
           for kind in ("lut", "ff", "dsp")},
    }


def control(tn: int) -> dict[str, Any]:
    """Sequencer, address generators and decoder, modified and unmodified."""
    rows = {}
    for name, code in (("modified", "wide"), ("unmodified", "product")):
        config = config_of(code, tn)
        walk, dispatcher = cells_of(Walk(config=config)), cells_of(Dispatcher(config=config))
        rows[name] = {"walk": walk, "dispatcher": dispatcher,
                      **{kind: walk[kind] + dispatcher[kind]
                         for kind in ("lut", "ff", "bram", "cells")}}
    rows["more_cells_percent"] = round(
        100 * (rows["modified"]["cells"] / rows["unmodified"]["cells"] - 1), 1)
    rows["more_lut_percent"] = round(
        100 * (rows["modified"]["lut"] / rows["unmodified"]["lut"] - 1), 1)
    return rows


def core(code: str, tn: int, place: bool, out: Path) -> dict[str, Any]:
    """The whole core with memory on chip."""
    from dataclasses import replace

    target, memory = CORES[tn]
    config = replace(config_of(code, tn), memory_bytes=memory)
    digest = "0" * 64
    folder = make_folder(out / f"{code}{tn}")
    (folder / "top.v").write_text(verilog_of(config, f"network sha256 {digest}"))
    write_json(folder / "ports.json", {"top": "top", "clock": "clk", "reset": "rst",
                                       "digest": digest})
    try:
        report = synthesise(folder, target=target, pnr=place)
    except HwgenError as error:
        return {"code": code, "tn": tn, "target": target, "failed": str(error)}
    kept = {key: report[key] for key in ("lut", "ff", "carry", "bram", "dsp", "mul_cells",
                                         "fmax_mhz", "seconds", "tools")}
    return {"code": code, "tn": tn, "target": target, "memory_bytes": memory, **kept}


def measure(sizes: list[int], place: bool, out: Path) -> dict[str, Any]:
    """Return all figures."""
    paths = [datapath(code, 8) for code in CODES]
    by_code = {row["code"]: row["lut"] for row in paths}
    return {
        "datapath": paths,
        "wide_over_product": round(by_code["wide"] / by_code["product"], 3),
        "base_over_product": round(by_code["base"] / by_code["product"], 3),
        "control": control(16),
        "cores": [core(code, tn, place, out) for tn in sizes
                  for code in ("wide", "base", "product")],
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    print("| NFU-1..3, Tn = 8 | positions | FF | neuron | accumulators | finisher |")
    print("|---|---|---|---|---|---|")
    for row in figures["datapath"]:
        parts = row["parts"]
        print(f"| {row['code']} | {row['lut']:,} | {row['ff']:,} | {parts['neuron']['lut']} "
              f"| {parts['accumulators']['lut']} | {parts['finisher']['lut']} |")
    print(f"wide / product: {figures['wide_over_product']}, base / product: "
          f"{figures['base_over_product']}")
    for name in ("modified", "unmodified"):
        row = figures["control"][name]
        print(f"control {name}: {row['lut']} positions, {row['ff']} FF, {row['bram']} BRAM, "
              f"{row['cells']} cells")
    print(f"modified: {figures['control']['more_cells_percent']} % more cells, "
          f"{figures['control']['more_lut_percent']} % more positions")
    for row in figures["cores"]:
        print({key: value for key, value in row.items() if key != "tools"})


def main() -> None:
    """Measure and print; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Size and clock of the NFU on ECP5.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--place", action="store_true", help="place and route the cores too")
    parser.add_argument("--tn", default="8", help="sizes of the whole cores, default 8")
    parser.add_argument("--out", type=Path, default=Path("build/bench/nfu_area"))
    options = parser.parse_args()
    sizes = [int(part) for part in options.tn.split(",") if part]
    figures = measure(sizes, options.place, options.out)
    show(figures)
    if options.json is not None:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
