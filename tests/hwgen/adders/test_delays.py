# amaranth: UnusedElaboratable=no
"""Sharing over time, against a convolution written with numpy alone."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.adders import compiled
from hwgen.adders.delayed_component import DelayedComponent, delayed_verilog
from hwgen.adders.delays import build_delayed, taps_of
from hwgen.adders.graph import GraphError
from hwgen.adders.search import build
from hwgen.errors import HwgenError
from tests.hwgen.adders.test_component import pack, unpack

STEPS = 300


def kernel(name: str, kh: int, kw: int, cin: int, co: int) -> Any:
    rng = np.random.default_rng([kh, kw, cin, co])
    if name == "separable":
        column, row = rng.integers(1, 8, (kh, 1)), rng.integers(1, 8, (1, kw))
        return np.tile((column @ row)[:, :, None, None], (1, 1, cin, co)).reshape(-1, co)
    if name == "sparse":
        values = rng.integers(-31, 32, (kh * kw * cin, co))
        return np.where(rng.random(values.shape) < 0.2, values, 0)
    return rng.integers(-31, 32, (kh * kw * cin, co))


def convolved(image: Any, matrix: Any, kh: int, kw: int) -> Any:
    """Outputs (rows, columns, co) of the windows that lie in the image, by im2col."""
    rows, columns, _ = image.shape
    return np.array([[image[r:r + kh, c:c + kw].reshape(-1) @ matrix
                      for c in range(columns - kw + 1)] for r in range(rows - kh + 1)])


def steps_of(image: Any, kh: int, mode: str) -> list[list[int]]:
    """What stands at x, step by step, in raster order."""
    rows, columns, _ = image.shape
    if mode == "row":
        return image.reshape(rows * columns, -1).tolist()
    above = np.pad(image, ((kh - 1, 0), (0, 0), (0, 0)))
    return [above[r:r + kh, c].reshape(-1).tolist() for r in range(rows) for c in range(columns)]


SHAPES = [("dense", 3, 3, 1, 4), ("dense", 2, 3, 2, 3), ("separable", 5, 5, 1, 2),
          ("sparse", 3, 4, 2, 3), ("dense", 1, 1, 3, 2), ("dense", 1, 4, 1, 2),
          ("dense", 3, 1, 1, 2)]


@pytest.mark.parametrize("mode", ["column", "row"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s)))
def test_every_window(shape, mode):
    """The graph as an interpreter of its own reads it, over an image with padding in the stream."""
    name, kh, kw, cin, co = shape
    matrix = kernel(name, kh, kw, cin, co)
    graph = build_delayed(matrix, kernel=(kh, kw), delays=mode, input_lo=-128, input_hi=127,
                          steps=STEPS)
    rng = np.random.default_rng(1)
    image = np.pad(rng.integers(-128, 128, (kh + 2, kw + 3, cin)), ((1, 1), (0, 1), (0, 0)))
    width = image.shape[1]
    x = np.array(steps_of(image, kh, mode), dtype=np.int64).T
    words = list(x)

    def past(word: Any, delay: tuple[int, int]) -> Any:
        steps = delay[0] * width + delay[1]
        return np.concatenate([np.zeros(steps, np.int64), word])[:x.shape[1]]

    for node, (a, b) in zip(graph.plain.nodes, graph.delays, strict=True):
        first = past(words[node.a], a) << node.a_shift
        second = past(words[node.b], b) << node.b_shift
        words.append((-first if node.a_negative else first)
                     + (-second if node.b_negative else second))
    found = []
    for output, end in zip(graph.plain.outputs, graph.ends, strict=True):
        if output.signal is None:
            found.append(np.zeros(x.shape[1], np.int64))
            continue
        value = past(words[output.signal], end) * (-1 if output.negative else 1)
        found.append(value << output.shift if output.shift >= 0 else value >> -output.shift)
    y = np.array(found).T.reshape(*image.shape[:2], co)[kh - 1:, kw - 1:]
    assert (y == convolved(image, matrix, kh, kw)).all()


@pytest.mark.skipif(compiled.missing() is not None, reason=str(compiled.missing()))
@pytest.mark.parametrize("mode", ["column", "row"])
def test_separable_kernels_share(mode):
    """A column of 5 taps and a row of 5: far fewer adders than without time."""
    matrix = kernel("separable", 5, 5, 1, 2)
    graph = build_delayed(matrix, kernel=(5, 5), delays=mode, input_lo=-128, input_hi=127,
                          steps=2000)
    apart = build(matrix, input_lo=-128, input_hi=127, steps=2000)
    assert graph.adders < 0.8 * apart.adders


def test_same_kernel_later_costs_nothing():
    """Two outputs, the second one the first one a pixel to the left."""
    taps = np.zeros((3, 4, 2), dtype=np.int64)
    taps[:, 1:, 0] = taps[:, :3, 1] = [[3, 5, 7], [1, -2, 9], [4, 4, 1]]
    one = build_delayed(taps[:, 1:, :1].reshape(-1, 1), kernel=(3, 3), delays="row", input_lo=0,
                        input_hi=1, steps=STEPS)
    two = build_delayed(taps.reshape(-1, 2), kernel=(3, 4), delays="row", input_lo=0, input_hi=1,
                        steps=STEPS)
    if compiled.missing() is None:
        assert two.adders <= one.adders + 1


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("mode", ["column", "row"])
def test_component(mode, pipelined):
    """Amaranth's simulator, ``en`` low at random steps; the line memory is played by Python."""
    kh, kw, cin, co = 3, 3, 2, 3
    matrix = kernel("dense", kh, kw, cin, co)
    graph = build_delayed(matrix, kernel=(kh, kw), delays=mode, input_lo=-8, input_hi=7,
                          steps=STEPS)
    dut = DelayedComponent(graph, pipelined=pipelined)
    assert (dut.latency == 0) != pipelined
    image = np.random.default_rng(2).integers(-8, 8, (6, 7, cin))
    stimulus = steps_of(image, kh, mode)
    stimulus += [[0] * len(stimulus[0])] * dut.latency
    rng, found = np.random.default_rng(3), []
    line = [0] * image.shape[1]

    async def bench(ctx):
        for values in stimulus:
            while rng.random() < 0.3:
                ctx.set(dut.en, 0)
                ctx.set(dut.x, int(rng.integers(1 << 8)))
                await clock(ctx)
            ctx.set(dut.en, 1)
            ctx.set(dut.x, pack(values, dut.input_layout))
            if dut.timing.line_bits:
                ctx.set(dut.line_q, line[0])
            await ctx.delay(1e-9)
            found.append(unpack(ctx.get(dut.y), dut.output_layout))
            if dut.timing.line_bits:
                line.append(ctx.get(dut.line_d))
                line.pop(0)
            await clock(ctx)

    async def clock(ctx):
        await ctx.delay(1e-9)
        ctx.set(dut.clk, 1)
        await ctx.delay(1e-9)
        ctx.set(dut.clk, 0)

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
    y = np.array(found[dut.latency:]).reshape(*image.shape[:2], co)[kh - 1:, kw - 1:]
    assert (y == convolved(image, matrix, kh, kw)).all()


BENCH = """
module bench;
  reg clk = 0, en = 0;
  reg [{x_bits}-1:0] x = 0, stimulus [0:{steps}-1];
  wire [{y_bits}-1:0] y;
  adder_graph {parameters} dut (.clk(clk), .en(en), .x(x), .y(y));
  integer n, waits;
  initial begin
    $readmemh("x.hex", stimulus);
    waits = 7;
    for (n = 0; n < {steps}; n = n + 1) begin
      while (waits % 3 == 0) begin
        en = 0; x = ~stimulus[n]; #1 clk = 1; #1 clk = 0; waits = (waits * 5 + 1) % 64;
      end
      waits = (waits * 5 + 1) % 64;
      en = 1; x = stimulus[n]; #1 $display("%h", y); clk = 1; #1 clk = 0;
    end
  end
endmodule
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize(("mode", "pipelined"), [("row", True), ("row", False), ("column", True)])
def test_verilog_in_icarus(mode, pipelined, tmp_path):
    """The text that is written, with its line memory, against x @ W of every window."""
    kh, kw, cin, co = 3, 3, 2, 3
    matrix = kernel("sparse" if mode == "column" else "dense", kh, kw, cin, co)
    graph = build_delayed(matrix, kernel=(kh, kw), delays=mode, input_lo=-8, input_hi=7,
                          steps=STEPS)
    dut = DelayedComponent(graph, pipelined=pipelined)
    (tmp_path / "dut.v").write_text(delayed_verilog(dut, header="test"))
    image = np.random.default_rng(4).integers(-8, 8, (7, 9, cin))
    stimulus = steps_of(image, kh, mode)
    stimulus += [[0] * len(stimulus[0])] * dut.latency
    (tmp_path / "x.hex").write_text(
        "\n".join(f"{pack(values, dut.input_layout):x}" for values in stimulus))
    row = f"#(.ROW({image.shape[1]}))" if dut.timing.line_bits else ""
    assert bool(row) == (mode == "row")
    (tmp_path / "bench.v").write_text(BENCH.format(
        x_bits=len(dut.x), y_bits=len(dut.y), steps=len(stimulus), parameters=row))
    subprocess.run(["iverilog", "-g2005", "-o", "bench", "bench.v", "dut.v"], cwd=tmp_path,
                   check=True, timeout=120)
    lines = subprocess.run(["vvp", "bench"], cwd=tmp_path, check=True, timeout=120,
                           capture_output=True, encoding="utf-8").stdout.split()
    found = [unpack(int(line.replace("x", "0"), 16), dut.output_layout) for line in lines]
    y = np.array(found[dut.latency:]).reshape(*image.shape[:2], co)[kh - 1:, kw - 1:]
    assert (y == convolved(image, matrix, kh, kw)).all()


def test_planted_delay_is_caught():
    """One operand a pixel too late: expanding the graph has to notice."""
    matrix = kernel("dense", 3, 3, 1, 4)
    graph = build_delayed(matrix, kernel=(3, 3), delays="column", input_lo=0, input_hi=1, steps=0)
    taps = taps_of(matrix, (3, 3), "column")
    place = next(n for n, pair in enumerate(graph.delays) if pair[0][1] > 0)
    (row, column), other = graph.delays[place]
    wrong = dataclasses.replace(graph, delays=(*graph.delays[:place], ((row, column - 1), other),
                                               *graph.delays[place + 1:]))
    graph.check(taps)
    with pytest.raises(GraphError, match=r"Tap \(.*\) must be|Output \d+: input"):
        wrong.check(taps)


def test_same_arguments_same_graph():
    matrix = kernel("dense", 3, 3, 2, 3)
    arguments = {"kernel": (3, 3), "delays": "row", "input_lo": 0, "input_hi": 255, "steps": 300}
    assert build_delayed(matrix, **arguments) == build_delayed(matrix.copy(), **arguments)


@pytest.mark.parametrize(("options", "message"), [
    ({"delays": "none"}, "Delays must be column or row, not none"),
    ({"kernel": (2, 3)}, "Rows must be a multiple of 6 for a kernel of 2,3, not 9"),
    ({"kernel": (0, 3)}, "Kernel must be 1 to 128 rows and columns, not 0 and 3"),
])
def test_wrong_arguments(options, message):
    arguments = {"kernel": (3, 3), "delays": "row", "input_lo": 0, "input_hi": 1} | options
    with pytest.raises(HwgenError) as caught:
        build_delayed(np.eye(9, dtype=int), **arguments)
    assert str(caught.value) == message
