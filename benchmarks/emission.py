"""Seconds to write the Verilog of one large layer: ``python -m benchmarks.emission [--density D]``.

A 3x3 convolution of 128 channels to 64, weights of at most two signed digits, few of them not 0:
about 5,000 adders at the default density. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import numpy as np

from hwgen.network import Conv2d, Input, Network, Requantise, int64
from hwgen.stream.emit import header_lines, make_top
from hwgen.verilog import to_verilog


def layer(density: float, inputs: int = 128, outputs: int = 64) -> Network:
    """Return a network of one convolution with this share of weights that are not 0."""
    rng = np.random.default_rng(0)
    shape = (outputs, inputs, 3, 3)
    digits = (1 << rng.integers(0, 5, (*shape, 2))) * rng.choice([-1, 0, 1], (*shape, 2))
    weight = digits.sum(axis=-1) * (rng.random(shape) < density)
    return Network((
        Input("image", inputs, 16, 16, 0, 15, 0),
        Conv2d("conv1", "image", int64(weight), int64(rng.integers(-9, 9, outputs)),
               int64([0] * outputs)),
        Requantise("relu1", "conv1", int64([1] * outputs), int64([0] * outputs),
                   int64([6] * outputs), 0, 15, 0),
    ))


def measure(density: float) -> dict[str, float]:
    """Return the figures: sizes, wall seconds, and the processor's seconds, Yosys included."""
    network = layer(density)
    started = time.monotonic()
    top = make_top(network)
    searched = time.monotonic() - started
    started, before = time.monotonic(), sum(os.times()[:4])
    text = to_verilog(top, name="top", header=header_lines(network))
    schedule = top.parts["conv1"].schedule
    return {
        "adders": schedule.graph.adders,
        "ff_bits": schedule.ff_bits,
        "search_seconds": round(searched, 1),
        "emission_seconds": round(time.monotonic() - started, 1),
        "emission_cpu_seconds": round(sum(os.times()[:4]) - before, 1),
        "verilog_bytes": len(text),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to write the Verilog of one large layer.")
    parser.add_argument("--density", type=float, default=0.08,
                        help="share of weights that are not 0")
    print(json.dumps(measure(parser.parse_args().density)))


if __name__ == "__main__":
    main()
