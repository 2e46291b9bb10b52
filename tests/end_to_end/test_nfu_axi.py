"""The NFU with outside memory against cocotbext-axi: networks with and without stalls, errors that
memory answers, resets, starts that come too early.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.files import write_atomic
from hwgen.layers import Int64Array
from hwgen.nfu.clock import Memory
from hwgen.nfu.emit import verilog_of
from hwgen.nfu.estimate import estimate
from hwgen.nfu.isa import Fault, Op
from hwgen.sim import golden, nfu_axi
from hwgen.sim.build import Simulator
from hwgen.sim.nfu import layers_of
from hwgen.sim.nfu_axi import Case, Outcome
from tests.hwgen.nfu.programs import CONFIG, compiled, with_instruction
from tests.networks import random_images

Once = Callable[[str, Callable[[Path], object]], Path]
OUTSIDE = replace(CONFIG, memory_bytes=0)
LIMIT = 30_000


def run(build_once: Once, cases: list[Case], size: int) -> list[Outcome]:
    folder = build_once(
        "nfu-axi", lambda folder: write_atomic(folder / "top.v", verilog_of(OUTSIDE, "test")))
    built = nfu_axi.build_axi(folder / "top.v", Simulator.VERILATOR, folder / ".sim")
    return nfu_axi.run_cases(built, cases, size, folder / ".sim")


def fault(outcome: Outcome) -> Fault:
    return Fault(outcome.registers["status"] >> 4 & 15)


@pytest.fixture(scope="module")
def residual() -> Any:
    ((network, program),) = compiled((10,), OUTSIDE)
    return network, program


def right(network: Any, program: Any, image: Int64Array, outcome: Outcome) -> bool:
    wanted = golden.run(network, image[None])
    layers = layers_of(program, network, dict(enumerate(outcome.memory)))
    return all(np.array_equal(values, wanted[name][0]) for name, values in layers.items())


def test_networks_and_stalls(build_once: Once, verilator: Any) -> None:
    for seed in (0, 12):
        ((network, program),) = compiled((seed,), OUTSIDE)
        images = random_images(network, 2, 1)
        cases = [
            *nfu_axi.cases_of(program, images[:1], limit=LIMIT, stalls=False, seed=0),
            *nfu_axi.cases_of(program, images[1:], limit=LIMIT, stalls=True, seed=5),
        ]
        outcomes = run(build_once, cases, program.size)
        for image, outcome in zip(images, outcomes, strict=True):
            assert outcome.ended == "done"
            assert fault(outcome) is Fault.NONE
            assert right(network, program, image, outcome)
            # The array's time does not depend on memory, but how much COMPUTEs overlap does.
            assert outcome.registers["compute_cycles"] >= estimate(program).compute_cycles
        assert outcomes[1].registers["cycles"] > outcomes[0].registers["cycles"]
        expected = estimate(program, Memory()).cycles
        assert outcomes[0].registers["cycles"] == pytest.approx(expected, rel=0.02)
        assert outcomes[0].registers["status"] == 2
        assert outcomes[0].extra["cleared"] == 0


@pytest.mark.parametrize("stalls", [False, True])
def test_whatever_goes_wrong_it_stops_and_runs_again(
    stalls: bool, build_once: Once, verilator: Any, residual: Any
) -> None:
    network, program = residual
    image = random_images(network, 1, 1)[0]
    (plain,) = nfu_axi.cases_of(program, image[None], limit=LIMIT, stalls=stalls, seed=3)
    weights = next(one for one in program.instructions
                   if one.op is Op.LOAD and one["buffer"] == 1)["address"]
    result = program.results[0].address
    compute = next(n for n, one in enumerate(program.instructions) if one.op is Op.COMPUTE)
    image_of = {
        "opcode": b"\x0f" + program.image[1:],
        "steps": with_instruction(program, compute, steps=0).image,
        "address": with_instruction(program, 0, address=6).image,
    }
    trouble = [
        (replace(plain, faulty=(0, 64, "SLVERR")), Fault.READ),
        (replace(plain, faulty=(0, 64, "DECERR")), Fault.READ),
        (replace(plain, faulty=(weights, weights + 4, "SLVERR")), Fault.READ),
        (replace(plain, faulty=(weights, weights + 4, "DECERR")), Fault.READ),
        (replace(plain, faulty=(result, result + 4, "SLVERR")), Fault.WRITE),
        (replace(plain, faulty=(result, result + 4, "DECERR")), Fault.WRITE),
        (replace(plain, writes=[(0, image_of["opcode"])]), Fault.OPCODE),
        (replace(plain, writes=[(0, image_of["steps"])]), Fault.FIELD),
        (replace(plain, writes=[(0, image_of["address"])]), Fault.ADDRESS),
    ]
    cases = [case for one, _ in trouble for case in (one, plain)]
    outcomes = run(build_once, cases, program.size)
    for n, (case, expected) in enumerate(trouble):
        bad, good = outcomes[2 * n : 2 * n + 2]
        assert bad.ended == "done", case.faulty
        assert fault(bad) is expected, case.faulty
        assert bad.registers["status"] & 3 == 2
        assert bad.extra["cleared"] == 0
        assert good.ended == "done"
        assert fault(good) is Fault.NONE
        assert right(network, program, image, good)


def test_start_while_busy_and_reset_in_mid_run(
    build_once: Once, verilator: Any, residual: Any
) -> None:
    network, program = residual
    image = random_images(network, 1, 1)[0]
    (plain,) = nfu_axi.cases_of(program, image[None], limit=LIMIT, stalls=False, seed=3)
    cases = [replace(plain, again=200),
             *(replace(plain, reset_after=cycles) for cycles in (10, 150, 500, 1200)), plain]
    outcomes = run(build_once, cases, program.size)
    for outcome in outcomes:
        assert outcome.ended == "done"
        assert fault(outcome) is Fault.NONE
        assert right(network, program, image, outcome)
    assert outcomes[0].extra["again"] == 0x101                # busy, and a start was missed
    assert outcomes[0].registers["instructions"] == len(program.instructions)
    for outcome in outcomes[1:5]:
        assert outcome.extra["reset"] & 1
        assert outcome.extra["after_reset"] == 0
