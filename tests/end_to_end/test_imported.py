"""Quantised ONNX models as hardware: one shared build, every code of every layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwgen.sim.build import Simulator
from tests.compress import test_onnx_quantised as quantised
from tests.compress.onnx_models import save
from tests.end_to_end.batch import emit, open_batch

IMAGES = 4


def networks(folder: Path):
    """Powers of two, a residual, and steps of any size."""
    models = (
        quantised.chain(zero=4),
        quantised.residual(),
        quantised.chain(w_step=0.0131, first=0.117, second=0.31, zero=-128),
    )
    folder.mkdir(parents=True, exist_ok=True)
    return [
        quantised.integers(save(model, folder / f"m{n}.onnx"), quantised.images())[1]
        for n, model in enumerate(models)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stalls", [False, True])
def test_every_layer(stalls, build_once, tmp_path, verilator):
    folder = build_once("imported", lambda place: emit(networks(tmp_path), place))
    batch = open_batch(folder)
    recorded = batch.run(simulator=Simulator.VERILATOR, stalls=stalls, images=IMAGES)
    results = batch.check(recorded, stalls=stalls, images=IMAGES)
    assert len(results) == 3
    for design, result in zip(batch.designs, results, strict=True):
        assert result.right, (result.first, result.problems)
        assert set(result.layers) >= {layer.name for layer in design.network.layers[1:]}
