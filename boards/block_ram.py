"""A change to a mapped ECP5 netlist before it is placed: registers behind block RAMs become theirs.

A DP16KD has a register at each of its ports, which gives a word some 4 ns earlier than the memory
itself does; Yosys leaves it unused. Where all outputs of a port that are read go into plain
flip-flops of the same clock and the same enable, and nowhere else, those are that register.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

WIDE = 36                     # bits of a word that takes the outputs of both ports
ONE, ZERO = "1", "0"


def absorb_registers(module: dict[str, Any]) -> int:
    """Move the flip-flops behind block RAMs into them, in place; return how many there were.

    Parameters: module, one of ``modules`` of a netlist as Yosys' ``write_json`` gives it.
    """
    cells = module["cells"]
    readers: defaultdict[Any, list[str]] = defaultdict(list)
    tables: dict[Any, dict[str, Any]] = {}                # the look-up table that drives a bit
    for port in module["ports"].values():
        for bit in port["bits"]:
            readers[bit].append("")
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for bit in bits:
                    readers[bit].append(name)
            elif cell["type"] == "LUT4":
                tables[bits[0]] = cell
    count = 0
    for cell in list(cells.values()):
        if cell["type"] != "DP16KD":
            continue
        wide = max(int(cell["parameters"][f"DATA_WIDTH_{side}"], 2) for side in "AB") == WIDE
        for sides in ("AB",) if wide else ("A", "B"):
            found = _registers(cells, cell, sides, readers, tables)
            for output, register in found.items():
                cell["connections"][output] = cells.pop(register)["connections"]["Q"]
            if found:
                for side in sides:
                    cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                    cell["connections"][f"OCE{side}"] = list(cell["connections"][f"CE{sides[-1]}"])
            count += len(found)
    return count


def _registers(cells: dict[str, Any], memory: dict[str, Any], sides: str,
               readers: dict[Any, list[str]], tables: dict[Any, dict[str, Any]]) -> dict[str, str]:
    """Return the flip-flop behind each output of some ports; none if they cannot be moved.

    A word of both ports is read by the last of them.
    """
    nets = memory["connections"]
    clocks = {tuple(nets[f"CLK{side}"]) for side in sides}
    if len(clocks) != 1 or any(nets[f"RST{side}"] != [ZERO] for side in sides):
        return {}
    clock = (*clocks.pop(), _condition(nets[f"CE{sides[-1]}"][0], False, tables))
    found = {}
    for output, bits in nets.items():
        if not output.startswith(tuple(f"DO{side}" for side in sides)) or not readers[bits[0]]:
            continue
        if len(readers[bits[0]]) > 1:
            return {}
        if not _plain(cells.get(readers[bits[0]][0]), bits[0], clock, tables):
            return {}
        found[output] = readers[bits[0]][0]
    return found


def _plain(cell: dict[str, Any] | None, data: Any, clock: tuple[Any, Any],
           tables: dict[Any, dict[str, Any]]) -> bool:
    """Tell whether a cell is a flip-flop of ``data`` that begins with 0 and has no reset.

    Parameters: cell; data; clock, and when it counts; tables.
    """
    if cell is None or cell["type"] != "TRELLIS_FF":
        return False
    nets, values = cell["connections"], cell["parameters"]
    mux = values.get("CEMUX", "CE").strip()               # Yosys writes "1 " for a word, not a bit
    enable = ONE if mux == "1" else nets.get("CE", [ONE])[0]
    return (nets["DI"] == [data] and mux in ("1", "CE", "INV")
            and (*nets["CLK"], _condition(enable, mux == "INV", tables)) == clock
            and nets.get("LSR", [ZERO]) == [ZERO] and "M" not in nets
            and values["REGSET"] == "RESET" and values["CLKMUX"] == "CLK")


def _condition(bit: Any, inverted: bool, tables: dict[Any, dict[str, Any]]) -> Any:
    """Return what tells an enable from others: mapping gives memories and flip-flops look-up tables
    of their own for it.
    """
    if bit not in tables:
        return bit, inverted
    table = tables[bit]
    ones = int(table["parameters"]["INIT"], 2) ^ (0xFFFF if inverted else 0)
    return (ones, *(table["connections"].get(name, [ZERO])[0] for name in "ABCD"))
