"""The plan's estimate beside what Yosys counts, layer by layer.

``python -m benchmarks.stream_estimate [--folder DIR] [--target ecp5-85] [--layers NAME,...] [--json
FILE]``. DIR is a folder made by ``hwgen rtl``; without it the demo's network is taken. Every module
of a layer is synthesised alone, its queue with it; their sum is the whole engine's but for what
synthesis merges across borders.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.stream import DEMO, demo_network
from hwgen.boards.synth import __file__ as synth_file
from hwgen.boards.targets import Target, find_target
from hwgen.files import read_json, write_json
from hwgen.stream.emit import write_design
from hwgen.tools import run_yosys

KINDS = ("lut", "ff", "bram")


def part_of(modules: dict[str, str], top: str) -> str:
    """Return the text of a module and of all that it holds."""
    found, waiting = {top}, [top]
    while waiting:
        words = set(re.findall(r"^  (\w+) \w+ \($", modules[waiting.pop()], re.M))
        new = (words & modules.keys()) - found
        found |= new
        waiting += new
    return "".join(modules[name] for name in sorted(found))


def count(verilog: str, module: str, target: Target) -> dict[str, int]:
    """Return {lut, ff, bram} of one module as Yosys maps it."""
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as place:
        work = Path(place)
        (work / "top.v").write_text(verilog)
        shutil.copyfile(Path(synth_file).with_name("adder_map.v"), work / "adder_map.v")
        run_yosys("\n".join((
            "read_verilog top.v", f"hierarchy -check -top {module}", "proc -noopt",
            *(line.format(top=module) for line in target.synth), "opt_clean -purge",
            f"tee -q -o mapped.json stat -json -top {module}")), cwd=work)
        cells = json.loads((work / "mapped.json").read_text())["design"]["num_cells_by_type"]
    return {kind: target.family.count(kind, {name: int(number) for name, number in cells.items()})
            for kind in KINDS}


def measure(folder: Path, target: Target, wanted: set[str]) -> dict[str, Any]:
    """Return estimate and count of every layer that has a module."""
    plan, verilog = read_json(folder / "plan.json"), (folder / "top.v").read_text()
    modules = {one[1]: one[0] for one in re.finditer(
        r"^module (\w+)\(.*?^endmodule\n", verilog, re.S | re.M)}
    layers = []
    for entry in plan["layers"]:
        name = entry["name"]
        own = [module for module in sorted(modules)
               if module == name or re.fullmatch(rf"{name}__(fifo_\d+|fork|join)", module)]
        if name not in modules or (wanted and name not in wanted):
            continue
        counts = [count(part_of(modules, module), module, target) for module in own]
        found = {kind: sum(one[kind] for one in counts) for kind in KINDS}
        layers.append({"name": name, "form": entry["form"],
                       "estimate": {kind: entry[kind] for kind in KINDS}, "count": found})
        print(name, layers[-1]["estimate"], found, file=sys.stderr, flush=True)
    totals = {which: {kind: sum(layer[which][kind] for layer in layers) for kind in KINDS}
              for which in ("estimate", "count")}
    return {"digest": plan["digest"], "target": target.name, "layers": layers, **totals,
            "error": totals["estimate"]["lut"] / max(totals["count"]["lut"], 1) - 1}


def main() -> int:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="Estimates of the plan beside Yosys' counts.")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--target", default="ecp5-85")
    parser.add_argument("--layers", default="")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as place:
        folder = chosen.folder
        if folder is None:
            folder = Path(place) / "rtl"
            write_design(DEMO if DEMO.is_file() else demo_network(Path(place)), folder)
        result = measure(folder, find_target(chosen.target),
                         set(filter(None, chosen.layers.split(","))))
    table = Table("layer", "form", "LUT estimate", "LUT", "FF estimate", "FF", "BRAM estimate",
                  "BRAM", box=None)
    whole = {"name": "all", "form": "", "estimate": result["estimate"], "count": result["count"]}
    for layer in [*result["layers"], whole]:
        figures = [str(layer[which][kind]) for kind in KINDS for which in ("estimate", "count")]
        table.add_row(layer["name"], layer["form"], *figures)
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"the estimate of the LUT positions is {result['error']:+.1%} off")
    if chosen.json is not None:
        write_json(chosen.json, result)
    else:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
