"""Feature approximation and kernel reduction on AlexNet's real first layers: energies and cycles.

``python -m benchmarks.kernel_reduction --data DIR [--json FILE]``; DIR holds
weights/alexnet_conv12_int8.npz. No images and no training: weights alone. Three tables: linear
features (energy left with half and three quarters of the filters, beside the bound of the singular
values and beside leaving out the smallest filters; a group of conv2 a row); smaller windows
(median energy that filters keep, centred and best placed); cycles of a 16 x 16 array at a budget of
energy, for sizes chosen by tile, and filter by filter with and without sorting.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.compress.methods.checks import FloatArray
from hwgen.compress.methods.kernel_tiles import plans, sort_filters, tile_cost
from hwgen.compress.methods.kernel_windows import Place
from hwgen.compress.methods.linear_features import Options as LinearOptions
from hwgen.compress.methods.linear_features import approximate, cost
from hwgen.compress.methods.lower_kernel import Options, curves, importance, within
from hwgen.files import write_json

WINDOWS = {"conv1": (9, 7), "conv2": (3, 1)}
SIDES = {"conv1": (9, 7, 5, 3, 1), "conv2": (3, 1)}
BUDGETS = (0.02, 0.05, 0.1, 0.2)


def linear(name: str, weights: FloatArray, part: float, terms: int | None) -> dict[str, Any]:
    """Energy left and MACs saved with a part of the filters as basis."""
    rows = weights.reshape(len(weights), -1)
    basis = int(part * len(rows))
    found = approximate(weights, LinearOptions(basis, terms))
    squares = np.linalg.svd(rows, compute_uv=False) ** 2
    energy = np.sort((rows**2).sum(1))
    return {
        "layer": name, "basis": basis, "terms": terms,
        "left": round(found.left, 4),
        "bound": round(float(squares[basis:].sum() / squares.sum()), 4),
        "left_by_dropping": round(float(energy[:-basis].sum() / energy.sum()), 4),
        "macs_saved_percent": round(100 * cost(found, rows.shape[1]).saved, 1),
    }


def windows(name: str, weights: FloatArray, side: int) -> dict[str, Any]:
    """Median energy that a filter keeps in a smaller window."""
    energy = importance(weights)
    used = energy > 0
    row: dict[str, Any] = {"layer": name, "side": side}
    for place in Place:
        found = curves(weights, [side], Options(place=place))
        kept = 1 - found.loss[used, 1] / energy[used]
        row[f"kept_{place.value}"] = round(float(np.median(kept)), 3)
    row["macs_saved_percent"] = round(100 * (1 - side**2 / weights.shape[2] ** 2), 1)
    return row


def tiles(name: str, parts: list[FloatArray]) -> list[dict[str, Any]]:
    """Cycles, dense over reduced, for each part of the energy to lose; groups one by one."""
    found = [curves(weights, SIDES[name], Options()) for weights in parts]
    fronts = [plans(curve) for curve in found]
    rows = []
    for part in BUDGETS:
        costs = {"dense": 0, "by_tile": 0, "sorted": 0, "unsorted": 0}
        for weights, curve, front in zip(parts, found, fronts, strict=True):
            budget = part * float(importance(weights).sum())
            taps = curve.taps[within(curve, budget)]
            costs["dense"] += tile_cost(np.full(len(weights), curve.taps[0]))
            costs["by_tile"] += next(plan.cost for plan in front if plan.loss <= budget)
            costs["sorted"] += tile_cost(taps[sort_filters(taps)])
            costs["unsorted"] += tile_cost(taps)
        dense = costs.pop("dense")
        ratios = {f"{key}_ratio": round(dense / value, 2) for key, value in costs.items()}
        rows.append({"layer": name, "energy_lost_percent": round(100 * part, 1), **ratios})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join("all" if value is None else str(value) for value in row.values())
              + " |")
    print()


def main() -> None:
    """Print the tables; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Kernel reduction on AlexNet's first layers.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with np.load(options.data / "weights" / "alexnet_conv12_int8.npz") as arrays:
        layers = {name: arrays[name] / 256 for name in WINDOWS}
    groups = {"conv1": [layers["conv1"]], "conv2": np.split(layers["conv2"], 2)}
    by_group = [
        (name if len(parts) == 1 else f"{name}, group {number}", weights)
        for name, parts in groups.items()
        for number, weights in enumerate(parts, start=1)
    ]
    tables = {
        "linear": [
            linear(name, weights, part, terms)
            for name, weights in by_group for part in (0.5, 0.75) for terms in (None, 4)
        ],
        "windows": [
            windows(name, layers[name], side) for name in WINDOWS for side in WINDOWS[name]
        ],
        "tiles": [row for name in WINDOWS for row in tiles(name, groups[name])],
    }
    for rows in tables.values():
        show(rows)
    if options.json is not None:
        write_json(options.json, tables)


if __name__ == "__main__":
    main()
