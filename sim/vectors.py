"""Test vectors: images as the beats that enter, and the beats that come out as tensors again.

A beat of an AXI4-Stream port travels as bytes, least significant first; a recorded beat is a line
of the characters ``0``, ``1`` and, where the simulator knew no value, others, most significant
first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.network import Conv2d, Dense, Flatten, Network
from hwgen.sim.ports import Field, Port

Bits = npt.NDArray[np.uint8]  # (beats, bits), 0 or 1, least significant first


def random_images(network: Network, count: int, seed: int) -> Int64Array:
    """Return images for a network: first the extreme ones, then seeded random codes.

    The extreme ones: all codes the largest, all the smallest, a checkerboard of both and its
    reverse; then, up to half of the images, those that drive the first sums to the ends of their
    ranges. The random codes are of the input's whole range.
    Returns: (count, C, H, W) int64.
    """
    layer = network.input
    shape = (layer.channels, layer.height, layer.width)
    rng = np.random.default_rng(seed)
    images = rng.integers(layer.lo, layer.hi, (count, *shape), endpoint=True, dtype=np.int64)
    board = np.indices(shape).sum(axis=0) % 2
    images[:1], images[1:2] = layer.hi, layer.lo
    images[2:3] = np.where(board, layer.lo, layer.hi)
    images[3:4] = np.where(board, layer.hi, layer.lo)
    worst = _first_kernels(network)
    for n, (rows, columns, weight) in enumerate(worst[: max(count // 2 - 4, 0)]):
        part = images[4 + n][:, rows, columns]
        part[:] = np.where(weight > 0, layer.hi, np.where(weight < 0, layer.lo, part))
    return images


def _first_kernels(network: Network) -> list[tuple[slice, slice, Int64Array]]:
    """Places in the image and weights for them, each kernel of the first sums and its negation.

    That is of the convolutions that read the input, or the matrices that read all of it.
    """
    layer, kernels = network.input, []
    shape = (layer.channels, layer.height, layer.width)
    for reader in network.layers:
        source = network.by_name.get(getattr(reader, "source", ""))
        flat = isinstance(source, Flatten) and source.source == layer.name
        if isinstance(reader, Dense) and flat:
            everywhere = slice(None), slice(None)
            kernels += [(*everywhere, weight.reshape(shape)) for weight in reader.weight]
        if isinstance(reader, Conv2d) and source is layer:
            rows, columns = (
                _window(side, k, reader.stride[n], reader.dilation[n], reader.padding[n])
                for n, (side, k) in enumerate(zip(shape[1:], reader.weight.shape[2:], strict=True))
            )
            if rows is None or columns is None:
                continue
            each, co = reader.weight.shape[1], len(reader.weight)
            for o, weight in enumerate(reader.weight):
                whole = np.zeros((layer.channels, *weight.shape[1:]), np.int64)
                start = o // (co // reader.groups) * each
                whole[start : start + each] = weight
                kernels.append((rows, columns, whole))
    return [(rows, columns, sign * weight) for rows, columns, weight in kernels for sign in (1, -1)]


def _window(side: int, k: int, stride: int, dilation: int, before: int) -> slice | None:
    """The first window that lies in the image as a whole, or None."""
    start = -before % stride
    end = start + dilation * (k - 1) + 1
    return slice(start, end, dilation) if end <= side else None


def check_images(
    network: Network, images: npt.NDArray[np.generic], what: str = "Images"
) -> Int64Array:
    """Return images as int64, after checking that they are codes of the network's input.

    Raises: HwgenError naming ``what`` if their kind, shape or range does not fit.
    """
    layer = network.input
    shape = (layer.channels, layer.height, layer.width)
    if images.ndim != 4 or images.shape[1:] != shape:
        raise HwgenError(
            f"{what}: images of {_times(shape)} (channels, rows, columns) needed, not "
            f"{_times(images.shape[1:])}"
        )
    if images.dtype.kind not in "iu":
        raise HwgenError(
            f"{what}: integer codes from {layer.lo} to {layer.hi} needed, not {images.dtype}"
        )
    if images.size and not layer.lo <= int(images.min()) <= int(images.max()) <= layer.hi:
        raise HwgenError(
            f"{what}: codes from {layer.lo} to {layer.hi} needed, not {images.min()} to "
            f"{images.max()}"
        )
    return images.astype(np.int64)


def _times(sides: Sequence[int]) -> str:
    return "x".join(str(side) for side in sides)


def pack(images: Int64Array, port: Port) -> bytes:
    """Return the beats of images on an input port, raster order, each least significant byte first.

    Parameters: images, (N, C, H, W) codes, one channel (of each of a beat's pixels) a field of
    ``port``.
    """
    count, channels = images.shape[:2]
    raster = images.reshape(count, channels, -1).transpose(0, 2, 1)
    pixels = raster.reshape(-1, channels * port.pixels)
    beats = np.zeros((pixels.shape[0], 8 * port.bytes), np.uint8)
    for channel, field in enumerate(port.fields):
        steps = np.arange(field.width)
        beats[:, field.offset : field.offset + field.width] = pixels[:, channel, None] >> steps & 1
    return np.packbits(beats, axis=1, bitorder="little").tobytes()


def parse_beats(text: bytes, width: int) -> tuple[Bits, npt.NDArray[np.bool_]]:
    """Return recorded beats as bits, and which beats held a bit that was neither 0 nor 1.

    Parameters: text, lines of ``width`` characters each; width, bits of a beat.
    Returns: (beats, width) uint8, least significant first; (beats,) bool.
    Raises: ValueError if a line has another length.
    """
    lines, rest = divmod(len(text), width + 1)
    characters = np.frombuffer(text, np.uint8)
    if rest or np.any(characters[width :: width + 1] != ord("\n")):
        raise ValueError(f"Lines of {width} characters needed, not {text[:80]!r}")
    digits = (
        characters.reshape(lines, width + 1)[:, width - 1 :: -1]
        if lines
        else np.zeros((0, width), np.uint8)
    )
    known = ((digits == ord("0")) | (digits == ord("1"))).all(axis=1)
    return (digits == ord("1")).astype(np.uint8), ~known


def value_of(bits: Bits, field: Field) -> Int64Array:
    """Return one field of each beat as integers; (beats,) int64."""
    part = bits[:, field.offset : field.offset + field.width].astype(np.int64)
    value: Int64Array = part @ (np.int64(1) << np.arange(field.width, dtype=np.int64))
    if field.signed:
        value = value - (part[:, -1] << field.width)
    return value


def unpack(
    bits: Bits, fields: Sequence[Field], *, folds: int, channels: int, height: int, width: int,
    pixels: int = 1,
) -> Int64Array:
    """Return beats as tensors: whole images only, lanes past the last channel left out.

    Parameters
    ----------
    bits : (N * height * width / pixels * folds, bits) uint8
        Whole images; beat j of a pixel carries channels ``j * lanes ..``.
    pixels : int
        Of a row, that stand side by side in place of one, the first one's channels lowest.
    fields : sequence of Field
        One a lane.

    Returns: (N, channels, height, width) int64.
    """
    lanes = np.stack([value_of(bits, field) for field in fields], axis=1)
    places = lanes.reshape(-1, height, width // pixels, folds * len(fields))
    found = places[..., : channels * pixels].reshape(-1, height, width, channels)
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def fits(values: Int64Array, field: Field) -> bool:
    """Tell whether all values can be represented in a field."""
    if not values.size:
        return True
    lo, hi = (
        (-(1 << field.width - 1), (1 << field.width - 1) - 1)
        if field.signed
        else (0, (1 << field.width) - 1)
    )
    return lo <= int(values.min()) and int(values.max()) <= hi
