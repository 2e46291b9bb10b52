"""The images put aside for people: which they are, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hwgen.network import Int64Array
from hwgen.sim.compare import NOTHING, compare
from hwgen.sim.design import Folder
from hwgen.sim.recorded import Recorded
from hwgen.sim.samples import write_samples
from tests.sim.test_compare import IMAGES, cut, flipped, images, right


def written(
    folder: Path, recorded: Recorded, labels: Int64Array | None = None
) -> dict[str, npt.NDArray[Any]]:
    """What samples.npz holds of a recording."""
    one, codes, _ = right()
    result = compare(one, codes, recorded, images=IMAGES)
    write_samples(Folder(folder, one), images(), labels, result)
    with np.load(folder / "samples.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_right(tmp_path: Path) -> None:
    one, codes, recorded = right()
    labels = codes["best"].reshape(-1)
    found = written(tmp_path, recorded, labels)
    expected = np.concatenate([codes["best"], codes["scores"]], axis=1).reshape(IMAGES, 4)
    assert str(found["digest"]) == one.network.digest
    assert found["names"].tolist() == ["class", "score_0", "score_1", "score_2"]
    assert found["index"].tolist() == [0, 1, 2]
    assert np.array_equal(found["images"], images())
    assert np.array_equal(found["labels"], labels)
    assert np.array_equal(found["golden"], expected)
    assert np.array_equal(found["hardware"], expected)


def test_wrong_bit_is_the_hardwares(tmp_path: Path) -> None:
    """Bit 8 is the lowest of score 1."""
    recorded = right()[2]
    found = written(tmp_path, replace(recorded, output=flipped(recorded.output, 1, 8)))
    assert "labels" not in found
    assert np.argwhere(found["golden"] != found["hardware"]).tolist() == [[1, 2]]
    assert found["hardware"][1, 2] == found["golden"][1, 2] ^ 1


def test_missing_result_is_no_number(tmp_path: Path) -> None:
    recorded = right()[2]
    found = written(tmp_path, replace(
        recorded, output=cut(recorded.output, IMAGES - 1), lasts=recorded.lasts[1:]))
    assert found["hardware"][-1].tolist() == [NOTHING] * 4
    assert not np.any(found["hardware"][:-1] == NOTHING)


def test_interesting_images_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three: the one in a wrong class and the first."""
    monkeypatch.setattr("hwgen.sim.samples.COUNT", 2)
    codes, recorded = right()[1:]
    labels = codes["best"].reshape(-1).copy()
    labels[2] += 1
    assert written(tmp_path, recorded, labels)["index"].tolist() == [0, 2]


def test_the_one_that_differs_is_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwgen.sim.samples.COUNT", 1)
    recorded = right()[2]
    found = written(tmp_path, replace(recorded, output=flipped(recorded.output, 1, 8)))
    assert found["index"].tolist() == [1]


def test_same_bytes(tmp_path: Path) -> None:
    written(tmp_path, right()[2])
    first = (tmp_path / "samples.npz").read_bytes()
    written(tmp_path, right()[2])
    assert (tmp_path / "samples.npz").read_bytes() == first


def test_none_for_a_map(tmp_path: Path) -> None:
    """Without one result an image there is nothing to show, and an earlier file would mislead."""
    one, codes, recorded = right()
    result = compare(one, codes, recorded, images=IMAGES)
    result.results = None
    (tmp_path / "samples.npz").write_bytes(b"earlier")
    write_samples(Folder(tmp_path, one), images(), None, result)
    assert not (tmp_path / "samples.npz").exists()
