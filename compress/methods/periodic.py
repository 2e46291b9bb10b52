"""Pre-defined periodic sparsity: a kernel's place in the layer fixes the taps that it may use.

Ref: S. Kundu, M. Nazemi, M. Pedram, K. M. Chugg, P. A. Beerel, "Pre-defined sparsity for
low-complexity convolutional neural networks", IEEE Trans. Computers 69(7), 2020: the variants pSCn
(n taps a kernel), PSn_Pm (m supports in turn along the channels) and PSDn_Pm (the same, one kernel
in m dense). Filter i and input channel j, from 0, have the phase q = (i + j + 1) mod m; phase 0 is
the dense one, the others take the supports in turn::

    PS4_P4, filter 0     channel   0      1      2      3      4
                                  x x .  . x x  . . .  . . .  x x .
                                  x x .  . x x  x x .  . x x  x x .
                                  . . .  . . .  x x .  . x x  . . .
    filter 1 starts one support later, so a channel meets every support in m filters.

Supports are 2 x 2 blocks (n = 4), horizontal pairs (2) or single taps (1), in raster order of their
place. Choosing supports by the energy that they keep, in place of this order, is separable: a phase
keeps its n taps with the largest sum of squares, which is the exact optimum for given phases.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from hwgen.compress.methods.checks import BoolArray, FloatArray, finite, frozen, unit
from hwgen.errors import HwgenError
from hwgen.layers import Int64Array, int64

BLOCKS = {1: (1, 1), 2: (1, 2), 4: (2, 2)}  # taps of a support: its height and width
LARGEST_PERIOD = 256


class Kind(Enum):
    """Which kernels have which supports."""

    RANDOM = "pSC"  # every kernel its own, drawn once
    PERIODIC = "PS"  # supports in turn
    DENSE_ONE = "PSD"  # supports in turn, one kernel a period dense


class Phase(Enum):
    """What a kernel's phase depends on."""

    CHANNEL = "channel"  # (i + j + 1) mod P: the paper's
    TILE = "tile"  # of the tile of filters and channels: all kernels of a tile share a support


class Supports(Enum):
    """Where the supports come from."""

    RULE = "rule"  # raster order, starting again with each period
    ROTATED = "rotated"  # raster order, going on where the last period ended: no tap is left out
    ENERGY = "energy"  # the taps of largest energy in each phase, and the dense phase likewise


@dataclass(frozen=True)
class Variant:
    """A variant by the paper's name.

    Parameters: kind; taps of a kernel that is not dense; period m, 1 for pSC.
    Raises: HwgenError if taps or period are outside what the kind takes.
    """

    kind: Kind
    taps: int
    period: int = 1

    def __post_init__(self) -> None:
        least = {Kind.RANDOM: 1, Kind.PERIODIC: 1, Kind.DENSE_ONE: 2}[self.kind]
        most = 1 if self.kind is Kind.RANDOM else LARGEST_PERIOD
        if not least <= self.period <= most:
            raise HwgenError(
                f"{self.kind.value}: a period from {least} to {most} needed, not {self.period}"
            )
        if self.taps < 1:
            raise HwgenError(f"{self.kind.value}: at least one tap needed, not {self.taps}")

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Return ``pSC4``, ``PS4_P4``, ``PSD1_P16`` and their like.

        Raises: HwgenError if it is none.
        """
        if match := re.fullmatch(r"[pP]SC(\d{1,4})", text):
            return cls(Kind.RANDOM, int(match[1]))
        if match := re.fullmatch(r"(PSD?)(\d{1,4})_P(\d{1,4})", text):
            return cls(Kind(match[1]), int(match[2]), int(match[3]))
        raise HwgenError(f"Sparsity must be like pSC4, PS4_P4 or PSD1_P16, not {text!r}")

    @property
    def name(self) -> str:
        """The paper's name."""
        base = f"{self.kind.value}{self.taps}"
        return base if self.kind is Kind.RANDOM else f"{base}_P{self.period}"

    def mean_taps(self, size: int = 9) -> float:
        """Return the mean taps of a kernel of ``size``, over whole periods."""
        if self.kind is Kind.DENSE_ONE:
            return ((self.period - 1) * self.taps + size) / self.period
        return float(self.taps)


@dataclass(frozen=True)
class Options:
    """Which weights may stay.

    Parameters
    ----------
    variant : Variant
    phase : Phase
    supports : Supports
    tile : int
        Filters and input channels of a tile, for ``Phase.TILE``.

    Raises: HwgenError if supports or phases are asked of pSC, which has none.
    """

    variant: Variant
    phase: Phase = Phase.CHANNEL
    supports: Supports = Supports.RULE
    tile: int = 16

    def __post_init__(self) -> None:
        if self.tile < 1:
            raise HwgenError(f"A tile of at least one filter needed, not {self.tile}")
        plain = self.phase is Phase.CHANNEL and self.supports is Supports.RULE
        if self.variant.kind is Kind.RANDOM and not plain:
            raise HwgenError(
                f"{self.variant.name} has a support of its own in each kernel, so neither phases "
                "nor an order of supports"
            )


@dataclass(frozen=True, eq=False)
class Result:
    """Masked weights: ``mask == patterns[phases]``.

    Parameters
    ----------
    weights : float64 array, (co, ci, kh, kw)
    mask : bool array, (co, ci, kh, kw)
    phases : int64 array, (co, ci)
        Row of ``patterns`` of each kernel.
    patterns : bool array, (P, kh, kw)
    kept : float
        Part of the energy, the sum of squares, that stays; 1 where all weights are zero.
    """

    weights: FloatArray
    mask: BoolArray
    phases: Int64Array
    patterns: BoolArray
    kept: float

    @property
    def nonzeros(self) -> int:
        """Places of weights that may stay."""
        return int(np.count_nonzero(self.mask))


def stays_dense(*, first: bool, kh: int, kw: int) -> bool:
    """Return whether the paper leaves a layer dense: the first convolution, and all 1 x 1 ones."""
    return first or kh * kw == 1


def running_index(co: int, ci: int, options: Options) -> Int64Array:
    """Return the number, (co, ci), whose remainder by the period is a kernel's phase.

    i + j + 1, or that of the tile pair: I * ceil(ci / tile) + J.
    """
    i, j = np.arange(co)[:, None], np.arange(ci)[None, :]
    if options.phase is Phase.CHANNEL:
        return int64(i + j + 1)
    return int64(i // options.tile * -(-ci // options.tile) + j // options.tile)


def blocks(taps: int, kh: int, kw: int) -> BoolArray:
    """Return all places of a block of 1, 2 or 4 taps, (count, kh, kw), in raster order.

    Raises: HwgenError if the block is of another size or does not fit.
    """
    height, width = BLOCKS.get(taps, (kh + 1, kw + 1))
    if height > kh or width > kw:
        raise HwgenError(
            f"Supports in a fixed order have 1, 2 or 4 taps inside the kernel, not {taps} in "
            f"{kh} x {kw}"
        )
    places = [(y, x) for y in range(kh - height + 1) for x in range(kw - width + 1)]
    found = np.zeros((len(places), kh, kw), bool)
    for row, (y, x) in enumerate(places):
        found[row, y : y + height, x : x + width] = True
    return found


def pattern_table(kh: int, kw: int, options: Options) -> BoolArray:
    """Return the supports by phase, (P, kh, kw), of the fixed orders.

    With ``Supports.ROTATED`` P is the longer period after which both counters meet again.

    Raises: HwgenError for pSC and for supports by energy, which depend on more than the shape.
    """
    variant = options.variant
    if variant.kind is Kind.RANDOM or options.supports is Supports.ENERGY:
        raise HwgenError(f"{variant.name}: supports in a fixed order needed for a table of them")
    places = blocks(variant.taps, kh, kw)
    period, count = variant.period, len(places)
    sparse = period - 1 if variant.kind is Kind.DENSE_ONE else period
    rows = period
    if options.supports is Supports.ROTATED:
        rows = period * (count // math.gcd(sparse, count))
    turn, phase = np.divmod(np.arange(rows), period)
    if options.supports is Supports.ROTATED:
        step = turn * sparse + phase - 1
    else:
        step = (phase - 1) % period
    table: BoolArray = places[step % count]
    if variant.kind is Kind.DENSE_ONE:
        table[phase == 0] = True
    return table


def mask(
    shape: Sequence[int], options: Options, random: np.random.Generator | None = None
) -> BoolArray:
    """Return the mask of a layer of this shape, (co, ci, kh, kw), for training from scratch.

    Raises: HwgenError for supports by energy, and for pSC without a generator.
    """
    co, ci, kh, kw = _four(shape)
    phases, table = _supports(co, ci, kh, kw, options, random)
    chosen: BoolArray = table[phases]
    return chosen


def approximate(
    weights: npt.ArrayLike, options: Options, random: np.random.Generator | None = None
) -> Result:
    """Set the weights, (co, ci, kh, kw), outside each kernel's support to zero.

    Parameters
    ----------
    weights : array
        Of one convolution, (co, ci / groups, kh, kw).
    options : Options
    random : numpy Generator, optional
        Draws the supports of pSC.

    Raises: HwgenError if weights are not finite or not of four dimensions, if the kernel is too
    small for the supports, and for pSC without a generator.
    """
    array = finite(weights, dimensions=(4,), what="Weights")
    co, ci, kh, kw = array.shape
    squares = unit(array)[0] ** 2
    if options.supports is Supports.ENERGY:
        phases = int64(running_index(co, ci, options) % options.variant.period)
        table = best_supports(squares, phases, options.variant)
    else:
        phases, table = _supports(co, ci, kh, kw, options, random)
    chosen = table[phases]
    total = float(squares.sum())
    kept = float(np.where(chosen, squares, 0.0).sum()) / total if total else 1.0
    for part in (chosen, table):
        part.setflags(write=False)
    return Result(frozen(np.where(chosen, array, 0.0)), chosen, phases, table, kept)


def best_supports(squares: FloatArray, phases: Int64Array, variant: Variant) -> BoolArray:
    """Return the supports by phase, (P, kh, kw), that keep the most energy.

    Each phase keeps its taps with the largest sums; the first of equal ones. The dense phase is the
    one that would lose most, among those with as many kernels as phase 0, so that the number of
    weights is that of the fixed order.

    Raises: HwgenError if a kernel has fewer taps than are to be kept.
    """
    kh, kw = squares.shape[2:]
    if variant.taps > kh * kw:
        raise HwgenError(f"{variant.name}: kernels of {variant.taps} taps needed, not {kh} x {kw}")
    sums = np.zeros((variant.period, kh * kw))
    np.add.at(sums, phases.ravel(), squares.reshape(-1, kh * kw))
    order = np.argsort(-sums, axis=1, kind="stable")
    table = np.zeros(sums.shape, bool)
    np.put_along_axis(table, order[:, : variant.taps], True, axis=1)
    if variant.kind is Kind.DENSE_ONE:
        lost = np.where(table, 0.0, sums).sum(1)
        counts = np.bincount(phases.ravel(), minlength=variant.period)
        table[int(np.argmax(np.where(counts == counts[0], lost, -1.0)))] = True
    return table.reshape(-1, kh, kw)


def _four(shape: Sequence[int]) -> tuple[int, int, int, int]:
    if len(shape) != 4 or min(shape) < 1:
        raise HwgenError(f"A shape (co, ci, kh, kw) needed, not {tuple(shape)}")
    co, ci, kh, kw = shape
    return co, ci, kh, kw


def _supports(
    co: int, ci: int, kh: int, kw: int, options: Options, random: np.random.Generator | None
) -> tuple[Int64Array, BoolArray]:
    variant = options.variant
    if variant.kind is not Kind.RANDOM:
        table = pattern_table(kh, kw, options)
        return int64(running_index(co, ci, options) % len(table)), table
    if random is None:
        raise HwgenError(f"{variant.name}: a random generator needed to draw the supports")
    if variant.taps > kh * kw:
        raise HwgenError(f"{variant.name}: kernels of {variant.taps} taps needed, not {kh} x {kw}")
    order = np.argsort(random.random((co * ci, kh * kw)), axis=1)
    table = np.zeros((co * ci, kh * kw), bool)
    np.put_along_axis(table, order[:, : variant.taps], True, axis=1)
    return int64(np.arange(co * ci).reshape(co, ci)), table.reshape(-1, kh, kw)
