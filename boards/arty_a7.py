"""Arty A7-35T: a project for Vivado; crystal of 100 MHz, USB serial line by an FT2232H."""

from __future__ import annotations

from amaranth_boards.arty_a7 import ArtyA7_35Platform

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll
from hwgen.boards.targets import Sizes

BOARDS = (
    Board(
        name="arty-a7", title="Arty A7-35T, xc7a35ticsg324-1L", platform=ArtyA7_35Platform,
        target="xc7", sizes=Sizes(lut=20800, ff=41600, bram=100, dsp=90),
        clock="clk100", clock_hz=100_000_000, pll=Pll.MMCM, aim_mhz=50,
        product=".bit", load="openFPGALoader -b arty_a7_35t {file}",
    ),
)
