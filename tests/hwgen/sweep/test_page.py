from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hwgen.files import make_folder
from hwgen.sweep import page as pages
from hwgen.sweep.chart import Axis
from hwgen.sweep.lead import STORE
from hwgen.sweep.page import write_report
from hwgen.sweep.space import Space
from hwgen.sweep.store import Store
from tests.hwgen.report.filled import Page
from tests.hwgen.sweep.spaces import read, write

HOSTILE = "<script>alert('x')</script>\"&<img src=x onerror=y>"
# (method, accuracy, adders): P9 is beaten by P5 in adders, P7 is not beaten.
POINTS = (("P5", 0.95, 100), ("P7", 0.97, 200), ("P9", 0.94, 300))


def figures(accuracy: float, adders: int, **more: Any) -> dict[str, Any]:
    return {"digest": f"network{adders}", "accuracy_float": 0.99, "accuracy_integer": accuracy,
            "images": 360, "adders": adders, "cycles": 80, "latency": 90, "lut": 1000 + adders,
            "lut_from": "synth", "ff": 5, "bram": 6, "dsp": 0, "mul_cells": 0, "fmax_mhz": None,
            **more}


def fill(folder: Path, *, methods: tuple[str, ...] = ("P5", "P7", "P9"), failed: str = "",
         done: int = 3, **more: Any) -> Space:
    """A sweep's folder, its store filled by hand."""
    shown = ", ".join(f"'''{method}'''" for method in methods)
    space = read(write(folder, f"methods = [{shown}]\ntargets = ['up5k']\n"))
    make_folder(folder / "out")
    with Store(folder / "out" / STORE) as store:
        for point, (_, accuracy, adders) in list(zip(space.points, POINTS, strict=False))[:done]:
            store.put(point, figures=figures(accuracy, adders, **more), seconds=1.0, workers="w")
        if failed:
            store.put(space.points[-1], figures={}, seconds=1.0, workers="w", failed_stage="rtl",
                      error=failed, log=f"$ hwgen rtl\n{failed}\n")
    return space


def report(folder: Path, space: Space) -> Page:
    write_report(space, folder / "out")
    return Page((folder / "out" / "report.html").read_text(encoding="utf-8"))


def test_everything(tmp_path: Path) -> None:
    space = fill(tmp_path, fmax_mhz=40.0)
    shown = report(tmp_path, space)
    assert "A sweep of 3 points: m.onnx on digits." in shown.text
    assert "All done. 3 done, 0 failed." in shown.text
    assert "P7 · stream · up5k · seed 0" in shown.text
    assert "97.00 % 200 80 1,200 5 6 40.0 500,000 LUTs, cycles, adders" in shown.text
    for point in space.points:
        assert point.command() in shown.text


def test_dominated_points_are_grey(tmp_path: Path) -> None:
    """Three charts; of P5, P7 and P9 the last is beaten in all, P5 in cycles."""
    shown = report(tmp_path, space := fill(tmp_path))
    marks = re.findall(r'<a href="#p-(\w+)"><circle class="([^"]+)"', shown.source)
    assert len(marks) == 9
    names = {point.key: point.method for point in space.points}
    found = [(names[key], style) for key, style in marks]
    assert found.count(("P7", "front stream")) == 3
    assert found.count(("P5", "front stream")) == 2
    assert found.count(("P5", "dominated")) == 1
    assert found.count(("P9", "dominated")) == 3
    rows = [(names[attrs["id"][2:]], attrs.get("class")) for attrs in shown.all("tr")
            if "id" in attrs]
    assert rows == [("P7", None), ("P5", None), ("P9", "dominated")]


def test_front_is_returned(tmp_path: Path) -> None:
    space = fill(tmp_path)
    assert write_report(space, tmp_path / "out") == [point.key for point in space.points[:2]]


def test_marks_lie_where_their_figures_are(tmp_path: Path) -> None:
    """In the chart of adders P7 lies right of P5 and above it, P9 right of P7 and below P5."""
    shown = report(tmp_path, space := fill(tmp_path))
    chart = shown.source.split('class="chart"')[-1]
    places = {key: (float(x), float(y)) for key, x, y in re.findall(
        r'#p-(\w+)"><circle class="[^"]+" cx="([\d.]+)" cy="([\d.]+)"', chart)}
    (x5, y5), (x7, y7), (x9, y9) = (places[point.key] for point in space.points)
    assert x5 < x7 < x9
    assert x7 - x5 == pytest.approx(x9 - x7, abs=0.2)
    assert y7 < y5 < y9                                       # SVG counts down


def test_failure(tmp_path: Path) -> None:
    shown = report(tmp_path, fill(tmp_path, failed="needs 9,000 LUTs, there are 5,280", done=2))
    assert "Points failed. 2 done, 1 failed." in shown.text
    assert "rtl: needs 9,000 LUTs, there are 5,280 P9 · stream · up5k · seed 0" in shown.text
    assert "$ hwgen rtl" in shown.text


def test_not_finished(tmp_path: Path) -> None:
    assert "Not finished. 1 done, 0 failed, 2 not finished" in report(
        tmp_path, fill(tmp_path, done=1)).text


def test_nothing_done(tmp_path: Path) -> None:
    shown = report(tmp_path, fill(tmp_path, done=0))
    assert "Not finished. 0 done" in shown.text
    assert not shown.all("svg")


def test_estimate_is_marked(tmp_path: Path) -> None:
    text = report(tmp_path, fill(tmp_path, lut_from="estimate")).text
    assert "1,200*" in text
    assert "LUTs, estimate for up5k" in text


def test_needs_nothing_from_outside(tmp_path: Path) -> None:
    shown = report(tmp_path, fill(tmp_path, failed="no", done=2))
    assert all(attrs["href"].startswith("#p-") for attrs in shown.all("a"))
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in shown.tags}
    assert not [attrs for _, attrs in shown.tags if "src" in attrs]
    assert "default-src 'none'" in shown.source
    assert not re.search(r"https?:|url\(|@import|//[a-z]", shown.source)
    anchors = {"#" + attrs["id"] for _, attrs in shown.tags if "id" in attrs}
    assert {attrs["href"] for attrs in shown.all("a")} <= anchors


def test_hostile_texts_are_escaped(tmp_path: Path) -> None:
    space = fill(tmp_path, methods=(HOSTILE, "P7", "P9" + HOSTILE), failed=HOSTILE, done=2)
    shown = report(tmp_path, space)
    assert not {"script", "img"} & {tag for tag, _ in shown.tags}
    assert shown.text.count("<script>alert") > 3


def test_long_table_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST_ROWS", 2)
    shown = report(tmp_path, fill(tmp_path))
    assert "the first 2 of 3, all are in results.sqlite" in shown.text
    assert len([attrs for attrs in shown.all("tr") if "id" in attrs]) == 2


def test_same_store_same_bytes(tmp_path: Path) -> None:
    space = fill(tmp_path)
    assert report(tmp_path, space).source == report(tmp_path, space).source


def test_points_of_an_earlier_space_are_not_shown(tmp_path: Path) -> None:
    fill(tmp_path)
    shown = report(tmp_path, read(write(tmp_path, "methods = ['P5']\ntargets = ['up5k']\n")))
    assert "All done. 1 done" in shown.text
    assert "P7" not in shown.text
    with sqlite3.connect(tmp_path / "out" / STORE) as base:
        assert base.execute("SELECT count(*) FROM points").fetchone() == (3,)
    base.close()


AXES = [(found, False) for found in (
    [5.0], [0.0, 1.0], [97.5, 93.6], [100.0, 100.1], [3.0, 30.0], [0.0], [81.0, 2374.0])]
AXES += [(found, True) for found in ([81.0, 2374.0], [1.0, 1e6], [3.0, 40.0], [1.0, 1e15])]


@pytest.mark.parametrize(("found", "log"), AXES, ids=str)
def test_axis(found: list[float], log: bool) -> None:
    """Values and ticks lie within the axis, in order, and there are enough of them."""
    axis = Axis(found, 50, 350, log=log)
    assert all(50 <= axis.at(value) <= 350 for value in found)
    ticks = axis.ticks(6)
    assert 2 <= len(ticks) <= 7
    places = [axis.at(value) for value in ticks]
    assert places == sorted(places)
    assert all(49.9 <= place <= 350.1 for place in places)
