"""The proof: right netlists are proved, and every planted fault is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hwgen.adders.component import AdderGraphComponent
from hwgen.adders.schedule import schedule
from hwgen.adders.search import build
from hwgen.network import Conv2d, Input, Network
from hwgen.sim.linear_forms import Form
from hwgen.sim.netlist import Netlist, read_netlist
from hwgen.sim.netlist_linear import LinearMap, derive
from hwgen.sim.proof import Evidence, prove_layer
from hwgen.verilog import to_verilog
from tests.sim.small_design import dyadic

# ---------------------------------------------------------------------------------------------
# A graph written by hand, for x = 0..15 under a 1x3 kernel of four output channels

WEIGHT = np.array([[3, -1, 4], [1, 2, -8], [0, 0, 0], [-1, -1, 0]]).reshape(4, 1, 1, 3)
GRAPH = """
module conv1__graph(clk, rst, en, other, x, y);
  input clk, rst, en, other; input [11:0] x; output [22:0] y;
  wire [3:0] x_0 = x[3:0], x_1 = x[7:4], x_2 = x[11:8];
  reg [3:0] d1_x_0 = 0;
  reg [5:0] triple = 0;
  reg signed [6:0] low = 0;
  reg signed [7:0] far = 0, sum_0 = 0, sum_1 = 0;
  reg signed [5:0] minus = 0, d1_minus = 0;
  always @(posedge clk) if (en) begin
    triple <= x_0 + {x_0, 1'b0};
    low <= $signed({1'b0, x_2, 2'b0}) - $signed({1'b0, x_1});
    far <= $signed({1'b0, x_1, 1'b0}) - $signed({1'b0, x_2, 3'b0});
    minus <= -$signed({1'b0, x_0}) - $signed({1'b0, x_1});
    d1_x_0 <= x_0;
    sum_0 <= low + $signed({1'b0, triple});
    sum_1 <= far + $signed({1'b0, d1_x_0});
    d1_minus <= minus;
  end
  assign y = {d1_minus, 1'b0, sum_1, sum_0};
endmodule
module conv1__window(i, o__valid, o__payload);
  input [12:0] i; output o__valid; output [11:0] o__payload;
  assign {o__valid, o__payload} = i;
endmodule
module conv1(clk, rst, other, i, o__ready, o__valid, o__payload);
  input clk, rst, other, o__ready; input [12:0] i; output o__valid; output [23:0] o__payload;
  wire [11:0] x; wire [22:0] y; wire front;
  reg valid_1 = 0, valid_2 = 0, valid_3 = 0;
  wire en = ~valid_3 | o__ready;
  reg signed [7:0] biased_0 = 0, biased_1 = 0;
  reg signed [5:0] biased_3 = 0;
  always @(posedge clk) if (en) begin
    biased_0 <= y[7:0];
    biased_1 <= $signed(y[15:8]) + 8'sd1;
    biased_3 <= $signed(y[22:17]) + 6'sd3;
  end
  always @(posedge clk)
    if (rst) {valid_1, valid_2, valid_3} <= 0;
    else if (en) {valid_1, valid_2, valid_3} <= {front, valid_1, valid_2};
  assign o__payload = {biased_3, 2'd2, biased_1, biased_0}, o__valid = valid_3;
  conv1__window window (.i(i), .o__valid(front), .o__payload(x));
  conv1__graph graph (.clk(clk), .rst(rst), .en(en), .other(other), .x(x), .y(y));
endmodule
"""
BIAS = (0, 1, 2, 3)
OTHER = "end always @(posedge clk) if (other) d1_x_0 <= x_0; always @(posedge clk) if (en) begin"
TAP = "output channel {}, tap row 0, column {}, input channel 0: coefficient {} needed, "
# name: (text, what stands there instead, what the proof must say)
FAULTS = {
    "sign": ("low + $signed({1'b0, tr", "low - $signed({1'b0, tr",
             TAP.format(0, 0, 3) + ".* has -3"),
    "shift": ("{1'b0, x_2, 3'b0}", "{1'b0, x_2, 2'b0}", TAP.format(1, 2, -8) + ".* has -4"),
    "wrong_tap": ("{1'b0, x_1, 1'b0}", "{1'b0, x_0, 1'b0}", TAP.format(1, 0, 1) + ".* has 3"),
    "left_out": ("- $signed({1'b0, x_1});\n    d1", ";\n    d1", TAP.format(3, 1, -1) + ".* has 0"),
    "swapped": ("sum_1, sum_0", "sum_0, sum_1", TAP.format(0, 0, 3) + ".* has 1"),
    "constant": ("minus <= -", "minus <= ~",
                 "output channel 3, constant term: 0 needed, .* has -1"),
    "not_zero": ("1'b0, sum_1, s", "x_0[0], sum_1, s",
                 "output channel 2: .*needs 4 bits|output 0 comes"),
    "narrow": ("signed [6:0] low", "signed [5:0] low",
               r"channel 0: .*low is -15\.\.60 and needs 7 bits"),
    "narrow_output": ("sum_1, sum_0}", "sum_1, sum_0[6], sum_0[6:0]}",
                      r"sum_0 is -15\.\.105 and needs 8 bits: only 7 bits"),
    "narrow_first": ("reg [5:0] triple", "reg [4:0] triple",
                     r"triple is 0\.\.45 and needs 6 bits"),
    "slice": ("low + ", "$signed(low[5:0]) + ",
              r"low is -15\.\.60 and needs 7 bits: only 6 bits"),
    "low_bit": ("{1'b0, triple}", "{2'b0, triple[5:1], 1'b0}",
                r"bits 0 to 0 of \$add triple are dropped"),
    "extension": ("$signed({1'b0, triple})", "$signed(triple)",
                  "triple is 0..45 and needs 6 bits: it is not|triple are dropped"),
    "early": ("d1_x_0});", "x_0});", "sum_1 combines a word of 1 cycles ago with one of 0"),
    "output_early": ("{d1_minus", "{minus",
                     "output 0 comes 2 cycles after its input, output 3 1 cycles"),
    "enable": ("d1_x_0 <= x_0;", OTHER, "d1_x_0 has the enable other, not en"),
    "clock": ("posedge clk", "posedge other", "has the rising edge of other as its clock"),
    "nonlinear": ("low + $", "(low & {7{other}}) + $", r"\$and .* is none of"),
    "loop": ("d1_minus <= minus", "d1_minus <= d1_minus + minus", "depends on itself"),
    "unused": ("conv1__graph graph (.clk(clk), .rst(rst), .en(en), .other(other), .x(x), .y(y));",
               "assign y = 0;", "one instance in module .* needed, not none"),
    "bias": ("+ 8'sd1", "+ 8'sd2", "output channel 1, bias: 1 needed, .* has 2"),
    "bias_sign": ("+ 6'sd3", "- 6'sd3", "output channel 3, bias: 3 needed, .* has -3"),
    "bias_constant": ("2'd2", "2'd3", "output channel 2, bias: 2 needed, .* has -1"),
    "payload": ("biased_1, biased_0}", "biased_0, biased_1}",
                r"output channel 0: y\[0\] and a constant needed, not 1 \* y\[1\] \+ 1"),
    "payload_early": ("{biased_3, 2", "{y[22:17], 2", "channel 3, bias|all channels at once"),
    "payload_size": ("[23:0] o__payload", "[24:0] o__payload", "a word of 24 bits needed, not 25"),
    "valid_early": ("{front, valid_1, valid_2}", "{front, valid_1, valid_1}",
                    "o__valid must be the front's, 3 cycles later, as the data, not 2"),
    "valid_enable": ("else if (en) {v", "else if (other) {v", "has the enable other, not en"),
    "valid_other": ("<= {front, ", "<= {i[3], ", "is none of|has no driver"),
    "width": ("output [22:0] y;\n  wire", "output [23:0] y;\n  wire",
              "y must have 23 bits, not 24"),
}


def row_network(name: str, weight: np.ndarray = WEIGHT, hi: int = 15) -> Network:
    channels = len(weight)
    return Network((Input("x", 1, 2, 5, 0, hi, 0),
                    Conv2d(name, "x", weight, np.array(BIAS), np.zeros(channels, int))))


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    """The right graph as conv1, and each fault under its own name, read at once."""
    texts = [GRAPH]
    for name, (old, new, _) in FAULTS.items():
        assert old in GRAPH, name
        texts.append(GRAPH.replace(old, new).replace("conv1", name))
    path = tmp_path_factory.mktemp("graphs") / "graphs.v"
    path.write_text("".join(texts))
    return read_netlist(path)


def test_right_graph_is_proved(netlist):
    found = prove_layer(Evidence(row_network("conv1"), netlist), "conv1")
    assert (found.proof, found.failed, found.difference) == ("full", False, None)
    assert (found.coefficients, found.latency, found.adders) == (12, 2, 7)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_in_netlist(netlist, name):
    found = prove_layer(Evidence(row_network(name), netlist), name)
    assert (found.proof, found.failed) == ("none", True)
    assert re.search(FAULTS[name][2], found.reason), found.reason


def test_difference_names_everything(netlist):
    found = prove_layer(Evidence(row_network("sign"), netlist), "sign").difference
    assert found is not None
    assert (found.layer, found.output, found.expected, found.derived) == ("sign", 0, 3, -3)
    assert found.tap == "tap row 0, column 0, input channel 0"
    assert str(found) == ("layer sign, output channel 0, tap row 0, column 0, input channel 0: "
                          "coefficient 3 needed, the netlist has -3")


@pytest.mark.parametrize("place", range(WEIGHT.size))
def test_every_coefficient_is_compared(netlist, place):
    """The netlist stays, one weight of the network changes so little that no width does."""
    weight = WEIGHT.copy()
    weight.flat[place] += 1 if weight.flat[place] <= 0 else -1
    found = prove_layer(Evidence(row_network("conv1", weight), netlist), "conv1")
    assert found.failed
    if found.difference is not None:
        assert found.difference.expected == weight.flat[place]
        assert found.difference.derived == WEIGHT.flat[place]


def test_range_wider_than_the_hardware(netlist):
    found = prove_layer(Evidence(row_network("conv1", hi=16), netlist), "conv1")
    assert (found.failed, found.reason) == (True, "conv1__graph: x must have 15 bits, not 12")


def test_layer_without_module(netlist):
    found = prove_layer(Evidence(row_network("conv9"), netlist), "conv9")
    assert (found.proof, found.failed, found.reason) == ("none", False,
                                                         "top.v has no module conv9__graph")


def test_layer_of_another_kind(netlist):
    found = prove_layer(Evidence(row_network("conv1"), netlist), "x")
    assert (found.proof, found.failed) == ("none", False)


# ---------------------------------------------------------------------------------------------
# Graphs of the generator


def read_graph(matrix: np.ndarray, lo: int, hi: int, folder: Path, *, pipelined: bool = True,
               sharing: bool = True) -> LinearMap:
    graph = build(matrix, input_lo=lo, input_hi=hi, sharing=sharing)
    component = AdderGraphComponent(graph, own_clock=True,
                                    schedule=schedule(graph) if pipelined else None)
    (folder / "graph.v").write_text(to_verilog(component, name="adder_graph"))
    return derive(read_netlist(folder / "graph.v")["adder_graph"],
                  shapes=[(width, signed) for _, width, signed in component.input_layout],
                  lo=np.full(len(matrix), lo), hi=np.full(len(matrix), hi),
                  widths=[width for _, width, _ in component.output_layout])


def coefficients(found: LinearMap, inputs: int) -> np.ndarray:
    matrix = np.zeros((inputs, len(found.outputs)), np.int64)
    for j, form in enumerate(found.outputs):
        assert isinstance(form, Form), str(form)
        assert form.constant == 0
        matrix[form.index, j] = form.coefficient
    return matrix


@pytest.mark.parametrize(("lo", "hi", "bits", "pipelined"), [
    (0, 255, 8, True), (-8, 7, 6, False), (0, 1, 4, True), (-1, 0, 4, True), (-100, 3, 15, True),
])
def test_generated_graph(lo, hi, bits, pipelined, tmp_path):
    rng = np.random.default_rng(bits)
    matrix = rng.integers(-(1 << bits - 1), 1 << bits - 1, (9, 5)) * (rng.random((9, 5)) < 0.7)
    matrix[2], matrix[:, 3] = 0, 0
    matrix[0, 0] = -(1 << bits - 1)
    found = read_graph(matrix, lo, hi, tmp_path, pipelined=pipelined)
    assert np.array_equal(coefficients(found, 9), matrix)
    assert (found.latency > 0) == pipelined


def test_layer_of_150_by_16(tmp_path):
    matrix = dyadic(np.random.default_rng(5), (150, 16))
    found = read_graph(matrix, 0, 255, tmp_path)
    assert np.array_equal(coefficients(found, 150), matrix)
    assert found.words > 1000


@pytest.mark.slow
def test_layer_of_5000_adders(tmp_path):
    matrix = dyadic(np.random.default_rng(6), (400, 20))
    found = read_graph(matrix, -128, 127, tmp_path, sharing=False)
    assert np.array_equal(coefficients(found, 400), matrix)
    assert found.words > 5000
