"""Damaged network files: each is refused in one line, or is still the very same network."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen import netfile
from hwgen.errors import HwgenError
from tests.hwgen.hostile_files import base_arrays, pack, signed
from tests.networks import digits_like_network

DIGEST = digits_like_network(0).digest
BATCHES = [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 20))]


def outcome(path: Path) -> str:
    """The digest of what was loaded, or the message of the refusal; all else is a failure."""
    try:
        return netfile.load(path).digest
    except HwgenError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert len(message) < 400 + len(str(path))
        return message


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    netfile.save(digits_like_network(0), tmp_path / "good.npz")
    return (tmp_path / "good.npz").read_bytes()


def test_truncated(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "net.npz"
    for length in sorted({*range(0, len(good), 61), *range(len(good) - 30, len(good))}):
        path.write_bytes(good[:length])
        assert "network file" in outcome(path), length


@pytest.mark.parametrize("batch", BATCHES)
def test_flipped_bytes(tmp_path: Path, good: bytes, batch: int) -> None:
    """One to four bytes changed; dates and the like do not count, so some files stay whole."""
    path, rng = tmp_path / "net.npz", random.Random(batch)
    refused = 0
    for _ in range(60):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 4))):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        result = outcome(path)
        refused += result != DIGEST
        assert result == DIGEST or result.startswith(str(path))
    assert refused > 30


@pytest.mark.parametrize("batch", BATCHES)
def test_flipped_bytes_of_the_directory(tmp_path: Path, good: bytes, batch: int) -> None:
    """The zip's own records, where sizes, offsets, names, flags and methods stand."""
    path, rng = tmp_path / "net.npz", random.Random(100 + batch)
    directory = good.find(b"PK\x01\x02")
    for _ in range(80):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2))):
            place = rng.choice((rng.randrange(30), rng.randrange(directory, len(data))))
            data[place] = rng.choice((0, 1, 8, 12, 14, 255, rng.randrange(256)))
        path.write_bytes(data)
        result = outcome(path)
        assert result == DIGEST or result.startswith(str(path))


@pytest.mark.parametrize("batch", BATCHES)
def test_members_cut_and_moved(tmp_path: Path, good: bytes, batch: int) -> None:
    """Stretches of the file taken out, doubled or put elsewhere."""
    path, rng = tmp_path / "net.npz", random.Random(200 + batch)
    for _ in range(40):
        start, length = rng.randrange(len(good)), rng.randrange(1, 300)
        piece = good[start:start + length]
        rest = good[:start] + good[start + length:]
        place = rng.randrange(len(rest))
        path.write_bytes(rng.choice((rest, good[:start] + piece + good[start:],
                                     rest[:place] + piece + rest[place:])))
        result = outcome(path)
        assert result == DIGEST or result.startswith(str(path))


HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 2, 7, 65536, 2**31, 2**63, 2**70, 10**300, 0.5, float("nan"), "", "x",
    "image", "argmax9", "\ud800", "Conv2d", "Input", [], {}, [0], [1, 1], [2, 2], [-1, 0, 0, 0],
    [1, 1, 1, 1], ["image", "image"], [[[[1]]]], {"a": 1}, "y" * 5000, [9] * 3000,
]


def edited(value: Any, rng: random.Random) -> Any:
    """A JSON value with one part of it replaced, dropped or doubled."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return copy.deepcopy(rng.choice(HOSTILE))
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    if rng.random() < 0.15:
        del value[key]
    elif rng.random() < 0.1 and isinstance(value, list):
        value.insert(rng.randrange(len(value) + 1), copy.deepcopy(value[key]))
    else:
        value[key] = edited(value[key], rng)
    return value


@pytest.mark.parametrize("batch", BATCHES)
def test_edited_headers_with_the_right_digest(tmp_path: Path, batch: int) -> None:
    """An enemy signs what he writes: the digest fits, the network need not."""
    path, rng = tmp_path / "net.npz", random.Random(300 + batch)
    for _ in range(60):
        arrays = base_arrays()
        header = json.loads(arrays["header"].tobytes())
        for _ in range(rng.choice((1, 1, 2, 3))):
            header = edited(header, rng)
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        pack(path, signed(arrays))
        outcome(path)


@pytest.mark.parametrize("batch", BATCHES)
def test_edited_arrays_with_the_right_digest(tmp_path: Path, batch: int) -> None:
    path, rng = tmp_path / "net.npz", random.Random(400 + batch)
    extremes = [0, 1, -1, 49, 85, 2**31, -(2**31) - 1, 2**56, 2**63 - 1, -(2**63)]
    for _ in range(60):
        arrays = base_arrays()
        name = rng.choice([name for name in arrays if name != "header"])
        array = arrays[name].copy()
        if rng.random() < 0.6:
            array.flat[rng.randrange(array.size)] = rng.choice(extremes)
        else:
            array = rng.choice((array[:-1], array[None], array.ravel(), array[..., :0], array.T))
        arrays[name] = np.ascontiguousarray(array)
        pack(path, signed(arrays))
        outcome(path)
