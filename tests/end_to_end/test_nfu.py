"""Networks on the NFU in a simulator: every stored layer equal to the golden model's, every cycle
as estimated. One build runs all programs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.files import read_json, write_atomic
from hwgen.netfile import save
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program, compile_network
from hwgen.nfu.emit import verilog_of, write_design
from hwgen.nfu.estimate import estimate
from hwgen.nfu.isa import MEMORY_WINDOW, REGISTER, Fault, Op
from hwgen.sim import nfu
from hwgen.sim.build import Simulator
from hwgen.sim.nfu_verify import compare, verify
from tests.hwgen.nfu.programs import CONFIG, chain, compiled, with_instruction
from tests.networks import random_images, random_network

Once = Callable[[str, Callable[[Path], object]], Path]
FEW = (0, 1, 2, 4, 5, 7, 9, 10, 12, 13, 30, 31)
MANY = tuple(range(16, 80))
IMAGES = 3
LIMIT = 60_000


def chip(build_once: Once) -> Path:
    return build_once(
        "nfu-chip", lambda folder: write_atomic(folder / "top.v", verilog_of(CONFIG, "test")))


def run_all(
    build_once: Once, cases: list[tuple[Network, Program]], simulator: str, gaps: int = 0,
    images: int = IMAGES,
) -> list[dict[str, Any]]:
    """Run programs one behind the other; return the report of each."""
    folder = chip(build_once)
    built = nfu.build_chip(folder / "top.v", Simulator.of(simulator), folder / ".sim")
    script = nfu.Script()
    for network, program in cases:
        nfu.add_program(script, program, random_images(network, images, 1), LIMIT)
    answers = nfu.run_script(built, script, folder / ".sim", gaps=gaps, seed=gaps)
    reports = []
    for network, program in cases:
        ran = nfu.take_results(answers, program, network, images)
        report = compare(network, program, random_images(network, images, 1), None, ran)
        reports.append({**report, "registers": [one.registers for one in ran]})
    return reports


def check(network: Network, program: Program, report: dict[str, Any]) -> None:
    assert report["passed"], (network.metadata, report["first_difference"], report["problems"])
    assert report["values_compared"] >= IMAGES * network.tensors[network.output.name].size
    expected = estimate(program)
    for registers in report["registers"]:
        assert registers["cycles"] == expected.cycles
        assert registers["compute_cycles"] == expected.compute_cycles
        assert registers["compute_cycles"] + registers["stall_cycles"] == registers["cycles"]
        assert registers["instructions"] == len(program.instructions)


@pytest.mark.parametrize("gaps", [0, nfu.GAPS])
def test_networks(gaps: int, build_once: Once, verilator: Any) -> None:
    cases = compiled(FEW)
    assert len(cases) >= 10
    pairs = chain(12, 2, 2)                     # kept as pairs of columns, of both phases
    cases.append((pairs, compile_network(pairs, CONFIG)))
    assert any(one["left"] and one["right"] for one in cases[-1][1].instructions)
    for (network, program), report in zip(
            cases, run_all(build_once, cases, "verilator", gaps), strict=True):
        check(network, program, report)


@pytest.mark.slow
def test_many_networks(build_once: Once, verilator: Any) -> None:
    cases = compiled(MANY)
    assert len(cases) >= 30
    for (network, program), report in zip(
            cases, run_all(build_once, cases, "verilator"), strict=True):
        check(network, program, report)


@pytest.mark.slow
def test_networks_on_icarus(build_once: Once, icarus: str) -> None:
    cases = compiled((0, 10))
    for (network, program), report in zip(
            cases, run_all(build_once, cases, "icarus"), strict=True):
        check(network, program, report)


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["chip", "axi"])
def test_verify(memory: str, tmp_path: Path, verilator: Any,
                monkeypatch: pytest.MonkeyPatch) -> None:
    """From a network file to verify.json, by the functions behind the command line; on chip in
    three simulators side by side.
    """
    monkeypatch.setattr("hwgen.sim.nfu_verify.BATCH", 2)
    save(random_network(10), tmp_path / "in.npz")
    write_design(tmp_path / "in.npz", tmp_path / "rtl", tn=4, axi=memory == "axi")
    report = verify(tmp_path / "rtl", images=5, stalls=memory == "axi")
    assert report["passed"], (report["first_difference"], report["problems"])
    assert report["engine"] == "nfu"
    assert report["images"] == 5
    assert report["values_compared"] % 5 == 0
    if memory == "chip":
        assert report["compute_cycles"] == report["compute_cycles_estimated"]
        assert report["cycles_per_image"] == report["interval"]
    else:                                # COMPUTEs that wait for memory overlap less
        assert report["compute_cycles"] >= report["compute_cycles_estimated"]
    assert read_json(tmp_path / "rtl" / "verify.json")["digest"] == report["digest"]


def test_one_weight_wrong_is_seen(build_once: Once, verilator: Any) -> None:
    ((network, program),) = compiled((10,))
    load = next(one for one in program.instructions if one.op is Op.LOAD and one["buffer"] == 1)
    image = bytearray(program.image)
    for n in range(16):
        image[load["address"] + n] ^= 0xFF
    wrong = Program(**{**vars(program), "image": bytes(image)})
    (report,) = run_all(build_once, [(network, wrong)], "verilator")
    assert report["mismatches"] > 0
    assert report["first_difference"] is not None


CORRUPT = [
    (0, {"opcode": 0}, Fault.OPCODE), (3, {"opcode": 12}, Fault.OPCODE),
    (0, {"cols": 0}, Fault.FIELD), (0, {"buffer": 7}, Fault.FIELD),
    (0, {"line": 60000}, Fault.FIELD), (0, {"address": CONFIG.memory_bytes}, Fault.ADDRESS),
    (0, {"address": CONFIG.memory_bytes - 4, "cols": 2}, Fault.ADDRESS),
    (0, {"address": 6}, Fault.ADDRESS), ("compute", {"steps": 0}, Fault.FIELD),
    ("compute", {"period": 1}, Fault.FIELD), ("compute", {"out_line": 127}, Fault.FIELD),
    ("store", {"rows": 0}, Fault.FIELD), ("store", {"address": 0x7FFFFFFC}, Fault.ADDRESS),
]


def test_corrupt_programs(build_once: Once, verilator: Any) -> None:
    """Each stops with its fault where it should, and the right program runs again behind it."""
    ((network, program),) = compiled((10,))
    (image,) = random_images(network, 1, 1)
    folder = chip(build_once)
    built = nfu.build_chip(folder / "top.v", Simulator.VERILATOR, folder / ".sim")
    script = nfu.Script()
    places = []
    for where, values, _ in CORRUPT:
        n = where if isinstance(where, int) else next(
            n for n, one in enumerate(program.instructions) if one.op.name.lower() == where)
        places.append(n)
        bad = bytearray(program.image)
        if "opcode" in values:
            bad[64 * n] = bad[64 * n] & 0xF0 | values["opcode"]
        else:
            bad[:] = with_instruction(program, n, **values).image
        script.write(MEMORY_WINDOW, bytes(bad))
        for address, raw in program.pack_input(image):
            script.write(MEMORY_WINDOW + address, raw)
        script.write(REGISTER["program"].offset, bytes(4))
        script.start(LIMIT)
        script.register("status")
        script.register("position")
        nfu.add_program(script, program, image[None], LIMIT)
    answers = nfu.run_script(built, script, folder / ".sim")
    for n, (where, values, fault) in zip(places, CORRUPT, strict=True):
        ended, status, position = (answers.pop(0) for _ in range(3))
        assert ended[0] == "done", (where, values)
        assert int.from_bytes(status, "little") == 2 | fault << 4, (where, values)
        # A fault that a unit finds comes when later instructions are under way.
        assert 64 * n <= int.from_bytes(position, "little") <= 64 * n + 512, (where, values)
        ran = nfu.take_results(answers, program, network, 1)
        assert compare(network, program, image[None], None, ran)["passed"], (where, values)


def test_registers(build_once: Once, verilator: Any) -> None:
    folder = chip(build_once)
    built = nfu.build_chip(folder / "top.v", Simulator.VERILATOR, folder / ".sim")
    script = nfu.Script()
    for name in ("identification", "parameters", "status"):
        script.register(name)
    script.write(REGISTER["program"].offset, bytes([0x40, 0x20, 0, 0]))
    script.register("program")
    script.write(MEMORY_WINDOW + 4096, bytes(range(64)))
    script.read(MEMORY_WINDOW + 4096, 64)
    answers = nfu.run_script(built, script, folder / ".sim", gaps=100)
    numbers = [int.from_bytes(answer, "little") for answer in answers[:4]]
    assert numbers == [0x4E465531, 4 | 8 << 8 | 5 << 16 | 1 << 24, 0, 0x2040]
    assert answers[4] == bytes(range(64))


def test_bytes_of_zeros_are_no_program(build_once: Once, verilator: Any) -> None:
    folder = chip(build_once)
    built = nfu.build_chip(folder / "top.v", Simulator.VERILATOR, folder / ".sim")
    script = nfu.Script()
    script.start(1000)
    script.register("status")
    ended, status = nfu.run_script(built, script, folder / ".sim")
    assert ended[0] == "done"
    assert int.from_bytes(status, "little") == 2 | Fault.OPCODE << 4


def test_no_multiplier(build_once: Once) -> None:
    text = (chip(build_once) / "top.v").read_text()
    assert " * " not in text
    assert np.all([keyword not in text for keyword in ("$mul", "casez", "\\")])
