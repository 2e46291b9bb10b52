"""Budgets on the command line's terms: what is read, and what is made of it."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.compress.dyadic_budget import Choice, Solver, Task, by_programme, parse, spend
from hwgen.compress.methods.dyadic import Levels, Options, Scale, approximate, sweep
from hwgen.compress.methods.dyadic_cost import graph_adders
from hwgen.compress.methods.output_error import output_error
from hwgen.compress.options import DyadicChoice, Norm, parse_dyadic
from hwgen.cost import digit_count
from hwgen.errors import HwgenError


@pytest.mark.parametrize(
    ("text", "choice", "others"),
    [
        ("", Choice(), ""),
        ("P7,filter,digits=2", Choice(), "P7,filter,digits=2"),
        ("budget=1.2", Choice(budget=1.2), ""),
        ("kernel,budget=0.5,norm=data", Choice(budget=0.5), "kernel,norm=data"),
        ("adders=900,dense=filter", Choice(adders=900), "dense=filter"),
        ("P7,solver=ilp,bias=2,pool=1", Choice(None, None, Solver.ILP, 2, 1), "P7"),
    ],
)
def test_what_is_read(text, choice, others):
    assert parse(text) == (choice, others)
    assert parse(choice.text) == (choice, "")


def test_options_of_both_kinds_together():
    found = parse_dyadic("kernel,budget=0.75,norm=weights,digits=2")
    assert found == DyadicChoice(
        None, Scale.KERNEL, digits=2, norm=Norm.WEIGHTS, extra=Choice(budget=0.75)
    )
    assert found.text() == "dyadic:scale=kernel,dense=layer,digits=2,norm=weights,budget=0.75"
    assert parse_dyadic(found.text().partition(":")[2]) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget=-1", "budget, signed digits a weight, from 0 to 8 needed, not '-1'"),
        ("budget=nan", "from 0 to 8 needed, not 'nan'"),
        ("budget=much", "from 0 to 8 needed, not 'much'"),
        ("adders=1.5", "adders, a whole number from 0 to 2147483648, needed, not '1.5'"),
        ("adders=-3", "needed, not '-3'"),
        ("budget=1,adders=5", "budget or adders needed, not both"),
        ("budget=1,budget=2", "budget once needed, not twice"),
        ("P7,budget=1", "a set or a budget needed, not 'P7' beside one"),
        ("set=P7,budget=1", "a set or a budget needed"),
        ("solver=magic", "solver=sweep or ilp needed, not 'magic'"),
        ("solver=ilp,budget=1", "solver=ilp goes with a set"),
        ("bias=0", "bias, a whole number from 1 to 8, needed, not '0'"),
        ("pool=4", "pool, a whole number from 1 to 3, needed, not '4'"),
    ],
)
def test_what_is_wrong(text, message):
    with pytest.raises(HwgenError, match=message):
        parse(text)


def tasks(random, *, covariance=False):
    weights = {"conv": random.laplace(size=(4, 2, 3, 3)), "dense": random.normal(size=(5, 12))}
    mixes = {name: random.normal(size=(1, w[0].size, w[0].size)) for name, w in weights.items()}
    return {
        "conv": Task(
            weights["conv"], Scale.FILTER, 2,
            mixes["conv"] @ mixes["conv"].transpose(0, 2, 1) if covariance else None,
        ),
        "dense": Task(
            weights["dense"], Scale.LAYER, None,
            mixes["dense"] @ mixes["dense"].transpose(0, 2, 1) if covariance else None,
        ),
    }


def test_digits_a_weight():
    made = tasks(np.random.default_rng(0))
    found = spend(made, Choice(budget=1.0))
    assert sum(int(digit_count(r.codes).sum()) for r in found.values()) in range(120, 133)
    assert found["conv"].scale.shape == (4,)
    assert found["dense"].scale.shape == (1,)


def test_a_layers_size_does_not_matter():
    """Errors are relative to a layer: a layer times 1024 gets the same digits."""
    made = tasks(np.random.default_rng(1))
    large = dict(made)
    large["dense"] = Task(made["dense"].weight * 1024, Scale.LAYER, None)
    plain, scaled = (spend(t, Choice(budget=0.8)) for t in (made, large))
    for name in made:
        np.testing.assert_array_equal(plain[name].codes, scaled[name].codes)


def test_output_errors_with_covariances():
    made = tasks(np.random.default_rng(2), covariance=True)
    blind = spend(
        {n: Task(t.weight, t.scale, t.scale_digits) for n, t in made.items()}, Choice(budget=0.9)
    )
    found = spend(made, Choice(budget=0.9))
    assert sum(int(digit_count(r.codes).sum()) for r in found.values()) <= 0.9 * 132
    errors = [
        sum(output_error(t.weight, r[n], t.covariance).sum() for n, t in made.items())
        for r in (blind, found)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_true_adders():
    made = tasks(np.random.default_rng(3))
    found = spend(made, Choice(adders=60))
    assert 45 <= sum(graph_adders(result.codes) for result in found.values()) <= 60


def test_the_programme_in_place_of_the_sweep():
    random = np.random.default_rng(4)
    levels = Levels.parse("P7")
    weights = random.laplace(size=(2, 2, 2, 2))
    found = by_programme(Task(weights, Scale.KERNEL, None), levels)
    exact = sweep(weights.reshape(4, 4), levels)[2]
    assert np.all(found.error.ravel() >= exact * (1 - 1e-9))
    assert found.error.sum() <= 1.01 * exact.sum()
    snapped = by_programme(Task(weights, Scale.KERNEL, 1), levels)
    np.testing.assert_array_equal(np.frexp(snapped.scale)[0], 0.5)
    by_sweep = approximate(weights, Options(levels, Scale.KERNEL, 1))
    assert snapped.error.sum() == pytest.approx(by_sweep.error.sum(), rel=0.05)


def test_a_layer_too_large_for_the_programme(monkeypatch):
    monkeypatch.setattr("hwgen.compress.dyadic_budget.LARGEST_PROGRAMME", 100)
    with pytest.raises(HwgenError, match="at most 100 binary variables, not 112; solver=sweep"):
        by_programme(Task(np.ones((2, 2, 2, 2)), Scale.LAYER, None), Levels.parse("P7"))


def test_zeros_and_what_is_not_finite():
    made = {"a": Task(np.zeros((2, 3)), Scale.LAYER, None), "b": Task(np.ones((2, 3)), Scale.LAYER,
                                                                    None)}
    found = spend(made, Choice(budget=1.0))
    np.testing.assert_array_equal(found["a"].codes, 0)
    np.testing.assert_allclose(found["b"].values(), 1)
    with pytest.raises(HwgenError, match="Weights must be finite"):
        spend({"a": Task(np.full((2, 3), np.nan), Scale.LAYER, None)}, Choice(budget=1.0))
