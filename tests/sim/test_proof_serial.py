# amaranth: UnusedElaboratable=no
"""The proof of graphs whose adders take a digit a cycle: right ones, and ones with a fault."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from hwgen.adders.graph import Add, AdderGraph, Input, Output
from hwgen.adders.search import build
from hwgen.adders.serial import SerialSchedule
from hwgen.sim.linear_forms import NotLinear
from hwgen.sim.netlist import read_netlist
from hwgen.sim.proof_serial import Serial, serial_matrix
from hwgen.stream.serial_graph import SerialGraph
from hwgen.verilog import to_verilog

LO, HI = np.array([0, 0, -8]), np.array([255, 1, 7])


def matrix() -> np.ndarray:
    found = np.random.default_rng(4).integers(-40, 41, (3, 4))
    found[:, 1] = -abs(found[:, 1])                          # an output that is negated
    found[:, 2] = [0, -64, 0]
    found[:, 3] = 0
    return found


def replaced(pattern: str, by: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, by, text, count=1)


# What is changed in the text of a right graph (digits of two bits), and what the proof says.
FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "carry not begun anew": (replaced(r"if \(from_\d+_for_1\) (carry_add_2 <= )", r"if (1'h0) \1"),
                             "its carry must begin anew at one mark"),
    "carry begins wrong": (replaced(r"(carry_add_2 <= 1'h)[01]", r"\g<1>x".replace("x", "1")),
                           ""),
    "carry late": (replaced(r"if \(from_\d+_for_1\) (carry_add_2 <= )",
                            r"if (en & begin_5) \1"), "add_2|low bits|shifted|too early"),
    "wrong gate": (replaced(r"(= \w+) \^ carry_add_2;", r"\1 | carry_add_2;"), "add_2"),
    "late bit": (replaced(r"d2_(add_\d+_\d) <= d1_", r"d2_\1 <= d2_"), r"."),
    "not cleared": (replaced(r"if \(from_\d+_for_\d\) (low_\w+ <= )", r"if (1'h0) \1"), "."),
    "without enable": (replaced(r"if \(en\) (d1_add_2_0 <=)", r"\1"), "a cycle later, under en"),
    "output": (replaced(r"(assign y = \{ .*?)(d\d_add_\w+), (d\d_add_\w+),", r"\1\3, \2,"),
               "output . bit|must be bit"),
}


HALVED = AdderGraph(                                         # (x0, 2 (x0 + x1)): 2 x0 shifted down
    (Input(-8, 7), Input(0, 15)),
    (Add(0, 1), Add(0, 1, b_negative=True), Add(2, 3)),
    (Output(4, -1), Output(2, 1)),
)


def module_of(name: str) -> str:
    return f"graph_{name.replace(' ', '_').rpartition(',_')[2]}"


@pytest.fixture(scope="module")
def texts() -> dict[str, tuple[SerialGraph, str]]:
    """Graphs of each digit, and the faulty ones."""
    found = {}
    graph = build(matrix(), input_lo=LO, input_hi=HI)
    for digit in (1, 2, 3, 4):
        dut = SerialGraph(schedule=SerialSchedule(graph, digit))
        found[f"right {digit}"] = dut, to_verilog(dut, name=module_of(f"right {digit}"))
    dut = SerialGraph(schedule=SerialSchedule(graph, 1, 3))
    found["right 1, 3 in a stage"] = dut, to_verilog(dut, name="graph_3_in_a_stage")
    halved = SerialGraph(schedule=SerialSchedule(HALVED, 2))
    found["halved"] = halved, to_verilog(halved, name=module_of("halved"))
    dut, text = found["right 2"]
    for name, (change, _) in FAULTS.items():
        changed = change(text)
        if name == "carry begins wrong":
            init = re.search(r"carry_add_2 <= 1'h([01])", text)
            assert init is not None
            changed = text.replace(init[0], f"carry_add_2 <= 1'h{1 - int(init[1])}")
        found[name] = dut, changed.replace(module_of("right 2"), module_of(name))
    return found


@pytest.fixture(scope="module")
def netlist(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("serial") / "all.v"
    path.write_text("".join(text.replace("`timescale 1ns/1ps", "") for _, text in texts.values()))
    return read_netlist(path)


def derived(texts, netlist, name):
    dut = texts[name][0]
    schedule = dut.schedule
    serial = Serial(schedule.digit, schedule.digits, LO, HI,
                    [width for _, width, _ in dut.output_layout])
    return serial_matrix(netlist[module_of(name)], serial)


@pytest.mark.parametrize("digit", ["1", "2", "3", "4", "1, 3 in a stage"])
def test_right(texts, netlist, digit):
    found, adders, latency = derived(texts, netlist, f"right {digit}")
    dut = texts[f"right {digit}"][0]
    assert found.tolist() == matrix().tolist()
    assert adders == len(dut.schedule.operations)
    assert latency == dut.latency


def test_output_shifted_down(texts, netlist):
    dut = texts["halved"][0]
    widths = [width for _, width, _ in dut.output_layout]
    serial = Serial(2, dut.schedule.digits, np.array([-8, 0]), np.array([7, 15]), widths)
    found, _, _ = serial_matrix(netlist[module_of("halved")], serial)
    assert found.tolist() == [[1, 2], [0, 2]]


@pytest.mark.parametrize("name", FAULTS)
def test_fault(texts, netlist, name):
    """Every fault is refused, or shown as another matrix."""
    right, wrong = (texts[one][1].split("(", 1)[1] for one in ("right 2", name))
    assert wrong != right
    try:
        outcome = str(derived(texts, netlist, name)[0].tolist())
    except NotLinear as error:
        outcome = str(error)
    assert outcome != str(matrix().tolist())
    if not outcome.startswith("["):
        assert re.search(FAULTS[name][1], outcome), outcome
