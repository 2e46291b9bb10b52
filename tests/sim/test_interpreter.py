"""NFU programs in the interpreter against the golden model; programs that are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.isa import Fault, Op
from hwgen.sim import golden
from hwgen.sim.interpreter import Interpreter, Stopped
from tests.hwgen.nfu.programs import (
    CONFIG,
    compiled,
    interpreted,
    memory_with,
    with_instruction,
)
from tests.networks import random_images

SMALL = replace(CONFIG, memory_bytes=0, nbin_lines=64, sb_lines=64, nbout_lines=32, tap_count=64,
                par_lines=32)
CONFIGS = {
    "wide": CONFIG,
    "16 bits": replace(CONFIG, act_bits=16),
    "narrow, 8 lanes": replace(CONFIG, tn=8, code=WeightCode.NARROW, finishers=8),
    "base": replace(CONFIG, code=WeightCode.BASE, act_bits=16),
    "multipliers": replace(CONFIG, code=WeightCode.PRODUCT, act_bits=16),
    "32 lanes": Config(tn=32, acc_bits=32, total_bits=48),
    "small buffers": SMALL,
}


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", ["16 bits", "small buffers"])
def test_every_theme(name, seed):
    check(CONFIGS[name], (seed,))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_of_nfu(name):
    check(CONFIGS[name], (17, 18, 25, 28))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16, 66))
@pytest.mark.parametrize("name", CONFIGS)
def test_many_networks(name, seed):
    if name != "base":
        check(CONFIGS[name], (seed,))
        return
    try:                                        # shifts up to 3 need many digits for large weights
        check(CONFIGS[name], (seed,))
    except HwgenError as error:
        assert "at most 16 digits of shifts up to 3" in str(error)  # noqa: PT017  (or it runs)


def check(config, seeds):
    for network, program in compiled(seeds, config):
        images = random_images(network, 2, 1)
        wanted = golden.run(network, images)
        for n, image in enumerate(images):
            layers = interpreted(program, network, image)
            assert network.output.name in layers
            for name, values in layers.items():
                assert np.array_equal(values, wanted[name][n]), name


@pytest.fixture(scope="module")
def residual():
    ((network, program),) = compiled((10,))
    return network, program


def test_one_weight_wrong_is_seen(residual):
    """A changed bit of a packed weight changes what comes out."""
    network, program = residual
    load = next(one for one in program.instructions if one.op is Op.LOAD and one["buffer"] == 1)
    image = bytearray(program.image)
    for n in range(16):
        image[load["address"] + n] ^= 0xFF
    sent = random_images(network, 3, 1)[2]                    # a checkerboard
    good = interpreted(program, network, sent)
    bad = interpreted(replace(program, image=bytes(image)), network, sent)
    assert any(not np.array_equal(good[name], bad[name]) for name in good)


def waits(program):
    return [(n, name) for n, one in enumerate(program.instructions[:-1])
            for name in ("wait_load", "wait_compute", "wait_store") if one[name]]


def fault_of(program, image):
    try:
        Interpreter(program.config, memory_with(program, image)).run()
    except HwgenError as error:
        return str(error)
    return None


def test_every_wait_is_needed(residual):
    """Without any one of its waits a program has a hazard that the interpreter sees."""
    network, program = residual
    sent = random_images(network, 1, 1)[0]
    found = waits(program)
    assert {name for _, name in found} == {"wait_load", "wait_compute", "wait_store"}
    seen = 0
    for n, name in found:
        changed = with_instruction(program, n, **{name: 0})
        words = fault_of(changed, sent)
        assert words is None or "must wait for a" in words
        seen += words is not None
    # A COMPUTE waits for its LOADs even where a later LOAD has waited for the earlier ones.
    assert seen >= 0.9 * len(found)


@pytest.mark.parametrize(("values", "fault"), [
    ({"opcode": 0}, Fault.OPCODE), ({"opcode": 9}, Fault.OPCODE),
    ({"cols": 0}, Fault.FIELD), ({"buffer": 6}, Fault.FIELD), ({"line": 60000}, Fault.FIELD),
    ({"address": 1 << 20}, Fault.ADDRESS), ({"address": 2}, Fault.ADDRESS),
])
def test_corrupt_program(residual, values, fault):
    network, program = residual
    memory = memory_with(program, random_images(network, 1, 1)[0])
    if "opcode" in values:
        memory[0] = memory[0] & 0xF0 | values["opcode"]
    else:
        changed = with_instruction(program, 0, **values)
        memory[:64] = np.frombuffer(changed.image[:64], np.uint8)
    with pytest.raises(Stopped) as caught:
        Interpreter(program.config, memory).run()
    assert caught.value.fault is fault
    assert caught.value.position == 0


def test_program_without_end(residual):
    network, program = residual
    memory = memory_with(program, random_images(network, 1, 1)[0])
    with pytest.raises(HwgenError, match="at most 3 instructions needed"):
        Interpreter(program.config, memory).run(limit=3)
