"""The best ternary fit against brute force and published weights; pruning counted by hand."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from hwgen.compress.methods.dyadic import Levels, Scale, sweep
from hwgen.compress.methods.ternary import (
    Options,
    errors_by_kept,
    fit,
    order_by_sparsity,
    prune,
)
from hwgen.errors import HwgenError


def brute_force(weights):
    """Least squared error over all supports, each with its best sigma."""
    magnitudes = np.abs(weights)
    supports = np.array(list(itertools.product((0, 1), repeat=len(weights))))[1:]
    gains = (supports @ magnitudes) ** 2 / supports.sum(1)
    return (weights**2).sum() - gains.max()


@pytest.mark.parametrize("spread", ["laplace", "normal", "uniform"])
def test_fit_is_the_optimum(spread):
    weights = getattr(np.random.default_rng(0), spread)(size=(40, 11))
    found = fit(weights, Options(Scale.FILTER))
    wanted = [brute_force(row) for row in weights]
    np.testing.assert_allclose(found.error, wanted, atol=1e-12, rtol=0)
    np.testing.assert_allclose(((weights - found.values()) ** 2).sum(1), wanted, atol=1e-12)


def test_a_worse_rule_is_seen():
    """The check itself: keeping what is above 0.7 of the mean magnitude is not the optimum."""
    weights = np.random.default_rng(0).laplace(size=(40, 11))
    kept = np.abs(weights) > 0.7 * np.abs(weights).mean(1, keepdims=True)
    error = fit(weights, Options(Scale.FILTER), kept).error
    wanted = np.array([brute_force(row) for row in weights])
    assert np.all(error >= wanted - 1e-12)
    assert np.any(error > wanted + 1e-3)


@pytest.mark.parametrize("scale", Scale)
def test_fit_equals_the_sweep(scale):
    """The sweep over breakpoints is another way to the same optimum."""
    weights = np.random.default_rng(1).laplace(size=(7, 5, 3, 3))
    found = fit(weights, Options(scale))
    groups = weights.reshape(found.sigma.size, -1)
    sigma, codes, error = sweep(groups, Levels.parse("T3"))
    np.testing.assert_array_equal(found.codes.reshape(codes.shape), codes)
    np.testing.assert_allclose(found.sigma.ravel(), sigma)
    np.testing.assert_allclose(found.error.ravel(), error)


def test_errors_by_kept_are_those_of_each_support():
    weights = np.random.default_rng(2).laplace(size=(3, 4, 3, 3))
    errors = errors_by_kept(weights)
    order = np.argsort(-np.abs(weights).ravel())
    for kept in (1, 2, 17, 108):
        chosen = np.zeros(weights.size, bool)
        chosen[order[:kept]] = True
        found = fit(weights, Options(), chosen.reshape(weights.shape))
        assert found.relative_error == pytest.approx(errors[kept - 1])
    assert fit(weights, Options()).relative_error == pytest.approx(errors.min())


@pytest.fixture(scope="module")
def alexnet(hwgen_data):
    """Real weights of AlexNet's first two layers."""
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as arrays:
        return {name: arrays[name] / 256 for name in ("conv1", "conv2")}


@pytest.mark.parametrize(
    ("layer", "best", "at_30", "at_50"),
    [("conv1", 0.278, 0.279, 0.330), ("conv2", 0.353, 0.359, 0.409)],
)
def test_alexnet_by_layer(alexnet, layer, best, at_30, at_50):
    weights = alexnet[layer]
    errors = errors_by_kept(weights)
    assert round(fit(weights, Options()).relative_error, 3) == best
    assert round(float(errors.min()), 3) == best
    assert round(float(errors[round(0.3 * weights.size) - 1]), 3) == at_30
    assert round(float(errors[round(0.5 * weights.size) - 1]), 3) == at_50
    kept = (np.argmin(errors) + 1) / weights.size
    assert 0.2 < kept < 0.35


@pytest.mark.parametrize(("layer", "error"), [("conv1", 0.203), ("conv2", 0.306)])
def test_alexnet_by_filter(alexnet, layer, error):
    assert round(fit(alexnet[layer], Options(Scale.FILTER)).relative_error, 3) == error


@pytest.mark.parametrize(
    ("layer", "energy"), [("conv1", 0.914), ("conv2", 0.925)]
)
def test_alexnet_energy_of_the_largest(alexnet, layer, energy):
    weights = alexnet[layer]
    (kept,) = prune([weights], 0.7)
    part = (weights[kept] ** 2).sum() / (weights**2).sum()
    assert float(part) == pytest.approx(energy, abs=6e-4)


def is_dyadic(value, digits):
    """Whether a float has at most so many signed digits."""
    whole = Fraction(value)
    odd = whole.numerator // (whole.numerator & -whole.numerator)
    return (3 * odd ^ odd).bit_count() <= digits


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", Scale)
def test_dyadic_sigma(digits, masked, scale):
    weights = np.random.default_rng(3).laplace(size=(12, 6, 3, 3)) * 0.037
    mask = prune([weights], 0.8)[0] if masked else None
    free = fit(weights, Options(scale), mask)
    found = fit(weights, Options(scale, digits), mask)
    assert all(is_dyadic(value, digits) for value in found.sigma.ravel())
    assert np.all(found.error >= free.error - 1e-15)
    assert found.error.sum() == pytest.approx(((weights - found.values()) ** 2).sum())
    if masked:
        np.testing.assert_array_equal(found.codes, free.codes)
    limit = {1: 0.35, 2: 0.02, 3: 0.005}[digits]
    assert found.relative_error < free.relative_error + limit * (1 - free.relative_error)


def test_best_power_of_two():
    weights = np.random.default_rng(4).laplace(size=(20, 9))
    found = fit(weights, Options(Scale.FILTER, 1))
    errors = []
    for exponent in range(-8, 9):
        sigma = 2.0**exponent
        errors.append(np.minimum(weights**2, (np.abs(weights) - sigma) ** 2).sum(1))
    np.testing.assert_allclose(found.error, np.min(errors, axis=0))


def test_more_digits_are_never_worse():
    weights = np.random.default_rng(5).laplace(size=(30, 25))
    error = [fit(weights, Options(Scale.FILTER, digits)).error for digits in (1, 2, 3, None)]
    for few, many in itertools.pairwise(error):
        assert np.all(many <= few + 1e-12)


def test_larger_groups_have_larger_errors():
    weights = np.random.default_rng(6).laplace(size=(6, 4, 3, 3)) * np.arange(1, 7).reshape(
        6, 1, 1, 1
    )
    kernel, filter_, layer = (fit(weights, Options(scale)).relative_error for scale in Scale)
    assert kernel < filter_ < layer


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("digits", [None, 2])
def test_idempotent(scale, digits):
    weights = np.random.default_rng(7).normal(size=(5, 3, 3, 3))
    before = weights.copy()
    once = fit(weights, Options(scale, digits))
    np.testing.assert_array_equal(weights, before)
    twice = fit(once.values(), Options(scale, digits))
    np.testing.assert_array_equal(once.codes, twice.codes)
    np.testing.assert_allclose(once.values(), twice.values(), rtol=1e-12)
    assert twice.relative_error < 1e-24


@pytest.mark.parametrize("scale", [Scale.FILTER, Scale.LAYER])
def test_order_of_filters_does_not_matter(scale):
    weights = np.random.default_rng(8).laplace(size=(8, 3, 3, 3))
    order = np.random.default_rng(0).permutation(8)
    straight, shuffled = (fit(w, Options(scale, 2)) for w in (weights, weights[order]))
    np.testing.assert_allclose(straight.values()[order], shuffled.values())


@pytest.mark.parametrize("factor", [2.0**-1000, 1e-30, 1e30, 1e145])
@pytest.mark.parametrize("digits", [None, 2])
def test_tiny_and_huge_weights(factor, digits):
    weights = np.random.default_rng(9).laplace(size=(5, 9))
    factor = 2.0 ** round(np.log2(factor))
    plain, scaled = (fit(w, Options(Scale.FILTER, digits)) for w in (weights, weights * factor))
    np.testing.assert_array_equal(plain.codes, scaled.codes)
    np.testing.assert_allclose(scaled.sigma, plain.sigma * factor, rtol=1e-12)
    np.testing.assert_allclose(errors_by_kept(weights * factor), errors_by_kept(weights))


@pytest.mark.parametrize("digits", [None, 1, 3])
def test_zeros_and_single_weights(digits):
    weights = np.zeros((3, 1, 1, 1))
    weights[1] = -0.25
    found = fit(weights, Options(Scale.FILTER, digits))
    np.testing.assert_array_equal(found.values(), weights)
    assert found.relative_error == 0
    assert np.all(found.sigma > 0)
    assert fit(np.zeros((2, 2)), Options(scale_digits=digits)).relative_error == 0
    assert not errors_by_kept(np.zeros(5)).any()
    nothing = fit(weights, Options(Scale.LAYER, digits), np.zeros(weights.shape, bool))
    assert nothing.relative_error == 1
    assert nothing.sparsity == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_weights_that_are_not_finite_are_refused(bad):
    weights = np.ones((2, 9))
    weights[1, 3] = bad
    for call in (lambda: fit(weights, Options()), lambda: prune([np.ones(3), weights], 0.5),
                 lambda: errors_by_kept(weights)):
        with pytest.raises(HwgenError, match="Weights must be finite"):
            call()


# ---------------------------------------------------------------------------------------------
# Pruning


def test_pruning_is_global():
    """Layers of different spread end with different sparsity; the smallest of all go."""
    random = np.random.default_rng(10)
    layers = [random.normal(size=(4, 3, 3, 3)), 0.1 * random.normal(size=(20, 30))]
    masks = prune(layers, 0.6)
    everything = np.concatenate([np.abs(layer).ravel() for layer in layers])
    stays = np.concatenate([mask.ravel() for mask in masks])
    assert np.count_nonzero(~stays) == int(0.6 * everything.size)
    assert everything[~stays].max() <= everything[stays].min()
    assert masks[0].mean() > 0.9 > masks[1].mean()
    assert order_by_sparsity(masks) == (1, 0)


@pytest.mark.parametrize("target", [0, 0.29, 0.57, 0.5, 0.999, 1])
def test_pruning_meets_its_target(target):
    masks = prune([np.arange(1.0, 101.0)], target)
    assert np.count_nonzero(~masks[0]) == int(Fraction(str(target)) * 100)


def test_zeros_go_first_and_equals_in_order():
    (mask,) = prune([[2.0, 0.0, -1.0, 1.0, 0.0, 3.0]], 0.5)
    assert mask.tolist() == [True, False, False, True, False, True]


def test_a_larger_target_keeps_less_of_the_same():
    layers = [np.random.default_rng(11).normal(size=(8, 9)), np.ones((3, 3))]
    for small, large in itertools.pairwise(np.linspace(0, 1, 12)):
        for kept, fewer in zip(prune(layers, small), prune(layers, large), strict=True):
            assert np.all(kept | ~fewer)


def test_pruning_twice_changes_nothing():
    random = np.random.default_rng(12)
    layers = [random.normal(size=(8, 9)), random.normal(size=7)]
    masks = prune(layers, 0.7)
    again = prune([w * m for w, m in zip(layers, masks, strict=True)], 0.7)
    for first, second in zip(masks, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_order_of_equally_sparse_layers():
    masks = [np.array([True, False]), np.array([False, False]), np.array([True, False])]
    assert order_by_sparsity(masks) == (1, 0, 2)


@pytest.mark.parametrize("target", [-0.1, 1.1, np.nan])
def test_target_wrong(target):
    with pytest.raises(HwgenError, match="from 0 to 1"):
        prune([np.ones(3)], target)
    with pytest.raises(HwgenError, match="at least one layer"):
        prune([], 0.5)


def test_calls_wrong():
    with pytest.raises(HwgenError, match="1, 2 or 3, not 0"):
        Options(scale_digits=0)
    with pytest.raises(HwgenError, match=r"mask of \(2, 3\) needed, not of \(3, 2\)"):
        fit(np.ones((2, 3)), Options(), np.ones((3, 2), bool))
    with pytest.raises(HwgenError, match="not of shape"):
        fit(np.ones(3), Options())
