"""Layer-wise compressive training: prune the network, then make one layer after the other ternary.

Ref: M. Grimaldi, V. Tenace, A. Calimera, "Layer-wise compressive training for convolutional neural
networks", Future Internet 11(1) 7, 2019: one global sparsity target; the layers in the order of
their sparsity, the least significant first; a layer's weights live in {-sigma, 0, sigma} while it
is trained; it is kept so if the accuracy stays within a budget, and restored if not.

Training of a ternary layer, with latent weights V and the pruning's mask M::

    W = sigma * T(V) * M             T(V): sign(V), 0 where V is nearer to 0 than to sigma
    dL/dV = dL/dW where |V| <= c     straight through, c = 3 sigma
    dL/dsigma = sum(dL/dW * T(V) * M)    sigma at first the mean of |V| over M

Pruning goes in steps, with training after each. Sigma is rounded to few signed digits at the end of
a layer's turn, and stays there, so that the accuracy that decides is that of shifts and adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from hwgen import datasets
from hwgen.compress import forward
from hwgen.compress.calibrate import Format
from hwgen.compress.importers import graph as g
from hwgen.compress.lower_rules import linear_nodes
from hwgen.compress.methods import ternary
from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.scales import as_dyadic
from hwgen.compress.training.augment import augment
from hwgen.compress.training.finetune import choose_device, threads
from hwgen.compress.training.layerwise_outcome import (
    Options,
    Order,
    Outcome,
    Turn,
    bias_codes,
    size,
)
from hwgen.compress.training.loop import Loop, distance
from hwgen.progress import Progress, silent

__all__ = ["Options", "Order", "Outcome", "Scale", "Turn", "bias_codes", "compress", "size"]

CLIP = 3.0  # latent weights beyond this many sigmas are not pushed further


def compress(
    graph: g.Graph,
    *,
    input_codes: Format,
    images: datasets.Dataset,
    options: Options,
    progress: Progress | None = None,
) -> Outcome:
    """Prune a float network and make its layers ternary, one by one, within a budget.

    Parameters
    ----------
    graph : Graph
        Simplified and trained.
    input_codes : Format
        Of the raw images.
    images : Dataset
        Learnt, but for the last part, which measures; the test images are not touched.
    options : Options
    progress : callable, optional

    Raises: HwgenError if the options do not fit; KeyboardInterrupt after Ctrl-C.
    """
    with threads(options.threads):
        return _Run(graph, input_codes, images, options, progress or silent).go()


@dataclass
class _Layer:
    """A layer's tensors: latent weights, bias, mask, and sigma once it is ternary."""

    node: g.Conv | g.Dense
    weight: torch.Tensor
    bias: torch.Tensor
    mask: torch.Tensor
    sigma: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    ternary: bool = False

    def used(self) -> torch.Tensor:
        """Return the weights that the layer computes with, with their gradients."""
        if not self.ternary:
            return self.weight * self.mask
        sigma = self.sigma.reshape((-1,) + (1,) * (self.weight.ndim - 1))
        size = self.weight.detach().abs()
        sign = self.weight.detach().sign() * (size > sigma.detach() / 2) * self.mask
        inside = (size <= CLIP * sigma.detach()) * self.mask
        moved = (self.weight - self.weight.detach()) * inside
        return sigma * sign + moved

    def state(self) -> dict[str, torch.Tensor]:
        """Return copies, to restore the layer from."""
        fields = {name: getattr(self, name).detach().clone()
                  for name in ("weight", "bias", "mask", "sigma")}
        return fields | {"ternary": torch.tensor(self.ternary)}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to a state."""
        with torch.no_grad():
            for name in ("weight", "bias", "mask"):
                getattr(self, name).copy_(state[name])
        self.sigma = state["sigma"].clone()
        self.ternary = bool(state["ternary"])


class _Run:
    """One run of ``compress``."""

    def __init__(
        self,
        graph: g.Graph,
        input_codes: Format,
        images: datasets.Dataset,
        options: Options,
        progress: Progress,
    ) -> None:
        self._graph, self._input, self._images = graph, input_codes, images
        self._options, self._progress = options, progress
        self._device = choose_device(options.device)
        self._layers = [
            _Layer(
                node,
                torch.tensor(node.weight, dtype=torch.float32, device=self._device),
                torch.tensor(node.bias, dtype=torch.float32, device=self._device),
                torch.ones(node.weight.shape, device=self._device),
            )
            for node in linear_nodes(graph)
        ]
        self._by_name = {layer.node.name: layer for layer in self._layers}
        self._trainings = 0
        self._float: forward.Constants = {}

    def go(self) -> Outcome:
        before = self.accuracy()
        self._prune()
        pruned = self.accuracy()
        floor = before - self._options.budget / 100
        turns: list[Turn] = []
        for layer in self._order():
            kept = [other.state() for other in self._layers]
            found = self._make_ternary(layer)
            accepted = found >= floor
            turns.append(Turn(layer.node.name, found, accepted))
            if not accepted:
                for other, state in zip(self._layers, kept, strict=True):
                    other.restore(state)
        self._last(floor)
        graph = self._graph
        for layer in self._layers:
            graph = graph.with_node(
                replace(
                    layer.node,
                    weight=layer.used().detach().cpu().double().numpy(),
                    bias=layer.bias.detach().cpu().double().numpy(),
                )
            )
        return Outcome(
            graph,
            {layer.node.name: layer.mask.cpu().numpy().astype(bool) for layer in self._layers},
            {
                layer.node.name: layer.sigma.detach().cpu().double().numpy()
                for layer in self._layers
                if layer.ternary
            },
            before,
            pruned,
            self.accuracy(),
            tuple(turns),
        )

    # --- the stages

    def _prune(self) -> None:
        options = self._options
        for step in range(1, options.steps + 1):
            target = 1 - (1 - options.sparsity) ** (step / options.steps)
            weights = [(layer.weight * layer.mask).cpu().double().numpy() for layer in self._layers]
            for layer, mask in zip(self._layers, ternary.prune(weights, target), strict=True):
                layer.mask = torch.tensor(mask, dtype=torch.float32, device=self._device)
            self._train(f"pruned to {target:.1%} zeros", options.epochs_pruning)

    def _order(self) -> list[_Layer]:
        masks = [layer.mask.cpu().numpy().astype(bool) for layer in self._layers]
        if self._options.order is Order.SPARSITY:
            return [self._layers[n] for n in ternary.order_by_sparsity(masks)]
        left = []
        for number, layer in enumerate(self._layers):
            kept = layer.state()
            self._start_ternary(layer)
            left.append((-self.accuracy(), number))
            layer.restore(kept)
        return [self._layers[number] for _, number in sorted(left)]

    def _start_ternary(self, layer: _Layer) -> None:
        """Sigma at its least-squares value: the mean magnitude inside the mask."""
        by_filter = self._options.scale is Scale.FILTER and isinstance(layer.node, g.Conv)
        rows = (layer.weight * layer.mask).reshape(len(layer.weight) if by_filter else 1, -1)
        kept = layer.mask.reshape(rows.shape).sum(1)
        mean = rows.abs().sum(1) / kept.clamp(min=1)
        layer.sigma = torch.where(mean > 0, mean, torch.ones_like(mean))
        layer.ternary = True

    def _make_ternary(self, layer: _Layer) -> float:
        """Train with this layer ternary; its sigma rounded; return the accuracy."""
        self._start_ternary(layer)
        layer.sigma.requires_grad_(True)
        self._train(f"{layer.node.name} ternary", self._options.epochs_layer)
        layer.sigma = self._rounded(layer.sigma)
        return self.accuracy()

    def _rounded(self, sigma: torch.Tensor) -> torch.Tensor:
        values = []
        for value in sigma.detach().abs().cpu().double().numpy():
            m, e = as_dyadic(max(float(value), 2.0**-30), digits=self._options.digits)
            values.append(m * 2.0**e)
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def _last(self, floor: float) -> None:
        """Signs and biases once more over all layers, sigmas fixed; kept if it is no worse."""
        if not self._options.epochs_end:
            return
        kept, before = [layer.state() for layer in self._layers], self.accuracy()
        self._train("all layers", self._options.epochs_end)
        if self.accuracy() < max(before, floor):
            for layer, state in zip(self._layers, kept, strict=True):
                layer.restore(state)

    # --- training and measuring

    def _scores(self, codes: torch.Tensor) -> torch.Tensor:
        values: dict[str, torch.Tensor] = {}
        for node in self._graph.nodes:
            if isinstance(node, g.Source):
                values[node.name] = codes * 2.0**-self._input.frac
                continue
            sources = [values[name] for name in node.sources]
            layer = self._by_name.get(node.name)
            if layer is None:
                values[node.name] = forward.apply(node, sources)
            elif isinstance(node, g.Dense):
                flat = F.linear(sources[0].flatten(1), layer.used(), layer.bias)
                values[node.name] = flat[:, :, None, None]
            elif isinstance(node, g.Conv):
                padded = forward.padded(sources[0], node.padding)
                values[node.name] = F.conv2d(
                    padded, layer.used(), layer.bias, node.stride, 0, node.dilation, node.groups
                )
        return values[self._graph.output.name].flatten(1)

    def _loss(self, codes: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = self._scores(codes)
        loss = F.cross_entropy(scores, y)
        part = self._options.distil
        if not part:
            return loss
        name = self._graph.output.name
        x = codes * 2.0**-self._input.frac
        real = forward.run(self._graph, x, keep=[name], constants=self._float)[name]
        return (1 - part) * loss + part * distance(scores, real)

    def accuracy(self) -> float:
        """Return the share of the last training images that are right."""
        x, y = self._images.calibration()
        right = 0
        with torch.inference_mode():
            for first in range(0, len(x), 500):
                codes = torch.tensor(x[first : first + 500], dtype=torch.float32)
                best = self._scores(codes.to(self._device)).argmax(1).cpu().numpy()
                right += int((best == y[first : first + 500]).sum())
        return right / len(x)

    def _train(self, name: str, epochs: int) -> None:
        if not epochs:
            return
        options = self._options
        values: list[torch.Tensor] = []
        for layer in self._layers:
            layer.weight.requires_grad_(True)
            layer.bias.requires_grad_(True)
            values += [layer.weight, layer.bias]
            if layer.sigma.requires_grad:
                values.append(layer.sigma)
        count = len(self._images.train_x) - self._images.calibration_size
        self._trainings += 1
        optimiser = torch.optim.Adam(values, lr=options.rate)
        loop = Loop(
            name, {}, optimiser, count, options.batch, epochs, options.rate,
            options.seed + 1000 * self._trainings, {}, progress=self._progress, rise=0.1,
        )
        x, y = self._images.train_x[:count], torch.tensor(self._images.train_y[:count])
        for chosen in loop.steps(lambda epoch: 100 * self.accuracy()):
            codes = torch.tensor(x[chosen.numpy()], dtype=torch.float32, device=self._device)
            codes = augment(codes, options.augmentation, loop.random)
            loss = self._loss(codes, y[chosen].to(self._device))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            loop.loss = float(loss.detach())
        for layer in self._layers:
            layer.weight.requires_grad_(False)
            layer.bias.requires_grad_(False)
