"""The one table of the NFU: instructions, registers, codes, errors; docs/nfu.md is made from it.

The compiler, the hardware and the interpreter read it; how an instruction is executed each of them
writes for itself. All numbers are little-endian. An instruction is 64 bytes, sixteen 32-bit words;
a field lies within one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

INSTRUCTION_BYTES = 64
ALIGNMENT = 64                # of every region of the memory map
WORDS = INSTRUCTION_BYTES // 4
IDENTIFICATION = 0x4E465531   # "NFU1"
SEGMENTS = 16


class Op(IntEnum):
    """Kinds of instruction. 0 is none of them, so that empty memory is no program."""

    LOAD = 1
    COMPUTE = 2
    STORE = 3
    END = 4


class Buffer(IntEnum):
    """Where a LOAD goes."""

    NBIN = 0                  # activations, a line a word
    SB = 1                    # weights, tn x tn a line
    TAPS = 2                  # places under a kernel, 4 bytes each
    PARAMETERS = 3            # of the finisher, ``finishers`` channels a line
    TABLE = 4                 # piecewise-linear segments, 16 bytes each


class Fault(IntEnum):
    """Error codes of the status register."""

    NONE = 0
    OPCODE = 1                # no such operation
    FIELD = 2                 # a field of the instruction has a value that it must not have
    ADDRESS = 3               # not aligned, or beyond the memory
    READ = 4                  # the memory answered a read with an error
    WRITE = 5                 # the memory answered a write with an error


@dataclass(frozen=True)
class Field:
    """A field of an instruction, a register or a packed code.

    Parameters: name; word, number of the 32-bit word; bit, its lowest bit there; width in bits;
    meaning; signed.
    """

    name: str
    word: int
    bit: int
    width: int
    meaning: str
    signed: bool = False

    def fits(self, value: int) -> bool:
        """Tell whether the field can hold a value."""
        if self.signed:
            return -(1 << self.width - 1) <= value < 1 << self.width - 1
        return 0 <= value < 1 << self.width


HEADER = (
    Field("opcode", 0, 0, 4, "operation"),
    Field("wait_load", 0, 4, 1, "start only when no LOAD runs"),
    Field("wait_compute", 0, 5, 1, "start only when no COMPUTE runs"),
    Field("wait_store", 0, 6, 1, "start only when no STORE runs"),
)
BLOCK = (
    Field("address", 1, 0, 32, "first byte in memory, a multiple of the word"),
    Field("line", 2, 0, 16, "first line of the buffer; for TAPS the first tap"),
    Field("cols", 3, 0, 16, "words of a row, at least 1; they lie side by side in memory"),
    Field("rows", 3, 16, 16, "rows of a plane, at least 1"),
    Field("planes", 4, 0, 16, "planes, at least 1"),
    Field("row_pitch", 5, 0, 32, "bytes from a row to the next one"),
    Field("plane_pitch", 6, 0, 32, "bytes from a plane to the next one"),
)
COMPUTE = (
    Field("max", 0, 8, 1, "largest of the taps, lane by lane, in place of weighted sums"),
    Field("first", 0, 9, 1, "start from zero; else from the partial sums in NBout"),
    Field("last", 0, 10, 1, "finish the sums to codes; else keep them as partial sums"),
    Field("signed", 0, 11, 1, "activations are two's complement"),
    Field("activate", 0, 12, 1, "finish by the piecewise-linear table"),
    Field("wrap", 0, 13, 1, "keep the lowest bits in place of clipping"),
    Field("argmax", 0, 14, 1, "give the class in place of codes"),
    Field("argmax_first", 0, 15, 1, "these channels are the first of their pixel"),
    Field("hold", 0, 18, 1, "all steps use the first step's line of weights"),
    Field("left", 0, 19, 1, "in the first column of the loaded block the lower half of the lanes "
          "is 0"),
    Field("right", 0, 20, 1, "in its last column the upper half is"),
    Field("digits", 0, 16, 2, "digits of the finisher's multipliers, 1 to 3"),
    Field("rows", 1, 0, 16, "rows of output pixels, at least 1"),
    Field("cols", 1, 16, 16, "columns of output pixels, at least 1"),
    Field("steps", 2, 0, 16, "taps of a pixel, digits and input tiles included, at least 1"),
    Field("period", 2, 16, 16, "cycles of a pixel: steps, or if it is finished and that is more, "
          "tn / finishers * digits"),
    Field("sb_line", 3, 0, 16, "line of the first step's weights"),
    Field("tap_line", 3, 16, 16, "place of the first step's tap"),
    Field("par_line", 4, 0, 16, "line of the first channels' parameters"),
    Field("out_line", 4, 16, 16, "line of NBout of the first pixel; the others follow"),
    Field("in_line", 5, 0, 16, "line of NBin of the first pixel, tap offset 0; modulo 2**16"),
    Field("in_row", 5, 16, 16, "lines from an output row to the next one"),
    Field("in_col", 6, 0, 8, "lines from an output column to the next one"),
    Field("step_y", 6, 8, 8, "rows of the image from an output row to the next one"),
    Field("step_x", 6, 16, 8, "columns likewise"),
    Field("lanes", 6, 24, 6, "channels that take part in argmax"),
    Field("y", 7, 0, 16, "row of the first pixel's first tap in the loaded block", signed=True),
    Field("x", 7, 16, 16, "its column", signed=True),
    Field("height", 8, 0, 16, "rows of the loaded block; a tap outside gives 0, or is no rival of "
          "a maximum"),
    Field("width", 8, 16, 16, "columns of the loaded block"),
    Field("lo", 9, 0, 17, "least code", signed=True),
    Field("class_base", 9, 17, 15, "class of the first of these channels"),
    Field("hi", 10, 0, 17, "largest code", signed=True),
    Field("tiles", 10, 17, 12, "unmodified DianNao: input tiles of a step list; 0 otherwise"),
    Field("kernel_h", 11, 0, 8, "unmodified DianNao: rows of the kernel"),
    Field("kernel_w", 11, 8, 8, "unmodified DianNao: columns of the kernel"),
    Field("tap_y", 11, 16, 8, "unmodified DianNao: rows from a tap to the one below"),
    Field("tap_x", 11, 24, 8, "unmodified DianNao: columns from a tap to the next one"),
    Field("tap_col", 12, 0, 16, "unmodified DianNao: lines from a tap to the next one in its row"),
    Field("tap_row", 12, 16, 16, "unmodified DianNao: lines from a row's last tap to the next "
          "row's first"),
    Field("tap_tile", 13, 0, 16, "unmodified DianNao: lines from a tile's last tap to the next "
          "tile's first; modulo 2**16"),
)
FIELDS: Mapping[Op, tuple[Field, ...]] = {
    Op.LOAD: (*HEADER, Field("buffer", 0, 8, 3, "which buffer"), *BLOCK),
    Op.COMPUTE: (*HEADER, *COMPUTE),
    Op.STORE: (*HEADER, *BLOCK),
    Op.END: HEADER,
}

TAP = (
    Field("offset", 0, 0, 16, "lines of NBin from the pixel's first line; modulo 2**16"),
    Field("dy", 0, 16, 8, "rows below the pixel's first tap"),
    Field("dx", 0, 24, 7, "columns right of it"),
    Field("other", 0, 31, 1, "its activations are signed where the COMPUTE says they are not, or "
          "the other way round"),
)
# One digit of one channel's finishing parameters, 16 bytes.
PARAMETER = (
    Field("bias", 0, 0, 32, "added to the accumulator", signed=True),
    Field("offset_low", 1, 0, 32, "offset, its lowest 32 bits"),
    Field("offset_high", 2, 0, 16, "offset, its highest 16 bits, two's complement"),
    Field("up", 2, 16, 6, "the digit: 2**up"),
    Field("negative", 2, 22, 1, "the digit is negative"),
    Field("zero", 2, 23, 1, "there is no such digit"),
    Field("shift", 2, 24, 6, "final shift to the right"),
    Field("base", 3, 0, 4, "the accumulator counts in units of 2**base, at most 2**7"),
)
# One segment of the piecewise-linear table, 16 bytes; its shift comes from the parameters.
SEGMENT = (
    Field("start", 0, 0, 32, "least accumulator of the segment (of the first one: any)",
          signed=True),
    Field("offset_low", 1, 0, 32, "offset, its lowest 32 bits"),
    Field("offset_high", 2, 0, 16, "offset, its highest 16 bits, two's complement"),
    Field("up_0", 3, 0, 6, "first digit of the slope: 2**up"),
    Field("negative_0", 3, 6, 1, "it is negative"),
    Field("zero_0", 3, 7, 1, "it is zero"),
    Field("up_1", 3, 8, 6, "second digit of the slope"),
    Field("negative_1", 3, 14, 1, "it is negative"),
    Field("zero_1", 3, 15, 1, "it is zero"),
)


@dataclass(frozen=True)
class Register:
    """A 32-bit register: name, byte offset, "r" or "rw", meaning."""

    name: str
    offset: int
    access: str
    meaning: str


REGISTERS = (
    Register("identification", 0x00, "r", f"0x{IDENTIFICATION:08X}, \"NFU1\""),
    Register("parameters", 0x04, "r", "tn in bits 7..0, bits of an activation in 15..8, bits of a "
             "weight in 23..16, finishers in 31..24"),
    Register("control", 0x08, "rw", "write bit 0: start (ignored while busy); bit 1: interrupt "
             "when done; write bit 2: clear done and fault"),
    Register("status", 0x0C, "r", "bit 0 busy, bit 1 done, bits 7..4 fault, bit 8: a start came "
             "while busy"),
    Register("program", 0x10, "rw", "byte address of the first instruction"),
    Register("position", 0x14, "r", "byte address of the instruction fetched last"),
    Register("cycles", 0x18, "r", "cycles since the start, until done"),
    Register("compute_cycles", 0x1C, "r", "of them, those in which a COMPUTE runs"),
    Register("stall_cycles", 0x20, "r", "of them, those in which an instruction waits and no "
             "COMPUTE runs"),
    Register("instructions", 0x24, "r", "instructions started"),
)
REGISTER = {register.name: register for register in REGISTERS}
MEMORY_WINDOW = 1 << 31       # byte offset of the memory on chip, seen from the processor


def pack(fields: Sequence[Field], values: Mapping[str, int], words: int = WORDS) -> bytes:
    """Return the bytes of a packed thing; a field without a value is 0.

    Raises: ValueError naming the field if a value does not fit or there is no such field.
    """
    numbers = [0] * words
    names = {field.name: field for field in fields}
    for name, value in values.items():
        if name not in names:
            raise ValueError(f"Field must be one of {', '.join(names)}, not {name}")
        field = names[name]
        if not field.fits(int(value)):
            raise ValueError(f"{name} must fit {field.width} bits, {value} does not")
        numbers[field.word] |= (int(value) & (1 << field.width) - 1) << field.bit
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def unpack(fields: Sequence[Field], raw: bytes) -> dict[str, int]:
    """Return the values of all fields of packed bytes."""
    values = {}
    for field in fields:
        word = int.from_bytes(raw[4 * field.word : 4 * field.word + 4], "little")
        value = word >> field.bit & (1 << field.width) - 1
        if field.signed and value >> field.width - 1:
            value -= 1 << field.width
        values[field.name] = value
    return values


@dataclass(frozen=True)
class Instruction:
    """An instruction: operation and the values of its fields, those that are not 0."""

    op: Op
    values: Mapping[str, int]

    def encode(self) -> bytes:
        """Return its 64 bytes. Raises: ValueError naming a field that does not fit."""
        return pack(FIELDS[self.op], {**self.values, "opcode": int(self.op)})

    def __getitem__(self, name: str) -> int:
        return int(self.values.get(name, 0))


def decode(raw: bytes) -> Instruction:
    """Return the instruction of 64 bytes. Raises: ValueError if there is no such operation."""
    number = raw[0] & 15
    if number not in set(Op):
        raise ValueError(f"Operation must be from 1 to {max(Op)}, not {number}")
    op = Op(number)
    values = unpack(FIELDS[op], raw)
    del values["opcode"]
    return Instruction(op, values)
