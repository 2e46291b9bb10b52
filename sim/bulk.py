"""Run very many images through a design, its results alone watched: the outside of sim/bulk.v."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.progress import Progress, silent
from hwgen.sim.build import HERE, Build, Simulator, Source, build, run
from hwgen.sim.ports import Ports
from hwgen.sim.recorded import Beats, Recorded
from hwgen.sim.stepwise import GRACE, progress_lines, standstill
from hwgen.sim.vectors import pack

PAUSE = 77  # of 256 cycles, with stalls
BEATS = 1 << 24  # sent or received in one go at most, so that memory stays bounded
BLOCK = 1 << 20  # beats packed at a time


@dataclass(frozen=True, eq=False)
class Run:
    """One run of the bulk simulation. Parameters: images, how many were sent; recorded, what came.
    """

    images: int
    recorded: Recorded


def every_image(
    verilog: Path,
    ports: Ports,
    images: Int64Array,
    *,
    cache: Path,
    simulator: Simulator = Simulator.VERILATOR,
    stalls: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Run]:
    """Send images through a design, as many in one go as memory allows, and record the results.

    Parameters as for ``hwgen.sim.stepwise.every_layer``; the recorded taps are empty.
    Returns: the runs, in order; each starts with the first image that the one before did not send.
    Raises: HwgenError if the simulator is missing or fails, or the ports are not those of a stream
    top.
    """
    names = (
        ports.top,
        ports.clock,
        ports.reset,
        ports.input.prefix,
        ports.output.prefix,
        ports.frame_error,
    )
    if names != ("top", "clk", "rst", "s_axis", "m_axis", "frame_error"):
        raise HwgenError(
            f"A top with clk, rst, s_axis, m_axis and frame_error needed, not {', '.join(names)}"
        )
    progress("building the bulk simulation", 0, 0)
    built = build(
        Source(
            (HERE / "bulk.v", verilog),
            "bulk",
            (("bulk", "done"),),
            ("clk", "rst"),
            {"IN_BITS": 8 * ports.input.bytes, "OUT_BITS": 8 * ports.output.bytes},
        ),
        simulator,
        cache,
    )
    step = max(1, BEATS // max(ports.input.beats, ports.output.beats))
    return [
        _go(
            built,
            ports,
            images,
            start,
            min(start + step, len(images)),
            cache,
            stalls,
            seed,
            progress,
        )
        for start in range(0, len(images), step)
    ]


def _go(
    built: Build,
    ports: Ports,
    images: Int64Array,
    start: int,
    stop: int,
    cache: Path,
    stalls: bool,
    seed: int,
    progress: Progress,
) -> Run:
    count, total = stop - start, len(images)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as place:
        folder = Path(place)
        _write_stimulus(folder / "stim.bin", ports, images[start:stop])
        pause = PAUSE if stalls else 0
        plusargs = {
            "stim": "stim.bin",
            "result": "result.txt",
            "beats": ports.input.beats,
            "total": count * ports.input.beats,
            "wanted": count * ports.output.beats,
            "patience": 5 * standstill(ports) + 1000,
            "grace": GRACE,
            "gaps": pause,
            "stalls": pause,
            "hold": standstill(ports) if stalls else 0,
            "seed": seed & 0xFFFFFFFF,
            "tick": max(1, count // 200) * ports.output.beats,
        }

        def told(text: str, done: int, wanted: int) -> None:
            progress(text, start + done * count // wanted, total)

        run(
            built,
            module="hwgen.sim.bench_bulk",
            folder=folder,
            log=cache / "every_image.log",
            seed=seed,
            plusargs=plusargs,
            on_line=progress_lines("comparing every image", told),
        )
        return Run(count, parse_results((folder / "result.txt").read_bytes(), ports))


def _write_stimulus(path: Path, ports: Ports, images: Int64Array) -> None:
    """Write the beats, most significant byte first, as Verilog's $fread takes them."""
    step = max(1, BLOCK // ports.input.beats)
    with open(path, "wb") as file:
        for start in range(0, len(images), step):
            words = np.frombuffer(pack(images[start : start + step], ports.input), np.uint8)
            file.write(words.reshape(-1, ports.input.bytes)[:, ::-1].tobytes())


def parse_results(text: bytes, ports: Ports) -> Recorded:
    """Return what bulk.v wrote down.

    Raises: HwgenError if it did not come to its end.
    """
    lines, _, end = text.rpartition(b"end ")
    numbers = end.split()
    if len(numbers) != 6:
        raise HwgenError("The simulation ended before all results were written")
    digits = 2 * ports.output.bytes
    width = 12 + 1 + 1 + 1 + digits + 1  # cycle, tlast, tdata, with blanks and line end
    if len(lines) % width:
        raise HwgenError("The simulation wrote results of an unexpected form")
    characters = np.frombuffer(lines, np.uint8).reshape(-1, width)
    cycles = np.zeros(len(characters), np.int64)
    for place in range(12):
        cycles = cycles << 4 | NIBBLE[characters[:, place]]
    data = NIBBLE[characters[:, 15 : 15 + digits]][:, ::-1]
    unknown: npt.NDArray[np.bool_] = np.any(data > 15, axis=1)
    bits = (data[:, :, None] >> np.arange(4) & 1).astype(np.uint8).reshape(len(data), -1)
    _, first, taken, breaches = (int(number) for number in numbers[:4])
    return Recorded(
        output=Beats(bits, unknown),
        lasts=characters[:, 13] == ord("1"),
        cycles=cycles,
        first_cycle=first,
        taken=taken,
        frame_error=numbers[4] != b"0",
        stuck=numbers[5] != b"0",
        breaches=(f"{ports.output.prefix}: {breaches} times a result changed before it was taken",)
        if breaches
        else (),
    )


def _nibbles() -> Int64Array:
    table = np.full(256, 16, np.int64)
    for value in range(16):
        table[ord(f"{value:x}")] = value
    return table


NIBBLE = _nibbles()  # value of a hexadecimal character, 16 for any other
