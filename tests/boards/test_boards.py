# amaranth: UnusedElaboratable=no
from __future__ import annotations

import re
from pathlib import Path

import pytest

from hwgen.boards import board as registry
from hwgen.boards.bitstream import Job, Options, build_files
from hwgen.boards.board import MODULES, find_board
from hwgen.boards.design import read_design, read_streams
from hwgen.boards.orangecrab import with_dfu_suffix
from hwgen.boards.pll import fastest
from hwgen.errors import HwgenError
from tests.boards.designs import echo
from tests.boards.device_model import crc

ENGINE = ("engine.il", "module \\top\nend\n")
# Pins from the boards' schematics: crystal, what the chip receives on, what it sends on; then the
# file of the constraints and how the crystal's frequency stands there (None: not at all).
PINS = {
    "ulx3s": ("G2", "M1", "L4", "board.lpf", "25000000"),
    "ulx3s-25f": ("G2", "M1", "L4", "board.lpf", "25000000"),
    "ulx3s-12f": ("G2", "M1", "L4", "board.lpf", "25000000"),
    "orangecrab": ("A9", "N17", "M18", "board.lpf", "48000000"),
    "orangecrab-25f": ("A9", "N17", "M18", "board.lpf", "48000000"),
    "ecpix5": ("K23", "R26", "R24", "board.lpf", "100000000"),
    "icebreaker": ("35", "6", "9", "board.pcf", "12.0"),
    "hx8k-evn": ("J3", "B10", "B12", "board.pcf", "12.0"),
    "tang-nano-9k": ("52", "18", "17", "board.cst", None),
    "arty-a7": ("E3", "A9", "D10", "board.xdc", "10.0"),
    "icesugar": ("35", "4", "6", "board.pcf", "12.0"),
}
PARAMETERS = {"EHXPLLL": r"\CLKOP_DIV", "SB_PLL40_PAD": r"\DIVF", "SB_PLL40_CORE": r"\DIVF",
              "rPLL": r"\FBDIV_SEL"}


@pytest.fixture
def example(monkeypatch, repository):
    """The board that docs/add_board.md shows how to add."""
    page = (repository / "docs" / "add_board.md").read_text(encoding="utf-8")
    module, line = re.findall(r"```python\n(.*?)```", page, re.S)
    path = Path(registry.__file__).with_name("icesugar.py")
    assert not path.exists()
    [(name, stem)] = eval(f"{{{line}}}").items()
    space: dict = {}
    exec(compile(module, "docs/add_board.md", "exec"), space)
    monkeypatch.setitem(MODULES, name, stem)
    monkeypatch.setitem(__import__("sys").modules, f"hwgen.boards.{stem}",
                        type("module", (), {"BOARDS": space["BOARDS"]}))
    return name


def files(tmp_path, name, **overrides):
    folder = echo(tmp_path)
    board = find_board(name)
    job = Job(read_design(folder), read_streams(folder), board, Options(), tmp_path)
    step = fastest(board.pll, board.clock_hz, 24)
    return build_files(job, step, ENGINE, **overrides), step


def check(tmp_path, name):
    found, step = files(tmp_path, name)
    clock, rx, tx, constraints, frequency = PINS[name]
    text = found[constraints]
    for part, pin in (("clk", clock), ("uart_0__rx", rx), ("uart_0__tx", tx)):
        lines = [line for line in text.splitlines() if re.search(rf"\b{pin}\b", line)]
        assert any(part in line for line in lines), (part, pin, text)
    if frequency is not None:
        assert frequency in text
    if name != "arty-a7":
        netlist = found["board.il"]
        assert r"cell \top \engine" in netlist
        kind = next(cell for cell in PARAMETERS if rf"cell \{cell} " in netlist)
        value = re.search(rf"parameter {re.escape(PARAMETERS[kind])} (\S+)", netlist)[1]
        number = int(value.split("'")[1], 2) if "'" in value else int(value)
        assert number == step.f - (kind != "EHXPLLL")


@pytest.mark.parametrize("name", MODULES)
def test_pins_and_clock(tmp_path, name):
    check(tmp_path, name)


def test_worked_example(tmp_path, example):
    assert example not in PINS or example == "icesugar"
    check(tmp_path, example)


def test_project_of_vivado(tmp_path):
    found, step = files(tmp_path, "arty-a7")
    assert "MMCME2_BASE" in found["board.v"]
    assert f".CLKFBOUT_MULT_F({step.f:.1f}" in found["board.v"].replace(" ", "")
    assert "xc7a35ticsg324-1L" in found["board.tcl"]
    assert "engine.il" in found


def test_unknown():
    with pytest.raises(HwgenError, match="Board must be one of ulx3s, .*, arty-a7, not 'ulx4s'"):
        find_board("ulx4s")


@pytest.mark.parametrize("name", MODULES)
def test_complete(name):
    board = find_board(name)
    assert board.name == name
    assert "{file}" in board.load
    assert board.product.startswith(".")


def test_dfu_suffix():
    """Appendix B of DFU 1.1: 16 bytes, read from the end; the CRC is over all but itself."""
    text = with_dfu_suffix(b"bitstream")
    assert text[:9] == b"bitstream"
    assert text[9:21] == bytes.fromhex("ffff f05a 0912 0001 554644 10")
    inverted = int.from_bytes(crc(text[:21]), "little") ^ 0xFFFFFFFF
    assert int.from_bytes(text[21:], "little") == inverted
