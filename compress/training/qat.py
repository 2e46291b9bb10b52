"""Quantisation-aware fine-tuning of any method: the integer network itself is trained.

The forward pass is that of the lowered network (``integer_forward``), with the method's weights;
gradients go straight through to latent real weights and biases. A method is a function from real
weights to approximated ones. It is asked at the beginning, and its scales stay: a scale that was
sought again would move a whole filter from one step to the next. Each weight takes the nearest
level of its layer, and one that stays at its level keeps the very code that the method gave it.
Approximated weights are their own approximation, so the method gives the trained ones back. Every
decision, such as which pass was best, is made on the network that the method and ``lower`` make of
them, over the last training images.

Ref: B. Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hwgen import datasets
from hwgen.compress import forward
from hwgen.compress.calibrate import Format, Statistics
from hwgen.compress.importers import graph as g
from hwgen.compress.lower import lower
from hwgen.compress.lower_rules import LowerOptions, linear_nodes
from hwgen.compress.methods.checks import BoolArray
from hwgen.compress.methods.dyadic import FloatArray, Result
from hwgen.compress.scales import integer_weights
from hwgen.compress.training import checkpoint
from hwgen.compress.training.augment import NONE, Augmentation, augment
from hwgen.compress.training.finetune import choose_device, threads
from hwgen.compress.training.integer_forward import IntegerForward
from hwgen.compress.training.latent import Linear, is_wiring, paces, pairs
from hwgen.compress.training.loop import Loop, distance
from hwgen.errors import HwgenError
from hwgen.layers import Conv2d, Dense
from hwgen.network import Network
from hwgen.progress import Progress, silent

Project = Callable[[Mapping[str, FloatArray]], Mapping[str, Result]]

BATCH = 250  # images measured at a time


@dataclass(frozen=True)
class Training:
    """How long and how fast.

    Parameters
    ----------
    epochs : int
        Passes over the training images, the last part left out.
    rate : float
        Highest learning rate of Adam; it follows one cycle. A filter's weights move in proportion
        to their size: batch norms and the image's scale, folded into them, make filters of one
        network differ by orders of magnitude.
    batch : int
    seed : int
        Of order and augmentation.
    device : str
        "auto", "cpu" or "cuda".
    augmentation : Augmentation
    distil : float
        Part of the loss, 0 to 1, that pulls towards the float network's scores.
    threads : int
        Of torch on the CPU.
    path : Path, optional
        A checkpoint, written after each pass; the same call goes on from it.

    Raises: HwgenError if a number is out of range.
    """

    epochs: int = 3
    rate: float = 1e-3
    batch: int = 128
    seed: int = 0
    device: str = "auto"
    augmentation: Augmentation = NONE
    distil: float = 0.0
    threads: int = 1
    path: Path | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.threads) < 1:
            raise HwgenError(
                "Fine-tuning: epochs, batch and threads from 1 needed, not "
                f"{self.epochs}, {self.batch}, {self.threads}"
            )
        if not (0 < self.rate < 1 and 0 <= self.distil <= 1):
            raise HwgenError(
                f"Fine-tuning: a rate between 0 and 1 and distil from 0 to 1 needed, not "
                f"{self.rate}, {self.distil}"
            )


def finetune(
    graph: g.Graph,
    statistics: Statistics,
    *,
    input_codes: Format,
    options: LowerOptions,
    project: Project,
    masks: Mapping[str, BoolArray],
    images: datasets.Dataset,
    training: Training,
    teacher: g.Graph | None = None,
    progress: Progress | None = None,
) -> tuple[g.Graph, Statistics]:
    """Train the integer network that ``project`` and ``lower`` make of a graph.

    Parameters
    ----------
    graph : Graph
        Simplified, its weights and biases where training starts.
    statistics : Statistics
        From which ``lower`` takes the formats of the codes, and the first bias correction.
    input_codes, options : as for ``lower``
    project : callable
        Real weights by node name -> approximated weights of all convolutions and dense layers. The
        same weights must give the same answer, and approximated ones themselves.
    masks : mapping of node name to bool array
        Weights that may be other than zero; of a node without one, those that are not zero now.
    images : Dataset
        The last part of the training images measures; the others are learnt; the test images are
        not touched.
    training : Training
    teacher : Graph, optional
        The float network whose scores pull (``distil``), of the same input; ``graph`` by default.
    progress : callable, optional

    Returns
    -------
    The graph with the approximated weights and the biases of the best state (the start included),
    and the statistics with the same formats and mean images of zero, so that no bias is moved:
    ``lower(graph, project(weights), statistics)`` is the network that was measured best.

    Raises: HwgenError if the masks or the training do not fit; KeyboardInterrupt after Ctrl-C.
    """
    tuner = _Tuner(
        graph, statistics, input_codes, options, project, masks, images, training, teacher
    )
    with threads(training.threads):
        return tuner.run(progress or silent)


class _Tuner:
    """One run of ``finetune``."""

    def __init__(
        self,
        graph: g.Graph,
        statistics: Statistics,
        input_codes: Format,
        options: LowerOptions,
        project: Project,
        masks: Mapping[str, BoolArray],
        images: datasets.Dataset,
        training: Training,
        teacher: g.Graph | None = None,
    ) -> None:
        self._teacher = teacher or graph
        self._graph, self._options, self._input = graph, options, input_codes
        self._project, self._images, self._training = project, images, training
        self._device = choose_device(training.device)
        self._network = first = self._lowered(graph, statistics)
        self._statistics = Statistics(
            statistics.values,
            {name: np.zeros_like(mean) for name, mean in statistics.means.items()},
        )
        self._linear = self._layers(first, masks)
        self._fix()
        self._float: forward.Constants = {}  # of the float network, whose scores pull

    # --- from latent weights to a network

    def _lowered(self, graph: g.Graph, statistics: Statistics) -> Network:
        results = self._project({node.name: node.weight for node in linear_nodes(graph)})
        self._results = results
        return lower(
            graph,
            results,
            statistics,
            input_codes=self._input,
            options=self._options,
            metadata={},
        )

    def _with(self, weights: Mapping[str, FloatArray], biases: Mapping[str, FloatArray]) -> g.Graph:
        """Return the graph with these weights and biases, by node name."""
        graph = self._graph
        for name, weight in weights.items():
            node = replace(graph.by_name[name], weight=weight, bias=biases[name])  # type: ignore[call-arg]
            graph = graph.with_node(node)
        return graph

    def _trained(self, values: Mapping[str, torch.Tensor]) -> g.Graph:
        """Return the graph with the weights of some codes, and some biases; named as in
        ``_tensors``.
        """
        weights, biases = {}, {}
        for item in self._linear:
            name = item.node.name
            weights[name] = values[f"{name}.weight"].cpu().double().numpy() * item.scale
            biases[name] = values[f"{name}.bias"].cpu().double().numpy()
        return self._with(weights, biases)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {
            f"{item.node.name}.{field}": getattr(item, field).detach()
            for item in self._linear
            for field in ("weight", "bias")
        }

    def _coded(self) -> dict[str, torch.Tensor]:
        """Return ``_tensors`` with codes in place of the latent weights."""
        values = self._tensors()
        return values | {f"{item.node.name}.weight": item.codes() for item in self._linear}

    # --- layers

    def _layers(self, network: Network, masks: Mapping[str, BoolArray]) -> list[Linear]:
        """Return the layers with their latent weights; biases as the first network has them."""
        nodes = linear_nodes(self._graph)
        if unknown := sorted(set(masks) - {node.name for node in nodes}):
            raise HwgenError(f"Masks of layers with weights needed, not of {unknown[0]}")
        made = []
        for node, (layer, after) in zip(nodes, pairs(network), strict=True):
            mask = masks.get(node.name, node.weight != 0)
            if np.shape(mask) != node.weight.shape:
                raise node.needs(f"a mask of {node.weight.shape}", np.shape(mask))
            if after is None:
                unit = self._unit(node, layer, final=True)
                bias = layer.bias * unit
            else:
                bias = np.ldexp(after.offset.astype(np.float64), -after.shift - after.frac)
            item = Linear(
                node,
                torch.tensor(np.where(mask, node.weight, 0.0), dtype=torch.float32),
                torch.tensor(bias, dtype=torch.float32),
                torch.tensor(np.asarray(mask), dtype=torch.float32),
                torch.tensor(paces(node.weight, np.asarray(mask)), dtype=torch.float32),
            )
            for field in ("weight", "bias", "mask", "pace"):
                setattr(item, field, getattr(item, field).to(self._device))
            item.weight.requires_grad_(not is_wiring(node))
            item.bias.requires_grad_(not is_wiring(node))
            made.append(item)
        return made

    def _unit(self, node: g.Conv | g.Dense, layer: Conv2d | Dense, *, final: bool) -> float:
        """Real value of an accumulator of 1 of the last layer."""
        _, factor = integer_weights(self._results[node.name], common=final)
        return float(np.ldexp(factor[0], -self._frac_before(layer)))

    def _frac_before(self, layer: Conv2d | Dense) -> int:
        return int(np.max(self._network.tensors[layer.source].frac))

    def _fix(self) -> None:
        """Take over the codes and scales of the method's answer, and the constants behind them."""
        weights = {item.node.name: item.weight.detach().cpu().double().numpy()
                   for item in self._linear}  # fmt: skip
        biases = {item.node.name: item.bias.detach().cpu().double().numpy()
                  for item in self._linear}  # fmt: skip
        network = self._lowered(self._with(weights, biases), self._statistics)
        self._network = network
        self._forward = IntegerForward(network, self._device, torch.float32)
        for item, (layer, after) in zip(self._linear, pairs(network), strict=True):
            result = self._results[item.node.name]
            _, factor = integer_weights(result, common=after is None)
            item.layer = layer.name
            item.factor = item.by_output(factor)
            scale = np.ldexp(result.scale, -result.bits)
            item.step = item.by_output(scale)
            item.scale = scale.reshape(scale.shape + (1,) * (item.weight.ndim - scale.ndim))
            inside = np.asarray(item.mask.cpu().numpy(), bool)
            found = np.unique(result.codes[inside]) if inside.any() else np.zeros(1, np.int64)
            levels = np.unique(np.concatenate([found, -found]))
            item.levels = torch.tensor(levels).to(item.weight)
            item.edges = torch.tensor((levels[1:] + levels[:-1]) / 2).to(item.weight)
            item.chosen = torch.tensor(result.codes).to(item.weight)
            item.near = item.nearest()
            if after is None:
                item.addend, item.bias_unit = layer.name, self._unit(item.node, layer, final=True)
                bits = np.zeros(len(layer.bias))
            else:
                item.addend, item.bias_unit = after.name, float(2.0**-after.frac)
                bits = after.shift.astype(np.float64)
            item.bias_bits = torch.tensor(bits, device=self._device)

    # --- training

    def run(self, progress: Progress) -> tuple[g.Graph, Statistics]:
        """Train and return the best graph and its statistics."""
        training = self._training
        tensors = self._tensors()
        best = {f"best.{name}": value.clone() for name, value in self._coded().items()}
        best["best.accuracy"] = torch.tensor(-1.0, dtype=torch.float64)
        trained = [
            value
            for item in self._linear
            for value in (item.weight, item.bias)
            if value.requires_grad
        ]
        loop = Loop(
            "fine-tuning",
            {**tensors, **best},
            torch.optim.Adam(trained, lr=training.rate),
            len(self._images.train_x) - self._images.calibration_size,
            training.batch,
            training.epochs,
            training.rate,
            training.seed,
            self._identity(),
            training.path,
            at_epochs_only=True,
            progress=progress,
            rise=0.1,
        )

        def judge(epoch: int) -> float:
            coded = self._coded()
            found = self.accuracy(self._lowered(self._trained(coded), self._statistics))
            if found >= float(best["best.accuracy"]):  # of equal ones the last
                best["best.accuracy"].fill_(found)
                for name, value in coded.items():
                    best[f"best.{name}"].copy_(value)
            return 100 * found

        if not loop.resume():
            judge(0)
        self._learn(loop, judge)
        loop.finish()
        chosen = {name: best[f"best.{name}"] for name in tensors}
        return self._trained(chosen), self._statistics

    def _learn(self, loop: Loop, judge: Callable[[int], float]) -> None:
        images, training = self._images, self._training
        x = torch.tensor(images.train_x[: loop.count])
        y = torch.tensor(images.train_y[: loop.count])
        for chosen in loop.steps(judge):
            codes = x[chosen].to(self._device, torch.float32)
            if training.augmentation != NONE:
                moved = augment(codes, training.augmentation, loop.random)
                codes = torch.clamp(torch.round(moved), self._input.lo, self._input.hi)
            loss = self._loss(codes, y[chosen].to(self._device))
            loop.optimiser.zero_grad()
            torch.autograd.backward(loss)
            before = [item.weight.detach().clone() for item in self._linear]
            loop.optimiser.step()
            for item, old in zip(self._linear, before, strict=True):
                item.confine(old)
            loop.loss = float(loss.detach())

    def _loss(self, codes: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = self.scores(codes)
        part = self._training.distil
        loss = F.cross_entropy(scores, y)
        if not part:
            return loss
        name = self._teacher.output.name
        x = codes * 2.0**-self._input.frac
        real = forward.run(self._teacher, x, keep=[name], constants=self._float)[name]
        return (1 - part) * loss + part * distance(scores, real)

    def scores(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the scores of the integer forward pass that is trained, (N, classes)."""
        return self._forward.scores(
            codes,
            weights={item.layer: item.integers() for item in self._linear},
            addends={item.addend: item.addends() for item in self._linear},
        )

    def accuracy(self, network: Network) -> float:
        """Return the share of the last training images that an exact network gets right."""
        exact = IntegerForward.exactly(network, self._device)
        x, y = self._images.calibration()
        right = 0
        with torch.inference_mode():
            for first in range(0, len(x), BATCH):
                codes = torch.tensor(x[first : first + BATCH])
                # The unit is one for all classes; codes are compared, the lowest index wins a tie.
                best = exact.scores(codes).cpu().numpy().argmax(1)
                right += int((best == y[first : first + BATCH]).sum())
        return right / len(x)

    def _identity(self) -> dict[str, Any]:
        described = asdict(replace(self._training, path=None))
        nodes = linear_nodes(self._graph)
        codes = [self._results[node.name].codes for node in nodes]
        return {
            "training": described,
            "data": checkpoint.digest(self._images.train_x, self._images.train_y),
            "start": checkpoint.digest(*(n.weight for n in nodes), *(n.bias for n in nodes)),
            "method": checkpoint.digest(*codes),
            "options": asdict(self._options),
        }
