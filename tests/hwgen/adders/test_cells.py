# amaranth: UnusedElaboratable=no
"""Additions counted are additions built: the cost of a graph against the cells that Yosys finds."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwgen.adders.component import AdderGraphComponent
from hwgen.adders.csd import digit_count
from hwgen.adders.graph import AdderGraph
from hwgen.adders.schedule import schedule
from hwgen.adders.search import build
from hwgen.tools import run_yosys
from hwgen.verilog import to_verilog
from tests.hwgen.adders import helpers

NAMES = ["trained", "negative only", "dyadic", "equal columns"]
CASES = [(name, sharing, False) for name in NAMES for sharing in (False, True)]
CASES += [("trained", True, True), ("negative only", False, True)]
MORE = [(name, sharing, pipelined) for name in helpers.FAMILIES for sharing in (False, True)
        for pipelined in (False, True) if (name, sharing, pipelined) not in CASES]


def cells(graph: AdderGraph, folder: Path, *, pipelined: bool) -> dict[str, int]:
    """Return the number of cells of each type after ``proc; opt`` of the emitted Verilog."""
    dut = AdderGraphComponent(graph, schedule=schedule(graph) if pipelined else None,
                              own_clock=True)
    (folder / "dut.v").write_text(to_verilog(dut, name="adder_graph"))
    run_yosys("read_verilog dut.v\nhierarchy -top adder_graph\nproc\nopt\nwrite_json dut.json",
              cwd=folder)
    found: dict[str, int] = {}
    module = json.loads((folder / "dut.json").read_text())["modules"]["adder_graph"]
    for cell in module["cells"].values():
        found[cell["type"]] = found.get(cell["type"], 0) + 1
    return found


def adders(found: dict[str, int]) -> int:
    return sum(found.get(kind, 0) for kind in ("$add", "$sub", "$neg"))


@pytest.mark.parametrize(("name", "sharing", "pipelined"), [
    *CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)])
def test_adders_counted_are_adders_built(name, sharing, pipelined, tmp_path):
    graph = build(helpers.family(name), input_lo=-128, input_hi=127, sharing=sharing)
    found = cells(graph, tmp_path, pipelined=pipelined)
    assert adders(found) == graph.adders
    assert found.get("$neg", 0) == len(graph.negations)
    allowed = {"$add", "$sub", "$neg"} | ({"$dff", "$dffe"} if pipelined else set())
    assert set(found) <= allowed                   # nothing that multiplies, or does anything else


def test_without_sharing_one_adder_less_than_digits(tmp_path):
    """One output: nothing can be merged, so the count is known from the digits alone."""
    matrix = np.abs(helpers.family("uniform")[:, :1]) + 1
    digits = int(digit_count(matrix).sum())
    graph = build(matrix, input_lo=0, input_hi=255, sharing=False)
    assert adders(cells(graph, tmp_path, pipelined=False)) == digits - 1


def test_a_lost_adder_is_noticed(tmp_path):
    """The check itself: one output left out of the Verilog, and the counts differ."""
    graph = build(helpers.family("trained"), input_lo=0, input_hi=255)
    fewer = build(helpers.family("trained")[:, :-1], input_lo=0, input_hi=255)
    assert adders(cells(fewer, tmp_path, pipelined=False)) != graph.adders
