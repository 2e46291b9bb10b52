"""Run benchmarks one after the other: ``python -m benchmarks [--out DIR] [NAME ...]``.

Every other module of this package is a benchmark, also by itself: ``python -m benchmarks.NAME``. It
prints its figures, and writes them as JSON to the file after ``--json`` if it takes that; of one
that does not, the last line that is JSON is kept. A benchmark that takes ``--data`` gets the
folder ``mnist`` of HWGEN_DATA, one that takes ``--faces`` the folder ``faces``; both are left out
without it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_json
from hwgen.tools import run_tool

HERE = Path(__file__).resolve().parent
FOLDERS = {"--data": "mnist", "--faces": "faces"}  # of HWGEN_DATA


@dataclass(frozen=True)
class Outcome:
    """How one benchmark went. Parameters: name; seconds; words, what to say of it; failed."""

    name: str
    seconds: float
    words: str
    failed: bool = False


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def options_of(name: str) -> set[str]:
    """Return the long options that a benchmark names in its source."""
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    return {
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        and node.value.startswith("--") and " " not in node.value
    }


def run(name: str, out: Path) -> Outcome:
    """Run one benchmark; its output goes to standard output and into ``out``."""
    options, arguments = options_of(name), []
    result = out / f"{name}.json"
    for option, folder in FOLDERS.items():
        if option not in options:
            continue
        data = os.environ.get("HWGEN_DATA")
        if not data:
            return Outcome(name, 0.0, "left out: HWGEN_DATA is not set")
        arguments += [option, str(Path(data) / folder)]
    if "--json" in options:
        arguments += ["--json", str(result)]
    print(f"\n== {name} ==", flush=True)
    start = time.monotonic()
    try:
        text = run_tool(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            cwd=HERE.parent, log=out / f"{name}.log", on_line=lambda line: print(line, flush=True),
        )
    except HwgenError as error:
        return Outcome(name, time.monotonic() - start, str(error), failed=True)
    if "--json" not in options:
        write_json(result, last_json(text))
    return Outcome(name, time.monotonic() - start, str(result))


def last_json(text: str) -> object:
    """Return the last line of an output that is JSON, or {}."""
    for line in reversed(text.splitlines()):
        if line.startswith(("{", "[")):
            try:
                found: object = json.loads(line)
            except ValueError:
                continue
            return found
    return {}


def main() -> int:
    """Run those that are asked for; 0 if all of them went well."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="The figures of the README.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="where JSON goes")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in names()]
    if unknown:
        parser.error(f"a benchmark of {', '.join(names())} is needed, not {unknown[0]}")
    try:
        out = make_folder(chosen.out.resolve())
    except HwgenError as error:
        parser.error(str(error))
    outcomes = [run(name, out) for name in chosen.names or names()]
    table = Table("benchmark", "seconds", "result", box=None)
    for outcome in outcomes:
        table.add_row(outcome.name, f"{outcome.seconds:.0f}", outcome.words)
    Console(markup=False, highlight=False).print(table)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
