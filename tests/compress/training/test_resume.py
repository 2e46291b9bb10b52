"""Training stops at Ctrl-C and goes on to the same bytes; checkpoints of other runs are refused."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hwgen.compress.training import checkpoint, finetune
from hwgen.compress.training.augment import Augmentation, augment
from hwgen.errors import HwgenError


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own answer to Ctrl-C, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stop_at(step):
    """Progress that presses Ctrl-C once, when this many steps are behind."""
    pressed = []

    def progress(text, done, total):
        if done >= step and not pressed:
            pressed.append(text)
            signal.raise_signal(signal.SIGINT)

    return progress, pressed


@pytest.mark.parametrize("step", [30, 42])  # inside the second pass of 21 steps; at its end
def test_resumed_gives_the_same_bytes(tmp_path, step):
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    finetune.train("digits", "digits", whole, epochs=3)
    progress, pressed = stop_at(step)
    with pytest.raises(KeyboardInterrupt):
        finetune.train("digits", "digits", broken, epochs=3, progress=progress)
    assert len(pressed) == 1
    assert "epoch 2 of 3, loss" in pressed[0]
    assert "accuracy" in pressed[0]
    kept = checkpoint.beside(broken)
    assert not broken.exists()
    with safe_open(kept, framework="pt") as file:
        at = json.loads(file.metadata()["hwgen"])["at"]
    assert at["done"] == step
    finetune.train("digits", "digits", broken, epochs=3)
    assert broken.read_bytes() == whole.read_bytes()
    assert not kept.exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_of_another_run(tmp_path):
    model = tmp_path / "m.safetensors"
    progress, _ = stop_at(30)
    with pytest.raises(KeyboardInterrupt):
        finetune.train("digits", "digits", model, epochs=3, progress=progress)
    kept = checkpoint.beside(model)
    before = kept.read_bytes()
    with pytest.raises(HwgenError, match="a checkpoint of this run needed, seed is 0 in it and 1"):
        finetune.train("digits", "digits", model, epochs=3, seed=1)
    with pytest.raises(HwgenError, match="epochs is 3 in it and 4 here"):
        finetune.train("digits", "digits", model, epochs=4)
    assert kept.read_bytes() == before
    kept.write_bytes(before[:-7])
    with pytest.raises(HwgenError, match="a whole checkpoint needed"):
        finetune.train("digits", "digits", model, epochs=3)


def test_crops_and_mirrors():
    x = torch.arange(2 * 3 * 5 * 4, dtype=torch.float32).reshape(2, 3, 5, 4) + 1
    seen = set()
    for seed in range(200):
        random = torch.Generator().manual_seed(seed)
        for before, after in zip(x, augment(x, Augmentation(crop=1, flip=True), random),
                                 strict=True):
            padded = np.pad(before.numpy(), ((0, 0), (1, 1), (1, 1)))
            made = {
                (padded[:, top:top + 5, left:left + 4][:, :, ::turn]).tobytes(): (top, left, turn)
                for top in range(3) for left in range(3) for turn in (1, -1)
            }
            seen.add(made[after.numpy().tobytes()])
    assert len(seen) == 18
    assert augment(x, Augmentation(), torch.Generator()) is x
    with pytest.raises(HwgenError, match="numbers from 0"):
        Augmentation(crop=-1)
