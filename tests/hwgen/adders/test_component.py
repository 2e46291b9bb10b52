# amaranth: UnusedElaboratable=no
from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from hwgen.adders.component import AdderGraphComponent, layout
from hwgen.adders.graph import Add, AdderGraph, Input, Output
from hwgen.adders.schedule import schedule
from hwgen.adders.search import build
from hwgen.verilog import to_verilog
from tests.hwgen.adders import helpers


def pack(values: Sequence[int], places: Sequence[tuple[int, int, bool]]) -> int:
    return sum((value & (1 << width) - 1) << offset
               for value, (offset, width, _) in zip(values, places, strict=True))


def unpack(word: int, places: Sequence[tuple[int, int, bool]]) -> list[int]:
    values = []
    for offset, width, is_signed in places:
        value = word >> offset & (1 << width) - 1
        values.append(value - (1 << width) if is_signed and value >> width - 1 else value)
    return values


def run(dut: AdderGraphComponent, stimulus: list[list[int]], seed: int | None) -> list[list[int]]:
    """Give one input vector an enabled cycle, ``en`` low at random cycles; return all outputs."""
    found: list[list[int]] = []
    rng = np.random.default_rng(seed)

    async def combinational(ctx):
        for values in stimulus:
            ctx.set(dut.x, pack(values, dut.input_layout))
            await ctx.delay(1e-9)
            found.append(unpack(ctx.get(dut.y), dut.output_layout))

    async def pipelined(ctx):
        sent = 0
        while len(found) < len(stimulus):
            ready = seed is None or rng.random() < 0.6
            ctx.set(dut.en, ready)
            # what stands at x while en is low must not get in
            values = stimulus[min(sent, len(stimulus) - 1)] if ready else [
                int(rng.integers(port.lo, port.hi, endpoint=True)) for port in dut.graph.inputs]
            ctx.set(dut.x, pack(values, dut.input_layout))
            await ctx.tick()
            sent += ready
            if ready and sent >= dut.latency:
                found.append(unpack(ctx.get(dut.y), dut.output_layout))

    simulator = Simulator(dut)
    if dut.latency:
        simulator.add_clock(10e-9)
    simulator.add_testbench(pipelined if dut.latency else combinational)
    simulator.run()
    return found


def vectors(matrix: Any, lo: int, hi: int) -> list[list[int]]:
    return helpers.vectors(np.random.default_rng(2), matrix, lo, hi, 12)


@pytest.mark.parametrize(("name", "lo_hi"), [
    *((name, (-8, 7)) for name in helpers.FAMILIES),
    *((name, bounds) for name in ("dyadic", "negative only", "shifted columns", "one column")
      for bounds in ((0, 255), (0, 1), (-1, 0), (-200, -100)))])
def test_combinational(name, lo_hi):
    matrix, (lo, hi) = helpers.family(name), lo_hi
    dut = AdderGraphComponent(build(matrix, input_lo=lo, input_hi=hi))
    assert dut.latency == 0
    assert not hasattr(dut, "en")
    stimulus = vectors(matrix, lo, hi)
    assert run(dut, stimulus, None) == [helpers.product(x, matrix) for x in stimulus]


@pytest.mark.parametrize("seed", [None, 0])               # None: no gaps
@pytest.mark.parametrize(("per_stage", "front"), [(1, False), (1, True), (2, False), (3, True)])
@pytest.mark.parametrize("name", ["negative only", "shifted columns", "zero column and row",
                                  "permuted signs", "one entry"])
def test_pipelined(name, per_stage, front, seed):
    """The result comes exactly ``latency`` enabled cycles later, whatever is at x in between."""
    matrix = helpers.family(name)
    graph = build(matrix, input_lo=-8, input_hi=7)
    plan = schedule(graph, adders_per_stage=per_stage, register_inputs=front)
    dut = AdderGraphComponent(graph, schedule=plan)
    assert dut.latency == -(-graph.depth // per_stage) + front
    stimulus = vectors(matrix, -8, 7)
    assert run(dut, stimulus, seed) == [helpers.product(x, matrix) for x in stimulus]


def test_inputs_of_different_ranges():
    lo, hi = [0, -8, 1, -1, 0], [1, 7, 1, 0, 65535]
    matrix = helpers.family("one column")[:5]
    graph = build(matrix, input_lo=lo, input_hi=hi)
    dut = AdderGraphComponent(graph, schedule=schedule(graph))
    assert dut.input_layout == [(0, 1, False), (1, 4, True), (5, 1, False), (6, 1, True),
                                (7, 16, False)]
    rng = np.random.default_rng(0)
    stimulus = rng.integers(lo, hi, size=(40, 5), endpoint=True).tolist() + [lo, hi]
    assert run(dut, stimulus, 1) == [helpers.product(x, matrix) for x in stimulus]


def test_wires_with_a_schedule_stay_wires():
    matrix = np.array([[4, 0], [0, 0]])
    graph = build(matrix, input_lo=-2, input_hi=1)
    dut = AdderGraphComponent(graph, schedule=schedule(graph), own_clock=True)
    assert dut.latency == 0
    assert set(dut.signature.members) == {"x", "y"}
    assert dut.output_layout == [(0, 4, True), (4, 1, False)]
    assert run(dut, [[-2, 1], [1, 0]], None) == [[-8, 0], [4, 0]]


def test_layout():
    assert layout([(0, 0), (-1, 0), (0, 1), (-8, 7), (-9, 7), (0, 255), (1, 256)]) == [
        (0, 1, False), (1, 1, True), (2, 1, False), (3, 4, True), (7, 5, True), (12, 8, False),
        (20, 9, False)]


def test_schedule_of_another_graph():
    one, other = (build(np.array([[n]]), input_lo=0, input_hi=1) for n in (3, 5))
    with pytest.raises(ValueError, match="Schedule must be of the graph given"):
        AdderGraphComponent(one, schedule=schedule(other))


@pytest.mark.parametrize("shape", [(0, 2), (2, 0)])
def test_nothing_to_build(shape):
    graph = build(np.zeros(shape, dtype=int), input_lo=0, input_hi=1)
    message = f"Graph must have inputs and outputs, not {shape[0]} and {shape[1]}"
    with pytest.raises(ValueError, match=message):
        AdderGraphComponent(graph)


def flip_flops(graph: AdderGraph, **options: Any) -> int:
    """Bits of the registers in the RTLIL."""
    dut = AdderGraphComponent(graph, schedule=schedule(graph, **options))
    text = rtlil.convert(dut, name="adder_graph", emit_src=False)
    cells = re.findall(r"cell \$dff.*?end\n", text, flags=re.S)
    return sum(int(match[1]) for cell in cells
               if (match := re.search(r"parameter \\WIDTH (\d+)", cell)))


@pytest.mark.parametrize("options", [{}, {"adders_per_stage": 2}, {"register_inputs": True}])
@pytest.mark.parametrize("name", ["uniform", "negative only", "sparse", "shifted columns"])
def test_registers_are_those_of_the_schedule(name, options):
    graph = build(helpers.family(name), input_lo=-8, input_hi=7)
    assert flip_flops(graph, **options) == schedule(graph, **options).ff_bits


TESTBENCH = """
module bench;
  reg clk = 0, en = 1;
  reg [{xw}-1:0] x, stimulus [0:{n}-1];
  wire [{yw}-1:0] y;
  integer i;
  adder_graph dut(.x(x), .y(y){ports});
  initial begin
    $readmemh("x.hex", stimulus);
    for (i = 0; i < {n} + {latency}; i = i + 1) begin
      x = stimulus[i < {n} ? i : {n} - 1];
      #1;
      if (i >= {latency}) $display("%h", y);
      #1 clk = 1;
      #1 clk = 0;
    end
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("name", ["trained", "negative only"])
def test_verilog_in_icarus(name, pipelined, tmp_path):
    """The Verilog text by itself, in a bench of its own, at random and extreme inputs."""
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    matrix = helpers.family(name)
    graph = build(matrix, input_lo=-8, input_hi=7)
    dut = AdderGraphComponent(graph, schedule=schedule(graph) if pipelined else None,
                              own_clock=True)
    stimulus = vectors(matrix, -8, 7)
    (tmp_path / "x.hex").write_text(
        "".join(f"{pack(x, dut.input_layout):x}\n" for x in stimulus))
    (tmp_path / "dut.v").write_text(to_verilog(dut, name="adder_graph"))
    (tmp_path / "bench.v").write_text(TESTBENCH.format(
        xw=len(dut.x), yw=len(dut.y), n=len(stimulus), latency=dut.latency,
        ports=", .clk(clk), .en(en)" if pipelined else ""))
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "bench.v", "dut.v"], cwd=tmp_path,
                   check=True, timeout=60)
    result = subprocess.run(["vvp", "bench"], cwd=tmp_path, check=True, timeout=60,
                            capture_output=True, text=True)
    words = [line for line in result.stdout.split() if re.fullmatch(r"[0-9a-f]+", line)]
    assert [unpack(int(word, 16), dut.output_layout) for word in words] == [
        helpers.product(x, matrix) for x in stimulus]


def test_verilog_is_readable():
    """Ports as promised, every adder and register named for what it holds, the same bytes again."""
    graph = AdderGraph((Input(0, 255), Input(-8, 7)), (Add(0, 1, 0, 2), Add(2, 0, 3, 0)),
                       (Output(3), Output(2, 1)))
    dut = AdderGraphComponent(graph, schedule=schedule(graph), own_clock=True)
    text = to_verilog(dut, name="adder_graph")
    header = re.search(r"module adder_graph\((.*?)\);", text)
    assert header is not None
    assert sorted(header[1].split(", ")) == ["clk", "en", "x", "y"]
    assert {"add_0", "d1_add_0", "d2_add_0", "add_1", "d1_add_1", "d1_x_0"} <= set(
        re.findall(r"\b(?:d\d+_)?(?:add|x)_\d+\b", text))
    again = AdderGraphComponent(graph, schedule=schedule(graph), own_clock=True)
    assert to_verilog(again, name="adder_graph") == text


def test_no_warning_while_elaborating():
    graph = build(helpers.family("sparse"), input_lo=-8, input_hi=7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rtlil.convert(AdderGraphComponent(graph, schedule=schedule(graph)), name="adder_graph",
                      emit_src=False)


@pytest.mark.parametrize("lo", [-8, 0])
def test_exact_division(lo):
    """An output that drops low bits, which are 0: 2a of (a + b) + (a - b), and 4a."""
    ports = (Input(lo, 7), Input(lo, 7))
    nodes = (Add(0, 1), Add(0, 1, b_negative=True), Add(2, 3))
    graph = AdderGraph(ports, nodes, (Output(4, -1), Output(4, 1), Output(4, -1, True)))
    dut = AdderGraphComponent(graph)
    stimulus = [[a, b] for a in range(lo, 8) for b in (lo, 0, 7)]
    assert run(dut, stimulus, None) == [[a, 4 * a, -a] for a, _ in stimulus]
