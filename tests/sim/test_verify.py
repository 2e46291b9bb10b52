"""``verify`` on hardware written by hand: it passes when right, and finds what is planted when not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen import tools
from hwgen.errors import HwgenError
from hwgen.files import read_json, write_json
from hwgen.network import Network
from hwgen.sim.design import load_folder
from hwgen.sim.verify import verify
from tests.sim import pixelwise

# A build costs Icarus nothing; where it is missing, Verilator does the same work.
QUICK = "icarus" if tools.find_icarus() else "verilator"

KEYS = [
    "digest",
    "engine",
    "simulator",
    "images",
    "values_compared",
    "mismatches",
    "cycles",
    "cycles_per_image",
    "accuracy_golden",
    "accuracy_rtl",
    "layers",
    "seed",
    "seconds",
]


@pytest.fixture
def folder(build_once: Callable[..., Path]) -> Path:
    """The right hardware, built once a test run."""
    return build_once("pixelwise", pixelwise.write)


def broken(tmp_path: Path, *faults: tuple[str, str], **options: Any) -> dict[str, Any]:
    """What verify says of hardware with faults."""
    return verify(
        pixelwise.write(tmp_path / "broken", *faults), simulator=QUICK, images=8, **options
    )


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize("layers", ["all", "last"])
def test_right(
    simulator: str, stalls: bool, layers: Any, folder: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(simulator)
    result = verify(folder, simulator=simulator, stalls=stalls, layers=layers, images=10, seed=3)
    assert [key for key in KEYS if key not in result] == []
    assert (result["passed"], result["mismatches"], result["problems"]) == (True, 0, [])
    tallies = {layer["name"]: layer["compared"] for layer in result["layers"]}
    inner = {"pixels": 240, "conv1": 360} if layers == "all" else {"pixels": 0, "conv1": 0}
    assert tallies == {**inner, "relu1": 720 if layers == "all" else 360}
    assert result["values_compared"] == sum(tallies.values())
    assert result["cycles_per_image"] == (None if stalls else 12.0)
    # One beat a cycle: 120 of them and two cycles through the registers.
    assert result["cycles"] > 150 if stalls else result["cycles"] == 122


def test_trace(folder: Path) -> None:
    """Twelve pixels an image, the first result two cycles after the first pixel."""
    verify(folder, simulator=QUICK, images=3)
    windows = {window["title"]: window for window in read_json(folder / "trace.json")["windows"]}
    ends = windows["end of the first image"]
    last = ends["signals"]["input tlast"].index("1")
    assert ends["first"] + last == 11
    assert ends["signals"]["input tvalid"] == ["1"] * len(ends["signals"]["input tlast"])
    result = windows["first result"]
    assert result["first"] + result["signals"]["output tvalid"].index("1") == 2
    verify(folder, simulator=QUICK, images=3, layers="last")
    assert not (folder / "trace.json").exists()


def test_both_simulators_see_the_same_cycles(folder: Path, icarus: str, verilator: Any) -> None:
    runs = [
        verify(folder, simulator=name, stalls=True, seed=11, images=5)
        for name in ("icarus", "verilator")
    ]
    assert runs[0]["cycles"] == runs[1]["cycles"]


def test_report_is_written(folder: Path) -> None:
    result = verify(folder, simulator=QUICK, images=2)
    assert read_json(folder / "verify.json") == json.loads(json.dumps(result))


def test_data_and_labels(folder: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 16, (40, 2, 3, 4), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(40) % 2)
    result = verify(folder, simulator=QUICK, data=f"npz:{tmp_path / 'x.npz'}", images="all")
    assert result["passed"]
    assert result["images"] == 8
    assert result["accuracy_golden"] is None  # a map of codes has no class


def test_large_sets_are_checked_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer on the first images, the results of all."""
    monkeypatch.setattr("hwgen.sim.verify.STEPWISE_CYCLES", 12 * 29)
    result = verify(folder, simulator=QUICK, images=30)
    assert result["passed"]
    assert result["images_every_layer"] == 20
    tallies = {layer["name"]: layer["compared"] for layer in result["layers"]}
    assert tallies == {"pixels": 480, "conv1": 720, "relu1": 2 * 720 + 30 * 36}


def test_large_sets_in_several_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwgen.sim.bulk.BEATS", 12 * 7)
    monkeypatch.setattr("hwgen.sim.bulk.BLOCK", 12 * 2)
    result = verify(folder, simulator=QUICK, images=16, layers="last")
    assert result["passed"]
    assert result["values_compared"] == 16 * 36


def test_progress(folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    verify(folder, simulator=QUICK, images=100, progress=lambda *told: seen.append(told))
    told = [(done, total) for text, done, total in seen if text == "comparing every layer"]
    assert len(told) > 2
    assert all(total == 100 for _, total in told)
    assert told == sorted(told)


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_wave(simulator: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(simulator)
    wave = tmp_path / "some folder" / "wave.vcd"
    wave.parent.mkdir()
    verify(folder, simulator=simulator, images=2, wave=wave)
    text = wave.read_text()
    assert "$enddefinitions" in text
    assert "s_axis_tdata" in text
    assert text.count("#") > 24


# --- what is planted is found -----------------------------------------------------------------

FAULTS = {
    "tap sign": ("a - (b <<< 1) + 7'sd1", "a + (b <<< 1) + 7'sd1", "conv1"),
    "accumulator": ("sums <= {y2, y1, y0};", "sums <= {y2, y1, {2{y0[4]}}, y0[4:0]};", "conv1"),
    "bias": ("a + (a <<< 1) + b;", "a + (a <<< 1) + b + 7'sd4;", "conv1"),
    "rounding": ("($signed(i__payload[6:0]) + 8'sd1)", "($signed(i__payload[6:0]))", "relu1"),
    "no clip": ("c0 = r0 < 0 ? 4'd0 : r0", "c0 = r0", "relu1"),
    "channels": ("codes <= {c2, c1, c0};", "codes <= {c2, c0, c1};", "relu1"),
    "input": (
        "assign o__payload = i__payload;",
        "assign o__payload = i__payload & 8'h7f;",
        "pixels",
    ),
}


@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_value(fault: str, layers: Any, tmp_path: Path) -> None:
    text, other, layer = FAULTS[fault]
    result = broken(tmp_path, (text, other), layers=layers)
    assert not result["passed"]
    assert result["mismatches"] > 0
    first = result["first_difference"]
    assert first["layer"] == (layer if layers == "all" else "relu1")
    assert first["expected"] != first["got"]
    assert ("port" in first) == (layers == "last")


@pytest.mark.parametrize("layers", ["all", "last"])
@pytest.mark.parametrize("what", ["dropped", "changed"])
def test_wrong_under_stall_only(what: str, layers: Any, tmp_path: Path) -> None:
    """A register that takes the next beat while it holds one: invisible flat out."""
    module = "assign o__payload = sums;" if what == "dropped" else "assign o__payload = codes;"
    right = f"assign i__ready = ~full | o__ready;\n    assign o__valid = full;\n    {module}"
    wrong = right.replace("~full | o__ready", "1'b1")
    assert broken(tmp_path, (right, wrong), layers=layers)["passed"]
    result = broken(tmp_path, (right, wrong), layers=layers, stalls=True)
    assert not result["passed"]
    assert result["mismatches"] > 0
    assert any("changed" in problem for problem in result["problems"]) or layers == "last"


def test_payload_changes_while_it_waits(tmp_path: Path) -> None:
    """The value is right whenever it is taken at once, so no beat is wrong; the rule is broken."""
    fault = (
        "assign m_axis_tdata = {4'd0, c};",
        "assign m_axis_tdata = m_axis_tready ? {4'd0, c} : 16'd0;",
    )
    for layers in ("all", "last"):
        result = broken(tmp_path, fault, layers=layers, stalls=True)
        assert result["mismatches"] == 0
        assert not result["passed"]
        assert "m_axis: " in result["problems"][0]


def test_valid_waits_for_ready(tmp_path: Path) -> None:
    fault = (
        (".o__valid(m_axis_tvalid)", ".o__valid(c_valid)"),
        (
            "reg [3:0] count = 0;\n    pixels",
            """reg [3:0] count = 0;
    wire c_valid;
    assign m_axis_tvalid = c_valid & m_axis_tready;
    pixels""",
        ),
    )
    assert broken(tmp_path, *fault)["passed"]
    result = broken(tmp_path, *fault, stalls=True)
    assert result["problems"][-1] == (
        "It stands still after 86 of 96 input beats and 84 of 96 results"
    )


@pytest.mark.parametrize("layers", ["all", "last"])
def test_last_early(layers: Any, tmp_path: Path) -> None:
    result = broken(
        tmp_path, ("m_axis_tlast = count == 11", "m_axis_tlast = count == 10"), layers=layers
    )
    assert result["mismatches"] == 0
    assert result["problems"] == ["m_axis: tlast must be 0 in beat 10 of image 0, not 1"]


def test_frame_error_without_reason(tmp_path: Path) -> None:
    result = broken(
        tmp_path, ("if (last != (count == 11)) error", "if (last != (count == 10)) error")
    )
    assert result["problems"] == ["frame_error is set, all frames being whole"]


STOP = (
    "assign i__ready = o__ready;\n    assign frame_error",
    """reg [7:0] seen = 0;
    always @(posedge clk) if (!rst) seen <= seen + (i__valid & i__ready);
    assign i__ready = o__ready & (seen < 30);
    assign frame_error""",
)
HUSH = ("assign o__valid = i__valid;", "assign o__valid = i__valid & (seen < 30);")


@pytest.mark.parametrize("layers", ["all", "last"])
def test_standstill(layers: Any, tmp_path: Path) -> None:
    """It accepts nothing any more after the 30th beat."""
    result = broken(tmp_path, STOP, HUSH, layers=layers)
    problem = "It stands still after 30 of 96 input beats and 30 of 96 results"
    assert problem in result["problems"]
    first = result["first_difference"]
    assert (first["image"], first["row"], first["column"], first["got"]) == (2, 1, 2, "nothing")


@pytest.mark.parametrize("layers", ["all", "last"])
def test_runaway(layers: Any, tmp_path: Path) -> None:
    """It takes nothing any more after the 30th beat, and gives the next result again and again."""
    result = broken(tmp_path, STOP, layers=layers)
    assert not result["passed"]
    assert "It stands still after 30 of 96 input beats" in " ".join(result["problems"])


@pytest.mark.parametrize("layers", ["all", "last"])
def test_bubbles(layers: Any, tmp_path: Path) -> None:
    """An idle cycle an image: every value right, but the interval is not the published one."""
    fault = (
        "assign i__ready = o__ready;\n    assign frame_error",
        """reg idle = 0;
    always @(posedge clk) idle <= count == 11 & i__valid & i__ready;
    assign i__ready = o__ready & ~idle;
    assign frame_error""",
    )
    fault2 = ("assign o__valid = i__valid;", "assign o__valid = i__valid & ~idle;")
    result = broken(tmp_path, fault, fault2, layers=layers)
    assert result["mismatches"] == 0
    assert result["cycles_per_image"] == 13.0
    assert result["problems"] == ["The interval must be 12 cycles, image 1 came after 13"]
    assert not result["passed"]


def test_unknown_value(icarus: str, tmp_path: Path) -> None:
    result = broken(tmp_path, ("codes <= {c2, c1, c0};", "codes <= {c2, 4'bx, c0};"))
    assert result["first_difference"]["got"] == "x"


def test_field_in_ports_too_narrow(tmp_path: Path) -> None:
    place = pixelwise.write(tmp_path / "narrow")
    ports = read_json(place / "ports.json")
    ports["taps"][1]["fields"][0]["width"] = 5
    write_json(place / "ports.json", ports)
    result = verify(place, simulator=QUICK, images=8)
    assert not result["passed"]
    assert any("lane 0: 5 signed bits do not hold" in problem for problem in result["problems"])


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.npz", "top.v", "ports.json", "plan.json"])
def test_file_missing(name: str, tmp_path: Path) -> None:
    place = pixelwise.write(tmp_path)
    (place / name).unlink()
    with pytest.raises(HwgenError, match=name.replace(".", r"\.")):
        verify(place, simulator=QUICK)


@pytest.mark.parametrize("name", ["top.v", "ports.json", "plan.json"])
def test_digest_of_another_network(name: str, tmp_path: Path) -> None:
    place = pixelwise.write(tmp_path)
    digest = load_folder(place).design.network.digest
    text = (place / name).read_text()
    (place / name).write_text(text.replace(digest, "0" * 64))
    with pytest.raises(
        HwgenError, match=f"digest {digest[:12]} of net.npz needed, not 000000000000"
    ):
        verify(place, simulator=QUICK)


def test_no_digest(tmp_path: Path) -> None:
    place = pixelwise.write(tmp_path)
    (place / "top.v").write_text("// nothing\nmodule top;\nendmodule\n")
    with pytest.raises(
        HwgenError, match="a digest in the comments at its head needed, there is none"
    ):
        verify(place, simulator=QUICK)


def test_earlier_report_stays(tmp_path: Path) -> None:
    place = pixelwise.write(tmp_path)
    (place / "verify.json").write_text("earlier")
    (place / "plan.json").unlink()
    with pytest.raises(HwgenError):
        verify(place, simulator=QUICK)
    assert (place / "verify.json").read_text() == "earlier"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": "all"}, "--images all needs --data: random images have no end"),
        ({"simulator": "vcs"}, "Simulator must be verilator or icarus, not vcs"),
        (
            {"wave": Path("x.png")},
            "A waveform FILE.vcd of a run with all layers can be written, not x.png",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(HwgenError) as caught:
        verify(folder, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "top", "message"),
    [
        ((20, 1, 3, 4), 15, "images of 2x3x4 (channels, rows, columns) needed, not 1x3x4"),
        ((20, 2, 3, 4), 16, "codes from 0 to 15 needed, not "),
    ],
)
def test_images_that_do_not_fit(
    shape: tuple[int, ...], top: int, message: str, folder: Path, tmp_path: Path
) -> None:
    images = np.zeros(shape, np.uint8)
    images[::2] = top
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(20) % 2)
    with pytest.raises(HwgenError) as caught:
        verify(folder, data=f"npz:{tmp_path / 'x.npz'}", images=2, simulator=QUICK)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["taps"][0].pop("valid"), "taps[0].valid: a value needed, there is none"),
        (
            lambda p: p["input"]["fields"].pop(),
            "input: 2 fields and 12 beats of the 2x3x4 image needed",
        ),
        (
            lambda p: p["taps"][2].update(beats=11),
            "taps, relu1: 3x4 pixels in 1 beats each needed, not 11",
        ),
        (
            lambda p: p["taps"][2].update(layer="relu9"),
            "taps: layers of the network needed, not 'relu9'",
        ),
        (
            lambda p: p["output"]["fields"][0].update(channel=3),
            "output.fields[0]: a channel of a layer",
        ),
        (lambda p: p["output"]["fields"][0].update(offset=14), "a field inside the 16 bits needed"),
        (lambda p: p.update(interval="12"), "interval: a whole number from 1 on needed, not '12'"),
        (lambda p: p.update(taps={}), "taps: a list needed, not '{}'"),
        (lambda p: p.update(format=2), "format: 1 needed, not 2"),
        (
            lambda p: p["taps"].append({"layer": "relu1", "alias": "relu2"}),
            "an earlier tap as alias needed",
        ),
    ],
)
def test_ports_that_do_not_fit(
    change: Callable[[Any], object], message: str, tmp_path: Path
) -> None:
    place = pixelwise.write(tmp_path)
    ports = read_json(place / "ports.json")
    change(ports)
    write_json(place / "ports.json", ports)
    with pytest.raises(HwgenError) as caught:
        verify(place, simulator=QUICK)
    assert message in str(caught.value)
    assert "ports.json" in str(caught.value)


def test_fixture_is_a_network() -> None:
    assert isinstance(pixelwise.network(), Network)
