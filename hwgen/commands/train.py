"""``hwgen train``: a reference network of the papers, trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwgen.commands import common


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which network: digits or lenet5.")],
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
) -> None:
    """Train a reference network on DATA."""
    common.writable_file(out)
    from hwgen.compress import finetune

    with common.progress_display() as progress:
        result = finetune.train(
            name, data, out, seed=seed, epochs=epochs, device=device, progress=progress
        )
    common.say(f"{name}: accuracy {result['accuracy']:.2f} % on the test images; {out}")
