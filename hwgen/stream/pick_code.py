"""Which activations a dense layer's lanes pick, step by step, so that no lane needs a shifter.

Every weight is a sum of signed powers of two, its digits. A lane works out an output from the
largest power down: a **step** adds up to ``terms`` activations, all of the same power, each taken
as x or as -x; the first step of each following power doubles the sum first (Horner)::

    w = (4, -1, 0, 4, 2)    power 4:  s = x0 + x3
                            power 2:  s = 2 s + x4        terms = 2, base = 1
                            power 1:  s = 2 s - x1        y = s * base + bias

Zeros cost nothing. Output ``slot * lanes + lane`` is worked out by ``lane`` in ``slot``; a slot
takes as many steps as its slowest lane, whose sum begins at 0 in the slot's first step. The word of
the memory for a step holds, from the lowest bit::

    for each lane:  for each term: which activation, sign (1: -x, or ~x), used (0: the term is 0)
                    double
                    bias (two's complement; 0 but in a slot's last step)
    start           the slot's first step
    end             the slot's last step

An activation's number is its place in the stream: beat * places + place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.adders.csd import csd_digits
from hwgen.layers import Int64Array
from hwgen.ranges import width_of

Step = tuple[bool, tuple[tuple[int, bool], ...]]  # doubles, (activation, negative) of each term


LEAST = 8                     # steps: the dense unit's pipeline must not meet its own tail


@dataclass(frozen=True, eq=False)
class PickCode:
    """The schedule of a dense layer.

    Parameters
    ----------
    weight : (outputs, words, places) int64
        In stream order; padded places are 0.
    bias : (outputs,) int64
    lanes : int
        Outputs worked out at a time.
    terms : int
        Activations a lane adds in a step.
    numbers : (inputs,) int64 or None
        What the memory calls each activation; None: its place in the stream.
    number_bits : int or None
        Bits of such a number; None: as many as it takes.
    least : int
        Steps of an image at least.
    inverts : bool
        A negative term is taken as ~x = -x - 1, and the ones that then lack are in the bias.
    """

    weight: Int64Array
    bias: Int64Array
    lanes: int
    terms: int
    numbers: Int64Array | None = None
    number_bits: int | None = None
    least: int = LEAST
    inverts: bool = False

    @property
    def outputs(self) -> int:
        """Outputs of the layer."""
        return int(self.weight.shape[0])

    @property
    def slots(self) -> int:
        """Outputs each lane works out, one after the other."""
        return -(-self.outputs // self.lanes)

    @property
    def words(self) -> int:
        """Beats of one image."""
        return int(self.weight.shape[1])

    @property
    def inputs(self) -> int:
        """Activations of one image, padded places included."""
        return int(self.weight.shape[1] * self.weight.shape[2])

    @cached_property
    def digits(self) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
        """Output, activation, power and sign of every digit; power descends within an output."""
        flat = self.weight.reshape(self.outputs, -1)
        index, shift, sign = csd_digits(flat)
        output, place = index // flat.shape[1], index % flat.shape[1]
        order = np.lexsort((place, -shift, output))
        return output[order], place[order], shift[order], sign[order]

    @cached_property
    def base(self) -> int:
        """The smallest power."""
        shift = self.digits[2]
        return int(shift.min()) if shift.size else 0

    @cached_property
    def counts(self) -> Int64Array:
        """Digits of each output and power, (outputs, powers), from ``base`` up."""
        output, _, shift, _ = self.digits
        powers = int(shift.max()) - self.base + 1 if shift.size else 1
        counts = np.zeros((self.outputs, powers), np.int64)
        np.add.at(counts, (output, shift - self.base if shift.size else shift), 1)
        return counts

    @cached_property
    def lengths(self) -> Int64Array:
        """Steps of each slot."""
        return slot_lengths(self.counts, self.lanes, self.terms)

    @property
    def steps(self) -> int:
        """Steps an image takes."""
        return max(int(self.lengths.sum()), self.least)

    @property
    def slot_ends(self) -> Int64Array:
        """Steps from an image's first to the end of each slot, (slots,)."""
        ends: Int64Array = np.cumsum(self.lengths)
        ends[-1] = self.steps
        return ends

    @property
    def interval(self) -> int:
        """Cycles an image takes: its steps, or writing its activations."""
        return max(self.steps, self.writes * self.inputs)

    @property
    def writes(self) -> int:
        """Cycles in which an activation is written: with its negative, if that is kept."""
        return 1 if self.inverts else 2

    @cached_property
    def schedule(self) -> list[list[Step]]:
        """The steps of every output; no padding in front."""
        output, place, shift, sign = self.digits
        found: list[list[Step]] = []
        starts = np.searchsorted(output, np.arange(self.outputs + 1))
        for o in range(self.outputs):
            part = slice(starts[o], starts[o + 1])
            found.append(self._steps(place[part], shift[part] - self.base, sign[part]))
        return found

    def _steps(self, place: Int64Array, power: Int64Array, sign: Int64Array) -> list[Step]:
        steps: list[Step] = []
        for p in range(int(power.max(initial=0)), -1, -1):
            here = power == p
            terms = [
                (n, s < 0) for n, s in zip(place[here].tolist(), sign[here].tolist(), strict=True)
            ]
            for n in range(0, max(len(terms), 1), self.terms):
                steps.append((n == 0 and len(steps) > 0, tuple(terms[n : n + self.terms])))
        return steps

    @property
    def address_bits(self) -> int:
        """Bits of an activation's number."""
        return self.number_bits or max((self.inputs - 1).bit_length(), 1)

    @property
    def term_bits(self) -> int:
        """Bits of one term."""
        return self.address_bits + 2

    @cached_property
    def added(self) -> Int64Array:
        """What is added to each output in the end, (outputs,)."""
        if not self.inverts:
            return self.bias
        output, _, shift, sign = self.digits
        found: Int64Array = self.bias.copy()
        np.add.at(found, output, np.where(sign < 0, np.int64(1) << shift, 0))
        return found

    @cached_property
    def bias_bits(self) -> int:
        """Bits of what is added; 0 if nothing is."""
        if not self.added.any():
            return 0
        return width_of(min(int(self.added.min()), -1), max(int(self.added.max()), 0))[0]

    @property
    def lane_bits(self) -> int:
        """Bits of a lane's share of a word."""
        return self.terms * self.term_bits + 1 + self.bias_bits

    @property
    def word_bits(self) -> int:
        """Bits of the memory's word."""
        return self.lanes * self.lane_bits + 2

    def memory(self) -> list[int]:
        """Return the memory's words, one Python integer a step."""
        words = []
        for slot, length in enumerate(self.lengths.tolist()):
            # What an image lacks to the fewest steps there may be goes in front of its last slot.
            spare = self.steps - int(self.lengths.sum()) if slot == self.slots - 1 else 0
            lanes = range(slot * self.lanes, min((slot + 1) * self.lanes, self.outputs))
            for n in range(-spare, length):
                word = (n == -spare) << (self.lanes * self.lane_bits)
                word |= (n == length - 1) << (self.lanes * self.lane_bits + 1)
                for lane, o in enumerate(lanes):
                    late = n - (length - len(self.schedule[o]))  # short lanes begin later
                    word |= self._share(o, late, n == length - 1) << (lane * self.lane_bits)
                words.append(word)
        return words

    def _share(self, o: int, step: int, last: bool) -> int:
        double, terms = self.schedule[o][step] if step >= 0 else (False, ())
        share = int(double) << (self.terms * self.term_bits)
        for k, (n, negative) in enumerate(terms):
            number = n if self.numbers is None else int(self.numbers[n])
            term = number | int(negative) << self.address_bits | 2 << self.address_bits
            share |= term << (k * self.term_bits)
        if last and self.bias_bits:
            bias = int(self.added[o]) & (1 << self.bias_bits) - 1
            share |= bias << (self.terms * self.term_bits + 1)
        return share

    def bounds(self, lo: int, hi: int) -> tuple[Int64Array, Int64Array]:
        """Return bounds that no lane's sum leaves on the way, (lanes,) each, without bias.

        Parameters: lo and hi, range of every activation.
        """
        less = -hi - self.inverts, -lo - self.inverts
        output, _, shift, sign = self.digits
        least = np.zeros((self.outputs, self.counts.shape[1]), np.int64)
        most = np.zeros_like(least)
        power = shift - self.base if shift.size else shift
        np.add.at(least, (output, power), np.where(sign > 0, lo, less[0]))
        np.add.at(most, (output, power), np.where(sign > 0, hi, less[1]))
        bottom, top = np.zeros(self.outputs, np.int64), np.zeros(self.outputs, np.int64)
        low, high = bottom.copy(), top.copy()
        for p in range(least.shape[1] - 1, -1, -1):
            # Within a power the sum only moves towards its end, or less far if lo <= 0 <= hi.
            low, high = 2 * low, 2 * high
            bottom = np.minimum(bottom, np.minimum(low, 0) + np.minimum(least[:, p], 0))
            top = np.maximum(top, np.maximum(high, 0) + np.maximum(most[:, p], 0))
            low, high = low + least[:, p], high + most[:, p]
        spare = self.slots * self.lanes - self.outputs
        shape = (self.slots, self.lanes)
        return (
            np.pad(bottom, (0, spare)).reshape(shape).min(axis=0),
            np.pad(top, (0, spare)).reshape(shape).max(axis=0),
        )


def slot_lengths(counts: Int64Array, lanes: int, terms: int) -> Int64Array:
    """Return the steps of each slot, (slots,).

    Parameters: counts, (outputs, powers) digits of each output and power, the smallest first;
    lanes; terms.
    """
    outputs = counts.shape[0]
    slots = -(-outputs // lanes)
    behind_top = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] > 0
    steps = np.maximum(-(-counts // terms), behind_top).sum(axis=1)
    steps = np.pad(np.maximum(steps, 1), (0, slots * lanes - outputs))
    longest: Int64Array = steps.reshape(slots, lanes).max(axis=1)
    return longest
