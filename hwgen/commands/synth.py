"""``hwgen synth``: what the hardware costs on a device, and how fast it runs there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwgen.commands import common


def synth(
    directory: common.Folder,
    target: Annotated[
        str,
        typer.Option(
            "--target", metavar="TARGET",
            help="ecp5-25, ecp5-85, up5k, hx8k, gw1n-9, xc7 or gates.",
        ),
    ],
    pnr: Annotated[bool, typer.Option("--pnr", help="Place and route too: gives Fmax.")] = False,
    liberty: Annotated[
        Path | None, typer.Option("--liberty", metavar="FILE", help="A cell library, for gates.")
    ] = None,
    seed: common.Seed = 1,
) -> None:
    """Synthesise a design, and place and route it if asked.

    Counts what the design takes on the target: DIR/synth.json.
    """
    common.design_folder(directory)
    if liberty is not None:
        common.existing_file(liberty)
    from hwgen.boards.synth import synthesise

    with common.progress_display() as progress:
        result = synthesise(
            directory, target=target, pnr=pnr, liberty=liberty, seed=seed, progress=progress
        )
    line = (
        f"{result['target']}: {common.number(result['lut'])} LUT, "
        f"{common.number(result['ff'])} FF, "
        f"{common.number(result['bram'])} BRAM, {common.number(result['dsp'])} DSP, "
        f"{common.number(result['mul_cells'])} multipliers"
    )
    if result.get("fmax_mhz") is not None:
        line += f", {result['fmax_mhz']:.1f} MHz"
    common.say(line)
