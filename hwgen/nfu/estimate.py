"""Cycles and traffic of a program, from its instructions alone: the hardware's clock in Python.

It follows the dispatcher and the three units event by event. With memory on chip that is exact;
outside memory adds its latency to every run of words.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.nfu.compiler.program import Program
from hwgen.nfu.config import Config
from hwgen.nfu.isa import INSTRUCTION_BYTES, Instruction, Op


@dataclass(frozen=True)
class Estimate:
    """What a program takes for an image.

    Parameters: cycles, from start to done; compute_cycles, in which a COMPUTE runs; task_cycles,
    from a task's first instruction to the next one's; read_bytes, written_bytes, of memory.
    """

    cycles: int
    compute_cycles: int
    task_cycles: tuple[int, ...]
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True)
class Memory:
    """How memory behaves: cycles from a run asked for to its first word, and lost between runs."""

    latency: int = 0
    gap: int = 0


def estimate(program: Program, memory: Memory | None = None) -> Estimate:
    """Return the estimate of a program."""
    memory = memory or Memory()
    config = program.config
    clock = _Clock(config, memory)
    starts = []
    boundaries = {task.start for task in program.tasks}
    for n, instruction in enumerate(program.instructions):
        if n in boundaries:
            starts.append(clock.now)
        clock.step(instruction)
    ends = [*starts[1:], clock.now]
    return Estimate(clock.now, clock.computing,
                    tuple(end - start for start, end in zip(starts, ends, strict=True)),
                    clock.read_words * config.word_bytes, clock.written_words * config.word_bytes)


# Cycles beyond the words: of a fetch, from FETCH to ISSUE; of a LOAD or STORE, from its start until
# it is free again; of each run of a STORE, whose first word comes out of NBout then.
FETCH, LOAD, STORE, STORE_RUN = 7, 5, 2, 4
RUN = 2                       # cycles that a run of a LOAD takes at least, if another one follows


class _Clock:
    """The time at which each unit is free."""

    def __init__(self, config: Config, memory: Memory) -> None:
        self.config, self.memory = config, memory
        self.now = 0                # the dispatcher is in FETCH
        self.load_free = self.compute_free = self.store_free = 0
        self.computing = self.read_words = self.written_words = 0

    def step(self, one: Instruction) -> None:
        """Fetch and start one instruction."""
        words = INSTRUCTION_BYTES // self.config.word_bytes
        fetch = max(self.now, self.load_free)
        self.read_words += words
        ready = fetch + words + FETCH
        waits = [ready]
        if one["wait_load"] or one.op is Op.LOAD:
            waits.append(self.load_free)
        if one["wait_compute"] or one.op is Op.COMPUTE:
            waits.append(self.compute_free)
        if one["wait_store"] or one.op is Op.STORE:
            waits.append(self.store_free)
        start = max(waits)
        self.now = start + 1
        match one.op:
            case Op.LOAD:
                self.read_words += one["cols"] * one["rows"] * one["planes"]
                run = max(one["cols"] + self.memory.gap, RUN)
                self.load_free = (start + (one["rows"] * one["planes"] - 1) * run + one["cols"]
                                  + LOAD + self.memory.latency)
            case Op.STORE:
                self.written_words += one["cols"] * one["rows"] * one["planes"]
                run = one["cols"] + STORE_RUN + self.memory.gap
                self.store_free = (start + one["rows"] * one["planes"] * run + STORE
                                   + self.memory.latency)
            case Op.COMPUTE:
                cycles = compute_cycles(one, self.config)
                self.computing += cycles
                self.compute_free = start + 1 + cycles
            case Op.END:
                self.now = start + 2


def compute_cycles(one: Instruction, config: Config) -> int:
    """Return the cycles for which a COMPUTE is busy."""
    levels = (config.tn - 1).bit_length()
    pixels = one["rows"] * one["cols"]
    cycles = (pixels - 1) * one["period"] + one["steps"]
    cycles += 8 if one["max"] else 10 + levels
    if one["last"]:
        cycles += config.groups * one["digits"] + finish_latency(config)
    return cycles


def finish_latency(config: Config) -> int:
    """Return the finisher's latency (hwgen.nfu.finisher) without building it."""
    total = 4 + (5 if config.segments else 0)
    largest = (config.finishers - 1).bit_length() + 2
    return 2 + total + max(3, largest) + 1
