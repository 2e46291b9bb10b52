"""Cycles and traffic of a program, from its instructions alone (see hwgen.nfu.clock)."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.nfu.clock import Clock, Memory
from hwgen.nfu.compiler.program import Program


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


def estimate(program: Program, memory: Memory | None = None) -> Estimate:
    """Return the estimate of a program."""
    memory = memory or Memory()
    config = program.config
    clock = Clock(config, memory)
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
