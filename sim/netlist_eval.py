"""Combinational logic of a netlist, evaluated for many inputs at once.

A second reading of Yosys' cells beside the linear forms: by value, not by algebra. It serves units
small enough to be tried with every input, and as the check of the linear forms themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.network import Int64Array
from hwgen.sim.netlist import ONE, UNKNOWN, Bits, Cell, Module

BoolArray = npt.NDArray[np.bool_]
MAX_BITS = 62                 # of a word of arithmetic, so that int64 is exact

COMPARISONS: dict[str, Callable[[Int64Array, Int64Array], BoolArray]] = {
    "$eq": np.equal, "$ne": np.not_equal, "$eqx": np.equal, "$nex": np.not_equal,
    "$lt": np.less, "$le": np.less_equal, "$gt": np.greater, "$ge": np.greater_equal,
}
BITWISE: dict[str, Callable[[BoolArray, BoolArray], BoolArray]] = {
    "$and": np.logical_and, "$or": np.logical_or, "$xor": np.logical_xor, "$xnor": np.equal,
}


def word_of(bits: Sequence[BoolArray], signed: bool = False) -> Int64Array:
    """Return the integers that bits, least significant first, stand for; at most 62 bits."""
    if len(bits) > MAX_BITS:
        raise HwgenError(f"Words of at most {MAX_BITS} bits can be evaluated, not {len(bits)}")
    total = np.zeros(bits[0].shape if bits else (), np.int64)
    for k, bit in enumerate(bits):
        total = total + (bit.astype(np.int64) << k)
    if signed and bits:
        total -= bits[-1].astype(np.int64) << len(bits)
    return total


def bits_of(word: Int64Array, width: int) -> list[BoolArray]:
    """Return the lowest bits of integers in two's complement, least significant first."""
    return [(word >> min(k, 63) & 1).astype(bool) for k in range(width)]


def evaluate(module: Module, wanted: Bits, given: Mapping[int, BoolArray]) -> list[BoolArray]:
    """Evaluate bits of a module.

    Parameters
    ----------
    module : Module
    wanted : bits
    given : mapping of net to values
        Inputs, and the outputs of registers and memories; all arrays of one shape.

    Returns: values of the wanted bits.
    Raises: HwgenError naming the cell, if a bit depends on something that is not given and not
    combinational, or on a cell or a width that has no rule.
    """
    shape = next(iter(given.values())).shape if given else ()
    known = dict(given)
    constants = {bit: np.full(shape, bool(bit)) for bit in (0, ONE)}

    def values(bits: Bits) -> list[BoolArray]:
        if UNKNOWN in bits:
            raise HwgenError(f"Module {module.name}: an undefined bit is used")
        return [constants[bit] if bit <= ONE else known[bit] for bit in bits]

    for cell in _cone(module, wanted, given):
        (outputs,) = cell.outputs.values()
        known |= dict(zip(outputs, _cell(cell, values), strict=True))
    return values(wanted)


def _cone(module: Module, wanted: Bits, given: Mapping[int, BoolArray]) -> list[Cell]:
    """Return the cells that bits depend on, each behind those it reads."""
    order: list[Cell] = []
    state: dict[str, bool] = {}

    def drivers(bits: Bits) -> list[Cell]:
        found: dict[str, Cell] = {}
        for bit in bits:
            if bit <= ONE or bit in given:
                continue
            driver = module.drivers.get(bit)
            if driver is None or driver.cell is None:
                raise HwgenError(f"Module {module.name}: {module.name_of(bit)} is not given")
            found[driver.cell.name] = driver.cell
        return list(found.values())

    stack = drivers(wanted)
    while stack:
        cell = stack[-1]
        if cell.name in state:
            stack.pop()
            if not state[cell.name]:
                state[cell.name] = True
                order.append(cell)
            continue
        state[cell.name] = False
        for before in drivers(tuple(bit for bits in cell.inputs.values() for bit in bits)):
            if state.get(before.name) is False:
                raise HwgenError(f"Module {module.name}: {module.label(cell)} depends on itself")
            if before.name not in state:
                stack.append(before)
    return order


def _cell(cell: Cell, values: Callable[[Bits], list[BoolArray]]) -> list[BoolArray]:
    """Return the output bits of one cell."""
    kind = cell.kind
    if kind in ("$add", "$sub", "$neg", "$not", "$pos", *COMPARISONS, *BITWISE):
        return _words(cell, values)
    if kind in ("$shl", "$sshl", "$shr", "$sshr", "$shiftx"):
        return _shift(cell, values)
    if kind == "$mux":
        a, b, select = (values(cell.inputs[port]) for port in "ABS")
        return [np.where(select[0], high, low) for low, high in zip(a, b, strict=True)]
    if kind == "$pmux":
        return _pmux(cell, values)
    if kind == "$concat":
        return values(cell.inputs["A"] + cell.inputs["B"])
    if kind == "$slice":
        start = cell.number("OFFSET")
        return values(cell.inputs["A"][start:start + cell.number("Y_WIDTH")])
    if kind.startswith(("$reduce_", "$logic_")):
        return _logic(cell, values)
    raise HwgenError(f"Cell {cell.name}: combinational logic needed, not {kind}")


def _operand(cell: Cell, port: str, width: int, signed: bool,
             values: Callable[[Bits], list[BoolArray]]) -> list[BoolArray]:
    bits = values(cell.inputs[port])[:width]
    top = bits[-1] if signed else np.zeros_like(bits[-1])
    return bits + [top] * (width - len(bits))


def _words(cell: Cell, values: Callable[[Bits], list[BoolArray]]) -> list[BoolArray]:
    ports = [port for port in "AB" if port in cell.inputs]
    signed = all(cell.flag(f"{port}_SIGNED") for port in ports)
    width = cell.number("Y_WIDTH")
    if cell.kind in COMPARISONS:
        longest = max(len(cell.inputs[port]) for port in ports)
        a, b = (word_of(_operand(cell, port, longest, signed, values), signed) for port in ports)
        result = COMPARISONS[cell.kind](a, b)
        return [result] + [np.zeros_like(result)] * (width - 1)
    operands = [_operand(cell, port, width, signed, values) for port in ports]
    if cell.kind in BITWISE:
        return [BITWISE[cell.kind](a, b) for a, b in zip(*operands, strict=True)]
    if cell.kind == "$not":
        return [~a for a in operands[0]]
    if cell.kind == "$pos":
        return operands[0]
    a, *rest = (word_of(bits) for bits in operands)
    total = -a if cell.kind == "$neg" else a + rest[0] if cell.kind == "$add" else a - rest[0]
    return bits_of(total, width)


def _shift(cell: Cell, values: Callable[[Bits], list[BoolArray]]) -> list[BoolArray]:
    """Return a shift by a variable amount, one power of two of it after the other."""
    signed, width = cell.flag("A_SIGNED"), cell.number("Y_WIDTH")
    if cell.kind == "$shiftx" and cell.flag("B_SIGNED"):
        raise HwgenError(f"Cell {cell.name}: a $shiftx by an unsigned amount needed")
    if cell.kind == "$shiftx":
        last = int(word_of(values(cell.inputs["B"])).max(initial=0)) + width
        if last > len(cell.inputs["A"]):
            raise HwgenError(f"Cell {cell.name}: a choice of {len(cell.inputs['A'])} bits "
                             f"needed, bit {last - 1} is undefined")
    longest = max(width, len(cell.inputs["A"]))
    extend = signed and cell.kind != "$shiftx"
    bits = _operand(cell, "A", longest, extend, values)
    fill = bits[-1] if extend and cell.kind == "$sshr" else np.zeros_like(bits[-1])
    for k, amount in enumerate(values(cell.inputs["B"])):
        step = min(1 << k, longest)
        if cell.kind in ("$shl", "$sshl"):
            moved = [np.zeros_like(fill)] * step + bits[:longest - step]
        else:
            moved = bits[step:] + [fill] * step
        bits = [np.where(amount, new, old) for new, old in zip(moved, bits, strict=True)]
    return bits[:width]


def _pmux(cell: Cell, values: Callable[[Bits], list[BoolArray]]) -> list[BoolArray]:
    result, choices = values(cell.inputs["A"]), values(cell.inputs["B"])
    width, taken = len(result), np.zeros(result[0].shape, np.int64)
    for n, select in enumerate(values(cell.inputs["S"])):
        taken += select
        result = [np.where(select, high, low)
                  for high, low in zip(choices[n * width:(n + 1) * width], result, strict=True)]
    if np.any(taken > 1):
        raise HwgenError(f"Cell {cell.name}: one select at a time needed, not several")
    return result


def _logic(cell: Cell, values: Callable[[Bits], list[BoolArray]]) -> list[BoolArray]:
    a = np.array(values(cell.inputs["A"]))
    any_a: BoolArray = np.logical_or.reduce(a)
    any_b: BoolArray = np.logical_or.reduce(values(cell.inputs.get("B", cell.inputs["A"])))
    odd: BoolArray = np.logical_xor.reduce(a)
    rules: dict[str, BoolArray] = {
        "$reduce_and": np.logical_and.reduce(a), "$reduce_or": any_a, "$reduce_bool": any_a,
        "$logic_not": ~any_a, "$reduce_xor": odd, "$reduce_xnor": ~odd,
        "$logic_and": any_a & any_b, "$logic_or": any_a | any_b,
    }
    if cell.kind not in rules:
        raise HwgenError(f"Cell {cell.name}: combinational logic needed, not {cell.kind}")
    result = rules[cell.kind]
    return [result] + [np.zeros_like(result)] * (cell.number("Y_WIDTH") - 1)
