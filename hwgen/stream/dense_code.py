"""Weights of a dense layer as the words of a memory: which lane works on what, and when.

Every weight is a sum of ``passes`` signed powers of two (fewer are filled up with zeros). The unit
has ``lanes`` accumulators; output ``slot * lanes + lane`` is worked out by accumulator ``lane`` in
slot ``slot``. The beats of one image are its **words**, ``places`` codes each; a step multiplies
``terms`` neighbouring codes of one word by one digit each. Step number (address in the weights'
memory)::

    step = ((slot * words + word) * groups + group) * passes + pass_   groups = ceil(places / terms)

The memory's word at that address holds, from the lowest bit, for lane 0: the code of place ``group
* terms + 0``, then ``+ 1``, ...; then the same for lane 1, and so on. A code is ``{sign,
magnitude}``, sign on top: magnitude 0 is zero (sign 0), magnitude m is ``2**(base + m - 1)``; the
sign bit is left out where no digit of the layer is negative. Digits of one weight come largest
first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.adders.csd import csd_digits
from hwgen.layers import Int64Array


@dataclass(frozen=True, eq=False)
class DenseCode:
    """Encoded weights and their schedule.

    Parameters
    ----------
    weight : (outputs, words, places) int64
        In stream order: word (beat) by word, place (lane of the source) by place; padded places are
        0.
    lanes : int
        Accumulators.
    terms : int
        Codes taken in one step.
    """

    weight: Int64Array
    lanes: int
    terms: int = 1

    @property
    def slots(self) -> int:
        """Outputs each lane works out, one after the other."""
        return -(-self.weight.shape[0] // self.lanes)

    @property
    def words(self) -> int:
        """Beats of one image."""
        return int(self.weight.shape[1])

    @property
    def groups(self) -> int:
        """Steps a word takes in one pass."""
        return -(-self.weight.shape[2] // self.terms)

    @cached_property
    def digits(self) -> Int64Array:
        """(outputs, words, places, passes) signed powers of two, zeros behind; their sum is the
        weight.
        """
        index, shift, sign = csd_digits(self.weight)
        order = np.lexsort((-shift, index))
        index, value = index[order], sign[order] << shift[order]
        starts = np.searchsorted(index, index)
        place = np.arange(index.size) - starts
        passes = int(place.max(initial=0)) + 1
        digits = np.zeros((self.weight.size, passes), np.int64)
        digits[index, place] = value
        return digits.reshape(*self.weight.shape, passes)

    @property
    def passes(self) -> int:
        """Digits of a weight, at most; 1 at least."""
        return int(self.digits.shape[3])

    @property
    def steps(self) -> int:
        """Steps of one slot."""
        return self.words * self.groups * self.passes

    @property
    def interval(self) -> int:
        """Cycles an image takes."""
        return self.slots * self.steps

    @cached_property
    def base(self) -> int:
        """Exponent of the smallest digit."""
        used = np.abs(self.digits[self.digits != 0])
        return int(used.min()).bit_length() - 1 if used.size else 0

    @cached_property
    def exponents(self) -> int:
        """Number of different shifts, from ``base`` up."""
        used = np.abs(self.digits)
        return max(int(used.max(initial=0)).bit_length() - self.base, 1)

    @property
    def magnitude_bits(self) -> int:
        """Bits of a code's magnitude."""
        return self.exponents.bit_length()

    @cached_property
    def signed(self) -> bool:
        """Whether codes have a sign bit."""
        return bool((self.digits < 0).any())

    @property
    def code_bits(self) -> int:
        """Bits of one code."""
        return self.magnitude_bits + self.signed

    def codes(self) -> Int64Array:
        """Return the codes, (slots * steps, lanes, terms), in the order of the memory."""
        outputs, words, places, passes = self.digits.shape
        padded = np.zeros(
            (self.slots * self.lanes, words, self.groups * self.terms, passes), np.int64
        )
        padded[:outputs, :, :places] = self.digits
        size = np.abs(padded)
        exponent = np.zeros_like(size)
        nonzero = size > 0
        exponent[nonzero] = np.log2(size[nonzero]).round().astype(np.int64) - self.base + 1
        codes = exponent | ((padded < 0).astype(np.int64) << self.magnitude_bits)
        shape = (self.slots, self.lanes, words, self.groups, self.terms, passes)
        ordered = codes.reshape(shape).transpose(0, 2, 3, 5, 1, 4)  # slot word group pass lane term
        return np.ascontiguousarray(ordered).reshape(-1, self.lanes, self.terms)

    def memory(self) -> list[int]:
        """Return the memory's words, one Python integer a step."""
        return [
            sum(int(code) << (n * self.code_bits) for n, code in enumerate(row))
            for row in self.codes().reshape(self.slots * self.steps, -1)
        ]

    def bounds(
        self, lo: Int64Array, hi: Int64Array, bias: Int64Array
    ) -> tuple[Int64Array, Int64Array]:
        """Return bounds that no partial sum of an output leaves, whatever the order of its digits.

        Parameters: lo and hi, (places,) ranges of the codes; bias, (outputs,). Returns two
        (outputs,) arrays.
        """
        plus, minus = (
            np.maximum(self.digits, 0).sum(axis=(1, 3)),
            np.minimum(self.digits, 0).sum(axis=(1, 3)),
        )
        least, most = plus @ lo + minus @ hi, plus @ hi + minus @ lo
        return np.minimum(least, 0) + np.minimum(bias, 0), np.maximum(most, 0) + np.maximum(bias, 0)
