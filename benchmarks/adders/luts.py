"""LUT positions of graphs after Yosys, beside those of da4ml's Verilog.

``python -m benchmarks.adders.luts [--peers PYTHON] [--only REGEX] [--steps N] [--target TARGET]
[--json FILE]``. Three forms of each: as written, and with ``keep`` on every wire, so that Yosys
cannot fuse adders into carry-save trees; ours is the combinational module of ``hwgen adders
--verilog``. PYTHON is the Python of an environment that has da4ml; its two stages are synthesised
apart and added up. Slow: some minutes a matrix.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adders.suite import Matrix, matrices
from hwgen.adders.command import write_verilog
from hwgen.adders.greedy import Objective
from hwgen.adders.search import build
from hwgen.files import write_json
from hwgen.tools import run_yosys

SYNTHESIS = {"ecp5": "synth_ecp5 -nowidelut -nodsp -top {top}", "ice40": "synth_ice40 -top {top}",
             "xc7": "synth_xilinx -nodsp -noiopad -top {top}"}
WEIGHTS = {"ecp5": {"LUT4": 1, "CCU2C": 2}, "ice40": {"SB_LUT4": 1},
           "xc7": {**{f"LUT{n}": 1 for n in range(1, 7)}, "INV": 1}}
WRITE = '''
import sys
from pathlib import Path
import numpy as np
import da4ml.codegen.rtl.verilog as verilog
from da4ml.cmvm import solve
from da4ml.codegen.rtl.verilog.comb import comb_logic_gen
folder = Path(sys.argv[1])
matrix = np.load(folder / "matrix.npy").astype(np.float32)
for n, stage in enumerate(solve(matrix).solutions):
    if any(op.opcode in (0, 1) for op in list(stage.ops)) or any(list(stage.out_negs)):
        (folder / f"stage{n}.v").write_text(comb_logic_gen(stage, f"stage{n}"))
source = Path(verilog.__file__).parent / "source"
for name in ("shift_adder.v", "negative.v"):
    (folder / name).write_text((source / name).read_text())
'''


def positions(folder: Path, files: list[str], top: str, target: str) -> int:
    """Return the LUT positions of a module."""
    script = "\n".join([f"read_verilog {' '.join(files)}", SYNTHESIS[target].format(top=top),
                        f"flatten; tee -q -o {top}.json stat -json -top {top}"])
    run_yosys(script, cwd=folder)
    found = json.loads((folder / f"{top}.json").read_text(encoding="utf-8"))
    cells = found["design"]["num_cells_by_type"]
    return sum(count * WEIGHTS[target].get(name, 0) for name, count in cells.items())


def kept(text: str) -> str:
    """Return Verilog with ``keep`` on every wire."""
    return re.sub(r"^(\s*)wire ", r"\1(* keep *) wire ", text, flags=re.M)


def ours(matrix: Matrix, folder: Path, options: argparse.Namespace) -> dict[str, int]:
    """Return the LUT positions of our graph, as written and kept."""
    graph = build(matrix.values, input_lo=-128, input_hi=127, steps=options.steps,
                  objective=Objective.BITS)
    write_verilog(graph, None, folder / "ours.v")
    (folder / "ours_kept.v").write_text(kept((folder / "ours.v").read_text()))
    return {"ours": positions(folder, ["ours.v"], "adder_graph", options.target),
            "ours_kept": positions(folder, ["ours_kept.v"], "adder_graph", options.target),
            "adders": graph.adders, "adder_bits": graph.adder_bits}


def theirs(matrix: Matrix, folder: Path, options: argparse.Namespace) -> dict[str, int]:
    """Return the LUT positions of the peer's graph, as written and kept."""
    np.save(folder / "matrix.npy", matrix.values)
    subprocess.run([options.peers, "-c", WRITE, str(folder)], check=True)
    library = ["shift_adder.v", "negative.v"]
    total = {"peer": 0, "peer_kept": 0}
    for path in sorted(folder.glob("stage?.v")):
        (folder / f"kept_{path.name}").write_text(kept(path.read_text()))
        for key, name in (("peer", path.name), ("peer_kept", f"kept_{path.name}")):
            total[key] += positions(folder, [name, *library], path.stem, options.target)
    return total


def main() -> None:
    """Print the table; with ``--json`` write the figures too."""
    parser = argparse.ArgumentParser(description="LUT positions of adder graphs.")
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--only", default="^(8x8|9x8|25x6) laplace 6", metavar="REGEX")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--target", choices=sorted(SYNTHESIS), default="ecp5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for matrix in matrices(options.seed):
        if not re.search(options.only, matrix.name):
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            row = {"name": matrix.name, **ours(matrix, folder, options)}
            row |= theirs(matrix, folder, options)
        row["ratio_kept"] = round(row["ours_kept"] / row["peer_kept"], 4)
        row["ratio_written"] = round(min(row["ours"], row["ours_kept"]) / row["peer"], 4)
        rows.append(row)
        print(json.dumps(row), flush=True)
        if options.json is not None:
            write_json(options.json, {"target": options.target, "rows": rows})


if __name__ == "__main__":
    main()
