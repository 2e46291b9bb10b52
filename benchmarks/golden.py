"""How fast the golden model is: ``python -m benchmarks.golden [--images N] [--json FILE]``.

LeNet-5's shape (28x28 pixels, 6@5x5, pool, 16@5x5, pool, 256-120-84-10) with random dyadic weights,
or any network file, on random images; every layer is computed, the scores and classes are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from hwgen.errors import HwgenError
from hwgen.files import write_json
from hwgen.netfile import load
from hwgen.network import (
    ArgMax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    MaxPool,
    Network,
    Requantise,
)
from hwgen.sim import golden

KEEP = {"every layer": "all", "scores and class": "last"}


def lenet5(seed: int = 0) -> Network:
    """Return a network of LeNet-5's shape; each weight is a random sum of two signed powers."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = [Input("image", 1, 28, 28, 0, 255, 8)]

    def weights(*shape: int) -> Int64Array:
        signs = rng.choice([-1, 0, 1], (2, *shape))
        values: Int64Array = (signs * 2 ** rng.integers(0, 6, (2, *shape))).sum(axis=0)
        return values

    def codes(source: str, channels: int) -> str:
        ones, zeros = np.ones(channels, np.int64), np.zeros(channels, np.int64)
        layers.append(Requantise(f"codes_{source}", source, ones, zeros, 8 * ones, 0, 255, 4))
        return f"codes_{source}"

    source, channels = "image", 1
    for name, outputs in (("conv1", 6), ("conv2", 16)):
        zeros = np.zeros(outputs, np.int64)
        layers.append(Conv2d(name, source, weights(outputs, channels, 5, 5), zeros, zeros + 6))
        layers.append(MaxPool(f"pool_{name}", codes(name, outputs), (2, 2), (2, 2)))
        source, channels = f"pool_{name}", outputs
    layers.append(Flatten("flat", source))
    source, channels = "flat", 256
    for name, outputs in (("dense1", 120), ("dense2", 84), ("dense3", 10)):
        zeros = np.zeros(outputs, np.int64)
        layers.append(Dense(name, source, weights(outputs, channels), zeros, zeros + 6))
        source, channels = (codes(name, outputs) if outputs > 10 else name), outputs
    layers.append(ArgMax("best", source))
    return Network(tuple(layers))


def measure(network: Network, count: int, *, repeats: int = 3, seed: int = 0) -> dict[str, Any]:
    """Time the golden model on random images.

    Parameters: count, images; repeats, of which the fastest counts.
    Returns: {digest, images, cores, numpy, python, seconds: {what is kept: seconds},
    images_per_second}; images_per_second is that of the scores and classes alone.
    """
    source = network.input
    shape = (count, source.channels, source.height, source.width)
    images = np.random.default_rng(seed).integers(source.lo, source.hi, shape, endpoint=True)
    seconds = {}
    for what, keep in KEEP.items():
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            golden.run(network, images, keep=keep)
            times.append(time.perf_counter() - start)
        seconds[what] = min(times)
    return {"digest": network.digest, "images": count, "cores": os.cpu_count(),
            "numpy": np.__version__, "python": platform.python_version(),
            "seconds": {what: round(least, 4) for what, least in seconds.items()},
            "images_per_second": round(count / seconds["scores and class"])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table on standard error and JSON on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.golden", description=__doc__)
    parser.add_argument("--network", type=Path, help="a network file; LeNet-5's shape by default")
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here, too")
    chosen = parser.parse_args(arguments)
    if chosen.images < 1 or chosen.repeats < 1:
        parser.error(f"--images and --repeats must be at least 1, not {chosen.images} and "
                     f"{chosen.repeats}")
    try:
        network = load(chosen.network) if chosen.network else lenet5()
        result = measure(network, chosen.images, repeats=chosen.repeats)
        if chosen.json:
            write_json(chosen.json, result)
    except HwgenError as error:
        print(error, file=sys.stderr)
        return 2
    table = Table(title=f"Golden model, network {result['digest'][:12]}, {chosen.images} images")
    for heading in ("Kept", "Seconds", "Images a second"):
        table.add_column(heading, justify="left" if heading == "Kept" else "right")
    for what, seconds in result["seconds"].items():
        table.add_row(what, f"{seconds:.2f}", f"{chosen.images / max(seconds, 1e-4):,.0f}")
    Console(stderr=True).print(table)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
