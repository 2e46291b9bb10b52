"""``hwgen rtl``: a network file to Verilog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError
from hwgen.files import read_json, write_atomic
from hwgen.progress import Progress


def rtl(
    net: Annotated[Path, typer.Argument(metavar="net.npz", help="The network file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to fill.")],
    engine: Annotated[
        Literal["stream", "nfu"],
        typer.Option("--engine", help="stream: laid out in space; nfu: in time."),
    ] = "stream",
    cycles: Annotated[
        float | None,
        typer.Option("--cycles-per-pixel", metavar="N",
                     help="Stream: the cheapest engine that takes a pixel every N cycles."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--fit", metavar="TARGET|BOARD",
                     help="Stream: the fastest that a chip, or a board with its shell, holds."),
    ] = None,
    pixels: Annotated[
        int | None,
        typer.Option("--pixels-per-cycle", metavar="N",
                     help="Stream: pixels of a row that come in one cycle, 1, 2 or 4."),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option("--frame", metavar="ROWSxCOLUMNS",
                     help="Stream: slide the network over frames, an output a window."),
    ] = None,
    clock: Annotated[
        float | None,
        typer.Option("--clock", metavar="MHZ",
                     help="The clock of the constraint files; default 100."),
    ] = None,
    tn: Annotated[
        int | None, typer.Option("--tn", metavar="N", help="nfu: lanes, 4, 8, 16 (default) or 32.")
    ] = None,
    code: Annotated[
        Literal["wide", "narrow", "base", "product"] | None,
        typer.Option("--code", help="nfu: how a weight's digit is stored; product: multipliers."),
    ] = None,
    memory: Annotated[
        Literal["chip", "axi"] | None,
        typer.Option("--memory", help="nfu: memory on chip (default), or outside behind AXI4."),
    ] = None,
    ports: Annotated[
        Literal["host", "stream"] | None,
        typer.Option("--ports", help="nfu: host (default), which loads program and images; "
                     "stream, the program built in, pixels in and results out."),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option("--cores", metavar="N",
                     help="nfu, --ports stream: NFUs that take images in turn; default 1."),
    ] = None,
) -> None:
    """Write the Verilog of a network file.

    DIR gets net.npz, top.v, ports.json, plan.json; of an NFU also program.bin and nfu.json; for a
    project that takes it in, top.core (FuseSoC), top_instance.v, constraints/ and, where pixels
    come as a stream, tb/, a test bench in plain Verilog.
    """
    if engine == "stream" and any(one is not None for one in (tn, code, memory, ports, cores)):
        raise HwgenError("--tn, --code, --memory, --ports and --cores are of --engine nfu")
    if cores is not None and ports != "stream":
        raise HwgenError("--cores needs --ports stream: a host starts one NFU")
    if ports == "stream" and memory == "axi":
        raise HwgenError("--ports stream needs --memory chip: the program is built in")
    if engine == "nfu" and any(one is not None for one in (cycles, target, pixels, frame)):
        raise HwgenError(
            "--cycles-per-pixel, --fit, --pixels-per-cycle and --frame are of --engine stream"
        )
    if pixels not in (None, 1, 2, 4):
        raise HwgenError(f"--pixels-per-cycle: 1, 2 or 4 needed, not {pixels}")
    size = None if frame is None else _size(frame)
    common.existing_file(net)
    common.writable_folder(out)
    from hwgen.integrate.files import MHZ, write_files

    with common.progress_display() as progress:
        if engine == "nfu":
            from hwgen.nfu import emit as nfu_emit

            plan = nfu_emit.write_design(net, out, tn=tn or 16, code=code or "wide",
                                         axi=memory == "axi", streamed=ports == "stream",
                                         cores=1 if cores is None else cores, progress=progress)
        else:
            plan = _stream(net, out, cycles, target, pixels or 1, size, progress)
        if engine == "stream" or ports == "stream":
            from hwgen.sim.plain import write_bench

            write_bench(out)
        write_files(out, read_json(out / "ports.json"), mhz=MHZ if clock is None else clock)
    take_records(net.parent, out, plan["digest"])
    common.say(
        f"{out}: {len(plan['layers'])} layers, {common.number(plan['interval'])} cycles an image; "
        f"digest {plan['digest'][:12]}"
    )


def _stream(
    net: Path,
    out: Path,
    cycles: float | None,
    target: str | None,
    pixels: int,
    frame: tuple[int, int] | None,
    progress: Progress,
) -> dict[str, Any]:
    """The streaming engine."""
    from hwgen.stream import emit
    from hwgen.stream.layer_plan import Options

    return emit.write_design(net, out, options=Options(pixels=pixels), cycles_per_pixel=cycles,
                             frame=frame,
                             chip=None if target is None else chip(target, _image_bits(net)),
                             progress=progress)


def _size(text: str) -> tuple[int, int]:
    """Read ROWSxCOLUMNS."""
    rows, _, columns = text.partition("x")
    if not (rows.isascii() and rows.isdigit() and columns.isascii() and columns.isdigit()):
        raise HwgenError(f"--frame: ROWSxCOLUMNS needed, as 512x512, not {text!r}")
    return int(rows), int(columns)


def _image_bits(net: Path) -> int:
    """Return the bits of a network's image on its way in, in whole bytes a pixel."""
    from hwgen.netfile import load
    from hwgen.ranges import width_of

    image = load(net).input
    pixel = -(-image.channels * width_of(image.lo, image.hi)[0] // 8)
    return 8 * pixel * image.height * image.width


def chip(name: str, image_bits: int = 0) -> Any:
    """Return what the plan has to know of a target of ``hwgen synth``, or of a board of
    ``hwgen bitstream``: of that, what the shell leaves beside an image of so many bits.

    Raises: HwgenError if there is no such target or board, or nothing is known of its size.
    """
    from hwgen.boards.board import MODULES, find_board, room
    from hwgen.boards.targets import TARGETS, find_target
    from hwgen.stream.chip import chip_of

    if name in MODULES:
        board = find_board(name)
        family, sizes = find_target(board.target).family.name, room(board)
    elif name in TARGETS:
        family, sizes = TARGETS[name].family.name, TARGETS[name].sizes
    else:
        known = [one.name for one in TARGETS.values() if one.sizes is not None]
        known += [board for board in MODULES if room(find_board(board)) is not None]
        raise HwgenError(f"--fit: one of {', '.join(known)} needed, not {name!r}")
    if sizes is None:
        raise HwgenError(f"A target with a size needed to fit into, not {name}")
    found = chip_of(name, family, lut=sizes.lut, ff=sizes.ff, bram=sizes.bram)
    if name in MODULES:
        found = replace(found, bram=sizes.bram - found.blocks(-(-image_bits // 8), 8))
    return found


def take_records(source: Path, out: Path, digest: str) -> None:
    """Copy what ``hwgen compress`` noted beside a network file, for the report, if it is of it."""
    try:
        found = read_json(source / "compress.json")
    except HwgenError:
        return
    if source.resolve() == out.resolve() or not isinstance(found, dict):
        return
    if found.get("digest") == digest:
        for path in (source / "compress.json", source / "before.npz"):
            if path.is_file():
                write_atomic(out / path.name, path.read_bytes())
