from __future__ import annotations

import pytest

from hwgen.boards.targets import ECP5, GOWIN, ICE40, TARGETS, XC7, find_target
from hwgen.errors import HwgenError

NAMES = ["ecp5-25", "ecp5-85", "up5k", "hx8k", "gw1n-9", "xc7", "gates"]


def test_names():
    assert list(TARGETS) == NAMES


def test_unknown():
    with pytest.raises(HwgenError, match="Target must be one of ecp5-25, .*, gates, not 'ecp6'"):
        find_target("ecp6")


@pytest.mark.parametrize("name", NAMES)
def test_placed_or_synthesis_only(name):
    target = find_target(name)
    assert (target.nextpnr is None) == (name in ("xc7", "gates"))
    assert (target.sizes is None) == (target.nextpnr is None)
    # A multiplier that slipped in must be free to become a DSP block, where it is seen.
    assert not any("nodsp" in line for line in target.synth)


@pytest.mark.parametrize(
    ("family", "cells", "positions"),
    [
        (ECP5, {"LUT4": 5, "CCU2C": 7, "TRELLIS_DPR16X4": 2, "PFUMX": 9, "TRELLIS_FF": 4}, 31),
        (ICE40, {"SB_LUT4": 5, "SB_CARRY": 7, "SB_DFFESR": 3}, 5),
        (GOWIN, {"LUT1": 1, "LUT4": 2, "ALU": 3, "RAM16SDP4": 1, "MUX2_LUT5": 8}, 10),
        (XC7, {"LUT1": 1, "LUT6": 2, "INV": 3, "CARRY4": 4, "MUXF7": 5}, 6),
    ],
)
def test_positions(family, cells, positions):
    assert family.count("lut", cells) == positions


def test_flip_flops_and_blocks():
    assert ICE40.count("ff", {"SB_DFF": 1, "SB_DFFESR": 2, "SB_LUT4": 4}) == 3
    assert XC7.count("ff", {"FDRE": 1, "FDSE": 2, "FDCE": 4, "FDPE": 8}) == 15
    assert XC7.count("bram", {"RAMB18E1": 1, "RAMB36E1": 2}) == 5
    assert GOWIN.count("bram", {"SPX9": 1, "pROM": 2, "RAM16SDP4": 4}) == 3
    assert ECP5.count("dsp", {"MULT18X18D": 2, "ALU54B": 1, "DP16KD": 9}) == 3
