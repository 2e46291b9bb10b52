"""``hwgen rtl``: a network file to Verilog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError


def rtl(
    net: Annotated[Path, typer.Argument(metavar="net.npz", help="The network file.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to fill.")],
    engine: Annotated[
        Literal["stream", "nfu"],
        typer.Option("--engine", help="stream: laid out in space; nfu: in time."),
    ] = "stream",
) -> None:
    """Write the Verilog of a network file.

    DIR gets net.npz, top.v, ports.json, plan.json.
    """
    if engine == "nfu":
        raise HwgenError("engine nfu is not built yet: use stream")
    common.existing_file(net)
    common.writable_folder(out)
    from hwgen.stream import emit

    with common.progress_display() as progress:
        plan = emit.write_design(net, out, progress=progress)
    common.say(
        f"{out}: {len(plan['layers'])} layers, {common.number(plan['interval'])} cycles an image; "
        f"digest {plan['digest'][:12]}"
    )
