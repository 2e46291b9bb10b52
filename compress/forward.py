"""The float graph run in torch: calibration and the float accuracy of imported graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F

from hwgen.compress.importers import graph as g

Constants = dict[tuple[str, str], torch.Tensor]


def run(
    graph: g.Graph,
    x: torch.Tensor,
    *,
    keep: Iterable[str] | None = None,
    constants: Constants | None = None,
) -> dict[str, torch.Tensor]:
    """Return the values of nodes for images (N, C, H, W), in the images' float type.

    Parameters: keep, names of the nodes wanted; None for all of them. constants, where the weights
    stay as tensors from one call to the next, of one graph, device and float type.
    """
    wanted = set(graph.by_name) if keep is None else set(keep)
    left = {name: len(readers) for name, readers in graph.readers.items()}
    values: dict[str, torch.Tensor] = {}
    kept: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for node in graph.nodes:
            sources = [values[name] for name in node.sources]
            values[node.name] = result = (
                x if isinstance(node, g.Source) else apply(node, sources, constants)
            )
            if node.name in wanted:
                kept[node.name] = result
            for name in node.sources:  # what nobody reads any more makes room
                left[name] -= 1
                if not left[name]:
                    values.pop(name, None)
    return kept


def in_batches(
    graph: g.Graph,
    x: torch.Tensor,
    visit: Callable[[Mapping[str, torch.Tensor]], None],
    *,
    keep: Iterable[str],
    batch: int = 250,
) -> None:
    """Run images in batches and hand each batch's values to ``visit``."""
    names = tuple(keep)
    for first in range(0, len(x), batch):
        visit(run(graph, x[first : first + batch], keep=names))


def apply(
    node: g.Node, sources: list[torch.Tensor], constants: Constants | None = None
) -> torch.Tensor:
    """Return one node's output for its sources' values."""
    x = sources[0]
    made: Constants = {} if constants is None else constants

    def like(field: str) -> torch.Tensor:
        key = node.name, field
        if key not in made:
            made[key] = torch.tensor(getattr(node, field)).to(x)
        return made[key]

    match node:
        case g.Conv():
            return F.conv2d(
                padded(x, node.padding),
                like("weight"),
                like("bias"),
                node.stride,
                0,
                node.dilation,
                node.groups,
            )
        case g.Dense():
            return F.linear(x.flatten(1), like("weight"), like("bias"))[:, :, None, None]
        case g.Affine():
            return x * like("factor")[:, None, None] + like("offset")[:, None, None]
        case g.Clip():
            return torch.clamp(x, node.lo, node.hi)
        case g.Curve():
            return _curve(node, x)
        case g.Quantise():
            return (x / node.step).round().clamp(node.lo, node.hi) * node.step
        case g.Pad():
            return padded(x, node.padding)
        case g.MaxPool():
            return F.max_pool2d(padded(x, node.padding, float("-inf")), node.kernel, node.stride)
        case g.AvgPool():
            return F.avg_pool2d(padded(x, node.padding), node.kernel, node.stride)
        case g.Add():
            return torch.stack(sources).sum(0)
        case g.Concat():
            return torch.cat(sources, 1)
        case g.Flatten():
            return x.flatten(1)[:, :, None, None]
    raise TypeError(f"No rule for {type(node).__name__}")


def _curve(node: g.Curve, x: torch.Tensor) -> torch.Tensor:
    match node.function:
        case "tanh":
            return torch.tanh(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "hardswish":
            return F.hardswish(x)
    return F.leaky_relu(x, node.slope)


def padded(x: torch.Tensor, padding: tuple[int, int, int, int], value: float = 0.0) -> torch.Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x
