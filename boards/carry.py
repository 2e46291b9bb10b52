"""A change to a mapped ECP5 netlist before it is placed: carry chains end where their sum ends.

nextpnr leads the last carry of a chain out through two more LUT positions as soon as a net hangs on
it, even one that nothing reads; Yosys leaves such nets. Without them every chain is two positions
shorter, and the function is the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Any


def cut_unread_carries(module: dict[str, Any]) -> int:
    """Disconnect every COUT of a CCU2C that nothing reads, in place; return how many there were.

    Parameters: module, one of ``modules`` of a netlist as Yosys' ``write_json`` gives it.
    """
    readers: Counter[Any] = Counter()
    for port in module["ports"].values():
        readers.update(port["bits"])
    for cell in module["cells"].values():
        for name, bits in cell["connections"].items():
            if cell["port_directions"][name] != "output":
                readers.update(bits)
    count = 0
    for cell in module["cells"].values():
        end = cell["connections"].get("COUT") if cell["type"] == "CCU2C" else None
        if end and isinstance(end[0], int) and not readers[end[0]]:
            cell["connections"]["COUT"] = ["x"]     # open, but not left out: nextpnr wants a bit
            count += 1
    return count
