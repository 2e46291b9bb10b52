"""The report of a design folder, reached lazily: drawing it needs numpy."""

from __future__ import annotations

from pathlib import Path


def write_report(directory: Path) -> Path:
    """Write ``report.html`` into a design's folder and return its path (see hwgen.report.page)."""
    from hwgen.report.page import write_report as write

    return write(directory)
