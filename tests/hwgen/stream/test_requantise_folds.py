# amaranth: UnusedElaboratable=no
"""One unit for channels that differ in scale, beside its definition."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import Requantise, int64
from hwgen.stream.beat import BeatFormat
from hwgen.stream.requantise import Requantise as PlainRequantise
from hwgen.stream.requantise_folds import FoldedRequantise
from tests.hwgen.stream.harness import run

MULTIPLIERS = {
    "one digit": [1, 2, 8, 4, 1],
    "two digits": [3, 5, 7, 129, 31],
    "three digits, negative, zero": [11, -3, 0, 37, -64],
}


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(("lo", "hi"), [(0, 255), (-8, 7), (0, 100), (0, 1), (-3, 0)])
@pytest.mark.parametrize("kind", MULTIPLIERS)
def test_matches_golden(kind, lo, hi, seed):
    """Five channels in three folds of two lanes, the last one filled up."""
    multiplier = np.array(MULTIPLIERS[kind])
    offset, shift = np.array([0, -700, 33, 5, -1]), np.array([0, 9, 4, 7, 2])
    layer = Requantise("y", "x", int64(multiplier), int64(offset), int64(shift), lo, hi, 0)
    least, most = -900, 1100
    source = BeatFormat((least, 0), (most, most), 5, 6, 5, 3)
    format = BeatFormat((lo, lo), (hi, hi), 5, 6, 5, 3)
    rng = np.random.default_rng(0)
    x = rng.integers(least, most, (30, 5), endpoint=True)
    x[0], x[1] = least, most
    x[:, 1::2] = np.maximum(x[:, 1::2], 0)
    y = golden_codes(layer, x)
    beats = np.pad(x, ((0, 0), (0, 1))).reshape(-1, 2)
    dut = FoldedRequantise(layer=layer, source=source, format=format)
    found, times = run(dut, [tuple(beat) for beat in beats.tolist()], len(beats), seed=seed)
    codes = np.array(found).reshape(30, 6)[:, :5]
    assert codes.tolist() == y.tolist()
    if seed is None:
        assert times.offered[0] - times.taken[0] == dut.latency
        assert times.taken == list(range(len(beats)))


def golden_codes(layer, x):
    """The definition in hwgen.layers, in Python integers."""
    rows = []
    for row in x.tolist():
        codes = []
        for value, m, b, s in zip(row, layer.multiplier.tolist(), layer.offset.tolist(),
                                  layer.shift.tolist(), strict=True):
            code = (value * m + b + ((1 << s) >> 1)) >> s
            codes.append(min(max(code, layer.lo), layer.hi))
        rows.append(codes)
    return np.array(rows)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_constants_in_memory(seed):
    """Many channels a lane: their constants come from a memory, in step with the folds."""
    rng = np.random.default_rng(2)
    channels, lanes, folds = 39, 2, 20
    layer = Requantise("y", "x", int64([3] * channels), int64(rng.integers(-900, 900, channels)),
                       int64([4] * channels), 0, 255, 0)
    x = rng.integers(-500, 1500, (6, channels), endpoint=True)
    shape = (channels, 6, 1, folds)
    dut = PlainRequantise(
        layer=layer, source=BeatFormat((-500,) * lanes, (1500,) * lanes, *shape),
        format=BeatFormat((0,) * lanes, (255,) * lanes, *shape))
    beats = np.pad(x, ((0, 0), (0, 1))).reshape(-1, lanes)
    found, _ = run(dut, [tuple(beat) for beat in beats.tolist()], len(beats), seed=seed)
    codes = np.array(found).reshape(6, -1)[:, :channels]
    assert codes.tolist() == golden_codes(layer, x).tolist()
