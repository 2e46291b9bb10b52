"""Words of a netlist as exact linear forms ``sum(c[i] * x[i]) + constant`` over a module's inputs.

Soundness. A word of ``n`` bits whose form is V holds V **modulo 2**n**: bit t of the word is bit t
of V in two's complement, for t < n. Sums and differences keep that: if the operands are right
modulo 2**n, so is the result, whatever happened in between. Ranges are needed only where bits are
added at the top of a word or bits of it are left out, and there they are exact, because V is a
linear form over a box of inputs:

* bit t is 0 if 0 <= V < 2**t, and if 2**(t+1) divides every coefficient (a known zero);
* bit t is the sign if -2**t <= V < 2**t.

Low bits that are not known zeros may be left out in one case: if V = 2**k * Q + R where R depends
on one input only, which takes two values, then floor(V / 2**k) = Q + floor(R / 2**k) is a linear
form again. That is how a carry goes into an adder: ``({a, 1'b1} + {b, carry}) >> 1`` is ``a + b +
carry``.

``read_word`` accepts bits of V only if what it leaves out are known zeros and copies of the sign,
so the integer it reads is V itself. A word that is too narrow for its range therefore passes where
no one needs the missing bits and is refused where someone does; an output as wide as its range
holds its form exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hwgen.network import Int64Array

LIMIT = float(1 << 61)        # no form reaches this, so int64 is exact
CONSTANT = -1                 # the source of a bit that is constant


class NotLinear(ValueError):
    """A word of which no linear form over the inputs can be shown.

    Parameters: message; named, True if the message already says which word it is about.
    """

    def __init__(self, message: str, *, named: bool = False):
        super().__init__(message)
        self.named = named


class Trace(NamedTuple):
    """Where a bit comes from: bit ``bit`` of word ``source``, ``delay`` cycles ago.

    If source is ``CONSTANT``, bit is its value, 0 or 1.
    """

    source: int
    bit: int
    delay: int


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One word: ``sum(coefficient * x[index]) + constant`` as it was ``delay`` cycles ago.

    Parameters
    ----------
    index, coefficient : (terms,) int64
        Input numbers, ascending, and their coefficients, none 0.
    constant : int
    lo, hi : int
        Exact range over the inputs' ranges.
    delay : int or None
        Cycles from the inputs to this word; None for a constant.
    name : str
        For messages.
    bits : int
        Low bits of the word that are those of the sum; nothing is known of the others.

    Attributes: zeros, the number of low bits that are always 0; top, the index of the sign bit, or
    of the first bit above a word that is never negative.
    """

    index: Int64Array
    coefficient: Int64Array
    constant: int
    lo: int
    hi: int
    delay: int | None
    name: str
    bits: int = 64
    zeros: int = field(init=False)
    top: int = field(init=False)

    def __post_init__(self) -> None:
        bits = int(np.bitwise_or.reduce(self.coefficient, initial=0)) | self.constant
        object.__setattr__(self, "zeros", (bits & -bits).bit_length() - 1 if bits else 0)
        below = (-self.lo - 1).bit_length() if self.lo < 0 else 0
        object.__setattr__(self, "top", max(below, self.hi.bit_length()))


@dataclass(frozen=True, slots=True)
class Term:
    """``sign * (form shifted left by shift)``; a negative shift drops known zeros only."""

    form: Form
    shift: int
    sign: int


@dataclass(frozen=True, slots=True)
class Reading:
    """An operand: the sum of terms and a constant, all of the same delay (None without terms)."""

    terms: tuple[Term, ...]
    constant: int
    delay: int | None


@dataclass(frozen=True)
class Box:
    """Ranges of a module's inputs. Parameters: lo and hi, (inputs,) int64, both included."""

    lo: Int64Array
    hi: Int64Array

    def input_form(self, i: int, name: str) -> Form:
        """Return the form of input i; of an input that is always 0, the form 0."""
        lo, hi = int(self.lo[i]), int(self.hi[i])
        alive = np.array([i] if lo < hi else [], np.int64)
        return Form(alive, np.ones(alive.size, np.int64), 0 if lo < hi else lo, lo, hi, 0, name)

    def combine(self, terms: Sequence[Term], constant: int, delay: int | None, name: str,
                bits: int = 64) -> Form:
        """Return the sum of terms and a constant, in the low ``bits`` of a word.

        Raises: NotLinear if a value could reach 2**61.
        """
        index = np.concatenate([np.zeros(0, np.int64), *(term.form.index for term in terms)])
        parts = [np.zeros(0, np.int64)]
        for term in terms:
            c = term.form.coefficient
            largest = max(-term.form.lo, term.form.hi, int(np.abs(c).max(initial=0)))
            if largest * 2.0**term.shift >= LIMIT:
                raise NotLinear(f"{name}: values below 2**61 needed", named=True)
            parts.append(term.sign * (c << term.shift if term.shift >= 0 else c >> -term.shift))
            own = term.form.constant
            constant += term.sign * (own << term.shift if term.shift >= 0 else own >> -term.shift)
        coefficient = np.concatenate(parts)
        if len(terms) > 1 and index.size:
            order = np.argsort(index, kind="stable")
            index, coefficient = index[order], coefficient[order]
            starts = np.flatnonzero(np.concatenate([[True], index[1:] != index[:-1]]))
            index, coefficient = index[starts], np.add.reduceat(coefficient, starts)
            used = coefficient != 0
            index, coefficient = index[used], coefficient[used]
        lo, hi = self._range(index, coefficient, constant, name)
        return Form(index, coefficient, constant, lo, hi, delay if index.size else None, name, bits)

    def floor(self, form: Form, k: int) -> Form:
        """Return floor(form / 2**k), for what bits k and up of a word hold.

        Raises: NotLinear if that is no linear form: if more than one input, or one of more than two
        values, has a part in the bits dropped.
        """
        low = form.coefficient & (1 << k) - 1
        used = np.flatnonzero(low)
        high = (form.coefficient - low) >> k
        constant = form.constant >> k
        if used.size:
            i = int(form.index[used[0]])
            if used.size > 1 or self.hi[i] - self.lo[i] != 1:
                raise NotLinear(f"bits {form.zeros} to {k - 1} of {form.name} are dropped, and "
                                "they are not always 0")
            rest = form.constant & (1 << k) - 1
            ends = [int(low[used[0]]) * int(x) + rest >> k for x in (self.lo[i], self.hi[i])]
            high[used[0]] += ends[1] - ends[0]
            constant += ends[0] - (ends[1] - ends[0]) * int(self.lo[i])
        kept = high != 0
        index, high = form.index[kept], high[kept]
        lo, hi = self._range(index, high, constant, form.name)
        return Form(index, high, constant, lo, hi, form.delay, form.name)

    def _range(self, index: Int64Array, coefficient: Int64Array, constant: int,
               name: str) -> tuple[int, int]:
        lo, hi = self.lo[index], self.hi[index]
        reach = np.abs(coefficient.astype(float)) @ np.maximum(-lo, hi).astype(float)
        reach += abs(constant)
        if not reach < LIMIT:
            raise NotLinear(f"{name}: values below 2**61 needed, {reach:.3g} came", named=True)
        at_lo, at_hi = coefficient * lo, coefficient * hi
        return (int(np.minimum(at_lo, at_hi).sum()) + constant,
                int(np.maximum(at_lo, at_hi).sum()) + constant)


def read_word(bits: Sequence[Trace], forms: Sequence[Form | NotLinear | None], box: Box) -> Reading:
    """Read bits, least significant first, as an integer modulo ``2**len(bits)``.

    Parameters: bits, where each comes from; forms, by source, known for every source among the
    bits; box, ranges of the inputs.
    Raises: NotLinear if bits of a word that are neither known zeros nor copies of its sign are left
    out, if the bits were taken at different times, or if a word they come from is refused itself.
    """
    terms: list[Term] = []
    constant, position, delay = 0, 0, None
    while position < len(bits):
        bit, form = _known(bits[position], forms)
        if form is None:
            constant += bit.bit << position
            position += 1
            continue
        assert form.delay is not None
        now = form.delay + bit.delay
        if delay is not None and now != delay:
            raise NotLinear(f"{form.name} of {now} cycles ago meets {terms[0].form.name} of "
                            f"{delay} cycles ago")
        delay = now
        if bit.bit == form.zeros:
            terms.append(Term(form, position - form.zeros, 1))
        else:
            terms.append(Term(box.floor(form, bit.bit), position, 1))
        position = _run(bits, position, bit, form, forms)
    if constant >> max(len(bits) - 1, 0) & 1:
        constant -= 1 << len(bits)              # the same modulo 2**len(bits); a sign, most likely
    return Reading(tuple(terms), constant, delay)


def _run(bits: Sequence[Trace], position: int, bit: Trace, form: Form,
         forms: Sequence[Form | NotLinear | None]) -> int:
    """Return the position behind a form's bits, which start with ``bit`` at ``position``."""
    negative = form.lo < 0
    while True:
        position += 1
        if position == len(bits):
            return position
        at_sign = negative and bit.bit == form.top
        wanted = bit if at_sign else bit._replace(bit=bit.bit + 1)
        if not negative and wanted.bit == form.top:
            return position                 # complete and never negative: anything may follow
        came, _ = _known(bits[position], forms)
        if came != wanted:
            kept, needed = bit.bit + 1, form.top + negative
            what = (f"it is not extended by its sign to bit {position}" if at_sign else
                    f"only {kept} bits of it are used")
            raise NotLinear(f"{form.name} is {form.lo}..{form.hi} and needs {needed} bits: {what}")
        bit = came


def _known(bit: Trace, forms: Sequence[Form | NotLinear | None]) -> tuple[Trace, Form | None]:
    """Return a bit with known zeros made constant and copies of the sign made one, and its form."""
    if bit.source == CONSTANT:
        return bit, None
    form = forms[bit.source]
    if isinstance(form, NotLinear):
        raise NotLinear(str(form), named=True)
    assert form is not None, "words are taken in order"
    if bit.bit >= form.bits:
        raise NotLinear(f"of {form.name} only {form.bits} bits are right")
    if form.delay is None or not form.index.size:
        return Trace(CONSTANT, form.constant >> bit.bit & 1, 0), None
    if bit.bit < form.zeros or (form.lo >= 0 and bit.bit >= form.top):
        return Trace(CONSTANT, 0, 0), None
    return bit._replace(bit=min(bit.bit, form.top)), form
