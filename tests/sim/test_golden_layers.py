"""The golden model layer by layer, against the definitions in Python's own integers."""

from __future__ import annotations

import bisect
import itertools
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import AvgPool, Flatten, Input, Int64Array, MaxPool, Network, Requantise
from hwgen.sim import golden

ALL_8_BIT = np.arange(-128, 128, dtype=np.int64)
LOWEST = -(2**63)


def rounded(value: int, shift: int, lo: int, hi: int) -> int:
    """Nearest integer to ``value / 2**shift``, ties up, clipped; by division with remainder."""
    quotient, remainder = divmod(value, 1 << shift)
    return min(max(quotient + (2 * remainder >= 1 << shift and shift > 0), lo), hi)


def pixels(values: Int64Array) -> Int64Array:
    """Values as one channel of one image."""
    return values.reshape(1, 1, 1, -1)


# --- requantise and activation --------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 5, 8, 12, 48])
@pytest.mark.parametrize("multiplier", [1, -1, 0, 3, -5, 7, 21, -64, 2**31])
def test_requantise_exhaustive(multiplier: int, shift: int) -> None:
    """Every 8-bit accumulator, with offsets on, beside and far from a tie."""
    offsets = np.array([0, 1, -1, 2**shift // 2, -(2**shift // 2) - 1, 1000, -2**40])
    acc = np.broadcast_to(ALL_8_BIT, (1, len(offsets), 1, 256))
    count = len(offsets)
    for lo, hi in ((-8, 7), (0, 15), (-128, 127), (0, 65535), (-1, 0), (0, 0)):
        codes = golden.requantise(acc, multiplier=np.full(count, multiplier), offset=offsets,
                                  shift=np.full(count, shift), lo=lo, hi=hi)
        assert codes.tolist() == [[[[rounded(a * multiplier + offset, shift, lo, hi)
                                     for a in ALL_8_BIT.tolist()]] for offset in offsets.tolist()]]


def test_requantise_parameters_go_by_channel() -> None:
    acc = np.full((2, 3, 1, 2), 10, np.int64)
    codes = golden.requantise(acc, multiplier=np.array([1, -2, 3]), offset=np.array([0, 1, 2]),
                              shift=np.array([0, 1, 2]), lo=-99, hi=99)
    assert codes[1, :, 0, 1].tolist() == [10, -9, 8]


@pytest.mark.parametrize("shift", [0, 1, 4])
@pytest.mark.parametrize(("breakpoints", "slopes", "offsets"), [
    ([], [3], [5]), ([0], [-1, 2], [7, -7]), ([-128, 127], [0, 1, -4], [9, 0, 3]),
    ([-50, -49, 0, 60], [0, 4, 1, 3, 0], [-400, 17, 0, 4, 500]),
    ([-300, 300], [1, 2, 1], [0, 1, 2]),
])
def test_activation_exhaustive(
    breakpoints: list[int], slopes: list[int], offsets: list[int], shift: int
) -> None:
    codes = golden.activation(
        pixels(ALL_8_BIT), breakpoints=np.array(breakpoints, np.int64), slopes=np.array(slopes),
        offsets=np.array(offsets), shift=shift, lo=-90, hi=100)
    expected = []
    for x in ALL_8_BIT.tolist():
        k = bisect.bisect_right(breakpoints, x)
        expected.append(rounded(x * slopes[k] + offsets[k], shift, -90, 100))
    assert codes.ravel().tolist() == expected


@pytest.mark.parametrize("acc", [2**62, -(2**62) - 1, LOWEST])
def test_requantise_too_large(acc: int) -> None:
    one = np.array([1])
    with pytest.raises(HwgenError, match=r"^Values below 2\*\*63 needed, these could reach"):
        golden.requantise(np.full((1, 1, 1, 1), acc), multiplier=2 * one, offset=0 * one,
                          shift=one, lo=0, hi=1)


def test_requantise_too_large_in_the_other_channel_only() -> None:
    """The bound is a channel's own: a wide one may be taken down beside a narrow one taken up."""
    acc = np.array([2**50, 1]).reshape(1, 2, 1, 1)
    codes = golden.requantise(acc, multiplier=np.array([1, 2**30]), offset=np.array([0, 0]),
                              shift=np.array([48, 30]), lo=0, hi=9)
    assert codes.ravel().tolist() == [4, 1]


@pytest.mark.parametrize("x", [2**62, LOWEST])
def test_activation_too_large(x: int) -> None:
    with pytest.raises(HwgenError, match=r"^Values below 2\*\*63 needed"):
        golden.activation(np.full((1, 1, 1, 1), x), breakpoints=np.array([0]),
                          slopes=np.array([0, 2]), offsets=np.array([0, 0]), shift=0, lo=0, hi=1)


# --- sums -----------------------------------------------------------------------------------------


def shapes(limit: int) -> list[dict[str, Any]]:
    """Combinations of kernel, stride, padding, dilation and groups, every ``n``-th of them."""
    choices = itertools.product(
        [(1, 1), (2, 3), (3, 2)], [(1, 1), (2, 1), (3, 2)],
        [(0, 0, 0, 0), (1, 0, 0, 2), (0, 1, 1, 0), (2, 1, 1, 2)], [(1, 1), (2, 1), (1, 2)], [1, 2])
    everything = [dict(zip(("kernel", "stride", "padding", "dilation", "groups"), choice,
                           strict=True)) for choice in choices]
    return everything[::max(1, len(everything) // limit)]


@pytest.mark.parametrize("shape", shapes(40))
def test_conv2d_by_its_definition(shape: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    kh, kw = shape["kernel"]
    groups, co, ci, height, width = shape["groups"], 4, 2, 5, 6
    x = rng.integers(-9, 9, (2, ci, height, width))
    weight = rng.integers(-9, 9, (co, ci // groups, kh, kw))
    bias = rng.integers(-99, 99, co)
    y = golden.conv2d(x, weight, bias, stride=shape["stride"], padding=shape["padding"],
                      dilation=shape["dilation"], groups=groups)
    (sy, sx), (dy, dx) = shape["stride"], shape["dilation"]
    top, left, bottom, right = shape["padding"]
    assert y.shape == (2, co, (height + top + bottom - dy * (kh - 1) - 1) // sy + 1,
                       (width + left + right - dx * (kw - 1) - 1) // sx + 1)
    for n, o, oy, ox in np.ndindex(*y.shape):
        total = int(bias[o])
        for i, r, c in np.ndindex(ci // groups, kh, kw):
            channel = o // (co // groups) * (ci // groups) + i
            iy, ix = oy * sy - top + r * dy, ox * sx - left + c * dx
            if 0 <= iy < height and 0 <= ix < width:
                total += int(weight[o, i, r, c]) * int(x[n, channel, iy, ix])
        assert y[n, o, oy, ox] == total


def test_dense_too_large() -> None:
    """Beyond int64, be it in the weights alone, the products or the bias."""
    x = np.full((1, 2, 1, 1), 2, np.int64)
    for weight, bias in ((2**62, 0), (2**61, 0), (1, 2**63 - 4), (LOWEST, 0)):
        with pytest.raises(HwgenError, match=r"^Values below 2\*\*63 needed"):
            golden.dense(x, np.full((1, 2), weight), np.array([bias]))


@pytest.mark.parametrize("value", [2**60, LOWEST])
def test_pool_and_add_too_large(value: int) -> None:
    x = np.full((1, 1, 4, 4), value)
    with pytest.raises(HwgenError, match=r"^Values below 2\*\*63 needed"):
        golden.avg_pool(x, kernel=(4, 2), stride=(1, 1))
    with pytest.raises(HwgenError, match=r"^Values below 2\*\*63 needed"):
        golden.add([x, x], [2, 2])


def test_add_shifts_each() -> None:
    x, y, z = (pixels(np.array(values)) for values in ([1, -1], [10, 20], [0, 5]))
    assert golden.add([x, y, z], [3, 0, 1]).ravel().tolist() == [18, 22]


# --- moves and comparisons ------------------------------------------------------------------------


def test_max_pool_never_takes_padding() -> None:
    y = golden.max_pool(np.full((1, 1, 3, 3), -7), kernel=(3, 2), stride=(2, 1),
                        padding=(1, 1, 2, 1))
    assert y.tolist() == [[[[-7] * 4] * 2]]


def test_flatten_order() -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    flat = golden.flatten(x)
    assert flat.shape == (2, 60, 1, 1)
    assert flat[1, (2 * 4 + 3) * 5 + 1, 0, 0] == x[1, 2, 3, 1]


def test_concat_order() -> None:
    parts = [np.full((1, channels, 1, 2), channels) for channels in (2, 1, 3)]
    assert golden.concat(parts)[0, :, 0, 1].tolist() == [2, 2, 1, 3, 3, 3]


def test_argmax_lowest_index_wins_a_tie() -> None:
    x = np.array([[5, 5, 1], [-1, -1, -1], [0, 2, 2], [3, 3, 4]])[:, :, None, None]
    assert golden.argmax(x).ravel().tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("function", [
    lambda x: golden.conv2d(x, np.ones((1, 1, 1, 1), int), np.zeros(1, int)),
    lambda x: golden.dense(x, np.ones((1, 1), int), np.zeros(1, int)),
    lambda x: golden.requantise(x, multiplier=np.ones(1, int), offset=np.zeros(1, int),
                                shift=np.zeros(1, int), lo=0, hi=1),
    lambda x: golden.activation(x, breakpoints=np.zeros(0, int), slopes=np.ones(1, int),
                                offsets=np.zeros(1, int), shift=0, lo=0, hi=1),
    lambda x: golden.max_pool(x, kernel=(1, 1), stride=(1, 1)),
    lambda x: golden.avg_pool(x, kernel=(1, 1), stride=(1, 1)),
    lambda x: golden.add([x, x], [0, 0]), lambda x: golden.concat([x, x]), golden.flatten,
    golden.argmax,
])
@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8])
def test_kind_wrong(function: Any, dtype: type[np.generic]) -> None:
    with pytest.raises(TypeError, match="^An int64 array is needed, not "):
        function(np.zeros((1, 1, 1, 1), dtype))


def test_layer_kind_wrong() -> None:
    with pytest.raises(TypeError, match="^A layer that computes needed, not Input$"):
        golden.layer_output(Input("image", 1, 1, 1, 0, 1, 0), np.zeros((1, 1, 1, 1), np.int64))


def test_inputs_are_left_alone() -> None:
    x = np.arange(-8, 8).reshape(1, 1, 4, 4)
    before = x.copy()
    golden.requantise(x, multiplier=np.ones(1, int), offset=np.ones(1, int),
                      shift=np.zeros(1, int), lo=0, hi=1)
    golden.max_pool(x, kernel=(1, 1), stride=(1, 1))[:] = 99
    np.testing.assert_array_equal(x, before)


def test_network_by_hand() -> None:
    """All codes negative, in (2, 2, 2): a padded place never wins, a tie goes up."""
    network = Network((
        Input("image", 2, 2, 2, -9, 0, 0),
        MaxPool("largest", "image", (2, 2), (2, 2), (1, 1, 1, 1)),
        AvgPool("sums", "largest", (2, 1), (1, 1), (1, 0, 0, 0)),
        Requantise("codes", "sums", np.array([1, -1]), np.array([0, 0]), np.array([1, 0]),
                   -9, 9, 0),
        Flatten("flat", "codes"),
    ))
    results = golden.run(network, -np.arange(1, 9).reshape(1, 2, 2, 2))
    assert results["largest"].tolist() == [[[[-1, -2], [-3, -4]], [[-5, -6], [-7, -8]]]]
    assert results["sums"].tolist() == [[[[-1, -2], [-4, -6]], [[-5, -6], [-12, -14]]]]
    assert results["flat"].ravel().tolist() == [0, -1, -2, -3, 5, 6, 9, 9]
