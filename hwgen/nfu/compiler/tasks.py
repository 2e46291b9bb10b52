"""A Network cut into tasks: sums of weighted windows, and what becomes of them.

A task is what the NFU does without going back to memory: the terms of an accumulator (convolutions,
pools, codes added), then one Requantise, Activation or ArgMax, or nothing. Concat and Flatten
vanish into views, a filter's place in a tile into the view of the task's result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.layers import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Conv2d,
    Dense,
    Input,
    Int64Array,
    Layer,
    MaxPool,
    Requantise,
    Tensor,
)
from hwgen.network import Network


@dataclass(frozen=True, eq=False)
class Term:
    """One window's part of an accumulator.

    Parameters
    ----------
    layer : Layer
        For messages.
    source : str
        The layer whose codes it reads.
    weight : (co, ci / groups, kh, kw) int64, or None: ones on the diagonal times ``factor``.
    kernel, stride, padding, dilation, groups
        As in Conv2d.
    factor : int
        Of an identity; weights hold theirs already.
    """

    layer: Layer
    source: str
    weight: Int64Array | None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    factor: int = 1

    @property
    def taps(self) -> list[tuple[int, int]]:
        """(row, column) of each place under the kernel, row by row."""
        return [(r, s) for r in range(self.kernel[0]) for s in range(self.kernel[1])]


@dataclass(frozen=True, eq=False)
class Task:
    """What is computed in one go.

    Parameters
    ----------
    name : str
        The layer that the accumulators or the maximum belong to.
    terms : tuple of Term
        Of a maximum, one.
    bias : (channels,) int64
    tensor : Tensor
        Of the accumulators (or of the maximum).
    finish : Requantise or Activation or MaxPool, or None
        What makes codes of them; None: the accumulators themselves are kept.
    argmax : ArgMax or None
        That reads the accumulators.
    keep : bool
        Accumulators are a result.
    """

    name: str
    terms: tuple[Term, ...]
    bias: Int64Array
    tensor: Tensor
    finish: Requantise | Activation | MaxPool | None = None
    argmax: ArgMax | None = None
    keep: bool = False

    @property
    def stored(self) -> str:
        """The layer whose codes the task stores."""
        return self.name if self.finish is None else self.finish.name

    @property
    def title(self) -> str:
        """The layer that the task ends with; no two tasks have the same."""
        return self.argmax.name if self.argmax is not None else self.stored

    @property
    def is_max(self) -> bool:
        """True for a MaxPool."""
        return isinstance(self.finish, MaxPool)


def tasks_of(network: Network) -> list[Task]:
    """Return the tasks of a network, in an order in which they can run."""
    found: list[Task] = []
    outputs = {network.output.name, network.scores.name}
    for layer in network.layers:
        tensor = network.tensors[layer.name]
        match layer:
            case Requantise() | Activation():
                terms, bias = expand(network, layer.source, 0)
                source = network.tensors[layer.source]
                found.append(Task(layer.source, terms, bias, source, finish=layer))
            case MaxPool():
                term = Term(layer, layer.source, None, layer.kernel, layer.stride, layer.padding)
                zero = np.zeros(tensor.channels, np.int64)
                found.append(Task(layer.source, (term,), zero, tensor, finish=layer))
            case ArgMax():
                terms, bias = expand(network, layer.source, 0)
                source = network.tensors[layer.source]
                found.append(Task(layer.source, terms, bias, source, argmax=layer,
                                  keep=not source.is_codes))
            case Conv2d() | Dense() | AvgPool() | Add():
                readers = [network.by_name[name] for name in network.readers[layer.name]]
                argmax = any(isinstance(reader, ArgMax) for reader in readers)
                if layer.name in outputs and not argmax:
                    terms, bias = expand(network, layer.name, 0)
                    found.append(Task(layer.name, terms, bias, tensor, keep=True))
    return found


def expand(network: Network, name: str, up: int) -> tuple[tuple[Term, ...], Int64Array]:
    """Return the terms and the bias of a layer's integers, shifted left by ``up``."""
    layer, tensor = network.by_name[name], network.tensors[name]
    zero = np.zeros(tensor.channels, np.int64)
    match layer:
        case Conv2d():
            term = Term(layer, layer.source, layer.weight << up, layer.weight.shape[2:],
                        layer.stride, layer.padding, layer.dilation, layer.groups)
            return (term,), layer.bias << up
        case Dense():
            term = Term(layer, layer.source, layer.weight[:, :, None, None] << up)
            return (term,), layer.bias << up
        case AvgPool():
            term = Term(layer, layer.source, None, layer.kernel, layer.stride, layer.padding,
                        factor=1 << up)
            return (term,), zero
        case Add():
            terms: list[Term] = []
            for source, shift in zip(layer.sources, layer.shifts, strict=True):
                more, bias = expand(network, source, up + shift)
                terms += more
                zero = zero + bias
            return tuple(terms), zero
    return (Term(layer, name, None, factor=1 << up),), zero


def reads_input(task: Task, network: Network) -> bool:
    """Tell whether a task reads the network's Input."""
    return any(isinstance(network.by_name[term.source], Input) for term in task.terms)
