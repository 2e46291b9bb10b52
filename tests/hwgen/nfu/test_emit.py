"""The folder of an NFU: what is in it, what is refused, and that it is the same again."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from hwgen import netfile
from hwgen.commands.app import app
from hwgen.errors import HwgenError
from hwgen.nfu.config import Config
from hwgen.nfu.emit import choose, compact, verilog_of, write_design
from hwgen.sim.nfu_verify import is_nfu, load_nfu
from tests.networks import random_network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("nfu")
    netfile.save(random_network(10), place / "in.npz")
    write_design(place / "in.npz", place / "rtl", tn=4)
    return place / "rtl"


def test_files(folder):
    assert {path.name for path in folder.iterdir()} == {
        "net.npz", "top.v", "program.bin", "nfu.json", "ports.json", "plan.json"}
    digest = netfile.load(folder / "net.npz").digest
    for name in ("nfu.json", "ports.json", "plan.json"):
        assert json.loads((folder / name).read_text())["digest"] == digest
    assert digest in (folder / "top.v").read_text().split("\n")[1]
    assert is_nfu(folder)
    assert not is_nfu(folder.parent)


def test_plan(folder):
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["engine"] == "nfu"
    for layer in plan["layers"]:
        assert {"name", "form", "lut", "ff", "bram", "interval", "latency", "why"} <= set(layer)
        assert layer["lane_use"] is None or 0 <= layer["lane_use"] <= 1
    assert sum(layer["interval"] for layer in plan["layers"]) <= plan["interval"]
    assert plan["memory_bytes"] <= plan["config"]["memory_bytes"]


def test_same_network_same_bytes(folder, tmp_path):
    write_design(folder / "net.npz", tmp_path, tn=4)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_read_again(folder):
    found = load_nfu(folder)
    assert found.program.image == (folder / "program.bin").read_bytes()
    assert found.program.config.tn == 4


@pytest.mark.parametrize(("name", "change", "words"), [
    ("program.bin", lambda raw: raw[:-1] + b"\1", "the program of net.npz needed"),
    ("nfu.json", lambda raw: raw.replace(b'"tn": 4', b'"tn": 5'), "parameters of an NFU needed"),
    ("nfu.json", lambda raw: raw.replace(b'"digest": "', b'"digest": "0'), "digest .* needed"),
    ("top.v", lambda raw: raw.replace(b"sha256 ", b"sha256 x"), "digest"),
])
def test_files_that_do_not_belong_together(folder, tmp_path, name, change, words):
    for path in folder.iterdir():
        raw = path.read_bytes()
        (tmp_path / path.name).write_bytes(change(raw) if path.name == name else raw)
    with pytest.raises(HwgenError, match=words):
        load_nfu(tmp_path)


@pytest.mark.parametrize(("seed", "act_bits"), [(0, 8), (6, 16), (8, 16)])
def test_formats_fit_the_network(seed, act_bits):
    network = random_network(seed)
    program = choose(network, tn=8, code="wide", axi=False)
    assert program.config.act_bits == act_bits
    assert program.config.segments == any(
        type(layer).__name__ == "Activation" for layer in network.layers)
    assert program.config.memory_bytes >= program.size
    assert choose(network, tn=8, code="wide", axi=True).config.memory_bytes == 0


def test_memories_are_marked_and_not_synthesised_with_zeros():
    text = ("  reg [7:0] words [3:0];\n  initial begin\n    words[0] = 8'h00;\n"
            "    words[1] = 8'h00;\n    words[2] = 8'h00;\n    words[3] = 8'h00;\n  end\n  x\n")
    found = compact(text)
    assert found.startswith("  (* no_rw_check *)\n  reg [7:0] words [3:0];\n`ifndef SYNTHESIS\n")
    assert "for (words_place = 0; words_place <= 3;" in found
    assert found.endswith("`endif\n  x\n")
    assert compact(text.replace("[2] = 8'h00", "[2] = 8'h01")) != found


@pytest.mark.parametrize("memory_bytes", [0, 1 << 12])
def test_every_memory_is_marked(memory_bytes):
    """Without the mark synthesis would compare the addresses of each read and write."""
    text = verilog_of(Config(tn=4, memory_bytes=memory_bytes, segments=False))
    memories = re.findall(r"^( *.*\n)  reg \[\d+:0\] \w+ \[\d+:0\];", text, re.M)
    assert len(memories) >= 12
    assert set(memories) == {"  (* no_rw_check *)\n"}


def test_memory_with_a_program_is_marked(folder, tmp_path):
    write_design(folder / "net.npz", tmp_path / "rtl", tn=4, streamed=True)
    text = (tmp_path / "rtl" / "top.v").read_text()
    assert re.search(r"^  \(\* no_rw_check \*\)\n  reg \[31:0\] \w+ \[\d+:0\];\n  initial begin\n"
                     r"    \w+\[0\] = 32'[hd]\w+;\n", text, re.M)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--engine", "stream", "--tn", "8"],
     "--tn, --code, --memory, --ports and --cores are of --engine nfu"),
    (["--engine", "nfu", "--ports", "stream", "--memory", "axi"],
     "--ports stream needs --memory chip"),
    (["--engine", "nfu", "--cores", "2"], "--cores needs --ports stream"),
    (["--engine", "nfu", "--ports", "stream", "--tn", "4", "--cores", "17"],
     "--cores must be from 1 to 16, not 17"),
    (["--engine", "nfu", "--tn", "12"], "--tn must be one of 4, 8, 16, 32, not 12"),
])
def test_command_line_refuses(folder, tmp_path, arguments, words):
    done = CliRunner().invoke(
        app, ["rtl", str(folder / "net.npz"), "--out", str(tmp_path / "out"), *arguments])
    assert done.exit_code != 0
    assert words in str(done.exception) + done.output


def test_input_is_packed_lane_by_lane(folder):
    program = load_nfu(folder).program
    network = netfile.load(folder / "net.npz")
    image = np.arange(network.tensors[network.input.name].size).reshape(
        network.tensors[network.input.name].shape) % 100
    for region, (address, raw) in zip(program.inputs, program.pack_input(image), strict=True):
        assert address == region.address
        words = np.frombuffer(raw, np.uint8).reshape(region.tiles, region.height, region.width, 4)
        flat = image.reshape(-1)
        for place in np.ndindex(region.gather.shape):
            source = region.gather[place]
            assert words[place] == (flat[source] if source >= 0 else 0)
