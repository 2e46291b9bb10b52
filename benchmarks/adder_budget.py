"""A budget of adders against fixed sets: squared error at equal digits and at equal true adders.

``python -m benchmarks.adder_budget [--alexnet FILE] [--kernels 300] [--json FILE]``; FILE is
``alexnet_conv12_int8.npz`` (by default that of HWGEN_DATA; without it synthetic kernels alone).

Equal digits: a scale a kernel, levels k/64, no more canonical signed digits than the set has.
Equal true adders: a scale a filter, as a layer can build it, on matrices of the size that one graph
is built of; adders are those of the graph that ``hwgen.adders`` builds of the set's weights, and
the budget's weights, of the best of several grids, have a graph of no more. On small cases the
exact dynamic programme stands beside the multiplier.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.compress.methods.adder_budget import Options, spread
from hwgen.compress.methods.adder_budget_exact import spread_exactly
from hwgen.compress.methods.dyadic import SETS, FloatArray, Levels, Scale, approximate
from hwgen.compress.methods.dyadic import Options as SetOptions
from hwgen.compress.methods.dyadic_cost import digit_adders, graph_adders, spread_adders
from hwgen.cost import digit_count
from hwgen.files import write_json

FIXED = ("T3", "P5", "P7", "P9", "Q8")
GRIDS = (8, 16, 64)


def grid(steps: int) -> Levels:
    """Return the levels k / steps up to 1."""
    return Levels(tuple(Fraction(k, steps) for k in range(1, steps + 1)))


def saved(before: float, after: float) -> float:
    """Return the percents of an error that are gone."""
    return round(100 * (1 - after / before), 1) if before else 0.0


def at_equal_digits(name: str, weights: FloatArray) -> list[dict[str, Any]]:
    """Return a row for each set, a scale a kernel."""
    rows = []
    for set_name in FIXED:
        fixed = approximate(weights, SetOptions(Levels.parse(set_name), Scale.KERNEL))
        digits = int(digit_count(fixed.codes).sum())
        start = time.perf_counter()
        found = spread([weights], digits, Options(scale=Scale.KERNEL))[0]
        rows.append(
            {
                "weights": name,
                "set": set_name,
                "digits": digits / weights.size,
                "digits_budget": int(digit_count(found.codes).sum()) / weights.size,
                "error_set": fixed.relative_error,
                "error_budget": found.relative_error,
                "saved_percent": saved(fixed.relative_error, found.relative_error),
                "seconds": round(time.perf_counter() - start, 2),
            }
        )
        print(f"{name} {set_name}: {rows[-1]['saved_percent']} %", file=sys.stderr, flush=True)
    return rows


def at_equal_adders(name: str, weights: FloatArray, sets: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return a row for each set, a scale a filter; adders of graphs that were built."""
    rows = []
    for set_name in sets:
        fixed = approximate(weights, SetOptions(Levels.parse(set_name), Scale.FILTER))
        adders = graph_adders(fixed.codes)
        best, steps = None, 0
        for fine in GRIDS:
            found = spread_adders([weights], adders, Options(grid(fine)))[0]
            if best is None or found.error.sum() < best.error.sum():
                best, steps = found, fine
        assert best is not None
        rows.append(
            {
                "weights": name,
                "set": set_name,
                "adders": adders,
                "adders_budget": graph_adders(best.codes),
                "unshared": digit_adders(fixed.codes),
                "unshared_budget": digit_adders(best.codes),
                "grid": steps,
                "error_set": fixed.relative_error,
                "error_budget": best.relative_error,
                "saved_percent": saved(fixed.relative_error, best.relative_error),
            }
        )
        print(
            f"{name} {set_name}: {rows[-1]['saved_percent']} % at {adders} true adders",
            file=sys.stderr, flush=True,
        )
    return rows


def exact_beside(seed: int) -> list[dict[str, Any]]:
    """Return errors of the exact programme, the multiplier and the set, at the set's digits."""
    weights = np.random.default_rng(seed).laplace(size=(24, 1, 3, 3))
    rows = []
    for set_name in ("T3", "P5", "P7", "Q8"):
        fixed = approximate(weights, SetOptions(Levels.parse(set_name), Scale.KERNEL))
        digits = int(digit_count(fixed.codes).sum())
        levels = Levels(SETS["Q8"])
        rows.append(
            {
                "set": set_name,
                "digits": digits,
                "error_set": float(fixed.error.sum()),
                "error_budget": float(
                    spread([weights], digits, Options(levels, Scale.KERNEL))[0].error.sum()
                ),
                "error_exact": float(spread_exactly(weights, digits, levels=levels).error.sum()),
            }
        )
    return rows


def measure(file: Path | None, kernels: int) -> dict[str, Any]:
    """Return all three tables."""
    random = np.random.default_rng(0)
    digits, adders = [], []
    for size in (3, 5):
        for draw in ("laplace", "normal"):
            weights = getattr(random, draw)(size=(kernels, 1, size, size))
            digits += at_equal_digits(f"{draw} {size}x{size}", weights)
    matrices = {
        "laplace 9x8": random.laplace(size=(8, 1, 3, 3)),
        "laplace 25x6": random.laplace(size=(6, 1, 5, 5)),
        "normal 25x6": random.normal(size=(6, 1, 5, 5)),
        "laplace 36x8": random.laplace(size=(8, 4, 3, 3)),
    }
    if file is not None:
        with np.load(file) as arrays:
            layers = {name: arrays[name] / 256.0 for name in ("conv1", "conv2")}
        for name, weights in layers.items():
            digits += at_equal_digits(f"AlexNet {name}", weights)
        matrices["conv1 121x6"] = layers["conv1"][:6, :1]
        matrices["conv2 100x6"] = layers["conv2"][:6, :4]
    for name, weights in matrices.items():
        adders += at_equal_adders(name, weights, ("P5", "P7", "P9"))
    return {
        "seed": 0, "equal_digits": digits, "equal_adders": adders, "exact": exact_beside(1),
    }


def main() -> None:
    """Print the tables; with ``--json`` also write the figures."""
    root = os.environ.get("HWGEN_DATA")
    parser = argparse.ArgumentParser(description="A budget of adders against fixed sets.")
    parser.add_argument(
        "--alexnet", type=Path, metavar="FILE",
        default=Path(root, "weights", "alexnet_conv12_int8.npz") if root else None,
    )
    parser.add_argument("--kernels", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.alexnet, options.kernels)
    print("| weights | set | digits a weight | error, set | error, budget | saved |")
    print("|---" * 6 + "|")
    for row in found["equal_digits"]:
        print(
            f"| {row['weights']} | {row['set']} | {row['digits']:.3f} | {row['error_set']:.4f} "
            f"| {row['error_budget']:.4f} | {row['saved_percent']} % |"
        )
    print("\n| matrix | set | true adders | budget's | unshared | budget's | grid | error, set "
          "| error, budget | saved |")
    print("|---" * 10 + "|")
    for row in found["equal_adders"]:
        print(
            f"| {row['weights']} | {row['set']} | {row['adders']} | {row['adders_budget']} "
            f"| {row['unshared']} | {row['unshared_budget']} | k/{row['grid']} "
            f"| {row['error_set']:.4f} | {row['error_budget']:.4f} | {row['saved_percent']} % |"
        )
    print("\n| set's digits, levels k/8 | error, set | multiplier | exact |")
    print("|---" * 4 + "|")
    for row in found["exact"]:
        print(
            f"| {row['set']}, {row['digits']} | {row['error_set']:.3f} "
            f"| {row['error_budget']:.4f} | {row['error_exact']:.4f} |"
        )
    if options.json is not None:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
