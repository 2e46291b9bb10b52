"""Which searches are run, from which starts, on a matrix and on its transpose.

Ref: the transposition theorem (A. Fettweis, "A General Theorem for Signal-Flow Networks, with
Applications", AEU 25, 1971): a graph walked backwards is one of the transposed matrix, with as many
adders plus inputs minus outputs. So both problems are searched, and either may lead the other on.
Starts: the canonical digits; and a spanning tree of the outputs, each one another one, shifted and
signed, plus the digits of the difference (O. Gustafsson, H. Ohlsson, L. Wanhammar, "Low-Complexity
Constant Coefficient Matrix Multiplication Using a Minimum Spanning Tree Approach", NORSIG 2004).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.adders.compiled import NativeSearch
from hwgen.adders.csd import csd_digits, digit_count
from hwgen.adders.rows import Part, Rows, unpacked
from hwgen.layers import Int64Array

CHUNK = 128                   # steps between two looks at the clock
HOT, COLD = 0.6, 0.12         # temperatures, in adders
WARM = 0.36                   # where a later round begins
BIT_SCALE = 6.0               # of the temperature, where bits are counted
TREE_LIMIT = 1 << 26          # differences looked at for a spanning tree
OPENING = 0.4                 # share of the budget for the first run of every start
ROUNDS = 4
FEW_STEPS = 1000              # below, every start costs more than it finds


@dataclass(frozen=True, slots=True)
class Task:
    """What is searched for.

    Parameters
    ----------
    taps : (inputs, outputs, rows, columns) int64
        Coefficient of each input, that many image rows and columns ago, in each output. No output
        is zero, or another one shifted, delayed or negated; no input is unused.
    lo, hi : sequences of int
        Range of each input.
    bits : bool
    max_depth : int or None
    seed : int
    """

    taps: Int64Array
    lo: Sequence[int]
    hi: Sequence[int]
    bits: bool = False
    max_depth: int | None = None
    seed: int = 0


class Budget:
    """Steps or seconds, handed out in shares. Parameters: steps; seconds, None to count steps."""

    def __init__(self, steps: int, seconds: float | None) -> None:
        self.steps, self.seconds = steps, seconds
        self.spent = 0

    def chunks(self, share: float) -> Iterator[tuple[int, float, float]]:
        """Yield (steps, progress before, progress after) until the share is used up."""
        if self.seconds is None:
            total, done = round(self.steps * share), 0
            while done < total:
                size = min(CHUNK, total - done)
                yield size, done / total, (done + size) / total
                done += size
            return
        started, length = time.monotonic(), self.seconds * share
        before = 0.0
        while before < 1 and length > 0:
            yield CHUNK, before, before
            before = (time.monotonic() - started) / length


def explore(task: Task, starts: Sequence[Rows], budget: Budget) -> list[Rows]:
    """Return the best rows found, the best one first.

    Parameters: task; starts, further rows to begin with; budget.
    """
    turned = task.max_depth is None
    short = budget.seconds is None and budget.steps < FEW_STEPS
    begin = [(False, rows) for rows in (digit_rows(task.taps), *starts)]
    begin += [(True, digit_rows(task.taps.transpose(1, 0, 2, 3)))] * turned
    # Where the depth counts only digits are sure to be flat enough.
    if turned and not short and (tree := tree_rows(task.taps)) is not None:
        begin.append((False, tree))
    if turned and not short and (tree := tree_rows(task.taps.transpose(1, 0, 2, 3))) is not None:
        begin.append((True, tree))
    found: list[tuple[float, int, Rows]] = []
    for n, (turn, rows) in enumerate(begin):
        best = _run(task, rows, turn, budget, OPENING / len(begin), HOT, n)
        found.append((best.adders, n, best))
    found.sort(key=lambda entry: entry[:2])
    _, _, best = found[0]
    rounds = 1 if short else ROUNDS
    for n in range(rounds):
        # Few adders lead to few bits sooner than bits do: those are counted at the end.
        bits = task.bits and 2 * n + 1 >= rounds
        turn = turned and n % 2 == 0 and not bits
        start = best.transposed() if turn else best
        share = (1 - OPENING) / rounds
        result = _run(task, start, turn, budget, share, WARM, len(begin) + n, bits=bits)
        if bits or result.adders <= best.adders:
            best = result
        found.append((best.adders, len(begin) + n, best))
    if task.bits:
        found.append((-1, 0, best))
    return [rows for _, _, rows in sorted(found, key=lambda entry: entry[:2])]


def _run(task: Task, rows: Rows, turn: bool, budget: Budget, share: float, hot: float,
         number: int, *, bits: bool = False) -> Rows:
    """Search from some rows, of the transposed matrix if ``turn``; the result is of the matrix."""
    scale = BIT_SCALE if bits else 1.0
    inputs = rows.inputs
    lo, hi = ([-1] * inputs, [1] * inputs) if turn else (task.lo, task.hi)
    search = NativeSearch(rows.inputs, rows.outputs, kernel=task.taps.shape[2:], lo=lo, hi=hi,
                          bits=bits, max_depth=task.max_depth,
                          seed=(task.seed * 64 + number) % (1 << 64))
    try:
        search.start(rows.packed())
        for steps, begin, end in budget.chunks(share):
            search.run(steps, begin, end, hot=hot * scale, cold=COLD * scale)
        best = unpacked(search.best(), rows.inputs, rows.outputs)
    finally:
        search.close()
    return best.transposed() if turn else best


def digit_rows(taps: Int64Array) -> Rows:
    """Return each output as its canonical digits."""
    inputs, outputs = taps.shape[:2]
    rows: dict[int, list[Part]] = {inputs + j: [] for j in range(outputs)}
    for (i, j, r, c), s, g in _digits(taps):
        rows[inputs + j].append(Part(i, s, g, r, c))
    return Rows(inputs, outputs, {signal: tuple(parts) for signal, parts in rows.items()})


def _digits(taps: Int64Array) -> Iterator[tuple[tuple[int, ...], int, int]]:
    index, shift, sign = csd_digits(taps)
    places = np.stack(np.unravel_index(index, taps.shape), axis=-1).tolist()
    yield from zip(map(tuple, places), shift.tolist(), sign.tolist(), strict=True)


def tree_rows(taps: Int64Array) -> Rows | None:
    """Return outputs through outputs along a spanning tree; None if all are best from digits.

    Only without delays, and only where there are not too many differences to look at.
    """
    inputs, outputs = taps.shape[:2]
    if taps.shape[2:] != (1, 1) or 14 * inputs * outputs**2 > TREE_LIMIT:
        return None
    columns = np.ascontiguousarray(taps[:, :, 0, 0].T)
    dear = digit_count(columns).sum(axis=1)
    through: list[Part | None] = [None] * outputs
    cost = dear.copy()
    rows: dict[int, tuple[Part, ...]] = {}
    open_ = set(range(outputs))
    while open_:
        j = min(open_, key=lambda k: (int(cost[k]), k))
        open_.remove(j)
        rows[inputs + j] = _through(columns, j, through[j], inputs)
        for shift in range(-3, 4):
            base = columns[j]
            if shift < 0 and (base & ((1 << -shift) - 1)).any():
                continue
            moved = base >> -shift if shift < 0 else base << shift
            for sign in (1, -1):
                counts = 1 + digit_count(columns - sign * moved).sum(axis=1)
                for k in sorted(open_):
                    if counts[k] < cost[k]:
                        cost[k] = counts[k]
                        through[k] = Part(inputs + j, shift, sign)
    if all(part is None for part in through):
        return None
    return Rows(inputs, outputs, rows)


def _through(columns: Int64Array, j: int, part: Part | None, inputs: int) -> tuple[Part, ...]:
    rest, parts = columns[j], []
    if part is not None:
        base = columns[part.signal - inputs]
        moved = base >> -part.shift if part.shift < 0 else base << part.shift
        rest = rest - part.sign * moved
        parts = [part]
    index, shift, sign = csd_digits(rest)
    parts += map(Part, index.tolist(), shift.tolist(), sign.tolist())
    return tuple(parts)
