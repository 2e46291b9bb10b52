"""A few cycles of a design's ports as they were, for people to look at: around the first pixel, the
end of the first image, and the first result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwgen.files import write_json
from hwgen.sim.monitors import Signal

BEFORE, AFTER = 5, 8           # cycles kept before and after the one that a window is about
SIGNALS = ("tvalid", "tready", "tlast", "tdata")
ENDS = ("input", "output")
TITLES = ("first pixel", "end of the first image", "first result")


class Trace:
    """Watches both ports of one network, a step a cycle, until it has its three windows.

    A window is {title, first, signals}: its first cycle and, for each signal by ``input tvalid``
    and the like, a value a cycle: ``0``, ``1`` or ``x``; of ``tdata`` hexadecimal digits.

    Parameters
    ----------
    ports : mapping
        The signals ``input tvalid``, ..., ``output tdata``.
    """

    def __init__(self, ports: Mapping[str, Signal]) -> None:
        self.ports = ports
        self.windows: list[dict[str, Any]] = []
        self.past: deque[dict[str, str]] = deque(maxlen=BEFORE)
        self.open: list[tuple[dict[str, Any], int]] = []      # a window, cycles it still lacks
        self.waited = list(TITLES)

    def sample(self, cycle: int) -> None:
        """See the wires at this edge."""
        if not self.waited and not self.open:
            return
        now = {name: _value(signal) for name, signal in self.ports.items()}
        for window, _ in self.open:
            _append(window, now)
        self.open = [(window, left - 1) for window, left in self.open if left > 1]
        for title in [title for title in self.waited if _is_met(title, now)]:
            self.waited.remove(title)
            window = {"title": title, "first": cycle - len(self.past),
                      "signals": {name: [] for name in self.ports}}
            for row in (*self.past, now):
                _append(window, row)
            self.windows.append(window)
            self.open.append((window, AFTER))
        self.past.append(now)


def _is_met(title: str, now: Mapping[str, str]) -> bool:
    """Whether the beat that a window is about goes over in this cycle."""
    end = "output" if title == TITLES[2] else "input"
    moves = now[f"{end} tvalid"] == now[f"{end} tready"] == "1"
    return moves and (title != TITLES[1] or now["input tlast"] == "1")


def _append(window: dict[str, Any], row: Mapping[str, str]) -> None:
    for name, value in row.items():
        window["signals"][name].append(value)


def _value(signal: Signal) -> str:
    bits = str(signal.value)
    if len(bits) == 1:
        return bits.lower()
    try:
        return f"{int(bits, 2):0{-(-len(bits) // 4)}x}"
    except ValueError:
        return "x"


def write_trace(folder: Path, digest: str, windows: object, *, stalls: bool) -> None:
    """Write ``trace.json`` {digest, stalls, windows} into a design's folder, or, without windows,
    remove an earlier one.

    Raises: HwgenError if the file cannot be written.
    """
    path = folder / "trace.json"
    if windows:
        write_json(path, {"digest": digest, "stalls": stalls, "windows": windows})
    else:
        path.unlink(missing_ok=True)
