# amaranth: UnusedElaboratable=no
"""Window and line buffer against windows cut out of a padded image, written out here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hwgen.stream.beat import BeatFormat
from hwgen.stream.raster import Axis
from hwgen.stream.window import Window
from tests.hwgen.stream.harness import SEEDS, run


@dataclass
class Case:
    """Image size, kernel, stride, dilation as (rows, columns); padding as (top, left, bottom,
    right)."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    lo: tuple[int, ...] = (0,)
    hi: tuple[int, ...] = (63,)
    fill: tuple[int, ...] | None = None

    def build(self) -> Window:
        top, left, bottom, right = self.padding
        format = BeatFormat(self.lo, self.hi, len(self.lo), *self.size)
        rows = Axis(self.size[0], top, bottom, self.kernel[0], self.stride[0], self.dilation[0])
        columns = Axis(self.size[1], left, right, self.kernel[1], self.stride[1], self.dilation[1])
        return Window(format=format, rows=rows, columns=columns, fill=self.fill)

    def images(self, count: int, seed: int = 0) -> np.ndarray:
        """Random pixels, (count, H, W, C)."""
        rng = np.random.default_rng(seed)
        return rng.integers(self.lo, np.array(self.hi) + 1, (count, *self.size, len(self.lo)))

    def windows(self, images: np.ndarray) -> list[tuple[int, ...]]:
        """Every window of every image: taps in the order (row, column, channel)."""
        top, left, bottom, right = self.padding
        found = []
        for image in images.tolist():
            blank = list(self.fill or (0,) * len(self.lo))
            height, width = self.size
            reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
            for y in range(-top, height + bottom - reach[0], self.stride[0]):
                for x in range(-left, width + right - reach[1], self.stride[1]):
                    taps = []
                    for r in range(self.kernel[0]):
                        for c in range(self.kernel[1]):
                            row, column = y + r * self.dilation[0], x + c * self.dilation[1]
                            inside = 0 <= row < height and 0 <= column < width
                            taps += image[row][column] if inside else blank
                    found.append(tuple(taps))
        return found


def beats(images: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(pixel) for pixel in images.reshape(-1, images.shape[3]).tolist()]


AROUND = (1, 1, 1, 1)
CASES = {
    "3x3": Case((4, 5), (3, 3)),
    "3x3 padded": Case((4, 5), (3, 3), padding=AROUND, lo=(-3, 0), hi=(4, 15)),
    "5x5 padded by 2": Case((5, 6), (5, 5), padding=(2, 2, 2, 2)),
    "2x2 stride 2": Case((4, 6), (2, 2), (2, 2)),
    "2x2 stride 2, odd size": Case((5, 7), (2, 2), (2, 2), lo=(-1,), hi=(0,)),
    "3x3 stride 2, padded": Case((5, 7), (3, 3), (2, 2), AROUND),
    "3x3 stride 2, padded, even size": Case((6, 4), (3, 3), (2, 2), AROUND),
    "2x3 stride 3 and 2": Case((8, 7), (2, 3), (3, 2)),
    "stride 3 of a padded image": Case((7, 8), (3, 3), (3, 3), (1, 2, 2, 1)),
    "stride wider than the kernel": Case((7, 9), (1, 2), (3, 4)),
    "stride wider than the image": Case((3, 3), (2, 2), (5, 5)),
    "dilation 2": Case((6, 7), (3, 2), dilation=(2, 2)),
    "dilation 2, padded, stride 2": Case((5, 6), (3, 3), (2, 2), (2, 2, 2, 2), (2, 2)),
    "dilation 3 across": Case((3, 9), (2, 3), dilation=(1, 3), padding=(0, 3, 1, 1)),
    "top only": Case((4, 4), (3, 3), padding=(2, 0, 0, 0)),
    "left only": Case((4, 4), (3, 3), padding=(0, 2, 0, 0)),
    "bottom only": Case((4, 4), (3, 3), padding=(0, 0, 2, 0)),
    "right only": Case((4, 4), (3, 3), padding=(0, 0, 0, 2)),
    "all sides different": Case((4, 5), (5, 4), padding=(4, 1, 3, 2)),
    "one row": Case((1, 6), (1, 3), padding=(0, 1, 0, 1)),
    "one row, tall kernel": Case((1, 6), (3, 3), padding=AROUND),
    "one column": Case((6, 1), (3, 1), padding=(1, 0, 1, 0)),
    "one column, no padding": Case((6, 1), (3, 1)),
    "one column, wide kernel": Case((5, 1), (3, 3), padding=AROUND),
    "one column, dilation": Case((7, 1), (3, 1), (2, 1), (1, 0, 2, 0), (2, 1)),
    "one pixel": Case((1, 1), (1, 1)),
    "one pixel, padded": Case((1, 1), (3, 3), padding=AROUND),
    "one pixel, corner": Case((1, 1), (2, 3), padding=(1, 1, 0, 2)),
    "1x1": Case((3, 4), (1, 1), lo=(-8, 0, -1), hi=(7, 1, 0)),
    "1x1 stride 2": Case((5, 4), (1, 1), (2, 2)),
    "whole image": Case((3, 4), (3, 4)),
    "two columns": Case((4, 2), (2, 2), padding=(0, 1, 0, 0)),
    "fill": Case((4, 5), (3, 3), padding=AROUND, lo=(-8, 0), hi=(7, 3), fill=(-8, 0)),
    "fill below the pixels": Case(
        (3, 3), (2, 3), padding=(1, 2, 0, 1), lo=(0,), hi=(7,), fill=(-2,)
    ),
    "fill, left only": Case((3, 3), (3, 3), padding=(0, 2, 0, 0), lo=(-2,), hi=(1,), fill=(-2,)),
    "fill, right only": Case((3, 3), (2, 2), padding=(0, 0, 0, 1), lo=(-2,), hi=(1,), fill=(-2,)),
    "fill, stride 2": Case((3, 4), (3, 3), (2, 2), AROUND, lo=(-2, 0), hi=(1, 1), fill=(-2, 0)),
    "fill, one column": Case((4, 1), (3, 1), padding=(2, 0, 1, 0), lo=(-3,), hi=(0,), fill=(-3,)),
    "1 bit": Case((4, 4), (2, 2), padding=(1, 0, 0, 1), lo=(0, -1), hi=(1, 0)),
    "16 bits": Case((3, 4), (2, 2), padding=(0, 1, 1, 0), lo=(-32768, 0), hi=(32767, 65535)),
}


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("name", CASES)
def test_windows(name, seed):
    case, images = CASES[name], 3
    pixels = case.images(images)
    dut = case.build()
    wanted = case.windows(pixels)
    found, _ = run(dut, beats(pixels), len(wanted), seed=seed)
    assert found == wanted


@pytest.mark.parametrize("name", CASES)
def test_pace(name):
    """Back to back: one interval an image, at most a run of padding each way; latency where nothing
    waits."""
    case = CASES[name]
    pixels = case.images(4)
    dut = case.build()
    wanted = case.windows(pixels)
    _, times = run(dut, beats(pixels), len(wanted))
    each = len(wanted) // 4
    assert times.given[3 * each] - times.given[2 * each] == dut.interval
    top, left, bottom, right = case.padding
    assert dut.interval <= (case.size[0] + max(top, bottom)) * (case.size[1] + max(left, right))
    if not any(case.padding):
        assert dut.interval == case.size[0] * case.size[1]
        taken = iter(times.taken)
        first = next(
            t
            for n, t in enumerate(taken)
            if n
            == case.dilation[0] * (case.kernel[0] - 1) * case.size[1]
            + case.dilation[1] * (case.kernel[1] - 1)
        )
        assert times.offered[0] - first == dut.latency


@pytest.mark.parametrize("name", CASES)
def test_no_pixel_of_the_next_image(name):
    """All windows of an image come although the next image never does."""
    case = CASES[name]
    pixels = case.images(1)
    wanted = case.windows(pixels)
    assert run(case.build(), beats(pixels), len(wanted), seed=2)[0] == wanted


@pytest.mark.parametrize("cut", [5, 14, 19])
@pytest.mark.parametrize(
    "name",
    [
        "3x3",
        "3x3 padded",
        "top only",
        "left only",
        "bottom only",
        "right only",
        "fill",
        "one column",
        "3x3 stride 2, padded",
        "dilation 2, padded, stride 2",
    ],
)
def test_reset_in_the_middle(name, cut):
    """After a reset anywhere in an image the next image is right: nothing of the old one is
    seen."""
    case = CASES[name]
    old, new = case.images(1, seed=3), case.images(2, seed=4)
    wanted = case.windows(new)
    sent = [*beats(old)[:cut], None, *beats(new)]
    assert run(case.build(), sent, len(wanted), seed=cut % 2 or None)[0] == wanted


def test_every_small_image_of_one_bit():
    """All 2x3 images of one bit, one behind the other, through a padded 2x2 window."""
    case = Case((2, 3), (2, 2), padding=AROUND, hi=(1,))
    pixels = np.array([[n >> k & 1 for k in range(6)] for n in range(64)]).reshape(64, 2, 3, 1)
    wanted = case.windows(pixels)
    assert run(case.build(), beats(pixels), len(wanted))[0] == wanted


def test_folds():
    with pytest.raises(ValueError, match="A window needs whole pixels, not 2 folds"):
        Window(
            format=BeatFormat((0,), (1,), 2, 3, 3, 2),
            rows=Axis(3, 0, 0, 2),
            columns=Axis(3, 0, 0, 2),
        )


def test_too_much_padding():
    with pytest.raises(ValueError, match="Padding must be at most the window's reach of 1, not 2"):
        Case((3, 3), (3, 2), padding=(0, 2, 0, 0)).build()
