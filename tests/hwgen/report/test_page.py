from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from hwgen import netfile
from hwgen.commands import app
from hwgen.files import read_json
from hwgen.report.material import Material, read_material
from hwgen.report.page import page, write_report
from tests.hwgen.report.filled import Page, change, fill, network, places, records, replaced

HOSTILE = "<script>alert('x')</script>\"&<img src=x onerror=y>"


def report(folder: Path) -> Page:
    """The page of a folder."""
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_everything(tmp_path: Path) -> None:
    fill(tmp_path, network(model="tiny", method=["dyadic"]))
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    shown = Page(path.read_text(encoding="utf-8"))
    assert "Not in this report" not in shown.text
    assert "What is wrong" not in shown.text
    for words in (network(model="tiny", method=["dyadic"]).digest, "hwgen 0.1.7", "tiny",
                  "compressed by dyadic:P9", "yosys 0.70", "reason 4", "form7"):
        assert words in shown.text, words
    assert "4,020,000" in shown.text             # 100.5 MHz, 25 cycles an image
    assert "0.77 µs" in shown.text               # 77 cycles
    assert "integer network 96.94 % −0.59 371" in shown.text
    assert "hardware, simulated 96.12 % – 362" in shown.text     # points of other images mislead


SHARES = ("accuracy_float", "accuracy_integer", "accuracy_golden", "accuracy_rtl", "error")
NUMBERS = [(name, place) for name, value in records(network()).items() for place in places(value)]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Of a finished design."""
    return read_material(fill(tmp_path_factory.mktemp("design"), network()))


@pytest.mark.parametrize(("name", "place"), NUMBERS, ids=[
    f"{name}-{'-'.join(map(str, place))}" for name, place in NUMBERS])
def test_each_figure_comes_from_its_file(
    material: Material, name: str, place: tuple[Any, ...]
) -> None:
    """One number of one file changed: it stands in the page afterwards, and did not before."""
    share = place[-1] in SHARES
    new, shown = (0.876, ("87.60 %", "87.6 %")) if share else (424243, ("424,243", "424243"))
    changed = {**material.files, name: replaced(material.files[name], place, new)}
    before, after = (Page(page(one)).text
                     for one in (material, dataclasses.replace(material, files=changed)))
    assert not any(words in before for words in shown)
    assert any(words in after for words in shown)


def test_passed(tmp_path: Path) -> None:
    shown = report(fill(tmp_path, network()))
    assert "Passed. All 54,321 values compared in the simulated hardware (362 images) equal" in (
        shown.text)
    assert "Of 3 layers with weights: 3 proven in full for all inputs." in shown.text
    assert "0 multiplier cells, 0 DSP blocks." in shown.text


@pytest.mark.parametrize(("changes", "words"), [
    ({"verify": {"mismatches": 3, "passed": False}}, "3 of 54,321 values compared"),
    ({"verify": {"mismatches": 3}}, "3 of 54,321 values compared"),
    ({"verify": {"passed": False}}, "something else is wrong"),
    ({"verify": {"passed": "yes"}}, "something else is wrong"),
    ({"verify": {"mismatches": None}}, "something else is wrong"),
    ({"verify": {"gates": {"passed": False}}}, "something else is wrong"),
    ({"synth": {"mul_cells": 2}}, "2 multiplier cells"),
    ({"synth": {"dsp": 5}}, "5 DSP blocks"),
    ({"synth": {"dsp": "0"}}, "0 DSP blocks"),
])
def test_failed(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    shown = report(fill(tmp_path, network(), **changes))
    assert "Failed." in shown.text
    assert words in shown.text
    assert shown.all("p", "verdict") == [{"class": "verdict bad"}]


def test_faults_are_named(tmp_path: Path) -> None:
    shown = report(fill(tmp_path, network(), verify={
        "mismatches": 3, "passed": False, "problems": ["m_axis: tlast is missing"],
        "first_difference": {"layer": "conv1", "expected": 3, "got": 4},
        "gates": {"passed": False, "problems": ["gates stand still"]}}))
    assert "What is wrong" in shown.text
    assert "first difference: layer conv1, expected 3, got 4" in shown.text
    assert "tlast is missing" in shown.text
    assert "gate level: gates stand still" in shown.text


def test_rate_and_time_follow_clock_and_cycles(tmp_path: Path) -> None:
    text = report(fill(tmp_path, network(), synth={"fmax_mhz": 80.0},
                       plan={"interval": 32, "latency": 120})).text
    assert "images per second 2,500,000" in text
    assert "latency 1.50 µs" in text


@pytest.mark.parametrize("changes", [
    {"plan": {"interval": 0}}, {"synth": {"fmax_mhz": None}}, {"plan": {"interval": "32"}}])
def test_rate_not_known(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "images per second –" in report(fill(tmp_path, network(), **changes)).text


def test_points_of_the_same_images(tmp_path: Path) -> None:
    shown = report(fill(tmp_path, network(), verify={"images": 371}))
    assert "hardware, simulated 96.12 % −1.41 371" in shown.text


@pytest.mark.parametrize(("proofs", "words"), [
    (("full", "parts", "parts"), "Passed. .* 1 proven in full for all inputs, 2 proven in parts."),
    (("full", "none", "full"), "Not complete. .* 2 proven in full for all inputs, 1 not proven."),
    (("none", "none", "parts"), "Not complete. .* weights: 1 proven in parts, 2 not proven."),
])
def test_proof(tmp_path: Path, proofs: tuple[str, ...], words: str) -> None:
    layers = [{"name": name, "proof": proof}
              for name, proof in zip(("conv1", "conv2", "fc"), proofs, strict=True)]
    assert re.search(words, report(fill(tmp_path, network(), verify={"layers": layers})).text)


def test_layer_that_differs_stands_out(tmp_path: Path) -> None:
    fill(tmp_path, network())
    path = tmp_path / "verify.json"
    change(path, replaced(read_json(path), ("layers", 1, "mismatches"), 1))
    assert len(report(tmp_path).all("td", "bad")) == 2           # the layer's, and the sum


@pytest.mark.parametrize("proofs", [["none"] * 10, ["full"] + ["none"] * 9])
def test_without_proof_it_is_not_complete(tmp_path: Path, proofs: list[str]) -> None:
    """The first layer is the input, whose weights are none."""
    layers = [{"name": layer.name, "proof": proof}
              for layer, proof in zip(network().layers, proofs, strict=True)]
    text = report(fill(tmp_path, network(), verify={"layers": layers})).text
    assert "Not complete. All 54,321 values compared in the simulated hardware (362 images)" in text
    assert "equal the golden model's. No layer is proven." in text


@pytest.mark.parametrize(("name", "verb"), [
    ("compress.json", "compress"), ("plan.json", "rtl"), ("ports.json", "rtl"),
    ("verify.json", "verify"), ("synth.json", "synth"), ("before.npz", "compress"),
    ("samples.npz", "verify")])
def test_missing_file_is_named(tmp_path: Path, name: str, verb: str) -> None:
    fill(tmp_path, network())
    (tmp_path / name).unlink()
    text = report(tmp_path).text
    assert re.search(rf"{name} is not there \([a-zA-Z, ]+\): hwgen {verb} writes it", text)
    assert text.count("is not there") == 1


def test_network_alone(tmp_path: Path) -> None:
    net = network()
    netfile.save(net, tmp_path / "net.npz")
    shown = report(tmp_path)
    assert shown.text.count("is not there") == 8
    assert "Not complete. Not verified yet. Not synthesised yet." in shown.text
    assert "images per second" not in shown.text
    assert "weights, and share" in shown.text                     # of the picture
    assert not shown.all("img", "")[len(shown.all("figure", "kernel")):]


def test_needs_nothing_from_outside(tmp_path: Path) -> None:
    shown = report(fill(tmp_path, network()))
    addresses = [attrs[name] for _, attrs in shown.tags for name in ("src", "href", "action")
                 if name in attrs]
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in shown.tags}
    assert "default-src 'none'" in shown.source
    assert not re.search(r"https?:|url\(|@import|//[a-z]", shown.source)


def test_same_files_same_bytes(tmp_path: Path) -> None:
    first = write_report(fill(tmp_path, network())).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_hostile_texts_are_escaped(tmp_path: Path) -> None:
    net = network(model=HOSTILE, method=[HOSTILE], class_names=[HOSTILE] * 3, data=HOSTILE)
    hostile: dict[str, dict[str, Any]] = {
        name: {key: HOSTILE for key in value if key not in ("digest", "layers", "tools")}
        for name, value in records(net).items()
    }
    layer = {"name": "conv1", **dict.fromkeys(
        ("proof", "form", "why", "lut", "ff", "bram", "adders", "depth", "interval", "latency",
         "compared", "mismatches", "error"), HOSTILE)}
    for value in hostile.values():
        value["layers"] = [layer, HOSTILE]
    hostile["synth"] |= {"tools": {HOSTILE: HOSTILE}, "gates": HOSTILE, "mul_cells": [HOSTILE]}
    hostile["verify"] |= {"problems": [HOSTILE], "first_difference": {HOSTILE: HOSTILE},
                          "gates": {"target": HOSTILE, "problems": [HOSTILE]}}
    hostile["compress"]["methods"] = [HOSTILE]
    shown = report(fill(tmp_path, net, **hostile))
    assert "<script" not in shown.source
    assert not {"script", "x"} & {tag for tag, _ in shown.tags}
    assert {attrs["src"][:5] for attrs in shown.all("img")} == {"data:"}
    assert not any(name.startswith("on") for _, attrs in shown.tags for name in attrs)
    assert shown.text.count("<script>alert") > 10


@pytest.mark.parametrize("value", [None, [], {}, [1], "text", True, 1e400, 10**40, -1, 0])
def test_odd_values_are_shown_not_stumbled_over(tmp_path: Path, value: Any) -> None:
    odd = {name: {key: value for key in record if key != "digest"}
           for name, record in records(network()).items()}
    odd["plan"]["layers"] = [{"name": "conv1", "lut": value, "form": value, "why": value}]
    assert "Failed." in report(fill(tmp_path, network(), **odd)).text


def test_tables_say_what_their_cells_are(tmp_path: Path) -> None:
    shown = report(fill(tmp_path, network()))
    scopes = [attrs.get("scope") for attrs in shown.all("th")]
    assert set(scopes) == {"col", "row"}
    assert all(attrs.get("alt") for attrs in shown.all("img"))
    assert all("aria-label" in attrs or attrs.get("aria-hidden") == "true"
               for attrs in shown.all("svg"))


def test_commands(tmp_path: Path) -> None:
    net = network(model="digits", data="digits", options={"act_bits": 6})
    assert report(fill(tmp_path, net)).text.split("trained network. ")[1].startswith(
        "hwgen train digits --data digits --out digits.safetensors "
        "hwgen compress digits.safetensors --data digits --out net.npz --method dyadic:P9 "
        "--budget 0.7 --objective adders --act-bits 6 --seed 11 "
        "hwgen rtl net.npz --out DIR "
        "hwgen verify DIR --data digits --images 362 --proof --seed 12 "
        "hwgen synth DIR --target ecp5-85 --pnr --seed 13 "
        "hwgen report DIR"
    )


def test_commands_of_what_was_done(tmp_path: Path) -> None:
    """Another model, data in a folder, stalls, a second simulator, gates, no placement."""
    fill(tmp_path, network(model="own; net", data="mnist"), synth={"fmax_mhz": None},
         verify={"stalls": True, "simulator": "icarus", "gates": {}, "layers": [],
                 "images_every_layer": 0}, compress={"methods": ["dyadic:a b"]})
    text = report(tmp_path).text
    assert "hwgen train" not in text
    assert "hwgen compress MODEL --data mnist:FOLDER --out net.npz --method 'dyadic:a b'" in text
    assert ("hwgen verify DIR --data mnist:FOLDER --images 362 --layers last --simulator icarus "
            "--stalls --gates --seed 12") in text
    assert "hwgen synth DIR --target ecp5-85 --seed 13" in text


def test_command_of_a_search(tmp_path: Path) -> None:
    fill(tmp_path, network(), compress={"budget": 1.5, "objective": "luts", "finetune": 3})
    text = report(tmp_path).text
    assert "--budget 1.5 --finetune 3 --objective luts --seed 11" in text


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, network())
    (tmp_path / "top.v").write_text("")
    assert app.run(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"


def test_command_line_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, network(), verify={"digest": "f" * 64})
    (tmp_path / "top.v").write_text("")
    assert app.run(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "verify.json: digest" in error
    assert not (tmp_path / "report.html").exists()
