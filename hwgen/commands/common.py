"""What several verbs share: checks before long work, the progress display, figures as text."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hwgen.errors import HwgenError
from hwgen.files import make_folder, replace_on_success
from hwgen.progress import Progress

Data = Annotated[
    str,
    typer.Option(
        "--data", metavar="DATA",
        help="digits, mnist:DIR, cifar10:DIR, faces:DIR, npz:FILE or images:DIR.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder made by `hwgen rtl`.")]
Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="M[,M...]", help="Mean of the training images, a channel each."),
]
Std = Annotated[
    str | None,
    typer.Option("--std", metavar="S[,S...]", help="Their standard deviation, a channel each."),
]


def existing_file(path: Path) -> Path:
    """Return ``path``; raise HwgenError if it is not a file."""
    if not path.is_file():
        came = "a folder" if path.is_dir() else "not there"
        raise HwgenError(f"{path} must be a file; it is {came}")
    return path


def design_folder(path: Path) -> Path:
    """Return ``path``; raise HwgenError if it is not a folder that ``hwgen rtl`` wrote."""
    if not path.is_dir():
        came = "a file" if path.exists() else "not there"
        raise HwgenError(f"{path} must be a folder made by `hwgen rtl`; it is {came}")
    for name in ("net.npz", "top.v", "ports.json"):
        if not (path / name).is_file():
            raise HwgenError(f"{path} must be a folder made by `hwgen rtl`; it holds no {name}")
    return path


def writable_file(path: Path) -> Path:
    """Return ``path``; raise HwgenError now, not after minutes, if no file can be written there."""
    if path.is_dir():
        raise HwgenError(f"{path} must be a file to write; it is a folder")
    make_folder(path.parent)
    _try_to_write(path.parent, path)
    return path


def writable_folder(path: Path) -> Path:
    """Make the folder if need be and return it; raise HwgenError if it cannot be written in."""
    make_folder(path)
    _try_to_write(path, path)
    return path


def _try_to_write(folder: Path, named: Path) -> None:
    class Tried(Exception):
        pass

    try:
        with replace_on_success(folder / ".hwgen-write"):
            raise Tried                     # so that no file is left
    except Tried:
        return
    except HwgenError as error:
        raise HwgenError(f"Cannot write {named}: {str(error).rpartition(': ')[2]}") from error


def channel_values(text: str | None, flag: str) -> tuple[float, ...] | None:
    """``"0.1307"`` or ``"0.49,0.48,0.45"`` as numbers; raise HwgenError for anything else."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise HwgenError(f"{flag} must be numbers with commas between, not {text!r}") from None


def say(text: str) -> None:
    """One line of result on standard output."""
    print(text, flush=True)


@contextmanager
def progress_display() -> Iterator[Progress]:
    """Draw progress on standard error: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Display

    with Display(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=30),
        TaskProgressColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    ) as display:
        task = display.add_task("", total=None)

        def show(text: str, done: int, total: int) -> None:
            display.update(task, description=text, completed=done, total=total or None)

        yield show


class _Lines:
    """Progress without a terminal: lines of new text, at most one in five seconds.

    The first second is silent, so that bad input gets its one line and no more.
    """

    def __init__(self) -> None:
        self._text = ""
        self._next = time.monotonic() + 1.0

    def __call__(self, text: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not text or text == self._text or now < self._next:
            return
        self._text, self._next = text, now + 5.0
        print(f"  {text}" + (f" ({done} of {total})" if total else ""), file=sys.stderr, flush=True)


def percent(value: float | None) -> str:
    """An accuracy, 0 to 1, as a figure for reading; "-" where there is none."""
    return "-" if value is None else f"{100 * value:.2f} %"


def number(value: Any) -> str:
    """A count with its thousands apart, or "-" where there is none."""
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
