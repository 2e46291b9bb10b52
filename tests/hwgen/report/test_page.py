from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from hwgen import netfile
from hwgen.errors import HwgenError
from hwgen.network import (
    Add,
    ArgMax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Network,
    Requantise,
)
from hwgen.report import picture
from hwgen.report.page import write_report

HOSTILE = "<script>alert('x')</script>\"&"
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def network(**metadata):
    rng = np.random.default_rng(0)
    layers = (
        Input("image", 1, 4, 4, 0, 15, 0),
        Conv2d("conv1", "image", rng.integers(-2, 3, (2, 1, 3, 3)), [0, 1], [1, 2],
               padding=(1, 1, 1, 1)),
        Requantise("relu1", "conv1", [1, 1], [0, 0], [2, 3], 0, 15, 0),
        Conv2d("conv2", "relu1", rng.integers(-2, 3, (2, 2, 1, 1)), [0, 0], [0, 0]),
        Requantise("q2", "conv2", [1, 1], [0, 0], [1, 1], -8, 7, 0),
        Add("sum", ("relu1", "q2"), (0, 0)),
        Requantise("relu3", "sum", [1, 1], [0, 0], [0, 0], 0, 15, 0),
        Flatten("flat", "relu3"),
        Dense("fc", "flat", rng.integers(-4, 5, (3, 32)), [0, 0, 0], [0, 0, 0]),
        ArgMax("class", "fc"),
    )
    return Network(layers, metadata)


def fill(directory, net, **changes):
    """Write every file of a finished design; return the JSON ones."""
    digest = netfile.save(net, directory / "net.npz")
    names = [layer.name for layer in net.layers]
    files = {
        "compress": {"digest": digest, "accuracy_float": 0.975, "accuracy_integer": 0.9694,
                     "images": 360, "layers": [{"name": "conv1", "adders": 12345}]},
        "plan": {"digest": digest, "interval": 20, "latency": 77, "layers": [
            {"name": name, "form": "graph", "lut": 100 + n, "interval": 16, "latency": n}
            for n, name in enumerate(names)]},
        "ports": {"digest": digest, "version": "0.1.0"},
        "verify": {"digest": digest, "simulator": "verilator", "images": 360, "passed": True,
                   "values_compared": 4321, "mismatches": 0, "first_difference": None,
                   "problems": [], "accuracy_golden": 0.9611, "accuracy_rtl": 0.9611, "layers": [
                       {"name": name, "compared": 99, "mismatches": 0, "proof": "full"}
                       for name in names]},
        "synth": {"digest": digest, "target": "ecp5-85", "lut": 7915, "ff": 9159, "carry": 2729,
                  "bram": 3, "dsp": 0, "mul_cells": 0, "fmax_mhz": 100.0,
                  "tools": {"yosys": "0.70"}},
    }
    for name, change in changes.items():
        files[name].update(change)
    for name, value in files.items():
        (directory / f"{name}.json").write_text(json.dumps(value))
    rng = np.random.default_rng(1)
    np.savez(directory / "before.npz", **{
        f"{layer.name}.weight": rng.normal(size=layer.weight.shape).astype(np.float32)
        for layer in net.layers if isinstance(layer, (Conv2d, Dense))})
    golden = np.array([[2, 5, -6, 7], [0, 9, -6, 7]])
    hardware = golden + np.array([[0, 0, 0, 0], [0, 0, 1, 0]])
    np.savez(directory / "samples.npz", images=rng.integers(0, 16, (2, 1, 4, 4)), labels=[2, 1],
             golden=golden, hardware=hardware, digest=digest,
             names=["class", "score_0", "score_1", "score_2"])
    return files


def test_everything(tmp_path):
    fill(tmp_path, network(model="tiny", method=["dyadic"]))
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    for words in ("tiny", "compressed by dyadic", "97.50 %", "96.94 %", "96.11 %", "7,915",
                  "9,159", "4,321", "100.0 MHz", "5,000,000", "12,345", "yosys 0.70",
                  "all equal", "different", "golden 2, hardware 2"):
        assert words in page.text, words
    assert "Not in this report" not in page.text
    assert "What is wrong" not in page.text
    assert page.tags.count("figure") == 2 + 2 * 3     # samples; before and after of each layer


def test_needs_nothing_from_outside(tmp_path):
    fill(tmp_path, network())
    text = write_report(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import", text)


def test_same_files_same_bytes(tmp_path):
    fill(tmp_path, network())
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_hostile_texts_are_escaped(tmp_path):
    net = network(model=HOSTILE, method=[HOSTILE], class_names=[HOSTILE] * 3)
    fill(tmp_path, net, synth={"lut": HOSTILE, "device": HOSTILE, "tools": {HOSTILE: HOSTILE},
                               "target": HOSTILE, "fmax_mhz": HOSTILE, "mul_cells": [HOSTILE]},
         verify={"problems": [HOSTILE], "first_difference": {HOSTILE: HOSTILE},
                 "accuracy_rtl": HOSTILE, "layers": [{"name": "conv1", "proof": HOSTILE}]},
         plan={"interval": HOSTILE, "layers": [{"name": "conv1", "form": HOSTILE, "lut": HOSTILE}]},
         ports={"version": HOSTILE}, compress={"accuracy_float": HOSTILE, "layers": HOSTILE})
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "script" not in Page(text).tags
    assert HOSTILE in Page(text).text


@pytest.mark.parametrize("name", ["compress.json", "plan.json", "ports.json", "verify.json",
                                  "synth.json", "before.npz", "samples.npz"])
def test_missing_file_is_named(tmp_path, name):
    fill(tmp_path, network())
    (tmp_path / name).unlink()
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert f"{name} is not there: hwgen" in text


def test_network_alone(tmp_path):
    netfile.save(network(), tmp_path / "net.npz")
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert text.count("is not there") == 7
    assert "Not synthesised yet" in text
    assert "images per second" not in text


@pytest.mark.parametrize("name", ["compress", "plan", "ports", "verify", "synth"])
def test_file_of_another_network(tmp_path, name):
    fill(tmp_path, network(), **{name: {"digest": "f" * 64}})
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert f"{name}.json is of another network" in text
    if name == "synth":
        assert "7,915" not in text


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"PK\x03\x04 nothing", b"\xff" * 40])
def test_broken_files(tmp_path, damage):
    fill(tmp_path, network())
    for path in [*tmp_path.glob("*.json"), tmp_path / "before.npz", tmp_path / "samples.npz"]:
        path.write_bytes(damage)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "Not in this report" in text


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    fill(tmp_path, network())
    np.savez(tmp_path / "before.npz", conv1=np.array([{}, 1], dtype=object))
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "before.npz cannot be read" in text


def test_samples_that_do_not_fit(tmp_path):
    net = network()
    fill(tmp_path, net)
    np.savez(tmp_path / "samples.npz", images=np.zeros((2, 4)), golden=np.zeros((2, 4)),
             hardware=np.zeros((2, 3)), names=["class"], digest=net.digest)
    assert "samples.npz must hold" in write_report(tmp_path).read_text(encoding="utf-8")


def test_faults_are_shown(tmp_path):
    fill(tmp_path, network(), verify={
        "mismatches": 3, "passed": False, "problems": ["m_axis: tlast is missing"],
        "first_difference": {"layer": "conv1", "expected": 3, "got": 4}})
    text = write_report(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert "What is wrong" in page.text
    assert "first difference: layer conv1, expected 3, got 4" in page.text
    assert "tlast is missing" in page.text
    assert '<b class="bad">3</b>' in text


def test_no_network(tmp_path):
    with pytest.raises(HwgenError, match="net.npz: a network file is needed"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def decode(address):
    """Pixels of a PNG made with filter 0, by the rules of the format."""
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, body, header = 8, b"", None
    while place < len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + size]
        (check,) = struct.unpack(">I", data[place + 8 + size : place + 12 + size])
        assert check == zlib.crc32(kind + content)
        header = content if kind == b"IHDR" else header
        body += content if kind == b"IDAT" else b""
        place += 12 + size
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", header)
    channels = {2: 3, 6: 4}[colour]
    assert depth == 8
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


def test_png():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4)).astype(np.uint8)
    assert np.array_equal(decode(picture.png(pixels)), pixels)


def test_photo_reaches_black_and_white():
    shown = picture.photo(np.array([[[-8, 7]]]), -8, 7)
    assert shown.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_colours_of_kernels():
    weight = np.array([[[[4, 0], [-4, 2]]], [[[0, 0], [0, 0]]]])
    pixels = decode(picture.kernels(weight))
    assert pixels.shape == (2, 5, 4)                        # two kernels and a gap of one pixel
    assert tuple(pixels[0, 0]) == (*picture.PLUS, 255)
    assert tuple(pixels[1, 0]) == (*picture.MINUS, 255)
    assert tuple(pixels[1, 1]) == (*picture.PLUS, 128)
    assert not pixels[:, 2, 3].any()


@pytest.mark.parametrize("shape", [(1, 1), (10, 64), (1, 1, 1, 1), (40, 1, 3, 3), (4, 40, 5, 5)])
def test_kernels_of_any_shape(shape):
    for weight in (np.zeros(shape), np.ones(shape)):
        assert decode(picture.kernels(weight)).size > 0


def test_drawing_has_every_layer_and_every_edge():
    net = network()
    svg = picture.drawing(net, [1] * 10, [""] * 10, "LUTs")
    assert all(f">{layer.name}</text>" in svg for layer in net.layers)
    assert svg.count('class="edge"') == sum(len(layer.inputs) for layer in net.layers) == 10
    assert svg.count("C") >= 1                              # the line past conv2 is a curve
