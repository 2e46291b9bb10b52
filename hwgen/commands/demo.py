"""``hwgen demo``: the whole way once, on scikit-learn's embedded digits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from hwgen.commands import common
from hwgen.commands.verify import failure
from hwgen.files import write_json
from hwgen.progress import Progress

TARGET = "ecp5-85"


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where everything lands.")
    ] = Path("build/demo"),
    seed: common.Seed = 0,
) -> None:
    """Go the whole way once, on small embedded digits.

    Trains, compresses, generates, verifies, proves, synthesises and reports; takes minutes.
    """
    summary = run_demo(out, seed=seed)
    show(summary)
    if summary["failure"] is not None:
        typer.echo(f"hwgen: {summary['failure']}", err=True)
        raise typer.Exit(1)


@dataclass
class _Steps:
    """The steps of the demo, one line on standard error each, and how long they took."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        self.progress(what, 0, 0)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)
        typer.echo(f"{name:<9} {self.seconds[name]:6.1f} s  {what}", err=True)


def run_demo(out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Go the whole way and return the summary, which is also written to ``out/demo.json``.

    Parameters
    ----------
    out : Path
        Gets model.safetensors, net.npz, compress.json, top.v, ports.json, plan.json, verify.json,
        synth.json, report.html and demo.json.
    seed : int
        Of the training and of the vectors.

    Raises: HwgenError where a step does; files of earlier steps stay.
    """
    common.writable_folder(out)
    with common.progress_display() as progress:
        steps = _Steps(progress)
        with steps.step("load", "packages"):
            stages = _stages()
        summary = _run_steps(stages, out, seed, steps)
    write_json(out / "demo.json", summary)
    return summary


def _stages() -> dict[str, Callable[..., Any]]:
    from hwgen.boards.synth import synthesise
    from hwgen.commands.report_html import write_report
    from hwgen.compress import pipeline
    from hwgen.compress.training import finetune
    from hwgen.sim.verify import verify
    from hwgen.stream import emit

    return {
        "train": finetune.train, "compress": pipeline.compress, "rtl": emit.write_design,
        "verify": verify, "synth": synthesise, "report": write_report,
    }


def _run_steps(
    stages: dict[str, Callable[..., Any]], out: Path, seed: int, steps: _Steps
) -> dict[str, Any]:
    model, net = out / "model.safetensors", out / "net.npz"
    progress = steps.progress
    with steps.step("train", "a small CNN on scikit-learn's 8x8 digits"):
        stages["train"]("digits", "digits", model, seed=seed, progress=progress)
    with steps.step("compress", "to dyadic integer weights: net.npz"):
        compressed = stages["compress"](
            str(model), ("dyadic",), "digits", net, seed=seed, progress=progress
        )
    with steps.step("rtl", "the streaming engine's Verilog: top.v"):
        plan = stages["rtl"](net, out, progress=progress)
    with steps.step("verify", "every code of every layer of every held-out image, and the proof"):
        verified = stages["verify"](
            out, data="digits", images="all", layers="all", proof=True, seed=seed,
            progress=progress,
        )
    with steps.step("synth", f"synthesis, place and route for {TARGET}"):
        synth = stages["synth"](out, target=TARGET, pnr=True, progress=progress)
    with steps.step("report", "report.html"):
        report = stages["report"](out)
    fmax = synth["fmax_mhz"]
    return {
        "digest": compressed["digest"],
        "accuracy_float": compressed["accuracy_float"],
        "accuracy_integer": compressed["accuracy_integer"],
        "accuracy_hardware": verified["accuracy_rtl"],
        "images": verified["images"],
        "values_compared": verified["values_compared"],
        "mismatches": verified["mismatches"],
        "proof": {layer["name"]: layer["proof"] for layer in verified["layers"]},
        "mul_cells": synth["mul_cells"],
        "dsp": synth["dsp"],
        "target": TARGET,
        "lut": synth["lut"],
        "ff": synth["ff"],
        "bram": synth["bram"],
        "fmax_mhz": fmax,
        "interval": plan["interval"],
        "images_per_second": fmax * 1e6 / plan["interval"] if fmax else None,
        "failure": failure(verified),
        "report": str(report),
        "seconds": {**steps.seconds, "all": round(sum(steps.seconds.values()), 1)},
    }


def show(summary: dict[str, Any]) -> None:
    """The summary on standard output; it fits a screen."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="hwgen demo", box=None, show_header=False, title_justify="left")
    proofs = list(summary["proof"].values())
    fmax, rate = summary["fmax_mhz"], summary["images_per_second"]
    seconds = summary["seconds"]
    rows = (
        ("accuracy, float", common.percent(summary["accuracy_float"])),
        ("accuracy, integer", common.percent(summary["accuracy_integer"])),
        ("accuracy, hardware", common.percent(summary["accuracy_hardware"])),
        ("images compared", common.number(summary["images"])),
        ("values compared", common.number(summary["values_compared"])),
        ("mismatches", common.number(summary["mismatches"])),
        ("layers proven", f"{proofs.count('full')} in full, {proofs.count('parts')} in parts"),
        ("multipliers", common.number(summary["mul_cells"])),
        ("DSP blocks", common.number(summary["dsp"])),
        (f"LUTs ({summary['target']})", common.number(summary["lut"])),
        ("flip-flops, block RAMs",
         f"{common.number(summary['ff'])}, {common.number(summary['bram'])}"),
        ("Fmax", f"{fmax:.1f} MHz" if fmax else "-"),
        ("cycles an image", common.number(summary["interval"])),
        ("images per second", f"{rate:,.0f}" if rate else "-"),
        ("seconds", ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())),
        ("report", summary["report"]),
    )
    for title, value in rows:
        table.add_row(title, value)
    Console(markup=False, highlight=False).print(table)
