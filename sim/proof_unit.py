"""One lane of a dense layer in time, read out of its netlist: what each code multiplies by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.errors import HwgenError
from hwgen.network import Int64Array
from hwgen.sim.linear_forms import Box, Form, NotLinear
from hwgen.sim.netlist import ONE, REGISTERS, Bits, Cell, Module
from hwgen.sim.netlist_eval import bits_of, evaluate, word_of
from hwgen.sim.netlist_linear import words
from hwgen.sim.netlist_trace import Tracer


@dataclass(frozen=True, eq=False)
class Unit:
    """A lane: ``total = (start ? bias : total) + sum(x[n] * values[n][code[n]])``.

    Parameters
    ----------
    width : int
        Bits of the accumulator, sign included.
    values : tuple of (codes,) int64
        For each term, what each code multiplies by; 0 for codes that are not used.
    """

    width: int
    values: tuple[Int64Array, ...]

    @property
    def terms(self) -> int:
        """Inputs taken in one step."""
        return len(self.values)


def read_unit(module: Module, *, codes: Sequence[Int64Array], code_bits: int, width: int, lo: int,
              hi: int) -> Unit:
    """Read a lane out of its netlist: every code with every input, and the accumulator's form.

    Parameters
    ----------
    module : Module
        Ports x, codes, start, bias, enable, total.
    codes : sequence of int64 arrays
        The codes used, for each input of a step; ports x and codes hold one word for each.
    code_bits, width : int
        Bits of a code and of an input.
    lo, hi : int
        Smallest and largest input.

    Raises: NotLinear or HwgenError if the lane is not what Unit says, for every input and code.
    """
    terms = len(codes)
    total, bias = module.word("total"), module.word("bias")
    biased = any(bias)                              # a lane without biases has the constant 0 there
    registers = [cell for cell in module.cells.values()
                 if cell.kind in REGISTERS and cell.outputs["Q"] != total]
    if len(bias) != len(total):
        raise HwgenError(f"Module {module.name}: bias of {len(total)} bits needed, not {len(bias)}")
    for port, bits in (("x", width), ("codes", code_bits)):
        if len(module.word(port)) != terms * bits:
            raise HwgenError(f"Module {module.name}: port {port} of {terms * bits} bits needed, "
                             f"not {len(module.word(port))}")
    first, later = (_taken_in(module, registers, total, start) for start in (True, False))
    _check_sum(module, first, {"bias": int(biased), "total": 0})
    _check_sum(module, later, {"bias": 0, "total": 1})
    if first[2:] != later[2:]:
        raise NotLinear(f"{module.name}: a slot's first step must add the same as every other one")
    parts: list[list[tuple[int, Cell]]] = [[] for _ in range(terms)]
    for factor, cell in zip(first[2:], registers, strict=True):
        if factor:
            parts[_term_of(module, cell, terms, width, code_bits)].append((factor, cell))
    x = np.arange(lo, hi + 1, dtype=np.int64)
    return Unit(len(total), tuple(_values(module, n, part, x, width, code_bits, used)
                                  for n, (part, used) in enumerate(zip(parts, codes, strict=True))))


def _signed(cell: Cell) -> bool:
    """How a register's word is taken: a single bit (a carry) as 0 or 1, others with sign."""
    return len(cell.outputs["Q"]) > 1


def _taken_in(module: Module, registers: Sequence[Cell], total: Bits, start: bool) -> list[int]:
    """Return what the accumulator takes in: coefficients of bias, total, each register's word."""
    sources = [module.word("bias"), total, *(cell.outputs["Q"] for cell in registers)]
    signs = [True, True, *(_signed(cell) for cell in registers)]
    names = ["bias", "total", *(module.label(cell) for cell in registers)]
    nets = {net: (n, k) for n, bits in enumerate(sources) for k, net in enumerate(bits)
            if net > ONE}
    lo = [-(1 << len(bits) - 1) if sign else 0 for bits, sign in zip(sources, signs, strict=True)]
    hi = [(1 << len(bits) - sign) - 1 for bits, sign in zip(sources, signs, strict=True)]
    tracer = Tracer(module, nets, len(sources), enable="enable",
                    assumed={module.word("start")[0]: start})
    box = Box(np.array(lo, np.int64), np.array(hi, np.int64))
    (form,) = words(tracer, box, names, [tuple(tracer.taken_in(bit) for bit in total)])
    tracer.check_control()
    if not isinstance(form, Form):
        raise form
    if form.constant or form.delay:
        raise NotLinear(f"{module.name}: total must be a sum of registers, without a constant")
    dense = np.zeros(len(sources), np.int64)
    dense[form.index] = form.coefficient
    return [int(value) for value in dense]


def _check_sum(module: Module, coefficients: Sequence[int], wanted: dict[str, int]) -> None:
    for (name, value), came in zip(wanted.items(), coefficients, strict=False):
        if value != came:
            raise NotLinear(f"{module.name}: total must take in {value} times {name}, not {came}")


def _term_of(module: Module, cell: Cell, terms: int, width: int, code_bits: int) -> int:
    """Return which term a register belongs to: the only one whose x and codes reach it."""
    wanted = _data(module, cell)
    for n in range(terms):
        given = _given(module, n, np.zeros(1, np.int64), 0, width, code_bits)
        try:
            evaluate(module, wanted, given)
        except HwgenError:
            continue
        return n
    raise NotLinear(f"{module.name}: {module.label(cell)} depends on more than one term's x and "
                    "code")


def _data(module: Module, cell: Cell) -> Bits:
    tracer = Tracer(module, {}, 0, enable="enable")
    bits = tuple(tracer.taken_in(bit) for bit in cell.outputs["Q"])
    tracer.check_control()
    return bits


def _given(module: Module, n: int, x: Int64Array, code: int, width: int,
           code_bits: int) -> dict[int, np.typing.NDArray[np.bool_]]:
    places = module.word("x")[n * width:(n + 1) * width]
    codes = module.word("codes")[n * code_bits:(n + 1) * code_bits]
    return (dict(zip(places, bits_of(x, width), strict=True))
            | dict(zip(codes, bits_of(np.full_like(x, code), code_bits), strict=True)))


def _values(module: Module, n: int, part: list[tuple[int, Cell]], x: Int64Array, width: int,
            code_bits: int, used: Int64Array) -> Int64Array:
    """Return what each used code of a term multiplies by, after trying every input with it."""
    data = [(factor, _signed(cell), _data(module, cell)) for factor, cell in part]
    values = np.zeros(1 << code_bits, np.int64)
    for code in used.tolist():
        given = _given(module, n, x, code, width, code_bits)
        product = sum((factor * word_of(evaluate(module, bits, given), sign)
                       for factor, sign, bits in data), np.zeros(x.size, np.int64))
        one = int(np.flatnonzero(x)[0]) if x.any() else 0
        values[code] = int(product[one]) // int(x[one]) if x.any() else 0
        wrong = np.flatnonzero(product != values[code] * x)
        if wrong.size:
            raise NotLinear(f"{module.name}: code {code} with x = {x[wrong[0]]} must give "
                            f"{values[code]} times x, not {product[wrong[0]]}")
    return values
