"""The hardware's clock in Python: when each unit is free, instruction by instruction.

It follows the dispatcher and the three units event by event; with memory on chip it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.nfu.config import Config
from hwgen.nfu.isa import INSTRUCTION_BYTES, Instruction, Op

# Cycles beyond the words: of a fetch, from FETCH to ISSUE; of a LOAD or STORE, from its start until
# it is free again; of each run of a STORE, whose first word comes out of NBout then.
FETCH, LOAD, STORE, STORE_RUN = 12, 9, 4, 5


@dataclass(frozen=True)
class Memory:
    """How memory behaves, beyond what memory on chip takes.

    Parameters: latency, cycles from a run asked for to its first word; gap, lost between two runs;
    answer, from a block's last word written to the answer.
    """

    latency: int = 0
    gap: int = 0
    answer: int = 0


@dataclass
class Clock:
    """The time at which each unit is free.

    Parameters: config; memory; now, when the dispatcher fetches; load_free, compute_free,
    store_free; older_free, when only the newest COMPUTE is under way; walk_free, when another one
    may start behind it; rest_free, that less its steps; maximum, the newest is of maxima;
    computing, cycles in which a COMPUTE runs; words read and written.
    """

    config: Config
    memory: Memory = Memory()
    now: int = 0
    load_free: int = 0
    compute_free: int = 0
    store_free: int = 0
    older_free: int = 0
    walk_free: int = 0
    rest_free: int = 0
    maximum: bool = False
    computing: int = 0
    read_words: int = 0
    written_words: int = 0

    def step(self, one: Instruction) -> None:
        """Fetch and start one instruction."""
        words = INSTRUCTION_BYTES // self.config.word_bytes
        fetch = max(self.now, self.load_free)
        self.read_words += words
        ready = fetch + words + FETCH + self.memory.latency
        waits = [0]
        if one["wait_load"] or one.op is Op.LOAD:
            waits.append(self.load_free)
        if one["wait_compute"]:
            waits.append(self.compute_free)
        if one["wait_store"] or one.op is Op.STORE:
            waits.append(self.store_free)
        if one.op is Op.COMPUTE:
            waits.append(self._compute_start(one))
        if one.op in (Op.LOAD, Op.STORE):
            waits.append(self.older_free)
        start = max(ready, max(waits) + 1)         # waits are seen a cycle later
        self.now = start + 1
        start += 1                                 # the unit's own
        match one.op:
            case Op.LOAD:
                self.read_words += one["cols"] * one["rows"] * one["planes"]
                run = one["cols"] + self.memory.gap
                self.load_free = (start + (one["rows"] * one["planes"] - 1) * run + one["cols"]
                                  + LOAD + self.memory.latency)
            case Op.STORE:
                self.written_words += one["cols"] * one["rows"] * one["planes"]
                run = one["cols"] + STORE_RUN + self.memory.gap
                self.store_free = (start + one["rows"] * one["planes"] * run + STORE
                                   + self.memory.answer)
            case Op.COMPUTE:
                self._compute(one, start)
            case Op.END:
                self.now = start + 1

    def _compute_start(self, one: Instruction) -> int:
        """Return when a COMPUTE can start behind those before (hwgen.nfu.compute)."""
        if self.maximum or one["max"]:
            return self.compute_free + 1
        return min(self.compute_free, max(
            self.walk_free, self.older_free, self.rest_free - one["steps"])) + 1

    def _compute(self, one: Instruction, start: int) -> None:
        end = start + 1 + compute_cycles(one, self.config)
        self.computing += end - max(start + 1, self.compute_free)
        self.older_free, self.compute_free = self.compute_free, end
        pixels, levels = one["rows"] * one["cols"], (self.config.tn - 1).bit_length()
        self.walk_free = start + max(3 + pixels * one["period"], 12 + levels + one["steps"])
        self.rest_free, self.maximum = 0, bool(one["max"])
        if one["last"]:
            final = start + 2 + (pixels - 1) * one["period"] + one["steps"]
            self.rest_free = (final + self.config.groups * one["digits"]
                              + finish_latency(self.config) - 2)


def compute_cycles(one: Instruction, config: Config) -> int:
    """Return the cycles from a COMPUTE's start to its end."""
    levels = (config.tn - 1).bit_length()
    pixels = one["rows"] * one["cols"]
    cycles = (pixels - 1) * one["period"] + one["steps"]
    cycles += 11 if one["max"] else 12 + levels
    if one["last"]:
        cycles += config.groups * one["digits"] + finish_latency(config)
    return cycles


def finish_latency(config: Config) -> int:
    """Return the finisher's latency (hwgen.nfu.finisher) without building it."""
    total = 5 + (5 if config.segments else 0)
    largest = (config.finishers - 1).bit_length() + 2
    return 2 + total + max(4, largest) + 1
