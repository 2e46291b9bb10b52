"""Networks over whole frames against the same network, window by window."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.frames import on_frames
from hwgen.network import ArgMax, AvgPool, Flatten, MaxPool, Network
from hwgen.sim import golden
from tests.network_builder import Builder


def detector(end: str) -> Network:
    """Windows of 13 rows and 11 columns, a stride of 2 in all; the end as asked for."""
    build = Builder(5)
    x = build.input(1, 13, 11, lo=0, hi=255, frac=8)
    x = build.requantise(build.conv(x, 3, (2, 2)), lo=0, hi=15)
    x = build.put(MaxPool, x, (2, 2), (2, 2))
    x = build.requantise(build.conv(x, 4, (3, 2)), lo=-8, hi=7)
    if end == "pool":
        x = build.requantise(build.put(AvgPool, x, (4, 4), (4, 4), (0, 0, 0, 0)), lo=-8, hi=7)
    x = build.put(Flatten, x)
    if end != "one dense layer":
        x = build.requantise(build.dense(x, 5), lo=0, hi=15)
    build.put(ArgMax, build.dense(x, 3, frac_w=6))
    return Network(tuple(build.layers), {"class_names": ["a", "b", "c"]})


@pytest.mark.parametrize("end", ["one dense layer", "two", "pool"])
def test_every_window(end):
    """Every place of the frame's result is the result of the window there."""
    network = detector(end)
    frame = np.random.default_rng(1).integers(0, 256, (1, 1, 20, 19))
    slid = on_frames(network, 20, 19)
    found = golden.run(slid, frame)
    scores, classes = found[slid.scores.name], found[slid.output.name]
    assert scores.shape[2:] == (4, 5)
    windows = np.concatenate([
        frame[:, :, 2 * y : 2 * y + 13, 2 * x : 2 * x + 11] for y in range(4) for x in range(5)
    ])
    wanted = golden.run(network, windows)
    assert np.array_equal(scores[0].reshape(3, -1).T, wanted[network.scores.name][:, :, 0, 0])
    assert np.array_equal(classes.ravel(), wanted[network.output.name].ravel())
    assert len(np.unique(wanted[network.scores.name])) > 10


def test_same_size():
    """A frame of one window: the same codes."""
    network = detector("two")
    image = np.random.default_rng(2).integers(0, 256, (2, 1, 13, 11))
    slid = on_frames(network, 13, 11)
    assert np.array_equal(golden.run(slid, image)[slid.scores.name],
                          golden.run(network, image)[network.scores.name])
    assert slid.metadata["frame"] == [13, 11]
    assert slid.digest != network.digest


def test_too_small():
    with pytest.raises(HwgenError, match="--frame: from 13x11 to .* needed, not 13x10"):
        on_frames(detector("two"), 13, 10)


def test_padding():
    build = Builder(1)
    x = build.input(1, 6, 6, lo=0, hi=15, frac=4)
    build.conv(x, 2, (3, 3), padding=(1, 1, 1, 1))
    with pytest.raises(HwgenError, match="padding: none, for windows of a frame, needed"):
        on_frames(Network(tuple(build.layers), {}), 9, 9)
