"""``hwgen sweep`` with the true command line behind it, on a network of one matrix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen.commands import app
from hwgen.files import read_json
from hwgen.sweep.store import Store
from tests.hwgen.report.filled import Page

MODULE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()
"""
SPACE = """
model = "python:net.py:net"
data = "npz:images.npz"
mean = "0"
std = "1"
methods = ["dyadic:P9", "ternary:layers=nothing"]
until = "compress"
"""


def fill(folder: Path) -> Path:
    """A network, images, and a space of two points, one of which fails."""
    (folder / "net.py").write_text(MODULE)
    draw = np.random.default_rng(0)
    np.savez(folder / "images.npz", x=draw.integers(0, 256, (60, 1, 4, 4)).astype(np.uint8),
             y=draw.integers(0, 3, 60))
    path = folder / "space.toml"
    path.write_text(SPACE)
    return path


def with_hwgen() -> dict[str, str]:
    """The environment with this Python's ``hwgen`` first on the path."""
    folder = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_sweep(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = fill(tmp_path)
    folder = tmp_path / "space.sweep"
    assert app.run(["sweep", str(path), "--workers", "2"]) == 1
    out, err = capfd.readouterr()
    assert re.fullmatch(re.escape(str(folder / "report.html"))
                        + r": 2 points, 1 done, 1 failed; 1 not dominated\n", out)
    assert err.splitlines()[-1] == (
        f"hwgen: 1 point failed; why is in the report and in {folder / 'results.sqlite'}")
    made = read_json(folder / "sweep.json")
    assert list(made) == ["points", "done", "failed", "kept", "stages", "front", "seconds"]
    assert made["stages"] == {"ran": {"compress": 2}, "reused": {}}
    with Store(folder / "results.sqlite") as store:
        rows = {row["methods"]: row for row in store.rows().values()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "dyadic:P9": "done", "ternary:layers=nothing": "failed"}
    failed = rows["ternary:layers=nothing"]
    assert f"hwgen: {failed['error']}" in failed["log"]
    assert failed["error"] in Page((folder / "report.html").read_text(encoding="utf-8")).text
    made_again(tmp_path, rows["dyadic:P9"])


def made_again(folder: Path, row: dict[str, object]) -> None:
    """The command of a point makes the same network and figures."""
    subprocess.run(["bash", "-ec", str(row["command"])], cwd=folder, env=with_hwgen(), check=True,
                   capture_output=True)
    again = read_json(folder / "point" / "compress.json")
    assert (again["digest"], again["accuracy_integer"]) == (
        row["digest"], row["accuracy_integer"])
    assert sum(layer["adders"] for layer in again["layers"]) == row["adders"]


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fill(tmp_path)
    path.write_text(SPACE.replace('"compress"', '"synth"\ntargets = ["up5k", "ecp5-85"]'))
    assert app.run(["sweep", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out == (
        f"{path}: 4 points; at most 2 compress, at most 2 rtl, at most 4 synth\n")
    assert not (tmp_path / "space.sweep").exists()


@pytest.mark.parametrize(("change", "words"), [
    (("dyadic:P9", "dyadic:P8"), "Set must be one of T3, P5, P7, P9, Q4, Q8, Q16 or levels"),
    (("dyadic:P9", "cubic"), "--method: one of "),
    (('"compress"', '"rtl"\ntargets = ["ecp6"]'), "targets: of ecp5-25, ecp5-85, up5k, "),
    (('"compress"', '"pnr"\ntargets = ["xc7"]'), "targets: one with place and route needed"),
    (("methods", "method"), "'method' is no key; "),
    (("net.py:", "no.py:"), "No such file or directory"),
])
def test_bad_space_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], words: str
) -> None:
    path = fill(tmp_path)
    path.write_text(SPACE.replace(*change))
    assert app.run(["sweep", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"hwgen: {path}: ")
    assert words in err
    assert not (tmp_path / "space.sweep").exists()


def test_without_dask(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert app.run(["sweep", str(fill(tmp_path))]) == 2
    assert capsys.readouterr().err == (
        "hwgen: this needs distributed, which is not installed: pip install 'hwgen[sweep]'\n")


def test_workers_or_scheduler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", str(fill(tmp_path)), "--workers", "1", "--scheduler", "tcp://127.0.0.1:1"]
    assert app.run(words) == 2
    assert capsys.readouterr().err == "hwgen: --workers or --scheduler, not both\n"


@pytest.mark.slow
def test_example_of_the_documentation(tmp_path: Path, repository: Path) -> None:
    """What docs/sweeps.md has a reader do, and what it says comes of it."""
    text = (repository / "docs" / "sweeps.md").read_text(encoding="utf-8")
    script = text.partition("```sh\n")[2].partition("```")[0]
    assert script.count("hwgen ") == 2
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=with_hwgen(), check=False,
                          capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert said.startswith("digits.sweep/report.html: 4 points, 4 done, 0 failed; ")
    assert said.partition(";")[0] in text                     # the rest depends on training
    made = read_json(tmp_path / "digits.sweep" / "sweep.json")
    assert made["stages"]["ran"] == {"compress": 2, "rtl": 4}


@pytest.mark.slow
def test_to_the_placed_design(tmp_path: Path) -> None:
    """To the clock that place and route reached; the point's command reaches the same."""
    path = fill(tmp_path)
    path.write_text(SPACE.replace('"compress"', '"pnr"\ntargets = ["ecp5-25"]').replace(
        ', "ternary:layers=nothing"', ""))
    assert app.run(["sweep", str(path), "--workers", "1"]) == 0
    with Store(tmp_path / "space.sweep" / "results.sqlite") as store:
        row, = store.rows().values()
    assert (row["status"], row["lut_from"], row["mul_cells"]) == ("done", "pnr", 0)
    assert row["fmax_mhz"] > 20
    subprocess.run(["bash", "-ec", str(row["command"])], cwd=tmp_path, env=with_hwgen(),
                   check=True, capture_output=True)
    again = read_json(tmp_path / "point" / "synth.json")
    assert {key: again[key] for key in ("lut", "ff", "bram", "fmax_mhz")} == {
        key: row[key] for key in ("lut", "ff", "bram", "fmax_mhz")}
