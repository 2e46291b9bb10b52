# amaranth: UnusedElaboratable=no
from __future__ import annotations

import json

import pytest

from hwgen.boards.board import SHELL
from hwgen.commands.rtl import chip, rtl, take_records
from hwgen.errors import HwgenError
from hwgen.netfile import load, save
from hwgen.network import ArgMax, Flatten, MaxPool, Network
from tests.hwgen.stream.test_rate import small_lenet
from tests.network_builder import Builder


@pytest.mark.parametrize(
    ("text", "taken"),
    [('{"digest": "abc"}', True), ('{"digest": "other"}', False), ("[1]", False), ("{", False)],
)
def test_records_of_the_same_network_are_taken(tmp_path, text, taken):
    source, out = tmp_path / "net", tmp_path / "rtl"
    source.mkdir()
    out.mkdir()
    (source / "compress.json").write_text(text)
    (source / "before.npz").write_bytes(b"weights")
    take_records(source, out, "abc")
    assert {path.name for path in out.iterdir()} == (
        {"compress.json", "before.npz"} if taken else set())
    if taken:
        assert json.loads((out / "compress.json").read_text()) == {"digest": "abc"}
        assert (out / "before.npz").read_bytes() == b"weights"


def test_no_records(tmp_path):
    take_records(tmp_path, tmp_path / "rtl", "abc")
    assert not (tmp_path / "rtl").exists()


def test_one_folder(tmp_path):
    (tmp_path / "compress.json").write_text('{"digest": "abc"}')
    take_records(tmp_path, tmp_path, "abc")
    assert [path.name for path in tmp_path.iterdir()] == ["compress.json"]


@pytest.mark.parametrize("cycles", [0.5, 1 << 20])
def test_pace_wrong(tmp_path, cycles):
    save(small_lenet(), tmp_path / "net.npz")
    with pytest.raises(HwgenError, match=f"Cycles per pixel must be from 1 to 65536, not {cycles:g}"
                       .replace("+", r"\+")):
        rtl(tmp_path / "net.npz", tmp_path / "d", "stream", cycles, None)


@pytest.mark.parametrize(("target", "message"), [
    ("xc7", "A target with a size needed to fit into, not xc7"),
    ("arty-a7", "A target with a size needed to fit into, not arty-a7"),
    ("gw", "--fit: one of ecp5-25, .*, ulx3s, .* needed, not 'gw'"),
])
def test_fit_wrong(target, message):
    with pytest.raises(HwgenError, match=message):
        chip(target)


def test_pixels_and_frame(tmp_path):
    """Two pixels a cycle over frames: the folder's network is the one that slides."""
    build = Builder(0)
    x = build.input(1, 6, 6, lo=0, hi=15, frac=4)
    x = build.requantise(build.conv(x, 2, (3, 3)), lo=0, hi=15)
    x = build.put(MaxPool, x, (2, 2), (2, 2))
    build.put(ArgMax, build.dense(build.put(Flatten, x), 3, frac_w=5))
    save(Network(tuple(build.layers), {}), tmp_path / "net.npz")
    rtl(tmp_path / "net.npz", tmp_path / "d", pixels=2, frame="10x12")
    plan = json.loads((tmp_path / "d" / "plan.json").read_text())
    made = load(tmp_path / "d" / "net.npz")
    assert (plan["pixels_per_cycle"], plan["interval"]) == (2, 60)
    assert (made.input.height, made.input.width) == (10, 12)
    assert plan["digest"] == made.digest
    with pytest.raises(HwgenError, match="another folder than .* needed"):
        rtl(tmp_path / "d" / "net.npz", tmp_path / "d", frame="12x12")
    assert load(tmp_path / "d" / "net.npz").digest == made.digest


@pytest.mark.parametrize(("pixels", "frame", "message"), [
    (3, None, "--pixels-per-cycle: 1, 2 or 4 needed, not 3"),
    (None, "512", "--frame: ROWSxCOLUMNS needed, as 512x512, not '512'"),
    (None, "4x4", "--frame: from 14x14 to"),
])
def test_pixels_and_frame_wrong(tmp_path, pixels, frame, message):
    save(small_lenet(), tmp_path / "net.npz")
    with pytest.raises(HwgenError, match=message):
        rtl(tmp_path / "net.npz", tmp_path / "d", pixels=pixels, frame=frame)


def test_flip_flops_that_take_a_lut():
    """On iCE40 most flip-flops are counted with the LUTs."""
    assert chip("up5k").apart > 0.5
    assert chip("ecp5-85").apart == 0


def test_chip():
    """The sizes of the target table, and the blocks of its family."""
    up5k = chip("up5k")
    assert (up5k.lut, up5k.ff, up5k.bram) == (5280, 5280, 30)
    assert up5k.blocks(256, 16) == 1
    assert up5k.blocks(512, 9) == 2


def test_chip_of_a_board():
    """The shell and the image it holds are taken off what the board's chip has."""
    whole, left = chip("up5k"), chip("icebreaker", 8 * 784)
    assert (whole.lut - left.lut, whole.ff - left.ff) == SHELL["ice40"]
    assert whole.bram - left.bram == 2                     # 784 bytes in blocks of 512
    assert chip("ulx3s-12f").lut == 12000 - SHELL["ecp5"][0]


def test_fit_a_board(tmp_path):
    """A plan for a board is smaller than one for its chip alone."""
    save(small_lenet(), tmp_path / "net.npz")
    plans = {}
    for name in ("up5k", "icebreaker"):
        rtl(tmp_path / "net.npz", tmp_path / name, target=name)
        plans[name] = json.loads((tmp_path / name / "plan.json").read_text())
    assert plans["icebreaker"]["chip"] == "icebreaker"
    assert plans["icebreaker"]["interval"] >= plans["up5k"]["interval"]
    cost = plans["icebreaker"]["estimate"]
    assert cost["lut"] + 0.62 * cost["ff"] <= 0.8 * (5280 - SHELL["ice40"][0]) + 5


def test_slow_pace_is_smaller(tmp_path):
    """Pixels that come more slowly take less hardware; plan.json says the budget."""
    save(small_lenet(), tmp_path / "net.npz")
    found = {}
    for cycles in (1.0, 8.0):
        rtl(tmp_path / "net.npz", tmp_path / f"d{cycles}", "stream", cycles, None)
        found[cycles] = json.loads((tmp_path / f"d{cycles}" / "plan.json").read_text())
    assert (found[1.0]["budget"], found[8.0]["budget"]) == (196, 1568)
    assert all(plan["interval"] <= plan["budget"] for plan in found.values())
    assert found[8.0]["estimate"]["lut"] < 0.9 * found[1.0]["estimate"]["lut"]
