"""The parameters of one NFU: array size, number formats, buffer sizes; what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

SIZES = (4, 8, 16, 32)
MOST_LINES = 1 << 16          # of a buffer: what an instruction can name
MOST_CORES = 16
CHANNEL_BYTES = 16            # of one channel's finishing parameters, one digit (see isa.PARAMETER)
TAP_BYTES = 4


class WeightCode(Enum):
    """How one digit of a weight is stored.

    WIDE: 5 bits, zero or sign and shift 0..7. NARROW: 4 bits, shifts 0..6. BASE: 4 bits, shifts
    0..3 over a base for each output channel. PRODUCT: two's complement, for multipliers (the
    unmodified DianNao).
    """

    WIDE = "wide"
    NARROW = "narrow"
    BASE = "base"
    PRODUCT = "product"

    @property
    def largest_shift(self) -> int:
        """Largest shift of a digit."""
        return {"wide": 7, "narrow": 6, "base": 3, "product": 0}[self.value]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Parameters of an NFU.

    Parameters
    ----------
    tn : int
        Output lanes and input lanes: 4, 8, 16 or 32.
    act_bits : int
        Bits of a stored activation, 8 or 16; signed or not is said by each instruction.
    code : WeightCode
        PRODUCT makes the unmodified DianNao: multipliers, dense kernels walked by counters.
    acc_bits : int
        Bits of an accumulator, 16 to 40. The compiler refuses what would not fit.
    total_bits : int
        Bits of ``accumulator * multiplier + offset`` in the finisher, at most 48.
    finishers : int
        Channels finished (NFU-3) in a cycle, a divisor of tn; 0: a quarter of tn.
    segments : bool
        With the piecewise-linear unit of 16 segments.
    nbin_lines, nbout_lines, sb_lines, tap_count, par_lines : int
        Sizes of the buffers: lines of tn activations; pixels of partial sums and of codes; lines of
        tn x tn weights; taps; lines of ``finishers`` channels.
    memory_bytes : int
        Of the memory on chip; 0: outside memory behind AXI4.
    streamed : bool
        The program is in the memory on chip from the start, all weights are in SB, which is as
        large as they need and cannot be loaded; images and results come and go as AXI4-Stream.
    cores : int
        NFUs side by side, 1 to 16, each with memory and program of its own, that take images in
        turn; more than one only where ``streamed``.

    Raises: ValueError naming the parameter.
    """

    tn: int = 16
    act_bits: int = 8
    code: WeightCode = WeightCode.WIDE
    acc_bits: int = 24
    total_bits: int = 32
    finishers: int = 0
    segments: bool = True
    nbin_lines: int = 1024
    nbout_lines: int = 256
    sb_lines: int = 512
    tap_count: int = 512
    par_lines: int = 128
    memory_bytes: int = 1 << 17
    streamed: bool = False
    cores: int = 1

    def __post_init__(self) -> None:
        if self.tn not in SIZES:
            raise ValueError(f"tn must be one of {SIZES}, not {self.tn}")
        if self.act_bits not in (8, 16):
            raise ValueError(f"act_bits must be 8 or 16, not {self.act_bits}")
        if not 16 <= self.acc_bits <= 40:
            raise ValueError(f"acc_bits must be from 16 to 40, not {self.acc_bits}")
        if not self.acc_bits < self.total_bits <= 48:
            raise ValueError(f"total_bits must be from {self.acc_bits + 1} to 48, "
                             f"not {self.total_bits}")
        if not self.finishers:
            object.__setattr__(self, "finishers", self.tn // 4)
        if self.finishers < 1 or self.tn % self.finishers:
            raise ValueError(f"finishers must divide {self.tn}, not be {self.finishers}")
        for name in ("nbin_lines", "nbout_lines", "sb_lines", "tap_count", "par_lines"):
            value = getattr(self, name)
            if value not in [1 << n for n in range(4, MOST_LINES.bit_length())]:
                raise ValueError(
                    f"{name} must be a power of two from 16 to {MOST_LINES}, not {value}")
        if self.memory_bytes and (self.memory_bytes % 64 or self.memory_bytes > 1 << 30):
            raise ValueError(f"memory_bytes must be a multiple of 64 up to 2**30, "
                             f"not {self.memory_bytes}")
        if self.streamed and not self.memory_bytes:
            raise ValueError("memory on chip needed where images come as a stream")
        if not 1 <= self.cores <= MOST_CORES or (self.cores > 1 and not self.streamed):
            raise ValueError(f"cores must be from 1 to {MOST_CORES}, and 1 where a host loads the "
                             f"program, not {self.cores}")

    @property
    def multipliers(self) -> bool:
        """True for the unmodified DianNao."""
        return self.code is WeightCode.PRODUCT

    @property
    def word_bytes(self) -> int:
        """Bytes of a memory word, which is one line of activations."""
        return self.tn * self.act_bits // 8

    @property
    def weight_bits(self) -> int:
        """Bits of a stored weight or digit."""
        return {"wide": 5, "narrow": 4, "base": 4, "product": self.act_bits}[self.code.value]

    @property
    def sb_words(self) -> int:
        """Memory words of a line of weights."""
        return -(-self.tn * self.tn * self.weight_bits // (8 * self.word_bytes))

    @property
    def par_words(self) -> int:
        """Memory words of a line of finishing parameters."""
        return max(1, self.finishers * CHANNEL_BYTES // self.word_bytes)

    @property
    def entry_words(self) -> int:
        """Memory words of an entry of the piecewise-linear table."""
        return max(1, CHANNEL_BYTES // self.word_bytes)

    @property
    def taps_in_word(self) -> int:
        """Taps that a memory word holds."""
        return self.word_bytes // TAP_BYTES

    @property
    def groups(self) -> int:
        """Cycles in which all channels of a pixel are finished, one digit each."""
        return self.tn // self.finishers

    @property
    def product_bits(self) -> int:
        """Bits of what a lane gives to its adder tree."""
        if self.multipliers:
            return self.act_bits + 1 + self.weight_bits
        return self.act_bits + 1 + self.code.largest_shift

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return {name: value.value if isinstance(value, Enum) else value
                for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Return the Config of plain values. Raises: ValueError or TypeError if they are none."""
        return cls(**{**values, "code": WeightCode(values["code"])})
