"""Training of the reference networks, and import of their published weights.

Adam with a one-cycle learning rate over augmented images. The last part of the training images
(``Dataset.calibration``) is kept out, so that later searches can measure on images that were not
learnt; the test images are read once, for the accuracy in the metadata.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hwgen import datasets
from hwgen.compress import modelfile, zoo
from hwgen.compress.modelfile import InputScaling, as_input
from hwgen.compress.training import checkpoint
from hwgen.compress.training.augment import augment
from hwgen.compress.training.loop import Loop
from hwgen.errors import HwgenError
from hwgen.progress import Progress, silent


def train(
    name: str,
    data: str,
    out: Path,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a reference network and write it as .safetensors.

    Parameters
    ----------
    name : str
        One of ``zoo.ZOO``.
    data : str
        The DATA argument, see ``hwgen.datasets``.
    out : Path
        Written whole at the end; an interrupted run leaves what was there, and a checkpoint beside
        it from which the same call goes on.
    seed : int
        The same seed, data and torch give the same file (on the CPU).
    epochs : int, optional
        Passes over the images; the recipe's own number by default.
    device : str
        "auto" (a GPU where there is one), "cpu" or "cuda".
    progress : callable, optional
        Called with (text, done, total) after every few steps.

    Returns: the metadata of the file (accuracy in per cent), notes on the data, and the seconds it
    took.
    Raises: HwgenError if the name, the data, their shape, the device or a checkpoint do not fit.
    """
    start = time.perf_counter()
    recipe, out = zoo.recipe(name), Path(out)
    place = choose_device(device)
    if epochs is not None and epochs < 1:
        raise HwgenError(f"--epochs: a number from 1 needed, not {epochs}")
    images = datasets.load(data)
    _check_images(name, recipe, images, data)
    scaling = _scaling(recipe, images)
    passes = epochs or recipe.epochs
    with threads(recipe.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = recipe.build()
        loop = fit(
            module,
            recipe,
            images,
            name=name,
            epochs=passes,
            seed=seed,
            device=place,
            path=checkpoint.beside(out),
            progress=progress or silent,
        )
        score = accuracy(module, images.test_x, images.test_y, scaling)
    metadata = _metadata(name, images, scaling, data, seed=seed, epochs=passes, score=score)
    modelfile.save(module, out, metadata)
    loop.finish()
    if progress is not None:
        progress(f"{name}: {score:.2f} % of the test images", loop.done, loop.done)
    return metadata | {"notes": images.notes, "seconds": time.perf_counter() - start}


def import_weights(name: str, data: str, out: Path, weights: Path) -> dict[str, Any]:
    """Write a reference network with its published weights, and its measured accuracy.

    Parameters
    ----------
    name, data, out : as for ``train``
    weights : Path
        The .npz file of the published arrays.

    Returns: the metadata of the file, and notes on the data.
    Raises: HwgenError if there are no published weights of that network, or an array is missing or
    does not fit.
    """
    recipe = zoo.recipe(name)
    if recipe.published is None:
        known = ", ".join(other for other, found in zoo.ZOO.items() if found.published)
        raise HwgenError(
            f"--weights: a network with published weights needed ({known}), not {name}"
        )
    arrays = datasets.arrays_of(Path(weights))
    module = recipe.build()
    try:
        module.load_state_dict(recipe.published(arrays))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise HwgenError(f"{weights}: the weights of {name} needed ({reason})") from error
    except HwgenError as error:
        raise HwgenError(f"{weights}: {error}") from error
    images = datasets.load(data)
    _check_images(name, recipe, images, data)
    scaling = _scaling(recipe, images)
    score = accuracy(module.eval(), images.test_x, images.test_y, scaling)
    metadata = _metadata(name, images, scaling, data, seed=0, epochs=0, score=score) | {
        "weights": Path(weights).name,
        "weights_sha256": hashlib.sha256(Path(weights).read_bytes()).hexdigest(),
    }
    modelfile.save(module, Path(out), metadata)
    return metadata | {"notes": images.notes}


def accuracy(
    module: nn.Module,
    x: datasets.Images,
    y: datasets.Array,
    scaling: InputScaling,
    device: torch.device | None = None,
) -> float:
    """Return the float network's share of right classes, in per cent."""
    right = 0
    with torch.inference_mode():
        for first in range(0, len(x), 500):
            batch = as_input(x[first : first + 500], scaling)
            scores = module(batch if device is None else batch.to(device)).cpu()
            right += int((scores.flatten(1).argmax(1).numpy() == y[first : first + 500]).sum())
    return 100.0 * right / len(x)


def _scaling(recipe: zoo.Recipe, images: datasets.Dataset) -> InputScaling:
    return InputScaling(recipe.scale, images.mean or recipe.mean, images.std or recipe.std)


def _check_images(name: str, recipe: zoo.Recipe, images: datasets.Dataset, data: str) -> None:
    if images.shape != recipe.shape or len(images.class_names) != recipe.classes:
        raise HwgenError(
            f"{name} takes {_shape(recipe.shape)} images of {recipe.classes} classes, "
            f"{data} has {_shape(images.shape)} of {len(images.class_names)}"
        )


def _metadata(
    name: str,
    images: datasets.Dataset,
    scaling: InputScaling,
    data: str,
    *,
    seed: int,
    epochs: int,
    score: float,
) -> dict[str, Any]:
    return {
        "network": name,
        "scale": scaling.scale,
        "mean": scaling.mean,
        "std": scaling.std,
        "class_names": list(images.class_names),
        "seed": seed,
        "epochs": epochs,
        "data": data.partition(":")[0],
        "accuracy": score,
    }


def fit(
    module: nn.Module,
    recipe: zoo.Recipe,
    images: datasets.Dataset,
    *,
    name: str,
    epochs: int,
    seed: int = 0,
    device: torch.device | None = None,
    path: Path | None = None,
    progress: Progress = silent,
) -> Loop:
    """Train a module in place by a recipe, and leave it on the CPU in evaluation mode.

    Parameters
    ----------
    module : nn.Module
        Parameters that take no gradient stay.
    recipe : Recipe
        Rate, batch, augmentation and normalisation; its ``build`` is not used.
    images : Dataset
        All but the last part of the training images is learnt.
    name : str
        For the progress display; part of what a checkpoint is known by.
    epochs, seed, device : as for ``train``
    path : Path, optional
        Of the checkpoint; the caller removes it with the loop's ``finish``.

    Returns: the loop, at its end.
    Raises: HwgenError if there is a checkpoint of another run; KeyboardInterrupt after Ctrl-C.
    """
    place = device or torch.device("cpu")
    scaling = _scaling(recipe, images)
    module.to(place)
    loop = _loop(name, recipe, module, images, epochs, seed, place, path, progress)
    x = as_input(images.train_x[: loop.count], scaling).to(place)
    y = torch.tensor(images.train_y[: loop.count]).to(place)
    kept_x, kept_y = images.calibration()

    def score(epoch: int) -> float:
        module.eval()
        found = accuracy(module, kept_x, np.asarray(kept_y), scaling, place)
        module.train()
        return found

    half = recipe.half and place.type == "cuda"
    if half:
        x = x.contiguous(memory_format=torch.channels_last)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.train()
    for chosen in loop.steps(score):
        batch = augment(x[chosen.to(place)], recipe.augmentation, loop.random)
        with torch.autocast(place.type, torch.bfloat16, enabled=half):
            scores = module(batch)
        loss = F.cross_entropy(
            scores.float(), y[chosen.to(place)], label_smoothing=recipe.smoothing
        )
        loop.optimiser.zero_grad()
        torch.autograd.backward(loss)
        loop.optimiser.step()
        loop.loss = float(loss.detach())
    module.cpu().eval()
    return loop


def _loop(
    name: str,
    recipe: zoo.Recipe,
    module: nn.Module,
    images: datasets.Dataset,
    passes: int,
    seed: int,
    place: torch.device,
    path: Path | None,
    progress: Progress,
) -> Loop:
    """Return the loop, gone on from its checkpoint where there is one."""
    settings = {key: value for key, value in asdict(recipe).items() if not callable(value)}
    run = {
        "network": name,
        "data": checkpoint.digest(images.train_x, images.train_y),
        "seed": seed,
        "epochs": passes,
        "recipe": settings | {"mean": images.mean or recipe.mean, "std": images.std or recipe.std},
        "device": place.type,
    }
    trained = [value for value in module.parameters() if value.requires_grad]
    loop = Loop(
        name,
        module.state_dict(),
        torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.decay),
        len(images.train_x) - images.calibration_size,
        recipe.batch,
        passes,
        recipe.rate,
        seed,
        run,
        path,
        every=max(1, math.ceil(passes / 50)),
        progress=progress,
    )
    loop.resume()
    return loop


def choose_device(name: str) -> torch.device:
    """Return the device of a ``--device`` argument: auto, cpu or cuda.

    Raises: HwgenError if it is none of these, or cuda where torch has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise HwgenError(f"--device: auto, cpu or cuda needed, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise HwgenError("--device cuda: a GPU that torch can use needed, there is none")
    return torch.device(name)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use this many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
