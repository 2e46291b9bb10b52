"""What benchmarks and tools import of hwgen is there, inside functions as well."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]
FILES = sorted([*HERE.glob("benchmarks/**/*.py"), *HERE.glob("tools/*.py")])


def imported(path):
    """Return (module, name) of every ``from hwgen... import`` and ``from benchmarks...``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        and node.module.partition(".")[0] in ("hwgen", "benchmarks")
        for alias in node.names
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HERE)))
def test_imports(path):
    for module, name in imported(path):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
