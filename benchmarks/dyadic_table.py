"""Error and digits of every set on AlexNet's first layers, and what grids of scales add to it.

``python -m benchmarks.dyadic_table [--alexnet FILE] [--json FILE]``; FILE is
``alexnet_conv12_int8.npz`` (by default that of HWGEN_DATA). First table: relative squared error /
canonical signed digits a weight of the exact optimum, a scale a kernel, a filter or a layer. Second
one: the error of a grid of 64 and of 4096 scales over the exact one, scales a kernel, on every 12th
kernel of conv2; and of the rule that brings the largest weight to the largest level.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.compress.methods.dyadic import (
    SETS,
    FloatArray,
    Levels,
    Options,
    Scale,
    approximate,
    nearest,
    sweep,
)
from hwgen.cost import digit_count
from hwgen.files import write_json

GRIDS = (64, 4096)


def table(name: str, weights: FloatArray) -> list[dict[str, Any]]:
    """Return a row for each set and scale."""
    rows = []
    for set_name in SETS:
        for scale in Scale:
            start = time.perf_counter()
            found = approximate(weights, Options(Levels.parse(set_name), scale))
            rows.append(
                {
                    "layer": name,
                    "set": set_name,
                    "scale": scale.value,
                    "error": found.relative_error,
                    "digits": float(digit_count(found.codes).mean()),
                    "seconds": round(time.perf_counter() - start, 3),
                }
            )
    return rows


def grid_error(groups: FloatArray, levels: Levels, factors: FloatArray) -> FloatArray:
    """Return each group's least error over scales that are factors of the largest weight's."""
    top = np.abs(groups).max(1) / float(levels.magnitudes[-1])
    best = np.full(len(groups), np.inf)
    for factor in factors:
        scale = top * factor
        values = np.ldexp(nearest(groups, levels, scale) * scale[:, None], -levels.bits)
        best = np.minimum(best, ((groups - values) ** 2).sum(1))
    return best


def grids(groups: FloatArray) -> list[dict[str, Any]]:
    """Return a row for each set: errors over the exact one."""
    rows = []
    for set_name in SETS:
        levels = Levels.parse(set_name)
        exact = sweep(groups, levels)[2]
        row: dict[str, Any] = {"set": set_name}
        for points in GRIDS:
            found = grid_error(groups, levels, np.linspace(0.05, 2.0, points))
            row[f"grid_{points}"] = float(found.sum() / exact.sum())
            row[f"better_{points}"] = int((found < exact * (1 - 1e-9)).sum())
        row["largest_to_largest"] = float(
            grid_error(groups, levels, np.ones(1)).sum() / exact.sum()
        )
        rows.append(row)
    return rows


def main() -> None:
    """Print the tables; with ``--json`` also write the figures."""
    root = os.environ.get("HWGEN_DATA")
    parser = argparse.ArgumentParser(description="Dyadic sets on AlexNet's first layers.")
    parser.add_argument(
        "--alexnet", type=Path, metavar="FILE",
        default=Path(root, "weights", "alexnet_conv12_int8.npz") if root else None,
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.alexnet is None:
        print("left out: neither --alexnet FILE nor HWGEN_DATA was given")
        return
    with np.load(options.alexnet) as file:
        layers = {name: file[name] / 256.0 for name in ("conv1", "conv2")}
    rows = [row for name, weights in layers.items() for row in table(name, weights)]
    print("| set | " + " | ".join(f"{n} {s.value}" for n in layers for s in Scale) + " |")
    print("|---" * 7 + "|")
    for set_name in SETS:
        cells = [f"{r['error']:.4f} / {r['digits']:.3f}" for r in rows if r["set"] == set_name]
        print(f"| {set_name} | " + " | ".join(cells) + " |")
    kernels = layers["conv2"].reshape(-1, 25)[::12]
    by_grid = grids(kernels[np.abs(kernels).max(1) > 0])
    print(f"\n| set | {' | '.join(f'grid of {p}' for p in GRIDS)} | largest to largest |")
    print("|---" * (len(GRIDS) + 2) + "|")
    for row in by_grid:
        cells = [f"{row[f'grid_{p}']:.4f}" for p in GRIDS]
        print(f"| {row['set']} | {' | '.join(cells)} | {row['largest_to_largest']:.2f} |")
    if options.json is not None:
        write_json(options.json, {"table": rows, "grids": by_grid})


if __name__ == "__main__":
    main()
