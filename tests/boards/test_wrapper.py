# amaranth: UnusedElaboratable=no
from __future__ import annotations

import random
import subprocess

import pytest
from amaranth.back import rtlil

from hwgen.boards.wrapper import MAX_CHAIN, Port, Wrapper, chains_of
from hwgen.tools import find_icarus, run_tool, run_yosys

# Two inputs, two outputs, one of them without a register; 3 + 9 bits in, 9 + 4 bits out.
DESIGN = """
module top(input clk, input rst, input [2:0] a, input [8:0] b, output [8:0] u, output reg [3:0] v);
  assign u = b ^ {a, a, a};
  always @(posedge clk) v <= rst ? 4'd9 : b[3:0] + {1'b0, a};
endmodule
"""
BENCH = """
module bench;
  reg clk = 0, rst = 0, si = 0;
  wire so;
  integer file, n;
  reg [1:0] word;
  hwgen_wrapper dut(.clk(clk), .rst(rst), .shift_in(si), .shift_out(so));
  initial begin
    file = $fopen("stim.txt", "r");
    while ($fscanf(file, "%b %b", rst, si) == 2) begin
      #5 $display("%b", so);
      clk = 1;
      #5 clk = 0;
    end
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize("bits", [0, 1, MAX_CHAIN, MAX_CHAIN + 1, 5000])
def test_chains(bits):
    lengths = chains_of(bits)
    assert sum(lengths) == bits
    assert max(lengths) <= MAX_CHAIN < 400
    assert max(lengths) - min(lengths) <= 1


def model(stimulus):
    """The registers of wrapper and design, bit by bit, as their documentation says."""
    shift, held, folded, reset, v = [0] * 12, [0] * 13, [0] * 13, 0, 0
    for rst, si in stimulus:
        yield folded[-1]
        a = sum(bit << n for n, bit in enumerate(shift[:3]))
        b = sum(bit << n for n, bit in enumerate(shift[3:]))
        u = b ^ (a | a << 3 | a << 6)
        out = [u >> n & 1 for n in range(9)] + [v >> n & 1 for n in range(4)]
        folded = [h ^ f for h, f in zip(held, [0, *folded[:-1]], strict=True)]
        held = out
        v = 9 if reset else (b & 15) + a & 15
        reset = rst
        shift = [si, *shift[:-1]]


def test_keeps_function(tmp_path):
    if find_icarus() is None:
        pytest.skip("iverilog is not installed")
    ports = [Port("a", 3, False), Port("b", 9, False), Port("u", 9, True), Port("v", 4, True)]
    wrapper = Wrapper(top="top", ports=ports, clock="clk", reset="rst")
    (tmp_path / "wrapper.il").write_text(rtlil.convert(wrapper, name="hwgen_wrapper"))
    run_yosys("read_rtlil wrapper.il\nproc\nwrite_verilog wrapper.v", cwd=tmp_path)
    (tmp_path / "top.v").write_text(DESIGN)
    (tmp_path / "bench.v").write_text(BENCH)
    random_bits = random.Random(1)
    stimulus = [(n in (0, 40) , random_bits.getrandbits(1)) for n in range(400)]
    (tmp_path / "stim.txt").write_text("".join(f"{r:d} {s:d}\n" for r, s in stimulus))
    run_tool(["iverilog", "-o", "sim", "bench.v", "wrapper.v", "top.v"], cwd=tmp_path)
    shown = subprocess.run(
        [str(tmp_path / "sim")], cwd=tmp_path, capture_output=True, encoding="ascii", check=True
    ).stdout.split()
    # What the design's register held before the first reset reaches the end is unknown.
    assert shown[40:400] == [str(bit) for bit in model(stimulus)][40:]
