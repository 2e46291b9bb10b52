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
) -> None:
    """Write the Verilog of a network file.

    DIR gets net.npz, top.v, ports.json, plan.json; of an NFU also program.bin and nfu.json.
    """
    if engine == "stream" and (tn, code, memory) != (None, None, None):
        raise HwgenError("--tn, --code and --memory are of --engine nfu")
    common.existing_file(net)
    common.writable_folder(out)
    with common.progress_display() as progress:
        if engine == "nfu":
            from hwgen.nfu import emit as nfu_emit

            plan = nfu_emit.write_design(net, out, tn=tn or 16, code=code or "wide",
                                         axi=memory == "axi", progress=progress)
        else:
            from hwgen.stream import emit

            plan = emit.write_design(net, out, progress=progress)
    take_records(net.parent, out, plan["digest"])
    common.say(
        f"{out}: {len(plan['layers'])} layers, {common.number(plan['interval'])} cycles an image; "
        f"digest {plan['digest'][:12]}"
    )


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
