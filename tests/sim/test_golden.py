"""The golden model on whole networks: against torch, its bounds, its batches, and bad input."""

from __future__ import annotations

import dataclasses
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
    Input,
    Layer,
    Network,
    Requantise,
)
from hwgen.ranges import value_ranges
from hwgen.sim import golden, golden_layers
from tests import torch_reference
from tests.networks import (
    THEMES,
    digits_like_network,
    lenet5_shape,
    random_images,
    random_network,
)

IMAGES = 17


def assert_equals_torch(network: Network, count: int, seed: int) -> None:
    images = random_images(network, count, seed)
    ours, theirs = golden.run(network, images), torch_reference.run(network, images)
    assert list(ours) == [layer.name for layer in network.layers]
    for name, values in ours.items():
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


# --- against torch --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3 * len(THEMES)))
def test_random_network_equals_torch(seed: int) -> None:
    assert_equals_torch(random_network(seed), IMAGES, seed)


@pytest.mark.parametrize("seed", range(100, 100 + len(THEMES)))
def test_random_medium_network_equals_torch(seed: int) -> None:
    assert_equals_torch(random_network(seed, size="medium"), 6, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_many_random_networks_equal_torch(seed: int) -> None:
    assert_equals_torch(random_network(seed), IMAGES, seed)


@pytest.mark.parametrize("make", [digits_like_network, lenet5_shape])
def test_usual_network_equals_torch(make: Callable[[int], Network]) -> None:
    assert_equals_torch(make(3), 20, 3)


def test_random_networks_have_every_kind() -> None:
    """The comparison is only as wide as what the random networks hold."""
    networks = [random_network(seed) for seed in range(3 * len(THEMES))]
    layers = [layer for network in networks for layer in network.layers]
    assert {type(layer).__name__ for layer in layers} == {
        "Input", "Conv2d", "Dense", "Requantise", "Activation", "MaxPool", "AvgPool", "Add",
        "Concat", "Flatten", "ArgMax"}
    convs = [layer for layer in layers if isinstance(layer, Conv2d)]
    for what, holds in {
        "stride": any(max(layer.stride) > 1 for layer in convs),
        "dilation": any(max(layer.dilation) > 1 for layer in convs),
        "groups": any(1 < layer.groups < len(layer.weight) for layer in convs),
        "depthwise": any(layer.groups > 1 and layer.weight.shape[1] == 1 for layer in convs),
        "asymmetric padding": any(len(set(layer.padding)) > 2 for layer in convs),
        "zero kernel": any(not layer.weight[o].any() for layer in convs for o in
                           range(len(layer.weight))),
    }.items():
        assert holds, what
    requantises = [layer for layer in layers if isinstance(layer, Requantise)]
    assert {1, 2, 3} <= {golden_digits(m) for layer in requantises for m in layer.multiplier}
    assert any(layer.multiplier.min() < 0 for layer in requantises)
    assert any(not layer.shift.any() for layer in requantises)
    widths = {int(layer.hi - layer.lo) for layer in requantises}
    assert {1, 65535} <= widths
    assert {isinstance(network.output, ArgMax) for network in networks} == {True, False}


def golden_digits(value: int) -> int:
    """Nonzero digits of the non-adjacent form, by its schoolbook recurrence."""
    value, count = abs(int(value)), 0
    while value:
        if value % 2:
            value -= 2 - value % 4
            count += 1
        value //= 2
    return count


@pytest.mark.parametrize("seed", range(3 * len(THEMES)))
def test_random_network_is_alive(seed: int) -> None:
    """The output differs between images, so that a fault on the way can be seen there."""
    network = random_network(seed)
    output = golden.run(network, random_images(network, 60, seed), keep="last")
    assert len(np.unique(output[network.output.name])) > 1


# --- planted faults: what the comparison with torch would catch -----------------------------------


def swap(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array[::-1]


def one_more(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    changed = array.copy()
    changed.flat[changed.size // 2] += 1
    return changed


@pytest.mark.parametrize(("kind", "field", "change"), [
    (Conv2d, "weight", one_more), (Conv2d, "weight", np.negative), (Conv2d, "weight", swap),
    (Conv2d, "bias", one_more), (Dense, "weight", one_more), (Dense, "bias", swap),
    (Requantise, "offset", one_more), (Requantise, "shift", one_more),
    (Requantise, "multiplier", np.negative),
])
def test_planted_fault_in_a_network_is_seen(
    kind: type[Layer], field: str, change: Callable[[Any], Any]
) -> None:
    network = digits_like_network(5)
    layer = next(layer for layer in network.layers if isinstance(layer, kind))
    faulty = replaced(network, layer.name, **{field: change(getattr(layer, field))})
    images = random_images(network, IMAGES, 0)
    ours = golden.run(faulty, images, keep=[layer.name])[layer.name]
    assert (ours != torch_reference.run(network, images)[layer.name]).any()


def test_planted_rounding_fault_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_half(layer: Layer, *inputs: Any) -> Any:
        y = golden_layers.layer_output(layer, *inputs)
        if isinstance(layer, Requantise):
            scaled = inputs[0] * layer.multiplier[:, None, None] + layer.offset[:, None, None]
            y = np.clip(scaled >> layer.shift[:, None, None], layer.lo, layer.hi)
        return y

    monkeypatch.setattr(golden, "layer_output", without_half)
    with pytest.raises(AssertionError, match="requantise2"):
        assert_equals_torch(digits_like_network(5), IMAGES, 0)


def replaced(network: Network, name: str, **fields: Any) -> Network:
    """A network with some fields of one layer changed."""
    return Network(tuple(dataclasses.replace(layer, **fields) if layer.name == name else layer
                         for layer in network.layers))


# --- bounds ---------------------------------------------------------------------------------------


def deep_sum(weight: int, inputs: int, *, hi: int = 65535, bias: int = 0) -> Network:
    """One Dense of one large weight after ``inputs - 1`` more of them; the sum is the output."""
    return Network((
        Input("image", inputs, 1, 1, 0, hi, 0),
        Dense("sum", "image", np.full((1, inputs), weight), np.array([bias]), np.array([0])),
    ))


# Largest sum just below and above what float32 and float64 hold.
@pytest.mark.parametrize(("weight", "inputs", "hi"), [
    (255, 1, 65535), (257, 1, 65535), (16383, 4, 255), (32767, 4, 255), (-65535, 1, 255),
    (2**31, 65, 65535), (2**31 - 1, 63, 65535), (-(2**31) + 1, 128, 65535),
    (2**31 - 1, 4096, 65535),
])
def test_large_sum_is_exact(weight: int, inputs: int, hi: int) -> None:
    network = deep_sum(weight, inputs, hi=hi, bias=1)
    images = random_images(network, 40, 1)
    images[:, 0] |= 1
    sums = golden.run(network, images)["sum"][:, 0, 0, 0]
    assert sums.tolist() == [weight * sum(image.ravel().tolist()) + 1 for image in images]


@pytest.mark.parametrize(("limit", "weight", "inputs"),
                         [("FLOAT32_EXACT", 4097, 16), ("FLOAT64_EXACT", 2**31 - 1, 4096)])
def test_sum_is_wrong_without_the_bound(
    limit: str, weight: int, inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof of the bound is what makes the sums exact: without it they are not."""
    network = deep_sum(weight, inputs)
    images = random_images(network, 40, 1)
    images[:, 0] |= 1
    exact = [weight * sum(image.ravel().tolist()) for image in images]
    assert golden.run(network, images)["sum"].ravel().tolist() == exact
    monkeypatch.setattr(golden_layers, limit, 1 << 80)
    assert golden.run(network, images)["sum"].ravel().tolist() != exact


@pytest.mark.parametrize(("largest", "kind"), [
    (2**24 - 1, np.float32), (2**24, np.float64), (2**53 - 1, np.float64), (2**53, np.int64),
    (2**62, np.int64),
])
def test_sum_type(largest: int, kind: type[np.generic]) -> None:
    x, bias = np.array([1, -1]), np.array([0])
    assert golden.sum_type(np.array([[largest - 1, -1]]), bias, x) is kind


def test_sum_type_sees_operands_beside_zeros() -> None:
    zero = np.zeros((1, 1), np.int64)
    assert golden.sum_type(zero, np.array([0]), np.array([2**53])) is np.int64
    assert golden.sum_type(zero + 2**24, np.array([0]), np.array([0])) is np.float64


def too_large(layers: str) -> tuple[Layer, ...]:
    one = np.array([1])
    wide = Input("image", 1, 1, 1, 0, 65535, 0)
    product = Dense("product", "image", np.array([[2**31]]), np.array([0]), one)
    tails: dict[str, tuple[Layer, ...]] = {
        "requantise": (Requantise("tail", "product", np.array([2**30]), 0 * one, one, 0, 1, 0),),
        "activation": (Activation("tail", "product", np.array([], np.int64), np.array([2**30]),
                                  0 * one, 1, 0, 1, 0),),
        "add": (Add("tail", ("product", "product"), (20, 20)),),
    }
    return (wide, product, *tails[layers])


@pytest.mark.parametrize("layers", ["requantise", "activation", "add"])
def test_value_beyond_int64_is_refused(layers: str) -> None:
    network = Network(too_large(layers))
    with pytest.raises(HwgenError, match=r"^Layer 'tail', range: values below 2\*\*63 needed, not"):
        golden.run(network, np.zeros((1, 1, 1, 1), np.int64))


def test_sum_beyond_int64_is_refused() -> None:
    network = deep_sum(2**31, 1 << 16, bias=1 << 50)
    with pytest.raises(HwgenError, match="^Layer 'sum', range: values below"):
        golden.run(network, np.zeros((1, 1 << 16, 1, 1), np.int64))


@pytest.mark.parametrize("seed", range(2 * len(THEMES)))
def test_values_stay_within_bounds_and_bounds_hold_ranges(seed: int) -> None:
    network = random_network(seed)
    bounds, ranges = golden.bounds(network), value_ranges(network)
    for name, values in golden.run(network, random_images(network, IMAGES, seed)).items():
        limit = np.array([min(bound, 2**62) for bound in bounds[name]])
        assert (np.abs(values).max(axis=(0, 2, 3)) <= limit).all()
        assert (np.maximum(-ranges[name].lo, ranges[name].hi) <= limit).all()


# --- options, classes, images ---------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_batch_changes_nothing(batch: int) -> None:
    network = digits_like_network(1)
    images = random_images(network, 8, 0)
    whole, parts = golden.run(network, images), golden.run(network, images, batch=batch)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])


def test_batch_wrong() -> None:
    network = digits_like_network(1)
    with pytest.raises(HwgenError, match="^A batch of at least 1 image needed, not 0$"):
        golden.run(network, random_images(network, 1, 0), batch=0)


@pytest.mark.parametrize(("keep", "names"), [
    ("last", ["dense8", "argmax9"]), ("argmax9", ["argmax9"]),
    (["maxpool3", "image"], ["image", "maxpool3"]), ([], []),
])
def test_keep(keep: Any, names: list[str]) -> None:
    network = digits_like_network(1)
    images = random_images(network, 7, 0)
    kept, whole = golden.run(network, images, keep=keep), golden.run(network, images)
    assert list(kept) == names
    for name in names:
        np.testing.assert_array_equal(kept[name], whole[name])


def test_keep_wrong() -> None:
    network = digits_like_network(1)
    with pytest.raises(HwgenError, match="^keep: all, last or names of layers needed, not 'no'$"):
        golden.run(network, random_images(network, 1, 0), keep=["dense8", "no"])


def test_no_images() -> None:
    network = digits_like_network(1)
    results = golden.run(network, np.empty((0, 1, 8, 8), np.int64))
    assert results["dense8"].shape == (0, 10, 1, 1)


def test_source_read_twice() -> None:
    network = Network((
        Input("image", 1, 2, 2, -4, 3, 0),
        Concat("twice", ("image", "image")),
        Add("sum", ("twice", "twice"), (1, 1)),
    ))
    image = np.array([[[[-4, 3], [0, 1]]]])
    results = golden.run(network, image)
    assert results["sum"].tolist() == [[[[-16, 12], [0, 4]]] * 2]
    np.testing.assert_array_equal(results["sum"], torch_reference.run(network, image)["sum"])


def test_unsigned_images_of_any_width() -> None:
    network = digits_like_network(1)
    images = random_images(network, 6, 0)
    expected = golden.run(network, images, keep="last")["dense8"]
    for given in (images.astype(np.uint8), images.astype(np.int32), images.astype(np.uint64)):
        np.testing.assert_array_equal(golden.run(network, given, keep="last")["dense8"], expected)


@pytest.mark.parametrize(("images", "message"), [
    (np.zeros((2, 1, 8, 9), int), r"Images of shape \(N, 1, 8, 8\) needed, not \(2, 1, 8, 9\)"),
    (np.zeros((1, 8, 8), int), r"Images of shape \(N, 1, 8, 8\) needed, not \(1, 8, 8\)"),
    (np.zeros((2, 1, 8, 8)), "Images of integer codes needed, not float64"),
    (np.zeros((2, 1, 8, 8), bool), "Images of integer codes needed, not bool"),
    (np.full((1, 1, 8, 8), 2**64 - 1, np.uint64),
     "Images of codes from 0 to 16 needed, not 18446744073709551615 .*"),
    (-np.eye(8, dtype=np.int64)[None, None, ::-1],
     r"Images of codes from 0 to 16 needed, not -1 \(image 0, channel 0, row 0, column 7\)"),
    (np.full((1, 1, 8, 8), 17), "Images of codes from 0 to 16 needed, not 17 .*"),
])
def test_images_wrong(images: Any, message: str) -> None:
    with pytest.raises(HwgenError, match=f"^{message}$"):
        golden.run(digits_like_network(1), images)


def test_classes_and_accuracy() -> None:
    network = digits_like_network(2)
    images = random_images(network, 30, 0)
    expected = torch_reference.run(network, images)
    classes = golden.classes(network, images)
    assert classes.tolist() == expected["argmax9"].ravel().tolist()
    labels = classes.copy()
    labels[:6] = (labels[:6] + 1) % 10
    assert golden.accuracy(network, images, labels, batch=7) == 0.8
    scores = Network(network.layers[:-1])
    assert golden.classes(scores, images).tolist() == classes.tolist()


def scores_of_fracs(fracs: list[int]) -> Network:
    return Network((Input("image", 1, 1, 1, 0, 100, 0),
                    Dense("scores", "image", np.array([[1], [3], [-1]]), np.array([0, 0, 40]),
                          np.array(fracs))))


def test_classes_compare_values_of_scores() -> None:
    """Scores x, 3x and 40 - x, in ones; then with 3x in quarters."""
    images = np.array([0, 10, 15, 20, 90]).reshape(-1, 1, 1, 1)
    assert golden.classes(scores_of_fracs([0, 0, 0]), images).tolist() == [2, 1, 1, 1, 1]
    assert golden.classes(scores_of_fracs([0, 2, 0]), images).tolist() == [2, 2, 2, 0, 0]


def test_classes_fracs_wrong() -> None:
    with pytest.raises(HwgenError, match="^Layer 'scores', frac: scores comparable in 63 bits "
                                         "needed, not fracs 64 apart$"):
        golden.classes(scores_of_fracs([-32, 32, 0]), np.zeros((1, 1, 1, 1), int))


def test_classes_of_a_map_wrong() -> None:
    network = Network((Input("image", 2, 2, 3, 0, 1, 0), ArgMax("classes", "image")))
    with pytest.raises(HwgenError, match="^Layer 'classes', output: one pixel an image needed, "
                                         "not 2x3$"):
        golden.classes(network, np.zeros((1, 2, 2, 3), int))


@pytest.mark.parametrize(("count", "shape"), [(2, (3,)), (2, (2, 1)), (2, ()), (0, (0,))])
def test_labels_wrong(count: int, shape: tuple[int, ...]) -> None:
    network = digits_like_network(2)
    with pytest.raises(HwgenError, match="^One label an image and at least one image needed, not"):
        golden.accuracy(network, np.zeros((count, 1, 8, 8), int), np.zeros(shape, int))


def test_golden_is_light() -> None:
    code = ("import sys, hwgen.sim.golden\n"
            "print(sorted({m.partition('.')[0] for m in sys.modules} & "
            "{'torch', 'amaranth', 'cocotb', 'scipy', 'rich', 'typer'}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
