"""The 0-1 programme against scipy's, enumeration, and the sweep."""

from __future__ import annotations

import itertools

import numpy as np
import pulp
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from hwgen.compress.methods import dyadic_ilp as ilp
from hwgen.compress.methods.dyadic import SETS, Levels, Options, Scale, approximate, sweep
from hwgen.cost import digit_count
from hwgen.errors import HwgenError

ENGINES = [ilp.Engine.CBC, *([ilp.Engine.HIGHS] if pulp.HiGHS(msg=False).available() else [])]


def by_scipy(weights, levels, scale, budget=None):
    """Least squared error of one group at a scale, by another solver."""
    steps = np.concatenate([-levels.integers[:0:-1], levels.integers])
    cost = (weights[:, None] - scale * steps * 2.0**-levels.bits) ** 2
    rows = [LinearConstraint(np.kron(np.eye(len(weights)), np.ones(len(steps))), 1, 1)]
    if budget is not None:
        used = np.tile(digit_count(steps), len(weights))
        rows.append(LinearConstraint(used[None], -np.inf, budget))
    found = milp(
        cost.ravel(), constraints=rows, integrality=np.ones(cost.size), bounds=Bounds(0, 1)
    )
    assert found.success
    return found.fun


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["T3", "P7", "Q8"])
def test_equals_scipy_at_given_scales(name, engine):
    random = np.random.default_rng(0)
    levels = Levels.parse(name)
    weights = random.laplace(size=(6, 9))
    scale = random.uniform(0.5, 3, 6)
    found = ilp.Programme(weights, levels, engine=engine).solve(scale)
    wanted = [by_scipy(row, levels, s) for row, s in zip(weights, scale, strict=True)]
    np.testing.assert_allclose(found.error, wanted, atol=1e-9)
    values = np.ldexp(found.codes * scale[:, None], -levels.bits)
    np.testing.assert_allclose(found.error, ((weights - values) ** 2).sum(1))
    assert set(np.abs(found.codes).ravel().tolist()) <= set(levels.integers.tolist())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SETS)
def test_all_intervals_of_scales_give_the_sweep(name, engine):
    """The programme at a scale of every interval is the global optimum, and so is the sweep."""
    levels = Levels.parse(name)
    weights = np.random.default_rng(1).laplace(size=(4, 3))
    found = ilp.search(
        ilp.Programme(weights, levels, engine=engine), ilp.breakpoints(weights, levels)
    )
    np.testing.assert_allclose(found.error, sweep(weights, levels)[2], atol=1e-9)


@pytest.mark.parametrize("budget", [0, 1, 3, 5, 40])
def test_a_budget_couples_groups(budget):
    """Two groups of two weights at their scales, all levels tried."""
    random = np.random.default_rng(2)
    levels = Levels.parse("Q4")
    weights, scale = random.normal(size=(2, 2)) * [[1], [5]], np.array([1.5, 6.0])
    found = ilp.Programme(weights, levels, budget=budget).solve(scale)
    assert digit_count(found.codes).sum() <= budget
    least = np.inf
    for choice in itertools.product(range(-4, 5), repeat=4):
        codes = np.array(choice).reshape(2, 2)
        if digit_count(codes).sum() <= budget:
            least = min(least, ((weights - codes / 4 * scale[:, None]) ** 2).sum())
    assert found.error.sum() == pytest.approx(least, abs=1e-9)


def test_a_layer_over_a_grid_is_near_the_optimum_and_never_better():
    weights = np.random.default_rng(3).laplace(size=(3, 2, 3, 3))
    levels = Levels.parse("P7")
    for scale in (Scale.KERNEL, Scale.FILTER):
        exact = approximate(weights, Options(levels, scale))
        found = ilp.approximate(weights, Options(levels, scale), points=24)
        assert np.all(found.error >= exact.error * (1 - 1e-9))
        assert found.error.sum() <= exact.error.sum() * 1.02
        assert found.error.sum() == pytest.approx(((weights - found.values()) ** 2).sum())
        np.testing.assert_allclose(found.energy, exact.energy)


def test_many_kernels_in_several_models(monkeypatch):
    weights = np.random.default_rng(4).laplace(size=(5, 1, 2, 2))
    options = Options(Levels.parse("P5"), Scale.KERNEL)
    together = ilp.approximate(weights, options, points=8)
    monkeypatch.setattr(ilp, "LARGEST_MODEL", 40)  # two kernels a model
    apart = ilp.approximate(weights, options, points=8)
    np.testing.assert_array_equal(together.codes, apart.codes)
    np.testing.assert_array_equal(together.scale, apart.scale)


@pytest.mark.parametrize("factor", [1e-120, 1e120])
def test_tiny_and_huge_weights(factor):
    weights = np.random.default_rng(5).laplace(size=(2, 1, 2, 2))
    options = Options(Levels.parse("P7"), Scale.KERNEL)
    plain, scaled = (ilp.approximate(w, options, points=8) for w in (weights, weights * factor))
    np.testing.assert_array_equal(plain.codes, scaled.codes)
    np.testing.assert_allclose(scaled.scale, plain.scale * factor, rtol=1e-9)


def test_zeros():
    found = ilp.approximate(
        np.zeros((2, 1, 2, 2)), Options(Levels.parse("T3"), Scale.KERNEL), points=3
    )
    np.testing.assert_array_equal(found.codes, 0)
    assert found.relative_error == 0
    assert np.all(found.scale > 0)


def test_highs_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(pulp.HiGHS, "available", lambda self: False)
    with pytest.raises(HwgenError, match="HiGHS needs the package highspy"):
        ilp.Programme(np.ones((1, 2)), Levels.parse("T3"), engine=ilp.Engine.HIGHS)
    found = ilp.Programme(np.ones((1, 2)), Levels.parse("T3")).solve(np.ones(1))
    np.testing.assert_array_equal(found.codes, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_programme_without_a_solution(engine, monkeypatch):
    monkeypatch.setattr(pulp.LpProblem, "solve", lambda self, solver: pulp.LpStatusNotSolved)
    with pytest.raises(HwgenError, match="ended Not Solved, an optimum is needed"):
        ilp.Programme(np.ones((1, 2)), Levels.parse("T3"), engine=engine).solve(np.ones(1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad):
    with pytest.raises(HwgenError, match="Weights must be finite"):
        ilp.Programme(np.array([[1.0, bad]]), Levels.parse("T3"))


def test_wrong_arguments():
    weights, levels = np.ones((2, 2)), Levels.parse("T3")
    with pytest.raises(HwgenError, match="budget of 0 digits or more needed, not -1"):
        ilp.Programme(weights, levels, budget=-1)
    with pytest.raises(HwgenError, match="2 positive scales needed"):
        ilp.Programme(weights, levels).solve(np.array([1.0, 0.0]))
    with pytest.raises(HwgenError, match="1 or more scales needed, not 0"):
        ilp.grid(weights, levels, points=0)
    with pytest.raises(HwgenError, match="scale digits None"):
        ilp.approximate(weights, Options(levels, scale_digits=2))
