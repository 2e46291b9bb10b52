"""Tang Nano 9K: Gowin GW1NR-9C, crystal of 27 MHz, USB serial line by a BL702."""

from __future__ import annotations

from amaranth_boards import tang_nano_9k

from hwgen.boards.board import Board
from hwgen.boards.pll import Pll
from hwgen.boards.targets import GOWIN_PLACE


class Platform(tang_nano_9k.TangNano9kPlatform):
    """The platform for nextpnr-himbaechel, which took the place of nextpnr-gowin."""

    required_tools = ("yosys", "nextpnr-himbaechel", "gowin_pack")

    @property
    def command_templates(self) -> list[str]:
        """Synthesis, placement, bitstream."""
        yosys, _, pack = super().command_templates
        place = r"""
        {{invoke_tool("nextpnr-himbaechel")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family=GW1N-9C
            --vopt cst={{name}}.cst
            --json {{name}}.syn.json
            --write {{name}}.pnr.json
        """
        return [yosys, place, pack]


BOARDS = (
    Board(
        name="tang-nano-9k", title="Tang Nano 9K, GW1NR-LV9QN88PC6/I5", platform=Platform,
        target="gw1n-9", clock="clk27", clock_hz=27_000_000, pll=Pll.RPLL, aim_mhz=80,
        product=".fs", place=GOWIN_PLACE, load="openFPGALoader -b tangnano9k {file}",
        overrides={"synth_opts": "-family gw1n"},
    ),
)
