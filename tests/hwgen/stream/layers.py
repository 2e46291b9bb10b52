"""Builds the component of one layer as the engine does, and runs it beside the golden model."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwgen.adders.schedule import schedule
from hwgen.adders.search import build
from hwgen.network import Input, Int64Array, Layer, Network, int64
from hwgen.sim import golden
from hwgen.stream.build import build_layer
from hwgen.stream.plan import Options, make_plan
from tests.hwgen.stream.harness import Times, run


def make_graph(matrix: Int64Array, lo: Int64Array, hi: Int64Array, *objective: Any) -> Any:
    """Return the schedule of a matrix's adder graph."""
    return schedule(build(matrix, input_lo=lo, input_hi=hi))


def image_input(shape: tuple[int, int, int], lo: int, hi: int) -> Input:
    """Return an Input ``x`` of (channels, height, width)."""
    return Input("x", *shape, lo, hi, 0)


def beats_of(tensor: Int64Array, lanes: int | None = None) -> list[tuple[int, ...]]:
    """Return images (N, C, H, W) as beats of ``lanes`` channels, the missing ones 0."""
    pixels = tensor.transpose(0, 2, 3, 1).reshape(-1, tensor.shape[1])
    lanes = lanes or tensor.shape[1]
    padded = np.zeros((len(pixels), -(-tensor.shape[1] // lanes) * lanes), np.int64)
    padded[:, : tensor.shape[1]] = pixels
    return [tuple(beat) for beat in padded.reshape(-1, lanes).tolist()]


def images(source: Input, count: int, seed: int = 0) -> Int64Array:
    """Return images: all least, all most, then random ones."""
    shape = (source.channels, source.height, source.width)
    rng = np.random.default_rng(seed)
    found = rng.integers(source.lo, source.hi, (count, *shape), endpoint=True)
    found[0], found[1] = source.lo, source.hi
    return int64(found)


def through(
    layer: Layer, source: Input, *, seed: int | None, count: int = 4, options: Options | None = None
) -> tuple[Any, list[Any], list[Any], Times]:
    """Run a layer that reads ``x``; return component, beats that came, beats that golden wants,
    times."""
    network = Network((source, layer))
    plan = make_plan(network, options)
    own = plan[layer.name]
    dut = build_layer(own, plan, make_graph)
    x = images(source, count)
    wanted = beats_of(golden.run(network, x)[layer.name], own.format.lanes)
    found, times = run(dut, beats_of(x), len(wanted), seed=seed)
    return dut, found, wanted, times
