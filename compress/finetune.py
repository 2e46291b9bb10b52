"""Training of the reference networks; the only file here with state.

Adam with a one-cycle learning rate over augmented images. The last part of the training images
(``Dataset.calibration``) is kept out, so that later searches can measure on images that were not
learnt; the test images are read once, for the accuracy in the metadata.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hwgen import datasets
from hwgen.compress import modelfile, zoo
from hwgen.compress.modelfile import InputScaling, as_input
from hwgen.errors import HwgenError
from hwgen.progress import Progress


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
        Written whole at the end; an interrupted run leaves what was there.
    seed : int
        The same seed, data and torch give the same file (on the CPU).
    epochs : int, optional
        Passes over the images; the recipe's own number by default.
    device : str
        "auto" (a GPU where there is one), "cpu" or "cuda".
    progress : callable, optional
        Called with (text, done, total) after every few steps.

    Returns: the metadata of the file (accuracy in per cent) and the seconds it took.
    Raises: HwgenError if the name, the data, their shape or the device do not fit.
    """
    start = time.perf_counter()
    recipe = zoo.recipe(name)
    place = _device(device)
    if epochs is not None and epochs < 1:
        raise HwgenError(f"--epochs: a number from 1 needed, not {epochs}")
    images = datasets.load(data)
    if images.shape != recipe.shape or len(images.class_names) != 10:
        raise HwgenError(
            f"{name} takes {_shape(recipe.shape)} images of 10 classes, "
            f"{data} has {_shape(images.shape)} of {len(images.class_names)}"
        )
    scaling = InputScaling(recipe.scale, images.mean, images.std)
    with _threads(recipe.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = recipe.build().to(place)
        passes = epochs or recipe.epochs
        for step, (fraction, loss) in enumerate(
            _fit(module, recipe, images, scaling, passes, seed, place)
        ):
            if progress is not None and step % 10 == 0:
                left = (time.perf_counter() - start) * (1 - fraction) / max(fraction, 1e-9)
                when = f", {left:.0f} s left" if fraction > 0.02 else ""
                progress(f"{name}: loss {loss:.3f}{when}", round(1000 * fraction), 1000)
        module.cpu().eval()
        score = accuracy(module, images.test_x, images.test_y, scaling)
    metadata = {
        "network": name,
        "scale": scaling.scale,
        "mean": scaling.mean,
        "std": scaling.std,
        "class_names": list(images.class_names),
        "seed": seed,
        "epochs": passes,
        "data": data.partition(":")[0],
        "accuracy": score,
    }
    modelfile.save(module, Path(out), metadata)
    if progress is not None:
        progress(f"{name}: {score:.2f} % of the test images", 1000, 1000)
    return metadata | {"seconds": time.perf_counter() - start}


def accuracy(
    module: nn.Module, x: datasets.Images, y: datasets.Array, scaling: InputScaling
) -> float:
    """Return the float network's share of right classes, in per cent."""
    right = 0
    with torch.inference_mode():
        for first in range(0, len(x), 1000):
            scores = module(as_input(x[first : first + 1000], scaling))
            right += int((scores.flatten(1).argmax(1).numpy() == y[first : first + 1000]).sum())
    return 100.0 * right / len(x)


def _fit(
    module: nn.Module,
    recipe: zoo.Recipe,
    images: datasets.Dataset,
    scaling: InputScaling,
    passes: int,
    seed: int,
    device: torch.device,
) -> Iterator[tuple[float, float]]:
    """Train in place; yield (fraction done, loss) after each step."""
    count = len(images.train_x) - images.calibration_size
    x = as_input(images.train_x[:count], scaling).to(device)
    y = torch.from_numpy(images.train_y[:count]).to(device)
    random = torch.Generator().manual_seed(seed)
    steps = math.ceil(count / recipe.batch) * passes
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    module.train()
    done = 0
    for _ in range(passes):
        for chosen in torch.split(torch.randperm(count, generator=random), recipe.batch):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate * _one_cycle(done / steps)
            batch = augment(x[chosen.to(device)], recipe, random)
            loss = F.cross_entropy(
                module(batch), y[chosen.to(device)], label_smoothing=recipe.smoothing
            )
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            done += 1
            yield done / steps, float(loss.detach())


def _one_cycle(fraction: float, *, rise: float = 0.25) -> float:
    """Factor of the learning rate: up along a cosine for ``rise`` of the time, then down to 0.

    Ref: L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using
    large learning rates", 2019.
    """
    if fraction < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * fraction / rise)) / 2
    return 0.001 + 0.999 * (1 + math.cos(math.pi * (fraction - rise) / (1 - rise))) / 2


def augment(x: torch.Tensor, recipe: zoo.Recipe, random: torch.Generator) -> torch.Tensor:
    """Turn, zoom and shift each image (N, C, H, W) a little; zeros come in at the edges."""
    if not (recipe.turn or recipe.zoom or recipe.shift):
        return x
    spread = (torch.rand(5, len(x), generator=random) * 2 - 1).to(x.device)
    angle = spread[0] * math.radians(recipe.turn)
    zoom_x, zoom_y = (1 + spread[k] * recipe.zoom for k in (1, 2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [
            torch.stack([cos * zoom_x, -sin, spread[3] * 2 * recipe.shift / x.shape[3]], 1),
            torch.stack([sin, cos * zoom_y, spread[4] * 2 * recipe.shift / x.shape[2]], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def _device(name: str) -> torch.device:
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
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
