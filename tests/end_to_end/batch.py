"""Several networks as hardware in one top, simulated side by side: one build, one run for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwgen.files import read_json, write_json
from hwgen.netfile import load, save
from hwgen.network import Network
from hwgen.sim import golden
from hwgen.sim.build import Simulator
from hwgen.sim.compare import Comparison, compare
from hwgen.sim.design import Design, check_ports
from hwgen.sim.ports import parse_ports
from hwgen.sim.recorded import Recorded
from hwgen.sim.stepwise import every_layer
from hwgen.sim.vectors import random_images
from hwgen.stream.emit import emit_batch


@dataclass(frozen=True, eq=False)
class Batch:
    """Designs that share one Verilog file. Parameters: folder, with batch.v; designs."""

    folder: Path
    designs: tuple[Design, ...]

    def run(
        self, *, simulator: Simulator, stalls: bool, images: int, seed: int = 0
    ) -> list[Recorded]:
        """Send images through all of them at once."""
        return every_layer(
            self.folder / "batch.v",
            self.designs,
            [
                random_images(design.network, images, seed + n)
                for n, design in enumerate(self.designs)
            ],
            cache=self.folder / ".sim",
            simulator=simulator,
            stalls=stalls,
            seed=seed,
        )

    def check(
        self, recorded: Sequence[Recorded], *, stalls: bool, images: int, seed: int = 0
    ) -> list[Comparison]:
        """Compare every layer of each with the golden model."""
        return [
            compare(
                design,
                golden.run(design.network, random_images(design.network, images, seed + n)),
                run,
                images=images,
                flat_out=not stalls,
            )
            for n, (design, run) in enumerate(zip(self.designs, recorded, strict=True))
        ]


def emit(networks: Sequence[Network], folder: Path) -> None:
    """Write batch.v, and beside it what ``open_batch`` reads."""
    ports = emit_batch(networks, folder)
    write_json(folder / "ports.json", ports)
    for n, network in enumerate(networks):
        save(network, folder / f"net_{n}.npz")


def open_batch(folder: Path) -> Batch:
    """Return the batch that ``emit`` wrote into a folder."""
    designs = []
    for n, value in enumerate(read_json(folder / "ports.json")):
        ports = replace(parse_ports(value), top="batch")
        designs.append(check_ports(Design(load(folder / f"net_{n}.npz"), ports)))
    return Batch(folder, tuple(designs))
