"""``hwgen bitstream``: a design into a file that a board loads."""

from __future__ import annotations

from typing import Annotated

import typer

from hwgen.commands import common


def board_names() -> list[str]:
    """Return the names of all boards, for the shell's completion."""
    from hwgen.boards.board import MODULES

    return list(MODULES)


BoardName = Annotated[
    str,
    typer.Option(
        "--board", metavar="NAME", autocompletion=board_names,
        help="ulx3s, ulx3s-25f, ulx3s-12f, orangecrab, orangecrab-25f, ecpix5, icebreaker, "
        "hx8k-evn, tang-nano-9k or arty-a7.",
    ),
]


def bitstream(
    directory: common.Folder,
    board: BoardName,
    clock: Annotated[
        float | None,
        typer.Option("--clock", metavar="MHZ", help="Clock wanted; default: as fast as it goes."),
    ] = None,
    baud: Annotated[
        int, typer.Option("--baud", metavar="N", help="Of the serial line.")
    ] = 1_000_000,
    seed: common.Seed = 1,
) -> None:
    """Build a design for a board, with a serial line to the host.

    Places twice: the first tells the clock. DIR/bitstream-NAME/, DIR/bitstream.json.
    """
    common.design_folder(directory)
    from hwgen.boards.bitstream import make_bitstream

    with common.progress_display() as progress:
        result = make_bitstream(
            directory, board=board, clock_mhz=clock, baud=baud, seed=seed, progress=progress
        )
    rate = common.number(result["images_per_second"])
    if result["sha256"] is None:
        common.say(
            f"{board}: a project for Vivado at {result['clock_mhz']:.1f} MHz, {rate} images/s: "
            f"{result['file']}"
        )
    else:
        common.say(
            f"{board}: {common.number(result['lut'])} LUT, {common.number(result['bram'])} BRAM, "
            f"{result['clock_mhz']:.1f} MHz of {result['fmax_mhz']:.1f}, {rate} images/s, sha256 "
            f"{result['sha256'][:12]}"
        )
    common.say(f"load: {result['load']}" + (f"; {result['note']}" if result["note"] else ""))
