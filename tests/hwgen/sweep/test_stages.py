from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.sweep.stages import TOKEN, Job, figures_of, finished, run_stage
from tests.hwgen.sweep.spaces import FAKE, runs


def job(folder: Path, method: str = "P9", **changes: Any) -> Job:
    """A stage of the stand-in, in a folder that is a sweep's."""
    (folder / TOKEN).write_text("token")
    words = ("compress", "m", "--method", method, "--seed", "0", "--out", "{out}/net.npz")
    made = Job("compress-1", "compress", words, None, str(folder), str(folder), "token",
               program=FAKE)
    return replace(made, **changes)


def test_done_once(tmp_path: Path) -> None:
    first, second = run_stage(job(tmp_path)), run_stage(job(tmp_path))
    assert (first.reused, second.reused) == (False, True)
    assert first.figures == second.figures
    assert first.figures["digits"] == 4                       # of two layers
    assert sum(runs(tmp_path).values()) == 1
    assert [path.name for path in (tmp_path / "stages").iterdir()] == ["compress-1"]
    log = (tmp_path / "stages" / "compress-1" / "log.txt").read_text()
    assert log.startswith("$ hwgen compress m --method P9 --seed 0 --out ")
    assert "a word of progress" in log
    made = read_json(tmp_path / "stages" / "compress-1" / "stage.json")
    assert made["command"] == "hwgen compress m --method P9 --seed 0 --out '{out}/net.npz'"


@pytest.mark.parametrize("left", [None, "", "{", "[]", "{}"])
def test_damaged_stage_is_made_again(tmp_path: Path, left: str | None) -> None:
    first = run_stage(job(tmp_path))
    last = tmp_path / "stages" / "compress-1" / "stage.json"
    if left is None:
        last.unlink()
    else:
        last.write_text(left)
    assert finished(tmp_path, "compress-1", "compress") is None
    again = run_stage(job(tmp_path))
    assert (again.figures, again.reused) == (first.figures, False)
    assert sum(runs(tmp_path).values()) == 2


@pytest.mark.parametrize(("method", "error"), [
    ("refused", "no luck with this one"), ("killed", "killed by signal 9 (SIGKILL)")])
def test_failure_keeps_its_log(tmp_path: Path, method: str, error: str) -> None:
    outcome = run_stage(job(tmp_path, method))
    assert (outcome.error, outcome.figures) == (error, {})
    assert outcome.log.startswith(f"$ hwgen compress m --method {method}")
    assert (tmp_path / "failed" / "compress-1" / "log.txt").read_text() == outcome.log
    assert list((tmp_path / "stages").iterdir()) == []


def test_takes_too_long(tmp_path: Path) -> None:
    (tmp_path / "delay.txt").write_text("60")
    outcome = run_stage(job(tmp_path, seconds=0.6))
    assert outcome.error == "took longer than 0.01 minutes"
    assert outcome.seconds < 30


def test_result_without_figures_is_a_failure(tmp_path: Path) -> None:
    outcome = run_stage(job(tmp_path, program=(sys.executable, "-c", "print('nothing')")))
    assert outcome.error is not None
    assert outcome.error.startswith("hwgen compress wrote no figures: ")
    assert "nothing" in outcome.log


@pytest.mark.parametrize(("changes", "words"), [
    ({"token": "other"}, "Every worker must see the folder"),
    ({"version": "0.0.1"}, "hwgen 0.0.1 needed on every worker")])
def test_worker_that_does_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(HwgenError, match=words):
        run_stage(job(tmp_path, **changes))
    assert not runs(tmp_path)


def test_stopped_from_outside_is_no_failure(tmp_path: Path) -> None:
    program = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    with pytest.raises(HwgenError, match="was stopped from outside"):
        run_stage(job(tmp_path, program=program))
    assert not (tmp_path / "failed").exists()
    assert list((tmp_path / "stages").iterdir()) == []


def test_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """The leader is killed; its stage follows."""
    (tmp_path / "delay.txt").write_text("60")
    made = job(tmp_path)
    code = f"from hwgen.sweep.stages import *; run_stage({made!r})"
    leader = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not runs(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{leader.pid}/task/{leader.pid}/children").read_text().split()
    assert len(children) == 1
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    while os.path.exists(f"/proc/{children[0]}/fd") and time.monotonic() < deadline:
        if Path(f"/proc/{children[0]}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    assert time.monotonic() < deadline
    assert finished(tmp_path, "compress-1", "compress") is None


def test_figures(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"interval": 5, "latency": 6, "layers": []}')
    assert figures_of("rtl", tmp_path) == {
        "cycles": 5, "latency": 6, "lut": None, "ff": None, "bram": None, "lut_from": "estimate"}
    (tmp_path / "synth.json").write_text(
        '{"lut": 1, "ff": 2, "bram": 3, "dsp": 4, "mul_cells": 5, "fmax_mhz": 6.5, "target": "x"}')
    assert figures_of("pnr", tmp_path) == {
        "lut": 1, "ff": 2, "bram": 3, "dsp": 4, "mul_cells": 5, "fmax_mhz": 6.5, "lut_from": "pnr"}
