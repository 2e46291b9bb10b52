# amaranth: UnusedElaboratable=no
"""Several pixels a cycle: whole engines beside the golden model, and what cannot be widened."""

from __future__ import annotations

import pytest

from hwgen.errors import HwgenError
from hwgen.network import Add, ArgMax, AvgPool, Flatten, MaxPool, Network
from hwgen.stream.emit import make_top, ports_json
from hwgen.stream.plan import Options
from hwgen.stream.widen import Merge, widen
from tests.hwgen.stream.engine import simulate
from tests.network_builder import Builder
from tests.networks import random_images


def frame(seed: int = 1, width: int = 16) -> Network:
    """Padding, dilation, a stride, groups, pooling by both, and pixels out."""
    build = Builder(seed)
    x = build.input(2, 8, width, lo=0, hi=15, frac=4)
    x = build.requantise(build.conv(x, 3, (3, 3), padding=(1, 1, 1, 1)), lo=0, hi=15)
    x = build.put(MaxPool, x, (2, 2), (2, 2))
    x = build.conv(x, 4, (3, 2), padding=(1, 1, 1, 1), dilation=(1, 2))
    x = build.requantise(x, lo=-8, hi=7)
    x = build.requantise(build.put(AvgPool, x, (2, 2), (2, 2), (0, 0, 0, 0)), lo=-8, hi=7)
    return Network(tuple(build.layers), {})


def classifier(seed: int = 2) -> Network:
    """A sum of two branches, a convolution with a stride, a dense end."""
    build = Builder(seed)
    x = build.input(1, 9, 12, lo=0, hi=255, frac=8)
    x = build.requantise(build.conv(x, 2, (3, 3), padding=(1, 1, 1, 1)), lo=0, hi=15, frac=4)
    y = build.requantise(build.conv(x, 2, (1, 1)), lo=0, hi=15, frac=4)
    x = build.requantise(build.put(Add, (x, y), (0, 0)), lo=0, hi=31)
    x = build.requantise(build.conv(x, 3, (2, 2), stride=(2, 2)), lo=0, hi=15)
    x = build.put(MaxPool, x, (1, 2), (1, 2))
    x = build.put(Flatten, x)
    build.put(ArgMax, build.dense(x, 3, frac_w=5))
    return Network(tuple(build.layers), {})


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(("network", "pixels"), [(frame, 2), (frame, 4), (classifier, 4)])
def test_matches_golden(network, pixels, seed):
    """Two and four pixels a cycle give the codes of one, in half and a quarter of the cycles."""
    given = network()
    top = make_top(given, Options(pixels=pixels))
    done = simulate(top, given, random_images(given, 4, 0), seed=seed, limit=20000)
    assert done.wrong == []
    if seed is None:
        assert done.latency == top.latency
        assert done.intervals[-1] == top.interval
        assert top.interval <= (given.input.height + 2) * (given.input.width // pixels + 2)


def test_ports():
    top = make_top(frame(), Options(pixels=4))
    ports = ports_json(top)
    assert (ports["input"]["pixels"], ports["input"]["beats"]) == (4, 32)
    assert [field.get("pixel") for field in ports["input"]["fields"]] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert ports["digest"] == frame().digest
    assert {tap["layer"] for tap in ports["taps"]} == set(frame().by_name)


def test_wider_network():
    """A pool's pixels of one beat are merged first; what has one pixel a cycle stays as it was."""
    network = classifier()
    wide = widen(network, 4)
    assert [type(layer) for layer in wide.layers if layer.name not in network.by_name] == []
    assert any(isinstance(layer, Merge) for layer in wide.layers)
    assert wide.by_name[network.scores.name] is network.scores
    assert widen(network, 1) is network


def pooled(kernel, stride):
    build = Builder(0)
    x = build.input(1, 8, 8, lo=0, hi=15, frac=4)
    x = build.requantise(build.conv(x, 1, (1, 1)), lo=0, hi=15)
    build.put(MaxPool, x, kernel, stride)
    return Network(tuple(build.layers), {})


@pytest.mark.parametrize(
    ("network", "pixels", "message"),
    [
        (frame(width=18), 4, "width: a multiple of 4 pixels"),
        (pooled((3, 3), (2, 2)), 2, "kernel: windows that meet in a divisor of the 2 pixels"),
        (classifier(), 8, "width: a multiple of 8 pixels"),
    ],
)
def test_cannot(network, pixels, message):
    with pytest.raises(HwgenError, match=message):
        widen(network, pixels)


def test_pixels_wrong():
    with pytest.raises(HwgenError, match="pixels: from 1 to 16 a cycle needed, not 0"):
        Options(pixels=0)
