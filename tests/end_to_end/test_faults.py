"""Faults planted in a generated design: ``verify`` finds each, and the proof those in its part.

A fault is either a change of the Verilog text, or a design made from another network that is passed
off as the right one's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen import tools
from hwgen.files import read_json, write_json
from hwgen.netfile import save
from hwgen.network import (
    ArgMax,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPool,
    Network,
    Requantise,
)
from hwgen.sim import golden
from hwgen.sim.build import Simulator
from hwgen.sim.compare import compare
from hwgen.sim.design import load_folder
from hwgen.sim.proof import prove
from hwgen.sim.stepwise import every_layer
from hwgen.sim.vectors import random_images
from hwgen.sim.verify import verify
from hwgen.stream.emit import write_design

# A build costs Icarus nothing; where it is missing, Verilator does the same work.
QUICK = "icarus" if tools.find_icarus() else "verilator"

Once = Callable[[str, Callable[[Path], object]], Path]


def small() -> Network:
    """8x8 pixels, convolution, ReLU, pool, matrix, class."""
    rng = np.random.default_rng(5)
    four, ten = np.zeros(4, int), np.zeros(10, int)
    return Network(
        (
            Input("image", 1, 8, 8, 0, 16, 4),
            Conv2d(
                "conv1", "image", rng.integers(-6, 7, (4, 1, 3, 3)), rng.integers(-9, 9, 4), four
            ),
            Requantise("relu1", "conv1", four + 1, four + [0, 3, -5, 0], four + 3, 0, 15, 1),
            MaxPool("pool1", "relu1", (2, 2), (2, 2)),
            Flatten("flat", "pool1"),
            Dense("scores", "flat", rng.integers(-4, 5, (10, 36)), rng.integers(-9, 9, 10), ten),
            ArgMax("best", "scores"),
        )
    )


def changed(name: str, **fields: Any) -> Network:
    """The network with a layer changed."""
    layers: list[Layer] = list(small().layers)
    n = next(n for n, layer in enumerate(layers) if layer.name == name)
    layers[n] = replace(layers[n], **fields)
    return Network(tuple(layers))


def made(folder: Path, network: Network) -> Path:
    """A design folder."""
    save(network, folder / "made.npz")
    write_design(folder / "made.npz", folder)
    (folder / "made.npz").unlink()
    return folder


@pytest.fixture
def right(build_once: Once) -> Path:
    """The right design, made once a test run; not to be changed."""
    return build_once("faults-right", lambda folder: made(folder, small()))


def with_text(right: Path, folder: Path, module: str, pattern: str, other: str) -> Path:
    """A copy of the design, the first text in a module that fits the pattern replaced."""
    shutil.copytree(right, folder, ignore=shutil.ignore_patterns(".*"))
    text = (folder / "top.v").read_text()
    body = re.search(rf"^module {module}\(.*?^endmodule", text, re.S | re.M)
    assert body is not None, module
    mutated, count = re.subn(pattern, other, body[0], count=1)
    assert count == 1, pattern
    (folder / "top.v").write_text(text.replace(body[0], mutated))
    return folder


def passed_off(folder: Path, network: Network) -> Path:
    """The design of another network, under the right one's file and digest."""
    made(folder, network)
    own, digest = network.digest, save(small(), folder / "net.npz")
    for name in ("top.v", "ports.json", "plan.json"):
        (folder / name).write_text((folder / name).read_text().replace(own, digest))
    ports = read_json(folder / "ports.json")
    write_json(folder / "ports.json", ports)
    return folder


def check(folder: Path, **options: Any) -> dict[str, Any]:
    """What verify says."""
    return verify(folder, simulator=QUICK, images=20, **options)


def test_right_design_passes(right: Path) -> None:
    result = check(right, proof=True)
    assert (result["passed"], result["problems"]) == (True, [])
    assert next(layer["proof"] for layer in result["layers"] if layer["name"] == "conv1") == "full"
    assert check(right, stalls=True)["passed"]
    assert check(right, layers="last")["passed"]


def test_tap_sign(right: Path, tmp_path: Path) -> None:
    """The first addition of the adder graph becomes a subtraction."""
    place = with_text(
        right,
        tmp_path / "d",
        "conv1__graph",
        r"(assign (?:\{[^}]*\b)?add_\d+ ?\}? = [^;]*?) \+ ",
        r"\1 - ",
    )
    result = check(place, proof=True)
    assert result["first_difference"]["layer"] == "conv1"
    assert any("proof: " in problem and "conv1" in problem for problem in result["problems"])


def test_weight_sign_of_a_lookup(tmp_path: Path) -> None:
    """One weight of the matrix with the other sign, wherever it is kept."""
    weight = small().by_name["scores"].weight.copy()
    at = tuple(int(n) for n in np.argwhere(weight)[7])
    weight[at] *= -1
    place = passed_off(tmp_path, changed("scores", weight=weight))
    result = check(place, proof=True)
    first = result["first_difference"]
    assert (first["layer"], first["channel"]) == ("scores", at[0])
    assert any("proof: " in problem and "scores" in problem for problem in result["problems"])


def test_accumulator_one_bit_short(right: Path, tmp_path: Path) -> None:
    """The sum of an output channel loses its top bit, as if it were one bit narrower."""
    text = (right / "top.v").read_text()
    body = re.search(r"^module conv1\(.*?^endmodule", text, re.S | re.M)
    assert body is not None
    widths = [int(n) for n in re.findall(r"reg signed \[(\d+):0\] biased_\d", body[0])]
    top = widths[0]
    place = with_text(
        right,
        tmp_path / "d",
        "conv1",
        r"biased_0 }",
        f"{{biased_0[{top - 1}], biased_0[{top - 1}:0]}} }}",
    )
    result = check(place)
    first = result["first_difference"]
    assert (first["layer"], first["channel"]) == ("conv1", 0)
    assert abs(first["expected"] - first["got"]) == 1 << top


def test_adder_one_bit_short(right: Path, tmp_path: Path) -> None:
    """An output of the adder graph loses its top bit; the proof sees it whatever the images are."""
    body = re.search(
        r"^module conv1__graph\(.*?^endmodule", (right / "top.v").read_text(), re.S | re.M
    )
    assert body is not None
    last = re.findall(r"assign y = \{([^}]*)\}", body[0])[-1].split(",")[-1].strip()
    width = re.search(rf"(?:reg|wire) signed \[(\d+):0\] {last}\b", body[0])
    assert width is not None
    top = int(width[1])
    place = with_text(
        right,
        tmp_path / "d",
        "conv1__graph",
        rf"(assign y = \{{[^}}]*){last} \}}",
        rf"\g<1>{last}[{top - 1}], {last}[{top - 1}:0] }}",
    )
    proof = prove(place)
    assert [layer.name for layer in proof.failures] == ["conv1"]
    assert check(place)["first_difference"]["layer"] == "conv1"


def test_rounding_left_out(tmp_path: Path) -> None:
    """floor instead of rounding to nearest: the offset lacks half of a step."""
    layer = small().by_name["relu1"]
    place = passed_off(tmp_path, changed("relu1", offset=layer.offset - 4))
    result = check(place)
    first = result["first_difference"]
    assert first["layer"] == "relu1"
    assert first["expected"] == first["got"] + 1


@pytest.mark.parametrize("kind", ["text", "network"])
def test_channels_swapped(kind: str, right: Path, tmp_path: Path) -> None:
    if kind == "text":
        place = with_text(
            right,
            tmp_path / "d",
            "relu1",
            r"\.i__payload\(i__payload\)",
            ".i__payload({i__payload[35:18], i__payload[8:0], i__payload[17:9]})",
        )
        layer = "relu1"
    else:
        order = [1, 0, 2, 3]
        conv = small().by_name["conv1"]
        place = passed_off(
            tmp_path, changed("conv1", weight=conv.weight[order], bias=conv.bias[order])
        )
        layer = "conv1"
    result = check(place, proof=kind == "network")
    assert result["first_difference"]["layer"] == layer
    if kind == "network":
        assert any("proof: " in problem for problem in result["problems"])


@pytest.mark.parametrize("layers", ["all", "last"])
def test_word_dropped_under_stall(layers: Any, right: Path, tmp_path: Path) -> None:
    """A buffer that says it is free while it is full: only stalls can show it."""
    place = with_text(
        right,
        tmp_path / "d",
        "relu1__skid",
        r"assign i__ready = ~ ?spare_full;",
        "assign i__ready = 1'b1;",
    )
    assert check(place, layers=layers)["passed"]
    result = check(place, layers=layers, stalls=True)
    assert not result["passed"]
    assert result["mismatches"] > 0 or result["problems"]


def test_enable_ignored_under_stall(right: Path, tmp_path: Path) -> None:
    """A pipeline that moves on although its last beat is not taken."""
    place = with_text(
        right, tmp_path / "d", "conv1", r"if \(o__ready\) (biased_\d+) <=", r"\1 <="
    )
    assert check(place)["passed"]
    result = check(place, stalls=True)
    assert not result["passed"]
    assert result["mismatches"] > 0


# --- frames -----------------------------------------------------------------------------------

WHOLE = 64


@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize(
    "frames",
    [
        [WHOLE, WHOLE - 1, WHOLE, WHOLE, WHOLE],  # tlast a pixel early
        [WHOLE, WHOLE + 1, WHOLE, WHOLE, WHOLE],  # a pixel late
        [1, WHOLE, 2 * WHOLE, WHOLE, WHOLE],  # one pixel alone; a tlast left out
        [WHOLE, 3, 5 * WHOLE + 7, WHOLE, WHOLE],
        [WHOLE, WHOLE, WHOLE, WHOLE, WHOLE - 20],  # the last one
        [WHOLE, WHOLE, WHOLE, WHOLE, WHOLE + 20],
    ],
)
def test_broken_frame(frames: list[int], stalls: bool, right: Path) -> None:
    """frame_error stays set; the broken image counts as cut or filled with zeros; the next is
    right.
    """
    folder = load_folder(right)
    images = random_images(folder.design.network, len(frames), seed=1)
    (run,) = every_layer(
        folder.verilog,
        [folder.design],
        [images],
        cache=right / ".sim",
        simulator=Simulator.of(QUICK),
        stalls=stalls,
        frames=[frames],
    )
    seen = images.copy()
    for image, length in zip(seen, frames, strict=True):
        image.reshape(-1)[length:] = 0
    result = compare(
        folder.design,
        golden.run(folder.design.network, seen),
        run,
        images=len(frames),
        flat_out=False,
        broken_frames=True,
    )
    assert result.right, (result.first, result.problems)


def test_whole_frames_set_no_error(right: Path) -> None:
    folder = load_folder(right)
    images = random_images(folder.design.network, 2, seed=1)
    (run,) = every_layer(
        folder.verilog,
        [folder.design],
        [images],
        cache=right / ".sim",
        simulator=Simulator.of(QUICK),
        frames=[[WHOLE, WHOLE]],
    )
    result = compare(
        folder.design, golden.run(folder.design.network, images), run, images=2, broken_frames=True
    )
    assert result.problems == ["frame_error is not set, a frame being broken"]
