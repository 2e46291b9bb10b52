"""iCE40-HX8K breakout board: crystal of 12 MHz, USB serial line by an FT2232H."""

from __future__ import annotations

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll

BOARDS = (
    Board(
        name="hx8k-evn", title="iCE40-HX8K breakout board", platform=ICE40HX8KBEVNPlatform,
        target="hx8k", clock="clk12", clock_hz=12_000_000, pll=Pll.SB_PLL40,
        aim_mhz=80, product=".bin", load="iceprog -S {file}",
        overrides={"synth_opts": "-device hx"},
    ),
)
