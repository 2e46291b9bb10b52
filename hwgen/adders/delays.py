"""Adder graphs that share over time: in a raster stream a value comes again some cycles later.

A convolution reads the same pixels at every window. With one pixel a step, what is computed for one
window is what a neighbouring one needs ``d`` steps later, so a sum is made once and delayed::

    column delays   inputs: the kh x cin row signals (row 0 the oldest); delays of pixels
    row delays      inputs: the cin pixel streams; delays of image rows too, in line memories

Tap (i, j) of a kernel has the delay (kh - 1 - i, kw - 1 - j): the newest pixel is the window's
lowest right corner. The graph is linear and the same at every step, so it knows no row ends: rows
that are padded have the zeros in the stream, one run of them between two rows serving both sides.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hwgen.adders import compiled
from hwgen.adders.explore import Budget, Task, digit_rows, explore
from hwgen.adders.graph import Add, AdderGraph, GraphError, Input, Output, node_bits
from hwgen.adders.greedy import Objective
from hwgen.adders.rows import Part, Rows
from hwgen.adders.search import Bound, Options, check_matrix, default_steps, input_ports
from hwgen.adders.signs import Polarities, Sum
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.ranges import width_of

MODES = ("column", "row")
MOST_KERNEL = 128             # rows and columns of a kernel

Delay = tuple[int, int]       # image rows, pixels


@dataclass(frozen=True)
class DelayedGraph:
    """An adder graph whose operands may be values of earlier steps.

    Parameters
    ----------
    plain : AdderGraph
        The same adders without delays; its ranges and its matrix mean nothing here.
    delays : tuple of (delay of a, delay of b), one for each node
    ends : tuple of Delay, one for each output

    Raises: GraphError unless there is a delay for every operand and output, none negative.
    """

    plain: AdderGraph
    delays: tuple[tuple[Delay, Delay], ...]
    ends: tuple[Delay, ...]

    def __post_init__(self) -> None:
        if len(self.delays) != len(self.plain.nodes) or len(self.ends) != len(self.plain.outputs):
            raise GraphError(f"Delays must be of {len(self.plain.nodes)} nodes and "
                             f"{len(self.plain.outputs)} outputs, not {len(self.delays)} and "
                             f"{len(self.ends)}")
        for pair in (*self.delays, self.ends):
            if any(part < 0 for delay in pair for part in delay):
                raise GraphError(f"Delays must be at least 0, not {pair}")

    @cached_property
    def forms(self) -> tuple[dict[tuple[int, int, int], int], ...]:
        """Coefficients of each signal by (input, image rows ago, pixels ago)."""
        forms: list[dict[tuple[int, int, int], int]] = [
            {(n, 0, 0): 1} for n in range(len(self.plain.inputs))]
        for node, (a, b) in zip(self.plain.nodes, self.delays, strict=True):
            total: dict[tuple[int, int, int], int] = {}
            for signal, shift, negative, (row, column) in (
                    (node.a, node.a_shift, node.a_negative, a),
                    (node.b, node.b_shift, node.b_negative, b)):
                for (n, r, c), value in forms[signal].items():
                    place = n, r + row, c + column
                    term = -(value << shift) if negative else value << shift
                    total[place] = total.get(place, 0) + term
            forms.append({place: value for place, value in total.items() if value})
        return tuple(forms)

    def expand(self, rows: int, columns: int) -> Any:
        """Return the taps, (inputs, outputs, rows, columns) integers, from the nodes alone.

        Raises: GraphError if an output reaches further back, or drops bits that are not 0.
        """
        shape = len(self.plain.inputs), len(self.plain.outputs), rows, columns
        taps = np.zeros(shape, dtype=object)
        for j, (output, (row, column)) in enumerate(
                zip(self.plain.outputs, self.ends, strict=True)):
            if output.signal is None:
                continue
            for (n, r, c), value in self.forms[output.signal].items():
                if r + row >= rows or c + column >= columns:
                    raise GraphError(f"Output {j}: input {n} must be less than {rows} rows and "
                                     f"{columns} pixels ago, not {r + row} and {c + column}")
                scaled = value << max(output.shift, 0)
                if output.shift < 0:
                    if value % (1 << -output.shift):
                        raise GraphError(f"Output {j}: signal must be a multiple of "
                                         f"{1 << -output.shift}")
                    scaled = value >> -output.shift
                taps[n, j, r + row, c + column] = -scaled if output.negative else scaled
        return taps

    def check(self, taps: Int64Array) -> None:
        """Raise GraphError, naming the first place, unless the graph is these taps."""
        found = self.expand(taps.shape[2], taps.shape[3])
        if found.shape != taps.shape:
            raise GraphError(f"Taps must be {taps.shape}, not {found.shape}")
        for wrong in np.argwhere(found != taps)[:1].tolist():
            place = tuple(wrong)
            raise GraphError(f"Tap {place} must be {taps[place]}, not {found[place]}")

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Exact (lo, hi) of every signal, the values of different steps being independent."""
        found = []
        for form in self.forms:
            lo = hi = 0
            for (n, _, _), value in form.items():
                port = self.plain.inputs[n]
                ends = value * port.lo, value * port.hi
                lo, hi = lo + min(ends), hi + max(ends)
            found.append((lo, hi))
        return tuple(found)

    @cached_property
    def output_ranges(self) -> tuple[tuple[int, int], ...]:
        """Exact (lo, hi) of every output."""
        found = []
        for output in self.plain.outputs:
            if output.signal is None:
                found.append((0, 0))
                continue
            lo, hi = (bound << output.shift if output.shift >= 0 else bound >> -output.shift
                      for bound in self.ranges[output.signal])
            found.append((-hi, -lo) if output.negative else (lo, hi))
        return tuple(found)

    @property
    def adders(self) -> int:
        """Two-input additions and subtractions; a negation alone counts as one."""
        return self.plain.adders

    @property
    def depth(self) -> int:
        """Adders on the longest path."""
        return self.plain.depth

    @cached_property
    def adder_bits(self) -> int:
        """Bits of all adders, counted as for ``AdderGraph``."""
        first = len(self.plain.inputs)
        nodes = zip(self.plain.nodes, self.ranges[first:], strict=True)
        return (sum(node_bits(node, self.ranges) for node in nodes)
                + sum(width_of(-self.ranges[s][1], -self.ranges[s][0])[0]
                      for s in self.plain.negations))

    def widths(self) -> list[int]:
        """Bits of every signal."""
        return [width_of(lo, hi)[0] for lo, hi in self.ranges]


def storage(widths: Sequence[int], reads: Sequence[tuple[int, Delay]]) -> tuple[int, int]:
    """Return (flip-flop bits, bits of line memory for each pixel of a row) of delayed words.

    A word that is read some image rows ago passes through that many lines; behind each line, and
    before the first one, registers reach back as many pixels as somebody reads there.

    Parameters: widths of the words; reads, (word, delay) of every operand.
    """
    lines: dict[int, int] = {}
    pixels: dict[tuple[int, int], int] = {}
    for word, (row, column) in reads:
        lines[word] = max(lines.get(word, 0), row)
        pixels[word, row] = max(pixels.get((word, row), 0), column)
    return (sum(widths[word] * count for (word, _), count in pixels.items()),
            sum(widths[word] * count for word, count in lines.items()))


def build_delayed(matrix: Int64Array, *, kernel: tuple[int, int], delays: str, input_lo: Bound,
                  input_hi: Bound, objective: Objective = Objective.ADDERS, seed: int = 0,
                  steps: int | None = None, seconds: float | None = None) -> DelayedGraph:
    """Return an adder graph of a convolution that shares over time.

    Parameters
    ----------
    matrix : (kh * kw * cin, outputs) integers, below 2**31 in magnitude
        Rows in the order (kh, kw, cin).
    kernel : (kh, kw)
    delays : str
        "column" or "row"; see the head of the module for the inputs of each.
    input_lo, input_hi : int or sequence of integers
        Range of each input of the graph.
    objective, seed, steps, seconds
        See ``hwgen.adders.search.Options``.

    Raises: TypeError unless the matrix holds integers; HwgenError for a shape, an entry or a range
    that cannot be.
    """
    options = Options(objective=objective, steps=steps, seconds=seconds, seed=seed)
    taps = taps_of(check_matrix(matrix), kernel, delays)
    ports = input_ports(taps.shape[0], input_lo, input_hi)
    graph = min(_candidates(taps, ports, options), key=lambda found: _cost(found, options))
    graph.check(taps)
    return graph


def taps_of(matrix: Int64Array, kernel: tuple[int, int], delays: str) -> Int64Array:
    """Return a kernel's matrix as (inputs, outputs, rows ago, pixels ago); errors as above."""
    kh, kw = kernel
    if delays not in MODES:
        raise HwgenError(f"Delays must be {' or '.join(MODES)}, not {delays}")
    if not (1 <= kh <= MOST_KERNEL and 1 <= kw <= MOST_KERNEL):
        raise HwgenError(f"Kernel must be 1 to {MOST_KERNEL} rows and columns, not {kh} and {kw}")
    if matrix.shape[0] % (kh * kw):
        raise HwgenError(f"Rows must be a multiple of {kh * kw} for a kernel of {kh},{kw}, "
                         f"not {matrix.shape[0]}")
    cin, outputs = matrix.shape[0] // (kh * kw), matrix.shape[1]
    shaped = matrix.reshape(kh, kw, cin, outputs)
    if delays == "row":
        return np.ascontiguousarray(shaped[::-1, ::-1].transpose(2, 3, 0, 1))
    by_row = shaped[:, ::-1].transpose(0, 2, 3, 1).reshape(kh * cin, outputs, 1, kw)
    return np.ascontiguousarray(by_row)


def _candidates(taps: Int64Array, ports: tuple[Input, ...],
                options: Options) -> Iterator[DelayedGraph]:
    digits = digit_rows(taps)
    live = [j for j in range(taps.shape[1]) if len(digits.rows[taps.shape[0] + j]) > 1]
    used = [n for n in range(taps.shape[0]) if taps[n][live].any()]
    found = [digits]
    if live and compiled.missing() is None:
        part = taps[np.ix_(used, live)]
        task = Task(part, [ports[n].lo for n in used], [ports[n].hi for n in used],
                    options.objective is Objective.BITS, None, options.seed)
        steps = options.steps
        if steps is None:
            steps = default_steps(sum(map(len, digits.rows.values())))
        names = [*used, *(taps.shape[0] + j for j in live)]
        found = [_completed(rows, names, digits)
                 for rows in explore(task, [], Budget(steps, options.seconds))[:4]]
    for rows in found:
        for early in (False, True):
            yield assemble_delayed(ports, rows, early=early)


def _completed(rows: Rows, names: list[int], digits: Rows) -> Rows:
    """Rows of some inputs and outputs as rows of all; outputs left out are taken from digits."""
    count, first = rows.inputs + rows.outputs, digits.inputs + digits.outputs

    def name(signal: int) -> int:
        return names[signal] if signal < count else first + signal - count

    named = {name(signal): tuple(part._replace(signal=name(part.signal)) for part in parts)
             for signal, parts in rows.rows.items()}
    return Rows(digits.inputs, digits.outputs,
                {signal: parts for signal, parts in digits.rows.items() if signal not in named}
                | named)


def assemble_delayed(ports: Sequence[Input], rows: Rows, *, early: bool) -> DelayedGraph:
    """Return the graph of rows with delays.

    Parameters: ports; rows, operands first; early, add first what is delayed most, so that sums are
    delayed instead of operands, else what is shallowest.
    """
    sums: list[Sum] = []
    delays: list[tuple[Delay, Delay]] = []
    made: dict[tuple[int, ...], int] = {}
    depth = [0] * len(ports)
    terms: dict[int, Part | None] = {n: Part(n, 0, 1) for n in range(len(ports))}

    def combine(a: Part, b: Part) -> Part | None:
        if (a.signal, a.shift, a.row, a.column) == (b.signal, b.shift, b.row, b.column):
            return a._replace(shift=a.shift + 1) if a.sign == b.sign else None
        a, b = sorted((a, b))
        shift, row, column = (min(x, y) for x, y in zip((a.shift, a.row, a.column),
                                                        (b.shift, b.row, b.column), strict=True))
        node = Sum(a.signal, b.signal, a.shift - shift, b.shift - shift, a.sign * b.sign)
        pair = (a.row - row, a.column - column), (b.row - row, b.column - column)
        key = (node.a, node.b, node.a_shift, node.b_shift, node.g, *pair[0], *pair[1])
        if key not in made:
            made[key] = len(ports) + len(sums)
            sums.append(node)
            delays.append(pair)
            depth.append(1 + max(depth[node.a], depth[node.b]))
        return Part(made[key], shift, a.sign, row, column)

    def rank(part: Part) -> tuple[int, ...]:
        deep = depth[part.signal]
        return (-part.row, -part.column, deep) if early else (deep, -part.row, -part.column)

    for signal, parts in rows.rows.items():
        heap = [(rank(moved), moved) for part in parts
                if (moved := _moved(terms[part.signal], part)) is not None]
        heapq.heapify(heap)
        while len(heap) > 1:
            total = combine(heapq.heappop(heap)[1], heapq.heappop(heap)[1])
            if total is not None:
                heapq.heappush(heap, (rank(total), total))
        terms[signal] = heap[0][1] if heap else None
    ends = [terms[len(ports) + j] for j in range(rows.outputs)]
    return _signed(ports, sums, delays, ends)


def _moved(term: Part | None, by: Part) -> Part | None:
    if term is None:
        return None
    return Part(term.signal, term.shift + by.shift, term.sign * by.sign, term.row + by.row,
                term.column + by.column)


def _signed(ports: Sequence[Input], sums: list[Sum], delays: list[tuple[Delay, Delay]],
            ends: list[Part | None]) -> DelayedGraph:
    polarities = Polarities(len(ports), sums, [(e.signal, e.sign) for e in ends if e is not None])
    polarities.improve()
    polarities.narrow()
    outputs = [Output(None) if e is None
               else Output(e.signal, e.shift, e.sign != polarities.polarity[e.signal])
               for e in ends]
    nodes: list[Add] = [polarities.add(k) for k in range(len(sums))]
    plain = AdderGraph(tuple(ports), tuple(nodes), tuple(outputs))
    return DelayedGraph(plain, tuple(delays),
                        tuple((0, 0) if e is None else (e.row, e.column) for e in ends))


def _cost(graph: DelayedGraph, options: Options) -> tuple[float, ...]:
    reads = [(signal, delay) for node, pair in zip(graph.plain.nodes, graph.delays, strict=True)
             for signal, delay in zip((node.a, node.b), pair, strict=True)]
    reads += [(output.signal, end) for output, end
              in zip(graph.plain.outputs, graph.ends, strict=True) if output.signal is not None]
    flops, lines = storage(graph.widths(), reads)
    # Behind an adder bit a flip-flop is free on most devices; memory is not.
    stored = graph.adder_bits + flops / 4 + lines
    first = graph.adders if options.objective is Objective.ADDERS else stored
    return first, stored, graph.depth
