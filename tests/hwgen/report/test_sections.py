"""Classes, waveforms and the search, each held against a page that a person worked out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.report.material import read_material
from hwgen.report.page import write_report
from hwgen.report.pareto import _ticks
from hwgen.report.waves import CELL, LEFT, waves
from tests.hwgen.report.filled import Page, fill, network, trace


def shown(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


# --- classes --------------------------------------------------------------------------------------


def test_classes(tmp_path: Path) -> None:
    """Row by row: 101 of 106 right, 105 of 115, 109 of 124; 30 wrong of 345."""
    page = shown(fill(tmp_path, network(class_names=["zero", "one"])))
    text = page.text.split("Classes Images")[1].split(" Images What")[0]
    assert "30 images of 345 in a wrong one" in text
    assert "zero 101 2 3 106 95.3 %" in text
    assert "one 4 105 6 115 91.3 %" in text
    assert "2 7 8 109 124 87.9 %" in text
    shares = [attrs["style"] for attrs in page.all("td", "wrong")]
    assert shares == [f"--share:{share}" for share in ("0.25", "0.38", "0.50", "0.75", "0.88",
                                                       "1.00")]


def test_many_classes(tmp_path: Path) -> None:
    """25 classes: class 7 is taken for 8 in 6 of 10 images, all others are right."""
    table = 10 * np.eye(25, dtype=int)
    table[7, 7:9] = 4, 6
    page = shown(fill(tmp_path, network(), verify={"confusion": table.tolist()}))
    text = page.text.split("Classes Images")[1].split(" Images What")[0]
    assert "6 images of 250 in a wrong one" in text
    assert "with least right class images right 7 10 40.0 % 0 10 100.0 %" in text
    assert "class taken for images 7 8 6" in text
    assert not page.all("table", "confusion")


@pytest.mark.parametrize("found", [
    None, [], [[]], [[1, 2]], [[1, 2], [3]], [[1.5]], [[-1]], [[True]], ["ab", "cd"], [[0]],
    {"a": 1}, "<b>"])
def test_no_classes(tmp_path: Path, found: Any) -> None:
    page = shown(fill(tmp_path, network(), verify={"confusion": found}))
    assert "Classes Images" not in page.text


# --- waveforms ------------------------------------------------------------------------------------


def test_wire_and_word_lie_in_their_cycles() -> None:
    """valid rises with the second of three cycles; the word a stays for two."""
    svg = waves({"tvalid": [*"011"], "tdata": ["a", "a", "b"]}, first=7)
    assert re.findall(r'class="cycle"[^>]*>(\d+)<', svg) == ["7", "8", "9"]
    (wire,) = re.findall(r'class="wire" d="([^"]*)"', svg)
    points = [tuple(map(float, point.split())) for point in re.split("[ML]", wire)[1:]]
    (low,), (high,) = {y for x, y in points[:2]}, {y for x, y in points[2:]}
    assert low > high                                    # y grows downwards
    assert [x for x, _ in points] == [LEFT, LEFT + CELL, LEFT + CELL + 3, LEFT + 3 * CELL]
    assert re.findall(r'class="word" d="M(\d+) [^"]*L(\d+) [\d.]+L', svg) == [
        (str(LEFT), str(LEFT + 2 * CELL)), (str(LEFT + 2 * CELL), str(LEFT + 3 * CELL))]
    assert re.findall(r"<title>(.)</title>", svg) == ["a", "b"]


def test_clock_rises_at_each_cycle() -> None:
    svg = waves({"a": [*"01"]})
    (clock,) = re.findall(r'class="clock" d="([^"]*)"', svg)
    x, y, rises = LEFT, 0.0, []
    for kind, value in re.findall(r"([MVh])([\d.]+)", clock):
        if kind == "h":
            x += int(value)
        elif kind == "V":
            if float(value) < y or not rises:
                rises.append(x)
            y = float(value)
    assert rises == [LEFT, LEFT + CELL]


def test_unknown_is_seen() -> None:
    svg = waves({"tvalid": ["x", "0"], "tdata": ["0x", "10"]})
    assert svg.count('class="unknown"') == 2


def test_long_words_show_their_lowest_digits() -> None:
    svg = waves({"tdata": ["0123456789", "1", "1"]})
    assert ">…789</text>" in svg
    assert "<title>0123456789</title>" in svg


def test_handshake(tmp_path: Path) -> None:
    """Beats go over in cycles 31 and 33; the output moves nothing and is not drawn."""
    page = shown(fill(tmp_path, network()))
    labels = [attrs["aria-label"] for attrs in page.all("svg", "waves")]
    assert labels == ["first pixel: input port, cycles 30 to 33; beats in cycles 31, 33"]
    marks = [int(attrs["x"]) for attrs in page.all("rect", "mark")]
    assert marks == [LEFT + CELL, LEFT + 3 * CELL]
    assert "at full speed" in page.text


def test_handshake_with_stalls(tmp_path: Path) -> None:
    page = shown(fill(tmp_path, network(), verify={"stalls": True}))
    assert "with random gaps and stalls" in page.text.split("Handshake")[1]


@pytest.mark.parametrize("window", [
    None, [], "x", {"title": "a"}, {"title": "a", "first": "b", "signals": {"input a": ["0"]}},
    {"title": "a", "first": 0, "signals": {}},
    {"title": "a", "first": 0, "signals": {"input a": ["0"], "input b": ["0", "1"]}},
    {"title": "a", "first": 0, "signals": {"input a": ["<b>"]}},
    {"title": "a", "first": 0, "signals": {"input a": [0]}},
    {"title": "a", "first": 0, "signals": {"elsewhere a": ["0"]}},
    {"title": "a", "first": 0, "signals": {"input a": ["0"] * 65}},
    {"title": "a", "first": 0, "signals": {"input a": ["0" * 5000]}},
])
def test_broken_trace(tmp_path: Path, window: Any) -> None:
    fill(tmp_path, network())
    trace(tmp_path, network(), window)
    with pytest.raises(HwgenError, match=r"trace.json: windows of signals needed.*hwgen verify"):
        write_report(tmp_path)


def test_array_of_an_nfu(tmp_path: Path) -> None:
    """Two layers that the array computes; the second takes three quarters of the cycles."""
    layers = [
        {"name": "conv1", "form": "nfu", "interval": 210, "array_cycles": 130, "steps": 9,
         "tiles": 2, "lane_use": 0.4375, "why": "because"},
        {"name": "fc", "form": "nfu", "interval": 630, "array_cycles": 470, "steps": 32, "tiles": 1,
         "lane_use": 0.5, "why": "because"},
    ]
    page = shown(fill(
        tmp_path, network(), plan={"engine": "nfu", "interval": 840, "instructions": 37,
                                   "memory_bytes": 4096, "read_bytes": 1500, "written_bytes": 160,
                                   "layers": layers},
        verify={"cycles_per_image": 841.5, "compute_cycles": 601, "compute_cycles_estimated": 600}))
    text = page.text.split("Array The layers")[1].split(" Classes Images")[0]
    assert "conv1 9 2 210 130 43.8 % fc 32 1 630 470 50.0 %" in text
    for words in ("estimated 840", "hardware 841.5", "estimated 600", "counted 601",
                  "program 37", "memory 4,096", "read an image 1,500", "written an image 160"):
        assert words in text
    assert "630 · 75 %" in page.text
    assert "no netlist of them to prove" in page.text


def test_no_array_of_a_streaming_engine(tmp_path: Path) -> None:
    assert "Array The layers" not in shown(fill(tmp_path, network())).text


def test_nfu_has_no_ports_to_show(tmp_path: Path) -> None:
    """Its results lie in memory: neither samples nor waveforms are missed."""
    fill(tmp_path, network(), plan={"engine": "nfu"})
    for name in ("samples.npz", "trace.json"):
        (tmp_path / name).unlink()
    assert read_material(tmp_path).missing == []


def test_streamed_nfu_has_ports_to_show(tmp_path: Path) -> None:
    fill(tmp_path, network(), plan={"engine": "nfu", "config": {"streamed": True}})
    (tmp_path / "trace.json").unlink()
    assert "trace.json" in read_material(tmp_path).missing[0]


@pytest.mark.parametrize("cores", [1, 3])
def test_nfus_that_take_turns(cores: int, tmp_path: Path) -> None:
    """Cycles of the layers are one NFU's: the page says how many there are."""
    page = shown(fill(tmp_path, network(), plan={
        "engine": "nfu", "interval": 1294, "latency": 3880, "config": {"cores": cores}})).text
    assert ("NFUs that take images in turn 3 cycles from an image to its result 3,880" in page) == (
        cores == 3)


# --- the search -----------------------------------------------------------------------------------


def test_search(tmp_path: Path) -> None:
    page = shown(fill(tmp_path, network()))
    text = page.text.split("Search ")[1]
    assert "2 networks of 57 measured that no other beats" in text
    assert "The budget was 0.70 points." in text
    assert "1,210 1.25 96.21 % conv1: dyadic=T3" in text
    assert "1,460 0.61 96.85 % all: pruned by 0.35; conv1: dyadic=P5; fc: dyadic=P9" in text
    assert "The one that was taken (filled) costs 1,460." in text
    cheap, dear = page.all("circle", "point")
    assert "taken" not in cheap["class"]
    assert "taken" in dear["class"]
    assert float(cheap["cx"]) < float(dear["cx"])
    assert float(cheap["cy"]) > float(dear["cy"])        # it loses more, so it is lower


def test_points_lie_where_the_scale_says() -> None:
    assert _ticks(1210, 1460, 7) == [1200, 1250, 1300, 1350, 1400, 1450, 1500]
    assert _ticks(96.21, 96.85, 5) == pytest.approx([96.2, 96.4, 96.6, 96.8, 97.0])
    assert _ticks(5, 5, 7)[0] <= 5 < _ticks(5, 5, 7)[1]
    assert _ticks(0, 0, 7)[0] <= 0 < _ticks(0, 0, 7)[1]


@pytest.mark.parametrize("found", [None, [], 3, [3], [{}], [{"cost": "a", "lost": 1}],
                                   [{"cost": float("nan"), "lost": 1}]])
def test_no_search(tmp_path: Path, found: Any) -> None:
    page = shown(fill(tmp_path, network(), compress={"pareto": found}))
    assert "Search " not in page.text


# --- the commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "words"), [
    ({}, "hwgen rtl net.npz --out DIR hwgen verify"),
    ({"budget": 128}, "hwgen rtl net.npz --out DIR --cycles-per-pixel 8 hwgen verify"),
    ({"budget": 25}, "hwgen rtl net.npz --out DIR hwgen verify"),        # a padded image's cycles
    ({"engine": "nfu", "config": {"tn": 8, "code": "narrow"}},
     "hwgen rtl net.npz --out DIR --engine nfu --tn 8 --code narrow hwgen verify"),
    ({"engine": "nfu", "config": {"tn": 8, "code": "narrow", "streamed": True, "cores": 3}},
     "hwgen rtl net.npz --out DIR --engine nfu --tn 8 --code narrow --ports stream --cores 3"),
])
def test_command_of_the_engine(tmp_path: Path, plan: dict[str, Any], words: str) -> None:
    assert words in shown(fill(tmp_path, network(), plan=plan)).text


def test_sums_of_what_nobody_knows_are_none(tmp_path: Path) -> None:
    """Of an NFU no layer has LUTs of its own."""
    layers = [{"name": "conv1", "lut": None, "ff": None, "bram": None, "interval": 3}]
    page = shown(fill(tmp_path, network(), plan={"engine": "nfu", "layers": layers}))
    foot = page.source.split("<tfoot>")[1].split("</tfoot>")[0]
    assert foot.count("<td") == 15
    assert foot.count(">0<") == 1                        # values that differ, and no LUT


def test_one_image(tmp_path: Path) -> None:
    assert "(1 image) equal" in shown(fill(tmp_path, network(), verify={"images": 1})).text
