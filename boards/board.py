"""What a board is: platform, chip, crystal, serial line; and the table of their names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hwgen.boards.pll import Pll
from hwgen.boards.targets import Sizes, find_target
from hwgen.errors import HwgenError

# Name on the command line -> module of this package, whose BOARDS holds it.
MODULES = {
    "ulx3s": "ulx3s", "ulx3s-25f": "ulx3s", "ulx3s-12f": "ulx3s",
    "orangecrab": "orangecrab", "orangecrab-25f": "orangecrab",
    "ecpix5": "ecpix5",
    "icebreaker": "icebreaker",
    "hx8k-evn": "hx8k_evn",
    "tang-nano-9k": "tang_nano_9k",
    "arty-a7": "arty_a7",
}

# LUT positions and flip-flops of the shell, by family: measured for 8x8 digits in one beat of
# result (1,117 and 745 on an ECP5, 1,283 and 734 on Gowin, 987 and 745 on iCE40, where the
# flip-flops that take a place of their own are counted with the LUTs), and a little more.
SHELL = {"ecp5": (1200, 800), "gowin": (1350, 800), "ice40": (1500, 800)}


@dataclass(frozen=True)
class Board:
    """One board.

    Parameters
    ----------
    name, title : str
        On the command line, and in words.
    platform : callable
        Makes a platform of Amaranth.
    target : str
        Its chip in ``hwgen.boards.targets``; ``xc7`` is not placed here: a project is written.
    clock : str
        The platform's resource of the crystal.
    clock_hz : int
    pll : Pll
    aim_mhz : float
        Clock that the first placement aims at; where there is only one, the clock.
    product : str
        Suffix of the file that is loaded.
    load : str
        Command that loads it; ``{file}`` is its name.
    sizes : Sizes, optional
        What the chip has, where it is not what the target has.
    uart : (str, int)
        The platform's resource of the serial line.
    clock_on_pin : bool
        See ``hwgen.boards.clock.PllClock``.
    place : tuple of str
        Further arguments of nextpnr.
    overrides : mapping
        Further overrides of the platform's build.
    finish : callable, optional
        Makes the file that is loaded of what the packer wrote.
    note : str
        What a user must know before the first try, in a sentence.
    """

    name: str
    title: str
    platform: Callable[[], Any]
    target: str
    clock: str
    clock_hz: int
    pll: Pll
    aim_mhz: float
    product: str
    load: str
    sizes: Sizes | None = None
    uart: tuple[str, int] = ("uart", 0)
    clock_on_pin: bool = False
    place: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[bytes], bytes] | None = None
    note: str = ""


def find_board(name: str) -> Board:
    """Return the board of a name.

    Raises: HwgenError that lists the boards if there is none; ModuleNotFoundError without
    amaranth-boards.
    """
    if name not in MODULES:
        raise HwgenError(f"Board must be one of {', '.join(MODULES)}, not {name!r}")
    boards: tuple[Board, ...] = importlib.import_module(f"hwgen.boards.{MODULES[name]}").BOARDS
    return next(board for board in boards if board.name == name)


def room(board: Board) -> Sizes | None:
    """Return what a board's chip leaves an engine, the shell's image memory not taken off.

    None: nothing is known of the chip's size.
    """
    target = find_target(board.target)
    sizes = board.sizes or target.sizes
    if sizes is None or target.family.name not in SHELL:
        return None
    lut, ff = SHELL[target.family.name]
    return replace(sizes, lut=sizes.lut - lut, ff=sizes.ff - ff)
