"""What pre-defined sparsity saves, from shapes alone: weights, MACs, index storage, cycles.

Ref: S. Kundu et al., "Pre-defined sparsity for low-complexity convolutional neural networks", IEEE
Trans. Computers 69(7), 2020; a MAC is counted once, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.compress.methods.checks import BoolArray
from hwgen.compress.methods.periodic import (
    Kind,
    Options,
    Supports,
    blocks,
    running_index,
    stays_dense,
)
from hwgen.compress.shapes import LayerShape
from hwgen.errors import HwgenError


def dense_kernels(layer: LayerShape, options: Options) -> int:
    """Return how many kernels of a sparse layer are dense."""
    if options.variant.kind is not Kind.DENSE_ONE:
        return 0
    index = running_index(layer.co, layer.ci, options)
    return int(np.count_nonzero(index % options.variant.period == 0))


def nonzeros(layer: LayerShape, options: Options, *, first: bool = False) -> int:
    """Return the weights that a layer keeps, exactly, for its number of channels."""
    if stays_dense(first=first, kh=layer.kh, kw=layer.kw):
        return layer.weights
    variant, size = options.variant, layer.kh * layer.kw
    if variant.taps > size:
        raise HwgenError(f"{variant.name}: kernels of {variant.taps} taps needed, not {size}")
    dense = dense_kernels(layer, options)
    return dense * size + (layer.kernels - dense) * variant.taps


@dataclass(frozen=True)
class Savings:
    """Weights and MACs of a network, dense and sparse; the first layer, 1 x 1 kernels and dense
    layers stay as they are.
    """

    dense_weights: int
    weights: int
    dense_macs: int
    macs: int

    @property
    def saved(self) -> float:
        """Part of the weights that is saved."""
        return 1 - self.weights / self.dense_weights

    @property
    def ratio(self) -> float:
        """Dense MACs over sparse ones."""
        return self.dense_macs / self.macs


def savings(layers: Sequence[LayerShape], options: Options) -> Savings:
    """Return what a network saves; the first of its layers stays dense."""
    kept = [nonzeros(layer, options, first=not n) for n, layer in enumerate(layers)]
    return Savings(
        sum(layer.weights for layer in layers),
        sum(kept),
        sum(layer.macs for layer in layers),
        sum(count * layer.pixels for count, layer in zip(kept, layers, strict=True)),
    )


@dataclass(frozen=True)
class Storage:
    """Bits of a layer's weights, and of four ways to say where they belong.

    Parameters
    ----------
    weights : int
        Bits of the weights themselves.
    periodic : int or None
        The table of supports alone; None for pSC.
    support : int
        The number of each kernel's support among all of that many taps; a bit more where dense
        kernels are mixed in.
    bitmap : int
        A bit a place.
    rows : int
        The tap of each weight (compressed sparse rows, without their pointers).
    """

    weights: int
    periodic: int | None
    support: int
    bitmap: int
    rows: int


def storage(layer: LayerShape, options: Options, *, weight_bits: int = 16) -> Storage:
    """Return the storage of one sparse layer."""
    variant, size = options.variant, layer.kh * layer.kw
    kept = nonzeros(layer, options)
    mixed = variant.kind is Kind.DENSE_ONE
    dense = dense_kernels(layer, options)
    table: int | None = variant.period * size
    if variant.kind is Kind.RANDOM:
        table = None
    elif options.supports is Supports.ROTATED:
        table = (len(blocks(variant.taps, layer.kh, layer.kw)) + mixed) * size
    each = (math.comb(size, variant.taps) - 1).bit_length()
    return Storage(
        weights=kept * weight_bits,
        periodic=table,
        support=(layer.kernels - dense) * each + layer.kernels * mixed,
        bitmap=layer.kernels * size,
        rows=kept * (size - 1).bit_length(),
    )


def tile_taps(chosen: BoolArray, *, tile: int = 16) -> int:
    """Return the cycles an output pixel of a tiled array that walks the taps in time.

    A tile of ``tile`` filters and ``tile`` channels takes a cycle for each tap that any of its
    kernels uses.
    """
    co, ci = chosen.shape[:2]
    rows = np.logical_or.reduceat(chosen, np.arange(0, co, tile), axis=0)
    return int(np.logical_or.reduceat(rows, np.arange(0, ci, tile), axis=1).sum())
