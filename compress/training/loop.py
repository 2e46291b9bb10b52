"""The loop that every training here shares: order of the images, learning rate, checkpoints.

A run is a list of steps, each a batch. All that a step depends on is in the tensors, the
optimiser's state, one random generator and the order of the images in this pass; a checkpoint holds
these four, so that a resumed run gives the bits of an uninterrupted one (on the CPU, with the same
number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from hwgen.compress.training import checkpoint
from hwgen.progress import Progress, silent

TEMPERATURE = 2.0  # of distillation


@dataclass
class Loop:
    """One run.

    Parameters
    ----------
    name : str
        For the progress display.
    tensors : mapping of name to tensor
        All that steps change, in place: parameters, buffers, what a caller keeps.
    optimiser : torch.optim.Optimizer
    count, batch, epochs : int
        Images, images a step, passes.
    rate : float
        Highest learning rate; it follows one cycle over the run.
    seed : int
        Of order and augmentation.
    run : mapping
        What identifies the run, JSON; a checkpoint of another one is refused.
    path : Path, optional
        Of the checkpoint; None writes none.
    every : int
        Passes between checkpoints.
    at_epochs_only : bool
        Ctrl-C writes no checkpoint inside a pass; the last pass's is there.
    progress : callable
    """

    name: str
    tensors: Mapping[str, torch.Tensor]
    optimiser: torch.optim.Optimizer
    count: int
    batch: int
    epochs: int
    rate: float
    seed: int
    run: Mapping[str, Any]
    path: Path | None = None
    every: int = 1
    at_epochs_only: bool = False
    progress: Progress = silent
    rise: float = 0.25
    random: torch.Generator = field(init=False)
    done: int = field(init=False, default=0)
    loss: float = field(init=False, default=math.nan)
    accuracy: float = field(init=False, default=math.nan)

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)
        self._order: torch.Tensor | None = None
        self._spent, self._spent_steps = 0.0, 0

    @property
    def steps_an_epoch(self) -> int:
        """Batches of a pass."""
        return math.ceil(self.count / self.batch)

    @property
    def epoch(self) -> int:
        """Passes behind it."""
        return self.done // self.steps_an_epoch

    def resume(self) -> bool:
        """Go back to the checkpoint, if there is one; return whether there was.

        Raises: HwgenError if it is broken or of another run.
        """
        if self.path is None or not self.path.exists():
            return False
        stored, at = checkpoint.load(self.path, self.run)
        with torch.no_grad():
            for name, value in self.tensors.items():
                value.copy_(stored[f"value.{name}"])
        checkpoint.restore(self.optimiser, stored)
        self.random.set_state(stored["random"])
        self._order = stored.get("order")
        self.done = at["done"]
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        if self.path is None:
            return
        tensors = {f"value.{name}": value for name, value in self.tensors.items()}
        tensors |= checkpoint.flat(self.optimiser) | {"random": self.random.get_state()}
        if self._order is not None:
            tensors["order"] = self._order
        checkpoint.save(self.path, tensors, self.run, {"done": self.done})

    def finish(self) -> None:
        """Remove the checkpoint: the result is written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def steps(self, after_epoch: Callable[[int], float | None]) -> Iterator[torch.Tensor]:
        """Yield the images' numbers of each step; the caller makes the step and sets ``loss``.

        ``after_epoch`` is called with the number of passes behind it, before the checkpoint, and
        returns an accuracy in per cent to show, or None.

        Raises: KeyboardInterrupt after Ctrl-C, once the checkpoint is written.
        """
        total = self.steps_an_epoch * self.epochs
        with checkpoint.deferred() as interruption:
            while self.done < total:
                place = self.done % self.steps_an_epoch
                if not place or self._order is None:
                    self._order = torch.randperm(self.count, generator=self.random)
                for group in self.optimiser.param_groups:
                    group["lr"] = self.rate * one_cycle(self.done / total, rise=self.rise)
                start = time.perf_counter()
                yield self._order[place * self.batch : (place + 1) * self.batch]
                self.done += 1
                ended = self.done % self.steps_an_epoch == 0
                if ended:
                    self._order = None
                    found = after_epoch(self.epoch)
                    self.accuracy = self.accuracy if found is None else found
                    if self.epoch % self.every == 0 and self.done < total:
                        self.save()
                self._spent += time.perf_counter() - start
                self._spent_steps += 1
                self._tell(total, ended)
                if interruption.asked:
                    if not ended and not self.at_epochs_only:
                        self.save()
                    raise KeyboardInterrupt

    def _tell(self, total: int, ended: bool) -> None:
        if not ended and self.done % 10:
            return
        left = (total - self.done) * self._spent / self._spent_steps
        known = "" if math.isnan(self.accuracy) else f", accuracy {self.accuracy:.2f} %"
        epoch = min(self.epochs, self.epoch + (0 if ended else 1))
        self.progress(
            f"{self.name}: epoch {epoch} of {self.epochs}, loss {self.loss:.3f}{known}, "
            f"{left:.0f} s left",
            self.done,
            total,
        )


def distance(scores: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return how far scores are from those of a float network, (N, classes): the divergence of
    their softened distributions.

    Ref: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015.
    """
    found = F.kl_div(
        F.log_softmax(scores / TEMPERATURE, 1),
        F.softmax(real.flatten(1).clone() / TEMPERATURE, 1),
        reduction="batchmean",
    )
    return TEMPERATURE**2 * found


def one_cycle(fraction: float, *, rise: float = 0.25) -> float:
    """Factor of the learning rate: up along a cosine for ``rise`` of the time, then down to 0.

    Ref: L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using
    large learning rates", 2019.
    """
    if fraction < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * fraction / rise)) / 2
    return 0.001 + 0.999 * (1 + math.cos(math.pi * (fraction - rise) / (1 - rise))) / 2
