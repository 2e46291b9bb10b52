# amaranth: UnusedElaboratable=no
"""Convolutions whose lanes pick their activations from a ring of rows, beside numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import Conv2d, Network, int64
from hwgen.sim import golden
from hwgen.stream.beat import BeatFormat
from hwgen.stream.conv_pick import ConvPick, Ring
from hwgen.stream.fifo_depth import axes
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.pick_code import PickCode
from tests.hwgen.stream import layers
from tests.hwgen.stream.harness import run


def through(shape, outputs, kernel, *, lanes, terms, seed, fold=None, lo=0, hi=15, bias=0,
            stride=(1, 1), dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), count=4, inverts=False):
    rng = np.random.default_rng(outputs)
    weight = rng.integers(-9, 10, (outputs, shape[0] // groups, *kernel))
    layer = Conv2d("y", "x", int64(weight), int64(bias * np.arange(outputs)),
                   int64([0] * outputs), stride=stride, dilation=dilation, groups=groups,
                   padding=padding)
    source = layers.image_input(shape, lo, hi)
    x = layers.images(source, count)
    y = golden.run(Network((source, layer)), x)["y"]
    narrow = fold or shape[0]
    pixels = BeatFormat((lo,) * narrow, (hi,) * narrow, *shape, -(-shape[0] // narrow))
    rows, columns = axes(layer, shape[1], shape[2])
    places = pixels.folds * pixels.lanes
    ring = Ring(rows.padded, columns.padded, places)
    code = PickCode(conv_matrix(layer, shape[0]).T.reshape(outputs, -1, shape[0]), layer.bias,
                    lanes, terms, ring.numbers(shape[0]), ring.bits, 1, inverts)
    limit = int(abs(y).max()) + 1
    format = BeatFormat((-limit,) * lanes, (limit,) * lanes, outputs, y.shape[2], y.shape[3],
                        code.slots)
    dut = ConvPick(code=code, source=pixels, rows=rows, columns=columns, format=format)
    wanted = layers.beats_of(y, lanes)
    found, times = run(dut, layers.beats_of(x, narrow), len(wanted), seed=seed, limit=40000)
    assert found == wanted
    return dut, times


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("options", [
    {"shape": (2, 6, 5), "outputs": 3, "kernel": (3, 3), "lanes": 1, "terms": 4},
    {"shape": (3, 5, 5), "outputs": 4, "kernel": (2, 2), "lanes": 2, "terms": 3, "fold": 1,
     "lo": -8, "hi": 7, "bias": 5},
    {"shape": (2, 4, 4), "outputs": 3, "kernel": (2, 2), "lanes": 1, "terms": 5, "bias": 9,
     "inverts": True},
    {"shape": (3, 4, 6), "outputs": 2, "kernel": (2, 3), "lanes": 1, "terms": 9, "fold": 2,
     "stride": (2, 1)},
    {"shape": (1, 7, 7), "outputs": 2, "kernel": (3, 2), "lanes": 2, "terms": 2,
     "stride": (3, 2), "dilation": (2, 1), "inverts": True},
    {"shape": (2, 1, 4), "outputs": 2, "kernel": (1, 1), "lanes": 1, "terms": 1, "hi": 1},
    {"shape": (4, 3, 1), "outputs": 4, "kernel": (2, 1), "lanes": 1, "terms": 2, "groups": 2},
    {"shape": (2, 4, 5), "outputs": 3, "kernel": (3, 3), "lanes": 1, "terms": 4,
     "padding": (1, 1, 1, 1)},
    {"shape": (3, 5, 4), "outputs": 2, "kernel": (3, 2), "lanes": 2, "terms": 3, "fold": 2,
     "lo": -8, "hi": 7, "padding": (0, 1, 2, 0), "stride": (2, 1)},
    {"shape": (1, 4, 4), "outputs": 2, "kernel": (3, 3), "lanes": 1, "terms": 9, "lo": -1, "hi": 9,
     "padding": (2, 0, 0, 2), "stride": (3, 2), "inverts": True},
    {"shape": (2, 1, 1), "outputs": 2, "kernel": (3, 3), "lanes": 1, "terms": 2,
     "padding": (1, 1, 1, 1)},
])
def test_convolution(options, seed):
    """Codes, and without gaps the cycles that are said."""
    dut, times = through(**options, seed=seed)
    if seed is None:
        beats, outs = dut.source.beats, dut.format.beats
        state, taken = None, []
        for _ in range(4):
            gone, state = dut.take(np.zeros(beats, np.int64), state)
            taken += gone.tolist()
        assert times.taken == [time + times.taken[0] - taken[0] for time in taken]
        first = dut.departures(np.zeros(beats, np.int64)).tolist()
        assert times.offered[:outs] == first
        assert times.given[4 * outs - 1] - times.given[3 * outs - 1] == dut.interval

