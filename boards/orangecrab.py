"""OrangeCrab 0.2: ECP5, crystal of 48 MHz; no serial chip: an adapter of 3.3 V at pins 0 and 1."""

from __future__ import annotations

import struct
import zlib
from functools import partial
from typing import Any

from amaranth.build import Attrs
from amaranth_boards import orangecrab_r0_2
from amaranth_boards.resources import UARTResource

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll


def with_uart(platform: type) -> Any:
    """Return a platform that has a serial line at the header: 0 receives, 1 sends."""
    made = platform()
    made.add_resources([
        UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33"))
    ])
    return made


def with_dfu_suffix(bitstream: bytes) -> bytes:
    """Return a file that says for which device it is, as the boot loader's host tool wants it.

    Ref: USB Device Firmware Upgrade 1.1, appendix B. The CRC is not inverted at its end.
    """
    product, vendor = 0x5AF0, 0x1209
    text = bitstream + struct.pack("<HHHH3sB", 0xFFFF, product, vendor, 0x0100, b"UFD", 16)
    return text + struct.pack("<I", zlib.crc32(text) ^ 0xFFFFFFFF)


CHIPS = (
    ("orangecrab", "85F", orangecrab_r0_2.OrangeCrabR0_2_85FPlatform, "ecp5-85"),
    ("orangecrab-25f", "25F", orangecrab_r0_2.OrangeCrabR0_2_25FPlatform, "ecp5-25"),
)
BOARDS = tuple(
    Board(
        name=name, title=f"OrangeCrab 0.2, LFE5U-{chip}-8",
        platform=partial(with_uart, platform), target=target,
        clock="clk", clock_hz=48_000_000, pll=Pll.EHXPLLL, aim_mhz=150,
        place=("--placer", "static"), product=".bit", load="dfu-util -D {file}",
        finish=with_dfu_suffix,
        note="a serial adapter of 3.3 V belongs at pins 0 (receives) and 1 (sends)",
    )
    for name, chip, platform, target in CHIPS
)
