"""Sizes by tile against exhaustive search; cycles against the counts of a tiled array."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.compress.methods.kernel_tiles import (
    _assign,
    _programme,
    cycles,
    plan_tiles,
    plans,
    sort_filters,
    tile_cost,
)
from hwgen.compress.methods.lower_kernel import Curves
from hwgen.errors import HwgenError
from hwgen.layers import int64

TAPS = (25, 9, 1)


def made(loss, taps=TAPS):
    loss = np.asarray(loss, float)
    sides = tuple(int(np.sqrt(tap)) for tap in taps[: loss.shape[1]])
    return Curves(sides, int64(taps[: loss.shape[1]]), loss, int64(np.zeros((*loss.shape, 2), int)))


def random_losses(seed, filters, sizes):
    """Curves that fall with size, without any order that all sizes share."""
    random = np.random.default_rng(seed)
    return np.cumsum(
        np.hstack([np.zeros((filters, 1)), random.exponential(size=(filters, sizes - 1))]), axis=1
    )


def front_by_exhaustion(loss, taps, tile):
    """Least loss for each cost, over every size of every filter, sorted into full tiles."""
    best = {}
    for levels in itertools.product(range(loss.shape[1]), repeat=len(loss)):
        falling = sorted((taps[level] for level in levels), reverse=True)
        cost = sum(falling[::tile])
        total = loss[range(len(loss)), levels].sum()
        best[cost] = min(total, best.get(cost, np.inf))
    front, least = {}, np.inf
    for cost in sorted(best):
        if best[cost] < least - 1e-12:
            front[cost] = least = best[cost]
    return front


@pytest.mark.parametrize("tile", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_plans_are_the_optimum(seed, tile):
    loss = random_losses(seed, 7, 3)
    wanted = front_by_exhaustion(loss, TAPS, tile)
    found = {plan.cost: plan.loss for plan in plans(made(loss), tile=tile)}
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("tile", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_programme_is_the_optimum_where_filters_have_an_order(seed, tile):
    """Losses that are one filter's weight times one size's: the exchange argument holds."""
    random = np.random.default_rng(seed)
    loss = random.exponential(size=(7, 1)) * np.cumsum([0, *random.exponential(size=2)])
    wanted = front_by_exhaustion(loss, TAPS, tile)
    found = {plan.cost: plan.loss for plan in plans(made(loss), tile=tile, few=0)}
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(6))
def test_the_programme_is_near_the_optimum_for_any_losses(seed):
    """Never better, never far; with enough cost the same."""
    loss = random_losses(seed, 8, 3)
    wanted = front_by_exhaustion(loss, TAPS, 2)
    found = plans(made(loss), tile=2, few=0)
    for plan in found:
        best = min(value for cost, value in wanted.items() if cost <= plan.cost)
        assert best - 1e-12 <= plan.loss <= 1.05 * best + 1e-12
    assert found[-1].loss == 0
    assert found[0].cost == min(wanted)


def cuts(loss, taps, tile):
    """Least loss for each cost, over all cuts of filters in their order and all sizes."""
    best = {}

    def walk(begin, cost, total):
        if begin == len(loss):
            best[cost] = min(total, best.get(cost, np.inf))
            return
        for end in range(begin + 1, min(begin + tile, len(loss)) + 1):
            for level, tap in enumerate(taps):
                walk(end, cost + tap, total + loss[begin:end, level].sum())

    walk(0, 0, 0.0)
    return best


@pytest.mark.parametrize("tile", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_programme_finds_the_best_cuts(seed, tile):
    """Its own contract: what recursion over every cut and size finds, for each cost up to dense."""
    loss = random_losses(seed, 6, 3)
    wanted, least = {}, np.inf
    for cost, total in sorted(cuts(loss, TAPS, tile).items()):
        if total < least - 1e-12 and cost <= -(-6 // tile) * TAPS[0]:
            wanted[cost] = least = total
    found = {
        int(np.dot(tiles, TAPS)): total
        for tiles, total in _programme(loss, int64(TAPS), tile).items()
    }
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(10))
def test_assignment_is_the_optimum(seed):
    from scipy.optimize import linear_sum_assignment

    random = np.random.default_rng(seed)
    loss = random.laplace(size=(30, 4))
    room = np.array([8, 8, 4, 12])
    places = _assign(loss, room)
    assert np.all(np.bincount(places, minlength=4) <= room)
    rows, columns = linear_sum_assignment(np.repeat(loss, room, axis=1))
    wanted = np.repeat(loss, room, axis=1)[rows, columns].sum()
    assert loss[np.arange(30), places].sum() == pytest.approx(wanted, abs=1e-9)


def test_a_start_that_is_not_improved_is_seen():
    """The check itself: sorting alone, without cancelling cycles, misses the optimum."""
    loss = random_losses(0, 30, 4)
    places = np.empty(30, int)
    places[np.argsort(-loss[:, -1])] = np.repeat(np.arange(4), [8, 8, 4, 10])
    best = _assign(loss, np.array([8, 8, 4, 10]))
    assert loss[np.arange(30), places].sum() > loss[np.arange(30), best].sum() + 0.1


@pytest.mark.parametrize("few", [512, 0])
def test_plans_keep_their_word(few):
    loss = random_losses(7, 40, 3)
    front = plans(made(loss), tile=16, few=few)
    for cheaper, dearer in itertools.pairwise(front):
        assert cheaper.cost < dearer.cost
        assert cheaper.loss > dearer.loss
    for plan in front:
        taps = np.array(TAPS)[plan.levels]
        assert sorted(plan.order.tolist()) == list(range(40))
        assert tile_cost(taps[plan.order]) <= plan.cost
        assert loss[np.arange(40), plan.levels].sum() == pytest.approx(plan.loss)


@pytest.mark.parametrize("few", [512, 0])
def test_a_budget_is_kept_and_used(few):
    loss = random_losses(8, 50, 3)
    found = made(loss)
    cost = np.inf
    for budget in np.linspace(0, loss[:, -1].sum(), 15):
        plan = plan_tiles(found, budget=budget, few=few)
        assert plan.loss <= budget * (1 + 1e-9)
        assert plan.cost <= cost
        cost = plan.cost
    assert cost == 4
    assert plan_tiles(found, budget=0, few=few).cost == 4 * 25


def test_never_dearer_than_sizes_chosen_without_tiles():
    """The same loss budget, spent filter by filter and then sorted."""
    from hwgen.compress.methods.lower_kernel import within

    for seed in range(5):
        found = made(random_losses(seed, 48, 3))
        budget = 0.2 * float(found.loss[:, -1].sum())
        taps = found.taps[within(found, budget)]
        assert plan_tiles(found, budget=budget).cost <= tile_cost(taps[sort_filters(taps)])


def test_a_smaller_kernel_that_loses_less_is_taken():
    """Cut kernels need not lose more as they shrink."""
    found = made([[0.0, 3.0, 2.0], [0.0, 1.0, 5.0]])
    plan = plan_tiles(found, budget=3, tile=2)
    assert plan.cost == 9
    assert plan.levels.tolist() == [2, 1]
    assert plan.loss == 3


@pytest.mark.parametrize(
    ("part", "ratio"), [(0.25, 1.29), (0.5, 1.80), (0.65, 2.25), (0.75, 3.00)]
)
def test_sorting_is_what_pays(part, ratio):
    """128 filters of 3 x 3, a part of them 1 x 1, on tiles of 16."""
    small = round(part * 128)
    taps = np.random.default_rng(0).permutation(np.repeat([1, 9], [small, 128 - small]))
    dense = cycles(np.full(128, 9), ci=128, pixels=100)
    assert dense == 100 * 8 * 8 * 9
    assert round(dense / cycles(taps[sort_filters(taps)], ci=128, pixels=100), 2) == ratio
    assert dense == cycles(taps, ci=128, pixels=100)


def test_cycles_of_odd_sizes():
    assert cycles([25] * 17 + [1], ci=17, pixels=3) == 3 * 2 * 50
    assert cycles([9], ci=1, pixels=1) == 9
    assert cycles([9, 1, 1], ci=3, pixels=2, tile=2) == 2 * 2 * (9 + 1)


def test_order_of_equal_filters():
    assert sort_filters([1, 9, 1, 25, 9]).tolist() == [3, 1, 4, 0, 2]


def test_zeros_and_one_filter():
    nothing = plan_tiles(made(np.zeros((20, 3))), budget=0)
    assert (nothing.cost, nothing.loss) == (2, 0)
    one = plans(made([[0.0, 1.0, 4.0]]))
    assert [(plan.cost, plan.loss) for plan in one] == [(1, 4), (9, 1), (25, 0)]
    single = plans(made([[0.0]] * 3))
    assert [(plan.cost, plan.loss) for plan in single] == [(25, 0)]
    assert plans(made([[0.0]] * 3), few=0)[0].cost == 25


def test_order_of_filters_does_not_matter():
    loss = random_losses(9, 33, 3)
    order = np.random.default_rng(0).permutation(33)
    for few in (512, 0):
        straight, shuffled = (plans(made(x), few=few) for x in (loss, loss[order]))
        assert [plan.cost for plan in straight] == [plan.cost for plan in shuffled]
        assert [plan.loss for plan in straight] == pytest.approx([plan.loss for plan in shuffled])


@pytest.mark.parametrize("factor", [1e-140, 1e140])
def test_tiny_and_huge_losses(factor):
    loss = random_losses(10, 20, 3)
    plain, scaled = (plans(made(x)) for x in (loss, loss * factor))
    assert [plan.cost for plan in plain] == [plan.cost for plan in scaled]
    assert [plan.loss * factor for plan in plain] == pytest.approx([x.loss for x in scaled])


@pytest.mark.parametrize("budget", [-1, np.nan])
def test_budget_wrong(budget):
    with pytest.raises(HwgenError, match="0 or more needed"):
        plan_tiles(made([[0.0, 1.0]]), budget=budget)


def test_calls_wrong():
    with pytest.raises(HwgenError, match="at least one filter needed, not 0"):
        plans(made([[0.0, 1.0]]), tile=0)
    with pytest.raises(HwgenError, match="Losses must be finite"):
        plans(made([[0.0, np.nan]]))
