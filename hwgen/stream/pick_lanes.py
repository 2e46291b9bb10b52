# amaranth: UnusedElaboratable=no
"""The lanes of a unit that picks its activations, from the step counter to the unit's output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, Module, Signal, Value

from hwgen.stream.control import hold
from hwgen.stream.pick_parts import Activations, Steps, delayed
from hwgen.verilog import add


@dataclass(frozen=True, eq=False)
class Walk:
    """How a unit walks over its steps.

    Parameters
    ----------
    enable : Signal
        Of every register; driven here: all stands still while a result is held back and the next
        one is ready.
    address : Signal
        Of the step.
    valid : Signal
        There is a step to be taken.
    """

    enable: Signal
    address: Signal
    valid: Signal


@dataclass(frozen=True, eq=False)
class Copies:
    """The copies of the activations.

    Parameters
    ----------
    address_bits, apart : int
        As of Activations.
    write : list of Signal
        The port of all copies: write, address, minus, data.
    place : callable
        (name, address bits of a term) -> where it reads, in stage 2.
    """

    address_bits: int
    apart: int
    write: list[Signal]
    place: Callable[[str, Value], Value]


def add_lanes(m: Module, platform: Any, unit: Any, walk: Walk, copies: Copies) -> None:
    """Add the memory of steps, the lanes with their copies and sums, and the output register.

    Parameters: unit, with ``code``, ``bits``, ``stored``, ``sums``, ``depth`` (stage of the lanes'
    totals), ``format`` and the stream ``o``.
    """
    code, enable = unit.code, walk.enable
    steps = Steps(code=code)
    add(m, platform, "steps", steps)
    m.d.comb += [steps.address.eq(walk.address), steps.enable.eq(enable)]
    word, tree = steps.word, unit.depth - 1  # stage of the trees' outputs
    going = delayed(m, enable, walk.valid, unit.depth, "valid")
    starts = delayed(m, enable, word[-2], tree - 2, "start")
    stops = delayed(m, enable, word[-1], unit.depth - 2, "end")
    results: list[Value] = []
    for n, sums in enumerate(unit.sums):
        share = word[n * code.lane_bits : (n + 1) * code.lane_bits]
        values = _picked(m, platform, unit, n, share, enable, copies)
        add(m, platform, f"sums_{n}", sums)
        double = share[code.terms * code.term_bits]
        doubles = delayed(m, enable, double, tree - 2, f"double_{n}")
        m.d.comb += [
            sums.x.eq(Cat(*values)),
            sums.enable.eq(enable),
            sums.start.eq(starts[-1]),
            sums.double.eq(doubles[-1]),
        ]
        total: Value = sums.total << code.base
        if code.bias_bits:
            field = share[code.terms * code.term_bits + 1 :].as_signed()
            biases = delayed(m, enable, field, unit.depth - 2, f"bias_{n}")
            total = total + biases[-1].as_signed()
        results.append(total)
    hold(m, unit.o, enable, going[-1] & stops[-1], results)


def _picked(m: Module, platform: Any, unit: Any, n: int, share: Value, enable: Value,
            copies: Copies) -> list[Value]:
    """Add the copies that lane n reads; return its terms."""
    code, bits = unit.code, copies.address_bits
    low = code.term_bits - 2  # address bits of a term; above them are minus and used
    values: list[Value] = []
    for k in range(code.terms):
        copy = Activations(
            bits=unit.bits, address_bits=bits, apart=copies.apart, stored=unit.stored
        )
        add(m, platform, f"copy_{n}_{k}", copy)
        term = share[k * code.term_bits : (k + 1) * code.term_bits]
        m.d.comb += [
            copy.write.eq(copies.write[0]),
            copy.write_address.eq(copies.write[1]),
            copy.write_minus.eq(copies.write[2]),
            copy.write_data.eq(copies.write[3]),
            copy.address.eq(copies.place(f"place_{n}_{k}", term[:low])),
            copy.minus.eq(term[low]),
            copy.used.eq(term[-1]),
            copy.enable.eq(enable),
        ]
        values.append(copy.value)
    return values
