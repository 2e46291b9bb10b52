"""What dyadic weights cost, counted by hand, by digits, and in graphs that were built."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.adders.csd import csd_digits
from hwgen.compress.methods import adder_budget
from hwgen.compress.methods.dyadic import Levels, Options, Scale, approximate
from hwgen.compress.methods.dyadic_cost import (
    digit_adders,
    graph_adders,
    shared_adders,
    spread_adders,
)
from hwgen.errors import HwgenError


def test_by_hand():
    codes = np.array([[[[1, 0, 3]]], [[[5, 8, 0]]], [[[0, 0, 0]]]])  # 3 = 4 - 1, 5 = 4 + 1
    assert digit_adders(codes) == 2 + 2 + 0
    found = shared_adders(codes)
    assert (found.multiples, found.sums, found.adders) == (2, 1 + 1 + 0, 4)
    assert shared_adders(np.zeros((2, 3, 1, 1), np.int64)).adders == 0
    assert graph_adders(np.array([[1, 2], [3, 6]])) == 2  # x0 + 2 x1, and three times it


def test_digits_are_those_of_the_graphs_front_end():
    codes = np.random.default_rng(0).integers(-64, 65, (5, 2, 3, 3))
    index, _, _ = csd_digits(codes)
    by_output = np.bincount(index // codes[0].size, minlength=5)
    assert digit_adders(codes) == (by_output - 1).sum()
    assert graph_adders(codes) <= digit_adders(codes)


def test_groups_are_graphs_of_their_own():
    codes = np.random.default_rng(1).integers(-4, 5, (4, 1, 3, 3))
    assert graph_adders(codes, groups=2) == graph_adders(codes[:2]) + graph_adders(codes[2:])


def test_a_large_layer_is_not_built(monkeypatch):
    codes = np.random.default_rng(2).integers(-4, 5, (4, 1, 3, 3))
    monkeypatch.setattr("hwgen.compress.methods.dyadic_cost.LARGEST_GRAPH", 3)
    assert graph_adders(codes) == digit_adders(codes)


def test_sharing_bound(hwgen_data):
    """conv1 of AlexNet in Q8, a scale a filter: nonzeros - filters + 3 an input channel."""
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as file:
        weights = file["conv1"] / 256
    codes = approximate(weights, Options(Levels.parse("Q8"), Scale.FILTER)).codes
    found = shared_adders(codes)
    assert found.multiples <= 3 * codes.shape[1]
    assert found.sums == np.count_nonzero(codes) - len(codes)  # no filter is empty
    assert found.adders <= np.count_nonzero(codes) - len(codes) + 3 * codes.shape[1]
    assert found.adders < 0.78 * digit_adders(codes)


def test_a_budget_of_adders_is_kept_and_used():
    weights = np.random.default_rng(3).laplace(size=(4, 1, 3, 3))
    results = {}
    for adders in (0, 12, 20):
        results[adders] = spread_adders([weights], adders, adder_budget.Options())[0]
        taken = graph_adders(results[adders].codes)
        assert adders * 0.75 - 1 <= taken <= adders
    assert results[20].error.sum() < results[12].error.sum() < results[0].error.sum()


def test_a_counter_of_ones_own():
    """With digits less outputs as the cost, the budget is one of digits."""
    weights = np.random.default_rng(4).laplace(size=(3, 6))
    found = spread_adders([weights], 12, adder_budget.Options(), count=digit_adders)[0]
    assert digit_adders(found.codes) == 12


def test_more_adders_than_there_is_use_for():
    codes = np.array([[1, 3], [5, 7]])
    found = spread_adders([codes * 0.5], 1000, adder_budget.Options())[0]
    np.testing.assert_allclose(found.values(), codes * 0.5)


def test_a_negative_budget():
    with pytest.raises(HwgenError, match="0 adders or more needed, not -1"):
        spread_adders([np.ones((1, 1))], -1, adder_budget.Options())
