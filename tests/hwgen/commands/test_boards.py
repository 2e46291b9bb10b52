"""``hwgen bitstream``, ``hwgen run`` and the shell's completion, as a user meets them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from hwgen.commands import app
from hwgen.commands.run import summary

REPORT: dict[str, Any] = {
    "digest": "ab" * 32, "board": "ulx3s", "lut": 9876, "bram": 3, "fmax_mhz": 101.25,
    "clock_mhz": 90.625, "images_per_second": 1118827, "sha256": "cd" * 32, "file": "d/ulx3s.bit",
    "load": "openFPGALoader -b ulx3s d/ulx3s.bit", "note": "",
}
RUN: dict[str, Any] = {
    "images": 1000, "checked": True, "mismatches": 0, "first_difference": None, "accuracy": 0.985,
    "classes": [3] * 1000, "scores": [1, -2], "cycles": {"least": 197, "most": 197},
    "clock_mhz": 90.625, "images_per_second": 1234.5, "resent": 0,
}


@pytest.fixture
def design(tmp_path):
    for name in ("net.npz", "top.v", "ports.json"):
        (tmp_path / name).touch()
    return tmp_path


def test_bitstream(design, monkeypatch, capfd):
    given = {}
    monkeypatch.setattr("hwgen.boards.bitstream.make_bitstream",
                        lambda directory, **options: given.update(options) or REPORT)
    assert app.run(["bitstream", str(design), "--board", "ulx3s", "--clock", "90"]) == 0
    assert capfd.readouterr().out == (
        "ulx3s: 9,876 LUT, 3 BRAM, 90.6 MHz of 101.2, 1,118,827 images/s, sha256 cdcdcdcdcdcd\n"
        "load: openFPGALoader -b ulx3s d/ulx3s.bit\n"
    )
    assert (given["board"], given["clock_mhz"], given["seed"]) == ("ulx3s", 90, 1)


def test_project(design, monkeypatch, capfd):
    report = {**REPORT, "board": "arty-a7", "sha256": None, "note": "a word"}
    monkeypatch.setattr("hwgen.boards.bitstream.make_bitstream", lambda *_, **__: report)
    assert app.run(["bitstream", str(design), "--board", "arty-a7"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("arty-a7: a project for Vivado at 90.6 MHz, 1,118,827 images/s: d/")
    assert out.endswith("d/ulx3s.bit; a word\n")


@pytest.mark.parametrize(
    ("report", "code", "error"),
    [
        (RUN, 0, ""),
        ({**RUN, "mismatches": 3, "first_difference": {
            "image": 7, "beat": 0, "value": "score_1", "expected": 5, "got": 6}}, 1,
         "hwgen: image 7: score_1 differs: expected 5, got 6; and 2 more\n"),
    ],
)
def test_run(design, monkeypatch, capfd, report, code, error):
    monkeypatch.setattr("hwgen.boards.run.run_board", lambda *_, **__: report)
    words = ["run", str(design), "digits", "--board", "ulx3s", "--port", "/dev/ttyUSB0", "--check"]
    assert app.run(words) == code
    out, err = capfd.readouterr()
    assert err == error
    assert out == (
        f"1,000 images, 197 cycles each at 90.625 MHz; 1,234 images/s by cable; accuracy 98.50 %; "
        f"{report['mismatches']} mismatches with the golden model\n"
    )


def test_summary_of_one_picture():
    one = {**RUN, "images": 1, "classes": [3], "accuracy": None, "checked": False, "resent": 2,
           "cycles": {"least": 190, "most": 197}}
    assert summary(one).splitlines() == [
        "class 3", "scores 1 -2",
        ("1 images, 190 to 197 cycles each at 90.625 MHz; 1,234 images/s by cable; 2 frames sent "
        "again"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bitstream", "{d}"], "Missing option '--board'."),
        (["bitstream", "{d}", "--board", "ulx4s"],
         ("Board must be one of ulx3s, ulx3s-25f, ulx3s-12f, orangecrab, orangecrab-25f, ecpix5, "
         "icebreaker, hx8k-evn, tang-nano-9k, arty-a7, not 'ulx4s'")),
        (["bitstream", "none", "--board", "ulx3s"],
         "none must be a folder made by `hwgen rtl`; it is not there"),
        (["run", "{d}", "digits", "--board", "ulx3s"], "Missing option '--port'."),
        (["run", "{d}", "--board", "ulx3s", "--port", "p"], "Missing argument 'IMAGE|DATA'."),
        (["run", "{d}", "digits", "--board", "ulx4s", "--port", "p"],
         ("Board must be one of ulx3s, ulx3s-25f, ulx3s-12f, orangecrab, orangecrab-25f, ecpix5, "
         "icebreaker, hx8k-evn, tang-nano-9k, arty-a7, not 'ulx4s'")),
    ],
)
def test_refused(design, capfd, words, message):
    assert app.run([word.format(d=design) for word in words]) == 2
    assert capfd.readouterr() == ("", f"hwgen: {message}\n")


@pytest.mark.parametrize("package", ["serial", "amaranth_boards"])
def test_missing_package(package):
    error = ModuleNotFoundError(f"No module named '{package}'", name=package)
    extra = {"serial": "board", "amaranth_boards": "synth"}[package]
    assert app._about_missing_module(error) == (
        f"this needs {package}, which is not installed: pip install 'hwgen[{extra}]'"
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("hwgen bi", "bitstream"), ("hwgen bitstream --cl", "--clock"),
     ("hwgen bitstream d --board ic", "icebreaker")],
)
def test_completion(typed, offered):
    variables = {"_HWGEN_COMPLETE": "complete_bash", "COMP_WORDS": typed,
                 "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run([sys.executable, "-m", "hwgen.commands"], capture_output=True,
                          encoding="utf-8", env={**os.environ, **variables}, check=False)
    assert (done.stdout.split(), done.stderr) == ([offered], "")
