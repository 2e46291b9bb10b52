"""``hwgen rtl``: a network file to Verilog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError
from hwgen.files import read_json, write_atomic


def rtl(
    net: Annotated[Path, typer.Argument(metavar="net.npz", help="The network file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to fill.")],
    engine: Annotated[
        Literal["stream", "nfu"],
        typer.Option("--engine", help="stream: laid out in space; nfu: in time."),
    ] = "stream",
    clock: Annotated[
        float,
        typer.Option("--clock", metavar="MHZ", help="The clock of the constraint files."),
    ] = 100.0,
) -> None:
    """Write the Verilog of a network file.

    DIR gets net.npz, top.v, ports.json, plan.json; for a project that takes the design in,
    top.core (FuseSoC), top_instance.v, constraints/ and tb/, a test bench in plain Verilog.
    """
    if engine == "nfu":
        raise HwgenError("engine nfu is not built yet: use stream")
    common.existing_file(net)
    common.writable_folder(out)
    from hwgen.stream import emit

    with common.progress_display() as progress:
        plan = emit.write_design(net, out, progress=progress)
    take_records(net.parent, out, plan["digest"])
    hand_over(out, clock)
    common.say(
        f"{out}: {len(plan['layers'])} layers, {common.number(plan['interval'])} cycles an image; "
        f"digest {plan['digest'][:12]}"
    )


def hand_over(out: Path, clock: float = 100.0) -> None:
    """Write what a larger project needs beside a streaming design's top.v."""
    from hwgen.integrate.files import write_files
    from hwgen.sim.plain import write_bench

    write_files(out, read_json(out / "ports.json"), mhz=clock)
    write_bench(out)


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
