"""Layers: which fields and shapes they take, and what they say of others."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.layers import (
    KINDS,
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPool,
    Requantise,
    Tensor,
    int64,
    shown,
    signed_digits,
)

ONES = np.ones(2, int)
CODES = Tensor(2, 5, 7, int64([3, 3]), -8, 7)
SUMS = Tensor(2, 5, 7, int64([3, 3]))
UNEVEN = Tensor(2, 5, 7, int64([3, 4]))
FLAT = Tensor(4, 1, 1, int64([3] * 4), 0, 15)


def conv(**changes: Any) -> Conv2d:
    fields: dict[str, Any] = {"weight": np.ones((2, 2, 3, 3), int), "bias": ONES, "frac_w": ONES}
    return Conv2d("conv", "x", **(fields | changes))


def dense(**changes: Any) -> Dense:
    fields: dict[str, Any] = {"weight": np.ones((2, 4), int), "bias": ONES, "frac_w": ONES}
    return Dense("dense", "x", **(fields | changes))


def requantise(**changes: Any) -> Requantise:
    fields: dict[str, Any] = {
        "multiplier": ONES, "offset": ONES, "shift": ONES, "lo": 0, "hi": 255, "frac": 4}
    return Requantise("codes", "x", **(fields | changes))


def activation(**changes: Any) -> Activation:
    fields: dict[str, Any] = {
        "breakpoints": [-3, 5], "slopes": [1, 2, -3], "offsets": [0, 1, 2], "shift": 3, "lo": -9,
        "hi": 9, "frac": 0}
    return Activation("curve", "x", **(fields | changes))


def pool(kind: type[MaxPool] | type[AvgPool] = MaxPool, **changes: Any) -> Layer:
    return kind("pool", "x", **({"kernel": (2, 2), "stride": (2, 2)} | changes))


def source(**changes: Any) -> Input:
    fields: dict[str, Any] = {
        "channels": 1, "height": 2, "width": 3, "lo": 0, "hi": 255, "frac": 8}
    return Input("image", **(fields | changes))


def made(kind: Callable[..., Layer], *fields: Any) -> Layer:
    """A layer whose fields no type checker has seen."""
    return kind(*fields)


# --- what fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "tensors", "shape", "codes", "fracs"), [
    (source(), (), (1, 2, 3), (0, 255), [8]),
    (conv(), (CODES,), (2, 3, 5), None, [4, 4]),
    (conv(stride=(2, 3), padding=(2, 0, 1, 1), frac_w=[0, -5]), (CODES,), (2, 3, 2), None, [3, -2]),
    (conv(dilation=(2, 3), padding=(4, 6, 4, 6)), (CODES,), (2, 9, 13), None, [4, 4]),
    (conv(weight=np.ones((4, 1, 1, 7), int), bias=[0] * 4, frac_w=[0] * 4, groups=2), (CODES,),
     (4, 5, 1), None, [3] * 4),
    (dense(), (FLAT,), (2, 1, 1), None, [4, 4]),
    (requantise(), (SUMS,), (2, 5, 7), (0, 255), [4, 4]),
    (requantise(lo=-32768, hi=32767), (CODES,), (2, 5, 7), (-32768, 32767), [4, 4]),
    (requantise(hi=65535, multiplier=[0, 2**31]), (CODES,), (2, 5, 7), (0, 65535), [4, 4]),
    (activation(), (SUMS,), (2, 5, 7), (-9, 9), [0, 0]),
    (activation(breakpoints=[], slopes=[3], offsets=[0]), (CODES,), (2, 5, 7), (-9, 9), [0, 0]),
    (pool(), (CODES,), (2, 2, 3), (-8, 7), [3, 3]),
    (pool(kernel=(3, 2), stride=(2, 1), padding=(2, 1, 2, 0)), (CODES,), (2, 4, 7), (-8, 7),
     [3, 3]),
    (pool(AvgPool, kernel=(5, 7), stride=(1, 1)), (CODES,), (2, 1, 1), None, [3, 3]),
    (Add("sum", ("a", "b"), (1, 0)), (CODES, Tensor(2, 5, 7, int64([4, 4]))), (2, 5, 7), None,
     [4, 4]),
    (Concat("all", ("a", "b")), (CODES, dataclasses.replace(CODES, lo=-2, hi=100)), (4, 5, 7),
     (-8, 100), [3] * 4),
    (Flatten("flat", "x"), (CODES,), (70, 1, 1), (-8, 7), [3] * 70),
    (ArgMax("best", "x"), (SUMS,), (1, 5, 7), (0, 1), [0]),
])
def test_infer(layer: Layer, tensors: tuple[Tensor, ...], shape: tuple[int, int, int],
               codes: tuple[int, int] | None, fracs: list[int]) -> None:
    tensor = layer.infer(*tensors)
    assert tensor.shape == shape
    assert tensor.is_codes == (codes is not None)
    assert (tensor.lo, tensor.hi) == (codes or (None, None))
    assert tensor.frac.tolist() == fracs


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "tensor", "message"), [
    (source(channels=0), None,
     "'image', channels, height, width: sides from 1 to 65536 needed, not (0, 2, 3)"),
    (source(width=65537), None, "'image', channels, height, width: sides from 1 to 65536 needed"),
    (source(channels=2**10, height=2**10, width=2**9), None, "'image', channels, height, width: "),
    (source(lo=1), None, "'image', lo, hi: lo <= 0 <= hi needed, not 1, 255"),
    (source(lo=-5, hi=-1), None, "'image', lo, hi: lo <= 0 <= hi needed, not -5, -1"),
    (source(hi=65536), None, "'image', lo, hi: a range of at most 16 bits needed, not 0..65536"),
    (source(lo=-1, hi=32768), None, "'image', lo, hi: a range of at most 16 bits needed"),
    (source(lo=-32769, hi=0), None, "'image', lo, hi: a range of at most 16 bits needed"),
    (source(frac=65), None, "'image', frac: a number from -64 to 64 needed, not 65"),
    (conv(), SUMS, "'conv', source: codes (put a Requantise in between) needed, not accumulators"),
    (conv(weight=np.ones((2, 2, 3), int)), CODES,
     "'conv', weight: a shape (co, ci, kh, kw) needed, not (2, 2, 3)"),
    (conv(weight=np.ones((2, 2, 0, 3), int)), CODES, "'conv', weight: a shape (co, ci, kh, kw)"),
    (conv(weight=np.ones((2, 1, 3, 3), int)), CODES,
     "'conv', weight: shape (2, 2, 3, 3) needed, not (2, 1, 3, 3)"),
    (conv(weight=np.full((2, 2, 3, 3), -2**31 - 1)), CODES,
     "'conv', weight: values within +-2147483648 needed, not -2147483649..-2147483649"),
    (conv(bias=[1]), CODES, "'conv', bias: shape (2,) needed, not (1,)"),
    (conv(bias=[0, 2**50 + 1]), CODES, "'conv', bias: values within +-1125899906842624 needed"),
    (conv(frac_w=[1, 2, 3]), CODES, "'conv', frac_w: shape (2,) needed, not (3,)"),
    (conv(frac_w=[0, -65]), CODES, "'conv', frac_w: values within +-64 needed, not -65..0"),
    (conv(groups=0), CODES, "'conv', groups: a divisor of 2 inputs and 2 outputs needed, not 0"),
    (conv(groups=3), CODES, "'conv', groups: a divisor of 2 inputs and 2 outputs needed, not 3"),
    (conv(stride=(0, 1)), CODES, "'conv', stride: 2 numbers from 1 to 65536 needed, not (0, 1)"),
    (conv(stride=(1, 1, 1)), CODES, "'conv', stride: 2 numbers from 1 to 65536 needed"),
    (conv(padding=(0, 0, -1, 0)), CODES,
     "'conv', padding: 4 numbers from 0 to 65536 needed, not (0, 0, -1, 0)"),
    (conv(padding=(1, 1)), CODES, "'conv', padding: 4 numbers from 0 to 65536 needed, not (1, 1)"),
    (conv(padding=()), CODES, "'conv', padding: 4 numbers from 0 to 65536 needed, not ()"),
    (conv(padding=(0, 3, 0, 0)), CODES,
     "'conv', padding: at most the window's reach of 2 needed, not 3"),
    (conv(dilation=(0, 1)), CODES, "'conv', dilation: 2 numbers from 1 to 65536 needed"),
    (conv(dilation=(1, 2**17)), CODES, "'conv', dilation: 2 numbers from 1 to 65536 needed"),
    (conv(dilation=(3, 1)), CODES,
     "'conv', kernel: a window that fits into the padded 5x7 image needed, not 3x3"),
    (dense(), CODES,
     "'dense', source: a flat tensor (put a Flatten in between) needed, not 5x7 pixels"),
    (dense(), Tensor(4, 1, 1, int64([0] * 4)), "'dense', source: codes (put a Requantise in"),
    (dense(weight=np.ones(4, int)), FLAT, "'dense', weight: a shape (outputs, inputs) needed"),
    (dense(weight=np.ones((0, 4), int)), FLAT, "'dense', weight: a shape (outputs, inputs) needed"),
    (dense(weight=np.ones((2, 5), int)), FLAT, "'dense', weight: shape (2, 4) needed, not (2, 5)"),
    (dense(bias=[[1, 2]]), FLAT, "'dense', bias: shape (2,) needed, not (1, 2)"),
    (dense(frac_w=[0]), FLAT, "'dense', frac_w: shape (2,) needed, not (1,)"),
    (requantise(multiplier=[1]), SUMS, "'codes', multiplier: shape (2,) needed, not (1,)"),
    (requantise(multiplier=[1, 85]), SUMS,
     "'codes', multiplier: at most 3 signed digits needed, not 85"),
    (requantise(multiplier=[-85, 7]), SUMS, "'codes', multiplier: at most 3 signed digits needed"),
    (requantise(offset=[0, 2**57]), SUMS, "'codes', offset: values within +-72057594037927936"),
    (requantise(shift=[0, 49]), SUMS, "'codes', shift: values within +-48 needed, not 0..49"),
    (requantise(shift=[-1, 0]), SUMS, "'codes', shift: a number from 0 to 48 needed, not -1"),
    (requantise(lo=3), SUMS, "'codes', lo, hi: lo <= 0 <= hi needed, not 3, 255"),
    (requantise(frac=-65), SUMS, "'codes', frac: a number from -64 to 64 needed, not -65"),
    (activation(), UNEVEN,
     "'curve', source: one frac for all channels (put a Requantise in between) needed, not sever"),
    (activation(slopes=[], breakpoints=[], offsets=[]), SUMS,
     "'curve', slopes: from 1 to 256 segments needed, not 0"),
    (activation(slopes=[1] * 257), SUMS, "'curve', slopes: from 1 to 256 segments needed, not 257"),
    (activation(slopes=[[1, 2, 3]]), SUMS, "'curve', slopes: shape (3,) needed, not (1, 3)"),
    (activation(slopes=[1, 2, 21]), SUMS,
     "'curve', slopes: at most 2 signed digits needed, not 21"),
    (activation(offsets=[1, 2]), SUMS, "'curve', offsets: shape (3,) needed, not (2,)"),
    (activation(breakpoints=[1]), SUMS, "'curve', breakpoints: shape (2,) needed, not (1,)"),
    (activation(breakpoints=[5, 5]), SUMS,
     "'curve', breakpoints: strictly rising numbers needed, not [5, 5]"),
    (activation(shift=49), SUMS, "'curve', shift: a number from 0 to 48 needed, not 49"),
    (activation(shift=-1), SUMS, "'curve', shift: a number from 0 to 48 needed, not -1"),
    (activation(hi=2**16), SUMS, "'curve', lo, hi: a range of at most 16 bits needed"),
    (pool(), SUMS, "'pool', source: codes (put a Requantise in between) needed"),
    (pool(kernel=(6, 1)), CODES,
     "'pool', kernel: a window that fits into the padded 5x7 image needed, not 6x1"),
    (pool(kernel=(0, 1)), CODES, "'pool', kernel: 2 numbers from 1 to 65536 needed, not (0, 1)"),
    (pool(padding=(2, 0, 0, 0)), CODES, "'pool', padding: at most the window's reach of 1 needed"),
    (pool(AvgPool), SUMS, "'pool', source: codes (put a Requantise in between) needed"),
    (pool(AvgPool, stride=(1,)), CODES, "'pool', stride: 2 numbers from 1 to 65536 needed"),
    (Flatten("flat", "x"), SUMS, "'flat', source: codes (put a Requantise in between) needed"),
    (Flatten("flat", "x"), Tensor(2, 256, 256, int64([0, 0]), 0, 1),
     "'flat', sources: at most 65536 channels together needed, not 131072"),
    (ArgMax("best", "x"), UNEVEN, "'best', source: one frac for all channels"),
])
def test_layer_wrong(layer: Layer, tensor: Tensor | None, message: str) -> None:
    with pytest.raises(HwgenError, match=f"^Layer {re.escape(message)}"):
        layer.infer(*([] if tensor is None else [tensor]))


@pytest.mark.parametrize(("layer", "tensors", "message"), [
    (Add("sum", ("a",), (0,)), [CODES],
     "'sum', sources, shifts: two or more, one shift each needed, not 1 sources, 1 shifts"),
    (Add("sum", ("a", "b"), (0,)), [CODES, CODES], "'sum', sources, shifts: two or more, one"),
    (Add("sum", ("a", "b"), (0, 32)), [CODES, CODES],
     "'sum', shifts: numbers from 0 to 31 needed, not (0, 32)"),
    (Add("sum", ("a", "b"), (0, -1)), [CODES, CODES], "'sum', shifts: numbers from 0 to 31 needed"),
    (Add("sum", ("a", "b"), (0, 0)), [FLAT, CODES],
     "'sum', sources: one shape, (4, 1, 1) needed, not (2, 5, 7)"),
    (Add("sum", ("a", "b"), (0, 1)), [CODES, CODES],
     "'sum', shifts: shifts that make all fracs equal needed, not 3 + 1 beside 3"),
    (Add("sum", ("a", "b"), (0, 0)), [SUMS, UNEVEN], "'sum', shifts: shifts that make all fracs"),
    (Concat("all", ("a",)), [CODES], "'all', sources: two or more needed, not 1"),
    (Concat("all", ()), [], "'all', sources: two or more needed, not 0"),
    (Concat("all", ("a", "b")), [CODES, SUMS], "'all', source: codes (put a Requantise in"),
    (Concat("all", ("a", "b")), [CODES, FLAT], "'all', sources: 5x7 pixels needed, not 1x1"),
    (Concat("all", ("a", "b")), [CODES, dataclasses.replace(CODES, frac=int64([2, 2]))],
     "'all', sources: frac 3 (put a Requantise in between) needed, not 2"),
    (Concat("all", ("a", "b")), [CODES, dataclasses.replace(CODES, hi=65535)],
     "'all', lo, hi: a range of at most 16 bits needed, not -8..65535"),
    (Concat("all", ("a",) * 40000), [CODES] * 40000,
     "'all', sources: at most 65536 channels together needed, not 80000"),
])
def test_joining_layer_wrong(layer: Layer, tensors: list[Tensor], message: str) -> None:
    with pytest.raises(HwgenError, match=f"^Layer {re.escape(message)}"):
        layer.infer(*tensors)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: conv(weight=np.ones((2, 2, 3, 3))), "'conv', weight: integers needed, not float64"),
    (lambda: conv(bias=[True, False]), "'conv', bias: integers needed, not bool"),
    (lambda: conv(bias=[1, None]), "'conv', bias: integers needed, not object"),
    (lambda: conv(bias=["1", "2"]), "'conv', bias: integers needed, not <U1"),
    (lambda: conv(bias=[[1], [2, 3]]), "'conv', bias: an array of 64-bit integers needed, not [[1"),
    (lambda: conv(bias=np.array([2**63], np.uint64)), "'conv', bias: an array of 64-bit integers"),
    (lambda: conv(bias=[0, 2**70]), "'conv', bias: integers needed, not object"),
    (lambda: conv(groups=1.0), "'conv', groups: an integer needed, not 1.0"),
    (lambda: conv(groups=True), "'conv', groups: an integer needed, not True"),
    (lambda: conv(groups=None), "'conv', groups: an integer needed, not None"),
    (lambda: conv(stride=2), "'conv', stride: a sequence needed, not 2"),
    (lambda: conv(stride="22"), "'conv', stride: a sequence needed, not '22'"),
    (lambda: conv(stride=(1, 1.5)), "'conv', stride: an integer needed, not 1.5"),
    (lambda: made(Concat, "all", "ab"), "'all', sources: a sequence needed, not 'ab'"),
    (lambda: made(Concat, "all", ("a", 3)), "'all', sources: a name needed, not 3"),
    (lambda: made(Flatten, "flat", None), "'flat', source: a name needed, not None"),
    (lambda: made(Flatten, 7, "x"), "7, name: a name needed, not 7"),
    (lambda: source(frac=float("nan")), "'image', frac: an integer needed, not nan"),
])
def test_field_wrong(make: Any, message: str) -> None:
    with pytest.raises(HwgenError, match=f"^Layer {re.escape(message)}"):
        make()


# --- the objects ----------------------------------------------------------------------------------


def test_layers_are_frozen_copies() -> None:
    weight = np.ones((2, 2, 3, 3), int)
    layer = conv(weight=weight, stride=[1, np.int64(2)])
    weight[:] = 9
    assert (layer.weight == 1).all()
    assert layer.stride == (1, 2)
    assert type(layer.stride[1]) is int
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[:] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.groups = 2  # type: ignore[misc]


def test_every_kind_says_what_it_computes() -> None:
    for kind in KINDS.values():
        assert kind.__doc__ is not None
        assert not kind.__doc__.startswith(f"{kind.__name__}(")


def test_error_is_one_short_line() -> None:
    error = conv().error("field", "a\nb", "c\n" * 1000)
    assert "\nc" not in str(error)
    assert len(str(error)) < 250
    assert "\n" not in shown({"a\nb": ["x" * 1000, [[[[[[[[1]]]]]]]]]})
    assert len(shown(10**4000)) < 100


@pytest.mark.parametrize("value", [*range(-40, 90), 2**31, 2**31 - 1, -(2**31), 0x55555555])
def test_signed_digits_by_the_recurrence(value: int) -> None:
    """Nonzero digits of the non-adjacent form, taken off one by one from below."""
    rest, count = value, 0
    while rest:
        if rest % 2:
            rest -= 2 - rest % 4
            count += 1
        rest //= 2
    assert signed_digits(value) == count
