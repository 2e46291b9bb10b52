"""iCEBreaker: iCE40 UP5K, crystal of 12 MHz at the PLL's own pin, USB serial by an FT2232H."""

from __future__ import annotations

from amaranth_boards.icebreaker import ICEBreakerPlatform

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll

BOARDS = (
    Board(
        name="icebreaker", title="iCEBreaker, iCE40UP5K", platform=ICEBreakerPlatform,
        target="up5k", clock="clk12", clock_hz=12_000_000, pll=Pll.SB_PLL40, clock_on_pin=True,
        aim_mhz=30, product=".bin", load="openFPGALoader -b ice40_generic {file}",
        overrides={"synth_opts": "-device u"},
    ),
)
