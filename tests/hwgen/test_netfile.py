"""The network file: what is written comes back, and nothing else is let in."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen import netfile
from hwgen.errors import HwgenError
from hwgen.network import Input, MaxPool, Network
from tests.hwgen.hostile_files import Danger, base_arrays, npy, pack, signed, with_header
from tests.networks import THEMES, digits_like_network, lenet5_shape, random_network


def assert_same(one: Network, other: Network) -> None:
    assert dict(one.metadata) == dict(other.metadata)
    assert [type(layer) for layer in one.layers] == [type(layer) for layer in other.layers]
    for ours, theirs in zip(one.layers, other.layers, strict=True):
        for field in dataclasses.fields(ours):
            mine, its = getattr(ours, field.name), getattr(theirs, field.name)
            assert type(mine) is type(its)
            np.testing.assert_array_equal(mine, its)


def refusal(path: Path) -> str:
    """The message of a file that is refused: one line, not long, naming the file."""
    with pytest.raises(HwgenError) as raised:
        netfile.load(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message.removeprefix(f"{path}: ")


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2 * len(THEMES)))
def test_round_trip(tmp_path: Path, seed: int) -> None:
    network = random_network(seed)
    path = tmp_path / "net.npz"
    digest = netfile.save(network, path)
    loaded = netfile.load(path)
    assert_same(network, loaded)
    assert digest == network.digest == loaded.digest


def test_round_trip_of_odd_metadata(tmp_path: Path) -> None:
    metadata = {"ä \ud800 \n": [1, -2.5, None, True, {"x": {}}], "big": 10**30, "": "\x00"}
    network = Network(random_network(3).layers, metadata)
    netfile.save(network, tmp_path / "net.npz")
    assert dict(netfile.load(tmp_path / "net.npz").metadata) == metadata


def test_same_network_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        netfile.save(lenet5_shape(1), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_digest_by_its_definition(tmp_path: Path) -> None:
    """Names, dtypes, shapes and bytes of all other members, in the order of their names."""
    digest = netfile.save(digits_like_network(0), tmp_path / "net.npz")
    sha = hashlib.sha256()
    with np.load(tmp_path / "net.npz", allow_pickle=False) as archive:
        for name in sorted(set(archive.files) - {"digest"}):
            array = archive[name]
            sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode() + array.tobytes())
        assert archive["digest"].tobytes() == sha.digest()
    assert digest == sha.hexdigest()


def test_the_zip_around_does_not_count(tmp_path: Path) -> None:
    """As numpy would write it: not compressed, dated otherwise, in another order."""
    arrays = signed(base_arrays())
    np.savez(tmp_path / "net.npz", **dict(reversed(arrays.items())))
    assert netfile.load(tmp_path / "net.npz").digest == digits_like_network(0).digest


# --- writing --------------------------------------------------------------------------------------


def test_failed_save_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.npz"
    netfile.save(random_network(0), path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HwgenError, match="^Cannot write .*net.npz: No space left on device$"):
        netfile.save(random_network(1), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["file/net.npz", "folder"])
def test_unwritable_place(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(HwgenError, match="^Cannot (write|make folder) "):
        netfile.save(random_network(0), tmp_path / place)


def test_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)             # file modes do not stop the superuser
    with pytest.raises(HwgenError, match="^Cannot write .*net.npz: Permission denied$"):
        netfile.save(random_network(0), tmp_path / "net.npz")


# --- no network file ------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "net.npz") == "a network file is needed, there is none"


def test_folder_in_its_place(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "cannot be read (Is a directory)"


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"\x80\x04K\x01.",
                                     b"\x93NUMPY" + bytes(200), bytes(10**5), b"PK\x03\x04" * 99])
def test_no_network_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(content)
    assert "network file" in refusal(path)


@pytest.mark.parametrize("missing", ["header", "digest"])
def test_missing_header_or_digest(tmp_path: Path, missing: str) -> None:
    arrays = signed(base_arrays())
    del arrays[missing]
    pack(tmp_path / "net.npz", arrays)
    assert "a network file with header and digest is needed" in refusal(tmp_path / "net.npz")


def test_wrong_digest(tmp_path: Path) -> None:
    arrays = signed(base_arrays())
    arrays["conv2d1.bias"] = arrays["conv2d1.bias"] + 1
    pack(tmp_path / "net.npz", arrays)
    message = refusal(tmp_path / "net.npz")
    assert message.startswith("digest ")
    assert message.endswith(f"the file says {arrays['digest'].tobytes().hex()[:12]}")


# --- hostile archives -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_compression(tmp_path: Path, kind: int) -> None:
    pack(tmp_path / "net.npz", signed(base_arrays()), compression=kind)
    assert "stored or deflated bytes needed" in refusal(tmp_path / "net.npz")


@pytest.mark.parametrize("name", ["header", "extra", "header.npy/", "a/../b"])
def test_member_name_wrong(tmp_path: Path, name: str) -> None:
    pack(tmp_path / "net.npz", signed(base_arrays()), more=[(name, b"x")])
    assert refusal(tmp_path / "net.npz").startswith("members NAME.npy, each once, needed, not ")


def test_member_name_not_utf8(tmp_path: Path) -> None:
    """A name that says it is UTF-8 and is not: zipfile gives a UnicodeDecodeError."""
    path = tmp_path / "net.npz"
    netfile.save(digits_like_network(0), path)
    data = bytearray(path.read_bytes())
    record = data.find(b"PK\x01\x02")
    data[record + 9] |= 0x08
    data[record + 46] = 0xff
    path.write_bytes(data)
    assert "this one is broken or truncated" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice(tmp_path: Path) -> None:
    arrays = signed(base_arrays())
    pack(tmp_path / "net.npz", arrays, more=[("header.npy", npy(arrays["header"]))])
    message = refusal(tmp_path / "net.npz")
    assert message == "members NAME.npy, each once, needed, not 'header.npy'"


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_MEMBERS"])
def test_too_much_in_all(tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    netfile.save(digits_like_network(0), tmp_path / "net.npz")
    monkeypatch.setattr(netfile, limit, 7)
    assert "bytes unpacked in" in refusal(tmp_path / "net.npz")


def test_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Members that declare 4 GiB between them; a few kB on disk, and as little in memory."""
    path = tmp_path / "net.npz"
    pack(path, {}, more=[(f"m{n}.npy", bytes(1000)) for n in range(4)])
    data = bytearray(path.read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 24:place + 28] = (2**30).to_bytes(4, "little")
        place = data.find(b"PK\x01\x02", place + 1)
    path.write_bytes(data)
    tracemalloc.start()
    try:
        assert "this file declares 4294967296 in 4" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_more_bytes_than_declared(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    pack(path, {}, more=[("header.npy", bytes(10**6))])
    data = path.read_bytes()
    path.write_bytes(data.replace((10**6).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    refusal(path)


# --- hostile arrays -------------------------------------------------------------------------------


def test_pickle_is_never_loaded(tmp_path: Path) -> None:
    """An object array whose unpickling would leave a folder behind."""
    mark = tmp_path / "mark"
    for name in ("conv2d1.bias", "header", "digest"):
        danger = np.array([Danger(str(mark))], object)
        pack(tmp_path / "net.npz", signed(base_arrays()) | {name: danger}, pickles=True)
        assert f"member '{name}'" in refusal(tmp_path / "net.npz")
    assert not mark.exists()
    np.load(tmp_path / "net.npz", allow_pickle=True)["digest"]        # the trap is a real one
    assert mark.exists()


@pytest.mark.parametrize(("array", "message"), [
    (np.ones(6), "<i8 needed, not '<f8'"), (np.ones(6, np.int32), "<i8 needed, not '<i4'"),
    (np.ones(6, ">i8"), "<i8 needed, not '>i8'"), (np.ones(6, np.uint8), "<i8 needed, not '|u1'"),
    (np.array(["a"] * 6), "<i8 needed, not '<U1'"), (np.ones(6, "m8[s]"), "a plain array"),
    (np.zeros(6, [("a", "<i8")]), "a plain array"),
    (np.asfortranarray(np.ones((6, 2), int)), "a plain array"),
])
def test_array_kind_wrong(tmp_path: Path, array: Any, message: str) -> None:
    arrays = signed(base_arrays() | {"conv2d1.bias": array})
    pack(tmp_path / "net.npz", arrays)
    assert refusal(tmp_path / "net.npz").startswith(f"member 'conv2d1.bias': {message}")


@pytest.mark.parametrize("shape", [
    "(1000000000000,)", "(6, 1000000, 1000000)", "(5,)", "(7,)", "(-6,)", "(6.0,)", "(0,)",
    "(0, 99999999999)", "(99999999999999999999999999999999999999,)", "()", "6", "(6,) * 9**9",
    "(" * 200 + ")" * 200, "(0, 1000000000, 1000000000, 1000000000, 1000000000)",
])
def test_shape_wrong(tmp_path: Path, shape: str) -> None:
    data = npy(np.ones(6, int)).replace(b"(6,)" + b" " * 100, b"(6,)")
    body = data[-48:]
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    planted = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
    arrays = base_arrays()
    del arrays["conv2d1.bias"]
    pack(tmp_path / "net.npz", signed(arrays), more=[("conv2d1.bias.npy", planted)])
    assert refusal(tmp_path / "net.npz").startswith("member 'conv2d1.bias': ")


def test_npy_version_wrong(tmp_path: Path) -> None:
    arrays = base_arrays()
    data = npy(arrays.pop("conv2d1.bias"), version=(2, 0))
    pack(tmp_path / "net.npz", signed(arrays), more=[("conv2d1.bias.npy", data)])
    assert "as .npy version 1.0" in refusal(tmp_path / "net.npz")


# --- hostile headers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "message"), [
    (b"", "header: JSON needed"), (b"{", "header: JSON needed"), (b"\xff\xfe{", "header: JSON"),
    (b"[" * 10**5, "header: JSON needed"), (b"9" * 10**4, "header: JSON needed"),
    (b"3", "format: 1 needed, not 3"), (b"[]", "format: 1 needed, not []"),
    (b"{}", "format: 1 needed, not None"), (b'{"format": 2}', "format: 1 needed, not 2"),
    (b'{"format": ' + b"[" * 900 + b"]" * 900 + b"}", "format: 1 needed, not [[[[[["),
    (b'{"format": 1}', "header: a list of layers and a metadata object needed"),
    (b'{"format": 1, "layers": {}, "metadata": {}}', "header: a list of layers and a metadata"),
    (b'{"format": 1, "layers": [], "metadata": {}}', "member 'conv2d1.bias' belongs to no layer"),
    (b'{"format": 1, "layers": [3], "metadata": {}}', "header: a layer with a name needed, not 3"),
    (b'{"format": 1, "layers": [{"name": 3}], "metadata": {}}', "header: a layer with a name"),
    (b'{"format": 1, "layers": [' + b"[" * 900 + b"]" * 900 + b'], "metadata": {}}',
     "header: a layer with a name needed, not [[[[[["),
    (b'{"format": 1, "layers": [{"name": "' + b"x" * 10**6 + b'"}], "metadata": {}}',
     "Layer 'xxxxx"),
])
def test_header_wrong(tmp_path: Path, text: bytes, message: str) -> None:
    arrays = base_arrays() | {"header": np.frombuffer(text, np.uint8)}
    pack(tmp_path / "net.npz", signed(arrays))
    assert refusal(tmp_path / "net.npz").startswith(message)


def test_header_too_long(tmp_path: Path) -> None:
    arrays = base_arrays()
    arrays["header"] = np.full(2**24 + 1, ord(" "), np.uint8)
    pack(tmp_path / "net.npz", signed(arrays))
    assert refusal(tmp_path / "net.npz") == "header: at most 16777216 bytes needed, not 16777217"


@pytest.mark.parametrize(("layer", "changes", "message"), [
    (1, {"kind": None}, "Layer 'conv2d1', kind: one of Input, Conv2d, Dense, "),
    (1, {"kind": "Softmax"}, "Layer 'conv2d1', kind: one of Input, Conv2d, Dense, "),
    (1, {"kind": ["Conv2d"]}, "Layer 'conv2d1', kind: one of Input, Conv2d, Dense, "),
    (1, {"stride": None}, "Layer 'conv2d1', stride: a list needed, not None"),
    (1, {"stride": "ab"}, "Layer 'conv2d1', stride: a list needed, not 'ab'"),
    (1, {"stride": [1, "a"]}, "Layer 'conv2d1', stride: an integer needed, not 'a'"),
    (1, {"stride": [1, True]}, "Layer 'conv2d1', stride: an integer needed, not True"),
    (1, {"padding": [1, 1, 1, -1]}, "Layer 'conv2d1', padding: 4 numbers from 0 to 65536 needed"),
    (1, {"groups": 10**4000}, "Layer 'conv2d1', groups: a divisor of 1 inputs and 6 outputs"),
    (1, {"more": 1}, "Layer 'conv2d1': unknown field 'more'"),
    (1, {"weight": [1]}, "Layer 'conv2d1': unknown field 'weight'"),
    (1, {"source": 0}, "Layer 'conv2d1', source: a name needed, not 0"),
    (1, {"source": ["image"]}, "Layer 'conv2d1', source: a name needed, not ['image']"),
    (1, {"source": "argmax9"}, "Layer 'conv2d1', source: the name of an earlier layer needed"),
    (1, {"name": "conv"}, "Layer 'conv', weight: an array needed, there is none"),
    (2, {"lo": 0.5}, "Layer 'requantise2', lo: an integer needed, not 0.5"),
    (2, {"hi": 10**4000}, "Layer 'requantise2', lo, hi: a range of at most 16 bits needed"),
    (0, {"height": -8}, "Layer 'image', channels, height, width: sides from 1 to 65536 needed"),
    (0, {"height": 10**9}, "Layer 'image', channels, height, width: sides from 1 to 65536 needed"),
    (0, {"frac": float("nan")}, "Layer 'image', frac: an integer needed, not nan"),
])
def test_layer_wrong(tmp_path: Path, layer: int, changes: dict[str, Any], message: str) -> None:
    def edit(header: dict[str, Any]) -> None:
        header["layers"][layer].update(changes)

    pack(tmp_path / "net.npz", with_header(edit))
    assert refusal(tmp_path / "net.npz").startswith(message)


@pytest.mark.parametrize("field", ["kind", "name", "source", "stride", "groups"])
def test_field_missing(tmp_path: Path, field: str) -> None:
    def edit(header: dict[str, Any]) -> None:
        del header["layers"][1][field]

    pack(tmp_path / "net.npz", with_header(edit))
    assert " needed" in refusal(tmp_path / "net.npz")


@pytest.mark.parametrize("text", ["NaN", "[1, Infinity]", "[" * 40 + "]" * 40,
                                  "[" * 950 + "]" * 950])
def test_metadata_wrong(tmp_path: Path, text: str) -> None:
    arrays = base_arrays()
    header = json.loads(arrays["header"].tobytes()) | {"metadata": {"a": "HERE"}}
    changed = json.dumps(header).replace('"HERE"', text).encode()
    pack(tmp_path / "net.npz", signed(arrays | {"header": np.frombuffer(changed, np.uint8)}))
    assert refusal(tmp_path / "net.npz").startswith(("Network metadata: ", "header: JSON needed"))


def test_large_formats_take_no_memory(tmp_path: Path) -> None:
    """A small file of many layers of many channels each is refused before it fills the memory."""
    names = ["image", *(f"p{n}" for n in range(4000))]
    layers = [MaxPool(name, before, (1, 1), (1, 1))
              for before, name in zip(names, names[1:], strict=False)]
    small = Network((Input("image", 1, 1, 1, 0, 1, 0), *layers))
    arrays = netfile.to_arrays(small)
    header = arrays["header"].tobytes().replace(b'"channels":1', b'"channels":65536')
    pack(tmp_path / "net.npz", signed(arrays | {"header": np.frombuffer(header, np.uint8)}))
    assert "at most 4194304 channels up to here needed" in refusal(tmp_path / "net.npz")
