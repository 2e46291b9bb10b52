"""Greedy elimination of two-term patterns that occur more than once.

Ref: R. I. Hartley, "Subexpression Sharing in Filters Using Canonic Signed Digit Multipliers", IEEE
TCAS-II 43(10), 1996, for the pattern; A. Hosangadi, F. Fallah, R. Kastner, "Optimizing Polynomial
Expressions by Algebraic Factorization and Common Subexpression Elimination", IEEE TCAD 25(10),
2006, for the greedy two-term form over rows of terms.

A **row** is a set of terms ``sign * (signal << shift)``. The pattern ``(a, b, d, g)`` occurs in a
row at shift s if it holds ``a << s`` and ``b << (s + d)`` with relative sign g. The pattern that
occurs most often becomes a new signal, and each occurrence one term of it.

A pattern's occurrences never become more once all its signals exist: taking terms away only removes
some, and a new signal appears everywhere at once. So a count in the queue is an upper bound, and
it is enough to count again when a pattern reaches the front: no counts are kept up to date in
between.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from hwgen.layers import Int64Array

SHIFT_BITS = 6                # a term is signal << SHIFT_BITS | shift
SHIFT_MASK = (1 << SHIFT_BITS) - 1
SIGNAL_BITS = 24
DIFFERENCE = 64               # added to a shift difference in a pattern's number
PAIRS_AT_ONCE = 1 << 22
PATTERNS_COUNTED = 1 << 23    # while rows are counted; rarer ones beyond that start again from 0
PATTERNS_KEPT = 1 << 20       # of the first count; rarer ones beyond that are left out

Term = tuple[int, int, int]   # signal, shift, sign


class Objective(Enum):
    """What a search makes small."""

    ADDERS = "adders"
    BITS = "bits"


@dataclass(frozen=True, slots=True)
class Pattern:
    """``(a << max(0, -d)) + g * (b << max(0, d))``, a < b, or a == b and d > 0; g is +1 or -1."""

    a: int
    b: int
    d: int
    g: int


def _number(a: Int64Array, b: Int64Array, d: Int64Array, g: Int64Array) -> Int64Array:
    return (((a << SIGNAL_BITS | b) << 7 | d + DIFFERENCE) << 1) | (g < 0)


def _pattern(number: int) -> Pattern:
    g = -1 if number & 1 else 1
    d = (number >> 1 & 127) - DIFFERENCE
    return Pattern(number >> 8 + SIGNAL_BITS, number >> 8 & (1 << SIGNAL_BITS) - 1, d, g)


@dataclass
class Elimination:
    """Rows of terms and the patterns taken out of them so far.

    Parameters
    ----------
    rows : sequence of sequences of Term
        No two terms of a row share signal and shift.
    widths : sequence of int
        Bits of each input signal; only the objective ``BITS`` looks at them.
    objective : Objective
    max_depth : int or None
        Longest path allowed to any row's sum; None for no limit.
    rng : numpy Generator or None
        Breaks ties; without one they fall in the patterns' order.
    """

    rows: Sequence[Sequence[Term]]
    widths: Sequence[int]
    objective: Objective = Objective.ADDERS
    max_depth: int | None = None
    rng: np.random.Generator | None = None
    patterns: list[Pattern] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._rows = [{signal << SHIFT_BITS | shift: sign for signal, shift, sign in row}
                      for row in self.rows]
        self._width = list(self.widths)
        self._depth = [0] * len(self._width)
        self._load = [len(row) for row in self._rows]     # sum of 2**depth over a row's terms
        self._places: list[dict[int, set[int]]] = [{} for _ in self._width]
        for r, row in enumerate(self._rows):
            for term in row:
                self._places[term >> SHIFT_BITS].setdefault(r, set()).add(term & SHIFT_MASK)
        self._queue: list[tuple[int, int, int, int]] = []

    def run(self) -> None:
        """Take patterns out until none occurs twice."""
        self._count_all()
        while self._queue:
            negative, depth, tie, number = heapq.heappop(self._queue)
            pattern = _pattern(number)
            found = list(self._occurrences(pattern))
            if len(found) < 2:
                continue
            score = -self._score(len(found), pattern)
            if score == negative:
                self._take(pattern, found)
            else:
                heapq.heappush(self._queue, (score, depth, tie, number))

    def terms(self) -> list[list[Term]]:
        """Return what is left of each row; signals beyond the inputs are the patterns, in order."""
        return [[(term >> SHIFT_BITS, term & SHIFT_MASK, sign) for term, sign in row.items()]
                for row in self._rows]

    def _score(self, count: int, pattern: Pattern) -> int:
        if self.objective is Objective.ADDERS:
            return count
        return (count - 1) * self._bits(pattern)

    def _bits(self, p: Pattern) -> int:
        top = max(self._width[p.a] + max(0, -p.d), self._width[p.b] + max(0, p.d)) + 1
        return max(top - (abs(p.d) if p.g > 0 or p.d > 0 else 0), 1)

    def _queue_counts(self, numbers: Int64Array, counts: Int64Array) -> None:
        ties = (range(len(numbers)) if self.rng is None
                else self.rng.integers(1 << 30, size=len(numbers)).tolist())
        items = []
        bits = self.objective is Objective.BITS
        mask, depths = (1 << SIGNAL_BITS) - 1, self._depth
        for number, count, tie in zip(numbers.tolist(), counts.tolist(), ties, strict=True):
            score = self._score(count, _pattern(number)) if bits else count
            depth = max(depths[number >> 8 + SIGNAL_BITS], depths[number >> 8 & mask])
            items.append((-score, depth, tie, number))
        if len(items) > len(self._queue) // 8:
            self._queue += items
            heapq.heapify(self._queue)
        else:
            for item in items:
                heapq.heappush(self._queue, item)

    def _count_all(self) -> None:
        """Count every pattern of the rows as they stand; keep those that occur at least twice."""
        waiting: list[Int64Array] = []
        kept, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for row in self._rows:
            for block in _pairs(row):
                waiting.append(block)
                if sum(map(len, waiting)) > PAIRS_AT_ONCE:
                    kept, counts = _thinned(*_add_counts(kept, counts, waiting), PATTERNS_COUNTED)
                    waiting = []
        kept, counts = _add_counts(kept, counts, waiting)
        often = counts >= 2
        kept, counts = _thinned(kept[often], counts[often], PATTERNS_KEPT)
        self._queue_counts(kept, counts)

    def _occurrences(self, p: Pattern) -> Iterator[tuple[int, int]]:
        """Yield (row, shift of a) of occurrences that share no term and keep within the depth."""
        first, second = self._places[p.a], self._places[p.b]
        for r in sorted(first) if len(first) <= len(second) else sorted(second):
            if r not in first or r not in second:
                continue
            row, used = self._rows[r], set()
            load = self._load[r]
            for s in sorted(first[r]):
                t = s + p.d
                if t not in second[r] or (p.a == p.b and (s in used or t in used)):
                    continue
                if row[p.a << SHIFT_BITS | s] * row[p.b << SHIFT_BITS | t] != p.g:
                    continue
                if self.max_depth is not None:
                    load += self._growth(p)
                    if not self._fits(r, load):
                        break
                if p.a == p.b:
                    used |= {s, t}
                yield r, s

    def _growth(self, p: Pattern) -> int:
        da, db = self._depth[p.a], self._depth[p.b]
        return (2 << max(da, db)) - (1 << da) - (1 << db)

    def _fits(self, r: int, load: int) -> bool:
        # A tree of depth D over terms of depth d_i exists exactly if sum(2**d_i) <= 2**D. A row
        # that has only negative terms needs one level more for its sign, so any row that might get
        # there keeps one.
        assert self.max_depth is not None
        spare = sum(sign > 0 for sign in self._rows[r].values()) < 2
        return load <= 1 << max(self.max_depth - spare, 0)

    def _take(self, p: Pattern, found: list[tuple[int, int]]) -> None:
        new = len(self._depth)
        self.patterns.append(p)
        self._load_new(p)
        places: dict[int, set[int]] = {}
        for r, s in found:
            row = self._rows[r]
            sign = row.pop(p.a << SHIFT_BITS | s)
            del row[p.b << SHIFT_BITS | s + p.d]
            self._forget(p.a, r, s)
            self._forget(p.b, r, s + p.d)
            shift = min(s, s + p.d)
            row[new << SHIFT_BITS | shift] = sign
            places.setdefault(r, set()).add(shift)
            self._load[r] += self._growth(p)
        self._places.append(places)
        pairs = [_pairs_with(self._rows[r], new, sorted(shifts)) for r, shifts in places.items()]
        numbers, counts = np.unique(np.concatenate(pairs), return_counts=True)
        self._queue_counts(numbers[counts >= 2], counts[counts >= 2])

    def _load_new(self, p: Pattern) -> None:
        self._depth.append(1 + max(self._depth[p.a], self._depth[p.b]))
        self._width.append(max(self._width[p.a] + max(0, -p.d), self._width[p.b] + max(0, p.d)) + 1)

    def _forget(self, signal: int, r: int, shift: int) -> None:
        shifts = self._places[signal][r]
        shifts.discard(shift)
        if not shifts:
            del self._places[signal][r]


def _arrays(row: dict[int, int]) -> tuple[Int64Array, Int64Array, Int64Array]:
    terms = np.fromiter(row.keys(), np.int64, len(row))
    return terms >> SHIFT_BITS, terms & SHIFT_MASK, np.fromiter(row.values(), np.int64, len(row))


def _pairs(row: dict[int, int]) -> Iterator[Int64Array]:
    """Yield the number of the pattern of every pair of terms, some 2**20 at a time."""
    signal, shift, sign = _arrays(dict(sorted(row.items())))
    size = len(signal)
    step = max(1, (1 << 20) // max(size, 1))
    for start in range(0, size, step):
        first, second = np.triu_indices(min(step, size - start), 1, size - start)
        first, second = first + start, second + start
        yield _number(signal[first], signal[second], shift[second] - shift[first],
                      sign[first] * sign[second])


def _pairs_with(row: dict[int, int], new: int, shifts: list[int]) -> Int64Array:
    """Return the number of the pattern of every pair that has the newest signal in it."""
    signal, shift, sign = _arrays(row)
    found = []
    for s in shifts:
        partner = (signal != new) | (shift < s)
        own = row[new << SHIFT_BITS | s]
        others = signal[partner]
        found.append(_number(others, np.full(others.size, new), s - shift[partner],
                             own * sign[partner]))
    return np.concatenate(found)


def _add_counts(kept: Int64Array, counts: Int64Array,
                blocks: list[Int64Array]) -> tuple[Int64Array, Int64Array]:
    if not blocks:
        return kept, counts
    fresh, fresh_counts = np.unique(np.concatenate(blocks), return_counts=True)
    merged, place = np.unique(np.concatenate([kept, fresh]), return_inverse=True)
    total = np.zeros(merged.size, np.int64)
    np.add.at(total, place, np.concatenate([counts, fresh_counts]))
    return merged, total


def _thinned(kept: Int64Array, counts: Int64Array, most: int) -> tuple[Int64Array, Int64Array]:
    """Leave out the rarest patterns beyond a number."""
    if kept.size <= most:
        return kept, counts
    best = np.sort(np.argsort(-counts, kind="stable")[:most])
    return kept[best], counts[best]
