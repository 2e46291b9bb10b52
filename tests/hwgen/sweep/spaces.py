"""Space files for tests, and sweeps of them with the stand-in for the command line."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.sweep.lead import STORE, Tally, run_sweep
from hwgen.sweep.space import Space, read_space
from hwgen.sweep.store import Store

FAKE = (sys.executable, str(Path(__file__).with_name("fake.py")))
TARGETS = ("ecp5-85", "up5k", "gates")
HEAD = 'model = "m.onnx"\ndata = "digits"\n'


def check(methods: Sequence[str], searched: bool) -> None:
    """Refuse one method, as the command line's own check would."""
    if "nonsense" in methods:
        raise HwgenError("--method: one of dyadic needed, not 'nonsense'")


def write(folder: Path, text: str, *, head: str = HEAD) -> Path:
    """A space file beside a model."""
    (folder / "m.onnx").write_bytes(b"a model")
    path = folder / "space.toml"
    path.write_text(head + text, encoding="utf-8")
    return path


def read(path: Path) -> Space:
    """Read a space file as the command line does."""
    return read_space(path, check_methods=check, targets=TARGETS, placed=TARGETS[:2])


def sweep(folder: Path, text: str, **options: Any) -> Tally:
    """Sweep a space with the stand-in, in ``folder / "out"``."""
    options = {"workers": 1, **options}
    if "scheduler" in options:
        options["workers"] = None
    return run_sweep(read(write(folder, text)), folder / "out", program=FAKE, **options)


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """What is in the store, by key."""
    with Store(folder / "out" / STORE) as store:
        return store.rows()


def runs(folder: Path) -> Counter[str]:
    """How often each command was begun."""
    path = folder / "runs.txt"
    return Counter(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [])
