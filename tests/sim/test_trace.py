"""The windows of waveforms, of a port that is played by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.sim.confusion import confusion
from hwgen.sim.trace import AFTER, BEFORE, ENDS, SIGNALS, Trace, write_trace


class Wire:
    """A signal whose value a test sets."""

    value: Any = "0"


def played(beats: int, first: int, image: int, result: int) -> list[dict[str, Any]]:
    """The windows of ports whose input moves a beat a cycle from ``first`` on, the last of an image
    every ``image`` beats, and whose output moves one in cycle ``result``; tready is always high.
    """
    wires = {f"{end} {name}": Wire() for end in ENDS for name in SIGNALS}
    trace = Trace(wires)
    for cycle in range(beats):
        for end in ENDS:
            wires[f"{end} tready"].value = "1"
        sent = cycle - first
        wires["input tvalid"].value = str(int(sent >= 0))
        wires["input tlast"].value = str(int(sent >= 0 and sent % image == image - 1))
        wires["input tdata"].value = f"{cycle:012b}"
        wires["output tvalid"].value = str(int(cycle == result))
        wires["output tdata"].value = "X" * 9 if cycle < result else "101010101"
        trace.sample(cycle)
    return trace.windows


def test_three_windows() -> None:
    windows = played(200, first=3, image=20, result=77)
    assert [window["title"] for window in windows] == [
        "first pixel", "end of the first image", "first result"]
    assert [window["first"] for window in windows] == [0, 22 - BEFORE, 77 - BEFORE]
    for window, middle in zip(windows, (3, 22, 77), strict=True):
        cycles = range(window["first"], middle + AFTER + 1)
        assert window["signals"]["input tdata"] == [f"{cycle:03x}" for cycle in cycles]
        assert all(len(values) == len(cycles) for values in window["signals"].values())
    result = windows[2]["signals"]
    assert result["output tvalid"] == [*("0" * BEFORE), "1", *("0" * AFTER)]
    assert result["output tdata"] == [*("x" * BEFORE), *(["155"] * (AFTER + 1))]
    assert windows[1]["signals"]["input tlast"][BEFORE] == "1"


def test_windows_may_overlap() -> None:
    windows = played(60, first=2, image=4, result=6)
    assert [window["first"] for window in windows] == [0, 0, 1]
    assert windows[2]["signals"]["output tvalid"].index("1") == 5


def test_nothing_happens() -> None:
    assert played(50, first=100, image=4, result=100) == []


def test_written_and_removed(tmp_path: Path) -> None:
    write_trace(tmp_path, "d" * 64, played(60, 2, 4, 6), stalls=True)
    found = json.loads((tmp_path / "trace.json").read_text())
    assert (found["digest"], found["stalls"], len(found["windows"])) == ("d" * 64, True, 3)
    write_trace(tmp_path, "d" * 64, (), stalls=True)
    assert not (tmp_path / "trace.json").exists()


def test_confusion() -> None:
    labels, classes = np.array([0, 0, 2, 1, 2, 2]), np.array([0, 1, 2, 1, 0, -1])
    assert confusion(labels, classes, 3) == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert confusion(labels, classes, 101) is None
