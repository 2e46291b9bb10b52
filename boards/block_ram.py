"""A change to a mapped ECP5 netlist before it is placed: registers behind block RAMs become theirs.

A DP16KD has a register at each of its ports, which gives a word some 4 ns earlier than the memory
itself does; Yosys leaves it unused. Where all outputs of a port that are read go into plain
flip-flops of the same clock, and nowhere else, those are that register.
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
    for port in module["ports"].values():
        for bit in port["bits"]:
            readers[bit].append("")
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for bit in bits:
                    readers[bit].append(name)
    count = 0
    for cell in list(cells.values()):
        if cell["type"] != "DP16KD":
            continue
        wide = max(int(cell["parameters"][f"DATA_WIDTH_{side}"], 2) for side in "AB") == WIDE
        for sides in ("AB",) if wide else ("A", "B"):
            found = _registers(cells, cell, sides, readers)
            for output, register in found.items():
                cell["connections"][output] = cells.pop(register)["connections"]["Q"]
            if found:
                for side in sides:
                    cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
                    cell["connections"][f"OCE{side}"] = [ONE]
            count += len(found)
    return count


def _registers(cells: dict[str, Any], memory: dict[str, Any], sides: str,
               readers: dict[Any, list[str]]) -> dict[str, str]:
    """Return the flip-flop behind each output of some ports; none if they cannot be moved."""
    nets = memory["connections"]
    clocks = {tuple(nets[f"CLK{side}"]) for side in sides}
    if len(clocks) != 1 or any(nets[f"CE{side}"] != [ONE] or nets[f"RST{side}"] != [ZERO]
                               for side in sides):
        return {}
    found = {}
    for output, bits in nets.items():
        if not output.startswith(tuple(f"DO{side}" for side in sides)) or not readers[bits[0]]:
            continue
        if len(readers[bits[0]]) > 1 or not _plain(cells.get(readers[bits[0]][0]), bits[0], clocks):
            return {}
        found[output] = readers[bits[0]][0]
    return found


def _plain(cell: dict[str, Any] | None, data: Any, clocks: set[tuple[Any, ...]]) -> bool:
    """Tell whether a cell is a flip-flop of ``data`` without enable and reset, beginning with 0."""
    if cell is None or cell["type"] != "TRELLIS_FF":
        return False
    nets, values = cell["connections"], cell["parameters"]
    return (nets["DI"] == [data] and nets.get("CE", [ONE]) == [ONE]
            and nets.get("LSR", [ZERO]) == [ZERO] and "M" not in nets
            and values["REGSET"] == "RESET" and values["CLKMUX"] == "CLK"
            and tuple(nets["CLK"]) in clocks)
