# amaranth: UnusedElaboratable=no
"""Maximum pooling with one comparator a lane, beside the golden model; beats unpacked."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import MaxPool, Network
from hwgen.sim import golden
from hwgen.stream.beat import BeatFormat
from hwgen.stream.gather import Unpack
from hwgen.stream.pool import Pool, separate
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import run


def format_of(channels, height, width, lo, hi, lanes):
    folds = -(-channels // lanes)
    return BeatFormat((lo,) * lanes, (hi,) * lanes, channels, height, width, folds)


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(
    ("kernel", "shape", "lanes", "lo", "hi"),
    [
        ((2, 2), (2, 4, 6), 2, 0, 255),
        ((2, 2), (3, 4, 4), 1, -8, 7),                        # three folds
        ((2, 2), (4, 4, 2), 2, 0, 15),                        # two folds, one window a row
        ((2, 3), (1, 5, 7), 1, -8, 7),                        # a row and a column left over
        ((3, 2), (2, 3, 2), 2, -128, 127),                    # one window in all
        ((2, 1), (1, 4, 3), 1, 0, 7),
        ((1, 2), (1, 2, 5), 1, 0, 7),
        ((1, 1), (2, 2, 2), 1, -2, 1),
    ],
)
def test_pool(kernel, shape, lanes, lo, hi, seed):
    layer = MaxPool("y", "x", kernel, kernel, (0, 0, 0, 0))
    assert separate(layer)
    source = layers.image_input(shape, lo, hi)
    x = layers.images(source, 4)
    y = golden.run(Network((source, layer)), x)["y"]
    dut = Pool(
        layer=layer,
        source=format_of(*shape, lo, hi, lanes),
        format=format_of(shape[0], y.shape[2], y.shape[3], lo, hi, lanes),
    )
    wanted = layers.beats_of(y, lanes)
    beats = layers.beats_of(x, lanes)
    found, times = run(dut, beats, len(wanted), seed=seed)
    assert found == wanted
    if seed is None:
        each, count = len(beats) // 4, len(wanted) // 4
        assert times.taken == list(range(len(beats)))
        assert times.offered[:count] == dut.departures(np.arange(each)).tolist()


def test_not_separate():
    assert not separate(MaxPool("y", "x", (3, 3), (2, 2), (0, 0, 0, 0)))
    assert not separate(MaxPool("y", "x", (2, 2), (2, 2), (0, 1, 0, 0)))
    format = format_of(1, 3, 3, 0, 1, 1)
    with pytest.raises(ValueError, match="Windows that do not overlap needed, without padding"):
        Pool(layer=MaxPool("y", "x", (3, 3), (2, 2), (0, 0, 0, 0)), source=format, format=format)


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(("channels", "lanes"), [(6, 2), (5, 2), (3, 1), (4, 3)])
def test_unpack(channels, lanes, seed):
    """A pixel's channels a few at a time, the last beat filled up with zeros."""
    source = layers.image_input((channels, 2, 3), -8, 7)
    x = layers.images(source, 3)
    narrow = format_of(channels, 2, 3, -8, 7, lanes)
    dut = Unpack(source=format_of(channels, 2, 3, -8, 7, channels), format=narrow)
    wanted = layers.beats_of(x, lanes)
    found, times = run(dut, layers.beats_of(x), len(wanted), seed=seed)
    assert found == wanted
    if seed is None:
        assert times.offered[: narrow.beats] == dut.departures(np.zeros(6, np.int64)).tolist()
