"""``hwgen train``: a reference network of the papers, trained or with its published weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError


def train(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Which network, such as lenet5 (see docs/cli.md)."),
    ],
    data: common.Data,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The weights: a .safetensors file.")
    ],
    seed: common.Seed = 0,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Default: what the network needs.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to train.")
    ] = "auto",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="FILE.npz", help="Take published weights; nothing is trained."
        ),
    ] = None,
) -> None:
    """Train a reference network on DATA.

    Ctrl-C leaves a checkpoint beside FILE; the same command goes on from it.
    """
    common.writable_file(out)
    if weights is not None and epochs is not None:
        raise HwgenError("--weights takes the weights as they are: --epochs cannot be given too")
    from hwgen.compress.training import finetune

    result: dict[str, Any]
    if weights is not None:
        result = finetune.import_weights(name, data, out, weights)
    else:
        with common.progress_display() as progress:
            result = finetune.train(
                name, data, out, seed=seed, epochs=epochs, device=device, progress=progress
            )
    for note in result.get("notes", ()):
        print(f"hwgen: {note}", file=sys.stderr)
    common.say(f"{name}: accuracy {result['accuracy']:.2f} % on the test images; {out}")
