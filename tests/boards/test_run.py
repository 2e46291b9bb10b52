from __future__ import annotations

import json
import shutil
import struct

import numpy as np
import pytest

from hwgen.boards.design import Lane, read_streams
from hwgen.boards.run import pack, run_board, unpack
from hwgen.errors import HwgenError
from hwgen.sim import golden
from hwgen.sim.ports import load_ports
from hwgen.sim.vectors import pack as pack_for_simulation
from hwgen.sim.vectors import random_images
from tests.boards.device_model import Device, plugged_in
from tests.boards.tiny import tiny_network

COUNT = 25
CYCLES = 33


@pytest.fixture
def folder(tmp_path, tiny_design):
    """A design folder, and data for it: 25 test images with labels, a few of them wrong."""
    for name in ("net.npz", "top.v", "ports.json"):
        shutil.copyfile(tiny_design / name, tmp_path / name)
    images = random_images(tiny_network(), COUNT, seed=1)
    labels = golden.run(tiny_network(), images, keep={"class"})["class"].reshape(-1)
    labels = np.where(np.arange(COUNT) < 5, (labels + 1) % 3, labels)
    np.savez(tmp_path / "data.npz", x=images.astype(np.uint8), y=labels,
             test_x=images.astype(np.uint8), test_y=labels)
    return tmp_path


@pytest.fixture
def ports(folder):
    return json.loads((folder / "ports.json").read_text())


def compute(payload: bytes, ports: dict, change: int = 0) -> bytes:
    """What the board makes of an image's 18 bytes, two a pixel; ``change`` is added to score 1."""
    image = np.frombuffer(payload, np.uint8).astype(np.int64).reshape(1, 3, 3, 2)
    out = golden.run(tiny_network(), image.transpose(0, 3, 1, 2), keep={"class", "dense"})
    values = [out["class"].item(), *out["dense"].reshape(-1).tolist()]
    values[2] += change
    word = 0
    for value, field in zip(values, ports["output"]["fields"], strict=True):
        word |= (value & (1 << field["width"]) - 1) << field["offset"]
    size = ports["output"]["bits"] // 8
    return word.to_bytes(size, "little") + struct.pack("<IB", CYCLES, 0)


def device(ports: dict, *, digest: str = "", change: int = 0, **options) -> Device:
    identity = struct.pack("<BBHHI32s", 1, 1, 18, ports["output"]["bits"] // 8, 7300,
                           bytes.fromhex(digest or tiny_network().digest))
    return Device(identity, 18, lambda payload: compute(payload, ports, change), **options)


def run(folder, model: Device, **options):
    with plugged_in(model) as port:
        options = {"data": f"npz:{folder / 'data.npz'}", "check": True, **options}
        return run_board(folder, board="ulx3s", port=port, **options)


def test_all_images(folder, ports):
    report = run(folder, device(ports))
    assert (report["images"], report["mismatches"], report["resent"]) == (COUNT, 0, 0)
    assert report["accuracy"] == (COUNT - 5) / COUNT
    assert report["cycles"] == {"least": CYCLES, "most": CYCLES}
    assert report["clock_mhz"] == 7.3
    assert json.loads((folder / "run.json").read_text()) == report


def test_some_images(folder, ports):
    assert run(folder, device(ports), images=3)["images"] == 3


def test_picture(folder, ports, tmp_path):
    """Two channels are no picture; the error names what there is."""
    with pytest.raises(HwgenError, match="a picture has 1 or 3 channels, the network 2"):
        run(folder, device(ports), data=str(tmp_path / "one.png"))


def test_a_wrong_score_is_seen(folder, ports):
    report = run(folder, device(ports, change=1))
    first = report["first_difference"]
    assert (first["image"], first["beat"], first["value"]) == (0, 0, "score_1")
    assert first["got"] == first["expected"] + 1
    assert report["mismatches"] == COUNT


def test_not_checked(folder, ports):
    report = run(folder, device(ports, change=1), check=False)
    assert (report["checked"], report["mismatches"]) == (False, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda number, text: b"" if number in (3, 9) else text,
        lambda number, text: text[:-3] + b"\x00" + text[-2:] if number in (2, 25) else text,
        lambda number, text: text[:5] + b"\x77" + text[6:] if number == 4 else text,
        lambda number, text: text[:9] if number == 6 else text,
        lambda number, text: b"hg\xffhhg" + text,
        lambda number, text: text + text,
    ],
    ids=["lost", "payload damaged", "length damaged", "cut off", "noise", "twice"],
)
def test_damaged_answers(folder, ports, spoil):
    report = run(folder, device(ports, spoil=spoil))
    assert (report["images"], report["mismatches"]) == (COUNT, 0)


def test_busy(folder, ports):
    report = run(folder, device(ports, busy={4, 5, 6, 12}))
    assert report["mismatches"] == 0
    assert report["faults"]["BUSY"] >= 1
    assert report["resent"] >= 1


def test_never_right(folder, ports):
    model = device(ports, busy=set(range(1, 200)))
    with pytest.raises(HwgenError, match=r"image 0 has no result after 5 tries: BUSY"):
        run(folder, model)


def test_no_answer(folder, ports, monkeypatch):
    monkeypatch.setattr("hwgen.boards.run.PATIENCE", 0.05)
    monkeypatch.setattr("hwgen.boards.run.WINDOW", 1)
    with pytest.raises(HwgenError, match=r"/dev/pts/\d+: an answer needed, none came in .* s: is"):
        run(folder, device(ports, mute=True))


def test_another_network(folder, ports):
    with pytest.raises(HwgenError, match=r"network \w{12} of .* needed, the board holds abababab"):
        run(folder, device(ports, digest="ab" * 32))


def test_another_version(folder, ports):
    model = device(ports)
    model.identity = b"\x02" + model.identity[1:]
    with pytest.raises(HwgenError, match="protocol 1 and engine 1 needed, not 2 and 1"):
        run(folder, model)


def test_other_sizes(folder, ports):
    model = device(ports)
    model.identity = model.identity[:2] + b"\x11" + model.identity[3:]
    with pytest.raises(HwgenError, match=r"results of \[18, \d+\] bytes needed, .* \[17"):
        run(folder, model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"board": "ulx4s"}, "Board must be one of ulx3s, .*, arty-a7, not 'ulx4s'"),
        ({"port": "/dev/none"}, "/dev/none cannot be opened: No such file or directory"),
        ({"port": "none://x"}, "none://x cannot be opened: "),
        ({"data": "sevens"}, "A picture .* or DATA such as mnist:DIR is needed, not 'sevens'"),
        ({"data": "npz:none.npz"}, "none.npz: an .npz file needed, there is none"),
    ],
)
def test_wrong(folder, options, message):
    known = {"board": "ulx3s", "port": "/dev/none", "data": f"npz:{folder / 'data.npz'}"}
    with pytest.raises(HwgenError, match=message):
        run_board(folder, **{**known, **options})


def test_images_of_another_size(folder):
    np.savez(folder / "other.npz", x=np.zeros((5, 2, 4, 4), np.uint8), y=np.zeros(5, int))
    with pytest.raises(HwgenError, match="images of 2x3x3 .* needed, not 2x4x4"):
        run_board(folder, board="ulx3s", port="/dev/none", data=f"npz:{folder / 'other.npz'}")


def test_pack_is_that_of_the_simulation(folder):
    images = random_images(tiny_network(), 5, seed=9)
    whole = b"".join(pack(images, read_streams(folder).image))
    assert whole == pack_for_simulation(images, load_ports(folder / "ports.json").input)


def test_unpack_signs(folder):
    axis = read_streams(folder).result
    lanes = (Lane("class", 0, 2, False), Lane("score_0", 2, 3, True), Lane("score_1", 5, 3, True))
    axis = type(axis)(axis.prefix, 1, 2, lanes)
    text = bytes([0b100_011_10, 0b111_000_01]) + struct.pack("<IB", 7, 0)
    values, cycles = unpack([text], axis, "board")
    assert values.tolist() == [[[2, 3, -4], [1, 0, -1]]]
    assert cycles.tolist() == [7]


def test_engine_that_lost_count(folder):
    axis = read_streams(folder).result
    with pytest.raises(HwgenError, match="board: image 0: the engine lost count of its pixels"):
        unpack([bytes(axis.bytes) + struct.pack("<IB", 7, 1)], axis, "board")
