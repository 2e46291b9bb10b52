"""ULX3S: ECP5 in three sizes, crystal of 25 MHz, USB serial line by an FT231X."""

from __future__ import annotations

from amaranth_boards import ulx3s

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll
from hwgen.boards.targets import Sizes

# The 12F is sold with half of the 25F's LUTs; the tools would place more, which nobody promises.
CHIPS = (
    ("ulx3s", "85F", ulx3s.ULX3S_85F_Platform, "ecp5-85", None),
    ("ulx3s-25f", "25F", ulx3s.ULX3S_25F_Platform, "ecp5-25", None),
    ("ulx3s-12f", "12F", ulx3s.ULX3S_12F_Platform, "ecp5-25",
     Sizes(lut=12000, ff=12000, bram=32, dsp=28)),
)
BOARDS = tuple(
    Board(
        name=name, title=f"ULX3S, LFE5U-{chip}-6", platform=platform, target=target, sizes=sizes,
        clock="clk25", clock_hz=25_000_000, pll=Pll.EHXPLLL, aim_mhz=150,
        place=("--placer", "static"), product=".bit", load="openFPGALoader -b ulx3s {file}",
    )
    for name, chip, platform, target, sizes in CHIPS
)
