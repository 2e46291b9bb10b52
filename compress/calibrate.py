"""Formats of the codes between layers, chosen on training images.

The step of each tensor is the power of two with the least squared error over a sample of its
values, clipping included: a step so small that the largest values are cut may well be the best one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from hwgen.compress import forward
from hwgen.compress.curves import FUNCTIONS
from hwgen.compress.importers import graph as g
from hwgen.errors import HwgenError

SAMPLE = 200_000  # values kept of each tensor
DEEPEST = 5  # powers of two below the largest value that are tried


@dataclass(frozen=True)
class Format:
    """Codes lo..hi in steps of ``2**-frac``."""

    lo: int
    hi: int
    frac: int


@dataclass(frozen=True, eq=False)
class Statistics:
    """What calibration saw.

    Parameters
    ----------
    values : mapping of name to float64 array
        A sample of each tensor's values, its extremes included.
    means : mapping of name to float64 array, (C, H, W)
        Mean image of each tensor.
    """

    values: Mapping[str, g.FloatArray]
    means: Mapping[str, g.FloatArray]


def observe(graph: g.Graph, x: torch.Tensor, names: Iterable[str]) -> Statistics:
    """Run images (N, C, H, W) through the float graph and keep statistics of the named nodes.

    Raises: HwgenError naming a node whose values are not finite.
    """
    wanted = tuple(dict.fromkeys(names))
    samples: dict[str, list[g.FloatArray]] = {name: [] for name in wanted}
    sums: dict[str, torch.Tensor] = {}
    per_batch = max(1, SAMPLE * 250 // max(len(x), 250))

    def visit(batch: Mapping[str, torch.Tensor]) -> None:
        for name, value in batch.items():
            if not bool(torch.isfinite(value).all()):
                raise HwgenError(
                    f"{name}: finite values needed on the calibration images, "
                    "there is NaN or infinity"
                )
            total = value.double().sum(0)
            sums[name] = sums[name] + total if name in sums else total
            flat = value.flatten()
            stride = max(1, flat.numel() // per_batch) | 1  # odd: no channel is skipped in step
            ends = torch.stack([flat.min(), flat.max()])
            samples[name].append(torch.cat([flat[::stride], ends]).double().numpy())

    forward.in_batches(graph, x, visit, keep=wanted)
    return Statistics(
        {name: np.concatenate(parts) for name, parts in samples.items()},
        {name: (total / len(x)).numpy() for name, total in sums.items()},
    )


def choose(
    values: g.FloatArray,
    *,
    bits: int,
    lower: float | None = None,
    upper: float | None = None,
    curve: str | None = None,
) -> Format:
    """Return the format with the least squared error over values.

    Parameters
    ----------
    values : float64 array
        Before clipping to ``lower`` and ``upper``.
    bits : int
        Of a code; unsigned where lower >= 0.
    lower, upper : float, optional
        Bounds that the layer itself sets (ReLU: lower 0; ReLU6: upper 6 as well).
    curve : str, optional
        Measure the error after this function ("tanh", "sigmoid").
    """
    seen = np.clip(values, lower, upper) if lower is not None or upper is not None else values
    lo, hi = (
        (0, (1 << bits) - 1)
        if lower is not None and lower >= 0
        else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    )
    if hi == 0:
        hi = 1  # one signed bit: -1 and 0 are no use, take -1..1
    largest = float(np.abs(seen).max(initial=0.0))
    if largest == 0:
        return Format(lo, hi, 0)
    exact = FUNCTIONS[curve](seen) if curve else seen
    first = int(np.floor(np.log2(hi / largest)))
    best, least = first, np.inf
    for frac in range(first, first + DEEPEST):
        rounded = np.ldexp(np.clip(np.floor(np.ldexp(seen, frac) + 0.5), lo, hi), -frac)
        made = FUNCTIONS[curve](rounded) if curve else rounded
        error = float(((made - exact) ** 2).sum())
        if error < least:
            best, least = frac, error
    if lower is not None:
        lo = max(lo, round(float(np.ldexp(lower, best))))
    if upper is not None:
        hi = min(hi, max(1, round(float(np.ldexp(upper, best)))))
    return Format(lo, hi, best)


def covariances(graph: g.Graph, x: torch.Tensor, *, largest: int = 4096) -> dict[str, g.FloatArray]:
    """Return the covariance of the inputs of each convolution and dense layer, by name.

    (groups, N, N), N the weights of an output channel, over all windows of the images (N, C, H, W);
    layers with more than ``largest`` inputs are left out.
    """
    nodes = [
        node
        for node in graph.nodes
        if isinstance(node, (g.Conv, g.Dense)) and node.weight[0].size <= largest
    ]
    moments: dict[str, list[torch.Tensor]] = {}
    counts = dict.fromkeys((node.name for node in nodes), 0)

    def visit(batch: Mapping[str, torch.Tensor]) -> None:
        for node in nodes:
            patches = _patches(node, batch[node.sources[0]].double())
            first, second = patches.sum(1), patches.transpose(1, 2) @ patches
            counts[node.name] += patches.shape[1]
            if node.name in moments:
                first, second = first + moments[node.name][0], second + moments[node.name][1]
            moments[node.name] = [first, second]

    forward.in_batches(graph, x, visit, keep={node.sources[0] for node in nodes}, batch=50)
    found = {}
    for name, (first, second) in moments.items():
        mean = first / counts[name]
        found[name] = (second / counts[name] - mean[:, :, None] * mean[:, None, :]).numpy()
    return found


def patch_mean(node: g.Conv | g.Dense, mean: g.FloatArray) -> g.FloatArray:
    """Return the mean of what each output channel's weights meet, (groups, N).

    Parameters: mean, (C, H, W), the mean image of the node's input.
    """
    found: g.FloatArray = _patches(node, torch.tensor(mean)[None]).mean(1).numpy()
    return found


def _patches(node: g.Conv | g.Dense, x: torch.Tensor) -> torch.Tensor:
    """Return what each output channel's weights meet: (groups, windows, N)."""
    if isinstance(node, g.Dense):
        return x.flatten(1)[None]
    columns = torch.nn.functional.unfold(
        forward.padded(x, node.padding),
        node.weight.shape[2:],
        dilation=node.dilation,
        stride=node.stride,
    )
    images, size, windows = columns.shape
    grouped = columns.reshape(images, node.groups, size // node.groups, windows)
    return grouped.permute(1, 0, 3, 2).reshape(node.groups, images * windows, -1)
