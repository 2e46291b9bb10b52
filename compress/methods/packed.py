"""A compressed network's weights, biases and scales as bytes: what its size is measured by.

Everything that a decoder needs is inside and counted. Layout, numbers as LEB128 (seven bits a byte,
lowest first; signed ones zigzag)::

    format 1 | layers | a layer each | CRC-32 of all before, 4 bytes, highest first
    layer:    dimensions, sizes | coding | code bytes, codes
              scales: count, then mantissa and exponent of each
              bias: count, mantissa and exponent of its scale, bits of each, two's complement
    coding:   0 fixed width (the width, then two's complement), 1 Huffman, 2 arithmetic
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwgen.compress.methods.checks import FloatArray, frozen
from hwgen.compress.methods.entropy_code import Coder, decode, encode
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

FORMAT = 1
MOST_LAYERS = 4096
MOST_WEIGHTS = 1 << 28
MOST_BITS = 32
MANTISSA_BITS = 24
_CODINGS = {1: Coder.HUFFMAN, 2: Coder.ARITHMETIC}


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """A layer of integers: weights ``codes * scale``, biases ``bias * bias_scale``.

    Parameters
    ----------
    codes : int64 array, (co, ...)
    scale : float64 array, (1,), (co,) or (co, ci)
        Each m * 2**e with an odd m of at most 24 bits, above 0.
    bias : int64 array, (co,), or empty
    bias_scale : float
        Like a scale.

    Raises: HwgenError if a scale is no such number or the codes are wider than 32 bits.
    """

    codes: Int64Array
    scale: FloatArray
    bias: Int64Array = field(default_factory=lambda: int64([]))
    bias_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", int64(self.codes))
        object.__setattr__(self, "bias", int64(self.bias))
        object.__setattr__(self, "scale", frozen(self.scale))
        if not 1 <= self.codes.ndim <= 4 or not self.codes.size:
            raise HwgenError(f"Codes of 1 to 4 dimensions needed, not of {self.codes.shape}")
        for values in (self.codes, self.bias):
            if _width(values) > MOST_BITS:
                raise HwgenError(f"Codes of at most {MOST_BITS} bits needed, not {_width(values)}")
        for value in (*self.scale.ravel(), self.bias_scale):
            _split(float(value))

    def values(self) -> FloatArray:
        """Return the weights as floats."""
        dimensions = self.codes.ndim - self.scale.ndim
        values: FloatArray = self.codes * self.scale.reshape(self.scale.shape + (1,) * dimensions)
        return values


def pack(layers: Sequence[PackedLayer], coder: Coder | None = None) -> bytes:
    """Return the layers as bytes; ternary codes by ``coder``, by default the shorter of the two."""
    out = bytearray([FORMAT])
    out += _number(len(layers))
    for layer in layers:
        out += _number(layer.codes.ndim)
        for size in layer.codes.shape:
            out += _number(size)
        out += _codes(layer.codes, coder)
        out += _number(layer.scale.ndim)
        for size in layer.scale.shape:
            out += _number(size)
        for value in layer.scale.ravel():
            out += _scale(float(value))
        out += _number(layer.bias.size)
        out += _scale(layer.bias_scale)
        out += _fixed(layer.bias)
    return bytes(out) + zlib.crc32(out).to_bytes(4, "big")


def unpack(data: bytes) -> tuple[PackedLayer, ...]:
    """Return the layers that ``pack`` wrote.

    Raises: HwgenError if the data are damaged, cut off, longer than they should be or too large.
    """
    if len(data) < 6 or zlib.crc32(data[:-4]).to_bytes(4, "big") != data[-4:]:
        raise HwgenError("Packed weights: whole data with their checksum needed; they are damaged")
    reader = _Reader(data[:-4])
    if (form := reader.bytes(1)[0]) != FORMAT:
        raise HwgenError(f"Packed weights: format {FORMAT} needed, not {form}")
    layers = tuple(_layer(reader) for _ in range(reader.number(MOST_LAYERS)))
    reader.end()
    return layers


def float_bytes(layers: Sequence[PackedLayer]) -> int:
    """Return the bytes of the same weights and biases as 32-bit floats."""
    return sum(4 * (layer.codes.size + layer.bias.size) for layer in layers)


# ---------------------------------------------------------------------------------------------
# Writing


def _width(values: Int64Array) -> int:
    """Return the bits of the widest, two's complement."""
    if not values.size:
        return 1
    return max(int(max(values.max(), -int(values.min()) - 1)), 0).bit_length() + 1


def _split(value: float) -> tuple[int, int]:
    """Return (m, e) with value = m * 2**e, m odd."""
    if not (math.isfinite(value) and value > 0):
        raise HwgenError(f"Scales must be finite and above 0, not {value:g}")
    mantissa, exponent = math.frexp(value)
    whole = int(mantissa * (1 << 53))
    zeros = (whole & -whole).bit_length() - 1
    if (whole >> zeros).bit_length() > MANTISSA_BITS:
        raise HwgenError(f"Scales m * 2**e with m of {MANTISSA_BITS} bits needed, not {value!r}")
    return whole >> zeros, exponent - 53 + zeros


def _number(value: int) -> bytes:
    out = bytearray()
    while value >> 7:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _scale(value: float) -> bytes:
    mantissa, exponent = _split(value)
    return _number(mantissa) + _number(exponent << 1 if exponent >= 0 else ~exponent << 1 | 1)


def _codes(codes: Int64Array, coder: Coder | None) -> bytes:
    if np.abs(codes).max() > 1:
        return _number(0) + _fixed(codes)
    number_of = {member: number for number, member in _CODINGS.items()}
    tried = [(number_of[c], encode(codes, c)) for c in ([coder] if coder else Coder)]
    number, data = min(tried, key=lambda pair: len(pair[1]))
    return _number(number) + _number(len(data)) + data


def _fixed(values: Int64Array) -> bytes:
    if not values.size:
        return b""
    width = _width(values)
    bits = values.ravel()[:, None] >> np.arange(width)[::-1] & 1
    return _number(width) + np.packbits(bits.astype(np.uint8)).tobytes()


# ---------------------------------------------------------------------------------------------
# Reading


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        part = self.data[self.place : self.place + count]
        if len(part) < count:
            raise HwgenError(f"Packed weights: {count} bytes more needed, {len(part)} are left")
        self.place += count
        return part

    def number(self, most: int) -> int:
        """Return the next number."""
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128 or shift > 63:
                break
        if value > most:
            raise HwgenError(f"Packed weights: a number up to {most} needed, not {value}")
        return value

    def scale(self) -> float:
        """Return the next scale."""
        mantissa, zigzag = self.number((1 << MANTISSA_BITS) - 1), self.number(1 << 12)
        exponent = ~(zigzag >> 1) if zigzag & 1 else zigzag >> 1
        if exponent + mantissa.bit_length() > 1024:
            raise HwgenError(f"Packed weights: scales below 2**1024 needed, not 2**{exponent}")
        return math.ldexp(mantissa, exponent)

    def fixed(self, count: int) -> Int64Array:
        """Return the next integers of one width."""
        if not count:
            return int64([])
        width = self.number(MOST_BITS)
        if not width:
            raise HwgenError("Packed weights: integers of at least one bit needed, not 0")
        packed = np.frombuffer(self.bytes(-(-count * width // 8)), np.uint8)
        bits = np.unpackbits(packed, count=count * width).reshape(count, width).astype(np.int64)
        weights = 1 << np.arange(width)[::-1].astype(np.int64)
        weights[0] = -weights[0]
        return int64(bits @ weights)

    def end(self) -> None:
        """Refuse anything that is left."""
        if self.place != len(self.data):
            raise HwgenError(
                f"Packed weights: {self.place} bytes needed, there are {len(self.data)}"
            )


def _shape(reader: _Reader, most: int) -> tuple[int, ...]:
    shape = tuple(reader.number(MOST_WEIGHTS) for _ in range(reader.number(4)))
    if not shape or not 1 <= math.prod(shape) <= most:
        raise HwgenError(f"Packed weights: a shape of 1 to {most} values needed, not {shape}")
    return shape


def _layer(reader: _Reader) -> PackedLayer:
    shape = _shape(reader, MOST_WEIGHTS)
    count = math.prod(shape)
    if coding := reader.number(max(_CODINGS)):
        codes = decode(reader.bytes(reader.number(MOST_WEIGHTS)), count, _CODINGS[coding])
    else:
        codes = reader.fixed(count)
    scales = _shape(reader, count)
    scale = np.array([reader.scale() for _ in range(math.prod(scales))]).reshape(scales)
    biases = reader.number(count)
    bias_scale = reader.scale()
    return PackedLayer(int64(codes.reshape(shape)), scale, reader.fixed(biases), bias_scale)
