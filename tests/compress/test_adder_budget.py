"""Weights under a budget of digits: exhaustive search, the exact programme, fixed sets, rules."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwgen.compress.methods.adder_budget import GRID, Options, spread
from hwgen.compress.methods.adder_budget_exact import Curve, knapsack, spread_exactly
from hwgen.compress.methods.dyadic import SETS, Levels, Scale, approximate
from hwgen.compress.methods.dyadic import Options as SetOptions
from hwgen.compress.methods.dyadic_ilp import Programme
from hwgen.cost import digit_count
from hwgen.errors import HwgenError

Q8 = Levels(SETS["Q8"])
KERNEL = Options(scale=Scale.KERNEL)


def digits_of(result):
    return int(digit_count(result.codes).sum())


def exhaustive(weights, budget):
    """Least error of 2x2 kernels (G, 4) over all levels k/8, by enumeration and sharing."""
    steps = np.array(list(itertools.product(range(9), repeat=4)))
    price, norm = digit_count(steps).sum(1), (steps**2).sum(1)
    best = np.zeros(1)
    for row in np.abs(weights):
        gain = np.divide((steps @ row) ** 2, norm, out=np.zeros(len(steps)), where=norm > 0)
        own = [(row**2).sum() - gain[price <= b].max() for b in range(budget + 1)]
        best = np.array([
            min(best[min(b - d, len(best) - 1)] + own[d] for d in range(b + 1))
            for b in range(budget + 1)
        ])
    return best[budget]


@pytest.mark.parametrize("budget", [0, 1, 2, 3, 5, 8, 30])
def test_exact_equals_exhaustive_search(budget):
    weights = np.random.default_rng(0).laplace(size=(3, 1, 2, 2)) * [[[[1]]], [[[3]]], [[[0.2]]]]
    found = spread_exactly(weights, budget, levels=Q8)
    assert found.error.sum() == pytest.approx(exhaustive(weights.reshape(3, 4), budget), abs=1e-12)
    assert found.error.sum() == pytest.approx(((weights - found.values()) ** 2).sum())
    assert digits_of(found) <= budget


@pytest.mark.parametrize("budget", [4, 9, 14, 20, 30])
def test_exact_then_multiplier_then_sets(budget):
    """Errors rise from the exact programme to the multiplier to any set that keeps to the budget"""
    weights = np.random.default_rng(1).laplace(size=(4, 1, 2, 3))
    exact = spread_exactly(weights, budget, levels=Q8).error.sum()
    found = spread([weights], budget, Options(Q8, Scale.KERNEL))[0]
    assert exact - 1e-9 <= found.error.sum() <= 1.02 * exact + 1e-9
    for name in ("T3", "P5", "P7", "P9", "Q4", "Q8"):
        fixed = approximate(weights, SetOptions(Levels.parse(name), Scale.KERNEL))
        if digits_of(fixed) <= budget:
            assert found.error.sum() <= fixed.error.sum() + 1e-9


def test_the_programme_at_its_scales_is_no_better():
    """The 0-1 programme with the same scales and budget; it leaves nothing to the multiplier."""
    weights = np.random.default_rng(2).laplace(size=(5, 1, 2, 2))
    found = spread([weights], 9, Options(Q8, Scale.KERNEL))[0]
    least = Programme(weights.reshape(5, 4), Q8, budget=9).solve(found.scale.ravel())
    assert least.error.sum() <= found.error.sum() + 1e-9
    assert found.error.sum() <= 1.01 * least.error.sum()


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("name", ["P5", "P7", "P9"])
@pytest.mark.parametrize("draw", ["laplace", "normal"])
def test_a_third_less_error_than_a_set_at_equal_digits(size, name, draw):
    weights = getattr(np.random.default_rng(3), draw)(size=(120, 1, size, size))
    fixed = approximate(weights, SetOptions(Levels.parse(name), Scale.KERNEL))
    found = spread([weights], digits_of(fixed), KERNEL)[0]
    assert digits_of(found) <= digits_of(fixed)
    assert found.error.sum() == pytest.approx(((weights - found.values()) ** 2).sum())
    assert found.error.sum() <= 0.70 * fixed.error.sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["T3", "P5", "P7", "P9", "Q8"])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_alexnet_60_percent_less_error_at_equal_digits(name, layer, hwgen_data):
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as file:
        weights = file[layer] / 256
    fixed = approximate(weights, SetOptions(Levels.parse(name), Scale.KERNEL))
    found = spread([weights], digits_of(fixed), KERNEL)[0]
    assert digits_of(found) <= digits_of(fixed)
    assert found.relative_error <= 0.40 * fixed.relative_error


small = st.lists(
    st.floats(-8, 8, allow_nan=False).map(lambda v: round(v, 3)), min_size=8, max_size=8
).map(lambda values: np.array(values).reshape(2, 1, 2, 2))
quick = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@quick
@given(small, st.integers(0, 10), st.integers(1, 4))
def test_a_larger_budget_is_never_worse(weights, budget, more):
    options = Options(Q8, Scale.KERNEL)
    little, much = (spread([weights], b, options)[0] for b in (budget, budget + more))
    assert digits_of(little) <= budget
    assert much.error.sum() <= little.error.sum() * (1 + 1e-9) + 1e-12
    exact = [spread_exactly(weights, b, levels=Q8).error.sum() for b in (budget, budget + more)]
    assert exact[1] <= exact[0] + 1e-12


@quick
@given(st.lists(st.integers(-64, 64), min_size=9, max_size=9), st.floats(1e-3, 1e3))
def test_weights_of_the_grid_stay_as_they_are(codes, unit):
    weights = np.array(codes).reshape(1, 1, 3, 3) * unit
    price = int(digit_count(np.array(codes)).sum())
    found = spread([weights], price, KERNEL)[0]
    np.testing.assert_allclose(found.values(), weights, rtol=1e-9, atol=1e-9 * unit)


@quick
@given(small, st.integers(0, 12), st.permutations([0, 1]))
def test_order_of_filters_does_not_matter(weights, budget, order):
    options = Options(Q8, Scale.FILTER)
    straight, turned = (spread([w], budget, options)[0] for w in (weights, weights[order]))
    assert straight.error.sum() == pytest.approx(turned.error.sum(), rel=1e-9, abs=1e-12)


def test_a_larger_grid_is_never_worse_by_the_exact_programme():
    weights = np.random.default_rng(4).laplace(size=(3, 1, 2, 2))
    for budget in range(0, 14, 3):
        coarse, fine = (
            spread_exactly(weights, budget, levels=Levels(SETS[name])).error.sum()
            for name in ("Q8", "Q16")
        )
        assert fine <= coarse + 1e-12


def test_one_budget_over_layers_goes_where_it_counts():
    random = np.random.default_rng(5)
    layers = [random.normal(size=(4, 2, 3, 3)), random.normal(size=(6, 20))]
    even = spread(layers, 150, KERNEL)
    assert sum(map(digits_of, even)) <= 150
    tilted = spread(layers, 150, [KERNEL, Options(importance=100.0)])
    assert digits_of(tilted[1]) > digits_of(even[1])
    assert tilted[1].relative_error < even[1].relative_error
    assert even[0].scale.shape == (4, 2)
    assert even[1].scale.shape == (6,)
    alone = spread([layers[0]], 75, KERNEL)[0].error.sum()
    alone += spread([layers[1]], 75, KERNEL)[0].error.sum()
    assert sum(result.error.sum() for result in even) <= alone * 1.001


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("scale", Scale)
def test_scales_of_few_digits(digits, scale):
    weights = np.random.default_rng(6).laplace(size=(6, 3, 3, 3))
    found = spread([weights], 150, Options(scale=scale, scale_digits=digits))[0]
    assert digits_of(found) <= 150
    for value in found.scale.ravel():
        whole = int(np.ldexp(np.frexp(value)[0], 40))
        assert digit_count(np.array([whole]))[0] <= digits
    assert found.error.sum() == pytest.approx(((weights - found.values()) ** 2).sum())
    free = spread([weights], 150, Options(scale=scale))[0]
    assert found.error.sum() <= (3.0, 1.2, 1.1)[digits - 1] * free.error.sum()


@pytest.mark.parametrize("factor", [1e-140, 1e140])
def test_tiny_and_huge_weights(factor):
    weights = np.random.default_rng(7).laplace(size=(3, 1, 2, 2))
    plain, scaled = (spread([w], 8, KERNEL)[0] for w in (weights, weights * factor))
    np.testing.assert_array_equal(plain.codes, scaled.codes)
    np.testing.assert_allclose(scaled.scale, plain.scale * factor, rtol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3), (1, 1)])
@pytest.mark.parametrize("solve", ["spread", "exact"])
def test_zeros_and_one_weight(shape, solve):
    def run(weights, digits):
        if solve == "exact":
            return spread_exactly(weights, digits, levels=Q8)
        return spread([weights], digits, Options(Q8))[0]

    found = run(np.zeros(shape), 4)
    np.testing.assert_array_equal(found.codes, 0)
    assert found.relative_error == 0
    assert np.all(found.scale > 0)
    weights = np.zeros(shape)
    weights[0, 0] = -0.7
    np.testing.assert_allclose(run(weights, 1).values(), weights)
    np.testing.assert_array_equal(run(weights, 0).codes, 0)


def test_the_callers_arrays_are_left_alone():
    weights = np.random.default_rng(8).normal(size=(2, 1, 3, 3))
    before = weights.copy()
    spread([weights], 10, KERNEL)
    np.testing.assert_array_equal(weights, before)


def test_large_and_small_searches_agree(monkeypatch):
    """A layer above SMALL looks at two rungs alone: nearly as good."""
    weights = np.random.default_rng(9).laplace(size=(12, 1, 3, 3))
    thorough = spread([weights], 70, KERNEL)[0].error.sum()
    monkeypatch.setattr("hwgen.compress.methods.adder_budget.SMALL", 0)
    quick_one = spread([weights], 70, KERNEL)[0]
    assert digits_of(quick_one) <= 70
    assert thorough - 1e-9 <= quick_one.error.sum() <= 1.03 * thorough


def test_knapsack_by_hand():
    curves = [np.array([9.0, 4.0, 3.5]), np.array([5.0, 4.9, 0.0])]
    assert knapsack(curves, 0) == (0, 0)
    assert knapsack(curves, 1) == (1, 0)
    assert knapsack(curves, 2) == (2, 0)  # 8.5; (1, 1) has 8.9, (0, 2) 9
    assert knapsack(curves, 3) == (1, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_weights_that_are_not_finite(bad):
    weights = np.ones((2, 1, 2, 2))
    weights[1, 0, 1, 0] = bad
    with pytest.raises(HwgenError, match="Weights must be finite"):
        spread([weights], 4, KERNEL)
    with pytest.raises(HwgenError, match="Weights must be finite"):
        spread_exactly(weights, 4)


def test_wrong_arguments():
    weights = np.ones((2, 2))
    with pytest.raises(HwgenError, match="0 digits or more needed, not -1"):
        spread([weights], -1, KERNEL)
    with pytest.raises(HwgenError, match="0 digits or more needed, not -1"):
        spread_exactly(weights, -1)
    with pytest.raises(HwgenError, match="1 or more layers needed, not 2 for 1"):
        spread([weights], 1, [KERNEL, KERNEL])
    with pytest.raises(HwgenError, match="1, 2 or 3, not 4"):
        Options(scale_digits=4)
    with pytest.raises(HwgenError, match="positive and finite, not 0"):
        Options(importance=0)
    with pytest.raises(HwgenError, match="a coarser grid has a smaller one"):
        Curve(np.ones(400), GRID, 100)
