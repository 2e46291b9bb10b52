"""Where the bits of a netlist come from: back through wires, constant shifts and registers.

Wiring (``$pos``, shifts and multiplexers by constants, slices, concatenations) moves bits; a
register delays each of its bits by one cycle. What stops a trace is an input, a constant or a word
of arithmetic. Every register passed must have the clock ``clk`` and the same enable ``en``, which
is checked at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hwgen.sim.linear_forms import CONSTANT, NotLinear, Trace
from hwgen.sim.netlist import ONE, REGISTERS, UNKNOWN, ZERO, Bits, Cell, Module

ARITHMETIC = ("$add", "$sub", "$neg", "$not")
SHIFTS = {"$shl": -1, "$sshl": -1, "$shr": 1, "$sshr": 1}


class Control(NamedTuple):
    """What moves a register: its clock edge, and its enable with its level (or None)."""

    clock: int
    rising: bool
    enable: int | None
    level: bool


def extended(bits: Bits, width: int, signed: bool) -> Bits:
    """Return bits cut or extended to ``width``, as Verilog extends an operand."""
    if not bits:
        return (ZERO,) * width
    return bits[:width] + (bits[-1] if signed else ZERO,) * (width - len(bits))


class Tracer:
    """Traces bits of one module.

    Parameters
    ----------
    module : Module
    inputs : mapping of net to (source, index)
        Nets at which a trace ends: the module's inputs.
    first_word : int
        Source number of the first word of arithmetic found; the next ones follow.
    enable : str or int
        Name (or net) of the wire that must enable every register passed.
    assumed : mapping of net to bool
        Selects of multiplexers taken as constant.

    Attributes: words, the cells of arithmetic in order of discovery; controls, what moves the
    registers passed, and for each the first register moved so.
    """

    def __init__(self, module: Module, inputs: Mapping[int, tuple[int, int]], first_word: int, *,
                 enable: str | int = "en", assumed: Mapping[int, bool] | None = None):
        self.module = module
        self.words: list[Cell] = []
        self.first_word = first_word
        self._enable, self._assumed = enable, dict(assumed or {})
        self.controls: dict[Control, Cell] = {}
        self._numbers: dict[str, int] = {}
        self._known = {net: Trace(source, index, 0) for net, (source, index) in inputs.items()}
        reset = module.wires.get("rst", ())
        self._reset = reset[0] if len(reset) == 1 and reset[0] > ONE else None

    def trace(self, bit: int) -> Trace:
        """Return where a bit comes from.

        Raises: NotLinear if a cell on the way is no wiring, register or arithmetic, or the way is a
        loop.
        """
        way: list[tuple[int, int]] = []             # nets, and the delay between each and the next
        seen: set[int] = set()
        while bit > ONE and bit not in self._known:
            if bit in seen:
                raise NotLinear(f"{self.module.name_of(bit)} depends on itself")
            seen.add(bit)
            driver = self.module.drivers.get(bit)
            if driver is None:
                raise NotLinear(f"{self.module.name_of(bit)} has no driver")
            if driver.cell is None:
                raise NotLinear(f"input {self.module.name_of(bit)} is none of the words of x")
            if driver.cell.kind in ARITHMETIC:
                self._known[bit] = Trace(self._number(driver.cell), driver.index, 0)
                break
            before, delay = self._step(bit, driver.cell, driver.index)
            way.append((bit, delay))
            bit = before
        if bit == UNKNOWN:
            raise NotLinear(f"{self.module.name_of(way[-1][0])} is undefined" if way else
                            "a bit is undefined")
        end = self._known[bit] if bit > ONE else Trace(CONSTANT, bit, 0)
        for net, delay in reversed(way):
            if end.source != CONSTANT:
                end = end._replace(delay=end.delay + delay)
            self._known[net] = end
        return end

    def _number(self, cell: Cell) -> int:
        if cell.name not in self._numbers:
            self._numbers[cell.name] = self.first_word + len(self.words)
            self.words.append(cell)
        return self._numbers[cell.name]

    def _step(self, bit: int, cell: Cell, index: int) -> tuple[int, int]:
        """Return the bit that ``bit``, an output of a cell, copies, and how many cycles later."""
        kind = cell.kind
        if kind in REGISTERS:
            return self._register(bit, cell, index), 1
        if kind == "$pos":
            width = cell.number("Y_WIDTH")
            return extended(cell.inputs["A"], width, cell.flag("A_SIGNED"))[index], 0
        if kind in SHIFTS and all(b in (ZERO, ONE) for b in cell.inputs["B"]):
            return _shifted(cell, index), 0
        if kind == "$mux" and (select := self._select(cell)) in (ZERO, ONE):
            return cell.inputs["B" if select else "A"][index], 0
        if kind == "$slice":
            return cell.inputs["A"][cell.number("OFFSET") + index], 0
        if kind == "$concat":
            return (cell.inputs["A"] + cell.inputs["B"])[index], 0
        raise NotLinear(f"{self.module.label(cell)} is none of +, -, constant shift and register")

    def _select(self, cell: Cell) -> int:
        select = cell.inputs["S"][0]
        return int(self._assumed.get(select, select))

    def taken_in(self, bit: int) -> int:
        """Return the bit that a register's output takes in when enabled and not reset.

        Raises: NotLinear if ``bit`` is no register's output or something else moves the register.
        """
        driver = self.module.drivers.get(bit)
        if driver is None or driver.cell is None or driver.cell.kind not in REGISTERS:
            raise NotLinear(f"{self.module.name_of(bit)} is no register")
        return self._register(bit, driver.cell, driver.index, logic=True)

    def _register(self, bit: int, cell: Cell, index: int, logic: bool = False) -> int:
        """Return the bit a register takes in when enabled and not reset; note what moves it.

        With ``logic`` that bit may come from any logic, else a multiplexer left over is refused.
        """
        before = cell.inputs["D"][index]
        enable: int | None = None
        level = True
        if "EN" in cell.inputs:
            enable, level = cell.inputs["EN"][0], cell.flag("EN_POLARITY")
        if "SRST" in cell.inputs and (cell.inputs["SRST"][0] != self._reset
                                      or not cell.flag("SRST_POLARITY")):
            raise NotLinear(f"{self.module.label(cell)} is reset by "
                            f"{self.module.name_of(cell.inputs['SRST'][0])}, not by rst")
        while (mux := self._multiplexer(before)) is not None:
            select = mux.cell.inputs["S"][0]
            low, high = mux.cell.inputs["A"][mux.place], mux.cell.inputs["B"][mux.place]
            if select in (ZERO, ONE, self._reset):
                before = high if select == ONE else low
            elif enable is None and bit in (low, high):
                enable, level = select, bit == low
                before = high if level else low
            elif logic:
                break
            else:
                raise NotLinear(f"{self.module.label(cell)} is chosen by "
                                f"{self.module.name_of(select)}, which is neither enable nor reset")
        control = Control(cell.inputs["CLK"][0], cell.flag("CLK_POLARITY"), enable, level)
        self.controls.setdefault(control, cell)
        return before

    def _multiplexer(self, bit: int) -> _Mux | None:
        driver = self.module.drivers.get(bit)
        if driver is None or driver.cell is None or driver.cell.kind != "$mux":
            return None
        return _Mux(driver.cell, driver.index)

    def check_control(self) -> None:
        """Check that all registers passed have the clock ``clk``, and the enable ``en`` if there is
        one.

        Raises: NotLinear naming the register that has not.
        """
        wires, names = self.module.wires, self.module.name_of
        enable = self._enable
        if isinstance(enable, str):
            enable = wires.get(enable, (ONE,))[0]
        for control, cell in self.controls.items():
            label = self.module.label(cell)
            if (control.clock,) != wires.get("clk") or not control.rising or control.clock <= ONE:
                edge = "rising" if control.rising else "falling"
                raise NotLinear(f"{label} has the {edge} edge of {names(control.clock)} as its "
                                "clock, not the rising edge of clk")
            if enable == ONE and control.enable in (None, ONE):
                continue
            if control.enable != enable or not control.level:
                came = "none" if control.enable is None else names(control.enable)
                inverted = "" if control.level else " (inverted)"
                raise NotLinear(f"{label} has the enable {came}{inverted}, not {names(enable)}")


class _Mux(NamedTuple):
    cell: Cell
    place: int


def _shifted(cell: Cell, index: int) -> int:
    """Return the bit of a shift by a constant that ends at ``index``; Yosys' rules of extension."""
    bits, signed = cell.inputs["A"], cell.flag("A_SIGNED")
    amount = sum(b << k for k, b in enumerate(cell.inputs["B"]))
    place = index + SHIFTS[cell.kind] * amount
    if place < 0:
        return ZERO
    width = max(cell.number("Y_WIDTH"), len(bits))
    if place >= width:
        return bits[-1] if signed and cell.kind == "$sshr" else ZERO
    return extended(bits, width, signed)[place]

