from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.sweep.engines import parse_engine
from hwgen.sweep.points import Until
from hwgen.sweep.space import MOST_BYTES
from tests.hwgen.sweep.spaces import read, write

FULL = """
methods = ["T3", ["lower-kernel", "P5"]]
budgets = ["none", 1]
engines = ["stream", "nfu:tn=8"]
targets = ["up5k", "ecp5-85"]
seeds = [0, 3]
until = "pnr"
"""


def test_product(tmp_path: Path) -> None:
    points = read(write(tmp_path, FULL)).points
    found = {(point.methods, point.budget, point.engine and point.engine.text, point.target,
              point.seed) for point in points}
    assert found == set(itertools.product(
        (("T3",), ("lower-kernel", "P5")), (None, 1.0), ("stream", "nfu:tn=8"),
        ("up5k", "ecp5-85"), (0, 3)))
    assert len(points) == 32
    assert {point.until for point in points} == {Until.PNR}


@pytest.mark.parametrize(("until", "count", "stages"), [
    ("compress", 8, ("compress",)), ("rtl", 16, ("compress", "rtl")),
    ("synth", 32, ("compress", "rtl", "synth")), ("pnr", 32, ("compress", "rtl", "pnr"))])
def test_what_no_stage_reads_is_left_out(
    tmp_path: Path, until: str, count: int, stages: tuple[str, ...]
) -> None:
    points = read(write(tmp_path, FULL.replace("pnr", until))).points
    assert len(points) == count
    assert {point.stages for point in points} == {stages}


def test_engine_that_fits_has_targets(tmp_path: Path) -> None:
    points = read(write(tmp_path, 'engines = ["stream", "stream:fit"]\nuntil = "rtl"\n'
                        'targets = ["up5k", "ecp5-85"]')).points
    assert [(point.engine and point.engine.text, point.target) for point in points] == [
        ("stream", None), ("stream:fit", "up5k"), ("stream:fit", "ecp5-85")]
    assert points[1].words("rtl")[2:] == ("--engine", "stream", "--fit", "up5k", "--out", "{out}")


def test_parts_stand_in_place_of_what_is_above(tmp_path: Path) -> None:
    points = read(write(tmp_path, """methods = ["T3", "P5"]
until = "rtl"
[[part]]
[[part]]
methods = ["P5"]
until = "synth"
targets = ["up5k"]
[[part]]
methods = ["P5"]
""")).points
    assert [(point.method, point.until.value) for point in points] == [
        ("T3", "rtl"), ("P5", "rtl"), ("P5", "synth")]        # the last part adds nothing new


@pytest.mark.parametrize(("text", "flags"), [
    ("stream", ["--engine", "stream"]),
    ("stream:cycles-per-pixel=2.5", ["--engine", "stream", "--cycles-per-pixel", "2.5"]),
    ("nfu:code=base,tn=32,memory=axi",
     ["--engine", "nfu", "--tn", "32", "--code", "base", "--memory", "axi"])])
def test_engine(text: str, flags: list[str]) -> None:
    assert list(parse_engine(text).arguments(None)) == flags


def test_command_line_of_each_stage(tmp_path: Path) -> None:
    point = read(write(tmp_path, """methods = [["lower-kernel", "P5"]]
budgets = [0.5]
seeds = [7]
engines = ["nfu:tn=4"]
targets = ["up5k"]
until = "pnr"
finetune = 3
act_bits = 6
objective = "luts"
mean = "-0.5,1"
""")).points[0]
    assert point.command() == (
        "export OMP_NUM_THREADS=1; hwgen compress m.onnx --data digits --method lower-kernel "
        "--method P5 --budget 0.5 --objective luts --finetune 3 --act-bits 6 --mean=-0.5,1 "
        "--seed 7 --out point/net.npz && hwgen rtl point/net.npz --engine nfu --tn 4 --out point "
        "&& hwgen synth point --target up5k --pnr --seed 7")


@pytest.mark.parametrize(("text", "words"), [
    ("methods = 3", "methods: a list with at least one value needed, not 3"),
    ("methods = []", "methods: a list with at least one value needed, not []"),
    ("methods = [3]", "methods: a text or a list of texts needed, not 3"),
    ('methods = ["nonsense"]', "--method: one of dyadic needed, not 'nonsense'"),
    ("budgets = [-1]", "budgets: points of 0 or more, or 'none', needed, not -1"),
    ("budgets = [nan]", "budgets: points of 0 or more, or 'none', needed, not nan"),
    ("budgets = [true]", "budgets: points of 0 or more, or 'none', needed, not True"),
    ('engines = ["gpu"]', "engines: stream or nfu needed, not 'gpu'"),
    ("engines = [1]", "engines: texts needed, not 1"),
    ('engines = ["nfu:tn=5"]', "engines: tn: 4, 8, 16, 32 needed, not '5'"),
    ('engines = ["nfu:fit"]', "engines: nfu takes tn, code, memory, not 'fit'"),
    ('engines = ["nfu:tn=8,tn=8"]', "engines: nfu takes tn once, not twice"),
    ('engines = ["stream:cycles-per-pixel=0.5"]',
     "engines: cycles-per-pixel: a number from 1 to 65536 needed, not '0.5'"),
    ('engines = ["stream:cycles-per-pixel=2,fit"]',
     "engines: cycles-per-pixel or fit needed, not both: 'stream:cycles-per-pixel=2,fit'"),
    ('engines = ["stream:fit"]\nuntil = "rtl"', "targets: at least one needed, for stream:fit"),
    ('targets = ["up6k"]', "targets: of ecp5-85, up5k, gates needed, not 'up6k'"),
    ("targets = [[1]]", "targets: of ecp5-85, up5k, gates needed, not [1]"),
    ("", "targets: at least one needed, for until = 'synth'"),
    ('targets = ["gates"]\nuntil = "pnr"',
     "targets: one with place and route needed for until = 'pnr' (ecp5-85, up5k), not 'gates'"),
    ('until = "board"', "until: compress, rtl, synth, pnr needed, not 'board'"),
    ("until = 1", "until: a text needed, not 1"),
    ("seeds = [1.5]", "seeds: whole numbers from 0 to 2147483647 needed, not 1.5"),
    ("seeds = [-1]", "seeds: whole numbers from 0 to 2147483647 needed, not -1"),
    ("finetune = true", "finetune: a whole number from 0 to 10000 needed, not True"),
    ("act_bits = 17", "act_bits: a whole number from 2 to 16 needed, not 17"),
    ('objective = "speed"', "objective: adders, luts, cycles, macs needed, not 'speed'"),
    ("minutes = 0", "minutes: a number above 0 needed, not 0"),
    ("[[part]]\nminutes = 1", "minutes: needed above all parts, not in one"),
    ("part = 3", "part: tables [[part]] needed, not 3"),
    ("[[part]]\nmethod = 3",
     ("'method' is no key; model, data, until, objective, finetune, act_bits, mean, std, minutes, "
      "methods, budgets, engines, targets, seeds and part are")),
    (f"seeds = {list(range(400))}\nbudgets = {list(range(400))}\nuntil = 'compress'",
     "At most 100,000 points needed, there are more"),
])
def test_refused(tmp_path: Path, text: str, words: str) -> None:
    short = "" if "until" in text or "target" in words else "until = 'compress'\n"
    path = write(tmp_path, short + text)
    with pytest.raises(HwgenError) as refused:
        read(path)
    assert str(refused.value) == f"{path}: {words}"


@pytest.mark.parametrize(("head", "words"), [
    ('data = "digits"', "model: a text needed, there is none"),
    ('model = "m.onnx"', "data: a text needed, there is none"),
    ('model = 3\ndata = "digits"', "model: a text needed, not 3"),
    ('model = "n.onnx"\ndata = "digits"', "model: {}/n.onnx: No such file or directory"),
    ('model = "python:f.py:net"\ndata = "digits"', "model: {}/f.py: No such file or directory"),
    ('model = "m.onnx"\ndata = "npz:x.npz"', "data: {}/x.npz: No such file or directory"),
    ('model = "m.onnx"\ndata = "imagenet:x"',
     "data: digits, mnist:…, cifar10:…, faces:…, npz:…, images:… needed, not 'imagenet:x'"),
])
def test_source_refused(tmp_path: Path, head: str, words: str) -> None:
    path = write(tmp_path, "\nuntil = 'compress'", head=head)
    with pytest.raises(HwgenError) as refused:
        read(path)
    assert str(refused.value) == f"{path}: {words.format(tmp_path)}"


@pytest.mark.parametrize(("raw", "words"), [
    (b"methods = [", "TOML needed: "), (b"\xff\xfe", "TOML needed: "),
    (b"a = 1\na = 2", "TOML needed: "), (b"#" * (MOST_BYTES + 1), "at most 1048576 bytes needed"),
    (b"a=" + b"[" * 100_000, "TOML needed: ")])
def test_not_toml(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "space.toml"
    path.write_bytes(raw)
    with pytest.raises(HwgenError, match="^" + str(path)) as refused:
        read(path)
    assert words in str(refused.value)


def test_what_decides_the_result_is_in_the_key(tmp_path: Path) -> None:
    """Another model under the same name, other images: other points; the same: the same."""
    text = "until = 'compress'\nmethods = ['P5']"
    head = 'model = "m.onnx"\ndata = "images:set"\n'
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"123")
    path = write(tmp_path, text, head=head)
    keys = [read(path).points[0].key]
    assert [read(path).points[0].key] == keys
    (tmp_path / "set" / "a.png").write_bytes(b"1234")
    keys.append(read(path).points[0].key)
    (tmp_path / "m.onnx").write_bytes(b"another")
    keys.append(read(path).points[0].key)
    path.write_text(head + text.replace("P5", "P7"))
    keys.append(read(path).points[0].key)
    assert len(set(keys)) == 4
