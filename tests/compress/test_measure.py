"""The test images behind their door."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwgen import datasets
from hwgen.compress import pipeline
from hwgen.compress.measure import hold_out
from hwgen.sim import golden
from tests.compress.small import dataset, module, scores, stages

MODULE = """
from tests.compress.small import module as make
"""


def test_read_once():
    training, test = hold_out(dataset())
    assert training.test_x.shape == (0, 1, 8, 8)
    assert len(training.test_y) == 0
    assert training.train_x is dataset().train_x
    x, y = test.read()
    assert x is dataset().test_x
    assert y is dataset().test_y
    with pytest.raises(RuntimeError, match="can be read once, for the final figures"):
        test.read()


def test_scores_against_torch():
    data = dataset()
    with torch.inference_mode():
        said = module()(torch.from_numpy(data.train_x / 16).float()).argmax(1).numpy()
    assert np.array_equal(scores().float_right, said == data.train_y)
    assert scores().float_right.all()
    assert len(scores().x) == 400
    assert scores().held_out == 40


@pytest.mark.parametrize("wrong", [range(10), range(370, 380)])
def test_the_larger_loss_of_two(wrong):
    """Ten errors are 2.5 points of all; if training left those images out, they are 25."""
    made = stages("dyadic:Q16")
    network = made.build(made.start(), digits=3, metadata={}).network
    labels = golden.classes(network, dataset().train_x)
    labels[list(wrong)] += 1
    score = replace(scores(), y=labels).measure(network)
    assert score.accuracy == 0.975
    assert score.lost == pytest.approx(2.5 if max(wrong) < 360 else 25)


class Watched(datasets.Dataset):
    """A dataset that tells when somebody looks at its test images."""

    looked: list[str] = []
    where = "begin"

    def __getattribute__(self, name):
        if name in ("test_x", "test_y"):
            Watched.looked.append(Watched.where)
        return super().__getattribute__(name)


@pytest.mark.parametrize(("methods", "budget"), [
    ((), None), (("lower-kernel", "dyadic"), 5.0),
])  # fmt: skip
def test_a_run_reads_them_in_the_end(tmp_path, monkeypatch, methods, budget):
    """Anything but the final measurement that touches them is seen, searches included."""
    (tmp_path / "net.py").write_text(MODULE)
    data = dataset()
    fields = {name: getattr(data, name) for name in datasets.Dataset.__dataclass_fields__}
    watched = Watched(**fields)
    monkeypatch.setattr(datasets, "load", lambda *args, **kwargs: watched)
    Watched.looked, Watched.where = [], "begin"

    def tell(text, done, total):
        Watched.where = text

    pipeline.compress(
        f"python:{tmp_path / 'net.py'}:make", methods, "small", tmp_path / "net.npz",
        budget=budget, progress=tell,
    )  # fmt: skip
    assert Watched.looked == ["measure on the test images"] * 2
