"""Run programs on an NFU with memory on chip, in a simulator: the outside of sim/nfu_chip.v."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.nfu.isa import MEMORY_WINDOW, REGISTER, Fault
from hwgen.sim.build import HERE, Build, Simulator, Source, build, run

Answer = bytes | tuple[str, int]        # bytes read, or ("done", cycles)

GAPS = 77                     # of 256 beats, with stalls
MARGIN = 100_000              # cycles beyond what a program should take, before it counts as stuck


@dataclass(eq=False)
class Script:
    """Commands for sim/nfu_chip.v, and what becomes of their answers."""

    numbers: list[np.ndarray] = field(default_factory=list)
    answers: list[tuple[str, int]] = field(default_factory=list)

    def write(self, address: int, raw: bytes) -> None:
        """Write bytes, a multiple of 4."""
        if len(raw) % 4:
            raise ValueError(f"A multiple of 4 bytes needed, not {len(raw)}")
        if raw:
            self._put([1, address, len(raw) // 4])
            self.numbers.append(np.frombuffer(raw, "<u4"))

    def read(self, address: int, count: int) -> None:
        """Read ``count`` bytes, a multiple of 4."""
        if count % 4:
            raise ValueError(f"A multiple of 4 bytes needed, not {count}")
        self._put([2, address, count // 4])
        self.answers.append(("read", count // 4))

    def start(self, limit: int) -> None:
        """Start the NFU and wait until it is done."""
        self._put([3, limit])
        self.answers.append(("start", 1))

    def register(self, name: str) -> None:
        """Read a register."""
        self.read(REGISTER[name].offset, 4)

    def _put(self, numbers: Sequence[int]) -> None:
        self.numbers.append(np.array(numbers, "<u4"))

    def data(self) -> bytes:
        """Return the file."""
        return np.concatenate([*self.numbers, np.zeros(1, "<u4")]).astype(">u4").tobytes()

    def parse(self, text: str) -> list[Answer]:
        """Return an answer for each command that has one: bytes read, or ("done", cycles).

        Raises: HwgenError if an access was refused or answers are missing.
        """
        lines = text.splitlines()
        if wrong := [line for line in lines if line.startswith("error")]:
            raise HwgenError(f"The NFU refused an access at 0x{wrong[0].split()[1]}")
        found: list[Answer] = []
        at = 0
        for kind, count in self.answers:
            part = lines[at : at + count]
            if len(part) != count:
                raise HwgenError("The simulation ended before all answers were written")
            at += count
            if kind == "read":
                values = np.array([int(line[2:], 16) for line in part], "<u4")
                found.append(values.tobytes())
            else:
                word, cycles = part[0].split()
                found.append((word, int(cycles)))
        return found


def build_chip(verilog: Path, simulator: Simulator, cache: Path, *, wave: bool = False) -> Build:
    """Build the simulation of an NFU with memory on chip (module ``top``)."""
    return build(
        Source((HERE / "nfu_chip.v", verilog), "nfu_chip", (("nfu_chip", "done"),), ("clk", "rst"),
               wave=wave), simulator, cache)


def run_script(built: Build, script: Script, cache: Path, *, gaps: int = 0, seed: int = 0,
               wave: Path | None = None, log: str = "nfu.log") -> list[Answer]:
    """Run a script, and return its answers."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as place:
        folder = Path(place)
        (folder / "script.bin").write_bytes(script.data())
        run(built, module="hwgen.sim.bench_bulk", folder=folder, log=cache / log, seed=seed,
            plusargs={"script": "script.bin", "result": "result.txt", "gaps": gaps, "seed": seed},
            wave=wave)
        return script.parse((folder / "result.txt").read_text())


@dataclass(frozen=True, eq=False)
class Ran:
    """What one image did.

    Parameters: layers, (C, H, W) integers of each layer that is stored; registers, the counters and
    the status by name; ended, "done" or "stuck".
    """

    layers: dict[str, Int64Array]
    registers: dict[str, int]
    ended: str

    @property
    def fault(self) -> Fault:
        """What the status register says."""
        return Fault(self.registers["status"] >> 4 & 15)


COUNTERS = ("status", "position", "cycles", "compute_cycles", "stall_cycles", "instructions")


def add_program(script: Script, program: Program, images: Int64Array, limit: int) -> None:
    """Append to a script: load a program, then for each image send it, run, read the counters and
    all results. ``limit``: cycles after which a run counts as stuck.
    """
    script.write(MEMORY_WINDOW, program.image)
    script.write(REGISTER["program"].offset, bytes(4))
    for image in images:
        for address, raw in program.pack_input(image):
            script.write(MEMORY_WINDOW + address, raw)
        script.start(limit)
        for name in COUNTERS:
            script.register(name)
        for region in program.results:
            script.read(MEMORY_WINDOW + region.address, region.words * program.config.word_bytes)


def take_results(answers: list[Answer], program: Program, network: Network,
                 count: int) -> list[Ran]:
    """Take the answers of ``add_program`` for ``count`` images off the front of a list."""
    ran = []
    for _ in range(count):
        ended, *_ = answers.pop(0)
        assert isinstance(ended, str)
        registers = {name: int.from_bytes(_raw(answers), "little") for name in COUNTERS}
        stored = {n: _raw(answers) for n in range(len(program.results))}
        ran.append(Ran(layers_of(program, network, stored), registers, ended))
    return ran


def layers_of(program: Program, network: Network, stored: Mapping[int, bytes]
              ) -> dict[str, Int64Array]:
    """Return the integers of all stored layers; stored, the bytes of each result region."""
    layers: dict[str, Int64Array] = {}
    for n, region in enumerate(program.results):
        tensor = network.tensors[region.layer]
        places, values = program.values(region, stored[n], tensor.lo or 0)
        flat = np.zeros(tensor.size, np.int64)
        flat[places] = values
        layers[region.layer] = flat.reshape(tensor.shape)
    return layers


def _raw(answers: list[Answer]) -> bytes:
    raw = answers.pop(0)
    assert isinstance(raw, bytes)
    return raw
