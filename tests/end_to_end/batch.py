"""Several networks as hardware in one top, simulated side by side: one build, one run for all of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hwgen.network import Network
from hwgen.sim import golden
from hwgen.sim.build import Simulator
from hwgen.sim.compare import Comparison, compare
from hwgen.sim.design import Design, check_ports
from hwgen.sim.ports import parse_ports
from hwgen.sim.stepwise import every_layer
from hwgen.stream.emit import emit_batch
from tests.networks import random_images


def emit(networks: Sequence[Network], folder: Path) -> list[Design]:
    """Write batch.v and return what is in it."""
    ports = [parse_ports(value) for value in emit_batch(networks, folder)]
    return [
        check_ports(Design(network, replace(port, top="batch")))
        for network, port in zip(networks, ports, strict=True)
    ]


def check(
    designs: Sequence[Design],
    folder: Path,
    *,
    simulator: Simulator,
    stalls: bool,
    images: int,
    seed: int = 0,
) -> list[Comparison]:
    """Run images through all of them and compare every layer of each with the golden model."""
    sent = [random_images(design.network, images, seed + n) for n, design in enumerate(designs)]
    recorded = every_layer(
        folder / "batch.v",
        designs,
        sent,
        cache=folder / ".sim",
        simulator=simulator,
        stalls=stalls,
        seed=seed,
    )
    return [
        compare(design, golden.run(design.network, codes), run, images=images, flat_out=not stalls)
        for design, codes, run in zip(designs, sent, recorded, strict=True)
    ]
