"""A pipeline through an adder graph: which adder works in which stage, and which words wait.

Stages are numbered from 1. An adder of stage p reads words of stage p directly and words of earlier
stages from registers; registers stand between stages and behind the last one::

    x ──► stage 1 ──[reg]──► stage 2 ──[reg]──► ... stage L ──[reg]──► y        latency = L cycles

A word made in stage p and read last in stage q passes q - p registers, one chain for all its
readers; inputs count as words of stage 1, outputs as readers in stage L + 1. With
``register_inputs`` there is one more register, in front of stage 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hwgen.adders.graph import AdderGraph
from hwgen.ranges import width_of

PASSES = 20                   # over all adders, at most, while flip-flops are saved


@dataclass(frozen=True)
class Schedule:
    """The stage of every adder of a graph.

    Parameters
    ----------
    graph : AdderGraph
    levels : tuple of int
        For each operation (nodes in order, then ``graph.negations`` in order) its place, from 1,
        on the path of adders: greater than the place of what it reads.
    adders_per_stage : int
        Levels between two registers; at least 1.
    register_inputs : bool

    Raises: ValueError, naming the operation, if the levels break a rule.
    """

    graph: AdderGraph
    levels: tuple[int, ...]
    adders_per_stage: int = 1
    register_inputs: bool = False

    def __post_init__(self) -> None:
        operations = _operations(self.graph)
        if self.adders_per_stage < 1:
            raise ValueError(f"Adders per stage must be at least 1, not {self.adders_per_stage}")
        if len(self.levels) != len(operations):
            raise ValueError(f"Schedule must have {len(operations)} levels, not {len(self.levels)}")
        for n, operands in enumerate(operations):
            ready = max(self._level(operand) for operand in operands)
            if self.levels[n] <= ready:
                raise ValueError(f"Operation {n}: level must be above {ready}, "
                                 f"not {self.levels[n]}")

    def _level(self, signal: int) -> int:
        inputs = len(self.graph.inputs)
        return 0 if signal < inputs else self.levels[signal - inputs]

    @property
    def stages(self) -> int:
        """Pipeline stages, without the register in front of them."""
        return -(-max(self.levels, default=0) // self.adders_per_stage)

    @property
    def latency(self) -> int:
        """Clock cycles from x to y; 0 for a graph without adders, which stays wires."""
        return self.stages + self.register_inputs

    def stage(self, operation: int) -> int:
        """Return the stage, from 1, of an operation."""
        return -(-self.levels[operation] // self.adders_per_stage)

    def made(self, signal: int) -> int:
        """Return the stage in which a signal is there without a register; 1 for an input."""
        inputs = len(self.graph.inputs)
        return 1 if signal < inputs else self.stage(signal - inputs)

    @cached_property
    def chains(self) -> tuple[int, ...]:
        """Registers behind each signal (inputs, nodes), then behind each negation."""
        graph = self.graph
        signals = graph.signals
        last = [self.made(signal) for signal in range(signals)]
        for n, operands in enumerate(_operations(graph)):
            for operand in operands:
                last[operand] = max(last[operand], self.stage(n))
        last += [self.stage(n) for n in range(len(graph.nodes), len(self.levels))]
        index = {signal: signals + n for n, signal in enumerate(graph.negations)}
        for output in graph.outputs:
            if output.signal is not None:
                end = index[output.signal] if output.negative else output.signal
                last[end] = self.stages + 1
        made = [self.made(signal) for signal in range(signals)]
        made += [self.stage(n) for n in range(len(graph.nodes), len(self.levels))]
        return tuple(end - start if self.stages else 0
                     for end, start in zip(last, made, strict=True))

    @cached_property
    def ff_bits(self) -> int:
        """Flip-flop bits, those in front of stage 1 included."""
        widths = _widths(self.graph)
        front = 0
        if self.register_inputs:
            front = sum(widths[signal] for signal in read_inputs(self.graph))
        return front + sum(w * n for w, n in zip(widths, self.chains, strict=True))


def schedule(graph: AdderGraph, *, adders_per_stage: int = 1,
             register_inputs: bool = False) -> Schedule:
    """Return a schedule of the least latency, with flip-flops saved where adders have slack.

    Adders start as early as possible, or as late; then each is moved to the level of its slack
    that costs the fewest flip-flop bits, until none moves. The better of the two ends is taken.

    Parameters
    ----------
    graph : AdderGraph
    adders_per_stage : int
        Adders between two registers, at least 1. With 1 synthesis can merge no two adders into one.
    register_inputs : bool
        Also put a register on each input that is read.

    Raises: ValueError if adders_per_stage is less than 1.
    """
    if adders_per_stage < 1:
        raise ValueError(f"Adders per stage must be at least 1, not {adders_per_stage}")
    operations = _operations(graph)
    early = _earliest(graph, operations)
    # The last stage is filled up: a level left over in it is slack too.
    top = -(-max(early, default=0) // adders_per_stage) * adders_per_stage
    found = []
    for levels in (early, _latest(graph, operations, top)):
        moved = _Mover(graph, operations, levels, top, adders_per_stage).run()
        found.append(Schedule(graph, tuple(moved), adders_per_stage, register_inputs))
    return min(found, key=lambda candidate: candidate.ff_bits)


def _operations(graph: AdderGraph) -> list[tuple[int, ...]]:
    """The signals that each operation reads: nodes, then negations."""
    operations: list[tuple[int, ...]] = [(node.a, node.b) for node in graph.nodes]
    return operations + [(signal,) for signal in graph.negations]


def _widths(graph: AdderGraph) -> list[int]:
    """Bits of every signal and negation."""
    return ([width_of(lo, hi)[0] for lo, hi in graph.ranges]
            + [width_of(-graph.ranges[s][1], -graph.ranges[s][0])[0] for s in graph.negations])


def read_inputs(graph: AdderGraph) -> list[int]:
    """Return the inputs that an operation or an output reads, ascending."""
    read = {operand for operands in _operations(graph) for operand in operands}
    read |= {output.signal for output in graph.outputs if output.signal is not None}
    return sorted(signal for signal in read if signal < len(graph.inputs))


def _earliest(graph: AdderGraph, operations: list[tuple[int, ...]]) -> list[int]:
    levels = [0] * len(graph.inputs)
    for operands in operations[:len(graph.nodes)]:
        levels.append(1 + max(levels[operand] for operand in operands))
    return levels[len(graph.inputs):] + [1 + levels[signal] for signal in graph.negations]


def _latest(graph: AdderGraph, operations: list[tuple[int, ...]], top: int) -> list[int]:
    inputs = len(graph.inputs)
    levels = [top] * len(operations)
    for n in range(len(operations) - 1, -1, -1):
        for operand in operations[n]:
            if operand >= inputs:
                levels[operand - inputs] = min(levels[operand - inputs], levels[n] - 1)
    return levels


class _Mover:
    """Moves one operation at a time; words are numbered inputs, nodes, negations."""

    def __init__(self, graph: AdderGraph, operations: list[tuple[int, ...]], levels: list[int],
                 top: int, per_stage: int) -> None:
        self.inputs, self.per_stage, self.top = len(graph.inputs), per_stage, top
        self.operations = operations
        self.level = [0] * self.inputs + levels
        self.width = _widths(graph)
        self.readers: list[list[int]] = [[] for _ in self.level]
        for n, operands in enumerate(operations):
            for operand in set(operands):
                self.readers[operand].append(self.inputs + n)
        negation = {signal: graph.signals + n for n, signal in enumerate(graph.negations)}
        self.is_output = [False] * len(self.level)
        for output in graph.outputs:
            if output.signal is not None:
                self.is_output[negation[output.signal] if output.negative else output.signal] = True

    def run(self) -> list[int]:
        """Move until nothing moves, at most PASSES times over all, and return the levels."""
        for turn in range(PASSES):
            order = range(self.inputs, len(self.level))
            moved = [self._move(word) for word in (order if turn % 2 else reversed(order))]
            if not any(moved):
                break
        return self.level[self.inputs:]

    def _stage(self, word: int) -> int:
        return max(1, -(-self.level[word] // self.per_stage))

    def _chain(self, word: int) -> int:
        last = max((self._stage(reader) for reader in self.readers[word]), default=0)
        if self.is_output[word]:
            last = -(-self.top // self.per_stage) + 1
        return self.width[word] * max(0, last - self._stage(word))

    def _move(self, word: int) -> bool:
        operands = set(self.operations[word - self.inputs])
        first = 1 + max(self.level[operand] for operand in operands)
        last = min((self.level[reader] - 1 for reader in self.readers[word]), default=self.top)
        if first >= last:
            return False
        start = self.level[word]
        costs = {}
        for level in range(first, last + 1):
            self.level[word] = level
            costs[level] = self._chain(word) + sum(self._chain(operand) for operand in operands)
        best = min(costs, key=lambda level: (costs[level], level != start, level))
        self.level[word] = best
        return best != start
