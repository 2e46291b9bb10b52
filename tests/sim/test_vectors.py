"""Beats in and out of integers, against Python's own big integers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import Conv2d, Dense, Flatten, Input, Network, Requantise
from hwgen.ranges import value_ranges
from hwgen.sim import golden
from hwgen.sim.ports import Field, Port
from hwgen.sim.vectors import (
    check_images,
    fits,
    pack,
    parse_beats,
    random_images,
    unpack,
    value_of,
)


def network(lo: int = -4, hi: int = 3) -> Network:
    """Two channels of 2x3 pixels."""
    two = np.zeros(2, int)
    return Network(
        (
            Input("image", 2, 2, 3, lo, hi, 0),
            Requantise("out", "image", two + 1, two, two, lo, hi, 0),
        )
    )


def as_line(value: int, width: int) -> bytes:
    """A recorded beat."""
    return f"{value % (1 << width):0{width}b}\n".encode()


def test_pack_order() -> None:
    port = Port("s_axis", 16, 6, (Field(0, 3, True), Field(3, 9, True)))
    images = np.arange(12).reshape(1, 2, 2, 3) % 8 - 4
    words = pack(images, port)
    assert len(words) == 6 * 2
    for pixel in range(6):
        row, column = divmod(pixel, 3)
        low, high = (int(images[0, c, row, column]) for c in (0, 1))
        wanted = low % 8 + (high % 512 << 3)
        assert int.from_bytes(words[2 * pixel : 2 * pixel + 2], "little") == wanted


@pytest.mark.parametrize("width", [1, 2, 7, 8, 31, 33, 62])
@pytest.mark.parametrize("signed", [False, True])
def test_value_of_any_field(width: int, signed: bool) -> None:
    rng = random.Random(width)
    lo, hi = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    values = [lo, hi, 0, *(rng.randint(lo, hi) for _ in range(20))]
    offset, total = 5, width + 9
    noise = [rng.getrandbits(total) & ~((1 << width) - 1 << offset) for _ in values]
    text = b"".join(
        as_line((v % (1 << width) << offset) | n, total) for v, n in zip(values, noise, strict=True)
    )
    bits, unknown = parse_beats(text, total)
    assert not unknown.any()
    assert value_of(bits, Field(offset, width, signed)).tolist() == values


def test_unpack_folds() -> None:
    """Five channels in two folds of three lanes, 1x2 pixels: the sixth lane is left out."""
    lanes = (Field(0, 4, False), Field(4, 4, False), Field(8, 4, False))
    beats = [(0, 1, 2), (3, 4, 15), (5, 6, 7), (8, 9, 15)]
    text = b"".join(as_line(a | b << 4 | c << 8, 12) for a, b, c in beats)
    got = unpack(parse_beats(text, 12)[0], lanes, folds=2, channels=5, height=1, width=2)
    assert got.shape == (1, 5, 1, 2)
    assert got[0, :, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert got[0, :, 0, 1].tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("character", ["x", "X", "z", "Z", "-"])
def test_unknown_bit(character: str) -> None:
    bits, unknown = parse_beats(f"0101\n0{character}11\n".encode(), 4)
    assert unknown.tolist() == [False, True]
    assert bits[0].tolist() == [1, 0, 1, 0]


def test_parse_wrong_length() -> None:
    with pytest.raises(ValueError, match="Lines of 4 characters needed, not "):
        parse_beats(b"010\n0101\n", 4)


def test_parse_nothing() -> None:
    assert parse_beats(b"", 7)[0].shape == (0, 7)


def test_random_images_start_with_extremes() -> None:
    images = random_images(network(), 6, seed=1)
    assert images.shape == (6, 2, 2, 3)
    assert set(images[0].flat) == {3}
    assert set(images[1].flat) == {-4}
    assert np.array_equal(images[2] + images[3], np.full((2, 2, 3), -1))
    assert len(set(images[4:].flat)) == 8
    assert np.array_equal(images, random_images(network(), 6, seed=1))
    assert not np.array_equal(images[4:], random_images(network(), 6, seed=2)[4:])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_first_sums_reach_their_ends(groups: int, stride: int, dilation: int) -> None:
    rng = np.random.default_rng(groups)
    zeros = np.zeros(4, int)
    one = Network((
        Input("image", 2, 7, 8, -4, 3, 0),
        Conv2d("conv1", "image", rng.integers(-3, 4, (4, 2 // groups, 3, 2)), zeros + 5, zeros,
               (stride, 1), (1, 1, 0, 1), (1, dilation), groups),
    ))
    sums = golden.run(one, random_images(one, 24, seed=0))["conv1"]
    ends = value_ranges(one)["conv1"]
    assert sums.min(axis=(0, 2, 3)).tolist() == ends.lo.tolist()
    assert sums.max(axis=(0, 2, 3)).tolist() == ends.hi.tolist()


def test_first_matrix_reaches_its_ends() -> None:
    weight = np.random.default_rng(0).integers(-3, 4, (3, 12))
    one = Network((Input("image", 2, 2, 3, -4, 3, 0), Flatten("flat", "image"),
                   Dense("dense1", "flat", weight, np.zeros(3, int), np.zeros(3, int))))
    sums = golden.run(one, random_images(one, 24, seed=0))["dense1"]
    ends = value_ranges(one)["dense1"]
    assert sums.min(axis=(0, 2, 3)).tolist() == ends.lo.tolist()
    assert sums.max(axis=(0, 2, 3)).tolist() == ends.hi.tolist()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((3, 1, 2, 3), int),
            "x: images of 2x2x3 (channels, rows, columns) needed, not 1x2x3",
        ),
        (np.zeros((3, 2, 3), int), "x: images of 2x2x3 (channels, rows, columns) needed, not 2x3"),
        (np.zeros((3, 2, 2, 3)), "x: integer codes from -4 to 3 needed, not float64"),
        (np.full((3, 2, 2, 3), 4), "x: codes from -4 to 3 needed, not 4 to 4"),
        (np.full((3, 2, 2, 3), -5), "x: codes from -4 to 3 needed, not -5 to -5"),
    ],
)
def test_wrong_images(images: np.ndarray, message: str) -> None:
    with pytest.raises(HwgenError) as caught:
        check_images(network(), images, "x")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("lo", "hi", "width", "signed", "wanted"),
    [
        (-4, 3, 3, True, True),
        (-5, 3, 3, True, False),
        (-4, 4, 3, True, False),
        (0, 7, 3, False, True),
        (0, 8, 3, False, False),
        (-1, 3, 3, False, False),
    ],
)
def test_fits(lo: int, hi: int, width: int, signed: bool, wanted: bool) -> None:
    assert fits(np.array([lo, hi]), Field(0, width, signed)) is wanted
