"""Sparse ternary codes as few bits, without loss.

Ref: J. Rissanen, G. Langdon, "Arithmetic coding", IBM J. Res. Dev. 23(2), 1979, in the integer form
of I. Witten, R. Neal, J. Cleary, CACM 30(6), 1987, with counts as probabilities (R. Krichevsky, V.
Trofimov, IEEE Trans. Inf. Theory 27(2), 1981); D. Huffman, Proc. IRE 40(9), 1952, with lengths
limited by the package-merge of L. Larmore, D. Hirschberg, JACM 37(3), 1990.

Two coders; both count everything that the decoder needs but the number of weights:

* ``HUFFMAN``: runs of zeros before each nonzero weight, then a sign bit. Layout: 3 bits e, the
  longest run being 2**e - 1; 4 bits a code length for symbols 0 to 2**e - 1; then the codes. The
  last symbol stands for that many zeros and no weight. Canonical: the lengths tell the codes.
* ``ARITHMETIC``: zero or not, and the sign, by adaptive binary probabilities; no table at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum

import numpy as np

from hwgen.compress.methods.checks import BoolArray
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

LONGEST_CODE = 15
RUN_BITS = 7  # the longest run is at most 2**7 - 1

_TOP = 1 << 32
_HALF, _QUARTER = _TOP >> 1, _TOP >> 2


class Coder(Enum):
    """How codes are written."""

    HUFFMAN = "huffman"
    ARITHMETIC = "arithmetic"


def encode(codes: Int64Array, coder: Coder) -> bytes:
    """Return the bytes of codes -1, 0, 1, in their raster order.

    Raises: HwgenError if there is another code among them.
    """
    flat = np.asarray(codes, np.int64).ravel()
    if flat.size and int(np.abs(flat).max()) > 1:
        raise HwgenError(f"Codes -1, 0 and 1 needed, not {flat[np.argmax(np.abs(flat))]}")
    if coder is Coder.ARITHMETIC:
        return _arithmetic_encode(flat)
    written = [_huffman_encode(flat, bits) for bits in range(1, RUN_BITS + 1)]
    return min(written, key=len)


def decode(data: bytes, count: int, coder: Coder) -> Int64Array:
    """Return the ``count`` codes that ``encode`` wrote.

    Arithmetic coding has no wrong data: what is damaged gives other weights, so a checksum belongs
    beside it.

    Raises: HwgenError if Huffman data end too early or hold a code that is none.
    """
    read = _arithmetic_decode if coder is Coder.ARITHMETIC else _huffman_decode
    return int64(read(data, count))


def entropy(codes: Int64Array) -> float:
    """Return the bits of a coder that knew the frequencies of -1, 0 and 1 and nothing else."""
    flat = np.asarray(codes).ravel()
    counts = np.array([np.count_nonzero(flat == code) for code in (-1, 0, 1)], float)
    counts = counts[counts > 0]
    return float((counts * np.log2(flat.size / counts)).sum())


# ---------------------------------------------------------------------------------------------
# Huffman


def code_lengths(counts: Int64Array, longest: int = LONGEST_CODE) -> Int64Array:
    """Return the lengths of the best prefix code of at most ``longest`` bits; 0 where unused.

    Parameters: counts, (S,) >= 0, of each symbol. Raises: HwgenError if there are too many symbols.
    """
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(used) > 1 << longest:
        raise HwgenError(f"At most {1 << longest} symbols needed, not {len(used)}")
    if len(used) < 2:
        lengths[used] = 1
        return lengths
    leaves: list[tuple[int, tuple[int, ...]]]
    leaves = sorted((int(counts[symbol]), (int(symbol),)) for symbol in used)
    level = leaves
    for _ in range(longest - 1):
        pairs = [
            (level[n][0] + level[n + 1][0], level[n][1] + level[n + 1][1])
            for n in range(0, len(level) - 1, 2)
        ]
        level = list(heapq.merge(leaves, pairs))
    for _, symbols in level[: 2 * len(used) - 2]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


def canonical(lengths: Int64Array) -> Int64Array:
    """Return the code of each symbol: rising by length, then by symbol.

    Raises: HwgenError if no prefix code has such lengths.
    """
    words = np.zeros(len(lengths), np.int64)
    word = previous = 0
    for symbol in np.argsort(lengths, kind="stable"):
        length = int(lengths[symbol])
        if not length:
            continue
        word <<= length - previous
        if word >> length:
            raise HwgenError(f"Code lengths of a prefix code needed, not {lengths.tolist()}")
        words[symbol], previous = word, length
        word += 1
    return words


def _runs(flat: Int64Array, escape: int) -> tuple[Int64Array, Int64Array]:
    """Return symbols, and the sign bit after each, -1 after an escape."""
    places = np.flatnonzero(flat)
    zeros = np.diff(places, prepend=-1) - 1
    tail = len(flat) - (int(places[-1]) + 1 if len(places) else 0)
    escapes = zeros // escape
    symbols = np.full(int(escapes.sum()) + len(places) - (-tail // escape), escape)
    signs = np.full(len(symbols), -1)
    ends = np.cumsum(escapes + 1) - 1
    symbols[ends], signs[ends] = zeros % escape, flat[places] < 0
    return symbols, signs


def _huffman_encode(flat: Int64Array, run_bits: int) -> bytes:
    escape = (1 << run_bits) - 1
    symbols, signs = _runs(flat, escape)
    lengths = code_lengths(np.bincount(symbols, minlength=escape + 1))
    words = canonical(lengths)
    signed = signs >= 0
    values = np.where(signed, words[symbols] << 1 | (signs > 0), words[symbols])
    widths = lengths[symbols] + signed
    table = _bits(lengths, np.full(escape + 1, 4))
    head = _bits(np.array([run_bits]), np.array([3]))
    return np.packbits(np.concatenate([head, table, _bits(values, widths)])).tobytes()


def _bits(values: Int64Array, widths: Int64Array) -> BoolArray:
    """Return values as one row of bits, the highest first."""
    if not values.size:
        return np.zeros(0, bool)
    columns = np.arange(int(widths.max()))
    shifts = widths[:, None] - 1 - columns
    bits: BoolArray = (values[:, None] >> np.maximum(shifts, 0) & 1).astype(bool)[shifts >= 0]
    return bits


def _huffman_decode(data: bytes, count: int) -> Int64Array:
    bits = iter(np.unpackbits(np.frombuffer(data, np.uint8)).tolist())
    escape = (1 << _take(bits, 3)) - 1
    if escape < 1:
        raise HwgenError("Coded weights: a longest run above 0 needed")
    lengths = np.array([_take(bits, 4) for _ in range(escape + 1)])
    words = canonical(lengths)
    symbol_of = {
        (int(length), int(word)): symbol
        for symbol, (length, word) in enumerate(zip(lengths, words, strict=True))
        if length
    }
    codes = np.zeros(count, np.int64)
    place = 0
    while place < count:
        word = length = 0
        while (length, word) not in symbol_of:
            word, length = word << 1 | _take(bits, 1), length + 1
            if length > LONGEST_CODE:
                raise HwgenError(f"Coded weights: no code begins with the bits at weight {place}")
        symbol = symbol_of[length, word]
        place += symbol
        if symbol < escape:
            sign = -1 if _take(bits, 1) else 1
            if place >= count:
                raise HwgenError(f"Coded weights: {count} weights needed, there are more")
            codes[place] = sign
            place += 1
    return codes


def _take(bits: Iterator[int], width: int) -> int:
    value = 0
    for _ in range(width):
        bit = next(bits, None)
        if bit is None:
            raise HwgenError("Coded weights: more bits needed, the data end too early")
        value = value << 1 | bit
    return value


# ---------------------------------------------------------------------------------------------
# Arithmetic


class _Counts:
    """How often a binary event was 0 or 1, each from a half on."""

    def __init__(self) -> None:
        self.zeros = self.total = 0

    def split(self, low: int, high: int) -> int:
        """Where ``low..high`` is cut: below it the event is 0."""
        share = (high - low + 1) * (2 * self.zeros + 1) // (2 * self.total + 2)
        return low + max(1, min(share, high - low))

    def add(self, bit: int) -> None:
        self.zeros += not bit
        self.total += 1


def _arithmetic_encode(flat: Int64Array) -> bytes:
    out: list[int] = []
    low, high, pending = 0, _TOP - 1, 0
    nonzero, sign = _Counts(), _Counts()
    for code in flat.tolist():
        events = [(nonzero, 1), (sign, int(code < 0))] if code else [(nonzero, 0)]
        for counts, bit in events:
            middle = counts.split(low, high)
            low, high = (middle, high) if bit else (low, middle - 1)
            counts.add(bit)
            while True:
                if high < _HALF or low >= _HALF:
                    first = int(low >= _HALF)
                    out += [first, *[1 - first] * pending]
                    pending, base = 0, _HALF * first
                elif low >= _QUARTER and high < _HALF + _QUARTER:
                    pending, base = pending + 1, _QUARTER
                else:
                    break
                low, high = (low - base) << 1, (high - base) << 1 | 1
    # Two bits more tell which half of low..high is meant; zeros follow.
    first = int(low >= _QUARTER)
    out += [first, *[1 - first] * (pending + 1)]
    while out and not out[-1]:
        out.pop()
    return np.packbits(np.array(out, np.uint8)).tobytes()


def _arithmetic_decode(data: bytes, count: int) -> Int64Array:
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
    value = int("".join(map(str, (bits + [0] * 32)[:32])), 2)
    following = iter(bits[32:])
    low, high = 0, _TOP - 1
    nonzero, sign = _Counts(), _Counts()
    codes = [0] * count
    place = 0
    counts = nonzero
    while place < count:
        middle = counts.split(low, high)
        bit = int(value >= middle)
        low, high = (middle, high) if bit else (low, middle - 1)
        counts.add(bit)
        while True:
            if high < _HALF or low >= _HALF:
                base = _HALF * (low >= _HALF)
            elif low >= _QUARTER and high < _HALF + _QUARTER:
                base = _QUARTER
            else:
                break
            low, high = (low - base) << 1, (high - base) << 1 | 1
            value = (value - base) << 1 | next(following, 0)
        if counts is nonzero and bit:
            counts = sign
            continue
        if counts is sign:
            codes[place] = -1 if bit else 1
            counts = nonzero
        place += 1
    return np.array(codes, np.int64)
