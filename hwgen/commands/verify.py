"""``hwgen verify``: the hardware against the golden model, code by code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError

GATE_IMAGES = 5


def verify(
    directory: common.Folder,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DATA",
            help="Test images, as for compress; without it seeded random codes and the extremes.",
        ),
    ] = None,
    images: Annotated[
        str, typer.Option("--images", metavar="N|all", help="How many images.")
    ] = "20",
    layers: Annotated[
        Literal["all", "last"], typer.Option("--layers", help="Whose codes are compared.")
    ] = "all",
    simulator: Annotated[
        Literal["verilator", "icarus"], typer.Option("--simulator", help="Which simulator.")
    ] = "verilator",
    stalls: Annotated[
        bool, typer.Option("--stalls", help="Random gaps at the input, stalls at the output.")
    ] = False,
    proof: Annotated[
        bool, typer.Option("--proof", help="Prove the linear layers from the emitted netlist.")
    ] = False,
    gates: Annotated[
        bool,
        typer.Option("--gates", help="Simulate the ECP5 netlist of `hwgen synth` too, 5 images."),
    ] = False,
    wave: Annotated[
        Path | None, typer.Option("--wave", metavar="FILE", help="Keep the waveform.")
    ] = None,
    seed: common.Seed = 0,
    mean: common.Mean = None,
    std: common.Std = None,
) -> None:
    """Simulate a design and compare it with the golden model.

    Every code must be equal: DIR/verify.json; exit code 1 and the first difference if one is not.
    """
    common.design_folder(directory)
    count = image_count(images)
    means, deviations = common.channel_values(mean, "--mean"), common.channel_values(std, "--std")
    if wave is not None:
        common.writable_file(wave)
    from hwgen.sim import nfu_verify
    from hwgen.sim.verify import verify as stream_verify

    nfu = nfu_verify.is_nfu(directory)
    run_verify = nfu_verify.verify if nfu else stream_verify
    if gates and nfu:
        raise HwgenError("--gates is of the streaming engine")
    if gates:
        from hwgen.sim.gates import find_netlist

        find_netlist(directory)             # so that its absence is told at once
    with common.progress_display() as progress:
        result = run_verify(
            directory, data=data, images=count, layers=layers, simulator=simulator,
            stalls=stalls, proof=proof, wave=wave, seed=seed,
            mean=means, std=deviations, progress=progress,
        )
        if gates:
            result["gates"] = check_netlist(
                directory, result["images"], data=data, simulator=simulator, seed=seed,
                mean=means, std=deviations, progress=progress,
            )
    common.say(summary(result))
    fault = failure(result)
    if gates:
        common.say(f"gate level: {summary(result['gates'])}")
        fault = fault or failure(result["gates"])
    if fault is not None:
        typer.echo(f"hwgen: {fault}", err=True)
        raise typer.Exit(1)


def check_netlist(directory: Path, images: int, **options: Any) -> dict[str, Any]:
    """Check the mapped netlist on the first images, and note the outcome in verify.json."""
    from hwgen.files import read_json, write_json
    from hwgen.sim.gates import check_gates

    outcome = check_gates(directory, images=min(images, GATE_IMAGES), **options)
    report = directory / "verify.json"
    write_json(report, {**read_json(report), "gates": outcome})
    return outcome


def image_count(text: str) -> int | Literal["all"]:
    """``"all"`` or a number of images, at least one."""
    if text == "all":
        return "all"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise HwgenError(f"--images must be a number from 1, or all, not {text!r}")
    return int(text)


def summary(result: dict[str, Any]) -> str:
    """What was compared, in a line."""
    line = (
        f"{common.number(result['images'])} images on {result['simulator']}: "
        f"{common.number(result['values_compared'])} values compared, "
        f"{common.number(result['mismatches'])} mismatches"
    )
    if result.get("accuracy_rtl") is not None:
        line += (
            f"; accuracy {common.percent(result['accuracy_golden'])} golden, "
            f"{common.percent(result['accuracy_rtl'])} hardware"
        )
    return line


def failure(result: dict[str, Any]) -> str | None:
    """The first thing that is wrong, in a line, or None if all is right."""
    if result["passed"]:
        return None
    first = result["first_difference"]
    if first is not None:
        place = ", ".join(f"{key} {first[key]}" for key in ("image", "channel", "row", "column"))
        port = f" at {first['port']}" if "port" in first else ""
        more = result["mismatches"] - 1
        return (
            f"layer {first['layer']}{port} differs: {place}: expected {first['expected']}, "
            f"got {first['got']}" + (f"; and {more:,} more" if more else "")
        )
    problems: list[str] = result["problems"]
    more = len(problems) - 1
    return problems[0] + (f"; and {more} more, see verify.json" if more else "")
