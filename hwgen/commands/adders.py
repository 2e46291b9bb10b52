"""``hwgen adders``: a constant matrix to a shared shift-and-add graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hwgen.commands import common


def adders(
    matrix: Annotated[
        Path, typer.Argument(metavar="matrix.npy", help="Integers, (inputs, outputs): y = x @ W.")
    ],
    conv: Annotated[
        str | None,
        typer.Option("--conv", metavar="KH,KW", help="The rows are (kh, kw, cin) in that order."),
    ] = None,
    delays: Annotated[
        Literal["none", "column", "row"],
        typer.Option("--delays", help="What a raster step lets the graph share over time."),
    ] = "none",
    in_bits: Annotated[int, typer.Option("--in-bits", min=1, help="Bits of an input.")] = 8,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Inputs are unsigned.")] = False,
    objective: Annotated[
        Literal["adders", "bits"], typer.Option("--objective", help="What to make few.")
    ] = "bits",
    max_depth: Annotated[
        int | None, typer.Option("--max-depth", min=0, help="Adders in a row, at most.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="Time to search.")] = 5.0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=0, help="Steps to search, whatever the time.")
    ] = None,
    seed: common.Seed = 0,
    verilog: Annotated[
        Path | None, typer.Option("--verilog", metavar="FILE", help="Write module adder_graph.")
    ] = None,
    pipelined: Annotated[
        bool, typer.Option("--pipelined", help="A register behind each adder; adds clk and en.")
    ] = False,
) -> None:
    """Find the shift-and-add graph of a constant matrix.

    Prints JSON: adders, depth, bits and latency of the graph found.
    """
    common.existing_file(matrix)
    if verilog is not None:
        common.writable_file(verilog)
    from hwgen.adders import command, compiled
    from hwgen.files import json_text

    if (reason := compiled.missing()) is not None:
        typer.echo(f"hwgen: {reason}; a weaker search is made without", err=True)
    result = command.run(
        matrix, conv=conv, delays=delays, in_bits=in_bits, unsigned=unsigned, objective=objective,
        max_depth=max_depth, seconds=seconds, steps=steps, seed=seed, verilog=verilog,
        pipelined=pipelined,
    )
    common.say(json_text(result).rstrip("\n"))
