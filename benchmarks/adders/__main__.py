"""Adders of the search and of its peers, matrix by matrix.

``python -m benchmarks.adders [--peers PYTHON | --peer-lines FILE] [--modes matrix,column,row]
[--only REGEX] [--steps N | --seconds S] [--published N] [--json FILE]``. PYTHON is the Python of an
environment that has da4ml and alkaid, FILE what ``peers.py`` printed in it earlier; without either
there are no ratios. With ``--published N`` also N of the random matrices with entries 129..255 of
each size 8, 12 and 16. Trained kernels come from HWGEN_DATA/weights. The JSON is written after each
matrix, so an interrupted run keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adders.suite import Matrix, matrices, published, trained
from hwgen.adders.search import build
from hwgen.files import write_json

MODES = ("matrix", "column", "row")
# Mean adders of H_cmvm over 50 such matrices, as da4ml's authors give them.
H_CMVM = {8: 96.3, 12: 200.4, 16: 338.3}
HERE = Path(__file__).parent


def chosen(options: argparse.Namespace) -> list[Matrix]:
    """Return the matrices asked for."""
    found = list(matrices(options.seed))
    if data := os.environ.get("HWGEN_DATA"):
        found += trained(Path(data) / "weights")
    for size in H_CMVM:
        found += published(size, options.published, options.seed)
    return [matrix for matrix in found if re.search(options.only, matrix.name)]


def peers(options: argparse.Namespace, suite: Sequence[Matrix]) -> dict[str, dict[str, Any]]:
    """Return name -> figures of the better peer."""
    if options.peer_lines is not None:
        return _by_name(options.peer_lines.read_text(encoding="utf-8"))
    if options.peers is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.npz"
        np.savez(path, allow_pickle=False, **{m.name: m.values for m in suite})
        done = subprocess.run([options.peers, str(HERE / "peers.py"), str(path)], check=True,
                              capture_output=True, encoding="utf-8")
    return _by_name(done.stdout)


def _by_name(text: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {line["name"]: line for line in lines}


def adders(matrix: Matrix, mode: str, options: argparse.Namespace) -> int | None:
    """Return the adders of a mode; None if the matrix belongs to no convolution."""
    budget = {"steps": options.steps, "seconds": options.seconds, "seed": options.seed}
    if mode == "matrix":
        return build(matrix.values, input_lo=-128, input_hi=127, **budget).adders
    if matrix.kernel is None:
        return None
    from hwgen.adders.delays import build_delayed

    kh, kw, _ = matrix.kernel
    return build_delayed(matrix.values, kernel=(kh, kw), delays=mode, input_lo=-128, input_hi=127,
                         **budget).adders


def mean(ratios: Sequence[float]) -> float | None:
    """The geometric mean, rounded."""
    if not ratios:
        return None
    return round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 4)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means and the worst of the ratios, large matrices apart; means of the published kind."""
    result: dict[str, Any] = {}
    for mode in MODES:
        for label, large in (("", False), (" large", True)):
            ratios = [row[f"{mode}_ratio"] for row in rows
                      if row["large"] is large and f"{mode}_ratio" in row]
            if ratios:
                result[mode + label] = {"mean": mean(ratios), "worst": max(ratios),
                                        "matrices": len(ratios)}
    for size, target in H_CMVM.items():
        counts = [row["matrix"] for row in rows
                  if row["name"].startswith(f"{size}x{size} 129") and "matrix" in row]
        if counts:
            result[f"{size}x{size} 129..255"] = {
                "mean": round(sum(counts) / len(counts), 1), "h_cmvm": target,
                "ratio": round(sum(counts) / len(counts) / target, 4), "matrices": len(counts)}
    return result


def main() -> None:
    """Print the table; with ``--json`` write the figures too."""
    parser = argparse.ArgumentParser(description="Adder graphs against da4ml and alkaid.")
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--peer-lines", type=Path, metavar="FILE")
    parser.add_argument("--modes", default="matrix,column,row")
    parser.add_argument("--only", default="", metavar="REGEX")
    parser.add_argument("--steps", type=int, help="of each search")
    parser.add_argument("--seconds", type=float, help="of each search, instead of steps")
    parser.add_argument("--published", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    modes = options.modes.split(",")
    if unknown := [mode for mode in modes if mode not in MODES]:
        parser.error(f"modes must be of {', '.join(MODES)}, not {unknown[0]}")
    suite = chosen(options)
    others = peers(options, suite)
    print(f"{'matrix':32}{'peers':>8}" + "".join(f"{mode:>10}{'ratio':>8}{'cpu s':>8}"
                                                 for mode in modes), flush=True)
    rows: list[dict[str, Any]] = []
    for matrix in suite:
        other = others.get(matrix.name, {}).get("adders")
        row: dict[str, Any] = {"name": matrix.name, "large": matrix.large, "peers": other}
        line = f"{matrix.name:32}{other if other is not None else '-':>8}"
        for mode in modes:
            started = time.process_time()
            count = adders(matrix, mode, options)
            if count is None:
                continue
            row |= {mode: count, f"{mode}_cpu": round(time.process_time() - started, 2)}
            if other:
                row[f"{mode}_ratio"] = round(count / other, 4)
            line += f"{count:>10}{row.get(f'{mode}_ratio', 0):>8.3f}{row[f'{mode}_cpu']:>8.1f}"
        rows.append(row)
        print(line, flush=True)
        result = {"seed": options.seed, "steps": options.steps, "seconds": options.seconds,
                  "summary": summary(rows), "rows": rows}
        if options.json is not None:
            write_json(options.json, result)
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
