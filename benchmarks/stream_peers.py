"""A network's layers as laid out, beside the same layers fully parallel on da4ml's adder graphs.

``python -m benchmarks.stream_peers DIR [--peers PYTHON] [--target ecp5-85] [--json FILE]``. DIR is
a folder of ``hwgen rtl``, PYTHON that of an environment with da4ml; without it da4ml's figures are
those in FILE, of the same network and target. Theirs: for a convolution the LUT
positions of the graph alone (combinational, ``keep`` on every wire: its best form; registers
behind adders take no LUTs), without window, lines and requantisation; for a dense layer the bits of
its adders, each a position (Yosys does not finish such modules). Ours: all modules of a layer, its
window, lines, serialisers and queue, as Yosys maps them. Both take a window of one layer a cycle,
or as often as the layer before gives one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.adders.luts import kept, positions
from benchmarks.stream_estimate import measure
from hwgen import netfile
from hwgen.boards.targets import find_target
from hwgen.errors import HwgenError
from hwgen.files import read_json, write_json
from hwgen.layers import Conv2d, Dense, Int64Array
from hwgen.network import Network
from hwgen.stream.matrix import conv_matrix

SOLVE = '''
import json, math, sys
from pathlib import Path
import numpy as np
import da4ml.codegen.rtl.verilog as verilog
from da4ml.cmvm import solve
from da4ml.codegen.rtl.verilog.comb import comb_logic_gen
folder, write = Path(sys.argv[1]), sys.argv[2] == "verilog"
lo, hi = json.loads(sys.argv[3])
matrix = np.load(folder / "matrix.npy").astype(np.float32)
stages = solve(matrix, qintervals=[(float(lo), float(hi), 1.0)] * len(matrix)).solutions
adders = bits = 0
for n, stage in enumerate(stages):
    for op in list(stage.ops):
        if op.opcode in (0, 1):
            adders += 1
            bits += math.ceil(math.log2((op.qint.max - op.qint.min) / op.qint.step + 1))
    if write:
        (folder / f"stage{n}.v").write_text(comb_logic_gen(stage, f"stage{n}"))
source = Path(verilog.__file__).parent / "source"
for name in ("shift_adder.v", "negative.v"):
    (folder / name).write_text((source / name).read_text())
print(json.dumps({"adders": adders, "adder_bits": bits}))
'''


def theirs(layer: Conv2d | Dense, network: Network, peers: str, target: str) -> dict[str, Any]:
    """Return the size of a layer's graph as da4ml makes it."""
    source = network.tensors[layer.source]
    matrix: Int64Array = (
        conv_matrix(layer, source.channels) if isinstance(layer, Conv2d) else layer.weight.T
    )
    parallel = isinstance(layer, Conv2d)
    with tempfile.TemporaryDirectory(prefix="hwgen-bench-") as name:
        folder = Path(name)
        np.save(folder / "matrix.npy", matrix)
        done = subprocess.run(
            [peers, "-c", SOLVE, str(folder), "verilog" if parallel else "bits",
             json.dumps([source.lo, source.hi])],
            check=True, capture_output=True, text=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if not parallel:
            return {**found, "lut": found["adder_bits"], "by": "adder bits"}
        total = 0
        for path in sorted(folder.glob("stage?.v")):
            (folder / f"kept_{path.name}").write_text(kept(path.read_text()))
            total += positions(
                folder, [f"kept_{path.name}", "shift_adder.v", "negative.v"], path.stem, target
            )
        return {**found, "lut": total, "by": "yosys"}


def known(path: Path | None, digest: str, target: str) -> dict[str, Any]:
    """Return da4ml's figures by layer from an earlier run on the same network and target."""
    found = None if path is None else read_json(path)
    if found is None or (found["digest"], found["target"]) != (digest, target):
        raise HwgenError(f"--peers needed, or --json with the figures of {digest[:12]}, {target}")
    return {row["layer"]: row["peer"] for row in found["rows"]}


def compare(folder: Path, peers: str | None, target: str, before: Path | None) -> dict[str, Any]:
    """Return the rows of the linear layers, and the ratios."""
    network = netfile.load(folder / "net.npz")
    old = {} if peers else known(before, network.digest, target)
    chosen = find_target(target)
    counted = measure(folder, chosen, set())
    own = {layer["name"]: layer for layer in counted["layers"]}
    rows = []
    for layer in network.layers:
        if isinstance(layer, (Conv2d, Dense)):
            peer = (theirs(layer, network, peers, chosen.family.name) if peers
                    else old[layer.name])
            rows.append({
                "layer": layer.name, "conv": isinstance(layer, Conv2d),
                "form": own[layer.name]["form"], "ours": own[layer.name]["count"]["lut"],
                "peer": peer,
            })  # fmt: skip
    convs = [row for row in rows if row["conv"]]
    return {
        "digest": network.digest, "target": target, "rows": rows,
        "convolutions": round(sum(r["ours"] for r in convs) / sum(r["peer"]["lut"] for r in convs),
                              4),
        "whole": round(counted["count"]["lut"] / sum(r["peer"]["lut"] for r in rows), 4),
        "ours_whole": counted["count"]["lut"],
    }  # fmt: skip


def main() -> None:
    """Print the table; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Layers beside fully parallel ones of da4ml.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--target", default="ecp5-85")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = compare(options.folder, options.peers, options.target, options.json)
    table = Table("layer", "form", "LUT", "da4ml", "counted by", "adders", box=None)
    for row in result["rows"]:
        peer = row["peer"]
        table.add_row(row["layer"], row["form"], f"{row['ours']:,}", f"{peer['lut']:,}",
                      peer["by"], f"{peer['adders']:,}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"convolutions {result['convolutions']}x, whole network (with pools, "
                  f"requantisation and the rest) {result['whole']}x")
    if options.json is not None:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
