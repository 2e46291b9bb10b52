"""Every compression method, and several together, as hardware: codes equal on one small network.

All of them share one top, one build and one run; random gaps and stalls in a second run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwgen.layers import Conv2d, Dense
from hwgen.sim.build import Simulator
from tests.compress.small import stages
from tests.end_to_end.batch import Batch, emit, open_batch

METHODS = {
    "dyadic": ("dyadic:P7",),
    "linear-features": ("linear-features:0.5",),
    "periodic": ("periodic:PSD1_P8",),
    "ternary": ("ternary:prune=0.6",),
    "lower-kernel, dyadic by kernel": ("lower-kernel:unit=kernel,taps=0.5", "dyadic:Q4,kernel"),
    "four": ("linear-features:0.75", "lower-kernel:loss=0.1", "periodic:PSD4_P8",
             "ternary:filter,layers=fc", "dyadic:P5"),
}  # fmt: skip
IMAGES = 6

Once = Callable[[str, Callable[[Path], object]], Path]


def compressed(methods: tuple[str, ...]):
    made = stages(*methods)
    return made, made.build(made.start(), digits=2, metadata={"method": list(methods)})


@pytest.fixture(scope="module")
def batch(build_once: Once) -> Batch:
    return open_batch(
        build_once(
            "methods",
            lambda folder: emit(
                [compressed(methods)[1].network for methods in METHODS.values()], folder
            ),
        )
    )


@pytest.mark.parametrize("stalls", [False, True])
def test_codes_are_equal(batch: Batch, verilator: dict[str, str], stalls: bool) -> None:
    recorded = batch.run(simulator=Simulator.VERILATOR, stalls=stalls, images=IMAGES)
    for name, design, found in zip(
        METHODS, batch.designs, batch.check(recorded, stalls=stalls, images=IMAGES), strict=True
    ):
        assert found.right, (name, found.first, found.problems)
        for layer in design.network.layers:
            size = design.network.tensors[layer.name].size
            assert found.layers[layer.name].compared >= IMAGES * size, (name, layer.name)


def test_they_are_different_networks(batch: Batch) -> None:
    digests = {design.network.digest for design in batch.designs}
    assert len(digests) == len(METHODS)


def test_the_methods_show_in_the_integers() -> None:
    """What each promises of the integers themselves, so that no method was left out."""
    made, built = compressed(METHODS["four"])
    layers = {one.name: one for one in built.network.layers if isinstance(one, (Conv2d, Dense))}
    assert layers["conv2_basis"].weight.shape == (6, 6, 3, 3)
    assert layers["conv2"].weight.shape == (8, 6, 1, 1)
    assert np.abs(layers["fc"].weight).max() == 1
    assert not made.masks(built)["conv2.basis"].all()
    assert not layers["conv2_basis"].weight[~made.masks(built)["conv2.basis"]].any()
