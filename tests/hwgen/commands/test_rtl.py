# amaranth: UnusedElaboratable=no
from __future__ import annotations

import json

import pytest

from hwgen.commands.rtl import chip, rtl, take_records
from hwgen.errors import HwgenError
from hwgen.netfile import save
from tests.hwgen.stream.test_rate import small_lenet


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


def test_pace_and_fit_exclude_each_other(tmp_path):
    with pytest.raises(HwgenError, match="--cycles-per-pixel or --fit, not both"):
        rtl(tmp_path / "net.npz", tmp_path / "d", "stream", 2.0, "up5k")


@pytest.mark.parametrize("cycles", [0.5, 1 << 20])
def test_pace_wrong(tmp_path, cycles):
    save(small_lenet(), tmp_path / "net.npz")
    with pytest.raises(HwgenError, match=f"Cycles per pixel must be from 1 to 65536, not {cycles:g}"
                       .replace("+", r"\+")):
        rtl(tmp_path / "net.npz", tmp_path / "d", "stream", cycles, None)


@pytest.mark.parametrize(("target", "message"), [
    ("xc7", "A target with a size needed to fit into, not xc7"),
    ("gw", "Target must be one of"),
])
def test_fit_wrong(target, message):
    with pytest.raises(HwgenError, match=message):
        chip(target)


def test_chip():
    """The sizes of the target table, and the blocks of its family."""
    up5k = chip("up5k")
    assert (up5k.lut, up5k.ff, up5k.bram) == (5280, 5280, 30)
    assert up5k.blocks(256, 16) == 1
    assert up5k.blocks(512, 9) == 2


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
