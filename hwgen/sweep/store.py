"""What a sweep has found out: one SQLite file, a row a point, written when the point is finished.

Only the process that leads the sweep writes it. A row is one transaction: after a power cut a point
is there with all it has, or not at all.
"""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.sweep.points import Point

FORMAT = 1
FIGURES = (
    "digest", "accuracy_float", "accuracy_integer", "images", "adders", "digits", "nonzeros",
    "macs", "cycles", "latency", "lut", "lut_from", "ff", "bram", "dsp", "mul_cells", "fmax_mhz",
)
COLUMNS = (
    "key", "methods", "budget", "engine", "target", "seed", "until", "status", *FIGURES, "seconds",
    "workers", "failed_stage", "error", "log", "command", "finished",
)


class Store:
    """The file ``results.sqlite``; as a context manager it is closed at the end.

    Raises: HwgenError if it cannot be opened or is none of this format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._errors():
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.row_factory = sqlite3.Row
            found = self._base.execute("PRAGMA user_version").fetchone()[0]
            empty = not self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found != FORMAT and not empty:
                raise HwgenError(f"{path}: a store of format {FORMAT} needed, not {found}")
            if empty:
                others = ", ".join(COLUMNS[1:])
                self._base.executescript(
                    f"BEGIN; CREATE TABLE points (key TEXT PRIMARY KEY, {others}); "
                    f"PRAGMA user_version = {FORMAT}; COMMIT")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise HwgenError(f"{self.path}: {error}") from error

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return all points that are finished, done or failed, by key."""
        with self._errors():
            found = self._base.execute("SELECT * FROM points").fetchall()
        return {row["key"]: dict(row) for row in found}

    def put(self, point: Point, *, figures: Mapping[str, Any], seconds: float, workers: str,
            failed_stage: str | None = None, error: str | None = None,
            log: str | None = None) -> None:
        """Write a finished point, in place of what was there of it."""
        row = {
            **dict.fromkeys(COLUMNS), **{name: figures.get(name) for name in FIGURES},
            "key": point.key, "methods": point.method, "budget": point.budget,
            "engine": None if point.engine is None else point.engine.text,
            "target": point.target, "seed": point.seed, "until": point.until.value,
            "status": "done" if error is None else "failed", "seconds": round(seconds, 2),
            "workers": workers, "failed_stage": failed_stage, "error": error, "log": log,
            "command": point.command(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        marks = ", ".join("?" * len(COLUMNS))
        with self._errors():
            self._base.execute(
                f"INSERT OR REPLACE INTO points ({', '.join(COLUMNS)}) VALUES ({marks})",
                [row[name] for name in COLUMNS])


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which goes with the process, however it ends.

    Raises: HwgenError if another process holds it.
    """
    with open(folder / "sweep.lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HwgenError(f"Another sweep is running in {folder}") from None
        yield
