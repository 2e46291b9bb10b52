from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwgen.commands import app, demo
from hwgen.errors import HwgenError

Call = tuple[str, tuple[Any, ...], dict[str, Any]]     # the step, its arguments, its options

FIGURES: dict[str, dict[str, Any]] = {
    "compress": {"digest": "d" * 64, "accuracy_float": 0.98, "accuracy_integer": 0.97},
    "rtl": {"interval": 100},
    "verify": {
        "images": 360, "values_compared": 500_000, "mismatches": 0, "accuracy_rtl": 0.97,
        "passed": True, "first_difference": None, "problems": [],
        "layers": [{"name": "conv1", "proof": "full"}, {"name": "fc", "proof": "parts"}],
    },
    "synth": {"lut": 9000, "ff": 8000, "bram": 3, "dsp": 0, "mul_cells": 0, "fmax_mhz": 80.0},
}


def stages(calls: list[Call]) -> dict[str, Callable[..., Any]]:
    def stage(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append((name, arguments, options))
            return Path("report.html") if name == "report" else FIGURES.get(name)

        return call

    return {name: stage(name)
            for name in ("train", "compress", "rtl", "verify", "synth", "report")}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    made: list[Call] = []
    monkeypatch.setattr(demo, "_stages", lambda: stages(made))
    return made


def test_steps_in_order_on_all_images(tmp_path: Path, calls: list[Call]) -> None:
    summary = demo.run_demo(tmp_path / "out", seed=3)
    assert [name for name, _, _ in calls] == [
        "train", "compress", "rtl", "verify", "synth", "report"
    ]
    verified = calls[3][2]
    assert (verified["images"], verified["layers"], verified["proof"]) == ("all", "all", True)
    assert summary["images_per_second"] == 800_000      # 80 MHz, 100 cycles an image
    assert summary["failure"] is None
    assert json.loads((tmp_path / "out" / "demo.json").read_text()) == summary


def test_summary_fits_a_screen(
    tmp_path: Path, calls: list[Call], capsys: pytest.CaptureFixture[str]
) -> None:
    demo.show(demo.run_demo(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(len(line.rstrip()) for line in lines) <= 80
    text = "\n".join(lines)
    for figure in ("98.00 %", "97.00 %", "360", "500,000", "9,000", "80.0 MHz", "800,000"):
        assert figure in text


def test_mismatch_is_exit_code_1(
    tmp_path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(FIGURES, "verify", {
        **FIGURES["verify"], "passed": False, "problems": ["the interval is wrong"]
    })
    assert app.run(["demo", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith("hwgen: the interval is wrong\n")


def test_failed_step_leaves_the_earlier_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo.json").write_text("earlier")

    def fail(*arguments: Any, **options: Any) -> None:
        raise HwgenError("no room")

    monkeypatch.setattr(demo, "_stages", lambda: {**stages([]), "synth": fail})
    assert app.run(["demo", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("hwgen: no room\n")
    assert (tmp_path / "demo.json").read_text() == "earlier"


def test_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("hwgen.compress")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)     # as if it were not installed
    planted = types.ModuleType("planted")
    for name in ("hwgen.boards.synth", "hwgen.commands.report_html"):
        monkeypatch.setitem(sys.modules, name, planted)
    planted.synthesise = planted.write_report = None    # type: ignore[attr-defined] # plain module
    assert app.run(["demo", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(
        "hwgen: this needs torch, which is not installed: pip install 'hwgen[train]'\n"
    )
