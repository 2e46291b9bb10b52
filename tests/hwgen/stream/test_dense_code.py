"""The words of the weights' memory, decoded here by the rule of the documentation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.stream.dense_code import DenseCode


def decoded(code: DenseCode) -> np.ndarray:
    """Return the steps, (slots, words, groups, passes, lanes, terms) signed digits, out of the
    memory."""
    words, places = code.weight.shape[1:]
    groups = -(-places // code.terms)
    slots = -(-code.weight.shape[0] // code.lanes)
    memory = code.memory()
    passes = len(memory) // (slots * words * groups)
    steps = np.zeros((slots, words, groups, passes, code.lanes, code.terms), np.int64)
    for address, word in enumerate(memory):
        rest, turn = divmod(address, passes)
        rest, group = divmod(rest, groups)
        slot, which = divmod(rest, words)
        for lane, term in np.ndindex(code.lanes, code.terms):
            field = word >> code.code_bits * (lane * code.terms + term) & (1 << code.code_bits) - 1
            magnitude = field & (1 << code.magnitude_bits) - 1
            sign = field >> code.magnitude_bits
            assert sign in (0, 1)
            assert magnitude or not sign, "zero has sign 0"
            value = 1 << code.base + magnitude - 1 if magnitude else 0
            steps[slot, which, group, turn, lane, term] = -value if sign else value
        assert word >> code.code_bits * code.lanes * code.terms == 0
    return steps


def weight_of(steps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put the digits together: output slot * lanes + lane, place group * terms + term."""
    slots, words, groups, _, lanes, terms = steps.shape
    weight = np.zeros((slots * lanes, words, groups * terms), np.int64)
    for slot, word, group, turn, lane, term in np.ndindex(*steps.shape):
        weight[slot * lanes + lane, word, group * terms + term] += steps[
            slot, word, group, turn, lane, term
        ]
    assert not weight[shape[0] :].any()
    assert not weight[:, :, shape[2] :].any()
    return weight[: shape[0], :, : shape[2]]


WEIGHTS = {
    "any": np.random.default_rng(0).integers(-120, 121, (5, 3, 4)),
    "one digit": (1 << np.random.default_rng(1).integers(2, 9, (4, 2, 3))) * np.array([[1, -1, 1]]),
    "positive": np.random.default_rng(2).integers(0, 12, (3, 4, 2)),
    "negative": -np.random.default_rng(3).integers(1, 9, (3, 1, 5)),
    "zero": np.zeros((3, 2, 2), np.int64),
    "all the same power": np.full((2, 2, 3), 8),
    "most negative": np.full((3, 2, 2), -(1 << 31)),
    "ternary": np.random.default_rng(4).integers(-1, 2, (7, 2, 1)),
    "one weight": np.array([[[-37]]]),
}


@pytest.mark.parametrize(("lanes", "terms"), [(1, 1), (2, 1), (3, 2), (1, 3), (7, 5)])
@pytest.mark.parametrize("name", WEIGHTS)
def test_memory_holds_the_weights(name, lanes, terms):
    weight = WEIGHTS[name]
    code = DenseCode(weight, min(lanes, weight.shape[0]), min(terms, weight.shape[2]))
    steps = decoded(code)
    assert np.array_equal(weight_of(steps, weight.shape), weight)
    slots, words, groups, passes = steps.shape[:4]
    assert (code.slots, code.words, code.groups, code.passes) == (slots, words, groups, passes)
    assert code.steps == words * groups * passes
    assert code.interval == len(code.memory()) == slots * code.steps


@pytest.mark.parametrize(
    ("name", "signed", "passes"),
    [
        ("any", True, 4),
        ("one digit", True, 1),
        ("positive", True, 3),
        ("negative", True, 2),
        ("zero", False, 1),
        ("all the same power", False, 1),
        ("most negative", True, 1),
        ("ternary", True, 1),
    ],
)
def test_fields(name, signed, passes):
    """No sign bit where none is negative; as many passes as the weight of most digits has."""
    code = DenseCode(WEIGHTS[name], 1)
    assert (code.signed, code.passes) == (signed, passes)
    assert code.code_bits == code.magnitude_bits + signed


def test_largest_digit_first():
    steps = np.abs(decoded(DenseCode(WEIGHTS["any"], 2)))
    assert (np.diff(np.where(steps == 0, 0, steps), axis=3) <= 0).all()


@pytest.mark.parametrize("lanes", [1, 2])
def test_bounds_hold_and_are_reached(lanes):
    """Every partial sum, at every corner of the codes; the outermost ones without bias are the
    bounds."""
    weight = np.random.default_rng(5).integers(-11, 12, (3, 2, 2))
    lo, hi = np.array([-3, 0]), np.array([2, 5])
    for bias in (np.zeros(3, np.int64), np.array([40, -40, 0])):
        code = DenseCode(weight, lanes)
        least, most = code.bounds(lo, hi, bias)
        seen = []
        for corner in itertools.product(*[(lo[p], hi[p]) for _ in range(2) for p in range(2)]):
            x = np.array(corner).reshape(2, 2)
            steps = decoded(code)[..., 0]  # slot word group pass lane
            terms = steps * x[None, :, :, None, None]
            order = terms.reshape(terms.shape[0], -1, lanes)
            sums = np.cumsum(order, axis=1).transpose(0, 2, 1).reshape(-1, order.shape[1])[:3]
            seen.append(sums + bias[:, None])
        inner, outer = np.min(seen, axis=(0, 2)), np.max(seen, axis=(0, 2))
        assert (least <= np.minimum(inner, bias)).all()
        assert (most >= np.maximum(outer, bias)).all()
        if not bias.any():
            digits = (
                decoded(code)[..., 0].transpose(0, 4, 1, 2, 3).reshape(-1, 2, 2, code.passes)[:3]
            )
            worst = np.maximum(
                digits * lo[None, None, :, None], digits * hi[None, None, :, None]
            ).sum(axis=(1, 2, 3))
            assert np.array_equal(most, worst)
