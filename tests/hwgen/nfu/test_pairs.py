"""Tensors in pairs of columns: the golden model of the rewritten network gives equal integers."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import Add, Conv2d, Input, Network, int64
from hwgen.nfu.compiler.pairs import Paired, all_paired, unpaired_places
from hwgen.nfu.compiler.program import compile_network
from hwgen.nfu.config import Config
from hwgen.sim import golden
from tests.hwgen.nfu.programs import chain, interpreted, requantise
from tests.networks import random_images, random_network


def check(network, tn):
    """Compare every layer; return the rounds."""
    changed, rounds = all_paired(network, tn, shift=False)
    images = random_images(network, 3, 0)
    wanted, found = golden.run(network, images), golden.run(changed, images)
    for name, values in found.items():
        places = np.arange(values[0].size)
        for names in reversed(rounds):
            if name in names:
                places = unpaired_places(places, names[name])
        for one, other in zip(wanted[name], values, strict=True):
            assert np.array_equal(one.reshape(-1)[places], other.reshape(-1)), name
    return rounds


@pytest.mark.parametrize("tn", [8, 32])
@pytest.mark.parametrize("seed", range(32))
def test_random_networks(seed, tn):
    check(random_network(seed), tn)


def block(width=12, stride=1, kernel=3, channels=4):
    """Two convolutions, the second with the input of the first added, then one of any stride."""
    rng = np.random.default_rng(width)

    def conv(name, source, ci, co, k=3, s=(1, 1), padding=(1, 1, 1, 1)):
        return Conv2d(name, source, rng.integers(-3, 4, (co, ci, k, k)),
                      int64(rng.integers(-9, 9, co)), int64([0] * co), s, padding)

    c = channels
    return Network((
        Input("x", 2, 6, width, 0, 255, 4), conv("a", "x", 2, c), requantise("b", "a", c),
        conv("c", "b", c, c), Add("d", ("c", "b"), (0, 0)), requantise("e", "d", c),
        conv("f", "e", c, 2 * c, kernel, (stride, stride), (kernel // 2,) * 4),
        requantise("g", "f", 2 * c)))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("width", [8, 10, 12])
def test_residual_block(width, kernel, stride):
    rounds = check(block(width, stride, kernel), 8)
    names = set().union(*rounds)
    # Of an odd step the result would have to be in pairs too, and an output is not.
    assert names == ({"a", "b", "c", "d", "e"} if stride == 2 else set())


def test_again_where_there_is_room():
    """A step of 4 columns is one of 2 pairs, and of 1 pair of pairs."""
    assert len(check(block(16, 4, 5, channels=2), 8)) == 2
    assert len(check(block(16, 2, 5, channels=2), 8)) == 1


def test_fewer_cycles():
    network = block(16, 2, 3, channels=8)
    config = Config(tn=16, acc_bits=32, total_bits=48, segments=False)
    pairs = {task.layer: task.steps for task in compile_network(network, config).tasks}
    single = {task.layer: task.steps
              for task in compile_network(network, config, pair=False).tasks}
    work = [sum(task.work for task in compile_network(network, config, pair=pair).tasks)
            for pair in (True, False)]
    # Nine taps of two digits and the addition; but for half as many columns.
    assert (pairs["e"], single["e"]) == (19, 19)
    assert work[0] < 0.6 * work[1]


def phases_of(network, tn):
    _, rounds = all_paired(network, tn)
    return {name: how.phase for names in rounds for name, how in names.items()}


def test_phases_alternate():
    """Of a residual block the tensors that are added have the same phase, the one between not."""
    phases = phases_of(block(16, 2, 3), 8)
    assert phases["a"] == phases["b"] == phases["c"] == phases["d"] == phases["e"]
    phases = phases_of(chain(16, 2, 4), 8)
    assert phases["b"] != phases["d"]


def test_places_of_phase_1():
    """One channel of one row and four columns: (-1, 0), (1, 2), (3, 4)."""
    places = unpaired_places(np.arange(6), Paired((1, 1, 4), 1))
    assert places.reshape(2, 3).T.tolist() == [[-1, 0], [1, 2], [3, -1]]


@pytest.mark.parametrize("width", [8, 14])
@pytest.mark.parametrize(("channels", "tn"), [(4, 8), (3, 8), (16, 32), (5, 32)])
def test_what_is_outside_counts_as_zero(channels, tn, width):
    """Large biases would be seen in the columns that are no pixels."""
    network = chain(width, 2, channels)
    assert 1 in phases_of(network, tn).values()
    config = Config(tn=tn, acc_bits=32, total_bits=48, memory_bytes=1 << 20)
    program = compile_network(network, config)
    image = random_images(network, 1, 3)
    wanted = golden.run(network, image)
    found = interpreted(program, network, image[0])
    assert {"b", "d", "f"} <= set(found)
    for name, values in found.items():
        assert np.array_equal(values, wanted[name][0]), name


@pytest.mark.parametrize("seed", range(0, 64, 3))
def test_random_networks_run(seed):
    network = random_network(seed)
    config = Config(tn=32, act_bits=16, acc_bits=40, total_bits=48, memory_bytes=1 << 24)
    program = compile_network(network, config)
    image = random_images(network, 1, 3)
    wanted = golden.run(network, image)
    for name, values in interpreted(program, network, image[0]).items():
        assert np.array_equal(values, wanted[name][0]), name


def test_fewer_steps_of_other_phases():
    network = chain(16, 2, 8)
    config = Config(tn=16, acc_bits=32, total_bits=48, segments=False)
    pairs = {task.layer: task.steps for task in compile_network(network, config).tasks}
    assert pairs["d"] == 6                                  # three rows of two pairs


def test_no_pairs_of_odd_width_or_full_lanes():
    assert all_paired(block(11, 2), 8)[1] == []
    assert all_paired(block(12, 2), 4)[1] == []
