"""A constant integer matrix as a small shift-and-add graph.

With the compiled search (compiled.py) a large-neighbourhood search over rows of terms is run on the
matrix and on its transpose (explore.py). Without a compiler, patterns of two terms that repeat are
taken out greedily (greedy.py), a few times with random ties. What is left of each row is summed by
a tree (trees.py). Every graph is expanded again, by code that knows nothing of how it was found,
and compared with the matrix before anybody sees it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.adders import compiled
from hwgen.adders.csd import csd_digits, digit_count
from hwgen.adders.explore import Budget, Task, explore
from hwgen.adders.graph import AdderGraph, Input
from hwgen.adders.greedy import SIGNAL_BITS, Elimination, Objective, Pattern, Term
from hwgen.adders.rows import Part, Rows
from hwgen.adders.trees import assemble, assemble_rows
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.ranges import width_of

LIMIT = 1 << 31               # |entry| stays below
BOUND_LIMIT = 1 << 48         # so does a bound of an input
MOST_PAIRS = 1 << 23          # of terms of a row, for the compiled search
STEPS_PER_ATTEMPT = 1000      # a greedy attempt without the compiled search
MOST_ATTEMPTS = 1000

Bound = int | Sequence[int] | npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Options:
    """How a graph is searched for.

    Parameters
    ----------
    sharing : bool
        Look for patterns that repeat. Without it each output has its own balanced tree, and only
        trees that are the same, term by term, are built once.
    objective : Objective
        Adders or adder bits.
    max_depth : int or None
        Adders on the longest path, at most.
    steps : int or None
        Steps of the search; None for a number that takes a few seconds at most, which depends on
        the matrix alone.
    seconds : float or None
        Search so long instead (which makes the result depend on the machine).
    seed : int
        Of all random choices.
    """

    sharing: bool = True
    objective: Objective = Objective.ADDERS
    max_depth: int | None = None
    steps: int | None = None
    seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_depth is not None and self.max_depth < 0:
            raise HwgenError(f"Depth limit must be at least 0, not {self.max_depth}")
        if self.steps is not None and self.steps < 0:
            raise HwgenError(f"Steps must be at least 0, not {self.steps}")
        if self.seconds is not None and not self.seconds >= 0:
            raise HwgenError(f"Seconds must be at least 0, not {self.seconds}")
        if self.seed < 0:
            raise HwgenError(f"Seed must be at least 0, not {self.seed}")


def build(matrix: Int64Array, *, input_lo: Bound, input_hi: Bound, sharing: bool = True,
          objective: Objective = Objective.ADDERS, max_depth: int | None = None, seed: int = 0,
          steps: int | None = None, seconds: float | None = None) -> AdderGraph:
    """Return an adder graph for y = x @ matrix.

    Parameters
    ----------
    matrix : (inputs, outputs) integers, below 2**31 in magnitude
    input_lo, input_hi : int or (inputs,) integers
        Smallest and largest value of each input, both included.
    sharing, objective, max_depth, seed, steps, seconds
        See Options. With ``seconds`` None the same arguments give the same graph.

    Raises: TypeError unless the matrix holds integers; HwgenError for a shape, an entry, a range
    or a depth that cannot be met.
    """
    options = Options(sharing=sharing, objective=objective, max_depth=max_depth, steps=steps,
                      seconds=seconds, seed=seed)
    checked = check_matrix(matrix)
    return search(checked, input_ports(checked.shape[0], input_lo, input_hi), options)


def check_matrix(matrix: npt.ArrayLike) -> Int64Array:
    """Return the matrix as int64 if a graph can be built for it; see ``build`` for errors."""
    array = np.asarray(matrix)
    if array.dtype.kind not in "iu":
        raise TypeError(f"Matrix must hold integers, not {array.dtype}")
    if array.ndim != 2:
        raise HwgenError(f"Matrix must have 2 dimensions (inputs, outputs), not {array.ndim}")
    if array.shape[0] >= 1 << SIGNAL_BITS - 2:
        raise HwgenError(f"Matrix must have fewer than {1 << SIGNAL_BITS - 2} inputs, "
                         f"not {array.shape[0]}")
    if array.size:
        lowest, highest = int(array.min()), int(array.max())
        if max(-lowest, highest) >= LIMIT:
            raise HwgenError(f"Entries must be less than 2**31 in magnitude, "
                             f"not {lowest}..{highest}")
    return array.astype(np.int64)


def input_ports(inputs: int, lo: Bound, hi: Bound) -> tuple[Input, ...]:
    """Return the inputs with their ranges; one bound may stand for all; errors as of ``build``."""
    try:
        lows = np.broadcast_to(np.asarray(lo), (inputs,)).tolist()
        highs = np.broadcast_to(np.asarray(hi), (inputs,)).tolist()
    except ValueError:
        raise HwgenError(f"Input ranges must be one or {inputs} numbers, not "
                         f"{np.shape(lo)} and {np.shape(hi)}") from None
    if any(not isinstance(bound, int) for bound in lows + highs):
        raise TypeError("Input ranges must be integers")
    if any(abs(bound) >= BOUND_LIMIT for bound in lows + highs):
        raise HwgenError("Input ranges must be less than 2**48 in magnitude")
    for n, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if low > high:
            raise HwgenError(f"Input {n}: lo must be at most hi, not {low}..{high}")
    return tuple(Input(low, high) for low, high in zip(lows, highs, strict=True))


def least_depth(matrix: Int64Array) -> int:
    """Return the depth that canonical digits can be summed in: the least ``max_depth`` may be.

    A column of only negative digits needs one level more, for its sign.
    """
    counts = digit_count(matrix)
    depth = 0
    for row, digits in zip(rows_of(matrix), counts.sum(axis=0).tolist(), strict=True):
        if digits:
            depth = max(depth, (digits - 1).bit_length() + all(sign < 0 for _, _, sign in row))
    return depth


def rows_of(matrix: Int64Array) -> list[list[Term]]:
    """Return the canonical digits of each column as terms (input, shift, sign), ordered."""
    columns = matrix.shape[1]
    index, shift, sign = csd_digits(matrix)
    rows: list[list[Term]] = [[] for _ in range(columns)]
    for place, s, g in zip(index.tolist(), shift.tolist(), sign.tolist(), strict=True):
        rows[place % columns].append((place // columns, s, g))
    return rows


def search(matrix: Int64Array, ports: Sequence[Input], options: Options) -> AdderGraph:
    """Return the best graph of all attempts; arguments as checked by ``build``."""
    if options.max_depth is not None and (least := least_depth(matrix)) > options.max_depth:
        raise HwgenError(f"Depth limit must be at least {least} for this matrix, "
                         f"not {options.max_depth}")
    rows = rows_of(matrix)
    if not options.sharing:
        return _plain(matrix, ports, rows, options)
    graphs = []
    if _compiled(rows):
        graphs += _explored(matrix, ports, rows, options)
    if not graphs:
        graphs += _greedy(ports, rows, options)
    graphs = [graph for graph in graphs
              if options.max_depth is None or graph.depth <= options.max_depth]
    if not graphs:
        graphs = [_plain(matrix, ports, rows, options)]
    best = min(graphs, key=lambda graph: _cost(graph, options))
    _verify(best, matrix)
    return best


def default_steps(digits: int) -> int:
    """Return how many steps are made where nobody says: fewer for matrices of more digits."""
    return max(100, min(10_000, 10_000_000 // max(digits, 1)))


def thorough_steps(matrix: Int64Array) -> int | None:
    """Return the steps of a search that is worth its while where the graph becomes hardware: some
    13 seconds at most.

    A step takes as long as the matrix has signed digits, and one of few digits needs few of them.
    None, so the default, for a matrix that is searched without the compiled kernels.
    """
    digits = int(digit_count(matrix).sum())
    if not digits or not _compiled(rows_of(matrix)):
        return None
    return max(default_steps(digits), min(200 * digits, 500_000_000 // digits))


def _compiled(rows: list[list[Term]]) -> bool:
    """Tell whether the compiled kernels search a graph of these rows."""
    return compiled.missing() is None and _pairs(rows) <= MOST_PAIRS


def _pairs(rows: list[list[Term]]) -> int:
    return sum(len(row) * (len(row) - 1) // 2 for row in rows)


def _explored(matrix: Int64Array, ports: Sequence[Input], rows: list[list[Term]],
              options: Options) -> list[AdderGraph]:
    """Graphs of the compiled search, some of which may be too deep."""
    kept, copies = _distinct(rows)
    # What is left are the columns that differ in more than sign and shift, and have an adder.
    live = [n for n, row in enumerate(kept) if len(row) > 1]
    used = sorted({signal for n in live for signal, _, _ in kept[n]})
    ends = [_end(kept[which], up, turn, live, which, len(ports)) for which, up, turn in copies]
    if not live:
        return [assemble_rows(ports, Rows(len(ports), 0, {}), ends, narrow=False)]
    taps = np.zeros((len(used), len(live), 1, 1), dtype=np.int64)
    place = {signal: n for n, signal in enumerate(used)}
    for n, which in enumerate(live):
        for signal, shift, sign in kept[which]:
            taps[place[signal], n] += sign << shift
    bits = options.objective is Objective.BITS
    task = Task(taps, [ports[n].lo for n in used], [ports[n].hi for n in used], bits,
                options.max_depth, options.seed)
    steps = default_steps(sum(map(len, rows))) if options.steps is None else options.steps
    found = explore(task, [], Budget(steps, options.seconds))
    names = [*used, *range(len(ports), len(ports) + len(live))]
    trees = (False, True) if options.max_depth is None else (False,)
    graphs = [assemble_rows(ports, _renamed(candidate, names), ends, narrow=narrow)
              for candidate in found[:4] for narrow in trees]
    if options.max_depth is not None:
        graphs += _greedy(ports, rows, options)
    return graphs


def _end(row: list[Term], up: int, turn: int, live: list[int], which: int,
         inputs: int) -> Term | None:
    """An output as a term: of an input, of a live row, or 0."""
    if not row:
        return None
    if len(row) == 1:
        signal, shift, sign = row[0]
        return signal, shift + up, sign * turn
    return inputs + live.index(which), up, turn


def _renamed(rows: Rows, names: list[int]) -> Rows:
    """The rows with the inputs and outputs that are in use under their own numbers."""
    count = rows.inputs + rows.outputs
    last = max(names) + 1

    def name(signal: int) -> int:
        return names[signal] if signal < count else last + signal - count

    renamed = {name(signal): tuple(Part(name(p.signal), *p[1:]) for p in parts)
               for signal, parts in rows.rows.items()}
    return Rows(last - rows.outputs, rows.outputs, renamed)


def _greedy(ports: Sequence[Input], rows: list[list[Term]], options: Options) -> list[AdderGraph]:
    """The best graph of some greedy attempts, or none that is flat enough."""
    started = time.monotonic()
    best: AdderGraph | None = None
    # Few adders are often the way to few bits, so that is tried too.
    goals = sorted({Objective.ADDERS, options.objective}, key=lambda goal: goal.value)
    attempts = 1 + min((options.steps or 0) // STEPS_PER_ATTEMPT, MOST_ATTEMPTS)
    if options.seconds is not None:
        attempts = MOST_ATTEMPTS
    for attempt in range(attempts):
        late = options.seconds is not None and time.monotonic() - started >= options.seconds
        if attempt and late:
            break
        for goal in goals:
            rng = None if attempt == 0 else np.random.default_rng([options.seed, attempt])
            graph = _attempt(ports, rows, goal, options.max_depth, rng)
            if options.max_depth is not None and graph.depth > options.max_depth:
                continue
            if best is None or _cost(graph, options) < _cost(best, options):
                best = graph
    return [] if best is None else [best]


def _attempt(ports: Sequence[Input], rows: list[list[Term]], goal: Objective,
             max_depth: int | None, rng: np.random.Generator | None) -> AdderGraph:
    kept, copies = _distinct(rows)
    widths = [width_of(port.lo, port.hi)[0] for port in ports]
    elimination = Elimination(kept, widths, goal, max_depth, rng)
    elimination.run()
    terms = _copied(elimination.terms(), copies)
    return assemble(ports, elimination.patterns, terms, by_value=True)


def _plain(matrix: Int64Array, ports: Sequence[Input], rows: list[list[Term]],
           options: Options) -> AdderGraph:
    """Without sharing. A tree reused with the other sign may be too deep: then it is not reused."""
    patterns: list[Pattern] = []
    graph = assemble(ports, patterns, rows, by_value=False)
    if options.max_depth is not None and graph.depth > options.max_depth:
        graph = assemble(ports, patterns, rows, by_value=False, merge_signs=False)
    _verify(graph, matrix)
    assert options.max_depth is None or graph.depth <= options.max_depth
    return graph


def _distinct(rows: list[list[Term]]) -> tuple[list[list[Term]], list[Term]]:
    """Return rows, none another one shifted or negated, and every row as (which, shift, sign)."""
    kept: list[list[Term]] = []
    known: dict[tuple[Term, ...], int] = {}
    copies: list[Term] = []
    for row in rows:
        down = min((shift for _, shift, _ in row), default=0)
        turn = row[0][2] if row else 1
        key = tuple((signal, shift - down, sign * turn) for signal, shift, sign in row)
        if key not in known:
            known[key] = len(kept)
            kept.append([(signal, shift - down, sign) for signal, shift, sign in row])
        which = known[key]
        copies.append((which, down, turn * kept[which][0][2] if row else 1))
    return kept, copies


def _copied(rows: list[list[Term]], copies: list[Term]) -> list[list[Term]]:
    return [[(signal, shift + up, sign * turn) for signal, shift, sign in rows[which]]
            for which, up, turn in copies]


def _cost(graph: AdderGraph, options: Options) -> tuple[int, int, int]:
    adders, bits = graph.adders, graph.adder_bits
    first = (adders, bits) if options.objective is Objective.ADDERS else (bits, adders)
    return (*first, graph.depth)


def _verify(graph: AdderGraph, matrix: Int64Array) -> None:
    try:
        graph.check(matrix)
    except ValueError as error:
        raise AssertionError(f"The adder graph is not its matrix: {error}") from error
