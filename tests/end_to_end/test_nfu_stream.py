"""NFUs with the ports of a streaming engine, one or several that take turns: results equal to the
golden model's, in exactly the cycles that ports.json says. One build holds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.files import read_json, write_atomic, write_json
from hwgen.layers import Concat, Conv2d, Input, int64
from hwgen.netfile import save
from hwgen.network import Network
from hwgen.nfu.compiler.program import compile_network
from hwgen.nfu.config import Config
from hwgen.nfu.emit import compact, stream_ports, write_design
from hwgen.nfu.stream_top import StreamTop
from hwgen.sim import golden
from hwgen.sim.build import Simulator
from hwgen.sim.compare import Comparison, compare
from hwgen.sim.nfu_verify import verify
from hwgen.sim.stepwise import every_layer
from hwgen.stream.emit import Batch as Tops
from hwgen.verilog import to_verilog
from tests.end_to_end.batch import Batch, open_batch
from tests.hwgen.nfu.programs import CONFIG, chain, fits_8_bits, requantise
from tests.networks import random_images, random_network

Once = Callable[[str, Callable[[Path], object]], Path]
STREAMED = replace(CONFIG, streamed=True)
# Windows with a stride, padded on one side; pixels as they are; maps of scores and of classes.
FEW = (2, 15, 30)
MANY = (0, 1, 3, 4, 5, 7, 9, 10, 12, 13, 20, 27, 28, 31)
IMAGES = 5                                 # the first NFU of three has a second one


def wide_input() -> Network:
    """A network whose pixels take two words each: six channels, four lanes; signed codes."""
    rng = np.random.default_rng(3)
    return Network((
        Input("x", 6, 3, 4, -100, 27, 4),
        Conv2d("a", "x", rng.integers(-3, 4, (3, 6, 1, 2)), int64([4, 5, 6]), int64([0] * 3)),
        requantise("b", "a", 3)))


def two_windows() -> Network:
    """A network whose input two kernels read: it is stored as it comes."""
    def conv(name: str, kernel: tuple[int, int], padding: tuple[int, int, int, int]) -> Conv2d:
        return Conv2d(name, "x", np.arange(-4, 5)[: kernel[0] * kernel[1]].reshape(1, 1, *kernel),
                      int64([900]), int64([0]), (1, 1), padding)

    return Network((
        Input("x", 1, 4, 5, 0, 200, 0), conv("a", (3, 3), (1, 1, 1, 1)),
        conv("b", (1, 2), (0, 0, 0, 1)), requantise("c", "a", 1), requantise("d", "b", 1),
        Concat("e", ("c", "d")), Conv2d("f", "e", np.array([[[[2]], [[-3]]]]), int64([0]),
                                        int64([0]))))


def broken(network: Network) -> StreamTop:
    """An NFU with one bit of its weights the other way round."""
    program = compile_network(network, STREAMED)
    weights = bytearray(program.weights)
    place = next(n for n, byte in enumerate(weights) if byte)
    weights[place] ^= weights[place] & -weights[place]
    return StreamTop(program=replace(program, weights=bytes(weights)), network=network)


def config(n: int) -> Config:
    """The Config of the n-th network of a build: of some, two or three NFUs take turns."""
    return replace(STREAMED, cores={1: 2, 4: 3}.get(n, 1))


def make(networks: Sequence[Network], folder: Path) -> None:
    tops = [StreamTop(program=compile_network(network, config(n)), network=network)
            for n, network in enumerate(networks)]
    tops.append(broken(networks[0]))
    networks = [*networks, networks[0]]
    write_atomic(folder / "batch.v", compact(to_verilog(Tops(tops=tops), name="batch")))
    write_json(folder / "ports.json", [
        stream_ports(network, top, f"net{n}")
        for n, (network, top) in enumerate(zip(networks, tops, strict=True))])
    for n, network in enumerate(networks):
        save(network, folder / f"net_{n}.npz")


def few(build_once: Once) -> Batch:
    networks = [wide_input(), two_windows(), chain(12, 2, 2), *map(random_network, FEW)]
    return open_batch(build_once("nfu-stream", lambda folder: make(networks, folder)))


def check(batch: Batch, simulator: str, *, stalls: bool) -> list[Comparison]:
    tool = Simulator.of(simulator)
    recorded = batch.run(simulator=tool, images=IMAGES, stalls=stalls)
    *found, wrong = batch.check(recorded, stalls=stalls, images=IMAGES)
    assert wrong.mismatches > 0            # the one with a bit of its weights wrong
    for design, one in zip(batch.designs[:-1], found, strict=True):
        assert one.right, (design.network.metadata, one.first, one.problems)
    return found


@pytest.mark.parametrize("stalls", [False, True])
def test_networks(stalls: bool, build_once: Once, verilator: Any) -> None:
    for design, one in zip((batch := few(build_once)).designs[:-1],
                           check(batch, "verilator", stalls=stalls), strict=True):
        assert one.compared >= IMAGES * design.network.tensors[design.network.output.name].size


@pytest.mark.parametrize("more", [-1, 2])
def test_broken_frames(more: int, build_once: Once, verilator: Any) -> None:
    """A frame too short is filled up with zeros, one too long cut; the next image is right."""
    batch = few(build_once)
    images = [random_images(design.network, 3, 9) for design in batch.designs]
    frames = [[design.ports.input.beats + (more if n == 1 else 0) for n in range(3)]
              for design in batch.designs]
    recorded = every_layer(batch.folder / "batch.v", batch.designs, images,
                           cache=batch.folder / ".sim", simulator=Simulator.VERILATOR,
                           frames=frames)
    for design, codes, one in zip(batch.designs[:-1], images, recorded, strict=False):
        if more < 0:
            codes[1, :, -1, -1] = 0
        found = compare(design, golden.run(design.network, codes), one, images=3, flat_out=False,
                        broken_frames=True)
        assert found.right, (design.network.metadata, found.first, found.problems)


@pytest.mark.slow
def test_many_networks(build_once: Once, verilator: Any) -> None:
    networks = [one for one in map(random_network, MANY) if fits_8_bits(one)]
    assert len(networks) >= 10
    folder = build_once("nfu-stream-many", lambda folder: make(networks, folder))
    check(open_batch(folder), "verilator", stalls=False)


@pytest.mark.slow
def test_on_icarus(build_once: Once, icarus: str) -> None:
    check(few(build_once), "icarus", stalls=True)


def test_program_is_in_the_verilog(tmp_path: Path) -> None:
    """Every word of the program stands in top.v, once, and the folder is one of a stream."""
    save(random_network(7), tmp_path / "in.npz")
    plan = write_design(tmp_path / "in.npz", tmp_path / "rtl", tn=4, streamed=True)
    text, image = (tmp_path / "rtl/top.v").read_text(), (tmp_path / "rtl/program.bin").read_bytes()
    bits = 8 * 4
    for n in range(len(image) // 4):
        word = int.from_bytes(image[4 * n : 4 * n + 4], "little")
        assert f"[{n}] = {bits}'h{word:08x};" in text or f"[{n}] = {bits}'d{word};" in text
    ports = read_json(tmp_path / "rtl/ports.json")
    assert (ports["engine"], ports["interval"]) == ("nfu", plan["interval"])
    assert ports["output"]["fields"][0]["name"] in ("class", "score_0")


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "code", "bits"), [
    (10, "wide", 8), (6, "wide", 16), (15, "narrow", 8), (2, "base", 8), (10, "product", 8)])
def test_verify(seed: int, code: str, bits: int, tmp_path: Path, verilator: Any) -> None:
    save(random_network(seed), tmp_path / "in.npz")
    plan = write_design(tmp_path / "in.npz", tmp_path / "rtl", tn=4, code=code, streamed=True)
    assert plan["config"]["act_bits"] == bits
    report = verify(tmp_path / "rtl", images=5)
    assert report["passed"], (report["first_difference"], report["problems"])
    assert (report["engine"], report["images"]) == ("nfu", 5)
    assert report["cycles_per_image"] == report["interval"]


def test_result_in_another_order_is_refused(tmp_path: Path) -> None:
    """A Concat lies where its parts do, so its channels cannot be read out pixel by pixel."""
    x = Input("x", 1, 2, 2, 0, 15, 0)
    weight = np.ones((1, 1, 1, 1), int)
    layers = [x]
    for name in "ab":
        layers += [Conv2d(name, "x", weight, int64([0]), int64([0])),
                   requantise(f"{name}q", name, 1)]
    network = Network((*layers, Concat("both", ("aq", "bq"))))
    save(network, tmp_path / "in.npz")
    with pytest.raises(HwgenError, match="both"):
        write_design(tmp_path / "in.npz", tmp_path / "rtl", tn=4, streamed=True)
