"""ECPIX-5 with the 85F: crystal of 100 MHz, USB serial line by an FT2232H."""

from __future__ import annotations

from amaranth_boards.ecpix5 import ECPIX585Platform

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll

BOARDS = (
    Board(
        name="ecpix5", title="ECPIX-5, LFE5UM5G-85F-8", platform=ECPIX585Platform,
        target="ecp5-85", clock="clk100", clock_hz=100_000_000, pll=Pll.EHXPLLL, aim_mhz=150,
        place=("--placer", "static"), product=".bit", load="openFPGALoader -b ecpix5 {file}",
    ),
)
