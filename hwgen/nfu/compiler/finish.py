"""The finisher's parameters: bias, multiplier digits, shift, and the piecewise-linear table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.layers import Activation, Int64Array, Layer, Requantise
from hwgen.nfu import isa
from hwgen.nfu.compiler.arrange import Arranged
from hwgen.nfu.compiler.digits import digits_of
from hwgen.nfu.config import CHANNEL_BYTES, Config

UP_LIMIT = 15                 # largest left shift of a finisher's digit
FREE = 62                     # digits_of without a largest shift


@dataclass(frozen=True)
class Channel:
    """Finishing of one channel: t = offset + sum of digits * (accumulator + bias); t >> shift."""

    bias: int = 0
    offset: int = 0
    digits: tuple[tuple[int, int], ...] = ((1, 0),)
    shift: int = 0
    base: int = 0

    def encode(self, count: int) -> list[bytes]:
        """Return ``count`` entries of 16 bytes, a digit each."""
        entries = []
        for n in range(count):
            sign, up = self.digits[n] if n < len(self.digits) else (0, 0)
            entries.append(isa.pack(isa.PARAMETER, {
                "bias": self.bias, "offset_low": self.offset & 0xFFFFFFFF,
                "offset_high": self.offset >> 32 & 0xFFFF, "up": up, "negative": int(sign < 0),
                "zero": int(sign == 0), "shift": self.shift, "base": self.base}, 4))
        return entries


@dataclass(frozen=True, eq=False)
class Finish:
    """What a COMPUTE of one tile needs to finish it.

    Parameters: lines, bytes of its parameters, (group, digit) a line; digits; lo, hi; flags, fields
    of the instruction; table, bytes or None.
    """

    lines: bytes
    digits: int
    lo: int
    hi: int
    flags: dict[str, int]
    table: bytes | None = None


def correction(arranged: Arranged, members: Int64Array) -> Int64Array:
    """Return what the lanes leave out, filter by filter: one for each negative digit.

    A lane gives ~p for -p, which is one too little; every digit acts once a pixel, on padding too.
    """
    config = arranged.config
    if config.multipliers or arranged.task.is_max:
        return np.zeros(len(members), np.int64)
    count = np.zeros(len(members), np.int64)
    for n in range(len(arranged.views)):
        weights = arranged.weights(members, n)[: len(members)].reshape(len(members), -1)
        for kind in np.unique(weights):
            negative = sum(sign < 0 for sign, _ in digits_of(int(kind), config.code.largest_shift))
            if negative:
                count += negative * (weights == kind).sum(axis=1)
    return count << np.where(members >= 0, arranged.base[members], 0)


def check_sums(arranged: Arranged) -> None:
    """Check that no accumulator of a task can leave its bits, whatever the codes.

    Raises: HwgenError naming the layer.
    """
    task, config = arranged.task, arranged.config
    if task.is_max:
        return
    for members in arranged.tiles:
        reach = np.zeros(len(members), np.int64)
        for n, view in enumerate(arranged.views):
            weights = arranged.weights(members, n)[: len(members)].reshape(len(members), -1)
            largest = max(-view.lo, view.hi) + 1          # + 1: an inverted product is one less
            for kind in np.unique(weights):
                size = abs(int(kind)) if config.multipliers else sum(
                    1 << up for _, up in digits_of(int(kind), config.code.largest_shift))
                reach += size * largest * (weights == kind).sum(axis=1)
        if int(reach.max()) >= 1 << config.acc_bits - 1:
            raise task.terms[0].layer.error(
                "weight", f"sums that fit accumulators of {config.acc_bits} bits",
                f"up to {int(reach.max())}")


def finish_codes(arranged: Arranged, members: Int64Array) -> Finish:
    """Return the finishing of a tile by the task's Requantise, Activation or MaxPool."""
    task, config = arranged.task, arranged.config
    layer = task.finish
    extra = correction(arranged, members)
    if isinstance(layer, Activation):
        channels = [Channel(int(task.bias[c]) + int(more), 0, (), layer.shift - _common(layer),
                            int(arranged.base[c])) if c >= 0 else Channel()
                    for c, more in zip(members, extra, strict=True)]
        table, digits = segment_table(layer, config)
        for channel in channels:
            _check_bias(layer, channel)
        return Finish(encode_lines(channels, digits, config), digits, layer.lo, layer.hi,
                      {"activate": 1}, table)
    if isinstance(layer, Requantise):
        channels = [_requantised(arranged, layer, int(c), int(more)) if c >= 0 else Channel()
                    for c, more in zip(members, extra, strict=True)]
        digits = max(1, *(len(channel.digits) for channel in channels))
        return Finish(encode_lines(channels, digits, config), digits, layer.lo, layer.hi, {})
    tensor = task.tensor
    assert tensor.lo is not None
    assert tensor.hi is not None
    lines = encode_lines([Channel()] * len(members), 1, config)
    return Finish(lines, 1, tensor.lo, tensor.hi, {})


def finish_raw(arranged: Arranged, members: Int64Array, piece: int) -> Finish:
    """Return the finishing that keeps one piece of the accumulators, the lowest being 0."""
    config = arranged.config
    shift = piece * config.act_bits
    return Finish(encode_lines(_plain(arranged, members, shift), 1, config), 1, 0, 0, {"wrap": 1})


def finish_class(arranged: Arranged, members: Int64Array, *, first: bool, base: int) -> Finish:
    """Return the finishing that gives the class, of a tile that begins with channel ``base``."""
    flags = {"argmax": 1, "argmax_first": int(first), "lanes": len(members), "class_base": base}
    lines = encode_lines(_plain(arranged, members, 0), 1, arranged.config)
    return Finish(lines, 1, 0, 0, flags)


def _plain(arranged: Arranged, members: Int64Array, shift: int) -> list[Channel]:
    task, config = arranged.task, arranged.config
    layer = task.terms[0].layer
    channels = []
    for c, more in zip(members, correction(arranged, members), strict=True):
        channel = Channel(int(task.bias[c]) + int(more), 0, ((1, 0),), shift, int(arranged.base[c]))
        _check_bias(layer, channel)
        if abs(channel.bias) + _reach(arranged, int(c)) >= 1 << config.total_bits - 1:
            raise layer.error("bias", f"results of {config.total_bits} bits", channel.bias)
        channels.append(channel)
    return channels


def _requantised(arranged: Arranged, layer: Requantise, c: int, extra: int) -> Channel:
    """Return ``(acc * m + b + half) >> s`` with the powers of two common to m and 2**s taken out.

    Exact: floor((a * 2**k + b) / 2**s) = floor((a + floor(b / 2**k)) / 2**(s - k)).
    """
    config, task = arranged.config, arranged.task
    m, s = int(layer.multiplier[c]), int(layer.shift[c])
    offset = (int(task.bias[c]) + extra) * m + int(layer.offset[c]) + (1 << s >> 1)
    base = int(arranged.base[c])
    reach = _reach(arranged, c) * abs(m)
    common = min((m & -m).bit_length() - 1, s) if m else 0
    m, s, offset = m >> common, s - common, offset >> common
    digits = digits_of(m, FREE)
    largest = (reach >> common) + abs(offset) + 1
    # A shift of the whole word and more leaves the sign alone, as the largest possible one does.
    if largest >= 1 << config.total_bits - 1:
        raise layer.error("multiplier, offset", f"products of {config.total_bits} bits",
                          f"up to {largest} in channel {c}")
    if digits and digits[0][1] > UP_LIMIT:
        raise layer.error("multiplier", f"digits at most 2**{UP_LIMIT} times the lowest",
                          f"{m} in channel {c}")
    return Channel(0, offset, digits, min(s, config.total_bits - 1), base)


def _reach(arranged: Arranged, c: int) -> int:
    """Bound of a channel's accumulator without bias."""
    if arranged.task.is_max:
        return 1 << 16
    total = 0
    for n, view in enumerate(arranged.views):
        term = arranged.task.terms[n]
        size = term.factor * len(term.taps) if term.weight is None else int(
            np.abs(term.weight[c]).sum())
        total += size * (max(-view.lo, view.hi) + 1) * 2
    return total


def _common(layer: Activation) -> int:
    """Return how many lowest bits all slopes and the shift have free."""
    used = int(np.bitwise_or.reduce(np.abs(layer.slopes)))
    return min((used & -used).bit_length() - 1, layer.shift) if used else 0


def segment_table(layer: Activation, config: Config) -> tuple[bytes, int]:
    """Return the table of a piecewise-linear function, and the digits of its steepest slope.

    Raises: HwgenError naming the layer if it does not fit the unit.
    """
    if not config.segments:
        raise layer.error("kind", "an NFU with segments (Config.segments)", "one without")
    if layer.slopes.size > isa.SEGMENTS:
        raise layer.error("slopes", f"at most {isa.SEGMENTS} segments", layer.slopes.size)
    common = _common(layer)
    top = (1 << config.total_bits - 1) - 1
    entries, most = [], 1
    for k in range(isa.SEGMENTS):
        n = min(k, layer.slopes.size - 1)
        start = int(layer.breakpoints[k - 1]) if 0 < k < layer.slopes.size else (
            -top if k == 0 else top)
        start = min(max(start, -(1 << 31)), (1 << 31) - 1)
        offset = int(layer.offsets[n]) + (1 << layer.shift >> 1) >> common
        digits = digits_of(int(layer.slopes[n]) >> common, FREE)
        most = max(most, len(digits))
        if digits and digits[0][1] > UP_LIMIT:
            raise layer.error("slopes", f"digits at most 2**{UP_LIMIT} times the lowest",
                              int(layer.slopes[n]))
        if abs(offset) >> config.total_bits - 1:
            raise layer.error("offsets", f"values of {config.total_bits} bits", offset)
        values = {"start": start, "offset_low": offset & 0xFFFFFFFF,
                  "offset_high": offset >> 32 & 0xFFFF}
        for d in range(2):
            sign, up = digits[d] if d < len(digits) else (0, 0)
            values |= {f"up_{d}": up, f"negative_{d}": int(sign < 0), f"zero_{d}": int(sign == 0)}
        entries.append(isa.pack(isa.SEGMENT, values, 4))
    return b"".join(entry.ljust(config.entry_words * config.word_bytes, b"\0")
                    for entry in entries), most


def check_segments(arranged: Arranged, layer: Activation) -> None:
    """Check that no value of a piecewise-linear function leaves its bits.

    Raises: HwgenError naming the layer.
    """
    config, common = arranged.config, _common(layer)
    reach = max(_reach(arranged, c) + abs(int(arranged.task.bias[c]))
                for c in range(arranged.task.tensor.channels))
    steep = int(np.abs(layer.slopes).max()) >> common
    largest = reach * max(steep, 1) + (int(np.abs(layer.offsets).max()) >> common) + 2
    if largest >> config.total_bits - 1:
        raise layer.error("slopes, offsets", f"products of {config.total_bits} bits",
                          f"up to {largest}")


def encode_lines(channels: Sequence[Channel], digits: int, config: Config) -> bytes:
    """Return the parameters of a tile: a line for each group of channels and digit."""
    full = [*channels, *[Channel()] * (config.tn - len(channels))]
    size = config.par_words * config.word_bytes
    lines = []
    for group in range(config.groups):
        members = full[group * config.finishers : (group + 1) * config.finishers]
        coded = [channel.encode(digits) for channel in members]
        lines += [b"".join(entries[d] for entries in coded).ljust(size, b"\0")
                  for d in range(digits)]
    assert all(len(line) >= CHANNEL_BYTES for line in lines)
    return b"".join(lines)


def _check_bias(layer: Layer, channel: Channel) -> None:
    if not -(1 << 31) <= channel.bias < 1 << 31:
        raise layer.error("bias", "a bias of 32 bits", channel.bias)
