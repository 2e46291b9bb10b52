"""Pictures of a page: PNG bytes, colours, kernels, images with their scores, the flow."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from hwgen.network import Conv2d, Input, Network
from hwgen.report import drawing, png
from hwgen.report.kernels import kernels
from hwgen.report.material import NOTHING, Material
from hwgen.report.page import write_report
from tests.hwgen.report.filled import Page, fill, network, samples


def decode(address: str) -> np.ndarray:
    """Pixels of a PNG made with filter 0, by the rules of the format."""
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, body, header = 8, b"", b""
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


@pytest.mark.parametrize("channels", [3, 4])
def test_png(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, channels)).astype(np.uint8)
    assert np.array_equal(decode(png.png(pixels)), pixels)


def test_photo_reaches_black_and_white() -> None:
    assert png.photo(np.array([[[-8, 7]]]), -8, 7).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_photo_of_three_channels_has_colours() -> None:
    assert png.photo(np.array([[[1]], [[0]], [[2]]]), 0, 2).tolist() == [[[128, 0, 255]]]


def test_colours_of_weights() -> None:
    pixels = png.heat(np.array([[4, 0], [-4, 2]]), 4.0)
    assert pixels[..., 3].tolist() == [[255, 0], [255, 128]]
    assert tuple(pixels[0, 0, :3]) == tuple(pixels[1, 1, :3]) == png.PLUS
    assert tuple(pixels[1, 0, :3]) == png.MINUS


# --- kernels --------------------------------------------------------------------------------------


def material(shape: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> Material:
    """Two convolutions, by hand, with weights before that are four times those after."""
    from hwgen.cost import network_cost
    from hwgen.network import Requantise

    first = np.arange(np.prod(shape)).reshape(shape) % 5 - 2
    other = np.arange(np.prod(second)).reshape(second) % 3
    count, outputs = shape[0], second[0]
    net = Network((
        Input("image", shape[1], 9, 9, 0, 15, 0),
        Conv2d("first", "image", first, np.zeros(count, int), np.full(count, 1)),
        Requantise("codes", "first", np.ones(count, int), np.zeros(count, int),
                   np.zeros(count, int), 0, 15, 0),
        Conv2d("other", "codes", other, np.zeros(outputs, int), np.zeros(outputs, int)),
    ))
    before = {"first": first * 2.0}
    return Material(net, {}, [], before, None, {cost.name: cost for cost in network_cost(net)})


def test_all_kernels_of_the_first_convolution_and_some_of_the_others() -> None:
    page = Page(f"<p></p><p></p>{kernels(material((10, 3, 3, 3), (4, 10, 1, 1)))}")
    assert len(page.all("figure", "kernel")) == 30 + 16
    assert len(page.all("img")) == 2 * 30 + 16          # nothing is known of the other's before
    assert "16 kernels, the first 16 of 40" in page.text
    assert "those before compression are not there" in page.text


def test_kernels_before_and_after_in_one_scale() -> None:
    """After is a quarter of before: frac_w is 1, so the integer -2 means -1; before it was -4."""
    page = Page(kernels(material((2, 1, 3, 3), (1, 2, 1, 1))))
    before, after = (decode(attrs["src"]) for attrs in page.all("img")[:2])
    assert before[..., 3].max() == 255
    assert after[..., 3].max() == 64
    assert np.array_equal(before[..., :3][before[..., 3] > 0], after[..., :3][after[..., 3] > 0])
    alts = [attrs["alt"] for attrs in page.all("img")[:2]]
    assert alts == [f"first output 0 input 0 {words}"
                    for words in ("before: −4 to 4", "after: −1 to 1")]


def test_kernels_of_a_whole_page(tmp_path: Path) -> None:
    """Two kernels of the first convolution, four of the second, all in pairs."""
    page = Page(write_report(fill(tmp_path, network())).read_text(encoding="utf-8"))
    assert len(page.all("figure", "kernel")) == 2 + 4
    assert len(page.all("img")) == 2 * (2 + 4) + 2      # and the two images


def test_weights_before_of_another_shape_are_not_shown() -> None:
    one = material((2, 1, 3, 3), (1, 2, 1, 1))
    one.before["first"] = np.zeros((2, 1, 5, 5))        # type: ignore[index] # a dict in this test
    assert "before:" not in kernels(one)


@pytest.mark.parametrize("weight", [np.zeros((1, 1, 1, 1), int), np.full((1, 1, 3, 3), -7)])
def test_kernels_of_one_value(weight: np.ndarray) -> None:
    from hwgen.cost import network_cost

    net = Network((Input("image", 1, 9, 9, 0, 15, 0), Conv2d(
        "first", "image", weight, np.zeros(1, int), np.zeros(1, int))))
    costs = {cost.name: cost for cost in network_cost(net)}
    (picture,) = Page(kernels(Material(net, {}, [], {}, None, costs))).all("img")
    assert decode(picture["src"])[..., 3].max() == (255 if weight.any() else 0)


# --- images ---------------------------------------------------------------------------------------


def test_images_and_what_came_out(tmp_path: Path) -> None:
    """Of the second image one score differs, and the class is not the label."""
    fill(tmp_path, network(class_names=["zero", "one", "two"]))
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    first, second = page.text.split("Images What")[1].split("Kernels")[0].split("image 1,234")
    assert "image 3 label two golden two hardware two ✓ all equal" in first
    assert "label one golden zero (wrong) hardware zero ✗ different" in second
    assert "zero 5 5 one −6 −6 two 7 7" in first
    assert "zero 19 19 one −16 −15 two 17 17" in second
    assert [attrs["alt"] for attrs in page.all("img")[:2]] == [
        "image 3, label two", "image 1,234, label one"]
    assert page.all("tr", "bad") == [{"class": "bad"}]


def test_bars_are_as_long_as_the_scores(tmp_path: Path) -> None:
    """Scores -6, 5, 7 of both: the bars of 84 pixels reach from -6 to 7, zero lies at 38.8."""
    source = write_report(fill(tmp_path, network())).read_text(encoding="utf-8")
    found = re.findall(r'class="(golden|hardware)" x="([\d.]+)" y="\d" width="([\d.]+)"', source)
    assert found[:6] == [
        ("golden", "38.8", "32.3"), ("hardware", "38.8", "32.3"),
        ("golden", "0.0", "38.8"), ("hardware", "0.0", "38.8"),
        ("golden", "38.8", "45.2"), ("hardware", "38.8", "45.2")]
    # Scores -16 and -15 from -16 to 19: zero lies at 38.4, a step is 2.4.
    assert found[8:10] == [("golden", "0.0", "38.4"), ("hardware", "2.4", "36.0")]


def test_a_result_that_did_not_come(tmp_path: Path) -> None:
    net = network()
    fill(tmp_path, net)
    hardware = np.array([[2, 5, -6, 7], [NOTHING] * 4])
    samples(tmp_path, net, hardware=hardware)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "hardware nothing ✗ different" in text
    assert "1 −16 – 2 17 –" in text
    assert str(NOTHING).lstrip("-")[:6] not in text.replace(",", "")


def test_highest_scores_of_many(tmp_path: Path) -> None:
    net = network()
    fill(tmp_path, net)
    scores = np.arange(40).reshape(1, 40)
    samples(tmp_path, net, images=np.zeros((1, 1, 4, 4), int), labels=np.array([39]),
            index=np.array([0]), names=np.array([f"score_{n}" for n in range(40)]),
            golden=scores, hardware=scores)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "the 10 highest of 40 scores" in text
    assert "golden 39 hardware 39 ✓ all equal" in text
    assert "30 30 30 31 31 31" in text
    assert "29 29 29" not in text


# --- the flow -------------------------------------------------------------------------------------


def test_drawing_has_every_layer_every_edge_every_shape() -> None:
    net = network()
    svg = drawing.drawing(net, [1] * 10, [""] * 10, "LUTs")
    assert all(f">{layer.name}</text>" in svg for layer in net.layers)
    # Nine direct ones, the result's, and the one past conv2 and q2, which carries relu1's codes.
    assert svg.count('class="edge"') == svg.count('class="tip"') == 11
    (past,) = re.findall(r'class="size along"[^>]*>([^<]*)<', svg)
    assert past == "2 × 4 × 4"
    shapes = re.findall(r'class="size" [^>]*>([^<]*)<', svg)
    assert shapes == [" × ".join(map(str, net.tensors[layer.name].shape)) for layer in net.layers]


def test_shape_along_a_line_keeps_off_others() -> None:
    """Between 0 and 1000, a line crossing at 500: the text of 64 pixels moves just beyond it."""
    found = drawing._along(10, (0, 1000), [500], "8 × 16 × 16")
    (place,) = re.findall(r"translate\(10 (\d+)\)", found)
    assert abs(int(place) - 500) == 6 * 11 // 2 + 2 + 3
    assert "translate(10 500)" in drawing._along(10, (0, 1000), [], "8 × 16 × 16")
    assert "translate(10 30)" in drawing._along(10, (0, 60), [], "8 × 16 × 16")     # no room


def test_bars_are_shares() -> None:
    svg = drawing.drawing(network(), [0, 300, None, 100, *[0] * 6], [""] * 10, "LUTs")
    long, short = (float(width) for width in re.findall(r'class="bar"[^>]*width="([\d.]+)"', svg))
    assert long == pytest.approx(3 * short, abs=0.2)
    assert "300 · 75 %" in svg
    assert "100 · 25 %" in svg
    assert svg.count('class="count"') == 9              # of None nothing is said


def test_lines_past_boxes_do_not_overlap() -> None:
    lanes = drawing._lanes([(0, 4), (1, 3), (4, 6), (2, 7)])
    assert lanes == {(1, 3): 0, (4, 6): 0, (0, 4): 1, (2, 7): 2}
