from __future__ import annotations

import json

import pytest

from hwgen.commands.rtl import take_records


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
