from __future__ import annotations

import copy
import json
import subprocess

import pytest

from hwgen.boards import synth
from hwgen.boards.block_ram import absorb_registers
from hwgen.boards.synth import synthesise
from hwgen.sim.build import HERE
from hwgen.tools import find_icarus, run_tool, run_yosys
from tests.boards.designs import folder

CLOCK = 2
MEMORY = """\
module top(input clk, input [9:0] at, input write, go, input [17:0] data, output reg [17:0] o);
  (* no_rw_check *) reg [17:0] words [1023:0];
  reg [17:0] found;
  always @(posedge clk) begin
    if (write) words[at] <= data;
    if (GO) begin
      found <= words[at ^ 1];
      o <= found;
    end
  end
endmodule
"""
BENCH = """\
module bench;
  reg clk = 0, write = 0, go = 1; reg [9:0] at = 0; reg [35:0] data = 0; wire [35:0] y, z;
  integer n, wrong = 0, seen = 0;
  top first(.clk(clk), .at(at), .write(write), .go(go), .data(data), .o(y));
  mapped second(.clk(clk), .at(at), .write(write), .go(go), .data(data), .o(z));
  initial begin
    for (n = 0; n < 8000; n = n + 1) begin
      #5 clk = 1; #5 clk = 0;
      if (^y !== 1'bx) begin seen = seen + 1; if (y !== z) wrong = wrong + 1; end
      at = $random & 63; write = $random; go = $random; data = {$random, $random};
    end
    $display("%0d %0d", wrong, seen);
    $finish;
  end
endmodule
"""


def memory(width=18, **nets):
    """A DP16KD whose ports are all at rest, but for what is named."""
    connections = {f"{name}{side}": [bit] for side in "AB"
                   for name, bit in (("CLK", CLOCK), ("CE", "1"), ("OCE", "0"), ("RST", "0"))}
    connections |= {name: [bit] for name, bit in nets.items()}
    values = {f"DATA_WIDTH_{side}": f"{width:032b}" for side in "AB"}
    return {"type": "DP16KD", "connections": connections,
            "parameters": {**values, "REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
            "port_directions": {name: "output" if name.startswith("DO") else "input"
                                for name in connections}}


def register(data, out, *, clock=CLOCK, reset="RESET", **nets):
    connections = {"CLK": [clock], "DI": [data], "Q": [out],
                   **{name: [bit] for name, bit in nets.items()}}
    return {"type": "TRELLIS_FF", "connections": connections,
            "parameters": {"REGSET": reset, "CLKMUX": "CLK"},
            "port_directions": {name: "output" if name == "Q" else "input"
                                for name in connections}}


def module(ports=(), **cells):
    return {"ports": {f"p{bit}": {"bits": [bit]} for bit in ports}, "cells": cells}


def modes(cell):
    return cell["parameters"]["REGMODE_A"], cell["parameters"]["REGMODE_B"]


def test_registers_of_a_port_move():
    made = module((30, 31), ram=memory(DOB0=10, DOB1=11, DOA0=12), one=register(10, 30),
                  two=register(11, 31, CE="1", LSR="0"))
    assert absorb_registers(made) == 2
    ram = made["cells"].pop("ram")
    assert not made["cells"]
    assert (ram["connections"]["DOB0"], ram["connections"]["DOB1"]) == ([30], [31])
    assert modes(ram) == ("NOREG", "OUTREG")
    assert (ram["connections"]["OCEA"], ram["connections"]["OCEB"]) == (["0"], ["1"])


def test_enable_of_memory_and_register_is_kept():
    made = module((30,), ram=memory(DOB0=10, CEB=5), one=register(10, 30, CE=5))
    assert absorb_registers(made) == 1
    ram = made["cells"]["ram"]
    assert (ram["connections"]["CEB"], ram["connections"]["OCEB"]) == ([5], [5])
    assert modes(ram) == ("NOREG", "OUTREG")


def table(ones, out, *inputs):
    connections = {**{name: [bit] for name, bit in zip("ABCD", inputs, strict=True)}, "Z": [out]}
    return {"type": "LUT4", "connections": connections, "parameters": {"INIT": f"{ones:016b}"},
            "port_directions": {name: "output" if name == "Z" else "input"
                                for name in connections}}


@pytest.mark.parametrize(("ones", "inputs", "mux", "moves"), [
    (0x7FFF, (20, 21, 22, 23), "INV", 1),
    (0x7FFF, (20, 21, 22, 23), "CE", 0),
    (0x8000, (20, 21, 22, 23), "CE", 1),
    (0x8000, (20, 21, 22, 23), "INV", 0),
    (0x7FFF, (20, 21, 22, 24), "INV", 0),
    (0x7FFE, (20, 21, 22, 23), "INV", 0),
])
def test_enables_of_two_tables(ones, inputs, mux, moves):
    """Yosys gives the memory a table for its enable, the flip-flop one for the inverted enable."""
    flip = register(10, 30, CE=6)
    flip["parameters"]["CEMUX"] = mux
    made = module((30,), ram=memory(DOB0=10, CEB=5), one=flip, on=table(0x8000, 5, 20, 21, 22, 23),
                  off=table(ones, 6, *inputs))
    assert absorb_registers(made) == moves


def test_word_of_both_ports_with_the_reader_enabled():
    """The writing port's enable is another one."""
    made = module((30, 31), ram=memory(36, DOA0=10, DOB0=11, CEB=5), one=register(10, 30, CE=5),
                  two=register(11, 31, CE=5))
    assert absorb_registers(made) == 2
    nets = made["cells"]["ram"]["connections"]
    assert [nets[f"{name}{side}"] for name in ("CE", "OCE") for side in "AB"] == [
        ["1"], [5], [5], [5]]


def test_word_of_both_ports_moves_as_one():
    cells = {"ram": memory(36, DOA0=10, DOB0=11), "one": register(10, 30), "two": register(11, 31)}
    made = module((30, 31), **copy.deepcopy(cells))
    assert absorb_registers(made) == 2
    assert modes(made["cells"]["ram"]) == ("OUTREG", "OUTREG")
    cells["two"] = register(11, 31, LSR=7)
    before = module((30, 31), **cells)
    made = copy.deepcopy(before)
    assert absorb_registers(made) == 0
    assert made == before


@pytest.mark.parametrize("cells", [
    {"one": register(10, 30, clock=3)},
    {"one": register(10, 30, CE=4)},
    {"one": register(10, 30), "ram": memory(DOB0=10, CEB=5)},
    {"one": register(10, 30, CE=6), "ram": memory(DOB0=10, CEB=5)},
    {"one": register(10, 30, CE=5), "two": register(11, 31, CE=6),
     "ram": memory(DOB0=10, DOB1=11, CEB=5)},
    {"one": register(10, 30, LSR=4)},
    {"one": register(10, 30, reset="SET")},
    {"one": register(10, 30), "two": register(10, 31)},
    {"one": register(10, 30), "ram": memory(DOB0=10, RSTB=5)},
    {"one": register(10, 30), "ram": memory(DOB0=10, DOB1=11), "other": register(11, 31, CE=4)},
    {"ram": memory(DOB0=30)},
])
def test_others_stay(cells):
    before = module((30, 31), **{"ram": memory(DOB0=10), **copy.deepcopy(cells)})
    made = copy.deepcopy(before)
    assert absorb_registers(made) == 0
    assert made == before


def test_placed_memory_is_faster(tmp_path, monkeypatch):
    directory = folder(tmp_path, MEMORY.replace("GO", "1"))
    inside = synthesise(directory, target="ecp5-25", pnr=True)
    monkeypatch.setattr(synth, "absorb_registers", lambda module: 0)
    outside = synthesise(directory, target="ecp5-25", pnr=True)
    assert inside["bram"] == outside["bram"] == 1
    assert inside["ff"] == outside["ff"] == 18            # as Yosys maps it
    used = [report["placed"]["TRELLIS_FF"]["used"] for report in (inside, outside)]
    assert used[1] - used[0] == 18
    assert inside["fmax_mhz"] > outside["fmax_mhz"]


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("bits", [18, 36])
def test_moved_registers_give_the_same_words(tmp_path, bits, enabled):
    """The changed netlist in a simulator, beside the Verilog that it was made from."""
    if find_icarus() is None:
        pytest.skip("iverilog is not installed")
    text = MEMORY.replace("[17:0]", f"[{bits - 1}:0]").replace("GO", "go" if enabled else "1")
    (tmp_path / "top.v").write_text(text)
    run_yosys("read_verilog top.v\nsynth_ecp5 -top top -json mapped.json", cwd=tmp_path)
    netlist = json.loads((tmp_path / "mapped.json").read_text())
    assert absorb_registers(netlist["modules"]["top"]) == bits
    (tmp_path / "changed.json").write_text(json.dumps(netlist))
    run_yosys("read_json changed.json\nrename top mapped\nselect mapped\n"
              "write_verilog -selected -noattr mapped.v", cwd=tmp_path)
    assert '"OUTREG"' in (tmp_path / "mapped.v").read_text()
    (tmp_path / "bench.v").write_text(BENCH)
    run_tool(["iverilog", "-g2012", "-s", "bench", "-o", "sim", "bench.v", "top.v", "mapped.v",
              str(HERE / "cells" / "ecp5.v")], cwd=tmp_path)
    done = subprocess.run([str(tmp_path / "sim")], capture_output=True, text=True, check=True)
    wrong, seen = map(int, done.stdout.split())
    assert seen > 3000
    assert wrong == 0
