"""One NFU and its networks for tests: small enough to simulate, one build for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.layers import Int64Array
from hwgen.network import Conv2d, Input, Network, Requantise, int64
from hwgen.nfu.compiler.program import Program, compile_network
from hwgen.nfu.config import Config
from hwgen.sim.interpreter import Interpreter
from hwgen.sim.nfu import layers_of
from tests.networks import random_network

CONFIG = Config(tn=4, acc_bits=32, total_bits=48, memory_bytes=1 << 16, nbin_lines=256,
                sb_lines=256, nbout_lines=128)


def fits_8_bits(network: Network) -> bool:
    """Tell whether all codes of a network fit 8 bits."""
    for layer in network.layers:
        tensor = network.tensors[layer.name]
        lo, hi = tensor.lo, tensor.hi
        if lo is not None and hi is not None and not (
                -128 <= lo and hi <= (127 if lo < 0 else 255)):
            return False
    return True


def compiled(seeds: tuple[int, ...], config: Config = CONFIG) -> list[tuple[Network, Program]]:
    """Compile the random networks of some seeds, those that fit the NFU."""
    found = []
    for seed in seeds:
        network = random_network(seed)
        if config.act_bits == 16 or fits_8_bits(network):
            found.append((network, compile_network(network, config)))
    return found


def requantise(name: str, source: str, channels: int) -> Requantise:
    """Return a Requantise to unsigned codes of 8 bits."""
    return Requantise(name, source, int64([1] * channels), int64(range(channels)),
                      int64([5] * channels), 0, 255, 4)


def chain(width: int, stride: int, channels: int) -> Network:
    """Three convolutions one behind the other, the last one of a stride."""
    rng = np.random.default_rng(channels)

    def conv(name: str, source: str, ci: int, co: int, s: int = 1) -> Conv2d:
        return Conv2d(name, source, rng.integers(-2, 3, (co, ci, 3, 3)),
                      int64(rng.integers(200, 250, co)), int64([0] * co), (s, s), (1, 1, 1, 1))

    c = channels
    return Network((
        Input("x", 2, 5, width, 0, 255, 4), conv("a", "x", 2, c), requantise("b", "a", c),
        conv("c", "b", c, c), requantise("d", "c", c), conv("e", "d", c, 2 * c, stride),
        requantise("f", "e", 2 * c)))


def interpreted(program: Program, network: Network, image: Int64Array) -> dict[str, Int64Array]:
    """Return every stored layer of one image, from the interpreter."""
    memory = memory_with(program, image)
    Interpreter(program.config, memory).run()
    stored = {
        n: memory[region.address : region.address + region.words * program.config.word_bytes]
        .tobytes() for n, region in enumerate(program.results)}
    return layers_of(program, network, stored)


def memory_with(program: Program, image: Int64Array) -> np.ndarray:
    """Return memory with a program and an image in it."""
    memory = np.zeros(program.size, np.uint8)
    memory[: len(program.image)] = np.frombuffer(program.image, np.uint8)
    for address, raw in program.pack_input(image):
        memory[address : address + len(raw)] = np.frombuffer(raw, np.uint8)
    return memory


def with_instruction(program: Program, n: int, **values: int) -> Program:
    """Return a program with fields of one instruction changed."""
    one = program.instructions[n]
    changed = replace(one, values={**one.values, **values})
    image = bytearray(program.image)
    image[64 * n : 64 * n + 64] = changed.encode()
    instructions = (*program.instructions[:n], changed, *program.instructions[n + 1 :])
    return replace(program, instructions=instructions, image=bytes(image))
