"""The breakpoint sweep against brute force, a 0-1 programme and grids of scales."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.compress.methods.dyadic import (
    SETS,
    Levels,
    Options,
    Scale,
    approximate,
    mantissas,
    nearest,
    snap,
    sweep,
)
from hwgen.cost import digit_count
from hwgen.errors import HwgenError


def brute_force(weights, levels):
    """Least squared error over all assignments of levels, each with its best scale."""
    steps = np.array([0.0, *map(float, levels.magnitudes)])
    assignments = np.array(list(itertools.product(steps, repeat=len(weights))))
    mt, tt = assignments @ np.abs(weights), (assignments**2).sum(1)
    gain = np.divide(mt**2, tt, out=np.zeros_like(mt), where=tt > 0)
    return (weights**2).sum() - gain.max()


@pytest.mark.parametrize(("name", "size"), [("T3", 9), ("P5", 7), ("P7", 6), ("Q8", 4)])
@pytest.mark.parametrize("spread", ["laplace", "normal"])
def test_sweep_is_the_optimum(name, size, spread):
    random = np.random.default_rng(7)
    levels = Levels.parse(name)
    weights = getattr(random, spread)(size=(40, size))
    _, _, error = sweep(weights, levels)
    wanted = [brute_force(row, levels) for row in weights]
    np.testing.assert_allclose(error, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_sweep_equals_the_zero_one_programme_at_its_scale(name):
    from scipy.optimize import Bounds, LinearConstraint, milp

    random = np.random.default_rng(3)
    levels = Levels.parse(name)
    weights = random.laplace(size=9)
    scale, _, error = sweep(weights[None], levels)
    values = np.array(
        [
            s * float(level)
            for level in (0, *levels.magnitudes)
            for s in ((1, -1) if level else (1,))
        ]
    )
    cost = (weights[:, None] - scale[0] * values) ** 2
    choose_one = np.kron(np.eye(9), np.ones(len(values)))
    result = milp(
        cost.ravel(),
        constraints=LinearConstraint(choose_one, 1, 1),
        integrality=np.ones(cost.size),
        bounds=Bounds(0, 1),
    )
    assert result.success
    assert error[0] == pytest.approx(result.fun, abs=1e-9)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("points", [64, 4096])
def test_no_grid_of_scales_is_better(name, points):
    levels = Levels.parse(name)
    weights = np.random.default_rng(11).laplace(size=(30, 9))
    _, _, error = sweep(weights, levels)
    top = np.abs(weights).max(1)
    for factor in np.linspace(0.02, 4, points):
        scale = top * factor
        codes = nearest(weights, levels, scale)
        grid = ((weights - codes * scale[:, None] * 2.0**-levels.bits) ** 2).sum(1)
        assert np.all(error <= grid + 1e-12)


def test_a_worse_solver_is_seen():
    """The check itself: scaling the largest weight to the largest level is not the optimum."""
    levels = Levels.parse("P7")
    weights = np.random.default_rng(0).laplace(size=(40, 6))
    scale = np.abs(weights).max(1)
    codes = nearest(weights, levels, scale)
    error = ((weights - codes * scale[:, None] * 2.0**-levels.bits) ** 2).sum(1)
    wanted = np.array([brute_force(row, levels) for row in weights])
    assert np.any(error > wanted + 1e-3)


@pytest.mark.parametrize("name", SETS)
def test_codes_are_levels_and_errors_are_true(name):
    levels = Levels.parse(name)
    weights = np.random.default_rng(1).normal(size=(4, 3, 5, 5))
    for scale in Scale:
        result = approximate(weights, Options(levels, scale))
        assert set(np.abs(result.codes).ravel().tolist()) <= set(levels.integers.tolist())
        assert result.bits == levels.bits
        total = ((weights - result.values()) ** 2).sum()
        assert result.error.sum() == pytest.approx(total)
        assert result.relative_error == pytest.approx(total / (weights**2).sum())


def test_larger_groups_have_larger_errors():
    weights = np.random.default_rng(2).laplace(size=(6, 4, 3, 3))
    kernel, filter_, layer = (
        approximate(weights, Options(Levels.parse("P7"), scale)).relative_error for scale in Scale
    )
    assert kernel < filter_ < layer


def test_a_larger_set_is_never_worse():
    weights = np.random.default_rng(4).laplace(size=(20, 9))
    errors = [sweep(weights, Levels.parse(name))[2] for name in ("T3", "P5", "P7", "P9")]
    errors += [sweep(weights, Levels.parse("Q8"))[2]]
    for small, large in itertools.pairwise(errors[:4]):
        assert np.all(large <= small + 1e-12)
    assert np.all(errors[4] <= errors[3] + 1e-12)  # Q8 holds P9


def test_dyadic_weights_stay_as_they_are():
    levels = Levels.parse("Q8")
    codes = np.random.default_rng(5).integers(-8, 9, size=(10, 9))
    weights = codes * 0.375
    result = approximate(weights, Options(levels, Scale.FILTER))
    np.testing.assert_allclose(result.values(), weights, atol=1e-12)
    assert result.relative_error < 1e-20


def test_order_of_filters_does_not_matter():
    weights = np.random.default_rng(6).laplace(size=(8, 3, 3, 3))
    order = np.random.default_rng(0).permutation(8)
    straight = approximate(weights, Options(Levels.parse("P9")))
    shuffled = approximate(weights[order], Options(Levels.parse("P9")))
    np.testing.assert_array_equal(straight.codes[order], shuffled.codes)
    np.testing.assert_array_equal(straight.scale[order], shuffled.scale)


@pytest.mark.parametrize("factor", [1e-140, 1e-30, 1e30, 1e140])
def test_tiny_and_huge_weights(factor):
    weights = np.random.default_rng(8).laplace(size=(5, 9))
    levels = Levels.parse("P7")
    scale, codes, _ = sweep(weights, levels)
    other_scale, other_codes, _ = sweep(weights * factor, levels)
    np.testing.assert_array_equal(codes, other_codes)
    np.testing.assert_allclose(other_scale, scale * factor, rtol=1e-12)


@pytest.mark.parametrize("digits", [None, 1, 2, 3])
def test_zeros_and_single_weights(digits):
    weights = np.zeros((3, 1, 1, 1))
    weights[1] = -0.75
    result = approximate(weights, Options(Levels.parse("T3"), Scale.FILTER, digits))
    np.testing.assert_array_equal(result.codes.ravel()[[0, 2]], 0)
    assert np.all(np.isfinite(result.scale))
    assert np.all(result.scale > 0)
    if digits != 1:  # 0.75 = 1 - 1/4 has two digits
        assert result.values()[1, 0, 0, 0] == pytest.approx(-0.75)
        assert result.relative_error == pytest.approx(0)
    assert (
        approximate(
            np.zeros((2, 2)), Options(Levels.parse("T3"), scale_digits=digits)
        ).relative_error
        == 0
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_weights_that_are_not_finite_are_refused(bad):
    weights = np.ones((2, 9))
    weights[1, 3] = bad
    with pytest.raises(HwgenError, match="Finite weights"):
        approximate(weights, Options(Levels.parse("P7")))


def test_the_callers_array_is_left_alone():
    weights = np.random.default_rng(9).normal(size=(2, 3, 3, 3))
    before = weights.copy()
    approximate(weights, Options(Levels.parse("Q16"), Scale.KERNEL, 2))
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_snapped_scales_have_few_digits(digits):
    levels = Levels.parse("P9")
    weights = np.random.default_rng(10).laplace(size=(50, 25))
    scale, _, free = sweep(weights, levels)
    snapped, codes, error = snap(weights, levels, scale, digits=digits)
    for value in snapped:
        mantissa, _ = np.frexp(value)
        whole = int(mantissa * 2**30)
        whole //= whole & -whole
        assert whole in mantissas(digits)
    np.testing.assert_allclose(
        error, ((weights - codes * snapped[:, None] * 2.0**-levels.bits) ** 2).sum(1)
    )
    assert np.all(error >= free - 1e-12)


def test_snapped_power_of_two_is_the_best_one():
    levels = Levels.parse("P7")
    weights = np.random.default_rng(12).laplace(size=(20, 9))
    scale, _, _ = sweep(weights, levels)
    _, _, error = snap(weights, levels, scale, digits=1)
    tried = []
    for exponent in range(-6, 7):
        power = np.full(20, 2.0**exponent)
        inside = (power <= 2 * scale) & (2 * power >= scale)
        codes = nearest(weights, levels, power)
        tried.append(
            np.where(
                inside, ((weights - codes * power[:, None] * 2.0**-levels.bits) ** 2).sum(1), np.inf
            )
        )
    np.testing.assert_allclose(error, np.min(tried, axis=0))


def test_more_digits_are_never_worse():
    levels = Levels.parse("Q4")
    weights = np.random.default_rng(13).laplace(size=(40, 9))
    scale, _, _ = sweep(weights, levels)
    one, two = (snap(weights, levels, scale, digits=digits)[2] for digits in (1, 2))
    assert np.all(two <= one + 1e-12)
    assert two.sum() < one.sum()


def test_a_set_of_ones_own():
    levels = Levels.parse("1/8+3/4+2")
    assert levels.magnitudes == (Fraction(1, 8), Fraction(3, 4), Fraction(2))
    assert levels.integers.tolist() == [0, 1, 6, 16]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P6", "T3, P5"),
        ("1/3", "a / 2\\*\\*b"),
        ("0+1", "positive"),
        ("1+1", "different"),
        ("-1", "positive"),
        ("1/0", "T3, P5"),
        ("1/1048576", "below 16"),
        ("1/32768+2", "16 bits together"),
        ("", "T3, P5"),
    ],
)
def test_a_wrong_set(text, message):
    with pytest.raises(HwgenError, match=message):
        Levels.parse(text)


def test_scale_digits_wrong():
    with pytest.raises(HwgenError, match="1, 2 or 3, not 4"):
        Options(Levels.parse("P7"), scale_digits=4)


# Relative squared error of AlexNet's first layers: by kernel, filter and layer, conv1 then conv2.
TABLE = {
    "T3": (0.180, 0.203, 0.278, 0.191, 0.306, 0.353),
    "P5": (0.079, 0.094, 0.142, 0.080, 0.167, 0.207),
    "P7": (0.042, 0.049, 0.073, 0.036, 0.087, 0.116),
    "P9": (0.032, 0.036, 0.047, 0.024, 0.051, 0.070),
    "Q4": (0.028, 0.035, 0.062, 0.026, 0.077, 0.107),
    "Q8": (0.0083, 0.0111, 0.0232, 0.0065, 0.0300, 0.0503),
    "Q16": (0.0023, 0.0032, 0.0080, 0.0013, 0.0099, 0.0203),
}


# Canonical signed digits a weight.
DIGITS = {
    "T3": (0.470, 0.402, 0.294, 0.457, 0.295, 0.281),
    "P5": (0.592, 0.521, 0.388, 0.579, 0.397, 0.366),
    "P7": (0.717, 0.654, 0.519, 0.698, 0.514, 0.480),
    "P9": (0.807, 0.763, 0.640, 0.772, 0.628, 0.624),
    "Q4": (0.842, 0.743, 0.561, 0.804, 0.548, 0.505),
    "Q8": (1.089, 0.983, 0.760, 1.016, 0.734, 0.683),
    "Q16": (1.348, 1.254, 0.966, 1.178, 0.968, 0.727),
}


@pytest.mark.parametrize("name", TABLE)
def test_alexnet_table(name, hwgen_data):
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as file:
        layers = [file[layer] / 256 for layer in ("conv1", "conv2")]
    found = [
        approximate(weights, Options(Levels.parse(name), scale))
        for weights in layers
        for scale in Scale
    ]
    # The optimum may lie a little below a published figure, never above it.
    for result, published in zip(found, TABLE[name], strict=True):
        unit = 1e-4 if TABLE[name][0] < 0.01 else 1e-3
        assert published - unit < result.relative_error < published + 0.51 * unit
    # Of levels with the same error the smallest are taken; others of them have more digits.
    for result, published in zip(found, DIGITS[name], strict=True):
        digits = digit_count(result.codes).mean()
        assert 0.97 * published < digits < published + 0.51e-3


def test_equal_errors_take_the_fewest_digits():
    """1 : 2 is also 5 : 10 and 3 : 6; all of them are exact."""
    scale, codes, error = sweep(np.array([[0.1, -0.2]]), Levels.parse("Q16"))
    assert codes.tolist() == [[1, -2]]
    assert error[0] < 1e-30
    assert scale[0] == pytest.approx(1.6)


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_and_threads_do_not_matter(threads, monkeypatch):
    weights = np.random.default_rng(14).laplace(size=(101, 9))
    levels = Levels.parse("P7")
    whole = sweep(weights, levels)
    monkeypatch.setattr("hwgen.compress.methods.dyadic.CHUNK", 9 * 3 * 4)  # four groups at a time
    for one, other in zip(whole, sweep(weights, levels, threads=threads), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_grid_of_scales_is_better_on_a_real_layer(hwgen_data):
    with np.load(hwgen_data / "weights" / "alexnet_conv12_int8.npz") as file:
        weights = file["conv2"].reshape(-1, 25)[::12] / 256
    levels = Levels.parse("P7")
    _, _, error = sweep(weights, levels)
    top = np.where(np.abs(weights).max(1) > 0, np.abs(weights).max(1), 1.0)
    best = np.full(len(weights), np.inf)
    for factor in np.linspace(0.05, 2, 64):
        scale = top * factor
        values = np.ldexp(nearest(weights, levels, scale) * scale[:, None], -levels.bits)
        best = np.minimum(best, ((weights - values) ** 2).sum(1))
    assert np.all(error <= best + 1e-12)
    assert error.sum() < best.sum()


weights_of = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=n, max_size=n)
)
quick = settings(max_examples=60, deadline=None, derandomize=True)


@quick
@given(weights_of, st.sampled_from(["T3", "P7", "Q4"]))
def test_any_weights_have_the_optimum(values, name):
    weights, levels = np.array(values), Levels.parse(name)
    _, codes, error = sweep(weights[None], levels)
    top = np.abs(weights).max()
    wanted = brute_force(weights / top, levels) * top**2 if top > 0 else 0.0
    assert abs(error[0] - wanted) <= 1e-12 * (weights**2).sum()
    assert np.all(codes[0] * weights >= 0)


@quick
@given(
    st.lists(st.integers(-8, 8), min_size=1, max_size=9), st.floats(1e-100, 1e100),
    st.sampled_from(["Q8", "Q16"]),
)
def test_weights_of_the_set_stay_as_they_are(codes, unit, name):
    weights = np.array(codes)[None] * unit
    scale, found, error = sweep(weights, Levels.parse(name))
    values = np.ldexp(found * scale[:, None], -Levels.parse(name).bits)
    np.testing.assert_allclose(values, weights, rtol=1e-12)
    assert error[0] <= 1e-24 * (weights**2).sum()


@quick
@given(weights_of)
def test_sets_within_sets(values):
    weights = np.array(values)[None]
    errors = [sweep(weights, Levels.parse(n))[2][0] for n in ("T3", "P5", "P7", "P9", "Q8", "Q16")]
    slack = 1e-12 * (weights**2).sum()
    assert all(fine <= coarse + slack for coarse, fine in itertools.pairwise(errors))
