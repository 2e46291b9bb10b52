"""Pieces against every way to cut a few points, for both errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.compress.methods.piecewise import Objective, dyadic_slopes, evaluate, fit
from hwgen.errors import HwgenError
from hwgen.layers import signed_digits


def every_cut(x, y, slopes, pieces, cost):
    """Least cost over all places to cut, all slopes; cost combines residuals of a piece."""
    best = np.inf
    for count in range(1, pieces + 1):
        for inner in itertools.combinations(range(1, len(x)), count - 1):
            ends = [0, *inner, len(x)]
            parts = [
                min(cost(y[a:b] - s * x[a:b], slice(a, b)) for s in slopes)
                for a, b in itertools.pairwise(ends)
            ]
            best = min(best, max(parts) if cost is largest else sum(parts))
    return best


def largest(left, _):
    return np.ptp(left) / 2


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_least_largest_error(pieces, seed):
    random = np.random.default_rng(seed)
    x = np.cumsum(random.uniform(0.5, 2, 11))
    y = np.cumsum(random.normal(size=11))
    slopes = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    found = fit(x, y, slopes, pieces)
    assert len(found) <= pieces
    error = np.abs(evaluate(found, x, slopes) - y).max()
    assert error == pytest.approx(every_cut(x, y, slopes, pieces, largest), abs=1e-9)


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
@pytest.mark.parametrize("even", [True, False])
def test_least_mean_square(pieces, even):
    random = np.random.default_rng(7)
    x = np.arange(10.0)
    y = np.cumsum(random.normal(size=10)) + 1000  # an offset takes no digits away
    slopes = np.array([-1.0, 0.0, 0.25, 1.0])
    density = np.ones(10) if even else random.uniform(0, 1, 10).round(1)
    found = fit(
        x, y, slopes, pieces, objective=Objective.SQUARE, density=None if even else density
    )
    assert len(found) <= pieces

    def square(left, part):
        weight = density[part]
        if not weight.any():
            return 0.0
        return (weight * (left - np.average(left, weights=weight)) ** 2).sum()

    error = (density * (evaluate(found, x, slopes) - y) ** 2).sum()
    assert error == pytest.approx(every_cut(x, y, slopes, pieces, square), abs=1e-9)


def test_more_pieces_are_never_worse():
    x = np.linspace(-4, 4, 300)
    slopes = dyadic_slopes(0, 1, bits=6, digits=1)
    for objective in Objective:
        errors = []
        for pieces in (2, 3, 5, 8, 16):
            found = fit(x, np.tanh(x), slopes, pieces, objective=objective)
            wrong = evaluate(found, x, slopes) - np.tanh(x)
            errors.append(
                np.abs(wrong).max() if objective is Objective.MINIMAX else (wrong**2).sum()
            )
        assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("digits", [1, 2])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.3, 2.7), (0.26, 0.3), (-5, -4.9), (0, 0), (0.001, 0.002)]
)
def test_slopes_cover_a_range(low, high, digits):
    slopes = dyadic_slopes(low, high, bits=4, digits=digits)
    whole = slopes * 16
    np.testing.assert_array_equal(whole, whole.round())
    assert max(signed_digits(int(value)) for value in whole) <= digits
    assert slopes.min() <= low
    assert slopes.max() >= high
    assert np.all(np.diff(slopes) > 0)
    wanted = [k / 16 for k in range(-256, 257) if signed_digits(k) <= digits]
    assert {s for s in wanted if low <= s <= high} <= set(slopes.tolist())


def test_wrong_arguments():
    x, slopes = np.arange(4.0), np.zeros(1)
    with pytest.raises(HwgenError, match="Rising points"):
        fit(x[::-1], x, slopes, 2)
    with pytest.raises(HwgenError, match="1 or more pieces and slopes needed, not 0 and 1"):
        fit(x, x, slopes, 0)
    with pytest.raises(HwgenError, match="Values must be finite"):
        fit(x, [0, 1, np.nan, 3], slopes, 2)
    with pytest.raises(HwgenError, match="goes with the mean square"):
        fit(x, x, slopes, 2, density=np.ones(4))
    for density in (np.ones(3), np.zeros(4), np.array([1.0, 1, 1, -1])):
        with pytest.raises(HwgenError, match="A density >= 0 of 4 points"):
            fit(x, x, slopes, 2, objective=Objective.SQUARE, density=density)
