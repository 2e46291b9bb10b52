"""The data-aware norm: never worse, a true local optimum, the optimum on small cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from hwgen.compress.calibrate import covariances
from hwgen.compress.importers import graph as g
from hwgen.compress.methods.dyadic import Levels, Options, Result, Scale, approximate
from hwgen.compress.methods.output_error import RefineOptions, output_error, refine
from hwgen.errors import HwgenError


def correlated(random, groups, size):
    mixes = random.normal(size=(groups, size, size)) * np.exp(
        random.uniform(-2, 1, (groups, 1, size))
    )
    return mixes @ mixes.transpose(0, 2, 1)


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("name", ["T3", "P7", "Q8"])
def test_never_worse_at_the_output(name, scale):
    random = np.random.default_rng(0)
    levels = Levels.parse(name)
    weights = random.laplace(size=(12, 3, 3, 3))
    spread = correlated(random, 1, 27)
    start = approximate(weights, Options(levels, scale, 2))
    better = refine(weights, start, levels, spread, RefineOptions(ridge=0))
    before, after = (output_error(weights, result, spread) for result in (start, better))
    assert np.all(after <= before * (1 + 1e-9))
    assert after.sum() < 0.9 * before.sum()
    assert set(np.abs(better.codes).ravel().tolist()) <= set(levels.integers.tolist())
    assert better.error.sum() == pytest.approx(((weights - better.values()) ** 2).sum())
    assert better.relative_error >= start.relative_error - 1e-12  # the start is nearest by itself


def test_no_single_move_helps():
    random = np.random.default_rng(1)
    levels = Levels.parse("P5")
    weights = random.normal(size=(3, 8))
    spread = correlated(random, 1, 8)
    result = refine(
        weights,
        approximate(weights, Options(levels)),
        levels,
        spread,
        RefineOptions(passes=100, ridge=0),
    )
    least = output_error(weights, result, spread)
    for row, column, level in itertools.product(range(3), range(8), levels.integers.tolist()):
        for sign in (1, -1):
            wrong = weights - result.values()
            wrong[row, column] = (
                weights[row, column] - sign * level * 2.0**-levels.bits * result.scale[row]
            )
            assert wrong[row] @ spread[0] @ wrong[row] >= least[row] - 1e-9


def test_independent_inputs_change_nothing():
    weights = np.random.default_rng(2).laplace(size=(6, 10))
    levels = Levels.parse("P7")
    start = approximate(weights, Options(levels))
    np.testing.assert_array_equal(
        refine(weights, start, levels, np.eye(10)[None]).codes, start.codes
    )


def test_groups_use_their_own_inputs():
    random = np.random.default_rng(3)
    levels = Levels.parse("P7")
    weights = random.laplace(size=(4, 1, 3, 3))
    spread = correlated(random, 2, 9)
    start = approximate(weights, Options(levels))
    together = refine(weights, start, levels, spread)
    alone = refine(weights[2:], approximate(weights[2:], Options(levels)), levels, spread[1:])
    np.testing.assert_array_equal(together.codes[2:], alone.codes)


def test_a_covariance_that_does_not_fit():
    weights = np.ones((4, 9))
    with pytest.raises(
        HwgenError, match="A covariance of 9 inputs for 4 outputs needed, not of 8 in 1 groups"
    ):
        refine(
            weights,
            approximate(weights, Options(Levels.parse("T3"))),
            Levels.parse("T3"),
            np.eye(8)[None],
        )


@pytest.mark.parametrize("groups", [1, 2])
def test_covariances_equal_those_of_all_windows(groups):
    random = np.random.default_rng(4)
    x = random.normal(size=(70, 4, 6, 5))
    node = g.Conv(
        "conv",
        ("input",),
        random.normal(size=(4, 4 // groups, 3, 2)),
        np.zeros(4),
        (2, 1),
        (1, 0, 0, 1),
        (1, 2),
        groups,
    )
    graph = g.Graph((g.Source("input", (), 4, 6, 5), node))
    found = covariances(graph, torch.tensor(x))["conv"]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 1)))
    _, rows, columns = graph.shapes["conv"]
    for group in range(groups):
        channels = slice(group * 4 // groups, (group + 1) * 4 // groups)
        windows = [
            padded[:, channels, 2 * r : 2 * r + 3, c : c + 3 : 2].reshape(70, -1)
            for r in range(rows)
            for c in range(columns)
        ]
        wanted = np.cov(np.concatenate(windows).T, bias=True)
        np.testing.assert_allclose(found[group], wanted, atol=1e-9)


@pytest.mark.parametrize("scale", Scale)
def test_masked_places_stay(scale):
    """Codes outside the mask are the start's; inside, the loss falls as far as they can go."""
    random = np.random.default_rng(5)
    levels = Levels.parse("P7")
    mask = random.random((12, 3, 3, 3)) < 0.6
    weights = random.laplace(size=mask.shape)
    spread = correlated(random, 1, 27)
    start = approximate(np.where(mask, weights, 0.0), Options(levels, scale, 2))
    options = RefineOptions(passes=100, ridge=0)
    kept = refine(weights, start, levels, spread, options, mask=mask)
    free = refine(weights, start, levels, spread, options)
    assert not kept.codes[~mask].any()
    assert free.codes[~mask].any()
    losses = [output_error(weights, one, spread).sum() for one in (start, kept, free)]
    assert losses[2] < losses[1] < losses[0]
    # A local optimum: no single weight inside the mask has a better level.
    steps = np.concatenate([-levels.integers[1:], levels.integers])
    for o, place in itertools.product((0, 7), np.ndindex(3, 3, 3)):
        if not mask[(o, *place)]:
            continue
        for step in steps:
            codes = kept.codes.copy()
            codes[(o, *place)] = step
            trial = Result(codes, kept.bits, kept.scale, kept.error, kept.energy)
            assert output_error(weights, trial, spread)[o] >= (
                output_error(weights, kept, spread)[o] * (1 - 1e-9)
            )


def test_a_mask_of_everything_is_none():
    random = np.random.default_rng(6)
    weights, levels = random.laplace(size=(4, 2, 3, 3)), Levels.parse("P9")
    spread = correlated(random, 2, 18)
    start = approximate(weights, Options(levels))
    whole = refine(weights, start, levels, spread, mask=np.ones(weights.shape, bool))
    assert np.array_equal(whole.codes, refine(weights, start, levels, spread).codes)


def test_a_mask_of_another_shape():
    start = approximate(np.ones((2, 3)), Options(Levels.parse("T3")))
    with pytest.raises(HwgenError, match=r"A mask of \(2, 3\) needed, not of \(3, 2\)"):
        refine(np.ones((2, 3)), start, Levels.parse("T3"), np.eye(3)[None],
               mask=np.ones((3, 2), bool))  # fmt: skip
