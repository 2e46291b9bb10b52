"""A JSON file of rows of which a run replaces its own and keeps the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwgen.files import read_json, write_json


def write_rows(path: Path | None, rows: Sequence[dict[str, Any]], names: Sequence[str],
               **head: Any) -> None:
    """Write rows into a file, in place of earlier ones that are of the same.

    Parameters: path, None for no file; names, of the values that say what a row is of; head, what
    the file holds besides.
    """
    if path is None:
        return

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in names)

    made = {key(row) for row in rows}
    earlier = read_json(path)["rows"] if path.exists() else []
    write_json(path, {**head, "rows": [row for row in earlier if key(row) not in made] + [*rows]})
