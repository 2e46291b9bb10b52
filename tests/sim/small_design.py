"""A small generated design to prove and to spoil."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwgen import netfile
from hwgen.network import ArgMax, AvgPool, Conv2d, Dense, Flatten, Input, Network, Requantise
from hwgen.stream.emit import write_design
from hwgen.stream.plan import Options


def dyadic(rng: np.random.Generator, shape: tuple[int, ...], digits: int = 1) -> np.ndarray:
    terms = (1 << rng.integers(0, 7, (digits, *shape))) * rng.integers(-1, 2, (digits, *shape))
    return terms.sum(axis=0)


def small_network() -> Network:
    """Conv2d, AvgPool, and two Dense layers, the first behind a Flatten of more than one pixel."""
    rng = np.random.default_rng(1)

    def codes(name: str, source: str, channels: int, lo: int = 0) -> Requantise:
        return Requantise(name, source, multiplier=np.ones(channels, int),
                          offset=np.zeros(channels, int), shift=np.full(channels, 4), lo=lo,
                          hi=lo + 15, frac=0)

    def sums(kind: type, name: str, source: str, *shape: int) -> Conv2d | Dense:
        return kind(name, source, dyadic(rng, shape, 2), rng.integers(-40, 40, shape[0]),
                    np.zeros(shape[0], int))

    return Network((
        Input("x", 1, 6, 6, 0, 255, 8), sums(Conv2d, "conv1", "x", 3, 1, 3, 3),
        codes("relu1", "conv1", 3, -8), AvgPool("pool1", "relu1", (2, 2), (2, 2)),
        codes("codes1", "pool1", 3, -8), Flatten("flat", "codes1"),
        sums(Dense, "dense1", "flat", 7, 12), codes("relu2", "dense1", 7),
        sums(Dense, "dense2", "relu2", 4, 7), ArgMax("class", "dense2")))


def write_small(folder: Path, dense: str) -> None:
    netfile.save(small_network(), folder / "source.npz")
    write_design(folder / "source.npz", folder, options=Options(dense=dense))
