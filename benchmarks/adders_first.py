"""Adders of the search on a few seeded matrices; ``benchmarks.adders`` has more, and peers.

``python -m benchmarks.adders_first [--json FILE]``. Columns: nonzero digits less one for each
output (every output apart), equal trees merged, greedy sharing, the search's best; depth and bits
of the best; seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.adders.csd import digit_count
from hwgen.adders.search import build
from hwgen.files import write_json

Generator = np.random.Generator


def _trained(shape: tuple[int, int], bits: int) -> Callable[[Generator], Any]:
    """Weights with the heavy tail of trained ones, the largest at the end of the range."""
    def draw(rng: Generator) -> Any:
        weights = rng.laplace(size=shape)
        return np.rint(weights / np.abs(weights).max() * ((1 << bits - 1) - 1))
    return draw


def _uniform(shape: tuple[int, int], lo: int, hi: int) -> Callable[[Generator], Any]:
    return lambda rng: rng.integers(lo, hi, shape, endpoint=True)


def _chosen(shape: tuple[int, int], values: list[int]) -> Callable[[Generator], Any]:
    return lambda rng: rng.choice(values, shape)


DYADIC = [-8, -4, -2, -1, 0, 1, 2, 4, 8]
MATRICES: dict[str, Callable[[Generator], Any]] = {
    **{f"9x8 trained {bits} bit": _trained((9, 8), bits) for bits in (4, 6, 8)},
    **{f"25x6 trained {bits} bit": _trained((25, 6), bits) for bits in (4, 6, 8)},
    "25x6 ternary": _chosen((25, 6), [-1, 0, 1]),
    "25x6 dyadic": _chosen((25, 6), DYADIC),
    **{f"72x16 trained {bits} bit": _trained((72, 16), bits) for bits in (4, 6)},
    "72x16 ternary": _chosen((72, 16), [-1, 0, 1]),
    "72x16 dyadic": _chosen((72, 16), DYADIC),
    "150x16 trained 6 bit": _trained((150, 16), 6),
    "8x8 uniform 8 bit": _uniform((8, 8), -128, 127),
    "16x16 uniform 6 bit": _uniform((16, 16), -32, 31),
    "16x16 uniform 129..255": _uniform((16, 16), 129, 255),
}


def measure(name: str, seed: int, steps: int) -> dict[str, Any]:
    """Return the figures of one matrix."""
    matrix = np.asarray(MATRICES[name](np.random.default_rng(seed)), dtype=np.int64)
    digits = digit_count(matrix).sum(axis=0)
    result: dict[str, Any] = {"matrix": name, "apart": int(np.maximum(digits - 1, 0).sum())}
    runs: dict[str, Any] = {"merged": {"sharing": False}, "shared": {"steps": 0},
                            "best": {"steps": steps}}
    for key, options in runs.items():
        started = time.perf_counter()
        graph = build(matrix, input_lo=-128, input_hi=127, **options)
        result |= {key: graph.adders, f"{key}_seconds": round(time.perf_counter() - started, 3)}
    return result | {"depth": graph.depth, "adder_bits": graph.adder_bits}


def main() -> None:
    """Print the table; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Adders of the search.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10_000, help="of the search")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keys = ["apart", "merged", "shared", "best", "depth", "adder_bits", "shared_seconds",
            "best_seconds"]
    print(f"{'matrix':24}" + "".join(f"{key:>15}" for key in keys))
    rows = []
    for name in MATRICES:
        rows.append(measure(name, options.seed, options.steps))
        print(f"{name:24}" + "".join(f"{rows[-1][key]:>15}" for key in keys), flush=True)
    ratio = float(np.exp(np.mean([np.log(row["best"] / row["apart"]) for row in rows])))
    print(f"geometric mean of best / apart: {ratio:.3f}")
    summary = {"seed": options.seed, "steps": options.steps, "ratio": round(ratio, 4), "rows": rows}
    if options.json is not None:
        write_json(options.json, summary)
    else:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
