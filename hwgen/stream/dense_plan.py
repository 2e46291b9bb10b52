"""How a dense layer can be built, and what each way takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwgen.adders.csd import digit_count
from hwgen.layers import Dense, Int64Array
from hwgen.stream.beat import BeatFormat
from hwgen.stream.dense_code import DenseCode
from hwgen.stream.layer_plan import stream_order
from hwgen.stream.pick_code import PickCode

GRAPH_DIGITS = 3000  # a dense layer with more signed digits than this is not laid out as a graph
BLOCK = 18 * 1024    # bits of a block RAM; a word of it has at most 36
LANES = 8            # of the form pick, at most: from there on it has no use for fewer terms


@dataclass(frozen=True)
class Choice:
    """One way to build a layer.

    Parameters
    ----------
    form : str
        graph, rom or pick.
    code : DenseCode, PickCode or None
    lut, bram : int
        LUT positions and block RAMs, roughly.
    interval : int
        Cycles an image takes.
    why : str
        The reason, for people, once it is chosen.
    """

    form: str
    code: DenseCode | PickCode | None
    lut: int
    bram: int
    interval: int
    why: str


def choices(layer: Dense, source: BeatFormat, budget: int) -> list[Choice]:
    """Return the ways to build a dense layer: the smallest of each kind that keeps up, or the
    fastest of a kind of which none does.

    Parameters: source, format of the words; budget, cycles an image.
    """
    digits = int(digit_count(layer.weight).sum())
    found = [_best(_roms(layer, source, budget), budget)]
    picks = list(_picks(layer, source, budget))
    if picks:
        late = [one for one in picks if one.interval <= budget] or [_best(picks, budget)]
        found += late
    if digits <= GRAPH_DIGITS:
        lut = round(0.7 * digits * 14 + source.beats * source.bits * 0.5)
        why = f"{digits} digits: an adder graph, used once an image"
        found.append(Choice("graph", None, lut, 0, source.beats, why))
    return found


def _best(found: Iterator[Choice] | list[Choice], budget: int) -> Choice:
    return min(found, key=lambda one: (
        one.interval > budget, one.interval if one.interval > budget else 0, one.lut, one.bram))


def ordered_weight(layer: Dense, source: BeatFormat) -> Int64Array:
    """Return a dense layer's weights in the order of the stream, (outputs, beats, lanes)."""
    order = stream_order(source)
    return np.where(order >= 0, layer.weight[:, order], 0)


def _roms(layer: Dense, source: BeatFormat, budget: int) -> Iterator[Choice]:
    """Units that shift, for 1, 2, 4, ... terms."""
    weight = ordered_weight(layer, source)
    outputs, terms = layer.weight.shape[0], 1
    while True:
        steps = DenseCode(weight, outputs, terms).steps
        slots = min(max(budget // steps, 1), outputs)
        code = DenseCode(weight, -(-outputs // slots), terms)
        lut = code.lanes * (24 + 40 * code.terms) + 60 + 8 * 8 * code.terms
        bram = blocks(code.interval, code.lanes * code.terms * code.code_bits)
        why = (
            f"{code.lanes} lanes of {code.terms} do {layer.weight.size} weights in "
            f"{code.interval} of {budget} cycles"
        )
        yield Choice("rom", code, lut, bram, max(code.interval, source.beats), why)
        if terms >= weight.shape[2]:
            return
        terms = min(2 * terms, weight.shape[2])


def _picks(layer: Dense, source: BeatFormat, budget: int) -> Iterator[Choice]:
    """Units that pick, of 1, 2, ... lanes, each of the fewest terms that keep up."""
    weight = ordered_weight(layer, source)
    base = PickCode(weight, layer.bias, 1, 1)
    if not base.counts.any():
        return
    outputs = layer.weight.shape[0]
    width = 1 + max(abs(min(*source.lo, 0)), max(*source.hi, 0)).bit_length()
    for lanes in range(1, min(LANES, outputs) + 1):
        low, high = 1, int(base.counts.sum(axis=1).max())
        while low < high:                                    # more terms are never slower
            middle = (low + high) // 2
            if PickCode(weight, layer.bias, lanes, middle).steps <= budget:
                high = middle
            else:
                low = middle + 1
        code = PickCode(weight, layer.bias, lanes, low)
        digits = int(base.counts.sum())
        yield Choice(
            "pick", code, pick_lut(code, width), pick_bram(code, width), code.interval,
            f"{lanes} lanes of {low} pick the {digits} digits that are not 0 in {code.steps} of "
            f"{budget} cycles",
        )


def pick_lut(code: PickCode, width: int) -> int:
    """Return about the LUT positions of a unit whose signed activations have ``width`` bits."""
    tree, count, bits = 0, code.terms, width
    while count > 1:
        bits += 1
        tree += (count // 2) * even(bits)
        count = -(-count // 2)
    total = width + 9
    lane = tree + even(total) + total + (even(total) if code.bias_bits else 0)
    choice = code.weight.shape[2] * width // 2
    return code.lanes * lane + choice + 60


def pick_bram(code: PickCode, width: int) -> int:
    """Return the block RAMs of such a unit: the copies and the memory of steps."""
    return (code.lanes * code.terms * blocks(4 << code.address_bits, width)
            + blocks(code.steps, code.word_bits))


def blocks(depth: int, bits: int) -> int:
    """Return the block RAMs of 18 kbit that a memory takes: words of 36, 18, 9, ... bits."""
    width = 36
    while width > 1 and width * depth > BLOCK:
        width = {36: 18, 18: 9, 9: 4, 4: 2, 2: 1}[width]
    return -(-bits // width) * -(-depth * width // BLOCK)


def even(bits: int) -> int:
    """Return the LUT positions of an adder of so many bits: carry cells hold two."""
    return bits + bits % 2
