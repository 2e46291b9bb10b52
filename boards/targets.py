"""The one table of synthesis targets: what the tools are told, what is counted, what there is.

LUT positions, the measure of size used everywhere, are what a mapped netlist takes of a chip's
LUTs:

* ECP5: LUT4 + 2 x CCU2C + 6 x TRELLIS_DPR16X4. A carry cell is two LUTs in carry mode; a 16x4
  distributed memory is four LUTs of storage and two that become its write port.
* iCE40: SB_LUT4 (the carry lies beside the LUT).
* Gowin: LUT1..LUT4 + ALU + 4 x RAM16SDP4. An ALU is a LUT in carry mode.
* 7 series: LUT1..LUT6 + INV (CARRY4 lies beside the LUTs).

They are counted in the netlist that synthesis makes; place and route may add a few (a carry chain
of the ECP5 takes up to four more to feed it and to lead its end out).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hwgen.errors import HwgenError

# Adders become ALU cells before Yosys would join chains of them into carry-save trees, which take
# more LUTs on a chip that has carry chains: measured 5 % less on ECP5, 6 % less on Gowin, equal on
# iCE40.
ADDERS = (
    "flatten", "opt", "wreduce", "peepopt", "opt_clean",
    "techmap -map adder_map.v t:$add t:$sub",
)
AREA = ("scratchpad -set abc9.D 20000",)     # a slow clock for abc9: it then saves area, not time


@dataclass(frozen=True)
class Sizes:
    """What a chip has."""

    lut: int
    ff: int
    bram: int
    dsp: int


@dataclass(frozen=True)
class Family:
    """Cells of one kind of chip: pattern of the cell's type -> how many it counts for.

    ``bram`` counts blocks: of 18 kbit on ECP5, Gowin and 7 series (a RAMB36 is two), 4 kbit on
    iCE40.
    """

    name: str
    lut: Mapping[str, int] = field(default_factory=dict)
    ff: Mapping[str, int] = field(default_factory=dict)
    carry: Mapping[str, int] = field(default_factory=dict)
    bram: Mapping[str, int] = field(default_factory=dict)
    dsp: Mapping[str, int] = field(default_factory=dict)

    def count(self, kind: str, cells: Mapping[str, int]) -> int:
        """Return how many of ``kind`` (lut, ff, carry, bram, dsp) these cells take."""
        weights: Mapping[str, int] = getattr(self, kind)
        return sum(
            number * weight
            for cell, number in cells.items()
            for pattern, weight in weights.items()
            if fnmatchcase(cell, pattern)
        )


@dataclass(frozen=True)
class Target:
    """One entry of the table.

    Parameters
    ----------
    name, device : str
        As on the command line, and in words.
    family : Family
        How its cells are counted.
    synth : tuple of str
        Yosys commands after ``read_verilog; hierarchy; proc``; ``{top}`` is the module's name.
        Nothing in them forbids DSP blocks: that none is used is to be seen, not to be enforced.
    nextpnr : str or None
        Family of ``hwgen.tools.nextpnr``; None: synthesis only.
    place : tuple of str
        Arguments of nextpnr: device, package, speed grade, and the clock that it aims at.
    large : tuple of str
        Further arguments for a design of more than ``LARGE`` LUT positions.
    pins : tuple of str
        Where pins have to be named: those of this package that the wrapper may use.
    resources : mapping
        Which of nextpnr's utilisation names is which kind.
    sizes : Sizes or None
        What the device has.
    """

    name: str
    device: str
    family: Family
    synth: tuple[str, ...]
    nextpnr: str | None = None
    place: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    resources: Mapping[str, str] = field(default_factory=dict)
    sizes: Sizes | None = None


ECP5 = Family(
    "ecp5",
    lut={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    ff={"TRELLIS_FF": 1},
    carry={"CCU2C": 1},
    bram={"DP16KD": 1, "PDPW16KD": 1},
    dsp={"MULT18X18D": 1, "MULT9X9D": 1, "ALU54B": 1, "ALU24B": 1},
)
ICE40 = Family(
    "ice40",
    lut={"SB_LUT4": 1},
    ff={"SB_DFF*": 1},
    carry={"SB_CARRY": 1},
    bram={"SB_RAM40_4K*": 1},
    dsp={"SB_MAC16": 1},
)
GOWIN = Family(
    "gowin",
    lut={"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 4},
    ff={"DFF*": 1},
    carry={"ALU": 1},
    bram={"SP": 1, "SPX9": 1, "SDP": 1, "SDPB": 1, "SDPX9B": 1, "DPB": 1, "DPX9B": 1, "pROM*": 1},
    dsp={"MULT9X9": 1, "MULT18X18": 1, "MULT36X36": 1, "MULTALU*": 1, "MULTADDALU*": 1, "PADD*": 1,
         "ALU54D": 1},
)
XC7 = Family(
    "xc7",
    lut={"LUT[1-6]": 1, "INV": 1},
    ff={"FD[CPRS]E*": 1},
    carry={"CARRY4": 1},
    bram={"RAMB18E1": 1, "RAMB36E1": 2},
    dsp={"DSP48E1": 1},
)
GATES = Family("gates", ff={"$_*DFF*": 1, "DFF*": 1, "*dff*": 1, "*dfxtp*": 1})

# What nextpnr calls its resources.
ECP5_NAMES = {"TRELLIS_COMB": "lut", "TRELLIS_FF": "ff", "DP16KD": "bram", "MULT18X18D": "dsp"}
ICE40_NAMES = {"ICESTORM_LC": "lut", "ICESTORM_RAM": "bram", "ICESTORM_DSP": "dsp"}
GOWIN_NAMES = {"LUT4": "lut", "DFF": "ff", "BSRAM": "bram"}

# The static placer needs a quarter less time than the default one for the same clock: 149 s of
# processor against 202 s, 87.4 MHz against 86.2 MHz, on a design of 7,900 LUT positions.
_ECP5_PLACE = ("--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained",
               "--placer", "static", "--freq", "150")
# The default router takes 24 minutes for 20,000 LUT positions, and its time grows faster than they
# do. The other one reaches about a sixth less of a clock.
LARGE = 40_000
_ECP5_LARGE = ("--router", "router2")
_ECP5_SYNTH = (*ADDERS, *AREA, "synth_ecp5 -top {top} -nowidelut")

# A chip that is nearly full has no place for a register of a rare enable; without a limit the
# placer tries for hours.
GOWIN_PLACE = ("--placer-heap-cell-placement-timeout", "1000000")

TARGETS = {
    target.name: target
    for target in (
        Target(
            "ecp5-25", "Lattice ECP5 LFE5U-25F, CABGA381, speed 6", ECP5, _ECP5_SYNTH, "ecp5",
            ("--25k", *_ECP5_PLACE),
            resources=ECP5_NAMES, sizes=Sizes(lut=24288, ff=24288, bram=56, dsp=28),
        ),
        Target(
            "ecp5-85", "Lattice ECP5 LFE5U-85F, CABGA381, speed 6", ECP5, _ECP5_SYNTH, "ecp5",
            ("--85k", *_ECP5_PLACE), _ECP5_LARGE,
            resources=ECP5_NAMES, sizes=Sizes(lut=83640, ff=83640, bram=208, dsp=156),
        ),
        Target(
            "up5k", "Lattice iCE40 UP5K, SG48", ICE40,
            (*ADDERS, "synth_ice40 -top {top} -device u -dsp"), "ice40",
            ("--up5k", "--package", "sg48", "--pcf-allow-unconstrained", "--freq", "50"),
            resources=ICE40_NAMES, sizes=Sizes(lut=5280, ff=5280, bram=30, dsp=8),
        ),
        Target(
            "hx8k", "Lattice iCE40 HX8K, CT256", ICE40,
            (*ADDERS, "synth_ice40 -top {top} -device hx"), "ice40",
            ("--hx8k", "--package", "ct256", "--pcf-allow-unconstrained", "--freq", "150"),
            resources=ICE40_NAMES, sizes=Sizes(lut=7680, ff=7680, bram=32, dsp=0),
        ),
        Target(
            "gw1n-9", "Gowin GW1NR-9C, QN88P, C6/I5", GOWIN,
            (*ADDERS, *AREA, "synth_gowin -top {top} -family gw1n -noiopads"), "gowin",
            ("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C", "--freq", "100",
             *GOWIN_PLACE),
            pins=("52", "25", "26", "27", "28", "29", "30", "33", "34", "40", "35", "41", "42",
                  "51", "53", "54", "55", "56", "57", "68", "69", "70", "71", "72", "73", "74",
                  "75", "76", "77"),
            resources=GOWIN_NAMES, sizes=Sizes(lut=8640, ff=6480, bram=26, dsp=20),
        ),
        Target(
            "xc7", "AMD 7 series (synthesis only)", XC7,
            (*ADDERS, "synth_xilinx -top {top} -flatten -noiopad -noclkbuf"),
        ),
        Target(
            "gates", "standard cells (synthesis only)", GATES, ("synth -top {top} -flatten",),
        ),
    )
}


def find_target(name: str) -> Target:
    """Return the entry of ``name``.

    Raises: HwgenError that lists the targets if there is none.
    """
    if name not in TARGETS:
        raise HwgenError(f"Target must be one of {', '.join(TARGETS)}, not {name!r}")
    return TARGETS[name]
