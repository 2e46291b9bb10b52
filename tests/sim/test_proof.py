"""The proof: right netlists are proved, and every planted fault is named."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwgen import netfile
from hwgen.adders.component import AdderGraphComponent
from hwgen.adders.schedule import schedule
from hwgen.adders.search import build
from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.network import ArgMax, AvgPool, Conv2d, Dense, Flatten, Input, Network, Requantise
from hwgen.sim.design import load_folder
from hwgen.sim.linear_forms import Form
from hwgen.sim.netlist import Netlist, read_netlist
from hwgen.sim.netlist_linear import LinearMap, derive
from hwgen.sim.proof import Evidence, LayerProof, Proof, gather, prove, prove_layer
from hwgen.stream.emit import write_design
from hwgen.stream.plan import Options
from hwgen.verilog import to_verilog
from tests.networks import random_network

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


def dyadic(rng: np.random.Generator, shape: tuple[int, ...], digits: int = 1) -> np.ndarray:
    terms = (1 << rng.integers(0, 7, (digits, *shape))) * rng.integers(-1, 2, (digits, *shape))
    return terms.sum(axis=0)


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


# ---------------------------------------------------------------------------------------------
# Whole designs


def small_network() -> Network:
    """Conv2d, AvgPool, and two Dense layers, the first behind a Flatten of more than one pixel."""
    rng = np.random.default_rng(1)

    def codes(name: str, source: str, channels: int, lo: int = 0) -> Requantise:
        return Requantise(name, source, multiplier=np.ones(channels, int),
                          offset=np.zeros(channels, int), shift=np.full(channels, 4), lo=lo,
                          hi=lo + 15, frac=0)

    def sums(kind: type, name: str, source: str, *shape: int) -> Conv2d | Dense:
        return kind(name, source, dyadic(rng, shape, 2), rng.integers(-40, 40, shape[0]),
                    np.zeros(shape[0], int))

    return Network((
        Input("x", 1, 6, 6, 0, 255, 8), sums(Conv2d, "conv1", "x", 3, 1, 3, 3),
        codes("relu1", "conv1", 3, -8), AvgPool("pool1", "relu1", (2, 2), (2, 2)),
        codes("codes1", "pool1", 3, -8), Flatten("flat", "codes1"),
        sums(Dense, "dense1", "flat", 7, 12), codes("relu2", "dense1", 7),
        sums(Dense, "dense2", "relu2", 4, 7), ArgMax("class", "dense2")))


def write_small(folder: Path, dense: str) -> None:
    netfile.save(small_network(), folder / "source.npz")
    write_design(folder / "source.npz", folder, options=Options(dense=dense))


@pytest.fixture(scope="module", params=["graph", "rom"])
def design(request, build_once) -> Path:
    """A generated folder; its name ends in the form of the dense layers."""
    return build_once(f"proof-{request.param}", lambda folder: write_small(folder, request.param))


def by_name(proof: Proof) -> dict[str, LayerProof]:
    return {layer.name: layer for layer in proof.layers}


def test_design(design):
    steps: list[tuple[str, int, int]] = []
    proof = prove(design, progress=lambda *step: steps.append(step))
    assert proof.ok, [layer.reason for layer in proof.failures]
    dense = "parts" if design.name.endswith("rom") else "full"
    assert {name: layer.proof for name, layer in by_name(proof).items()} == {
        "x": "none", "conv1": "full", "relu1": "none", "pool1": "full", "codes1": "none",
        "flat": "none", "dense1": dense, "relu2": "none", "dense2": dense, "class": "none"}
    shown = [layer.coefficients for layer in proof.layers if layer.proof != "none"]
    assert shown == [27, 36, 84, 28]
    assert json.loads(json.dumps(proof.as_dict()))["digest"] == small_network().digest
    assert steps[0] == ("x", 0, 10)
    assert steps[-1] == ("", 10, 10)


def replaced(pattern: str, by: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, by, text, count=1, flags=re.S)


def flip_sign(text: str) -> str:
    """Change the sign of the lowest code that is not 0 in the memory's step 5."""
    found = re.search(r"rom\[5\] = (\d+)'h([0-9a-f]+);", text)
    assert found is not None
    bits, word = int(found[1]), int(found[2], 16)
    lowest = next(n for n in range(0, bits, 5) if word >> n & 15)
    return text.replace(found[0], f"rom[5] = {bits}'h{word ^ 16 << lowest:x};")


def exchange_lanes(text: str) -> str:
    first, second = re.findall(r"\.codes\(([^)]*)\)", text)[:2]
    return text.replace(f"({first})", "(@)").replace(f"({second})", f"({first})").replace(
        "(@)", f"({second})")


def narrow(text: str) -> str:
    return re.sub(r"\[(\d+):0\] (base|bias|total)\b",
                  lambda found: f"[{int(found[1]) - 3}:0] {found[2]}", text)


# name: (module, change of its text, what the proof must say)
ROM_FAULTS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "memory": ("dense1__weights", flip_sign,
               r"output channel \d+, input row \d, column \d, channel \d: coefficient -?\d+ ne"),
    "undefined": ("dense1__weights", replaced(r"rom\[3\] = \d+'h\w+;", ""), "undefined words"),
    "address": ("dense1__weights", replaced(r"rom\[address\]", "rom[~address]"),
                "read at the port address"),
    "late": ("dense1__weights", replaced(r"codes <= ", "codes <= {codes[0], codes[9:1]} & "),
             r"codes\[0\]|is none of"),
    "inverted": ("dense1__lane_0", replaced(r"~ product_0", "product_0"),
                 r"code \d+ with x = -?\d+ must give -?\d+ times x, not"),
    "rounding": ("dense1__lane_0", replaced(r"1'h1 \}", "1'h0 }"),
                 r"code \d+ with x = -?\d+ must give -?\d+ times x, not"),
    "carry": ("dense1__lane_0", replaced(r"term_0, carry_0 \}", "term_0, 1'h0 }"),
              r"code \d+ with x = -?\d+ must give -?\d+ times x, not"),
    "start": ("dense1__lane_0", replaced(r"start \? bias : total", "start ? total : bias"),
              "total must take in 1 times bias, not 0"),
    "enable": ("dense1__lane_0", replaced(r"if \(enable\) total", "if (start) total"),
               "the enable start, not enable"),
    "narrow": ("dense1__lane_0", narrow, r"reach -?\d+\.\.\d+, and the accumulator has"),
    "lanes": ("dense1", exchange_lanes, "lane 0 must have the codes of bits 0 and up"),
}


def module_text(folder: Path, pattern: str) -> dict[str, str]:
    """Return the text of the modules of top.v whose whole name matches, by name."""
    text = (folder / "top.v").read_text()
    return {found[1]: found[0] for found in re.finditer(
        rf"^module ({pattern})\(.*?^endmodule\n", text, re.S | re.M)}


@pytest.fixture(scope="module")
def rom_faults(build_once, tmp_path_factory) -> Evidence:
    """Layer dense1 in memory, as it is and with each fault under the fault's name, read at once."""
    folder = build_once("proof-rom", lambda folder: write_small(folder, "rom"))
    right = module_text(folder, r"dense1\w*")
    texts = list(right.values())
    for name, (module, change, _) in ROM_FAULTS.items():
        changed = change(right[module])
        assert changed != right[module], name
        texts += [text.replace("dense1", name) for text in (right | {module: changed}).values()]
    path = tmp_path_factory.mktemp("roms") / "roms.v"
    path.write_text("".join(texts))
    design = load_folder(folder).design
    return gather(design, read_json(folder / "plan.json"), read_netlist(path))


def renamed(evidence: Evidence, name: str) -> Evidence:
    """The evidence with layer dense1 called by another name."""
    layers = tuple(
        dataclasses.replace(layer, **{field: name for field in ("name", "source")
                                      if getattr(layer, field, "") == "dense1"})
        for layer in evidence.network.layers)
    return dataclasses.replace(evidence, network=Network(layers),
                               roms=dict(evidence.roms) | {name: evidence.roms["dense1"]})


def test_rom(rom_faults):
    assert prove_layer(rom_faults, "dense1").proof == "parts"


@pytest.mark.parametrize("name", ROM_FAULTS)
def test_fault_in_rom(rom_faults, name):
    found = prove_layer(renamed(rom_faults, name), name)
    assert (found.proof, found.failed) == ("none", True)
    assert re.search(ROM_FAULTS[name][2], found.reason), found.reason


@pytest.mark.parametrize(("key", "value", "message"), [
    ("lanes", 0, "must give lanes from 1 to"), ("passes", None, "must give passes from 1 to"),
    ("groups", 1 << 20, "steps"), ("lanes", 1 << 20, "words of .* bits needed|lanes needed"),
    ("words", 3, "words"), ("code_bits", 3, "bits needed"),
])
def test_packing_of_plan_wrong(rom_faults, key, value, message):
    roms = {"dense1": {**rom_faults.roms["dense1"], key: value}}
    found = prove_layer(dataclasses.replace(rom_faults, roms=roms), "dense1")
    assert found.failed
    assert re.search(message, found.reason), found.reason


@pytest.fixture
def folder(build_once, tmp_path) -> Path:
    """A copy of a generated folder, to be spoilt."""
    source = build_once("proof-rom", lambda folder: write_small(folder, "rom"))
    return shutil.copytree(source, tmp_path / "copy")


def test_fault_in_design(folder):
    (right,) = module_text(folder, "conv1__graph").values()
    text = (folder / "top.v").read_text()
    (folder / "top.v").write_text(text.replace(right, replaced(r" \+ ", " - ")(right)))
    proof = prove(folder)
    (failure,) = proof.failures
    assert (proof.ok, failure.name) == (False, "conv1")


def test_other_network(folder):
    network = small_network()
    other = Network(network.layers, {"name": "another"})
    netfile.save(other, folder / "net.npz")
    with pytest.raises(HwgenError, match="digest .* needed"):
        prove(folder)


def test_missing_verilog(folder):
    (folder / "top.v").unlink()
    with pytest.raises(HwgenError, match=r"top\.v"):
        prove(folder)


@pytest.mark.slow
@pytest.mark.parametrize("dense", ["graph", "rom"])
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, dense, tmp_path):
    network = random_network(seed)
    netfile.save(network, tmp_path / "source.npz")
    write_design(tmp_path / "source.npz", tmp_path, options=Options(dense=dense))
    proof = prove(tmp_path)
    assert proof.ok, [layer.reason for layer in proof.failures]
    for layer in network.layers:
        shown = by_name(proof)[layer.name].proof
        if isinstance(layer, (Conv2d, AvgPool)):
            assert shown == "full"
        elif isinstance(layer, Dense):
            assert shown == {"graph": "full", "rom": "parts"}[dense]
