"""Random networks, from their integers to hardware: every code of every layer, on both simulators.

Many networks share one top and one run, since a build costs more than all of their cycles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.files import read_json, write_json
from hwgen.network import Conv2d, Network
from hwgen.sim.build import Simulator
from hwgen.sim.design import Design
from tests.end_to_end.batch import Batch, emit, open_batch
from tests.networks import random_network

# A network of a theme each; the themes left out here are in the slow batches.
FEW = (1, 2, 5, 8, 9, 11, 12, 13)
MANY = tuple(range(16, 46))
GROUPS = [MANY[n : n + 10] for n in range(0, 30, 10)]
BACK_TO_BACK = 20
WITH_STALLS = 6

Once = Callable[[str, Callable[[Path], object]], Path]
Outcomes = list[dict[str, Any]]


def batch_of(seeds: tuple[int, ...], build_once: Once) -> Batch:
    """The hardware of these seeds' networks, made once a test run."""
    return open_batch(
        build_once(
            f"batch-{seeds[0]}-{seeds[-1]}",
            lambda folder: emit([random_network(seed) for seed in seeds], folder),
        )
    )


def outcome_of(
    seeds: tuple[int, ...], seed: int, simulator: str, stalls: bool, build_once: Once
) -> dict[str, Any]:
    """What came of one network in the run of its batch, which is simulated once a test run."""
    images = WITH_STALLS if stalls else BACK_TO_BACK

    def make(folder: Path) -> None:
        batch = batch_of(seeds, build_once)
        recorded = batch.run(simulator=Simulator.of(simulator), stalls=stalls, images=images)
        write_json(
            folder / "outcomes.json",
            [
                {
                    "right": result.right,
                    "compared": result.compared,
                    "first": str(result.first),
                    "problems": result.problems,
                    "intervals": result.intervals,
                    "layers": {name: layer.compared for name, layer in result.layers.items()},
                }
                for result in batch.check(recorded, stalls=stalls, images=images)
            ],
        )

    folder = build_once(f"run-{seeds[0]}-{seeds[-1]}-{simulator}-{stalls}", make)
    outcome: dict[str, Any] = read_json(folder / "outcomes.json")[seeds.index(seed)]
    return outcome


def check(outcome: dict[str, Any], network: Network, stalls: bool) -> None:
    """Every code of every layer was compared, and all is right."""
    assert outcome["right"], (outcome["first"], outcome["problems"])
    images = WITH_STALLS if stalls else BACK_TO_BACK
    for layer in network.layers:
        assert outcome["layers"][layer.name] >= images * network.tensors[layer.name].size


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("seed", FEW)
def test_every_layer(
    seed: int, stalls: bool, simulator: str, build_once: Once, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(simulator)
    check(outcome_of(FEW, seed, simulator, stalls, build_once), random_network(seed), stalls)


@pytest.mark.slow
@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("seed", MANY)
def test_every_layer_of_many(
    seed: int, stalls: bool, simulator: str, build_once: Once, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(simulator)
    seeds = next(group for group in GROUPS if seed in group)
    check(outcome_of(seeds, seed, simulator, stalls, build_once), random_network(seed), stalls)


@pytest.mark.parametrize("seed", FEW)
def test_interval(seed: int, build_once: Once, verilator: Any) -> None:
    """20 images back to back come exactly as far apart as ports.json says, and no slower than
    their pixels, padding included, can go in.
    """
    outcome = outcome_of(FEW, seed, "verilator", False, build_once)
    design = batch_of(FEW, build_once).designs[FEW.index(seed)]
    assert outcome["intervals"] == [design.ports.interval] * (BACK_TO_BACK - 1)


def faulty(network: Network, rng: np.random.Generator) -> Network:
    """The network with one weight of one convolution changed by one."""
    layers = list(network.layers)
    places = [n for n, layer in enumerate(layers) if isinstance(layer, Conv2d)]
    n = int(rng.choice(places))
    weight = layers[n].weight.copy()
    at = tuple(int(rng.integers(side)) for side in weight.shape)
    weight[at] += 1 if weight[at] < 0 else -1
    layers[n] = replace(layers[n], weight=weight)
    return Network(tuple(layers))


def test_one_weight_wrong_is_seen(build_once: Once, verilator: Any) -> None:
    """The golden model of another network, one weight apart, must not agree with the hardware."""
    batch = batch_of(FEW, build_once)
    recorded = batch.run(simulator=Simulator.VERILATOR, stalls=False, images=WITH_STALLS)
    rng = np.random.default_rng(0)
    have = [
        n
        for n, design in enumerate(batch.designs)
        if any(isinstance(layer, Conv2d) for layer in design.network.layers)
    ]
    assert len(have) >= 6
    wrong = tuple(
        Design(faulty(design.network, rng), design.ports) if n in have else design
        for n, design in enumerate(batch.designs)
    )
    for n, result in enumerate(
        replace(batch, designs=wrong).check(recorded, stalls=False, images=WITH_STALLS)
    ):
        assert result.right == (n not in have)
        assert (result.first is not None) == (n in have)
