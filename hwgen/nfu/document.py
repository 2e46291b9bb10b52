"""docs/nfu.md, made from the table: ``python -m hwgen.nfu.document > docs/nfu.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwgen.nfu import isa
from hwgen.nfu.isa import Buffer, Fault, Field, Op

INTRODUCTION = """\
# The NFU, a modified DianNao

`hwgen rtl --engine nfu` lays a network out in time, on an array of Tn output lanes by Tn input
lanes. This page is made from `hwgen/nfu/isa.py` (`python -m hwgen.nfu.document`), the table that
the compiler, the hardware and the interpreter (`sim/interpreter.py`) share.

Ref: T. Chen, Z. Du, N. Sun, J. Wang, C. Wu, Y. Chen, O. Temam, "DianNao: a small-footprint
high-throughput accelerator for ubiquitous machine-learning", ASPLOS 2014. D. Nagaraju, N.
Chandrachoodan, "Slimmer CNNs through feature approximation and kernel size reduction", IEEE OJCAS
4, 2023, for which it is modified.

```
              memory (on chip, or AXI4)
       LOAD │            │ LOAD             ▲ STORE
        ┌───▼──┐    ┌────▼────┐         ┌───┴───┐
        │ NBin │    │   SB    │         │ NBout │  codes and partial sums
        └───┬──┘    └────┬────┘         └─▲───┬─┘
            │ Tn         │ Tn x Tn        │   │
        ┌───▼────────────▼──┐   ┌─────────┴───▼──┐
        │ NFU-1 shift, sign │──►│ NFU-2 trees,   │──► NFU-3: bias, dyadic multiplier or
        └───────────────────┘   │ sums, maxima   │    straight segment, shift, clip
                                └────────────────┘
```

**What is modified.** NFU-1 has no multiplier: a weight is stored as signed digits, and a step adds
one digit of each of Tn x Tn weights. The steps of a pixel come from a list of taps, a list for each
tile of filters, and SB holds just those steps: a kernel that is smaller, sparse or periodic takes
fewer cycles, not only fewer weights. Filters are sorted by their supports so that a tile's are
alike; the next layer undoes the order at no cost. `--code product` builds the unmodified DianNao:
multipliers, and counters that walk dense kernels.

**Time.** A COMPUTE walks over a block of output pixels; a pixel takes `steps` cycles, or the
finisher's Tn / finishers x digits if that is more. LOAD, COMPUTE and STORE run side by side; each
instruction says for which of them it waits, and every instruction waits for its own unit. Nothing
checks that a LOAD does not go over lines in use: the compiler sees to that, and the interpreter
refuses a program that does. A COMPUTE begins while the one before it is still being finished (not
so one of maxima); a LOAD or STORE begins only when no more than the newest COMPUTE is under way.

**Numbers.** Little-endian throughout. Activations are 8 or 16 bits, signed or not, as each COMPUTE
says; padding is 0. A region holds a tensor as (channels / Tn, rows, columns, Tn); a word of memory
is one such line of Tn activations. Regions begin at multiples of 64 bytes. Accumulators that are
themselves a result are stored in pieces of one activation, the lowest first, a tile each; a class
as lane 0 (lowest bits) and lane 1. A negative digit gives its product inverted, which is one too
little; the compiler adds one a digit to the bias.

**Memory map.** From address 0: the program; taps, weights, finishing parameters and tables; the
image, once for each way in which it is read (a first layer of few channels gets its taps side by
side in the lanes); the results of every task. `program.bin` is the first two.

**Narrow layers.** A first layer's taps are spread over idle input lanes: the image is stored window
by window. A tensor of at most Tn / 2 channels is kept as pairs of columns, channel by channel side
by side, so that two pixels share the lanes; of a tensor in pairs (2 p - 1, 2 p) the first pair's
lower half and the last one's upper half of the lanes lie outside the image, and `left` and `right`
make zeros of them. Otherwise these are only orders of places, and add nothing to the hardware.

**Cost of more digits.** A step is repeated for as many digits as the longest of its Tn x Tn weights
has: weights of one digit take one pass, 8-bit weights up to four (their canonical signed digits).
More than 16 are refused.
"""


REGISTERS_TEXT = """\
32 bits each, on AXI4-Lite. With memory on chip, byte address 2**31 and above is that memory, 32
bits at a time, while the NFU is not busy. With `--ports stream` there are no registers: the program
is in the memory and all weights are in SB from the start, an image that came starts the program,
and `frame_error` tells of a fault. The buffers are as small as the network needs, and tensors that
are needed at different times share their place in memory."""
FAULTS_TEXT = "A fault ends the program: done, not busy, and its number in the status register."
FAULTS = {
    Fault.NONE: "none", Fault.OPCODE: "there is no such operation",
    Fault.FIELD: "a field has a value that it must not have, or a line is beyond its buffer",
    Fault.ADDRESS: "an address is no word's, or beyond the memory",
    Fault.READ: "memory answered a read with an error",
    Fault.WRITE: "memory answered a write with an error",
}
WEIGHTS_TEXT = """\
A line of SB holds the codes of Tn x Tn digits, output lane by output lane, the first lowest, filled
up to whole words."""
CODES = (
    ("wide", "5", "bits 2..0 shift 0..7, bit 3 not zero, bit 4 negative"),
    ("narrow", "4", "bits 2..0 shift 0..6 plus 1, or 0 for zero; bit 3 negative"),
    ("base", "4", "bits 1..0 shift 0..3, bit 2 not zero, bit 3 negative; sums in units of 2**base"),
    ("product", "8 or 16", "two's complement"),
)
PARAMETERS_TEXT = """\
16 bytes for a channel and digit; a line holds `finishers` channels. With t = offset + sum of the
digits times ((sum << base) + bias), the code is t >> shift, clipped."""
SEGMENTS_TEXT = "The last segment that starts at or below the accumulator is taken."


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def fields(some: Iterable[Field]) -> list[str]:
    """Return the table of fields of a packed thing."""
    return table(
        ("field", "word", "bits", "meaning"),
        ((f"`{field.name}`", field.word,
          f"{field.bit + field.width - 1}..{field.bit}" if field.width > 1 else field.bit,
          field.meaning + (" (signed)" if field.signed else "")) for field in some))


def document() -> str:
    """Return the text of docs/nfu.md."""
    lines = [*INTRODUCTION.splitlines(), *section("Registers", REGISTERS_TEXT)]
    lines += table(("register", "offset", "access", "meaning"),
                   ((f"`{one.name}`", f"0x{one.offset:02X}", one.access, one.meaning)
                    for one in isa.REGISTERS))
    lines += [*section("Faults", FAULTS_TEXT), *table(
        ("number", "meaning"), ((int(one), FAULTS[one]) for one in Fault))]
    lines += ["", "## Instructions", "",
              f"{isa.INSTRUCTION_BYTES} bytes each, sixteen 32-bit words; what is not named is 0."]
    for op in Op:
        lines += ["", f"### {op.name} ({int(op)})", ""]
        if op is Op.LOAD:
            names = ", ".join(f"{int(one)} {one.name}" for one in Buffer)
            lines += [f"Memory to a buffer: {names}.", ""]
        lines += fields(isa.FIELDS[op])
    lines += [*section("Taps", "4 bytes each."), *fields(isa.TAP)]
    lines += [*section("Weights", WEIGHTS_TEXT), *table(("code", "bits", "meaning"), CODES)]
    lines += [*section("Finishing parameters", PARAMETERS_TEXT), *fields(isa.PARAMETER)]
    lines += [*section("Segments", f"{isa.SEGMENTS} entries of 16 bytes. {SEGMENTS_TEXT}"),
              *fields(isa.SEGMENT)]
    return "\n".join(lines) + "\n"


def section(title: str, text: str) -> list[str]:
    """Return the lines of a heading and a paragraph, and an empty one."""
    return ["", f"## {title}", "", *text.splitlines(), ""]


if __name__ == "__main__":
    print(document(), end="")
