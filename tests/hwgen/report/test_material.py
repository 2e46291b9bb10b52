from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.report.material import read_material
from hwgen.report.page import write_report
from tests.hwgen.report.filled import fill, network, samples

JSON = ["compress", "plan", "ports", "verify", "synth"]


def refused(folder: Path, words: str) -> None:
    """The report is refused in one line, and the earlier one stays."""
    (folder / "report.html").write_text("earlier")
    with pytest.raises(HwgenError, match=words) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert (folder / "report.html").read_text() == "earlier"


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("digest", ["f" * 64, None, [], "<script>" * 100])
def test_json_of_another_network(tmp_path: Path, name: str, digest: Any) -> None:
    fill(tmp_path, network(), **{name: {"digest": digest}})
    refused(tmp_path, rf"{name}.json: digest {network().digest[:12]} of net.npz needed, not .*: "
            "run hwgen")


def test_samples_of_another_network(tmp_path: Path) -> None:
    fill(tmp_path, network())
    samples(tmp_path, network(), digest=np.array("f" * 64))
    refused(tmp_path, "samples.npz: digest .* run hwgen verify again")


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"\xff" * 40, b"[" * 100_000])
def test_broken_json(tmp_path: Path, name: str, damage: bytes) -> None:
    fill(tmp_path, network())
    (tmp_path / f"{name}.json").write_bytes(damage)
    refused(tmp_path, f"{name}.json")


@pytest.mark.parametrize("name", ["before", "samples"])
@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing", b"\xff" * 40])
def test_broken_arrays(tmp_path: Path, name: str, damage: bytes) -> None:
    fill(tmp_path, network())
    (tmp_path / f"{name}.npz").write_bytes(damage)
    refused(tmp_path, f"{name}.npz: plain arrays")


@pytest.mark.parametrize("name", ["before", "samples", "net"])
def test_cut_off_or_changed(tmp_path: Path, name: str) -> None:
    """Whatever single byte is wrong, and wherever the file ends: one line, or a page."""
    fill(tmp_path, network())
    path = tmp_path / f"{name}.npz"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 30).tolist():
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        for damaged in (whole[:place], bytes(changed)):
            path.write_bytes(damaged)
            try:
                write_report(tmp_path)
            except HwgenError as error:
                assert "\n" not in str(error)       # noqa: PT017 # both outcomes are right


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    fill(tmp_path, network())
    np.savez(tmp_path / "before.npz", conv1=np.array([{}, 1], dtype=object))
    refused(tmp_path, "before.npz: plain arrays .* allow_pickle")


def test_arrays_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, network())
    monkeypatch.setattr("hwgen.report.material.MAX_ARRAYS", 100)
    refused(tmp_path, "before.npz: at most 100 bytes needed")


@pytest.mark.parametrize(("name", "array"), [
    ("images", np.zeros((2, 1, 4, 5), int)), ("images", np.zeros((2, 1, 4, 4))),
    ("images", np.array(3)), ("golden", np.zeros((2, 3), int)), ("hardware", np.zeros((1, 4), int)),
    ("index", np.zeros(3, int)), ("labels", np.zeros(2)), ("labels", np.zeros((2, 1), int)),
    ("golden", None), ("digest", None), ("names", None),
])
def test_samples_that_do_not_fit(tmp_path: Path, name: str, array: Any) -> None:
    fill(tmp_path, network())
    samples(tmp_path, network(), **{name: array})
    refused(tmp_path, "samples.npz")


def test_samples_without_labels(tmp_path: Path) -> None:
    fill(tmp_path, network())
    samples(tmp_path, network(), labels=None, index=None)
    found = read_material(tmp_path).samples
    assert found is not None
    assert found.labels is None
    assert found.index.tolist() == [0, 1]


def test_weights_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, network())
    np.savez(tmp_path / "before.npz", **{"conv1.weight": np.full((2, 1, 3, 3), np.nan),
                                         "fc.weight": np.array(["a"]), "fc.bias": np.zeros(3),
                                         "conv2.weight": np.zeros((2, 2, 1, 1))})
    assert list(read_material(tmp_path).before) == ["conv2"]


def test_no_network(tmp_path: Path) -> None:
    refused(tmp_path, "net.npz: a network file is needed")
