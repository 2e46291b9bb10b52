"""A Verilog file as Yosys reads it: modules, cells and single-bit nets, each net with its driver.

The text goes through ``read_verilog; proc; memory_collect; opt_clean`` and nothing else, so that
cells are still the words of the text (``$add``, ``$dff``, ``$mux``) and the module hierarchy is
kept. Nothing of the generator is used: what is read here is what a synthesis tool would read.

A bit is an int: a constant (``ZERO``, ``ONE``, ``UNKNOWN`` for x and z) or, from 2 upwards, a net
of its module.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.tools import run_yosys

ZERO, ONE, UNKNOWN = 0, 1, -1
CONSTANTS = {"0": ZERO, "1": ONE, "x": UNKNOWN, "z": UNKNOWN}
REGISTERS = ("$dff", "$dffe", "$sdff", "$sdffe", "$sdffce")
SOURCE, RESULT = "design.v", "netlist.json"
SCRIPT = f"""
read_verilog {SOURCE}
proc -norom
memory_collect
opt_clean
write_json {RESULT}
"""

Bits = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One cell: a word-level operator, a register, a memory, or an instance of a module.

    Parameters
    ----------
    name, kind : str
        ``kind`` starts with ``$`` for Yosys' own cells; else it is the name of a module.
    parameters : mapping
        Binary digits, most significant first, as Yosys writes them (memory contents may hold x).
    inputs, outputs : mapping of str to bits
        Connections by port, least significant bit first.
    """

    name: str
    kind: str
    parameters: Mapping[str, str]
    inputs: Mapping[str, Bits]
    outputs: Mapping[str, Bits]

    def number(self, parameter: str) -> int:
        """Return a parameter as an unsigned number. Raises: HwgenError if it is missing or none."""
        digits = self.parameters.get(parameter, "")
        try:
            return int(digits, 2)
        except ValueError as error:
            raise HwgenError(f"Cell {self.name}: a number {parameter} needed, not "
                             f"{digits[:40]!r}") from error

    def flag(self, parameter: str) -> bool:
        """Return True if a parameter is not zero; a missing one is zero."""
        return parameter in self.parameters and self.number(parameter) != 0


@dataclass(frozen=True, slots=True)
class Driver:
    """What drives a net: a bit of a port of a cell, or of an input port if cell is None."""

    cell: Cell | None
    port: str
    index: int


@dataclass(frozen=True)
class Module:
    """One module.

    Parameters
    ----------
    name : str
    inputs, outputs, wires : mapping of str to bits
        Ports and all named wires (ports too), least significant bit first.
    cells : mapping of str to Cell
    """

    name: str
    inputs: Mapping[str, Bits]
    outputs: Mapping[str, Bits]
    wires: Mapping[str, Bits]
    cells: Mapping[str, Cell]

    @cached_property
    def drivers(self) -> Mapping[int, Driver]:
        """The driver of every net that has one.

        Raises: HwgenError naming the net if it has two.
        """
        drivers: dict[int, Driver] = {}
        for port, bits in self.inputs.items():
            self._drive(drivers, None, port, bits)
        for cell in self.cells.values():
            for port, bits in cell.outputs.items():
                self._drive(drivers, cell, port, bits)
        return drivers

    def _drive(self, drivers: dict[int, Driver], cell: Cell | None, port: str, bits: Bits) -> None:
        for index, bit in enumerate(bits):
            if bit in drivers or bit in (ZERO, ONE, UNKNOWN):
                raise HwgenError(f"Module {self.name}, {self.name_of(bit)}: one driver needed, "
                                 f"not another one, {cell.name if cell else port}")
            drivers[bit] = Driver(cell, port, index)

    @cached_property
    def _names(self) -> Mapping[int, str]:
        names: dict[int, str] = {}
        for wire, bits in sorted(self.wires.items(), key=lambda item: (
                "$" in item[0] or item[0].startswith("_"), item[0])):
            for index, bit in enumerate(bits):
                if bit > ONE:
                    names.setdefault(bit, wire if len(bits) == 1 else f"{wire}[{index}]")
        return names

    def name_of(self, bit: int) -> str:
        """Return the name of a bit as a person knows it: ``add_3[7]``."""
        constants = {ZERO: "constant 0", ONE: "constant 1", UNKNOWN: "undefined value"}
        return constants.get(bit) or self._names.get(bit, f"net {bit}")

    @cached_property
    def _copies(self) -> Mapping[int, int]:
        """For each bit that a register or multiplexer takes in, a bit that it puts out."""
        copies: dict[int, int] = {}
        for cell in self.cells.values():
            if cell.kind == "$mux" or cell.kind in REGISTERS:
                (outputs,) = cell.outputs.values()
                for port in ("A", "B", "D"):
                    copies |= dict(zip(cell.inputs.get(port, ()), outputs, strict=False))
        return copies

    def label(self, cell: Cell) -> str:
        """Return a cell's kind and the wire it drives, for messages: ``$add add_3``.

        If that wire has no name, the register behind it may have one.
        """
        bit = next((bits[0] for bits in cell.outputs.values() if bits), UNKNOWN)
        for _ in range(4):
            name = self.name_of(bit)
            if "$" not in name and not name.startswith(("_", "net ")):
                return f"{cell.kind} {name.removesuffix('[0]')}"
            bit = self._copies.get(bit, bit)
        return f"{cell.kind} {cell.name}"

    def word(self, name: str) -> Bits:
        """Return the bits of a port or wire.

        Raises: HwgenError if the module has none of that name.
        """
        if name not in self.wires:
            raise HwgenError(f"Module {self.name}: a port {name} needed, it has "
                             f"{', '.join([*self.inputs, *self.outputs]) or 'none'}")
        return self.wires[name]

    def instances(self, kind: str) -> list[Cell]:
        """Return the cells of one kind, or the instances of one module."""
        return [cell for cell in self.cells.values() if cell.kind == kind]


@dataclass(frozen=True)
class Netlist:
    """All modules of a design, by name."""

    modules: Mapping[str, Module]

    def __getitem__(self, name: str) -> Module:
        if name not in self.modules:
            raise HwgenError(f"A module {name} is needed, the netlist has "
                             f"{', '.join(sorted(self.modules)[:8]) or 'none'}")
        return self.modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self.modules


def read_netlist(verilog: Path) -> Netlist:
    """Read a Verilog file with Yosys.

    Raises: HwgenError if the file cannot be read or Yosys refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="hwgen-") as folder:
        try:
            shutil.copyfile(verilog, Path(folder, SOURCE))
        except OSError as error:
            raise HwgenError(f"{verilog}: cannot be read ({error.strerror or error})") from error
        run_yosys(SCRIPT, cwd=folder)
        return parse_netlist(json.loads(Path(folder, RESULT).read_text(encoding="utf-8")))


def parse_netlist(document: Mapping[str, Any]) -> Netlist:
    """Return the netlist of the JSON that Yosys' ``write_json`` makes."""
    return Netlist({name: _module(name, entry) for name, entry in document["modules"].items()})


def _module(name: str, entry: Mapping[str, Any]) -> Module:
    ports = {"input": {}, "output": {}, "inout": {}}  # type: dict[str, dict[str, Bits]]
    for port, description in entry["ports"].items():
        ports[description["direction"]][port] = _bits(description["bits"])
    if ports["inout"]:
        raise HwgenError(f"Module {name}: inputs and outputs needed, "
                         f"{next(iter(ports['inout']))} is both")
    wires = {wire: _bits(item["bits"]) for wire, item in entry["netnames"].items()}
    cells = {cell: _cell(cell, item) for cell, item in entry["cells"].items()}
    both = ports["input"] | ports["output"]
    return Module(name, ports["input"], ports["output"], wires | both, cells)


def _cell(name: str, entry: Mapping[str, Any]) -> Cell:
    directions = entry.get("port_directions", {})
    inputs: dict[str, Bits] = {}
    outputs: dict[str, Bits] = {}
    for port, bits in entry["connections"].items():
        (outputs if directions.get(port) == "output" else inputs)[port] = _bits(bits)
    parameters = {key: str(value) for key, value in entry["parameters"].items()}
    return Cell(name, entry["type"], parameters, inputs, outputs)


def _bits(bits: list[int | str]) -> Bits:
    return tuple(bit if isinstance(bit, int) else CONSTANTS[bit] for bit in bits)
