"""The linear map that a module computes, derived from its netlist for all inputs at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.network import Int64Array
from hwgen.sim.linear_forms import Box, Form, NotLinear, Reading, Term, Trace, read_word
from hwgen.sim.netlist import ONE, Bits, Cell, Module
from hwgen.sim.netlist_trace import Tracer, extended

Operand = tuple[int, tuple[Trace, ...]]         # sign, bits


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What a module with ports x and y computes.

    Parameters
    ----------
    outputs : tuple of Form or NotLinear
        One word of y each; NotLinear says why none could be shown.
    latency : int
        Cycles from x to y, the same for all outputs that are not constant.
    words : int
        Words of arithmetic passed.
    """

    outputs: tuple[Form | NotLinear, ...]
    latency: int
    words: int


def derive(module: Module, *, shapes: Sequence[tuple[int, bool]], lo: Int64Array, hi: Int64Array,
           widths: Sequence[int]) -> LinearMap:
    """Derive the linear map from port x to port y of a module.

    Parameters
    ----------
    module : Module
        With ports x, y and, if it has registers, clk and perhaps en and rst.
    shapes : (bits, signed) of each input word, packed in x from the least significant bit on
    lo, hi : (inputs,) int64
        Range of each input word, in which the map is shown.
    widths : bits of each output word, packed in y likewise

    Raises: NotLinear if x or y is not packed like that, the registers differ in clock or enable,
    outputs differ in latency, or a word depends on itself.
    """
    tracer = Tracer(module, _input_nets(module, shapes), len(shapes))
    box = Box(lo, hi)
    y = module.word("y")
    if len(y) != sum(widths):
        raise NotLinear(f"y must have {sum(widths)} bits, not {len(y)}")
    ends = np.cumsum([0, *widths]).tolist()
    names = [f"input word {i}" for i in range(len(shapes))]
    found = words(tracer, box, names, [y[a:b] for a, b in itertools.pairwise(ends)])
    tracer.check_control()
    delays: dict[int, int] = {}                     # delay -> first output that has it
    for j, form in enumerate(found):
        if isinstance(form, Form) and form.delay is not None:
            delays.setdefault(form.delay, j)
    if len(delays) > 1:
        (one, first), (two, second) = list(delays.items())[:2]
        raise NotLinear(f"output {first} comes {one} cycles after its input, output {second} "
                        f"{two} cycles")
    return LinearMap(found, next(iter(delays), 0), len(tracer.words))


def words(tracer: Tracer, box: Box, names: Sequence[str],
          wanted: Sequence[Bits]) -> tuple[Form | NotLinear, ...]:
    """Return the linear form of each word wanted, over the tracer's inputs.

    Parameters: tracer; box, ranges of its inputs; names of the inputs, for messages; wanted, bits
    of words. The registers passed are left to ``tracer.check_control``.
    Raises: NotLinear if a word depends on itself.
    """
    module = tracer.module
    forms: list[Form | NotLinear | None] = []
    forms += [box.input_form(i, name) for i, name in enumerate(names)]
    outputs = [_traced(tracer, bits) for bits in wanted]
    operands: dict[int, list[Operand] | NotLinear] = {}
    order = _in_order(tracer, operands, [o for o in outputs if not isinstance(o, NotLinear)])
    forms += [None] * len(tracer.words)
    need = _needed_bits(operands, order, outputs)
    for source in order:
        cell = tracer.words[source - tracer.first_word]
        found = _word(box, module, cell, operands[source], forms)
        if isinstance(found, NotLinear) and not isinstance(operands[source], NotLinear):
            # Too narrow for its range: what it lacks may be cut off again by all who read it.
            second = _word(box, module, cell, operands[source], forms, need[source])
            found = second if isinstance(second, Form) else found
        forms[source] = found
    return tuple(_output(box, j, bits, forms) for j, bits in enumerate(outputs))


def _input_nets(module: Module, shapes: Sequence[tuple[int, bool]]) -> dict[int, tuple[int, int]]:
    x = module.word("x")
    if len(x) != sum(bits for bits, _ in shapes):
        raise NotLinear(f"x must have {sum(bits for bits, _ in shapes)} bits, not {len(x)}")
    places = ((word, index) for word, (bits, _) in enumerate(shapes) for index in range(bits))
    nets: dict[int, tuple[int, int]] = {}
    for position, (net, place) in enumerate(zip(x, places, strict=True)):
        if net <= ONE or net in nets:
            why = "the same net as another one" if net > ONE else module.name_of(net)
            raise NotLinear(f"x[{position}] must be a net of its own, not {why}")
        nets[net] = place
    return nets


def _traced(tracer: Tracer, bits: Bits) -> tuple[Trace, ...] | NotLinear:
    try:
        return tuple(tracer.trace(bit) for bit in bits)
    except NotLinear as error:
        return error


def _operands(tracer: Tracer, cell: Cell) -> list[Operand] | NotLinear:
    """Return the operands of a word of arithmetic, extended to its width as Verilog does."""
    width = cell.number("Y_WIDTH")
    ports = ("A", "B") if cell.kind in ("$add", "$sub") else ("A",)
    signed = all(cell.flag(f"{port}_SIGNED") for port in ports)
    signs = {"$add": (1, 1), "$sub": (1, -1), "$neg": (-1,), "$not": (-1,)}[cell.kind]
    operands: list[Operand] = []
    for port, sign in zip(ports, signs, strict=True):
        bits = _traced(tracer, extended(cell.inputs[port], width, signed))
        if isinstance(bits, NotLinear):
            return NotLinear(f"{tracer.module.label(cell)}: {bits}", named=True)
        operands.append((sign, bits))
    return operands


def _in_order(tracer: Tracer, operands: dict[int, list[Operand] | NotLinear],
              outputs: Sequence[Sequence[Trace]]) -> list[int]:
    """Return the words that outputs depend on, each after all it reads; fill in operands."""
    def needs(bits: Sequence[Trace]) -> set[int]:
        return {bit.source for bit in bits if bit.source >= tracer.first_word}

    order: list[int] = []
    state: dict[int, bool] = {}         # False while its operands are visited, then True
    stack = sorted({source for bits in outputs for source in needs(bits)}, reverse=True)
    while stack:
        source = stack[-1]
        if source in state:
            stack.pop()
            if not state[source]:
                state[source] = True
                order.append(source)
            continue
        state[source] = False
        cell = tracer.words[source - tracer.first_word]
        operands[source] = found = _operands(tracer, cell)
        for _, bits in found if not isinstance(found, NotLinear) else ():
            for other in needs(bits):
                if state.get(other) is False:
                    raise NotLinear(f"{tracer.module.label(cell)} depends on itself")
                if other not in state:
                    stack.append(other)
    return order


def _needed_bits(operands: dict[int, list[Operand] | NotLinear], order: Sequence[int],
                 outputs: Sequence[Sequence[Trace] | NotLinear]) -> dict[int, int]:
    """Return how many low bits of each word matter: for n bits of a sum, n of each operand."""
    need: dict[int, int] = {}

    def note(bits: Sequence[Trace]) -> None:
        for bit in bits:
            need[bit.source] = max(need.get(bit.source, 0), bit.bit + 1)

    for output in outputs:
        note(() if isinstance(output, NotLinear) else output)
    for source in reversed(order):
        found = operands[source]
        for _, bits in () if isinstance(found, NotLinear) else found:
            note(bits[:need[source]])
    return need


def _word(box: Box, module: Module, cell: Cell, operands: list[Operand] | NotLinear,
          forms: Sequence[Form | NotLinear | None], width: int = 64) -> Form | NotLinear:
    """Return the form of a word of arithmetic; with ``width``, of its low bits alone."""
    if isinstance(operands, NotLinear):
        return operands
    name = module.label(cell)
    terms: list[Term] = []
    constant = -1 if cell.kind == "$not" else 0     # ~a = -a - 1
    delay: int | None = None
    for sign, bits in operands:
        try:
            reading = read_word(bits[:width], forms, box)
        except NotLinear as error:
            return error if error.named else NotLinear(f"{name}: {error}", named=True)
        if None not in (delay, reading.delay) and delay != reading.delay:
            return NotLinear(f"{name} combines a word of {delay} cycles ago with one of "
                             f"{reading.delay} cycles ago", named=True)
        delay = reading.delay if delay is None else delay
        terms += [Term(term.form, term.shift, sign * term.sign) for term in reading.terms]
        constant += sign * reading.constant
    try:
        return box.combine(terms, constant, delay, name, width)
    except NotLinear as error:
        return error


def _output(box: Box, number: int, bits: tuple[Trace, ...] | NotLinear,
            forms: Sequence[Form | NotLinear | None]) -> Form | NotLinear:
    if isinstance(bits, NotLinear):
        return bits
    try:
        reading: Reading = read_word(bits, forms, box)
        return box.combine(reading.terms, reading.constant, reading.delay, f"output {number}")
    except NotLinear as error:
        return error
