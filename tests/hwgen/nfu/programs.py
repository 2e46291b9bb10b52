"""One NFU and its networks for tests: small enough to simulate, one build for all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwgen.layers import Int64Array
from hwgen.network import Network
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
