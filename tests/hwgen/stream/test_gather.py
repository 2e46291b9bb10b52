# amaranth: UnusedElaboratable=no
from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import Flatten, Network, Requantise, int64
from hwgen.sim import golden
from hwgen.stream.beat import BeatFormat
from hwgen.stream.build import build_layer
from hwgen.stream.gather import Gather, Select
from hwgen.stream.plan import make_plan
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import SEEDS, run


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("beats", "count"), [(1, 1), (6, 1), (6, 2), (6, 3), (6, 6)])
def test_gather(beats, count, seed):
    source = BeatFormat((-4, 0), (3, 1), 2, 1, beats)
    rng = np.random.default_rng(0)
    values = rng.integers(source.lo, np.array(source.hi) + 1, (4 * beats, 2))
    dut = Gather(source=source, count=count)
    found, times = run(dut, values.tolist(), len(values) // count, seed=seed)
    assert found == [tuple(row) for row in values.reshape(-1, 2 * count).tolist()]
    if seed is None:
        assert times.taken == list(range(4 * beats))  # one beat a cycle in
        assert times.offered == [time + dut.latency for time in times.taken[count - 1 :: count]]


def test_gather_starts_anew_after_a_reset():
    dut = Gather(source=BeatFormat((0,), (9,), 1, 1, 6), count=3)
    beats = [(1,), (2,), None, (3,), (4,), (5,), (6,), (7,), (8,)]
    assert run(dut, beats, 2)[0] == [(3, 4, 5), (6, 7, 8)]


@pytest.mark.parametrize("count", [0, 4, 12])
def test_gather_of_parts(count):
    with pytest.raises(ValueError, match=f"A divisor of 6 beats needed, not {count}"):
        Gather(source=BeatFormat((0,), (1,), 1, 2, 3), count=count)


@pytest.mark.parametrize("seed", SEEDS)
def test_select(seed):
    source = BeatFormat((-4, 0, -1), (3, 9, 0), 3, 1, 20)
    format = BeatFormat((-1, -4, -4), (0, 3, 3), 3, 1, 20)
    values = np.random.default_rng(0).integers(source.lo, np.array(source.hi) + 1, (20, 3))
    dut = Select(layout=source.layout, picks=[2, 0, 0], format=format)
    found, times = run(dut, values.tolist(), 20, seed=seed)
    assert found == [tuple(row) for row in values[:, [2, 0, 0]].tolist()]
    if seed is None:
        assert times.offered == times.taken == list(range(20))


def test_select_of_wrong_lanes():
    with pytest.raises(ValueError, match="One pick for each of 2 lanes needed, not 3"):
        Select(
            layout=BeatFormat((0,), (1,), 1, 1, 1).layout,
            picks=[0, 0, 0],
            format=BeatFormat((0, 0), (1, 1), 2, 1, 1),
        )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 3, 1), (3, 1, 2)])
def test_flatten(shape, seed):
    """In C, H, W order, where a Requantise reads it and so a whole image is one beat."""
    source = layers.image_input(shape, -8, 7)
    size = int(np.prod(shape))
    reader = Requantise("z", "y", int64([1] * size), int64([0] * size), int64([0] * size), -8, 7, 0)
    network = Network((source, Flatten("y", "x"), reader))
    plan = make_plan(network)
    assert plan["y"].form == "gather"
    x = layers.images(source, 5)
    found, _ = run(
        build_layer(plan["y"], plan, layers.make_graph), layers.beats_of(x), 5, seed=seed
    )
    assert found == layers.beats_of(golden.run(network, x)["y"])
