# amaranth: UnusedElaboratable=no
from __future__ import annotations

import random

import pytest

from hwgen.stream.beat import BeatFormat
from hwgen.stream.frame import FrameGuard, FrameOut, whole_bytes
from tests.hwgen.stream.harness import SEEDS, Sink, Source, axis_in, axis_out, exchange, port, run

FORMAT = BeatFormat((0, -7), (16, 8), 2, 2, 3)  # 5 bits hold 31, 5 signed ones -16..15


def image(rng, format=FORMAT, pixels=None):
    """Random pixels in range."""
    return [
        tuple(rng.randint(lo, hi) for lo, hi in zip(format.lo, format.hi, strict=True))
        for _ in range(format.beats if pixels is None else pixels)
    ]


def beats_of(pixels, lasts, fill):
    """AXI4-Stream beats, the filling bits noise."""
    return [
        (*pixel, *([random.getrandbits(fill)] if fill else []), int(n in lasts))
        for n, pixel in enumerate(pixels)
    ]


def guarded(format, frames, seed, lasts=None):
    """Send frames (lists of pixels), ``tlast`` on each one's last beat; return pixels out and
    frame_error."""
    dut = FrameGuard(format=format)
    fill = whole_bytes(format.bits) - format.bits
    beats = [beat for frame in frames for beat in beats_of(frame, {len(frame) - 1}, fill)]
    source = Source(axis_in(dut, format.shapes), beats)
    sink = Sink(port(dut.o), format.beats * len(frames))
    errors = []

    class Watched:
        valid, ready, payload = dut.o.valid, dut.o.ready, dut.frame_error
        shapes = [(1)]

        @staticmethod
        def unpack(word):
            errors.append(word)
            return (word,)

    exchange(dut, [source], [sink], seed=seed, watch=[Watched])
    return sink, source, errors


def expected(format, frames):
    """A frame that is short is filled with zeros, one that is long is cut."""
    blank = [(0,) * format.lanes] * format.beats
    return [pixel for frame in frames for pixel in (frame + blank)[: format.beats]]


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_good_frames_pass(seed):
    rng = random.Random(1)
    frames = [image(rng) for _ in range(4)]
    sink, source, errors = guarded(FORMAT, frames, seed)
    assert sink.found == expected(FORMAT, frames)
    assert not any(errors)
    if seed is None:
        assert source.taken == sink.offered == list(range(24))  # latency 0, one pixel a cycle


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    "lengths",
    [
        (6, 1, 6),
        (6, 5, 6),
        (6, 7, 6),
        (1, 1, 1, 6),
        (6, 12, 6),
        (6, 13, 6),
        (25, 6),
        (3, 9, 6),
        (9, 3, 6),
        (7, 7, 6),
        (5, 5, 6),
        (18, 6),
    ],
    ids=str,
)
def test_wrong_tlast(lengths, seed):
    """Early, late, missing (two images in one frame), doubled (a frame of one beat): one image a
    frame."""
    rng = random.Random(2)
    frames = [image(rng, pixels=length) for length in lengths]
    sink, _, errors = guarded(FORMAT, frames, seed)
    assert sink.found == expected(FORMAT, frames)
    first_bad = next(n for n, length in enumerate(lengths) if length != 6)
    # Sticky: high from the image after the wrong frame on, and never low again.
    assert not any(errors[: 6 * first_bad])
    assert all(errors[6 * (first_bad + 1) :])
    assert errors[-1]


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize("lengths", [(1, 1, 1), (1, 2, 1), (3, 1)], ids=str)
def test_image_of_one_pixel(lengths, seed):
    format = BeatFormat((0,), (255,), 1, 1, 1)
    rng = random.Random(3)
    frames = [image(rng, format, length) for length in lengths]
    sink, _, errors = guarded(format, frames, seed)
    assert sink.found == expected(format, frames)
    assert errors[-1] == (lengths[-1] != 1 or max(lengths[:-1]) > 1)


def test_reset_clears_the_error():
    rng = random.Random(4)
    dut = FrameGuard(format=FORMAT)
    good = image(rng)
    beats = [*beats_of(image(rng, pixels=9), {8}, 6), None, *beats_of(good, {5}, 6)]
    found, _ = run(dut, beats, 6, seed=0, i=axis_in(dut, FORMAT.shapes), o=port(dut.o))
    assert found == good


@pytest.mark.parametrize(
    ("lo", "hi"),
    [(0, 16), (-7, 8), (-8, 7), (-8, 2), (0, 0), (-1, 0), (0, 1), (-132, 123), (-3, 0), (0, 5)],
)
def test_clipped_to_the_range(lo, hi):
    """Every word that the field can hold, in range or not."""
    width = max((-lo - 1).bit_length() if lo else 0, hi.bit_length()) + (lo < 0) or 1
    least = -(1 << width - 1) if lo < 0 else 0
    values = list(range(least, least + (1 << width)))
    format = BeatFormat((lo,), (hi,), 1, 1, len(values))
    sink, _, errors = guarded(format, [[(value,) for value in values]], None)
    assert sink.found == [(min(max(value, lo), hi),) for value in values]
    assert not any(errors)


@pytest.mark.parametrize("seed", SEEDS[:2])
@pytest.mark.parametrize(
    ("height", "width", "lo", "hi", "bits"),
    [
        (2, 3, (-5, 0), (3, 200), 16),
        (1, 1, (0,), (9,), 8),
        (1, 4, (-128,), (127,), 8),
        (3, 1, (0, 0, -1), (1, 1, 0), 8),
    ],
)
def test_frame_out(height, width, lo, hi, bits, seed):
    format = BeatFormat(lo, hi, len(lo), height, width)
    rng = random.Random(5)
    beats = [pixel for _ in range(3) for pixel in image(rng, format)]
    dut = FrameOut(format=format)
    assert len(dut.tdata) == bits
    found, times = run(dut, beats, len(beats), seed=seed, o=axis_out(dut, format.shapes))
    fill = [0] * (bits > format.bits)
    assert found == [
        (*beat, *fill, int(n % format.beats == format.beats - 1)) for n, beat in enumerate(beats)
    ]
    if seed is None:
        assert times.taken == times.given == list(range(len(beats)))


def test_frame_out_of_folds():
    with pytest.raises(ValueError, match="Whole pixels are needed, not 2 folds"):
        FrameOut(format=BeatFormat((0,), (1,), 2, 1, 1, 2))
