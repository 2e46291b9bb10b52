"""What a chip offers, as far as the plan of a streaming engine needs to know."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.errors import HwgenError


@dataclass(frozen=True)
class Chip:
    """Sizes of a chip and of its memories.

    Parameters
    ----------
    name : str
    lut, ff, bram : int or None
        LUT positions, flip-flops and block RAMs; None: as many as are wanted.
    block_bits, block_width : int
        Bits of a block RAM, and of its longest word.
    distributed : int
        LUT positions of a distributed memory of 16 words of 4 bits; 0: there is none.
    adders : int
        One behind the other between two registers: where a register takes a LUT's place, one behind
        each adder is dear.
    apart : float
        Part of the flip-flops, about, that take a LUT position of their own: those whose cell has
        one output for both, and which no LUT feeds alone.
    usable : float
        Part of LUT positions and flip-flops that a plan may take by its estimate, which may be some
        percent low.
    """

    name: str
    lut: int | None = None
    ff: int | None = None
    bram: int | None = None
    block_bits: int = 18 << 10
    block_width: int = 36
    distributed: int = 6
    adders: int = 1
    apart: float = 0.0
    usable: float = 0.95

    def blocks(self, depth: int, bits: int) -> int:
        """Return the block RAMs that a memory takes: words of 36, 18, 9, 4, 2 or 1 bits, say."""
        width = self.block_width
        while width > 1 and width * depth > self.block_bits:
            width //= 2
        return -(-bits // width) * -(-depth * width // self.block_bits)

    def memory(self, depth: int, bits: int, block: bool = False) -> dict[str, int]:
        """Return {lut, ff, bram} of a memory with one read port; ``block``: it is to lie in block
        RAM.
        """
        if depth == 0:
            return {"lut": 0, "ff": 0, "bram": 0}
        if self.distributed and not block and (depth <= 32 or depth * bits <= 1024):
            return {"lut": self.distributed * -(-depth // 16) * -(-bits // 4), "ff": bits,
                    "bram": 0}
        return {"lut": 0, "ff": 0, "bram": self.blocks(depth, bits)}


ECP5 = Chip("ecp5")
# By family of hwgen.boards.targets: bits of a block, its longest word, LUTs of 16 x 4 bits, adders
# between registers, flip-flops apart (iCE40: 0.61 and 0.62 of two placed designs' flip-flops),
# usable (nextpnr found no place for 4,761 of 5,280 cells of a UP5K, of which 4,341 were foreseen;
# on a GW1N-9 it was not done with 82 % of the flip-flops after 18 minutes, and took 2 for 66 %).
FAMILIES = {"ecp5": (18 << 10, 36, 6, 1, 0.0, 0.95), "ice40": (4 << 10, 16, 0, 3, 0.62, 0.8),
            "gowin": (18 << 10, 36, 4, 1, 0.0, 0.7)}


def chip_of(name: str, family: str, *, lut: int, ff: int, bram: int) -> Chip:
    """Return a chip of a family.

    Raises: HwgenError if nothing is known of the family.
    """
    if family not in FAMILIES:
        raise HwgenError(f"A target of {', '.join(FAMILIES)} needed to fit into, not {name}")
    return Chip(name, lut, ff, bram, *FAMILIES[family])


def even(bits: int) -> int:
    """Return the LUT positions of an adder of so many bits: carry cells hold two."""
    return bits + bits % 2
