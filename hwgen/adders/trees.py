"""Rows of terms as an adder graph: balanced trees in which nothing is built twice."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from hwgen.adders.graph import Add, AdderGraph, Input, Output
from hwgen.adders.greedy import Pattern, Term
from hwgen.adders.rows import Rows
from hwgen.adders.signs import Polarities, Sum
from hwgen.ranges import width_of


class Builder:
    """Two-input sums, each made once.

    Parameters
    ----------
    inputs : int
        Number of input signals.
    by_value : bool
        Also reuse a sum that has the same value, up to sign and a left shift, but was added up in
        another way, if it is not deeper. Values are compared as the number they give for one fixed
        random 64-bit input vector, so two sums could be taken for equal by accident (the finished
        graph is expanded and compared, so that an accident is seen).
    merge_signs : bool
        Let ``a - b`` also serve as ``b - a``, negated.
    ranges : sequence of (lo, hi) or None
        Of the inputs. With them a tree adds its narrowest terms first, else its shallowest.
    """

    def __init__(self, inputs: int, *, by_value: bool, merge_signs: bool = True,
                 ranges: Sequence[tuple[int, int]] | None = None) -> None:
        self.inputs = inputs
        self.sums: list[Sum] = []
        self._depth = [0] * inputs
        self._range = None if ranges is None else list(ranges)
        self._by_value = by_value
        self._merge_signs = merge_signs
        rng = np.random.default_rng(0x5eed)
        self._value = rng.integers(1 << 62, 1 << 63, size=inputs, dtype=np.uint64).tolist()
        self._made: dict[tuple[int, int, int, int, int], int] = {}
        self._valued: dict[int, list[int]] = {}
        for signal in range(inputs):
            self._valued.setdefault(_odd(self._value[signal]), []).append(signal)

    def depth(self, signal: int) -> int:
        """Return the adders on the longest path to a signal."""
        return self._depth[signal]

    def combine(self, first: Term, second: Term) -> Term | None:
        """Return the sum of two terms as a term, or None if it is 0; makes at most one adder."""
        if first[:2] == second[:2]:
            return (first[0], first[1] + 1, first[2]) if first[2] == second[2] else None
        first, second = sorted((first, second))
        if not self._merge_signs and first[2] < second[2]:
            first, second = second, first
        down = min(first[1], second[1])
        node = Sum(first[0], second[0], first[1] - down, second[1] - down, first[2] * second[2])
        key = (node.a, node.b, node.a_shift, node.b_shift, node.g)
        if key in self._made:
            return self._made[key], down, first[2]
        value = ((self._value[node.a] << node.a_shift)
                 + node.g * (self._value[node.b] << node.b_shift))
        depth = 1 + max(self._depth[node.a], self._depth[node.b])
        if self._by_value:
            if value == 0:
                return None
            for signal in self._valued.get(_odd(value), ()):
                lift = _lowest(value) - _lowest(self._value[signal])
                if self._depth[signal] <= depth:
                    sign = 1 if (value > 0) == (self._value[signal] > 0) else -1
                    return signal, down + lift, sign * first[2]
        new = self.inputs + len(self.sums)
        self.sums.append(node)
        self._depth.append(depth)
        if self._range is not None:
            self._range.append(_sum_range(node, self._range))
        self._value.append(value)
        self._made[key] = new
        self._valued.setdefault(_odd(value), []).append(new)
        return new, down, first[2]

    def tree(self, terms: Sequence[Term]) -> Term | None:
        """Return the sum of all terms, two at a time in the tree's order; None if it is 0."""
        heap = [(self._rank(signal, shift), shift, signal, sign) for signal, shift, sign in terms]
        heapq.heapify(heap)
        while len(heap) > 1:
            _, shift, signal, sign = heapq.heappop(heap)
            _, other_shift, other, other_sign = heapq.heappop(heap)
            total = self.combine((signal, shift, sign), (other, other_shift, other_sign))
            if total is not None:
                heapq.heappush(heap, (self._rank(*total[:2]), total[1], total[0], total[2]))
        return (heap[0][2], heap[0][1], heap[0][3]) if heap else None

    def _rank(self, signal: int, shift: int) -> int:
        if self._range is None:
            return self._depth[signal]
        return width_of(*self._range[signal])[0] + shift

    def finish(self, ports: Sequence[Input], outputs: Sequence[Term | None]) -> AdderGraph:
        """Return the graph of what the outputs need, signs pushed to where they cost nothing."""
        sums, outputs = self._used(outputs)
        wanted = [(term[0], term[2]) for term in outputs if term is not None]
        polarities = Polarities(self.inputs, sums, wanted)
        polarities.improve()
        polarities.narrow()
        polarity = polarities.polarity
        ends = [Output(None) if term is None
                else Output(term[0], term[1], term[2] != polarity[term[0]]) for term in outputs]
        nodes: list[Add] = [polarities.add(k) for k in range(len(sums))]
        return AdderGraph(tuple(ports), tuple(nodes), tuple(ends))

    def _used(self, outputs: Sequence[Term | None]) -> tuple[list[Sum], list[Term | None]]:
        """Leave out the sums that no output reaches, and number the others again."""
        used = [False] * (self.inputs + len(self.sums))
        for term in outputs:
            if term is not None:
                used[term[0]] = True
        for k in range(len(self.sums) - 1, -1, -1):
            if used[self.inputs + k]:
                used[self.sums[k].a] = used[self.sums[k].b] = True
        number = list(range(self.inputs))
        sums: list[Sum] = []
        for k, node in enumerate(self.sums):
            number.append(self.inputs + len(sums))
            if used[self.inputs + k]:
                sums.append(Sum(number[node.a], number[node.b], node.a_shift, node.b_shift, node.g))
        return sums, [None if term is None else (number[term[0]], term[1], term[2])
                      for term in outputs]


def assemble(ports: Sequence[Input], patterns: Sequence[Pattern], rows: Sequence[Sequence[Term]], *,
             by_value: bool, merge_signs: bool = True) -> AdderGraph:
    """Return the graph of rows whose terms name inputs and patterns.

    Parameters
    ----------
    ports : the inputs, with their ranges
    patterns : signals after the inputs, in order, each of earlier signals
    rows : the terms of each output
    by_value, merge_signs : see Builder
    """
    builder = Builder(len(ports), by_value=by_value, merge_signs=merge_signs)
    terms: list[Term | None] = [(signal, 0, 1) for signal in range(len(ports))]
    for p in patterns:
        first, second = terms[p.a], terms[p.b]
        pair = [(term[0], term[1] + shift, term[2] * sign)
                for term, shift, sign in ((first, max(0, -p.d), 1), (second, max(0, p.d), p.g))
                if term is not None]
        terms.append(builder.tree(pair))
    outputs = []
    for row in rows:
        found = [(term, shift, sign) for signal, shift, sign in row
                 if (term := terms[signal]) is not None]
        outputs.append(builder.tree([(term[0], term[1] + shift, term[2] * sign)
                                     for term, shift, sign in found]))
    return builder.finish(ports, outputs)


def assemble_rows(ports: Sequence[Input], rows: Rows, ends: Sequence[Term | None], *,
                  narrow: bool) -> AdderGraph:
    """Return the graph of rows without delays.

    Parameters
    ----------
    ports : the inputs, with their ranges
    rows : each a sum of terms of earlier signals
    ends : for each output of the graph (signal, shift, sign) in terms of the rows; None is 0
    narrow : add the narrowest terms of a row first, not the shallowest
    """
    builder = Builder(len(ports), by_value=True,
                      ranges=[(port.lo, port.hi) for port in ports] if narrow else None)
    terms: dict[int, Term | None] = {n: (n, 0, 1) for n in range(len(ports))}

    def moved(signal: int, shift: int, sign: int) -> Term | None:
        term = terms[signal]
        return None if term is None else (term[0], term[1] + shift, term[2] * sign)

    for signal, parts in rows.rows.items():
        found = (moved(part.signal, part.shift, part.sign) for part in parts)
        terms[signal] = builder.tree([term for term in found if term is not None])
    return builder.finish(ports, [None if end is None else moved(*end) for end in ends])


def _lowest(value: int) -> int:
    return (value & -value).bit_length() - 1


def _sum_range(node: Sum, ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    low, high = (bound << node.a_shift for bound in ranges[node.a])
    other = [bound << node.b_shift for bound in ranges[node.b]]
    if node.g < 0:
        other = [-bound for bound in reversed(other)]
    return low + other[0], high + other[1]


def _odd(value: int) -> int:
    return abs(value) >> _lowest(value) if value else 0
