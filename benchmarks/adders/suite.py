"""The seeded matrices: five families in many shapes, and kernels of trained networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SQUARE = (4, 8, 16, 32, 64)
# (rows, columns) -> (kh, kw, cin) of the convolution that such a matrix belongs to.
KERNELS = {
    (9, 8): (3, 3, 1), (25, 6): (5, 5, 1), (27, 16): (3, 3, 3), (72, 16): (3, 3, 8),
    (150, 16): (5, 5, 6), (144, 32): (3, 3, 16),
}
LARGE = {(64, 64), (150, 16), (144, 32)}
BITS = (4, 6, 8)


@dataclass(frozen=True)
class Matrix:
    """Parameters: name; values, (inputs, outputs) int64; kernel, (kh, kw, cin) or None; large."""

    name: str
    values: Any
    kernel: tuple[int, int, int] | None
    large: bool


def uniform(rng: np.random.Generator, shape: tuple[int, int], bits: int) -> Any:
    """All codes of so many bits, equally often."""
    return rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def laplace(rng: np.random.Generator, shape: tuple[int, int], bits: int) -> Any:
    """The heavy tail of trained weights, the largest one at the end of the range."""
    weights = rng.laplace(size=shape)
    return np.rint(weights / np.abs(weights).max() * ((1 << bits - 1) - 1))


def sparse(rng: np.random.Generator, shape: tuple[int, int], bits: int) -> Any:
    """One in four is not zero."""
    return np.where(rng.random(shape) < 0.25, uniform(rng, shape, bits), 0)


def ternary(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """-1, 0, 1, equally often."""
    return rng.integers(-1, 2, shape)


def dyadic(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Zero or one signed power of two up to 8."""
    return rng.choice([-8, -4, -2, -1, 0, 1, 2, 4, 8], shape)


FAMILIES: dict[str, Any] = {"uniform": uniform, "laplace": laplace, "sparse": sparse}
PLAIN: dict[str, Any] = {"ternary": ternary, "dyadic": dyadic}


def matrices(seed: int) -> Iterator[Matrix]:
    """Yield every matrix of the suite that needs no data."""
    for shape in [(n, n) for n in SQUARE] + list(KERNELS):
        kernel, large = KERNELS.get(shape), shape in LARGE
        size = f"{shape[0]}x{shape[1]}"
        for family, draw in FAMILIES.items():
            for bits in BITS:
                name = f"{size} {family} {bits}"
                yield Matrix(name, _drawn(draw, name, seed, shape, bits), kernel, large)
        for family, draw in PLAIN.items():
            name = f"{size} {family}"
            yield Matrix(name, _drawn(draw, name, seed, shape), kernel, large)


def _drawn(draw: Any, name: str, seed: int, *arguments: Any) -> Any:
    rng = np.random.default_rng([seed, *name.encode()])
    return np.asarray(draw(rng, *arguments), dtype=np.int64)


def trained(folder: Path) -> Iterator[Matrix]:
    """Yield 6-bit kernels of the networks whose weights are in a folder; those missing are not."""
    for file, keys, limit in (("lenet5_caffe_mnist.npz", ("conv1", "conv2"), 16),
                              ("resnet20_cifar10.npz", ("conv1", "layer1.0.conv1"), 16),
                              ("alexnet_conv12_int8.npz", ("conv1",), 16)):
        path = folder / file
        if not path.is_file():
            continue
        with np.load(path, allow_pickle=False) as arrays:
            for key in keys:
                found = [name for name in arrays.files
                         if name.startswith(key) and arrays[name].ndim == 4]
                if found:
                    yield _kernel(f"{path.stem.split('_')[0]} {key}", arrays[found[0]], limit)


def _kernel(name: str, weights: Any, limit: int) -> Matrix:
    weights = np.asarray(weights, dtype=np.float64)[:limit, :6]
    codes = np.rint(weights / np.abs(weights).max() * 31).astype(np.int64)
    co, ci, kh, kw = codes.shape
    return Matrix(name, codes.transpose(2, 3, 1, 0).reshape(-1, co), (kh, kw, ci), False)


def published(size: int, count: int, seed: int) -> Iterator[Matrix]:
    """Yield random size x size matrices with entries 129..255, as in da4ml's comparison."""
    for n in range(count):
        name = f"{size}x{size} 129..255 no. {n}"
        rng = np.random.default_rng([seed, size, n])
        yield Matrix(name, rng.integers(129, 256, (size, size)), None, False)
