"""Rows of terms: what the compiled search reads and gives, and the same map turned round.

A row is a signal that is a sum of terms; a term is a signal at a place, with a sign. Signals 0 to
n - 1 are the inputs, n to n + m - 1 the output rows, those above are nodes. A place is a left shift
and, in a convolution, a delay of rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hwgen.adders.compiled import Int32Array

OUTPUT, NODE = 2, 3           # kinds of rows, as in native/state.h
SHIFT_STEP, COLUMN_STEP = 128, 512


class Part(NamedTuple):
    """A term: ``sign * (signal << shift)``, ``row`` image rows and ``column`` pixels ago."""

    signal: int
    shift: int
    sign: int
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Rows:
    """Parameters: inputs, outputs, their numbers; rows, signal -> terms, operands first."""

    inputs: int
    outputs: int
    rows: dict[int, tuple[Part, ...]]

    @property
    def adders(self) -> int:
        """Two-input adders of all rows."""
        return sum(max(0, len(parts) - 1) for parts in self.rows.values())

    def packed(self) -> Int32Array:
        """Return the numbers that the compiled search starts from."""
        data = [len(self.rows)]
        for signal, parts in self.rows.items():
            is_output = signal < self.inputs + self.outputs
            data += [signal, OUTPUT if is_output else NODE, len(parts)]
            for part in parts:
                place = part.shift + SHIFT_STEP * (part.column + COLUMN_STEP * part.row)
                data += [part.signal, place, part.sign]
        return np.array(data, dtype=np.int32)

    def transposed(self) -> Rows:
        """Return the rows of the transposed matrix, with as many adders but for inputs and outputs.

        Every path from an input to an output is walked backwards.
        """
        n, m = self.inputs, self.outputs
        uses: dict[int, list[Part]] = {}
        for row, parts in self.rows.items():
            for part in parts:
                uses.setdefault(part.signal, []).append(part._replace(signal=row))
        number = {n + j: j for j in range(m)} | {i: m + i for i in range(n)}
        extra = 0
        rows: dict[int, list[Part]] = {}
        for signal in [*reversed(self.rows), *range(n)]:
            if n <= signal < n + m:
                if signal not in uses:
                    continue
                terms = [Part(signal - n, 0, 1)]      # an output that others read
            else:
                terms = []
            if signal >= n:
                here = n + m + extra
                extra += 1
            else:
                here = m + signal
            terms += [part._replace(signal=number[part.signal]) for part in uses.get(signal, ())]
            number[signal] = here
            rows[here] = terms
        return Rows(m, n, _plain(rows, m, n))


def unpacked(data: Int32Array, inputs: int, outputs: int) -> Rows:
    """Return the rows that the compiled search gives, operands first."""
    values = data.tolist()
    rows: dict[int, list[Part]] = {}
    at = 1
    for _ in range(values[0]):
        signal, _, size = values[at:at + 3]
        at += 3
        rows[signal] = [_part(*values[at + 3 * k:at + 3 * k + 3]) for k in range(size)]
        at += 3 * size
    return Rows(inputs, outputs, _plain(rows, inputs, outputs))


def _part(signal: int, place: int, sign: int) -> Part:
    shift = (place + SHIFT_STEP // 2) % SHIFT_STEP - SHIFT_STEP // 2
    row, column = divmod((place - shift) // SHIFT_STEP, COLUMN_STEP)
    return Part(signal, shift, sign, row, column)


def _plain(rows: dict[int, list[Part]], inputs: int, outputs: int) -> dict[int, tuple[Part, ...]]:
    """Order rows, number nodes from inputs + outputs, and have each node's least places at 0.

    A node of one term is replaced by it.
    """
    known: dict[int, Part] = {n: Part(n, 0, 1) for n in range(inputs)}
    result: dict[int, tuple[Part, ...]] = {}
    nodes = 0
    for signal in _ordered(rows, inputs):
        parts = [_composed(known[part.signal], part) for part in rows[signal]]
        if signal < inputs + outputs:
            known[signal] = Part(signal, 0, 1)
            result[signal] = tuple(parts)
        elif len(parts) == 1:
            known[signal] = parts[0]
        else:
            low = [min(part[field] for part in parts) for field in (1, 3, 4)]
            here = inputs + outputs + nodes
            nodes += 1
            known[signal] = Part(here, low[0], 1, low[1], low[2])
            result[here] = tuple(
                Part(p.signal, p.shift - low[0], p.sign, p.row - low[1], p.column - low[2])
                for p in parts)
    return result


def _composed(inner: Part, outer: Part) -> Part:
    return Part(inner.signal, inner.shift + outer.shift, inner.sign * outer.sign,
                inner.row + outer.row, inner.column + outer.column)


def _ordered(rows: dict[int, list[Part]], inputs: int) -> Iterator[int]:
    """Yield the rows, each after those it reads; the others in ascending order."""
    done: set[int] = set()
    for first in sorted(rows):
        stack = [first]
        while stack:
            signal = stack[-1]
            if signal in done:
                stack.pop()
                continue
            waiting = [part.signal for part in rows[signal]
                       if part.signal >= inputs and part.signal not in done]
            if waiting:
                stack.append(waiting[-1])
            else:
                done.add(signal)
                stack.pop()
                yield signal
