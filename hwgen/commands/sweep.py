"""``hwgen sweep``: methods x budgets x engines x targets x seeds, kept and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwgen.commands import common
from hwgen.errors import HwgenError
from hwgen.files import write_json

if TYPE_CHECKING:
    from hwgen.sweep.lead import Tally
    from hwgen.sweep.space import Space


def sweep(
    space: Annotated[
        Path, typer.Argument(metavar="SPACE.toml", help="Which choices to try; see docs/sweeps.md.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Default: SPACE.sweep beside the file."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, max=4096,
                     help="Stages at a time on this machine; default one a core."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="tcp://HOST:PORT",
                     help="A dask scheduler with workers of its own, in place of this machine."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what failed in an earlier run.")
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and count its points.")
    ] = False,
) -> None:
    """Run many settings and compare them.

    Methods x budgets x engines x targets x seeds, from compress to the placed design. The same
    command goes on after any interruption. Exit code 1 if a point failed.
    """
    if workers is not None and scheduler is not None:
        raise HwgenError("--workers or --scheduler, not both")
    common.existing_file(space)
    found = read(space)
    stages = ", ".join(f"at most {amount} {stage}" for stage, amount in most_stages(found).items())
    if dry:
        common.say(f"{space}: {_points(len(found.points))}; {stages}")
        return
    folder = common.writable_folder(out or space.with_suffix(".sweep"))
    import distributed  # noqa: F401  (missing: said now, not after the display is up)

    from hwgen.sweep.lead import run_sweep
    from hwgen.sweep.page import write_report

    try:
        with common.progress_display() as progress:
            tally = run_sweep(found, folder, workers=workers, scheduler=scheduler, retry=retry,
                              progress=progress)
    except BaseException:
        if (folder / "results.sqlite").is_file():
            write_report(found, folder)
        raise
    front = write_report(found, folder)
    write_json(folder / "sweep.json", summary(tally, front))
    common.say(f"{folder / 'report.html'}: {_points(tally.points)}, {tally.done} done, "
               f"{tally.failed} failed; {len(front)} not dominated")
    if tally.failed:
        typer.echo(f"hwgen: {_points(tally.failed)} failed; why is in the report and in "
                   f"{folder / 'results.sqlite'}", err=True)
        raise typer.Exit(1)


def _points(amount: int) -> str:
    return f"{amount} point" if amount == 1 else f"{amount} points"


def read(path: Path) -> Space:
    """Read a space file and hold it to what the other verbs take.

    Raises: HwgenError, one line.
    """
    from hwgen.boards.targets import TARGETS
    from hwgen.compress.choices.plan import parse_methods
    from hwgen.sweep.space import read_space

    def check(methods: Sequence[str], searched: bool) -> None:
        parse_methods(methods, searched=searched)

    placed = [name for name, target in TARGETS.items() if target.nextpnr is not None]
    return read_space(path, check_methods=check, targets=list(TARGETS), placed=placed)


def most_stages(space: Space) -> dict[str, int]:
    """Return how many runs of each stage a space needs, if no two networks are equal."""
    seen: dict[str, set[tuple[Any, ...]]] = {}
    for point in space.points:
        before: tuple[Any, ...] = (point.source.contents,)
        for stage in point.stages:
            before = (*before, point.words(stage))
            seen.setdefault(stage, set()).add(before)
    return {stage: len(found) for stage, found in seen.items()}


def summary(tally: Tally, front: Sequence[str]) -> dict[str, Any]:
    """Return the content of sweep.json."""
    return {
        "points": tally.points, "done": tally.done, "failed": tally.failed, "kept": tally.kept,
        "stages": {"ran": dict(tally.ran), "reused": dict(tally.reused)},
        "front": list(front), "seconds": tally.seconds,
    }
