"""How a layer with windows can be built: its sums as an adder graph, whole or a digit at a time, or
in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwgen.adders.csd import digit_count
from hwgen.layers import Add, AvgPool, Concat, Conv2d, Layer, MaxPool
from hwgen.network import Network
from hwgen.ranges import Range
from hwgen.stream import dense_plan
from hwgen.stream.beat import BeatFormat
from hwgen.stream.chip import even
from hwgen.stream.conv_pick import Ring
from hwgen.stream.fifo_depth import axes
from hwgen.stream.layer_plan import LayerPlan, Options
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.pick_code import PickCode
from hwgen.stream.pool import separate
from hwgen.stream.serial_window import Walk

MOST_DIGIT = 3  # bits a cycle; with more a digit-serial graph saves little once it is placed


@dataclass(frozen=True)
class Candidate:
    """One way to build a layer: its plan, LUT positions, block RAMs, cycles an image."""

    plan: LayerPlan
    lut: int
    bram: int
    interval: int


class WindowPlanner:
    """Plans layers with windows.

    Parameters: network; ranges; options; budget, cycles an image.
    """

    def __init__(
        self, network: Network, ranges: Mapping[str, Range], options: Options, budget: int
    ) -> None:
        self.network, self.ranges = network, ranges
        self.options, self.budget = options, budget

    def plan(self, layer: Conv2d | AvgPool | MaxPool, source: BeatFormat) -> LayerPlan:
        """Return the plan of a layer, one window at a time."""
        tensor, values = self.network.tensors[layer.name], self.ranges[layer.name]
        format, unfold = BeatFormat.of(tensor, values), source.folds > 1
        sources = (source,)
        if isinstance(layer, MaxPool):
            if separate(layer):
                format = BeatFormat.of(tensor, values, lanes=source.lanes)
                return LayerPlan(layer, "max", sources, format, "one comparator a lane")
            why = "a comparator tree over the window"
            return LayerPlan(layer, "max", sources, format, why, unfold=unfold)
        budget = self.budget
        digit = None if unfold or not self._may_wait(layer) else self._digit(layer, source)
        if digit and (self.options.digit or self._saves(layer, source, digit)):
            walk = serial_walk(self.network, self.ranges, layer, digit)
            why = (
                f"an adder graph of {digit} bits a cycle: {walk.interval} of {budget} cycles, "
                f"{walk.digits} a window"
            )
            return LayerPlan(layer, "serial", sources, format, why, fifos=(0,), digit=digit)
        why = "one window a cycle through one adder graph"
        return LayerPlan(layer, "graph", sources, format, why, unfold=unfold)

    def _may_wait(self, layer: Layer) -> bool:
        """Tell whether a layer may take its pixels when it wants: its source is its own, and no
        branch behind it waits for another one.
        """
        behind, found = [layer.name], {layer.name}
        while behind:
            for reader in self.network.readers[behind.pop()]:
                if isinstance(self.network.by_name[reader], (Add, Concat)):
                    return False
                if reader not in found:
                    found.add(reader)
                    behind.append(reader)
        return len(self.network.readers[layer.inputs[0]]) == 1

    def _saves(self, layer: Conv2d | AvgPool, source: BeatFormat, digit: int) -> bool:
        """Tell whether a layer is smaller a digit at a time, roughly: half its signed digits become
        adders, and the pixels must be cut into digits.
        """
        if isinstance(layer, Conv2d):
            return self._lut(layer, source, digit) < self._lut(layer, source, 0)
        walk = serial_walk(self.network, self.ranges, layer, digit)
        sums = self.ranges[layer.name]
        adders = (layer.kernel[0] * layer.kernel[1] - 1) * len(sums.lo)
        last = max(bits for bits, _ in sums.shapes())
        first = max(shape.width for shape in source.shapes)
        cut = (walk.steps - 1) * digit * walk.rows.kernel * source.lanes
        return adders * 2 * digit + cut + 80 < adders * (first + last) / 2

    def _digit(self, layer: Conv2d | AvgPool, source: BeatFormat) -> int | None:
        """Return the fewest bits a cycle that keep up, or None if only all at once do."""
        if self.options.digit is not None:
            return self.options.digit
        budget = self.budget
        for digit in range(1, MOST_DIGIT + 1):
            if serial_walk(self.network, self.ranges, layer, digit).interval <= budget:
                return digit
        return None

    def candidates(self, layer: Conv2d, source: BeatFormat) -> list[Candidate]:
        """Return the ways to build a convolution."""
        plan = self.plan(layer, source)
        rows, columns = axes(layer, source.height, source.width)
        interval = rows.places * columns.places
        if plan.form == "serial":
            interval = serial_walk(self.network, self.ranges, layer, plan.digit).interval
        found = [Candidate(plan, self._lut(layer, source, plan.digit), 0, interval)]
        if self.options.digit is not None or not self._may_wait(layer):
            return found
        return found + self._picks(layer, source)

    def _picks(self, layer: Conv2d, source: BeatFormat) -> list[Candidate]:
        """Return the ways to build a convolution whose lanes pick their activations."""
        rows, columns = (axis.padded for axis in axes(layer, source.height, source.width))
        ring = Ring(rows, columns, source.folds * source.lanes)
        beats = rows.size * columns.size * source.folds
        channels = self.network.tensors[layer.source].channels
        weight = conv_matrix(layer, channels).T
        counts = dense_plan.power_counts(weight)
        windows, found = rows.count * columns.count, []
        width = 1 + max(abs(min(*source.lo, 0)), max(*source.hi, 0)).bit_length()
        chip = self.options.chip
        for lanes, inverts in ((1, False), (1, True), (2, False), (2, True)):
            if not counts.any() or lanes > len(weight):
                continue
            terms = dense_plan.fewest_terms(counts, lanes, self.budget // windows)
            code = PickCode(
                weight.reshape(len(weight), -1, channels), layer.bias, lanes, terms,
                ring.numbers(channels), ring.bits, 1, inverts,
            )
            size = dense_plan.copy_blocks(ring.bits, width, inverts, chip)
            if inverts and size == dense_plan.copy_blocks(ring.bits, width, False, chip):
                continue                                     # nothing is gained
            lut = dense_plan.pick_lut(lanes, terms, width, source.lanes, code.bias_bits > 0)
            lut += lanes * terms * (even(ring.column_bits + ring.row_bits) + width * inverts) + 40
            bram = lanes * terms * size + chip.blocks(code.steps, code.word_bits)
            interval = max(windows * code.steps, code.writes * beats * source.lanes)
            format = BeatFormat.of(
                self.network.tensors[layer.name], self.ranges[layer.name], lanes=lanes
            )
            why = (f"{lanes} lanes of {terms} pick the {int(counts.sum())} digits of a window that "
                   f"are not 0: {interval} of {self.budget} cycles, {code.steps} a window")
            plan = LayerPlan(layer, "pick", (source,), format, why, code=code, fifos=(0,))
            found.append(Candidate(plan, lut, bram, interval))
        return found

    def _lut(self, layer: Conv2d, source: BeatFormat, digit: int) -> int:
        """Return about the LUT positions of a convolution as an adder graph."""
        sums = self.ranges[layer.name]
        adders = max(int(digit_count(layer.weight).sum()) - len(sums.lo), 0) * 0.55
        if digit:
            steps = -(-max(shape.width for shape in source.shapes) // digit)
            cut = (steps - 1) * digit * layer.weight.shape[2] * source.lanes
            return round(adders * 2 * digit + cut + 80)
        last = max(bits for bits, _ in sums.shapes())
        first = max(shape.width for shape in source.shapes)
        return round(adders * (first + last) / 2 + 40)


def serial_walk(
    network: Network, ranges: Mapping[str, Range], layer: Conv2d | AvgPool, digit: int
) -> Walk:
    """Return the walk of a layer's window if its words come ``digit`` bits a cycle."""
    source = network.tensors[layer.source]
    rows, columns = axes(layer, source.height, source.width)
    sums = ranges[layer.name]
    bias = layer.bias if isinstance(layer, Conv2d) else np.zeros(1, np.int64)
    widths = [bits for bits, _ in Range(sums.lo - bias, sums.hi - bias).shapes()]
    steps = -(-max(bits for bits, _ in ranges[layer.source].shapes()) // digit)
    return Walk(
        rows=rows, columns=columns, steps=steps, digits=max(steps, -(-max(widths) // digit))
    )


def structural_interval(network: Network) -> int:
    """Return the cycles an image takes in the layers whose pace the image's size sets."""
    interval = network.input.height * network.input.width
    for layer in network.layers:
        if isinstance(layer, (Conv2d, MaxPool, AvgPool)):
            source = network.tensors[layer.source]
            rows, columns = axes(layer, source.height, source.width)
            interval = max(interval, rows.places * columns.places)
    return interval
