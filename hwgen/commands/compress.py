"""``hwgen compress``: a trained network to a file of integers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError


def compress(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A .safetensors of `hwgen train`, .onnx, .pt2, .pth:NAME, or python:FILE:FACTORY.",
        ),
    ],
    data: common.Data,
    out: Annotated[Path, typer.Option("--out", metavar="net.npz", help="The network file.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", metavar="NAME[:options]",
            help="dyadic (default; a quantised model keeps its weights), linear-features, "
            "lower-kernel, periodic or ternary; may be repeated.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", metavar="POINTS", min=0.0,
            help="Accuracy that may be lost: what the methods leave open is searched within it; "
            "without --method all of them.",
        ),
    ] = None,
    objective: Annotated[
        Literal["adders", "luts", "cycles", "macs"],
        typer.Option("--objective", help="What the search makes few."),
    ] = "adders",
    finetune: Annotated[
        int,
        typer.Option("--finetune", metavar="EPOCHS", min=0, help="Train on as integers, after it."),
    ] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to fine-tune.")
    ] = "auto",
    act_bits: Annotated[
        int, typer.Option("--act-bits", min=2, max=16, help="Bits of a code between layers.")
    ] = 8,
    seed: common.Seed = 0,
    mean: common.Mean = None,
    std: common.Std = None,
) -> None:
    """Compress a trained network to integers of few digits.

    Writes net.npz, and beside it compress.json and before.npz.
    """
    if out.suffix != ".npz":
        raise HwgenError(f"--out must name an .npz file, not {out}")
    means, deviations = common.channel_values(mean, "--mean"), common.channel_values(std, "--std")
    common.writable_file(out)
    from hwgen.compress import pipeline

    with common.progress_display() as progress:
        result = pipeline.compress(
            model, tuple(method or ()), data, out,
            budget=budget, objective=objective, finetune=finetune, device=device, seed=seed,
            act_bits=act_bits, mean=means, std=deviations, progress=progress,
        )
    for note in result.get("notes", ()):
        common.say(f"{out}: {note}")
    common.say(
        f"{out}: accuracy {common.percent(result['accuracy_float'])} float, "
        f"{common.percent(result['accuracy_integer'])} integer on {result['images']} images; "
        f"digest {result['digest'][:12]}"
    )
