# amaranth: UnusedElaboratable=no
"""The Verilog text: names, ports, header, the same bytes again, and what a linter says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

import hwgen
from hwgen import netfile
from hwgen.errors import HwgenError
from hwgen.network import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Conv2d,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Network,
    Requantise,
    int64,
)
from hwgen.ranges import linear_range, width_of
from hwgen.stream.emit import header_lines, make_top, ports_json, write_design
from hwgen.stream.plan import PORTS, Options
from hwgen.stream.top import StreamTop
from hwgen.verilog import add, to_verilog

AROUND = (1, 1, 1, 1)
LINT = Path(hwgen.__file__).parent / "lint.vlt"


def network() -> Network:
    """One of every kind of layer, a residual block, dense layers in both forms."""
    rng = np.random.default_rng(0)

    def weight(*shape):
        return int64(rng.integers(-7, 8, shape))

    def codes(name, source, channels, lo=0, hi=15, shift=4):
        return Requantise(
            name,
            source,
            int64([3] * channels),
            int64(rng.integers(-9, 9, channels)),
            int64([shift] * channels),
            lo,
            hi,
            0,
        )

    def bias(count):
        return int64(rng.integers(-20, 20, count)), int64([0] * count)

    return Network(
        (
            Input("image", 2, 6, 6, -5, 16, 0),
            Conv2d("conv1", "image", weight(3, 2, 3, 3), *bias(3), (1, 1), AROUND),
            codes("relu1", "conv1", 3),
            Conv2d("conv2", "relu1", weight(3, 1, 3, 3), *bias(3), (1, 1), AROUND, groups=3),
            codes("relu2", "conv2", 3),
            Add("sum", ("relu2", "relu1"), (0, 0)),
            Activation(
                "tanh",
                "sum",
                int64([-4, 0, 9]),
                int64([0, 3, 2, 0]),
                int64([-9, 1, 0, 20]),
                2,
                -8,
                7,
                0,
            ),
            MaxPool("pool1", "tanh", (2, 2), (2, 2), (1, 1, 0, 0)),
            AvgPool("pool2", "pool1", (2, 2), (1, 1)),
            codes("relu3", "pool2", 3, -4, 3),
            Flatten("flat", "relu3"),
            Dense("dense1", "flat", weight(5, 12), *bias(5)),
            codes("relu4", "dense1", 5),
            Dense("dense2", "relu4", weight(3, 5), *bias(3)),
            ArgMax("best", "dense2"),
        )
    )


@pytest.fixture(scope="module")
def net() -> Network:
    return network()


@pytest.fixture(scope="module")
def top(net: Network) -> StreamTop:
    return make_top(net, Options(dense="rom"))


@pytest.fixture(scope="module")
def text(net: Network, top: StreamTop) -> str:
    return to_verilog(top, name="top", header=header_lines(net))


@pytest.fixture(scope="module")
def graph_text(net: Network) -> str:
    return to_verilog(make_top(net, Options(dense="graph")), name="top", header=header_lines(net))


def modules(text: str) -> dict[str, str]:
    return {
        match[1]: match[0]
        for match in re.finditer(r"^module (\S+?)\s*\(.*?^endmodule", text, re.S | re.M)
    }


def ports(module: str) -> dict[str, tuple[str, int]]:
    """Return direction and width of each port."""
    found = re.findall(r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);", module, re.M)
    return {name: (direction, int(top or 0) + 1) for direction, top, name in found}


EMIT = """
import sys
from pathlib import Path
from hwgen.stream.emit import write_design
from hwgen.stream.plan import PORTS, Options
write_design(Path(sys.argv[1]), Path(sys.argv[2]), options=Options(dense="rom"))
"""


def test_same_bytes(net, text, tmp_path):
    """Once more, and in another process with another hash seed and another current folder."""
    assert (
        to_verilog(make_top(net, Options(dense="rom")), name="top", header=header_lines(net))
        == text
    )
    netfile.save(net, tmp_path / "net.npz")
    subprocess.run(
        [sys.executable, "-c", EMIT, str(tmp_path / "net.npz"), str(tmp_path / "design")],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        timeout=300,
    )
    assert (tmp_path / "design" / "top.v").read_text() == text


def test_folder_holds_the_design(net, graph_text, tmp_path):
    netfile.save(net, tmp_path / "net.npz")
    write_design(tmp_path / "net.npz", tmp_path / "design", options=Options(dense="graph"))
    assert sorted(path.name for path in (tmp_path / "design").iterdir()) == [
        "net.npz",
        "plan.json",
        "ports.json",
        "top.v",
    ]
    assert (tmp_path / "design" / "top.v").read_text() == graph_text


def test_header(net, text):
    comments = text[: text.index("`timescale 1ns/1ps\n")].splitlines()
    assert all(line.startswith("// ") for line in comments)
    assert comments[0] == f"// hwgen {hwgen.__version__}, streaming engine"
    assert comments[1] == f"// network sha256 {net.digest}"
    assert text.count("`timescale") == 1


def test_no_path(text, repository):
    for line in text.splitlines():
        assert not re.search(r"(^|[^/\w])/\w", line.partition("//")[0]), line
    for word in (str(repository), ".py", "site-packages", os.environ.get("HOME", "/home"), "src"):
        assert word not in text


def test_names(text, graph_text):
    """A module a layer, parts behind a double underscore; nothing that Verilog has to escape."""
    assert {
        "top",
        "image",
        "conv1",
        "conv1__window",
        "conv1__window__lines",
        "conv1__graph",
        "relu1",
        "relu1__lanes",
        "relu1__skid",
        "relu1__fork",
        "conv2",
        "conv2__window",
        "conv2__graph",
        "relu2",
        "sum",
        "sum__join",
        "sum__sum",
        "tanh",
        "tanh__lanes",
        "pool1",
        "pool1__window",
        "pool1__maximum",
        "pool2",
        "pool2__window",
        "pool2__graph",
        "relu3",
        "dense1",
        "dense1__weights",
        "dense1__lane_0",
        "relu4",
        "dense2",
        "best",
        "best__running",
        "output__frame",
    } <= set(modules(text))
    assert {"dense1__gather", "dense1__select", "dense1__graph"} <= set(modules(graph_text))
    for name, module in modules(text).items():
        assert "\\" not in module, name
        assert "$" not in module.replace("$signed", ""), name


def test_instances_are_named_after_their_parts(text, top):
    """Every tap's path leads from top through instances to a module that has the tap's ports."""
    found = modules(text)
    for tap in ports_json(top)["taps"]:
        if "alias" in tap:
            continue
        assert re.search(rf"^  {tap['instance']} {tap['instance']} \(", found["top"], re.M), tap
        own = ports(found[tap["instance"]])
        last = tap["fields"][-1]
        assert own[tap["valid"]] == ("output", 1)
        assert own[tap["ready"]] == ("input", 1)
        assert own[tap["payload"]] == ("output", last["offset"] + last["width"])
    assert re.search(r"^  conv1__window window \(", found["conv1"], re.M)
    assert re.search(r"^  conv1__graph graph \(", found["conv1"], re.M)
    wires = re.findall(r"^  wire (?:signed )?(?:\[\d+:0\] )?(\w+);", found["top"], re.M)
    inner = [wire for wire in wires if wire not in ports(found["top"])]
    assert inner
    assert all(re.fullmatch(r"\w+__[io]\d?__(valid|ready|payload)", wire) for wire in inner), inner


def test_ports_of_top(text):
    # 2 channels of 6 bits; the class in 2 bits, three scores above it.
    found = ports(modules(text)["top"])
    scores = found.pop("m_axis_tdata")
    assert scores[0] == "output"
    assert scores[1] % 8 == 0
    assert {"m_axis_tdata", *found} == set(PORTS)
    assert found == {
        "clk": ("input", 1),
        "rst": ("input", 1),
        "s_axis_tdata": ("input", 16),
        "s_axis_tvalid": ("input", 1),
        "s_axis_tready": ("output", 1),
        "s_axis_tlast": ("input", 1),
        "m_axis_tvalid": ("output", 1),
        "m_axis_tready": ("input", 1),
        "m_axis_tlast": ("output", 1),
        "frame_error": ("output", 1),
    }


def test_ports_of_a_graph(net, text):
    """x: every tap, channel by channel, as wide as its code; y: every sum without bias, as its
    range needs."""
    found = ports(modules(text)["conv1__graph"])
    found.pop("rst", None)
    weight = net.by_name["conv1"].weight
    lo, hi = linear_range(weight.reshape(3, -1), int64([-5] * 18), int64([16] * 18))
    bits = sum(width_of(int(a), int(b))[0] for a, b in zip(lo, hi, strict=True))
    assert found == {
        "clk": ("input", 1),
        "en": ("input", 1),
        "x": ("input", 9 * 2 * 6),
        "y": ("output", bits),
    }


def test_no_multiplication(text, graph_text):
    for line in (text + graph_text).splitlines():
        code = line.partition("//")[0].replace("(*", "").replace("*)", "").replace("@*", "")
        assert "*" not in code, line
        assert not re.search(r"[^/]/[^/]|%", code.replace("1ns/1ps", "")), line


def lint(path: Path, environment: dict[str, str]) -> str:
    """Return what verilator says with all warnings on; nothing if it is content."""
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", str(LINT), path.name, "--top-module", "top"],
        cwd=path.parent,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    return "" if done.returncode == 0 and "%" not in done.stderr else done.stderr


def test_lint(text, graph_text, verilator, tmp_path):
    for n, one in enumerate((text, graph_text)):
        path = tmp_path / f"top{n}.v"
        path.write_text(one)
        assert lint(path, verilator) == ""


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("wire [3:0] cut = {clk, s_axis_tdata};", "WIDTHTRUNC"),
        ("wire open; assign frame_error = open;", "UNDRIVEN"),
        ("reg held; always @* if (clk) held = rst;", "LATCH"),
        ("assign frame_error = ~frame_error;", "UNOPTFLAT"),
        ("wire always_true = s_axis_tdata[3:0] <= 4'hf;", "CMPCONST"),
    ],
)
def test_waivers_leave_the_rest(line, rule, verilator, tmp_path):
    """What is waived hides no other fault."""
    path = tmp_path / "planted.v"
    path.write_text(
        "module top(input clk, input rst, input [7:0] s_axis_tdata, output frame_error, "
        f"output s_axis_tready);\n{line}\nendmodule\n"
    )
    assert f"%Warning-{rule}" in lint(path, verilator)


def test_waivers_are_few():
    rules = [line for line in LINT.read_text().splitlines() if line.startswith("lint_off")]
    assert len(rules) <= 5
    lines = LINT.read_text().splitlines()
    for rule in rules:
        assert lines[lines.index(rule) - 1].startswith("//"), "a reason above each rule"


class Leaf(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"a": In(4), "b": Out(4)})

    def elaborate(self, platform):
        m = Module()
        held = Signal(4, name="held")
        m.d.sync += held.eq(self.a)
        m.d.comb += self.b.eq(held + 1)
        return m


class Parent(wiring.Component):
    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__({"a": In(4), "b": Out(4)})

    def elaborate(self, platform):
        m = Module()
        value = self.a
        for name in self.names:
            leaf = Leaf()
            add(m, platform, name, leaf)
            m.d.comb += leaf.a.eq(value)
            value = leaf.b
        m.d.comb += self.b.eq(value)
        return m


def test_a_component_keeps_its_ports():
    found = modules(to_verilog(Parent(["one", "two"]), name="parent"))
    assert set(found) == {"parent", "one", "two"}
    wanted = {"clk": ("input", 1), "rst": ("input", 1), "a": ("input", 4), "b": ("output", 4)}
    assert all(ports(module) == wanted for module in found.values())


def test_header_of_several_lines():
    text = to_verilog(Leaf(), name="leaf", header="one\n\ntwo  ")
    assert text.startswith("// one\n//\n// two\n`timescale 1ns/1ps\n")


def test_name_of_the_top_again():
    with pytest.raises(HwgenError, match="Two modules would be called parent"):
        to_verilog(Parent(["parent"]), name="parent")


@pytest.mark.parametrize("name", ["clk", "rst", "m_axis_tdata"])
def test_layer_named_like_a_port(name):
    layers = (
        Input("image", 1, 2, 2, 0, 3, 0),
        Requantise(name, "image", int64([1]), int64([0]), int64([0]), 0, 3, 0),
    )
    message = f"Layer '{name}', name: a name that no port of the engine has needed, not {name}"
    with pytest.raises(HwgenError, match=message):
        make_top(Network(layers))


class Two(wiring.Component):
    """A memory that begins with zeros and is to lie in block RAM, and one that does not."""

    def __init__(self):
        super().__init__({"address": In(5), "data": In(9), "zeros": Out(9), "ones": Out(9)})

    def elaborate(self, platform):
        m = Module()
        for name, start, out in (("block_zeros", [], self.zeros), ("kept", [1] * 32, self.ones)):
            words = memory.Memory(shape=9, depth=32, init=start)
            m.submodules[name] = words
            read, write = words.read_port(), words.write_port()
            m.d.comb += [read.addr.eq(self.address), write.addr.eq(self.address), write.en.eq(1),
                         write.data.eq(self.data), read.en.eq(1), out.eq(read.data)]
        return m


def test_memories():
    """Zeros are a loop; the attribute that asks for block RAM stands where the name says."""
    text = to_verilog(Two(), name="two")
    assert '(* ram_style = "block", rom_style = "block" *) reg [8:0] block_zeros [31:0];' in text
    assert text.count("ram_style") == text.count("rom_style") == 1
    assert "for (block_zeros_place = 0; block_zeros_place < 32;" in text
    assert text.count("kept[") >= 32
    assert "block_zeros[0]" not in text
