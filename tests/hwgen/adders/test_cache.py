from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from hwgen.adders import cache
from hwgen.adders.cache import build_cached
from hwgen.adders.search import build
from hwgen.errors import HwgenError
from tests.hwgen.adders import helpers

MATRIX = helpers.family("trained")
RANGE = {"input_lo": -8, "input_hi": 7, "steps": 20}


@pytest.fixture
def no_search(monkeypatch):
    def refuse(*arguments: object) -> None:
        raise RuntimeError("searched again")

    return lambda: monkeypatch.setattr(cache, "search", refuse)


def entry(folder: Path) -> Path:
    found = list(folder.iterdir())
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", ["trained", "all zero", "permuted signs", "identity"])
def test_second_time_comes_from_disk(name, tmp_path, no_search):
    matrix = helpers.family(name)
    first = build_cached(matrix, folder=tmp_path, **RANGE)
    no_search()
    assert build_cached(matrix, folder=tmp_path, **RANGE) == first == build(matrix, **RANGE)


@pytest.mark.parametrize("change", [
    {"input_lo": -7}, {"input_hi": 8}, {"sharing": False}, {"max_depth": 12}, {"seed": 1},
    {"steps": 21}, {"objective": cache.Objective.BITS},
    {"matrix": MATRIX + np.eye(27, 8, dtype=int)}, {"matrix": MATRIX.reshape(8, 27)},
])
def test_anything_else_is_another_entry(change, tmp_path):
    build_cached(MATRIX, folder=tmp_path, **RANGE)
    arguments = {"matrix": MATRIX} | RANGE | change
    assert build_cached(folder=tmp_path, **arguments) == build(**arguments)
    assert len(list(tmp_path.iterdir())) == 2


def with_tables(path: Path, **change: np.ndarray) -> None:
    with np.load(path) as file:
        tables = dict(file)
    np.savez(path, **tables | change)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def flip_sign(path: Path) -> None:
    with np.load(path) as file:
        nodes = file["nodes"]
    nodes[3, 5] ^= 1
    nodes[3, 4] = 0
    with_tables(path, nodes=nodes)


def far_operand(path: Path) -> None:
    with np.load(path) as file:
        nodes = file["nodes"]
    nodes[0, 0] = 10**6
    with_tables(path, nodes=nodes)


BROKEN = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "not an archive": lambda path: path.write_bytes(b"hello" * 100),
    "a plain array": lambda path: path.write_bytes(npy(np.zeros(3))),
    "flipped sign": flip_sign,
    "operand out of reach": far_operand,
    "floats": lambda path: with_tables(path, nodes=np.zeros((4, 6))),
    "wrong shape": lambda path: with_tables(path, outputs=np.zeros((4, 2), dtype=np.int64)),
    "objects": lambda path: with_tables(path, nodes=np.array([[None] * 6])),
    "a table missing": lambda path: np.savez(path, nodes=np.zeros((0, 6), dtype=np.int64)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_entry_is_written_again(name, tmp_path, no_search):
    first = build_cached(MATRIX, folder=tmp_path, **RANGE)
    BROKEN[name](entry(tmp_path))
    assert build_cached(MATRIX, folder=tmp_path, **RANGE) == first
    no_search()
    assert build_cached(MATRIX, folder=tmp_path, **RANGE) == first


def test_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    graph = build_cached(MATRIX, folder=blocked / "cache", **RANGE)
    assert graph == build(MATRIX, **RANGE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_wrong_arguments_are_not_hidden(tmp_path):
    with pytest.raises(HwgenError, match="Depth limit"):
        build_cached(MATRIX, folder=tmp_path, max_depth=1, **RANGE)
    assert list(tmp_path.iterdir()) == []


def test_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "hwgen" / "adders"
    build_cached(MATRIX, **RANGE)
    assert entry(tmp_path / "hwgen" / "adders").suffix == ".npz"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home" / ".cache" / "hwgen" / "adders"
