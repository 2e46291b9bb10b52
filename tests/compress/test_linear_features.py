"""Pivoted QR against scipy's, combinations against least squares, figures of AlexNet's filters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.compress.methods.linear_features import (
    Options,
    approximate,
    approximate_maps,
    cost,
    pivoted_qr,
)
from hwgen.errors import HwgenError


def correlated(random, size):
    mix = random.normal(size=(size, size)) * np.exp(random.uniform(-2, 1, size))
    return mix @ mix.T


@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (15, 15), (5, 1), (1, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_pivots_are_scipys(shape, seed):
    from scipy.linalg import qr

    x = np.random.default_rng(seed).laplace(size=shape)
    found = pivoted_qr(x)
    r, order = qr(x, mode="r", pivoting=True)
    rank = min(shape)
    assert found.order.tolist() == order[:rank].tolist()
    np.testing.assert_allclose(np.abs(found.r[:, order]), np.abs(r[:rank]), atol=1e-10)


def test_qr_explains_what_it_says():
    x = np.random.default_rng(0).normal(size=(30, 12))
    found = pivoted_qr(x, 7)
    for taken in range(8):
        basis = x[:, found.order[:taken]]
        fit = basis @ np.linalg.pinv(basis) @ x if taken else 0 * x
        assert found.left[taken] == pytest.approx(((x - fit) ** 2).sum() / (x**2).sum())
        if taken < 7:
            squares = ((x - fit) ** 2).sum(0)
            assert found.order[taken] == np.argmax(squares)
    gram = found.r.T @ found.r
    basis = x[:, found.order]
    np.testing.assert_allclose(gram[:, found.order], x.T @ basis, atol=1e-10)


def test_qr_of_columns_that_nearly_repeat():
    """Without projecting twice these lose their right angles."""
    random = np.random.default_rng(1)
    x = random.normal(size=(40, 1)) + 1e-5 * random.normal(size=(40, 12))
    found = pivoted_qr(x)
    kept = x[:, found.order]
    q = np.linalg.solve(found.r[:, found.order].T, kept.T).T
    np.testing.assert_allclose(q.T @ q, np.eye(len(found.order)), atol=1e-9)


@pytest.mark.parametrize("basis", [1, 3, 8, 11])
@pytest.mark.parametrize("with_moments", [False, True])
def test_combinations_are_least_squares(basis, with_moments):
    random = np.random.default_rng(2)
    weights = random.laplace(size=(12, 2, 3, 3))
    moments = correlated(random, 18) if with_moments else None
    found = approximate(weights, Options(basis), moments)
    assert len(found.basis) == basis
    root = np.linalg.cholesky(moments) if with_moments else np.eye(18)
    rows = weights.reshape(12, -1) @ root
    kept = rows[found.basis]
    wanted, *_ = np.linalg.lstsq(kept.T, rows.T, rcond=None)
    np.testing.assert_allclose(found.matrix, wanted.T, atol=1e-8)
    wrong = rows - wanted.T @ kept
    np.testing.assert_allclose(found.error, (wrong**2).sum(1), atol=1e-8)
    np.testing.assert_allclose(found.energy, (rows**2).sum(1))
    whole = found.weights(weights)
    np.testing.assert_array_equal(whole[found.basis], weights[found.basis])
    assert found.left == pytest.approx((wrong**2).sum() / (rows**2).sum())


def test_the_basis_follows_the_outputs():
    """A large filter that meets inputs of no energy is not worth keeping."""
    weights = np.eye(6) * np.array([9.0, 1, 1, 1, 1, 1])[:, None]
    moments = np.diag([1e-6, 1, 1, 1, 1, 2])
    assert 0 in approximate(weights, Options(3)).basis
    found = approximate(weights, Options(5), moments)
    assert 0 not in found.basis
    assert found.error[0] == pytest.approx(81e-6)


@pytest.mark.parametrize("basis", [2, 6])
def test_maps_are_fitted_with_their_means(basis):
    random = np.random.default_rng(3)
    maps = random.laplace(size=(500, 9)) @ random.normal(size=(9, 9)) + random.normal(size=9) * 5
    found = approximate_maps(maps, Options(basis))
    kept = np.hstack([maps[:, found.basis], np.ones((500, 1))])
    wanted, *_ = np.linalg.lstsq(kept, maps, rcond=None)
    np.testing.assert_allclose(found.matrix, wanted[:-1].T, atol=1e-8)
    np.testing.assert_allclose(found.bias, wanted[-1], atol=1e-8)
    np.testing.assert_allclose(found.error, ((maps - kept @ wanted) ** 2).mean(0), atol=1e-8)


def test_few_maps():
    """Fewer samples than maps: so many maps as samples, less the mean, explain all."""
    maps = np.random.default_rng(4).normal(size=(5, 12)) + 3
    found = approximate_maps(maps, Options(12))
    assert len(found.basis) == 4
    np.testing.assert_allclose(found.matrix @ maps[:, found.basis].T + found.bias[:, None], maps.T)


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_few_terms(terms):
    weights = np.random.default_rng(5).normal(size=(10, 12))
    found = approximate(weights, Options(6, terms))
    dropped = np.setdiff1d(np.arange(10), found.basis)
    for row in dropped:
        chosen = np.flatnonzero(found.matrix[row])
        assert len(chosen) == terms
        basis = weights[found.basis[chosen]]
        best, *_ = np.linalg.lstsq(basis.T, weights[row], rcond=None)
        np.testing.assert_allclose(found.matrix[row, chosen], best, atol=1e-9)
        exhaustive = min(
            np.linalg.lstsq(weights[found.basis[list(few)]].T, weights[row], rcond=None)[1][0]
            for few in itertools.combinations(range(6), terms)
        )
        assert found.error[row] >= exhaustive - 1e-9
        if terms == 1:
            assert found.error[row] == pytest.approx(exhaustive)
    assert found.terms == 4 * terms


def test_each_term_is_the_one_that_helps_most():
    weights = np.random.default_rng(6).normal(size=(9, 20))
    for terms in (2, 3):
        fewer, more = (approximate(weights, Options(6, n)) for n in (terms - 1, terms))
        for row in np.setdiff1d(np.arange(9), more.basis):
            before = np.flatnonzero(fewer.matrix[row]).tolist()
            kept = weights[more.basis].T
            wanted = min(
                np.linalg.lstsq(kept[:, [*before, new]], weights[row], rcond=None)[1][0]
                for new in range(6) if new not in before
            )
            assert more.error[row] == pytest.approx(wanted)


@pytest.mark.parametrize("with_moments", [False, True])
def test_a_larger_budget_is_never_worse(with_moments):
    random = np.random.default_rng(7)
    weights = random.laplace(size=(16, 2, 3, 3))
    moments = correlated(random, 18) if with_moments else None
    by_basis = [approximate(weights, Options(n), moments).left for n in range(1, 17)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(by_basis))
    assert by_basis[-1] == 0
    by_terms = [approximate(weights, Options(8, n), moments).left for n in range(1, 9)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(by_terms))
    assert by_terms[-1] == pytest.approx(by_basis[7])


def test_features_that_are_combinations_cost_no_error():
    random = np.random.default_rng(8)
    basis = random.normal(size=(4, 27))
    mix = np.zeros((10, 4))
    mix[np.arange(10), np.arange(10) % 4] = random.choice([-2.0, 0.5, 1.0], 10)
    found = approximate((mix @ basis).reshape(10, 3, 3, 3), Options(8))
    assert len(found.basis) == 4  # no more explain anything
    assert found.left < 1e-24
    assert found.terms == 6  # rounding makes no terms
    np.testing.assert_allclose(found.weights(mix @ basis), mix @ basis, atol=1e-12)


def test_idempotent():
    weights = np.random.default_rng(9).normal(size=(12, 2, 3, 3))
    before = weights.copy()
    once = approximate(weights, Options(5))
    np.testing.assert_array_equal(weights, before)
    whole = once.weights(weights)
    twice = approximate(whole, Options(5))
    assert twice.left < 1e-24
    np.testing.assert_allclose(twice.weights(whole), whole, atol=1e-10)


@pytest.mark.parametrize("terms", [None, 2])
def test_order_of_filters_does_not_matter(terms):
    weights = np.random.default_rng(10).laplace(size=(14, 2, 3, 3))
    order = np.random.default_rng(0).permutation(14)
    straight = approximate(weights, Options(6, terms))
    shuffled = approximate(weights[order], Options(6, terms))
    assert sorted(order[shuffled.basis].tolist()) == straight.basis.tolist()
    np.testing.assert_allclose(
        straight.weights(weights)[order], shuffled.weights(weights[order]), atol=1e-10
    )


@pytest.mark.parametrize("factor", [2.0**-400, 2.0**-100, 2.0**100, 2.0**400])
@pytest.mark.parametrize("terms", [None, 2])
def test_tiny_and_huge_weights(factor, terms):
    random = np.random.default_rng(11)
    weights = random.laplace(size=(9, 12))
    for given in (None, correlated(random, 12)):
        plain, scaled = (
            approximate(w, Options(4, terms), given) for w in (weights, weights * factor)
        )
        np.testing.assert_array_equal(plain.basis, scaled.basis)
        np.testing.assert_allclose(plain.matrix, scaled.matrix)
        np.testing.assert_allclose(scaled.error, plain.error * factor**2)
    maps = [approximate_maps(w, Options(4, terms)) for w in (weights, weights * factor)]
    np.testing.assert_allclose(maps[1].bias, maps[0].bias * factor)


@pytest.mark.parametrize("terms", [None, 1])
def test_zeros_and_one_filter(terms):
    nothing = approximate(np.zeros((5, 2, 3, 3)), Options(3, terms))
    assert nothing.basis.tolist() == [0]
    assert (nothing.left, nothing.terms) == (0, 0)
    assert not nothing.weights(np.zeros((5, 2, 3, 3))).any()
    one = approximate([[-3.0]], Options(4, terms))
    assert one.matrix.tolist() == [[1.0]]
    some = np.zeros((4, 6))
    some[2, 3] = 5
    found = approximate(some, Options(2, terms))
    assert found.basis.tolist() == [2]
    assert (found.left, found.terms) == (0, 0)
    assert approximate(some, Options(2, terms), np.zeros((6, 6))).left == 0
    still = approximate_maps(np.full((7, 3), 4.0), Options(2, terms))
    np.testing.assert_allclose(still.matrix @ np.full(len(still.basis), 4.0) + still.bias, 4.0)


def test_cost_by_hand():
    weights = np.random.default_rng(12).normal(size=(10, 3, 3, 3))
    found = cost(approximate(weights, Options(6)), 27)
    assert (found.dense, found.basis, found.combinations) == (270, 162, 24)
    assert found.saved == pytest.approx(1 - 186 / 270)
    few = cost(approximate(weights, Options(6, 2)), 27)
    assert (few.basis, few.combinations) == (162, 8)
    assert cost(approximate(np.eye(4) + 0.1, Options(3)), 1).saved < 0


# ---------------------------------------------------------------------------------------------
# Published weights


@pytest.fixture(scope="module")
def alexnet(hwgen_data):
    """Real filters of AlexNet's first two layers, one entry a group."""
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as arrays:
        first, second = arrays["conv1"] / 256, arrays["conv2"] / 256
    return {"conv1": first, "conv2a": second[:128], "conv2b": second[128:]}


@pytest.mark.parametrize(
    ("layer", "part", "left", "bound", "dropped", "saved"),
    [
        ("conv1", 0.5, 0.030, 0.015, 0.172, 43.4),
        ("conv1", 0.75, 0.003, 0.001, 0.048, 20.0),
        ("conv2a", 0.5, 0.182, 0.112, 0.294, 47.3),
        ("conv2a", 0.75, 0.053, 0.029, 0.107, 23.0),
        ("conv2b", 0.5, 0.139, 0.082, 0.270, 47.3),
        ("conv2b", 0.75, 0.038, 0.021, 0.092, 23.0),
    ],
)
def test_alexnet_energy_left(alexnet, layer, part, left, bound, dropped, saved):
    weights = alexnet[layer]
    rows = weights.reshape(len(weights), -1)
    basis = int(part * len(rows))
    found = approximate(weights, Options(basis))
    assert round(found.left, 3) == left
    values = np.linalg.svd(rows, compute_uv=False) ** 2
    assert round(float(values[basis:].sum() / values.sum()), 3) == bound
    energy = np.sort((rows**2).sum(1))
    assert float(energy[:-basis].sum() / energy.sum()) == pytest.approx(dropped, abs=6e-4)
    # A filter of conv2 is all zero at 8 bits and costs no products at all.
    assert round(100 * cost(found, rows.shape[1]).saved, 1) == pytest.approx(saved, abs=0.11)


# ---------------------------------------------------------------------------------------------
# What is refused


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_values_that_are_not_finite_are_refused(bad):
    weights = np.ones((3, 4))
    weights[1, 2] = bad
    with pytest.raises(HwgenError, match="Weights must be finite"):
        approximate(weights, Options(2))
    with pytest.raises(HwgenError, match="Maps must be finite"):
        approximate_maps(weights, Options(2))
    moments = np.eye(4)
    moments[0, 0] = bad
    with pytest.raises(HwgenError, match="Second moments must be finite"):
        approximate(np.ones((3, 4)), Options(2), moments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Options(0), "at least one filter needed, not 0"),
        (lambda: Options(3, 0), "At least one basis map a feature needed, not 0"),
        (lambda: approximate(np.ones(3), Options(1)), "not of shape"),
        (lambda: approximate(np.ones((3, 4)), Options(1), np.eye(3)), r"\(4, 4\) inputs needed"),
        (lambda: approximate(np.ones((3, 2)), Options(1), np.array([[1, 2], [0, 1.0]])),
         "symmetric"),
        (lambda: approximate_maps(np.ones((3, 2, 2)), Options(1)), "not of shape"),
    ],
)
def test_a_wrong_call(call, message):
    with pytest.raises(HwgenError, match=message):
        call()
