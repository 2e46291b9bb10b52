"""Formats of a layer's streams, and what tests of requantisation share."""

from __future__ import annotations

from hwgen.network import Input, Network
from hwgen.ranges import value_ranges
from hwgen.stream.beat import BeatFormat


def rounded(value: int, shift: int, lo: int, hi: int) -> int:
    return min(max((value + (1 << shift >> 1)) >> shift, lo), hi)


def format_of(layer, channels, lo, hi, lanes=None, pixels=1):
    """Formats of a layer's input lo..hi and its output, from the network's ranges."""
    source = Input("x", channels, 1, pixels, min(lo, 0), max(hi, 0), 0)
    network = Network((source, layer))
    values = value_ranges(network)
    return (
        BeatFormat.of(network.tensors["x"], values["x"], lanes=lanes),
        BeatFormat.of(network.tensors["y"], values["y"], lanes=lanes),
    )


def wide(lo, hi, channels, pixels=1, folds=1):
    """A format of accumulators, of any width."""
    lanes = -(-channels // folds)
    return BeatFormat((lo,) * lanes, (hi,) * lanes, channels, 1, pixels, folds)


def check_pace(dut, times):
    assert times.taken == list(range(len(times.taken)))
    assert times.offered == [time + dut.latency for time in times.taken]
