from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.sim.build import HERE
from hwgen.sim.gates import check_gates, find_netlist
from hwgen.tools import find_icarus, run_tool, run_yosys

CELLS = HERE / "cells" / "ecp5.v"


@pytest.fixture
def icarus():
    if find_icarus() is None:
        pytest.skip("iverilog is not installed")


def simulate(folder: Path, bench: str, *files: Path) -> list[str]:
    """Run a bench with Icarus and return the words it displays."""
    (folder / "bench.v").write_text(bench)
    names = ["bench.v", *(str(file) for file in files)]
    run_tool(["iverilog", "-g2012", "-s", "bench", "-o", "sim", *names], cwd=folder)
    done = subprocess.run(
        [str(folder / "sim")], cwd=folder, capture_output=True, encoding="ascii", check=True
    )
    return done.stdout.split()


# ---------------------------------------------------------------------------------------------
# The block memory against a model in Python


class Memory:
    """DP16KD by its data sheet: 1,024 words of two bytes of 9 bits, two ports."""

    def __init__(self, widths, modes, registers, contents):
        self.bits = [word >> n & 1 for word in contents for n in range(18)]
        self.widths, self.modes, self.registers = widths, modes, registers
        self.latch, self.out = [0, 0], [0, 0]

    def places(self, width, address):
        if width == 18:
            return [(address >> 4) * 18 + n for n in range(18)]
        byte = (address >> 3) * 9
        if width == 9:
            return [byte + n for n in range(9)]
        first = byte + (address & 7) // width * width
        return [first + n for n in range(width)]

    def clock(self, side, *, enable, write, output, reset, address, data):
        width = self.widths[side]
        places = self.places(width, address)
        before, latch = [self.bits[place] for place in places], self.latch[side]
        if enable and write:
            for n, place in enumerate(places):
                if width < 18 or address >> n // 9 & 1:
                    self.bits[place] = data >> n & 1
        after = [self.bits[place] for place in places]
        if reset:
            self.latch[side] = 0
        elif enable and not (write and self.modes[side] == "NORMAL"):
            shown = after if write and self.modes[side] == "WRITETHROUGH" else before
            self.latch[side] = sum(bit << n for n, bit in enumerate(shown))
        if reset:
            self.out[side] = 0
        elif output:
            self.out[side] = latch

    def read(self, side):
        return self.out[side] if self.registers[side] == "OUTREG" else self.latch[side]


def memory_bench(widths, modes, registers, contents):
    def bus(prefix, side, count, name):
        return ", ".join(f".{prefix}{side}{n}({name}[{n}])" for n in range(count))

    parameters = [f".DATA_WIDTH_{s}({w})" for s, w in zip("AB", widths, strict=True)]
    parameters += [f'.WRITEMODE_{s}("{m}")' for s, m in zip("AB", modes, strict=True)]
    parameters += [f'.REGMODE_{s}("{r}")' for s, r in zip("AB", registers, strict=True)]
    for n in range(64):
        value = sum(word << 20 * k
                    for k, word in enumerate(contents[16 * n:16 * n + 16]))
        parameters.append(f".INITVAL_{n:02X}(320'h{value:x})")
    sides = [
        f"{bus('DI', s, 18, 'data')}, {bus('AD', s, 14, 'address')}, "
        f"{bus('DO', s, 18, f'do_{s}')}, .CLK{s}(clk[{n}]), .CE{s}(enable), .WE{s}(write), "
        f".OCE{s}(output_enable), .RST{s}(reset), "
        f".CS{s}0(1'b0), .CS{s}1(1'b0), .CS{s}2(1'b0)"
        for n, s in enumerate("AB")
    ]
    return f"""
module bench;
  reg [1:0] clk = 0; reg side, enable, write, output_enable, reset;
  reg [13:0] address; reg [17:0] data; wire [17:0] do_A, do_B;
  integer file;
  DP16KD #({", ".join(parameters)}) dut ({", ".join(sides)});
  initial begin
    file = $fopen("stim.txt", "r");
    while ($fscanf(file, "%b %b %b %b %b %h %h", side, enable, write, output_enable, reset, address,
                   data) == 7) begin
      #5 clk[side] = 1;
      #5 $display("%h", side ? do_B : do_A);
      clk = 0;
    end
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize(
    ("widths", "modes", "registers"),
    [
        ((18, 18), ("NORMAL", "NORMAL"), ("NOREG", "NOREG")),
        ((18, 9), ("READBEFOREWRITE", "WRITETHROUGH"), ("OUTREG", "NOREG")),
        ((4, 2), ("WRITETHROUGH", "READBEFOREWRITE"), ("NOREG", "OUTREG")),
        ((1, 18), ("NORMAL", "NORMAL"), ("NOREG", "NOREG")),
    ],
)
def test_block_memory(tmp_path, icarus, widths, modes, registers):
    rng = random.Random(str(widths))
    contents = [rng.getrandbits(18) for _ in range(1024)]
    model = Memory(widths, modes, registers, contents)
    lines, expected = [], []
    for _ in range(2000):
        side = rng.randrange(2)
        cycle = {"enable": rng.random() < 0.9, "write": rng.random() < 0.5,
                 "output": rng.random() < 0.9, "reset": rng.random() < 0.05,
                 # few places, so that what was written is read again
                 "address": rng.randrange(64), "data": rng.getrandbits(18)}
        lines.append(" ".join(f"{value:{'x' if name in ('address', 'data') else 'd'}}"
                              for name, value in [("side", side), *cycle.items()]))
        model.clock(side, **cycle)
        expected.append(f"{model.read(side):05x}")
    (tmp_path / "stim.txt").write_text("\n".join(lines) + "\n")
    bench = memory_bench(widths, modes, registers, contents)
    assert simulate(tmp_path, bench, CELLS) == expected


# ---------------------------------------------------------------------------------------------
# Mapped netlists against the Verilog they came from

DESIGNS = {
    "logic": """
  reg [7:0] sum; reg [3:0] first; reg [8:0] count;
  always @(posedge clk) begin
    if (rst) begin first <= 9; count <= 0; end
    else if (b[0]) begin first <= a[3:0] ^ b[7:4]; count <= count - a; end
    sum <= a + b;
    y <= {sum & {8{a > b}}, first, count, ~(a - b)};
  end""",
    "small memory": """
  reg [11:0] memory [0:15];
  always @(posedge clk) begin
    if (b[0]) memory[a[3:0]] <= {b, a[7:4]};
    y <= {a, memory[b[4:1]]};
  end""",
    "rom of 18 bits": """
  reg [17:0] memory [0:1023];
  integer n; initial for (n = 0; n < 1024; n = n + 1) memory[n] = n * 7919 + n * n;
  always @(posedge clk) if (b[7]) y <= memory[{b[1:0], a}];""",
    "rom of 36 bits": """
  reg [35:0] memory [0:511];
  integer n; initial for (n = 0; n < 512; n = n + 1) memory[n] = n * 36'd648051 + n;
  reg [35:0] word;
  always @(posedge clk) begin if (b[7]) word <= memory[{b[0], a}]; y <= word ^ word[35:18]; end""",
    "rom of 2 bits": """
  reg [1:0] memory [0:8191];
  integer n; initial for (n = 0; n < 8192; n = n + 1) memory[n] = (n * 40503) >> 9;
  always @(posedge clk) y <= memory[{b[4:0], a}];""",
    "memory of 18 bits": """
  reg [17:0] memory [0:1023];
  integer n; initial for (n = 0; n < 1024; n = n + 1) memory[n] = n * 7919;
  always @(posedge clk) begin
    if (b[7]) memory[a[3:0]] <= {a, b};
    else y <= memory[b[3:0]];
  end""",
    "memory of 36 bits": """
  reg [35:0] memory [0:511];
  integer n; initial for (n = 0; n < 512; n = n + 1) memory[n] = n * 36'd648051 + 5;
  reg [35:0] word, wide;
  always @(posedge clk) begin
    wide <= {wide, a, b};
    if (b[7]) memory[a[2:0]] <= wide;
    word <= memory[b[2:0]]; y <= word ^ {word[35:29], 20'd0};
  end""",
}
MAPPED = {"rom of 18 bits": "DP16KD", "rom of 36 bits": "DATA_WIDTH_B(32'd36)",
          "rom of 2 bits": "DP16KD",
          "memory of 18 bits": "DP16KD", "memory of 36 bits": "DATA_WIDTH_A(32'd36)",
          "small memory": "TRELLIS_DPR16X4", "logic": "CCU2C"}
BENCH = """
module bench;
  reg clk = 0, rst = 1; reg [7:0] a = 0, b = 0; wire [28:0] y, z; integer n, wrong = 0, seen = 0;
  top first(.clk(clk), .rst(rst), .a(a), .b(b), .y(y));
  mapped second(.clk(clk), .rst(rst), .a(a), .b(b), .y(z));
  initial begin
    for (n = 0; n < 6000; n = n + 1) begin
      #5 clk = 1; #5 clk = 0;
      a = $random; b = $random; rst = n % 100 < 2;
      if (n > 4 && y !== z && ^y !== 1'bx) wrong = wrong + 1;
      if (n > 4 && ^y !== 1'bx) seen = seen + 1;
    end
    $display("%0d %0d", wrong, seen);
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize("name", list(DESIGNS))
def test_mapped(tmp_path, icarus, name):
    """Each cell model does in a mapped netlist what the Verilog before synthesis does."""
    top = ("module top(input clk, input rst, input [7:0] a, b, output reg [28:0] y);\n"
           f"initial y = 0;{DESIGNS[name]}\nendmodule\n")
    (tmp_path / "top.v").write_text(top)
    run_yosys(
        "read_verilog top.v\nsynth_ecp5 -top top -nowidelut\nrename top mapped\nselect mapped\n"
        "write_verilog -selected -noattr mapped.v", cwd=tmp_path,
    )
    netlist = (tmp_path / "mapped.v").read_text()
    assert MAPPED[name] in netlist
    wrong, seen = simulate(tmp_path, BENCH, tmp_path / "top.v", tmp_path / "mapped.v", CELLS)
    assert int(seen) > 5000
    assert wrong == "0"


def test_mapped_fault(tmp_path, icarus):
    """One carry cell with a wrong table is seen."""
    test_mapped(tmp_path, icarus, "logic")
    text = (tmp_path / "mapped.v").read_text()
    (tmp_path / "mapped.v").write_text(text.replace(".INIT0(16'h96aa)", ".INIT0(16'h69aa)", 1))
    assert text != (tmp_path / "mapped.v").read_text()
    wrong, _ = simulate(tmp_path, BENCH, tmp_path / "top.v", tmp_path / "mapped.v", CELLS)
    assert int(wrong) > 0


# ---------------------------------------------------------------------------------------------
# Whole designs


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    """A folder with a small network, synthesised."""
    from hwgen.boards.synth import synthesise
    from hwgen.netfile import save
    from hwgen.stream.emit import write_design
    from tests.networks import random_network

    folder = tmp_path_factory.mktemp("design")
    save(random_network(3), folder / "net.npz")
    write_design(folder / "net.npz", folder / "rtl")
    synthesise(folder / "rtl", target="ecp5-25")
    return folder / "rtl"


def test_whole_netlist(design, icarus):
    outcome = check_gates(design, images=3, simulator="icarus")
    assert outcome["passed"], outcome
    assert (outcome["images"], outcome["mismatches"]) == (3, 0)
    assert outcome["values_compared"] >= 3
    assert outcome["target"] == "ecp5-25"


def test_fault_in_the_netlist(design, icarus, tmp_path):
    """A flip-flop in ten that takes the wrong value makes wrong results."""
    broken = tmp_path / "rtl"
    shutil.copytree(design, broken, ignore=shutil.ignore_patterns(".sim"))
    netlist = broken / "synth-ecp5-25" / "netlist.v"
    parts = netlist.read_text().split(".DI(")
    netlist.write_text("".join(
        part + (".DI(~" if n % 10 == 0 else ".DI(") for n, part in enumerate(parts[:-1])
    ) + parts[-1])
    outcome = check_gates(broken, images=2, simulator="icarus")
    assert not outcome["passed"]


def test_netlist_of_another_design(design, tmp_path):
    other = tmp_path / "rtl"
    shutil.copytree(design, other, ignore=shutil.ignore_patterns(".sim"))
    (other / "top.v").write_text((other / "top.v").read_text() + "\n")
    with pytest.raises(HwgenError, match="netlist.v is not of the present top.v: run `hwgen synth"):
        find_netlist(other)


def test_no_netlist(tmp_path):
    with pytest.raises(HwgenError, match="run `hwgen synth --target ecp5-85` first"):
        find_netlist(tmp_path)


def test_other_family(tmp_path):
    with pytest.raises(HwgenError, match="knows the cells of ecp5-25, ecp5-85, not of up5k"):
        find_netlist(tmp_path, "up5k")
