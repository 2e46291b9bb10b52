"""An adder graph whose adders take a digit a cycle, read out of its netlist as linear forms.

Module ``<layer>__serial`` has ports x (a digit of every input), start, en, y and done, and words
``add_n`` with carries ``carry_add_n``; nothing else is taken for granted. Cycle 0 is the one behind
``start``; digit k of a signal of time t is in its word in cycle t + k.

1. Every register but the carries is shown, with every value of what it depends on, to be a delay
   of one bit under ``en``; some are cleared in cycles counted from ``start``.
2. The bits that an adder depends on are traced through such delays to a signal's digit. Delay and
   lane say by how much the signal is shifted, the same for all lanes; low bits that a shift leaves
   empty must be cleared, or be known to be 0 from the range of the signal.
3. With every value of its two digits and its carry, the adder must add or subtract; its carry must
   begin anew in the cycle before its first digit.

So the signal is ``+-(a << s) +- (b << r)`` modulo ``2**(digits * digit)``, if words begin at least
``digits`` cycles apart; and y is shown to be the outputs' forms in the cycle ``done``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwgen.network import Int64Array
from hwgen.ranges import width_of
from hwgen.sim.linear_forms import NotLinear
from hwgen.sim.netlist import ONE, REGISTERS, ZERO, Bits, Cell, Module
from hwgen.sim.netlist_eval import BoolArray, bits_of, evaluate, word_of

START = -1  # as a signal: the bit that begins a word


@dataclass(frozen=True)
class Origin:
    """Where a bit comes from: lane of a signal's digit, ``delay`` cycles ago; cleared in the cycles
    ``start + clear``. A signal is an input's number, or inputs + n for adder n.
    """

    signal: int
    lane: int
    delay: int
    clear: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Serial:
    """What a serial graph should be.

    Parameters: digit, bits a cycle; digits of a word; lo and hi, (inputs,) ranges; widths, bits of
    each output in y.
    """

    digit: int
    digits: int
    lo: Int64Array
    hi: Int64Array
    widths: Sequence[int]


def serial_matrix(module: Module, serial: Serial) -> tuple[Int64Array, int, int]:
    """Return the matrix of a serial graph, (inputs, outputs), its adders, and the cycles from start
    to done.

    Raises: NotLinear naming the place, if a part cannot be shown.
    """
    reader = _Reader(module, serial)
    for n in range(reader.adders):
        reader.read_adder(n)
    return reader.outputs(), reader.adders, reader.done


class _Reader:
    def __init__(self, module: Module, serial: Serial) -> None:
        self.module, self.serial = module, serial
        self.inputs = serial.lo.size
        self.forms: list[Int64Array] = list(np.eye(self.inputs, dtype=np.int64))
        self.times = [0] * self.inputs
        names = [name for name in module.wires if re.fullmatch(r"add_\d+", name)]
        self.adders = len(names)
        if {f"add_{n}" for n in range(self.adders)} != set(names):
            raise NotLinear(f"{module.name}: words add_0 .. add_{self.adders - 1} needed")
        if len(module.word("x")) != self.inputs * serial.digit:
            raise NotLinear(f"{module.name}: x of {self.inputs} digits of {serial.digit} bits "
                            f"needed, not {len(module.word('x'))} bits")
        self.en, self.reset = module.word("en")[0], module.wires.get("rst", (ZERO,))[0]
        self.carries = {module.word(f"carry_add_{n}")[0]: n for n in range(self.adders)}
        self.known: dict[int, Origin] = {module.word("start")[0]: Origin(START, 0, 0)}
        for k, net in enumerate(module.word("x")):
            self.known[net] = Origin(k // serial.digit, k % serial.digit, 0)
        for n in range(self.adders):
            for lane, net in enumerate(self.sum(n)):
                if net in module.drivers:                   # a bit that nobody reads has none
                    self.known[net] = Origin(self.inputs + n, lane, 0)

    def sum(self, n: int) -> Bits:
        """Return the digit that adder n gives; a carry chain has one more place at either end."""
        word, digit = self.module.word(f"add_{n}"), self.serial.digit
        if len(word) not in (digit, digit + 2):
            raise NotLinear(f"add_{n}: {digit} bits needed, not {len(word)}")
        return word if len(word) == digit else word[1:-1]

    # --- registers ----------------------------------------------------------------------------

    def register(self, net: int) -> tuple[Cell, int]:
        """Return the register that drives a net, and the bit that it takes in, with the clock
        checked.
        """
        driver = self.module.drivers.get(net)
        if driver is None or driver.cell is None or driver.cell.kind not in REGISTERS:
            raise NotLinear(f"{self.module.name_of(net)} is no register")
        cell = driver.cell
        if cell.kind != "$dff" or cell.inputs["CLK"] != self.module.word("clk") or not cell.flag(
                "CLK_POLARITY"):
            raise NotLinear(f"{self.module.label(cell)}: a register at the rising edge of clk "
                            "needed")
        return cell, cell.inputs["D"][driver.index]

    def leaves(self, net: int, *, own: bool = False) -> set[int]:
        """Return the registers' outputs, inputs and sums that a bit depends on; ``own``: the bit is
        a sum's, and what the sum depends on is meant.
        """
        found: set[int] = set()
        waiting, seen = [net], set()
        while waiting:
            bit = waiting.pop()
            if bit <= ONE or bit in seen:
                continue
            seen.add(bit)
            if bit in self.known and not (own and bit == net):
                found.add(bit)
                continue
            driver = self.module.drivers.get(bit)
            if driver is None:
                raise NotLinear(f"{self.module.name_of(bit)} has no driver")
            if driver.cell is None or driver.cell.kind in REGISTERS:
                found.add(bit)
                continue
            waiting += [one for bits in driver.cell.inputs.values() for one in bits]
        return found

    def table(self, wanted: Bits, free: Sequence[int],
              fixed: dict[int, bool]) -> tuple[list[BoolArray], dict[int, BoolArray]]:
        """Return bits for every value of ``free`` nets, and those values."""
        if len(free) > 14:
            raise NotLinear(f"{self.module.name_of(wanted[0])} depends on {len(free)} bits")
        rows = np.arange(1 << len(free), dtype=np.int64)
        given = dict(zip(free, bits_of(rows, len(free)), strict=True))
        given |= {net: np.full(rows.size, value) for net, value in fixed.items()}
        if self.reset > ONE:
            given[self.reset] = np.zeros(rows.size, bool)
        return evaluate(self.module, wanted, given), given

    def origin(self, net: int) -> Origin:
        """Return where a bit comes from, through registers that only delay it."""
        way = []
        while net not in self.known:
            way.append(net)
            _, taken = self.register(net)
            sources = self.leaves(taken) - {net, self.en, self.reset}
            marks = {one for one in sources if self._is_mark(one)}
            others = sources - marks
            if len(others) == 1 and marks:
                break
            if len(sources) != 1:
                raise NotLinear(f"{self.module.name_of(net)} depends on {len(sources)} bits, and "
                                "is no adder")
            (before,) = sources
            self._check_delay(net, taken, before, set())
            net = before
        if net not in self.known:                           # a cleared one
            (before,) = others
            self._check_delay(net, taken, before, marks)
            start = self.origin(before)
            if start.clear:
                raise NotLinear(f"{self.module.name_of(net)} is cleared twice")
            clear = frozenset(self.known_mark(one) for one in marks)
            self.known[net] = Origin(start.signal, start.lane, start.delay + 1, clear)
            way.remove(net)
        for one in reversed(way):
            found = self.known[net]
            if found.clear:
                raise NotLinear(f"{self.module.name_of(one)} delays a bit that has been cleared")
            self.known[one] = Origin(found.signal, found.lane, found.delay + 1)
            net = one
        return self.known[way[0] if way else net]

    def _is_mark(self, net: int) -> bool:
        if net in self.known:
            return self.known[net].signal == START
        if net in self.carries or net in self.known:
            return False
        try:
            return self.origin(net).signal == START
        except NotLinear:
            return False

    def known_mark(self, net: int) -> int:
        """Return the cycle, counted from ``start`` itself, in which a mark is high."""
        return self.origin(net).delay

    def _check_delay(self, net: int, taken: int, before: int, marks: set[int]) -> None:
        """Check that a register takes in a bit under ``en``, or 0 while a mark is high."""
        free = [net, self.en, before, *sorted(marks)]
        (found,), given = self.table((taken,), free, {})
        wanted = np.where(given[self.en], given[before], given[net])
        if marks:
            high = np.logical_or.reduce([given[mark] for mark in marks]) & given[self.en]
            wanted = wanted & ~high
        if not np.array_equal(found, wanted):
            raise NotLinear(f"{self.module.name_of(net)} must be "
                            f"{self.module.name_of(before)} a cycle later, under en")

    # --- adders -------------------------------------------------------------------------------

    def read_adder(self, n: int) -> None:
        """Read adder n: its time, and its form."""
        module = self.module
        carry = module.word(f"carry_add_{n}")[0]
        word = tuple(net if net in module.drivers else ZERO for net in self.sum(n))
        taken = (*word, self.register(carry)[1])
        own = {carry, self.en, self.reset}
        lanes = [self.leaves(bit, own=bit in word) - own for bit in taken]
        marks = {net for net in lanes[-1] if self._is_mark(net)}
        if len(marks) != 1 or any(marks & lane for lane in lanes[:-1]):
            raise NotLinear(f"add_{n}: its carry must begin anew at one mark, not {len(marks)}")
        start = self.known_mark(next(iter(marks)))           # the cycle of digit 0
        nets = set().union(*lanes) - marks
        found: Exception | None = None
        for operands in self._operands(n, nets, start):
            try:
                form = np.zeros(self.inputs, np.int64)
                for (_, shift), bits in operands.items():
                    for lane, net in enumerate(bits):
                        self._check_low(n, self.origin(net), shift, lane, start)
                signs = self._signs(n, taken, carry, next(iter(marks)), list(operands.values()))
                for sign, (signal, shift) in zip(signs, operands, strict=True):
                    form = form + sign * (self.forms[signal] << shift)
                if np.abs(form).max(initial=0) > 1 << 40:
                    raise NotLinear(f"add_{n}: coefficients below 2**40 needed")
            except NotLinear as error:
                found = error
                continue
            self.forms.append(form)
            self.times.append(start)
            return
        raise found or NotLinear(f"add_{n}: one or two shifted signals needed")

    def _operands(self, n: int, nets: set[int], start: int) -> Iterator[
            dict[tuple[int, int], list[int]]]:
        """Return the ways to take the bits that an adder reads as one or two (signal, shift), each
        with its net in every lane.
        """
        digit = self.serial.digit
        found: dict[tuple[int, int], dict[int, int]] = {}
        for net in sorted(nets):
            bit = self.origin(net)
            if not 0 <= bit.signal < self.inputs + n:
                raise NotLinear(f"add_{n} depends on {self.module.name_of(net)}")
            late = bit.delay + self.times[bit.signal] - start
            for lane in range(digit):
                key = bit.signal, lane - bit.lane + late * digit
                if found.setdefault(key, {}).setdefault(lane, net) != net:
                    other = self.origin(found[key][lane])    # one that is cleared, one that is not
                    if len(bit.clear) > len(other.clear):
                        found[key][lane] = net
        whole = {key: [bits[lane] for lane in range(digit)] for key, bits in found.items()
                 if len(bits) == digit}
        for count in (1, 2):
            for keys in itertools.combinations(whole, count):
                if set().union(*(whole[key] for key in keys)) == nets:
                    yield {key: whole[key] for key in keys}

    def _check_low(self, n: int, bit: Origin, shift: int, lane: int, start: int) -> None:
        """Check the low bits that a shift leaves empty: cleared, or 0 in the word before."""
        if shift < 0:
            raise NotLinear(f"add_{n}: a signal is read {-shift} bits too early")
        empty = -(-max(shift - lane, 0) // self.serial.digit)
        wanted = frozenset(range(start, start + empty))
        if bit.clear == wanted:
            return
        lo, hi = self.range_of(self.forms[bit.signal])
        if bit.clear or lo < 0 or hi >> max(self.serial.digits * self.serial.digit - shift, 0):
            raise NotLinear(f"add_{n}: the low bits of a signal shifted by {shift} must be 0 in "
                            f"cycles {sorted(wanted)}, they are cleared in {sorted(bit.clear)}")

    def range_of(self, form: Int64Array) -> tuple[int, int]:
        """Return the exact range of a form."""
        plus, minus = np.maximum(form, 0), np.minimum(form, 0)
        lo, hi = self.serial.lo, self.serial.hi
        return int(plus @ lo + minus @ hi), int(plus @ hi + minus @ lo)

    def _signs(self, n: int, taken: Bits, carry: int, mark: int,
               operands: list[list[int]]) -> tuple[int, ...]:
        """Return the operands' signs, after trying every digit and carry."""
        digit = self.serial.digit
        nets = sorted({net for operand in operands for net in operand})
        found, given = self.table(taken, [*nets, carry], {self.en: True, mark: False})
        parts = [word_of([given[net] for net in operand]) for operand in operands]
        total, after = word_of(found[:digit]), found[digit].astype(np.int64)
        before = given[carry].astype(np.int64)
        ((first,), _) = self.table(taken[-1:], [*nets, carry], {self.en: True, mark: True})
        self._check_hold(n, taken[-1], carry, mark, nets)
        if np.any(first != first[0]):
            raise NotLinear(f"carry_add_{n} must begin with a constant")
        begins, top = int(first[0]), 1 << digit
        shown = sum(1 << lane for lane, net in enumerate(taken[:-1]) if net != ZERO)
        for signs in itertools.product((1, -1), repeat=len(parts)):
            sums = sum((sign * part for sign, part in zip(signs, parts, strict=True)),
                       np.zeros_like(total))
            minus = signs.count(-1)
            # A carry: ~b = -b - 1 + top for each subtracted one. A borrow: taken off.
            ways = [(sums + minus * (top - 1) + before, minus, 1)] if minus < 2 else []
            if minus:
                ways.append((sums - before, 0, -1))
            for value, first_carry, sign in ways:
                out = (value >> digit) * sign
                if (begins == first_carry and np.array_equal(value & shown, total)
                        and np.array_equal(out, after)):
                    return signs
        raise NotLinear(f"add_{n} neither adds nor subtracts its digits, or its carry begins wrong")

    def _check_hold(self, n: int, taken: int, carry: int, mark: int, nets: list[int]) -> None:
        """Check that the carry does not move without ``en``."""
        for value in (False, True):
            fixed = dict.fromkeys((*nets, mark), value)
            (found,), given = self.table((taken,), [carry], {**fixed, self.en: False})
            if not np.array_equal(found, given[carry]):
                raise NotLinear(f"add_{n}: its carry must stand still without en")

    # --- outputs ------------------------------------------------------------------------------

    @cached_property
    def done(self) -> int:
        """Cycles from ``start`` to ``done``."""
        found = self.origin(self.module.word("done")[0])
        if found.signal != START:
            raise NotLinear(f"{self.module.name}: done must be start, some cycles later")
        return found.delay

    def outputs(self) -> Int64Array:
        """Return the matrix, after checking which digits y shows."""
        serial, y = self.serial, self.module.word("y")
        if len(y) != sum(serial.widths):
            raise NotLinear(f"y must have {sum(serial.widths)} bits, not {len(y)}")
        columns, offset = [], 0
        for j, width in enumerate(serial.widths):
            columns.append(self._output(j, y[offset:offset + width]))
            offset += width
        return np.stack(columns, axis=1)

    def _output(self, j: int, bits: Bits) -> Int64Array:
        low = next((k for k, bit in enumerate(bits) if bit != ZERO), len(bits))
        if low == len(bits):
            return np.zeros(self.inputs, np.int64)
        first, down = self.origin(bits[low]), 0
        for k, net in enumerate(bits[low:]):
            bit = self.origin(net)
            # Cycle 0 is one behind start; digit d of the signal is there since time + d.
            ago = self.done - 1 - bit.delay - self.times[bit.signal]
            place = ago * self.serial.digit + bit.lane
            down = place if k == 0 and low == 0 else down
            if bit.signal != first.signal or bit.clear or place != k + down or not (
                    0 <= ago < self.serial.digits):
                raise NotLinear(f"output {j}: bit {low + k} must be bit {k + down} of a signal")
        form: Int64Array = self.forms[first.signal]
        if np.any(form & (1 << down) - 1):
            raise NotLinear(f"output {j}: the {down} bits below must be 0 whatever the inputs")
        form = form >> down << low
        if width_of(*self.range_of(form))[0] > len(bits):
            raise NotLinear(f"output {j}: {self.range_of(form)} does not fit in {len(bits)} bits")
        return form
