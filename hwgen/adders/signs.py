"""Signs pushed through a graph so that few outputs have to be negated.

A pattern node stands for ``a + g * b``. In hardware it may hold that or its negative: ``a - b`` and
``b - a`` cost the same, only ``-a - b`` is not an adder. Choosing the polarity of the nodes turns
most negated outputs into swapped operands.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from hwgen.adders.graph import Add

TRIES = 24                    # ways of turning one output that are tried
REACH = 200                   # nodes looked at for them
PASSES = 4                    # over all nodes, at most, while bits are saved


@dataclass(frozen=True, slots=True)
class Sum:
    """``(a << a_shift) + g * (b << b_shift)`` with g = +1 or -1, before polarities are chosen."""

    a: int
    b: int
    a_shift: int
    b_shift: int
    g: int


class Polarities:
    """The polarity of every signal: +1 if it holds its sum, -1 if the negative of it.

    Parameters
    ----------
    inputs : int
        Signals below this number are inputs, always +1.
    sums : list of Sum
    wanted : list of (signal, sign)
        One for each output; it costs a negation unless polarity and sign agree.
    """

    def __init__(self, inputs: int, sums: list[Sum], wanted: list[tuple[int, int]]) -> None:
        self.inputs = inputs
        self.sums = sums
        self.polarity = [1] * (inputs + len(sums))
        self._users: list[list[int]] = [[] for _ in self.polarity]
        for k, node in enumerate(sums):
            for operand in {node.a, node.b}:
                self._users[operand].append(inputs + k)
        self._wanted: dict[int, set[int]] = {}
        for signal, sign in wanted:
            self._wanted.setdefault(signal, set()).add(sign)

    def improve(self) -> None:
        """Turn what can be turned as long as the number of negations falls."""
        for signal in sorted(self._wanted):
            if signal < self.inputs or not self._negated(signal) or len(self._wanted[signal]) > 1:
                continue
            for path in self._paths(signal):
                undo: dict[int, int] = {}
                for node in path:
                    self._turn(node, undo)
                if self._gain(undo) > 0:
                    break
                for node, old in undo.items():
                    self.polarity[node] = old

    def narrow(self) -> None:
        """Turn free nodes as long as that saves bits and costs no negation.

        Where the unshifted operand is subtracted the adder has to compute its low bits too.
        """
        for _ in range(PASSES):
            saved = False
            for signal in range(self.inputs, len(self.polarity)):
                if not self._free(signal):
                    continue
                undo: dict[int, int] = {}
                self._turn(signal, undo)
                touched = sorted({*undo, *(user for node in undo for user in self._users[node])})
                gain = self._gain(undo)
                after = sum(map(self._low_bits, touched))
                turned = {node: self.polarity[node] for node in undo}
                self.polarity_of(undo)
                if gain >= 0 and after < sum(map(self._low_bits, touched)):
                    self.polarity_of(turned)
                    saved = True
            if not saved:
                break

    def polarity_of(self, chosen: dict[int, int]) -> None:
        """Set the polarity of some signals."""
        for node, polarity in chosen.items():
            self.polarity[node] = polarity

    def _low_bits(self, signal: int) -> int:
        """The low bits that a node computes because its unshifted operand is subtracted."""
        node = self.sums[signal - self.inputs]
        low, sign = (node.b, node.g) if node.a_shift else (node.a, 1)
        turned = self.polarity[low] * sign * self.polarity[signal] < 0
        return max(node.a_shift, node.b_shift) if turned else 0

    def add(self, k: int) -> Add:
        """Return sum k as an adder of the polarities chosen."""
        node = self.sums[k]
        own = self.polarity[self.inputs + k]
        a_negative = self.polarity[node.a] * own < 0
        b_negative = self.polarity[node.b] * node.g * own < 0
        return Add(node.a, node.b, node.a_shift, node.b_shift, a_negative, b_negative)

    def _negated(self, signal: int) -> bool:
        return -self.polarity[signal] in self._wanted.get(signal, ())

    def _free(self, signal: int) -> bool:
        node = self.sums[signal - self.inputs]
        return self.polarity[node.a] != node.g * self.polarity[node.b]

    def _paths(self, signal: int) -> list[list[int]]:
        """Return chains (free node, its user, ..., signal) that would turn the signal."""
        came, order, paths = {signal: -1}, [signal], []
        for node in order:
            if self._free(node):
                chain = [node]
                while came[chain[-1]] != -1:
                    chain.append(came[chain[-1]])
                paths.append(chain)
            else:
                made_from = self.sums[node - self.inputs]
                for operand in (made_from.a, made_from.b):
                    if operand >= self.inputs and operand not in came and len(order) < REACH:
                        came[operand] = node
                        order.append(operand)
            if len(paths) == TRIES:
                break
        return paths

    def _turn(self, signal: int, undo: dict[int, int]) -> None:
        """Turn a node that is free, and let its users settle."""
        if not self._free(signal):
            return
        undo.setdefault(signal, self.polarity[signal])
        self.polarity[signal] *= -1
        waiting = list(self._users[signal])
        heapq.heapify(waiting)
        seen = set(waiting)
        while waiting:
            node = heapq.heappop(waiting)
            made_from = self.sums[node - self.inputs]
            forced = self.polarity[made_from.a]
            if self._free(node) or forced == self.polarity[node]:
                continue                    # a free node keeps what it has
            undo.setdefault(node, self.polarity[node])
            self.polarity[node] = forced
            for user in self._users[node]:
                if user not in seen:
                    seen.add(user)
                    heapq.heappush(waiting, user)

    def _gain(self, undo: dict[int, int]) -> int:
        after = sum(self._negated(node) for node in undo)
        before = sum(-old in self._wanted.get(node, ()) for node, old in undo.items())
        return before - after
