"""A shift-and-add graph: inputs, two-input adders in order, and outputs that are shifted signals.

Signals are numbered: the inputs first, then the nodes. A node reads earlier signals only::

    signal 0 .. n-1       the inputs, each with its range of values
    signal n + k          node k = (+-) (a << a_shift) (+-) (b << b_shift)
    output j              (+-) (signal << shift), or 0; shift may be negative where that is exact

So the graph is a linear map, y = x @ W, and ``expand`` gives W back. Widths come from exact value
ranges: a signal is a linear form of the inputs, and the range of a linear form over a box is known
exactly, whatever the way it was summed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hwgen.layers import Int64Array
from hwgen.ranges import width_of

BLOCK = 1 << 24               # coefficients held at once while a graph is expanded
MAX_SHIFT = 62


class GraphError(ValueError):
    """A graph that breaks a rule, or that is not the matrix it should be."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input word. Parameters: lo and hi, its smallest and largest value, both included."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Add:
    """One two-input adder or subtractor: ``(-)(a << a_shift) + (-)(b << b_shift)``.

    Parameters
    ----------
    a, b : int
        Earlier signals; the same one twice is allowed.
    a_shift, b_shift : int
        Left shifts in bits; the smaller one is 0.
    a_negative, b_negative : bool
        Which operand is subtracted; not both.
    """

    a: int
    b: int
    a_shift: int = 0
    b_shift: int = 0
    a_negative: bool = False
    b_negative: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One output: ``(-)(signal << shift)``, or constant 0 if ``signal`` is None.

    A negative shift drops low bits, which are 0 whatever the inputs.
    """

    signal: int | None
    shift: int = 0
    negative: bool = False


@dataclass(frozen=True)
class AdderGraph:
    """A linear map built from two-input adders.

    Parameters
    ----------
    inputs, nodes, outputs : tuples of Input, Add, Output
        See the module's head for the numbering of signals.

    Raises: GraphError, naming the place, if a rule is broken.
    """

    inputs: tuple[Input, ...]
    nodes: tuple[Add, ...]
    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        self.check()

    def check(self, matrix: Int64Array | None = None) -> None:
        """Check every rule of the graph, and that it is ``matrix`` if one is given.

        Parameters: matrix, (inputs, outputs) integers.
        Raises: GraphError, naming the input, node or output and what is wrong.
        """
        for n, port in enumerate(self.inputs):
            if port.lo > port.hi:
                raise GraphError(f"Input {n}: lo must be at most hi, not {port.lo}..{port.hi}")
        for k, node in enumerate(self.nodes):
            _check_node(node, len(self.inputs) + k, k)
        for j, output in enumerate(self.outputs):
            if output.signal is None:
                if output.shift or output.negative:
                    raise GraphError(f"Output {j}: a zero has no shift or sign")
            elif not 0 <= output.signal < self.signals:
                raise GraphError(f"Output {j}: signal must be from 0 to {self.signals - 1}, "
                                 f"not {output.signal}")
            elif not -MAX_SHIFT <= output.shift <= MAX_SHIFT:
                raise GraphError(f"Output {j}: shift must be from {-MAX_SHIFT} to {MAX_SHIFT}, "
                                 f"not {output.shift}")
        if matrix is not None:
            _check_equal(expand(self), np.asarray(matrix))

    @property
    def signals(self) -> int:
        """Number of signals: inputs and nodes."""
        return len(self.inputs) + len(self.nodes)

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Exact (lo, hi) of every signal, inputs first; both ends are reached by some inputs."""
        return _exact_ranges(self)

    @cached_property
    def output_ranges(self) -> tuple[tuple[int, int], ...]:
        """Exact (lo, hi) of every output."""
        found = []
        for output in self.outputs:
            if output.signal is None:
                found.append((0, 0))
                continue
            lo, hi = (bound << output.shift if output.shift >= 0 else bound >> -output.shift
                      for bound in self.ranges[output.signal])
            found.append((-hi, -lo) if output.negative else (lo, hi))
        return tuple(found)

    @cached_property
    def negations(self) -> tuple[int, ...]:
        """Signals that some output needs negated, ascending; each costs one adder."""
        return tuple(sorted({output.signal for output in self.outputs
                             if output.negative and output.signal is not None}))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Adders on the longest path to each signal; 0 for an input."""
        depths = [0] * len(self.inputs)
        for node in self.nodes:
            depths.append(1 + max(depths[node.a], depths[node.b]))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """Adders on the longest path to any output, a negation counted as one."""
        return max((self.depths[output.signal] + output.negative for output in self.outputs
                    if output.signal is not None), default=0)

    @property
    def adders(self) -> int:
        """Two-input additions and subtractions; a negation alone counts as one."""
        return len(self.nodes) + len(self.negations)

    @cached_property
    def adder_bits(self) -> int:
        """Bits of all adders: each result's width less the low bits that pass through unchanged."""
        return (sum(node_bits(node, self.ranges) for node in self._ranged_nodes())
                + sum(width_of(-self.ranges[s][1], -self.ranges[s][0])[0] for s in self.negations))

    def _ranged_nodes(self) -> Iterator[tuple[Add, tuple[int, int]]]:
        return zip(self.nodes, self.ranges[len(self.inputs):], strict=True)


def node_bits(ranged: tuple[Add, tuple[int, int]], ranges: tuple[tuple[int, int], ...]) -> int:
    """Return the bits that one adder has to compute.

    Below the shifted operand's lowest bit the other operand passes through, unless it is the one
    subtracted. An operand without sign that ends there makes the sum a concatenation: no bits at
    all.

    Parameters: ranged, the node and its range; ranges, (lo, hi) of the signals it reads.
    """
    node, (lo, hi) = ranged
    width = width_of(lo, hi)[0]
    shift = max(node.a_shift, node.b_shift)
    low, low_negative = (node.b, node.b_negative) if node.a_shift else (node.a, node.a_negative)
    if not shift or low_negative:
        return width
    low_width, low_signed = width_of(*ranges[low])
    high_negative = node.a_negative or node.b_negative
    if not low_signed and low_width <= shift and not high_negative:
        return 0
    return max(width - shift, 0)


def expand(graph: AdderGraph) -> Any:
    """Multiply the graph out, from its nodes alone.

    Returns: (inputs, outputs) matrix W with y = x @ W: int64, or Python integers (dtype object)
    where a coefficient could pass 2**62.
    """
    exact = _dtype(graph)
    result = np.zeros((len(graph.inputs), len(graph.outputs)), dtype=exact)
    for start, stop, forms in _coefficients(graph, exact):
        for j, output in enumerate(graph.outputs):
            if output.signal is not None:
                column = _shifted(forms[output.signal], max(output.shift, 0), exact)
                if output.shift < 0:
                    if (column % (1 << -output.shift)).any():
                        raise GraphError(f"Output {j}: signal must be a multiple of "
                                         f"{1 << -output.shift}")
                    column = column >> -output.shift
                result[start:stop, j] = -column if output.negative else column
    return result


def _shifted(form: Any, shift: int, dtype: Any) -> Any:
    return form * (1 << shift) if dtype is object else form << shift


def _bounds(graph: AdderGraph) -> list[int]:
    """Sum of the magnitudes of each signal's coefficients, or more."""
    bounds = [1] * len(graph.inputs)
    for node in graph.nodes:
        bounds.append((bounds[node.a] << node.a_shift) + (bounds[node.b] << node.b_shift))
    return bounds


def _dtype(graph: AdderGraph) -> Any:
    """int64 where no coefficient and no value can pass 2**62, else object."""
    bounds = _bounds(graph)
    largest = max(bounds, default=0)
    for output in graph.outputs:
        if output.signal is not None:
            largest = max(largest, bounds[output.signal] << max(output.shift, 0))
    reach = max((max(abs(port.lo), abs(port.hi)) for port in graph.inputs), default=0)
    return np.int64 if largest * max(reach, 1) < 1 << 62 else object


def _coefficients(graph: AdderGraph, dtype: Any) -> Iterator[tuple[int, int, Any]]:
    """Yield (first input, last + 1, (signals, those inputs) coefficients), a block at a time."""
    size = max(1, BLOCK // max(graph.signals, 1))
    for start in range(0, len(graph.inputs), size):
        stop = min(start + size, len(graph.inputs))
        forms = np.zeros((graph.signals, stop - start), dtype=dtype)
        forms[np.arange(start, stop), np.arange(stop - start)] = 1
        for signal, node in enumerate(graph.nodes, start=len(graph.inputs)):
            a = _shifted(forms[node.a], node.a_shift, dtype)
            b = _shifted(forms[node.b], node.b_shift, dtype)
            forms[signal] = b - a if node.a_negative else a - b if node.b_negative else a + b
        yield start, stop, forms


def _exact_ranges(graph: AdderGraph) -> tuple[tuple[int, int], ...]:
    dtype = _dtype(graph)
    lows = np.array([port.lo for port in graph.inputs], dtype=dtype)
    highs = np.array([port.hi for port in graph.inputs], dtype=dtype)
    lo = np.zeros(graph.signals, dtype=dtype)
    hi = np.zeros(graph.signals, dtype=dtype)
    for start, stop, forms in _coefficients(graph, dtype):
        up, down = np.maximum(forms, 0), np.minimum(forms, 0)
        lo += up @ lows[start:stop] + down @ highs[start:stop]
        hi += up @ highs[start:stop] + down @ lows[start:stop]
    return tuple(zip(lo.tolist(), hi.tolist(), strict=True))


def _check_node(node: Add, signal: int, k: int) -> None:
    if not (0 <= node.a < signal and 0 <= node.b < signal):
        raise GraphError(f"Node {k}: operands must be from 0 to {signal - 1}, "
                         f"not {node.a} and {node.b}")
    shifts = sorted((node.a_shift, node.b_shift))
    if shifts[0] != 0 or shifts[1] > MAX_SHIFT:
        raise GraphError(f"Node {k}: one shift must be 0, the other from 0 to {MAX_SHIFT}, "
                         f"not {node.a_shift} and {node.b_shift}")
    if node.a_negative and node.b_negative:
        raise GraphError(f"Node {k}: at most one operand may be negative")


def _check_equal(found: Any, matrix: Any) -> None:
    if found.shape != matrix.shape:
        raise GraphError(f"Graph must be {matrix.shape}, not {found.shape}")
    wrong = np.argwhere(found != matrix)
    if len(wrong):
        i, j = (int(place) for place in wrong[0])
        raise GraphError(f"Coefficient of input {i} in output {j} must be {matrix[i, j]}, "
                         f"not {found[i, j]} ({len(wrong)} differ)")
