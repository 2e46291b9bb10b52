"""What several tests of adder graphs use; nothing here calls the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

FAMILIES = {
    "uniform": lambda rng: rng.integers(-128, 128, (8, 8)),
    "one row": lambda rng: rng.integers(-9, 10, (1, 7)),
    "one column": lambda rng: rng.integers(-9, 10, (12, 1)),
    "one entry": lambda rng: np.array([[rng.integers(-300, 300)]]),
    "all zero": lambda rng: np.zeros((3, 4), dtype=int),
    "zero column and row": lambda rng: np.pad(rng.integers(-7, 8, (4, 4)), 1),
    "identity": lambda rng: np.eye(4, dtype=int),
    "permuted signs": lambda rng: -np.eye(5, dtype=int)[rng.permutation(5)],
    "negative only": lambda rng: rng.integers(-99, 0, (6, 5)),
    "most negative": lambda rng: np.full((4, 3), -128),
    "16 bit": lambda rng: rng.integers(-(1 << 15), 1 << 15, (9, 6)),
    "31 bit": lambda rng: rng.integers(-(1 << 31) + 1, 1 << 31, (3, 3)),
    "ternary": lambda rng: rng.integers(-1, 2, (25, 6)),
    "dyadic": lambda rng: rng.choice([-4, -2, -1, 0, 1, 2, 4], (25, 6)),
    "equal columns": lambda rng: np.repeat(rng.integers(-20, 20, (6, 2)), 3, axis=1),
    "shifted columns": lambda rng: rng.integers(-20, 20, (6, 1)) * np.array([[1, -2, 4, -1, 8]]),
    "trained": lambda rng: np.round(rng.laplace(size=(27, 8)) * 3).astype(int),
    "sparse": lambda rng: np.where(rng.random((60, 12)) < 0.1, rng.integers(-31, 32, (60, 12)), 0),
}


def family(name: str, seed: int = 0) -> Any:
    return np.asarray(FAMILIES[name](np.random.default_rng([seed, len(name)])), dtype=np.int64)


def evaluate(graph: Any, x: Sequence[int]) -> list[int]:
    """The outputs for one input vector, node by node, in Python integers."""
    values = list(x)
    for node in graph.nodes:
        a, b = values[node.a] * 2 ** node.a_shift, values[node.b] * 2 ** node.b_shift
        values.append((-a if node.a_negative else a) + (-b if node.b_negative else b))
    ends = []
    for o in graph.outputs:
        value = 0 if o.signal is None else values[o.signal] * 2 ** max(o.shift, 0)
        assert value % 2 ** max(-o.shift, 0) == 0
        ends.append((-1 if o.negative else 1) * (value // 2 ** max(-o.shift, 0)))
    return ends


def product(x: Sequence[int], matrix: Any) -> list[int]:
    """x @ matrix in Python integers."""
    return [sum(a * w for a, w in zip(x, column, strict=True)) for column in matrix.T.tolist()]


def vectors(rng: np.random.Generator, matrix: Any, lo: int, hi: int, count: int) -> list[list[int]]:
    """Random inputs, and the ones that drive each output to its two ends."""
    inputs = matrix.shape[0]
    found = rng.integers(lo, hi, size=(count, inputs), endpoint=True).tolist()
    found += [[lo] * inputs, [hi] * inputs, [0 if lo <= 0 <= hi else lo] * inputs]
    for column in matrix.T.tolist():
        found.append([hi if w > 0 else lo for w in column])
        found.append([lo if w > 0 else hi for w in column])
    return found
