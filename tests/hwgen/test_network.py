"""Networks: which orders, names and metadata they take, and what they know of their layers."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import (
    Activation,
    Add,
    ArgMax,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Layer,
    MaxPool,
    Network,
    Requantise,
    int64,
)
from tests.networks import THEMES, digits_like_network, random_network

ONE = np.ones(1, int)
IMAGE = Input("image", 1, 4, 4, 0, 15, 2)


def conv(name: str, source: str) -> Conv2d:
    return Conv2d(name, source, np.ones((1, 1, 1, 1), int), 0 * ONE, 0 * ONE)


def codes(name: str, source: str) -> Requantise:
    return Requantise(name, source, ONE, ONE, ONE, 0, 15, 2)


def test_what_a_network_knows() -> None:
    network = Network((
        IMAGE, conv("Conv_1", "image"), codes("codes", "Conv_1"),
        Add("sum", ("codes", "codes"), (0, 0)), codes("again", "sum"),
        Concat("both", ("again", "image")), ArgMax("best", "both"),
    ), {"method": "none"})
    assert network.input is network.layers[0]
    assert network.output.name == "best"
    assert network.scores.name == "both"
    assert Network(network.layers[:-1]).scores.name == "both"
    assert list(network.by_name) == [layer.name for layer in network.layers]
    assert dict(network.readers) == {
        "image": ("Conv_1", "both"), "Conv_1": ("codes",), "codes": ("sum", "sum"),
        "sum": ("again",), "again": ("both",), "both": ("best",), "best": ()}
    assert network.tensors["both"].shape == (2, 4, 4)
    assert len(network.digest) == 64
    assert network.metadata["method"] == "none"


@pytest.mark.parametrize("seed", range(2 * len(THEMES)))
def test_random_networks_fit(seed: int) -> None:
    network = random_network(seed)
    network.check()
    assert set(network.tensors) == {layer.name for layer in network.layers}


@pytest.mark.parametrize(("layers", "message"), [
    ((), "A network needs from 2 to 4096 layers, not 0"),
    ((IMAGE,), "A network needs from 2 to 4096 layers, not 1"),
    ((IMAGE, *[codes("a", "image")] * 4096), "A network needs from 2 to 4096 layers, not 4097"),
    ((codes("a", "image"), IMAGE), "The first layer must be an Input, not Requantise"),
    ((IMAGE, "conv"), "A layer of a known kind is needed, not str"),
    ((IMAGE, Layer("a")), "A layer of a known kind is needed, not Layer"),
    ((IMAGE, codes("image", "image")),
     "Layer 'image', name: a name of its own needed, not one that another layer has"),
    ((IMAGE, codes("IMAGE", "image")), "Layer 'IMAGE', name: a name of its own needed"),
    ((IMAGE, Input("second", 1, 4, 4, 0, 1, 0)),
     "Layer 'second', kind: one Input, the first layer, needed, not a second one"),
    ((IMAGE, codes("a", "b")), "Layer 'a', source: the name of an earlier layer needed, not 'b'"),
    ((IMAGE, codes("a", "a")), "Layer 'a', source: the name of an earlier layer needed, not 'a'"),
    ((IMAGE, codes("a", "b"), codes("b", "a")),
     "Layer 'a', source: the name of an earlier layer needed, not 'b'"),
    ((IMAGE, codes("a", "Image")),
     "Layer 'a', source: the name of an earlier layer needed, not 'Image'"),
    ((IMAGE, codes("a", "x" * 10**6)), "Layer 'a', source: the name of an earlier layer needed"),
    ((IMAGE, codes("a", "image"), codes("b", "image")),
     "Layer 'a', name: a layer that reads it needed, not none"),
    ((IMAGE, conv("a", "image"), conv("b", "a")),
     "Layer 'b', source: codes (put a Requantise in between) needed, not accumulators"),
])
def test_network_wrong(layers: Any, message: str) -> None:
    with pytest.raises(HwgenError, match=f"^{re.escape(message)}") as raised:
        Network(layers)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("name", ["", "1a", "_a", "a_", "a__b", "a-b", "a b", "a.b", "ä", "a\n",
                                  "a" * 65, "a" * 10**6])
def test_name_wrong(name: str) -> None:
    with pytest.raises(HwgenError, match=r"^Layer '.*', name: a letter, then letters, digits and "
                                         r"single underscores needed, at most 64$") as raised:
        Network((IMAGE, codes(name, "image")))
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("name", ["a", "A1", "conv_1_b", "x" * 64])
def test_name_right(name: str) -> None:
    assert Network((IMAGE, codes(name, "image"))).output.name == name


def test_tensor_too_large() -> None:
    wide = Input("image", 2**8, 2**10, 2**10, 0, 1, 0)
    twice = Concat("twice", ("image", "image"))
    with pytest.raises(HwgenError, match="^Layer 'twice', output: at most 268435456 elements "):
        Network((wide, twice))


def test_channels_too_many_in_all() -> None:
    """Small fields, and yet a format of 65536 channels for each of 4000 layers."""
    layers: list[Layer] = [Input("image", 2**16, 1, 1, 0, 1, 0)]
    for n in range(100):
        layers.append(MaxPool(f"p{n}", layers[-1].name, (1, 1), (1, 1)))
    with pytest.raises(HwgenError, match="^Layer 'p63', output: at most 4194304 channels up to "):
        Network(tuple(layers))


@pytest.mark.parametrize(("metadata", "message"), [
    ({"a": float("nan")}, "plain JSON values needed"),
    ({"a": [1, float("inf")]}, "plain JSON values needed"),
    ({"a": {1, 2}}, "plain JSON values needed"),
    ({"a": np.int64(3)}, "plain JSON values needed"),
    (None, "plain JSON values needed"),
    ([1], "plain JSON values needed"),
])
def test_metadata_wrong(metadata: Any, message: str) -> None:
    with pytest.raises(HwgenError, match=f"^Network metadata: {message}"):
        Network((IMAGE, codes("a", "image")), metadata)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [32, 900, 10**5])
def test_metadata_too_deep(levels: int) -> None:
    with pytest.raises(HwgenError, match="^Network metadata: "):
        Network((IMAGE, codes("a", "image")), {"deep": nested(levels)})


def test_metadata_is_a_plain_copy() -> None:
    given: dict[str, Any] = {"classes": ("a", "b"), "deep": nested(31), "none": None}
    network = Network((IMAGE, codes("a", "image")), given)
    given["more"] = 1
    assert dict(network.metadata) == {"classes": ["a", "b"], "deep": nested(31), "none": None}
    with pytest.raises(TypeError):
        network.metadata["more"] = 1  # type: ignore[index]


# --- digest ---------------------------------------------------------------------------------------

KINDS_NETWORK = Network((
    IMAGE,
    Conv2d("conv", "image", np.ones((2, 1, 3, 3), int), int64([1, 2]), int64([3, 3]), (1, 1),
           (1, 1, 1, 1)),
    Requantise("codes", "conv", int64([1, 3]), int64([0, 5]), int64([2, 3]), 0, 15, 2),
    MaxPool("pool", "codes", (2, 2), (2, 2)),
    Flatten("flat", "pool"),
    Dense("dense", "flat", np.ones((3, 8), int), int64([0, 1, 2]), int64([0, 0, 0])),
    Activation("curve", "dense", int64([0]), int64([1, 2]), int64([0, 0]), 1, -8, 7, 1),
    ArgMax("best", "curve"),
))


def changed(name: str, **fields: Any) -> Network:
    return Network(tuple(dataclasses.replace(layer, **fields) if layer.name == name else layer
                         for layer in KINDS_NETWORK.layers))


@pytest.mark.parametrize(("name", "field", "value"), [
    ("image", "lo", -1), ("image", "hi", 16), ("image", "frac", 3),
    ("conv", "weight", 2 * np.ones((2, 1, 3, 3), int)), ("conv", "bias", [2, 1]),
    ("conv", "frac_w", [3, 4]), ("conv", "padding", (0, 1, 2, 1)),
    ("codes", "multiplier", [1, -3]), ("codes", "offset", [0, 6]), ("codes", "shift", [2, 4]),
    ("codes", "lo", -1), ("codes", "hi", 14), ("codes", "frac", 1),
    ("pool", "padding", (0, 1, 0, 0)),
    ("dense", "weight", -np.ones((3, 8), int)), ("dense", "bias", [0, 1, 3]),
    ("dense", "frac_w", [1, 1, 1]),
    ("curve", "breakpoints", [1]), ("curve", "slopes", [1, 3]), ("curve", "offsets", [1, 0]),
    ("curve", "shift", 2), ("curve", "lo", -7), ("curve", "hi", 8), ("curve", "frac", 0),
])
def test_digest_changes_with_every_field(name: str, field: str, value: Any) -> None:
    assert changed(name, **{field: value}).digest != KINDS_NETWORK.digest


def test_digest_changes_with_shape_order_name_and_metadata() -> None:
    layers = list(KINDS_NETWORK.layers)
    others = [
        Network(tuple(layers), {"method": "x"}),
        Network(tuple(layers[:-1])),
        Network((*layers[:-1], ArgMax("most", "curve"))),
        Network(tuple(layers), {"method": ["x"]}),
        Network(tuple(layers), {"methods": "x"}),
    ]
    digests = [KINDS_NETWORK.digest, *(network.digest for network in others)]
    assert len(set(digests)) == len(digests)


def test_digest_is_that_of_the_content() -> None:
    same = Network(tuple(dataclasses.replace(layer) for layer in KINDS_NETWORK.layers))
    assert same.digest == KINDS_NETWORK.digest


def test_digest_stays_from_version_to_version() -> None:
    """A file of today must load tomorrow: whoever changes this changes the format number."""
    assert KINDS_NETWORK.digest == (
        "4663bf8c2afb2ff83ff8a2e214254554920c673801764047ee24c2cd41d6cfe6")


@pytest.mark.parametrize("make", [lambda: random_network(12), lambda: digits_like_network(0)])
def test_random_networks_are_the_same_every_time(make: Callable[[], Network]) -> None:
    assert make().digest == make().digest


def test_network_is_light() -> None:
    code = ("import sys, hwgen.network, hwgen.netfile, hwgen.ranges\n"
            "print(sorted({m.partition('.')[0] for m in sys.modules} & "
            "{'torch', 'amaranth', 'cocotb', 'scipy', 'rich', 'typer'}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
