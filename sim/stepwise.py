"""Run designs cycle by cycle, every layer watched: the side of sim/bench.py that is outside the
simulator.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.progress import Progress, silent
from hwgen.sim.build import Simulator, Source, build, run
from hwgen.sim.design import Design
from hwgen.sim.ports import Ports, Tap
from hwgen.sim.recorded import Beats, Recorded
from hwgen.sim.vectors import pack, parse_beats

GRACE = 200  # cycles watched after the last result, for beats that should not be


def every_layer(
    verilog: Path,
    designs: Sequence[Design],
    images: Sequence[Int64Array],
    *,
    cache: Path,
    simulator: Simulator = Simulator.VERILATOR,
    stalls: bool = False,
    seed: int = 0,
    wave: Path | None = None,
    frames: Sequence[Sequence[int]] | None = None,
    progress: Progress = silent,
) -> list[Recorded]:
    """Send images through the networks of one top, side by side, and record every beat of every
    stream.

    Parameters
    ----------
    verilog : Path
        File that holds the top, the same for all ``designs``.
    designs : sequence of Design
        The networks; their ports name the instances and prefixes.
    images : sequence of (N, C, H, W) int64
        Codes for each network.
    cache : Path
        Folder that keeps builds.
    stalls : bool
        Random gaps at the inputs and stalls at the outputs.
    wave : Path, optional
        VCD file to write.
    frames : sequence, for each network, of int, for each image; optional
        Beats of the image's frame: it is cut, or goes on with itself, to that length. By default
        every image is one whole frame.

    Raises: HwgenError if the simulator is missing or fails.
    """
    source = _source(verilog, [design.ports for design in designs], wave=wave is not None)
    progress("building the simulation", 0, 0)
    built = build(source, simulator, cache)
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as place:
        folder = Path(place)
        nets = [
            _net(n, design, batch, folder, frames[n] if frames else None)
            for n, (design, batch) in enumerate(zip(designs, images, strict=True))
        ]
        first = designs[0].ports
        slowest = max(standstill(design.ports) for design in designs)
        job = {
            "clock": first.clock,
            "reset": first.reset,
            "out": "out.json",
            "seed": seed,
            "stalls": stalls,
            "patience": 5 * slowest + 1000,
            "grace": GRACE,
            # Latency counts from idle: the walk over the first padding is done by then. With stalls
            # the first pixel comes right after the reset instead.
            "rest": 0 if stalls else max(design.ports.interval for design in designs),
            "nets": nets,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        run(
            built,
            module="hwgen.sim.bench",
            folder=folder,
            log=cache / "every_layer.log",
            seed=seed,
            plusargs={"job": "job.json"},
            wave=wave,
            on_line=progress_lines("comparing every layer", progress),
        )
        return _read(folder, designs)


def progress_lines(text: str, progress: Progress) -> Callable[[str], None]:
    """Return what passes the lines ``progress DONE TOTAL`` of a simulator's output on."""

    def on_line(line: str) -> None:
        words = line.split()
        if len(words) == 3 and words[0] == "progress":
            progress(text, int(words[1]), int(words[2]))

    return on_line


def _source(verilog: Path, ports: Sequence[Ports], *, wave: bool) -> Source:
    """Name the signals to watch: those of the ports, and each tap's in the module of its instance.
    """
    first = ports[0]
    if any((p.top, p.clock, p.reset) != (first.top, first.clock, first.reset) for p in ports):
        raise HwgenError("Networks that run side by side must share top, clock and reset")
    write = [first.clock, first.reset]
    read: list[tuple[str, str]] = []
    for p in ports:
        write += [f"{p.input.prefix}_{name}" for name in ("tdata", "tvalid", "tlast")]
        write += [f"{p.output.prefix}_tready"]
        read += [(first.top, f"{p.input.prefix}_tready")]
        read += [(first.top, f"{p.output.prefix}_{name}") for name in ("tdata", "tvalid", "tlast")]
        read += [(first.top, p.frame_error)] if p.frame_error else []
        read += [
            (tap.instance.replace(".", "__") or first.top, name)
            for tap in watched(p)
            for name in (tap.valid, tap.ready, tap.payload)
        ]
    return Source((verilog,), first.top, tuple(dict.fromkeys(read)), tuple(write), wave=wave)


def standstill(ports: Ports) -> int:
    """Return for how many cycles nothing must be taken until even the input has to wait."""
    latency = 4 * ports.interval if ports.latency is None else ports.latency
    return 2 * latency + 4 * ports.interval


def watched(ports: Ports) -> list[Tap]:
    """Return the taps that have a stream of their own."""
    return [tap for tap in ports.taps if not tap.alias]


def _net(
    number: int, design: Design, images: Int64Array, folder: Path, frames: Sequence[int] | None
) -> dict[str, object]:
    ports = design.ports
    lengths = [ports.input.beats] * len(images) if frames is None else list(frames)
    words = f"words_{number}.bin"
    with open(folder / words, "wb") as file:
        for n, length in enumerate(lengths):
            image = pack(images[n : n + 1], ports.input)
            repeats = -(-length // ports.input.beats)
            file.write((image * repeats)[: length * ports.input.bytes])
    return {
        "input": {"prefix": ports.input.prefix, "bytes": ports.input.bytes},
        "output": {"prefix": ports.output.prefix, "beats": ports.output.beats},
        "frame_error": ports.frame_error,
        "words": words,
        "frames": lengths,
        "reach": standstill(ports),
        "taps": [
            {
                "layer": tap.layer,
                "instance": tap.instance,
                "valid": tap.valid,
                "ready": tap.ready,
                "payload": tap.payload,
            }
            for tap in watched(ports)
        ],
    }


def _read(folder: Path, designs: Sequence[Design]) -> list[Recorded]:
    seen = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    results = []
    for n, (design, net) in enumerate(zip(designs, seen["nets"], strict=True)):
        streams = [
            _beats(folder / f"beats_{n}_{m}.txt") for m in range(1 + len(watched(design.ports)))
        ]
        results.append(
            Recorded(
                output=streams[0],
                lasts=np.array([last == "1" for last in net["output_lasts"]], bool),
                cycles=np.array(net["output_cycles"], np.int64),
                first_cycle=net["first_cycle"],
                taken=net["taken"],
                taps={
                    tap.layer: beats
                    for tap, beats in zip(watched(design.ports), streams[1:], strict=True)
                },
                breaches=tuple(net["breaches"]),
                frame_error=net["frame_error"] != "0",
                stuck=not net["done"],
                trace=net["trace"],
            )
        )
    return results


def _beats(path: Path) -> Beats:
    text = path.read_bytes()
    return Beats(*parse_beats(text, text.find(b"\n")) if text else parse_beats(b"", 0))
