"""AlexNet's 1,282,336 matrices, set P7, a scale a kernel: seconds, memory, and the 0-1 programme.

``python -m benchmarks.dyadic_alexnet [--alexnet FILE] [--threads N] [--sample 200] [--json F]``;
FILE is ``alexnet_conv12_int8.npz`` (by default that of HWGEN_DATA): its conv1 and conv2 are real,
the rest is synthetic (Laplace) of the right shape, fc6 seen as 6x6 matrices. The sweep runs
over everything. Then the programme runs over a grid of 64 scales for a sample of kernels, at least
64 a model, counted by the solver's own seconds alone, and the errors of both are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.compress.methods import dyadic_ilp
from hwgen.compress.methods.dyadic import FloatArray, Levels, sweep
from hwgen.files import write_json

# Layer: kernels, taps of a kernel. Grouped AlexNet; fc6 is 4096 outputs of 256 maps of 6x6.
SHAPES = {
    "conv1": (96 * 3, 121),
    "conv2": (256 * 48, 25),
    "conv3": (384 * 256, 9),
    "conv4": (384 * 192, 9),
    "conv5": (256 * 192, 9),
    "fc6": (4096 * 256, 36),
}
SETS = "P7"
PER_MODEL = 64


def kernels(name: str, file: Path | None) -> FloatArray:
    """Return a layer's kernels, one a row: real where FILE has them, else synthetic."""
    if file is not None and name in ("conv1", "conv2"):
        with np.load(file) as arrays:
            return (arrays[name] / 256.0).reshape(SHAPES[name])
    random = np.random.default_rng(sorted(SHAPES).index(name))
    return random.laplace(size=SHAPES[name])


def programme(sample: list[FloatArray], levels: Levels) -> tuple[float, FloatArray]:
    """Return the solver's seconds and the errors of the grid, over the kernels of a sample."""
    seconds, errors = 0.0, []
    for rows in sample:
        for part in np.array_split(rows, max(1, len(rows) // PER_MODEL)):
            model = dyadic_ilp.Programme(part, levels, engine=dyadic_ilp.Engine.CBC)
            found = dyadic_ilp.search(model, dyadic_ilp.grid(part, levels))
            seconds += found.seconds
            errors.append(found.error)
    return seconds, np.concatenate(errors)


def measure(file: Path | None, threads: int, sample: int) -> dict[str, Any]:
    """Run both and return the figures."""
    levels, layers, drawn = Levels.parse(SETS), [], []
    total, count = 0.0, sum(kernels for kernels, _ in SHAPES.values())
    random = np.random.default_rng(0)
    # Two layers with most of the matrices, so that a model has 64 of one shape or more.
    shares = {"fc6": sample - sample // 3, "conv3": sample // 3}
    for name in SHAPES:
        rows = kernels(name, file)
        start = time.perf_counter()
        _, _, error = sweep(rows, levels, threads=threads)
        seconds = time.perf_counter() - start
        total += seconds
        energy = float(np.einsum("gn,gn->", rows, rows))
        layers.append(
            {
                "layer": name,
                "matrices": len(rows),
                "weights": rows.size,
                "real": file is not None and name in ("conv1", "conv2"),
                "error": float(error.sum()) / energy,
                "seconds": round(seconds, 3),
            }
        )
        if name in shares:
            drawn.append(rows[random.choice(len(rows), shares[name], replace=False)])
        del rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    by_programme, grid_errors = programme(drawn, levels)
    start = time.perf_counter()
    exact = np.concatenate([sweep(rows, levels, threads=threads)[2] for rows in drawn])
    sampled = time.perf_counter() - start
    return {
        "set": SETS,
        "scale": "kernel",
        "matrices": count,
        "seconds": round(total, 2),
        "microseconds_per_matrix": round(1e6 * total / count, 2),
        "peak_gib": round(peak, 2),
        "threads": threads,
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "sample": sample,
        "programme_seconds": round(by_programme, 2),
        "programme_microseconds_per_matrix": round(1e6 * by_programme / sample, 1),
        "sample_sweep_seconds": round(sampled, 4),
        "times_faster": round(by_programme / sample / (total / count)),
        "grid_error_over_exact": round(float(grid_errors.sum() / exact.sum()), 5),
        "grid_better_than_exact": int((grid_errors < exact * (1 - 1e-9)).sum()),
        "layers": layers,
    }


def main() -> None:
    """Print the table; with ``--json`` also write the figures."""
    root = os.environ.get("HWGEN_DATA")
    default = Path(root, "weights", "alexnet_conv12_int8.npz") if root else None
    parser = argparse.ArgumentParser(description="The sweep at the size of AlexNet.")
    parser.add_argument("--alexnet", type=Path, default=default, metavar="FILE")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.alexnet, options.threads, options.sample)
    print("| layer | matrices | weights | real | relative error | seconds |")
    print("|---|---|---|---|---|---|")
    for row in found["layers"]:
        print(
            f"| {row['layer']} | {row['matrices']:,} | {row['weights']:,} "
            f"| {'yes' if row['real'] else 'no'} | {row['error']:.4f} | {row['seconds']:.2f} |"
        )
    print(
        f"\nall: {found['matrices']:,} matrices in {found['seconds']:.1f} s on {found['threads']} "
        f"threads (load of the machine {found['load']}), {found['peak_gib']} GiB at most\n"
        f"0-1 programme, {found['sample']} kernels: "
        f"{found['programme_microseconds_per_matrix']:,.0f} us a matrix against "
        f"{found['microseconds_per_matrix']} us: {found['times_faster']:,} times; its grid's error "
        f"is {found['grid_error_over_exact']:.4f} of the exact one"
    )
    if options.json is not None:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
