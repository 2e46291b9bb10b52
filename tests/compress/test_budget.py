"""The search: what it may return, what it must not look at, and that it beats less."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.compress.budget import Search, as_json
from hwgen.compress.ladders import Axis, Ladders, Move
from hwgen.cost import Objective, total
from hwgen.errors import HwgenError
from hwgen.sim import golden
from tests.compress.small import dataset, scores, stages

METHODS = ("lower-kernel", "linear-features", "dyadic")


def found(*methods, budget=5.0, objective=Objective.MACS, digits=2, reach=None, tell=None):
    made = stages(*methods, searched=True)
    search = Search(made, scores(), objective=objective, digits=digits, progress=tell)
    return made, search.run(budget=budget, reach=reach)


@pytest.fixture(scope="module")
def everything():
    return found(*METHODS)


def test_the_best_is_what_it_says(everything):
    """Cost and accuracy of the best one, measured again from its state alone."""
    made, result = everything
    network = made.build(result.best.state, digits=2, metadata={}).network
    data = dataset()
    accuracy = golden.accuracy(network, data.train_x, data.train_y)
    assert accuracy == result.best.accuracy
    last = golden.accuracy(network, data.train_x[-40:], data.train_y[-40:])  # a tenth
    # The float net is always right; training would leave the last tenth out.
    assert result.best.lost == pytest.approx(100 * (1 - min(accuracy, last)))
    assert total(network, Objective.MACS) == result.best.cost
    assert result.best.lost <= 5.0


def test_something_is_saved(everything):
    _, result = everything
    assert result.best.cost < 0.8 * result.path[0].cost
    assert result.measured > len(result.path)


def test_the_path_falls_within_the_budget(everything):
    _, result = everything
    costs = [point.cost for point in result.path]
    assert costs == sorted(costs, reverse=True)
    assert all(point.lost <= 5.0 for point in result.path[1:])


def test_no_point_of_the_front_is_beaten(everything):
    _, result = everything
    costs = [point.cost for point in result.front]
    losses = [point.lost for point in result.front]
    assert costs == sorted(set(costs))
    assert losses == sorted(set(losses), reverse=True)
    assert result.best in result.front


def test_a_larger_budget_costs_no_more():
    costs = [found("lower-kernel", budget=budget)[1].best.cost for budget in (3.0, 8.0, 100.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_the_same_again():
    first, again = (found("lower-kernel", budget=2.0)[1] for _ in range(2))
    assert again == first


@pytest.mark.parametrize("objective", list(Objective))
def test_every_objective(objective):
    made, result = found("lower-kernel", budget=10.0, objective=objective)
    network = made.build(result.best.state, digits=2, metadata={}).network
    assert total(network, objective) == result.best.cost <= result.path[0].cost
    # All filters of this network are one tile, which is as slow as the largest kernel in it.
    assert objective is Objective.CYCLES or result.best.cost < result.path[0].cost


def test_all_methods_take_part():
    """A search without a method has a ladder for each of them; the first layer is never sparse."""
    moves = Ladders(stages(searched=True)).moves()
    for axis in Axis:
        layers = {move.layer for move in moves if move.axis is axis}
        assert layers == {
            Axis.BASIS: {"conv1", "conv2"}, Axis.TAPS: {"conv1", "conv2"},
            Axis.VARIANT: {"conv2"}, Axis.CODER: {"conv1", "conv2", "fc"}, Axis.PRUNE: {None},
        }[axis]  # fmt: skip


def test_pruning_and_ternary_weights_are_found():
    _, result = found("ternary", "dyadic:P7", budget=3.0, objective=Objective.ADDERS)
    words = " ".join(" ".join(one.words()) for _, one in result.best.state.treatments)
    assert "ternary" in words or result.best.state.prune > 0
    assert result.best.cost < result.path[0].cost


def test_past_the_budget_for_training():
    made, result = found("dyadic", budget=2.0, reach=60.0)
    assert result.best.lost <= 2.0 < max(point.lost for point in result.path)
    assert result.path[-1].cost < result.best.cost


def test_a_budget_that_nothing_is_within():
    message = "--budget 0: at most 0 points needed, the best of .* loses .* on the last training"
    with pytest.raises(HwgenError, match=message) as caught:
        found("lower-kernel", "dyadic:T3", budget=0.0)
    assert "\n" not in str(caught.value)


def test_progress_and_interruption():
    told = []

    def tell(text, done, total):
        told.append(text)
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(*METHODS, tell=tell)
    assert told[0].startswith("search: start, ")
    assert "points lost" in told[-1]


def test_what_is_fixed_is_left_alone():
    made = stages("lower-kernel:taps=0.5", "ternary:prune=0.2,layers=fc", "dyadic", searched=True)
    moves = Ladders(made).moves()
    assert {move.axis for move in moves} == {Axis.CODER}
    assert Move(Axis.CODER, "fc") not in moves
    start = Ladders(made).start()
    assert start.of("conv2").taps == 0.5
    assert start.prune == 0.2


def test_ladders_rise():
    made = stages(searched=True)
    ladders, start = Ladders(made), Ladders(made).start()
    rungs = list(ladders.rungs(start, Move(Axis.TAPS, "conv2")))
    shares = [state.of("conv2").taps for state in rungs]
    assert shares == sorted(shares, reverse=True)
    coders = [state.of("fc").words()[-1] for state in ladders.rungs(start, Move(Axis.CODER, "fc"))]
    assert coders == ["dyadic:Q8", "dyadic:Q4", "dyadic:P9", "dyadic:P7", "dyadic:P5", "dyadic:T3",
                      "ternary:layer"]  # fmt: skip
    assert not list(ladders.rungs(start, Move(Axis.VARIANT, "conv1")))  # the first one stays dense
    assert not list(ladders.rungs(start, Move(Axis.TAPS, "fc")))


def test_as_json(everything):
    _, result = everything
    written = as_json(result, Objective.MACS)
    assert written["objective"] == "macs"
    assert len(written["pareto"]) == len(result.front)
    first = written["pareto"][0]
    assert set(first) == {"cost", "lost", "accuracy", "prune", "layers"}
    assert set(first["layers"]) == {"conv1", "conv2", "fc"}


def test_greedy_is_near_the_best_of_a_small_space():
    """Every combination of two layers' windows, measured: the search finds one near the best."""
    made, result = found("lower-kernel:1,layers=conv2", "dyadic:Q16", budget=8.0)
    ladders = Ladders(made)
    start = ladders.start()
    costs = []
    for state in [start, *ladders.rungs(start, Move(Axis.TAPS, "conv2"))]:
        network = made.build(state, digits=2, metadata={}).network
        if scores().measure(network).lost <= 8.0:
            costs.append(total(network, Objective.MACS))
    assert result.best.cost <= min(costs) * 1.1 or np.isclose(result.best.cost, min(costs))
