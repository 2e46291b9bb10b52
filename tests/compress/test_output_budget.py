"""Weights under a budget for the error at the output: never worse, no single move helps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.compress.methods.adder_budget import Options, spread
from hwgen.compress.methods.dyadic import SETS, Levels, Scale
from hwgen.compress.methods.output_budget import refine_budget
from hwgen.compress.methods.output_error import RefineOptions, output_error
from hwgen.cost import digit_count
from hwgen.errors import HwgenError

Q8 = Levels(SETS["Q8"])


def correlated(random, groups, size):
    mixes = random.normal(size=(groups, size, size)) * np.exp(
        random.uniform(-2, 1, (groups, 1, size))
    )
    return mixes @ mixes.transpose(0, 2, 1)


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("budget", [10, 40, 80])
def test_never_worse_and_within_the_budget(scale, budget):
    random = np.random.default_rng(0)
    weights = random.laplace(size=(4, 2, 2, 3))
    spread_of = correlated(random, 2, 12)
    start = spread([weights], budget, Options(Q8, scale, 2))[0]
    better = refine_budget(weights, start, Q8, spread_of, options=RefineOptions(ridge=0))
    before, after = (output_error(weights, r, spread_of).sum() for r in (start, better))
    assert after <= before * (1 + 1e-9)
    assert after < 0.9 * before
    assert digit_count(better.codes).sum() <= digit_count(start.codes).sum() <= budget
    assert set(np.abs(better.codes).ravel().tolist()) <= set(Q8.integers.tolist())
    assert better.error.sum() == pytest.approx(((weights - better.values()) ** 2).sum())
    np.testing.assert_array_equal(better.scale, start.scale)


def test_no_single_free_move_helps():
    """No other level of the same digits or fewer, for any one weight, has a smaller error."""
    random = np.random.default_rng(1)
    weights, spread_of = random.normal(size=(2, 5)), correlated(random, 1, 5)
    start = spread([weights], 9, Options(Q8))[0]
    found = refine_budget(
        weights, start, Q8, spread_of, options=RefineOptions(passes=50, ridge=0)
    )
    least = output_error(weights, found, spread_of)
    for row, column, code in itertools.product(range(2), range(5), range(-8, 9)):
        if digit_count(np.array(code)) > digit_count(found.codes[row, column]):
            continue
        wrong = weights - found.values()
        wrong[row, column] = weights[row, column] - code / 8 * found.scale[row]
        assert wrong[row] @ spread_of[0] @ wrong[row] >= least[row] - 1e-9


def test_a_larger_budget_lets_more_digits_in():
    random = np.random.default_rng(2)
    weights, spread_of = random.laplace(size=(3, 8)), correlated(random, 1, 8)
    start = spread([weights], 12, Options(Q8))[0]
    same, more = (refine_budget(weights, start, Q8, spread_of, digits=d) for d in (12, 24))
    assert 12 < digit_count(more.codes).sum() <= 24
    assert output_error(weights, more, spread_of).sum() < output_error(
        weights, same, spread_of
    ).sum()


def test_wrong_arguments():
    weights = np.random.default_rng(3).normal(size=(2, 4))
    start = spread([weights], 6, Options(Q8))[0]
    with pytest.raises(HwgenError, match="A covariance of 4 inputs for 2 outputs needed, not of 3"):
        refine_budget(weights, start, Q8, np.eye(3)[None])
    with pytest.raises(HwgenError, match="A start of at most 2 digits needed, not 6"):
        refine_budget(weights, start, Q8, np.eye(4)[None], digits=2)
