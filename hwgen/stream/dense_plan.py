"""How a dense layer can be built, and what each way takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwgen.adders.csd import csd_digits, digit_count
from hwgen.layers import Dense, Int64Array
from hwgen.stream.beat import BeatFormat
from hwgen.stream.chip import ECP5, Chip, even
from hwgen.stream.dense_code import DenseCode
from hwgen.stream.layer_plan import stream_order
from hwgen.stream.pick_code import LEAST, PickCode, slot_lengths

GRAPH_DIGITS = 3000  # a dense layer with more signed digits than this is not laid out as a graph
HAND_OVER = 3  # cycles in which a bank of a picking unit is neither written nor read
LANES = 8  # of the form pick, at most: from there on it has no use for fewer terms


@dataclass(frozen=True)
class Choice:
    """One way to build a layer.

    Parameters
    ----------
    form : str
        graph, rom or pick.
    lanes, terms : int
        Of rom and pick.
    lut, bram : int
        LUT positions and block RAMs, roughly.
    interval : int
        Cycles an image takes.
    why : str
        The reason, for people, once it is chosen.
    """

    form: str
    lanes: int
    terms: int
    lut: int
    bram: int
    interval: int
    why: str
    inverts: bool = False

    def code(self, layer: Dense, source: BeatFormat) -> DenseCode | PickCode | None:
        """Return the schedule of this way for a layer whose words have this format."""
        weight = ordered_weight(layer, source)
        if self.form == "rom":
            return DenseCode(weight, self.lanes, self.terms)
        if self.form == "pick":
            code = PickCode(weight, layer.bias, self.lanes, self.terms, inverts=self.inverts)
            return replace(code, least=least_steps(code.steps, code.writes * code.inputs))
        return None


def choices(layer: Dense, source: BeatFormat, budget: int, chip: Chip = ECP5) -> list[Choice]:
    """Return the ways to build a dense layer, each as small as keeping up allows.

    Parameters: source, format of the words; budget, cycles an image; chip.
    """
    counts = power_counts(layer.weight)
    found = [*_roms(layer, source, budget, counts, chip), *_picks(layer, source, budget, counts,
                                                                  chip)]
    digits = int(counts.sum())
    if digits <= GRAPH_DIGITS:
        lut = round(0.7 * digits * 14 + source.beats * source.bits * 0.5)
        why = f"{digits} digits: an adder graph, used once an image"
        found.append(Choice("graph", 1, 1, lut, 0, source.beats, why))
    return found


def power_counts(weight: Int64Array) -> Int64Array:
    """Return the signed digits of each output and power of two, (outputs, powers), from the
    smallest power used up.
    """
    index, shift, _ = csd_digits(weight)
    if not shift.size:
        return np.zeros((weight.shape[0], 1), np.int64)
    base = int(shift.min())
    counts = np.zeros((weight.shape[0], int(shift.max()) - base + 1), np.int64)
    np.add.at(counts, (index // weight.shape[1], shift - base), 1)
    return counts


def ordered_weight(layer: Dense, source: BeatFormat) -> Int64Array:
    """Return a dense layer's weights in the order of the stream, (outputs, beats, lanes)."""
    order = stream_order(source)
    return np.where(order >= 0, layer.weight[:, order], 0)


def _roms(layer: Dense, source: BeatFormat, budget: int, counts: Int64Array,
          chip: Chip) -> list[Choice]:
    """Units that shift, for 1, 2, 4, ... terms."""
    outputs, terms, found = layer.weight.shape[0], 1, []
    passes = max(int(digit_count(layer.weight).max(initial=0)), 1)
    bits = counts.shape[1].bit_length() + 1
    while True:
        steps = source.beats * -(-source.lanes // terms) * passes
        slots = min(max(budget // steps, 1), outputs)
        lanes = -(-outputs // slots)
        cycles = -(-outputs // lanes) * steps
        lut = lanes * (24 + 40 * terms) + 60 + 8 * 8 * terms
        why = (f"{lanes} lanes of {terms} do {layer.weight.size} weights in {cycles} of {budget} "
               "cycles")
        found.append(Choice("rom", lanes, terms, lut, chip.blocks(cycles, lanes * terms * bits),
                            max(cycles, source.beats), why))
        if terms >= source.lanes:
            return found
        terms = min(2 * terms, source.lanes)


def _picks(layer: Dense, source: BeatFormat, budget: int, counts: Int64Array,
           chip: Chip) -> list[Choice]:
    """Units that pick, of 1, 2, ... lanes, each of the fewest terms that keep up."""
    if not counts.any():
        return []
    outputs, digits = layer.weight.shape[0], int(counts.sum())
    inputs = source.beats * source.lanes
    width = 1 + max(abs(min(*source.lo, 0)), max(*source.hi, 0)).bit_length()
    found: list[Choice] = []
    for lanes in range(1, min(LANES, outputs) + 1):
        low = fewest_terms(counts, lanes, budget)
        needed = int(slot_lengths(counts, lanes, low).sum())
        address = max((inputs - 1).bit_length(), 1)
        for inverts in (False, True):
            size = copy_blocks(address + 1, width, inverts, chip)
            writes = (2 - inverts) * inputs
            steps = max(needed, least_steps(needed, writes))
            late = max(steps, writes)
            if inverts and late == found[-1].interval and size == copy_blocks(
                    address + 1, width, False, chip):
                continue                                     # nothing is gained
            biased = bool(layer.bias.any()) or inverts
            word = lanes * (low * (address + 2) + 1 + 17 * biased) + 2
            found.append(Choice(
                "pick", lanes, low,
                pick_lut(lanes, low, width, source.lanes, biased) + lanes * low * width * inverts,
                lanes * low * size + chip.blocks(steps, word), late,
                f"{lanes} lanes of {low} pick the {digits} digits that are not 0 in {steps} of "
                f"{budget} cycles", inverts))
    return found


def least_steps(steps: int, writes: int) -> int:
    """Return the fewest steps that a picking unit is to take if those of its digits are ``steps``.

    Its pipeline must not meet its own tail; and as its two banks of activations are written in turn
    and each stands still for ``HAND_OVER`` cycles between writing and reading, an image takes as
    long as the longer of the two only where one leaves the other so much time.
    """
    steps = max(steps, LEAST)
    return writes + HAND_OVER if abs(steps - writes) < HAND_OVER else LEAST


def copy_blocks(address_bits: int, width: int, inverts: bool, chip: Chip) -> int:
    """Return the block RAMs of a copy of 2**address_bits activations, signed ones of ``width``
    bits with their negatives, or without.
    """
    return chip.blocks((1 if inverts else 2) << address_bits, width - inverts)


def fewest_terms(counts: Int64Array, lanes: int, budget: int) -> int:
    """Return the fewest terms with which the lanes take at most ``budget`` steps, or as many as
    have any use.
    """
    low, high = 1, int(counts.sum(axis=1).max())
    while low < high:                                    # more terms are never slower
        middle = (low + high) // 2
        if slot_lengths(counts, lanes, middle).sum() <= budget:
            high = middle
        else:
            low = middle + 1
    return low


def pick_lut(lanes: int, terms: int, width: int, places: int, biased: bool) -> int:
    """Return about the LUT positions of a unit that picks signed activations of ``width`` bits."""
    tree, count, bits = 0, terms, width
    while count > 1:
        bits += 1
        tree += (count // 2) * even(bits)
        count = -(-count // 2)
    total = width + 9
    lane = tree + even(total) + total + even(total) * biased
    return lanes * lane + places * width // 2 + 60
