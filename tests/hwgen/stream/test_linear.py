# amaranth: UnusedElaboratable=no
"""Convolution, average pooling and dense layers as adder graphs, beside the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import AvgPool, Conv2d, Dense, int64
from hwgen.stream.beat import BeatFormat
from hwgen.stream.gather import Select
from hwgen.stream.linear import Linear
from hwgen.stream.plan import Options
from hwgen.stream.timing import part_interval, part_latency
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import SEEDS, run

AROUND = (1, 1, 1, 1)


def weights(kind, shape, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "any": rng.integers(-9, 10, shape),
        "zero": np.zeros(shape, np.int64),
        "lowest": np.full(shape, -128),
        "one": np.ones(shape, np.int64),
        "sparse": rng.choice([0, 0, 0, -4, 1, 6], shape),
    }[kind]


def conv(kind, shape, bias=None, **geometry):
    weight = weights(kind, shape)
    bias = [0] * shape[0] if bias is None else bias
    return Conv2d("y", "x", int64(weight), int64(bias), int64([0] * shape[0]), **geometry)


CONVOLUTIONS = {
    "3x3": (conv("any", (2, 2, 3, 3), [5, -700]), (2, 4, 5), -8, 7),
    "padded, stride 2": (
        conv("any", (2, 1, 3, 3), [1, 0], stride=(2, 2), padding=(1, 0, 2, 1)),
        (1, 5, 6),
        0,
        255,
    ),
    "dilated": (
        conv("sparse", (2, 1, 2, 3), dilation=(2, 1), padding=(0, 2, 1, 0)),
        (1, 5, 5),
        -3,
        12,
    ),
    "groups": (conv("any", (4, 2, 2, 2), [1, 2, 3, 4], groups=2), (4, 3, 4), -4, 3),
    "depthwise, two a channel": (
        conv("any", (4, 1, 2, 2), groups=2, stride=(2, 2)),
        (2, 4, 4),
        0,
        15,
    ),
    "all zero": (conv("zero", (2, 1, 3, 3), padding=AROUND), (1, 3, 3), -8, 7),
    "all zero, with bias": (conv("zero", (2, 1, 2, 2), [-9, 4]), (1, 3, 3), -8, 7),
    "most negative": (conv("lowest", (1, 2, 2, 2), [-1]), (2, 3, 3), -128, 127),
    "1x1 that only passes on": (conv("one", (1, 1, 1, 1)), (1, 2, 3), -8, 7),
    "1x1 option A": (
        Conv2d(
            "y", "x", int64([[[[1]]], [[[0]]], [[[4]]]]), int64([0] * 3), int64([0] * 3), (2, 2)
        ),
        (1, 5, 4),
        0,
        15,
    ),
    "1-bit codes": (conv("any", (2, 1, 2, 2), padding=(1, 1, 0, 0)), (1, 3, 3), 0, 1),
    "-1 and 0": (conv("any", (1, 1, 2, 2), [3], padding=(0, 0, 1, 1)), (1, 3, 3), -1, 0),
    "16-bit codes": (conv("lowest", (1, 1, 2, 2), padding=AROUND), (1, 3, 3), -32768, 32767),
    "one row": (conv("any", (1, 1, 1, 3), padding=(0, 1, 0, 1)), (1, 1, 6), 0, 9),
    "one pixel": (conv("any", (3, 2, 1, 1), [1, 1, 1]), (2, 1, 1), -8, 7),
}


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name, seed):
    layer, shape, lo, hi = CONVOLUTIONS[name]
    source = layers.image_input(shape, lo, hi)
    dut, found, wanted, times = layers.through(layer, source, seed=seed)
    assert found == wanted
    if seed is None:
        each = len(wanted) // 4
        assert (
            times.given[3 * each] - times.given[2 * each]
            == part_interval(dut)
            >= shape[1] * shape[2]
        )


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "shape", "lo", "hi"),
    [
        ((2, 2), (2, 2), (0, 0, 0, 0), (2, 4, 5), 0, 255),
        ((3, 3), (1, 1), AROUND, (1, 4, 3), -8, 7),
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 2, 2), -8, 7),
        ((4, 3), (1, 1), (0, 0, 0, 0), (3, 4, 3), -1, 0),
    ],
)
def test_average(kernel, stride, padding, shape, lo, hi, seed):
    layer = AvgPool("y", "x", kernel, stride, padding)
    _, found, wanted, _ = layers.through(layer, layers.image_input(shape, lo, hi), seed=seed)
    assert found == wanted


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("kind", ["any", "zero", "lowest", "sparse"])
@pytest.mark.parametrize("bias", [[0, 0, 0], [1 << 20, -5, 0]], ids=["no bias", "bias"])
def test_dense(kind, bias, seed):
    layer = Dense("y", "x", int64(weights(kind, (3, 6))), int64(bias), int64([0] * 3))
    source = layers.image_input((6, 1, 1), -8, 7)
    dut, found, wanted, times = layers.through(
        layer, source, seed=seed, count=8, options=Options(dense="graph")
    )
    assert found == wanted
    if seed is None:
        assert times.offered[0] - times.taken[0] == part_latency(dut)
        assert times.taken == list(range(8))


def test_latency_counts_graph_and_bias():
    """A Linear behind wires: the graph's levels, one more if any bias is not 0, one beat a
    cycle."""
    matrix = np.array([[1, 0], [3, 0], [-5, 0], [7, 0]])
    graph = layers.make_graph(matrix, int64([-8] * 4), int64([7] * 4))
    flat = BeatFormat((-8,) * 4, (7,) * 4, 4, 1, 1)
    assert graph.latency >= 3
    rng = np.random.default_rng(0)
    beats = [tuple(beat) for beat in rng.integers(-8, 8, (30, 4)).tolist()]
    for bias in ([0, 0], [0, 9]):
        select = Select(layout=flat.layout, picks=[0, 1, 2, 3], format=flat)
        dut = Linear(
            front={"select": select},
            schedule=graph,
            bias=int64(bias),
            format=BeatFormat((-200, 0), (200, 9), 2, 1, 1),
        )
        found, times = run(dut, beats, 30)
        assert found == [tuple((np.array(beat) @ matrix + bias).tolist()) for beat in beats]
        assert dut.latency == graph.latency + bool(bias[1])
        assert times.offered == [time + dut.latency for time in times.taken]


def test_every_small_window():
    """All 2-bit images of 2x2 pixels through one 2x2 kernel."""
    layer = conv("any", (2, 1, 2, 2), [1, -1])
    source = layers.image_input((1, 2, 2), -2, 1)
    pixels = (
        np.array([[n >> 2 * k & 3 for k in range(4)] for n in range(256)]).reshape(256, 1, 2, 2) - 2
    )
    from hwgen.network import Network
    from hwgen.stream.build import build_layer
    from hwgen.stream.plan import make_plan

    plan = make_plan(Network((source, layer)))
    dut = build_layer(plan["y"], plan, layers.make_graph)
    wanted = np.tensordot(pixels[:, 0], layer.weight[:, 0], ([1, 2], [1, 2])) + [1, -1]
    assert run(dut, layers.beats_of(pixels), 256)[0] == [tuple(row) for row in wanted.tolist()]
