"""``hwgen run``: images through a board."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hwgen.commands import common
from hwgen.commands.bitstream import BoardName


def run(
    directory: common.Folder,
    data: Annotated[
        str, typer.Argument(metavar="IMAGE|DATA", help="A picture, or mnist:DIR and the like.")
    ],
    board: BoardName,
    port: Annotated[
        str, typer.Option("--port", metavar="PORT", help="Its serial port, as /dev/ttyUSB0.")
    ],
    images: Annotated[
        int | None, typer.Option("--images", min=1, metavar="N", help="How many; default: all.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every answer with the golden model.")
    ] = False,
    baud: Annotated[
        int | None,
        typer.Option("--baud", min=1, metavar="N", help="Default: that of bitstream.json."),
    ] = None,
) -> None:
    """Send images to a board and show its answers.

    DIR/run.json; exit code 1 and the first difference if --check finds one.
    """
    common.design_folder(directory)
    from hwgen.boards.run import run_board

    with common.progress_display() as progress:
        result = run_board(
            directory, board=board, port=port, data=data, images=images, check=check, baud=baud,
            progress=progress,
        )
    common.say(summary(result))
    first = result["first_difference"]
    if first is not None:
        more = result["mismatches"] - 1
        typer.echo(
            f"hwgen: image {first['image']}: {first['value']} differs: expected "
            f"{first['expected']}, got {first['got']}" + (f"; and {more:,} more" if more else ""),
            err=True,
        )
        raise typer.Exit(1)


def summary(result: dict[str, Any]) -> str:
    """What the board answered, in a few lines."""
    lines = []
    if result["images"] == 1:
        if result["classes"]:
            lines.append(f"class {result['classes'][0]}")
        lines.append("scores " + " ".join(str(score) for score in result["scores"]))
    least, most = result["cycles"]["least"], result["cycles"]["most"]
    cycles = common.number(least) + (f" to {common.number(most)}" if most != least else "")
    line = f"{common.number(result['images'])} images, {cycles} cycles each at "
    line += f"{result['clock_mhz']:g} MHz; {result['images_per_second']:,.0f} images/s by cable"
    if result["accuracy"] is not None:
        line += f"; accuracy {common.percent(result['accuracy'])}"
    if result["checked"]:
        line += f"; {common.number(result['mismatches'])} mismatches with the golden model"
    if result["resent"]:
        line += f"; {common.number(result['resent'])} frames sent again"
    return "\n".join([*lines, line])
