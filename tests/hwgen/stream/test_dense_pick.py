# amaranth: UnusedElaboratable=no
"""Dense layers whose lanes pick their activations, beside the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.network import Dense, int64
from hwgen.stream.beat import BeatFormat
from hwgen.stream.dense_pick import DensePick
from hwgen.stream.dense_plan import least_steps
from hwgen.stream.pick_code import PickCode
from tests.hwgen.stream.harness import run


def dense(kind, outputs, inputs, bias=None):
    rng = np.random.default_rng(outputs)
    weight = {
        "any": rng.integers(-40, 41, (outputs, inputs)),
        "dyadic": rng.choice([0, 0, 1, -1, 2, -4, 8], (outputs, inputs)),
        "even": rng.choice([0, 4, -16], (outputs, inputs)),
        "few": np.where(rng.random((outputs, inputs)) < 0.1, 8, 0),
        "lowest": np.full((outputs, inputs), -128),
    }[kind]
    bias = [0] * outputs if bias is None else bias
    return Dense("y", "x", int64(weight), int64(bias), int64([0] * outputs))


def expected(code: PickCode, x):
    """What the memory's words say, worked out step by step from their fields alone."""
    results = []
    share, position = code.lane_bits, 0
    sums = [0] * code.lanes
    for word in code.memory():
        start, end = word >> code.lanes * share & 1, word >> code.lanes * share + 1 & 1
        for lane in range(code.lanes):
            bits = word >> lane * share
            double = bits >> code.terms * code.term_bits & 1
            total = 0 if start else sums[lane] << double
            for k in range(code.terms):
                term = bits >> k * code.term_bits & (1 << code.term_bits) - 1
                n = term & (1 << code.address_bits) - 1
                negative, used = term >> code.address_bits & 1, term >> code.address_bits + 1
                total += (-x[n] - code.inverts if negative else x[n]) if used else 0
            sums[lane] = total
            if end and position * code.lanes + lane < code.outputs:
                bias = bits >> code.terms * code.term_bits + 1 & (1 << code.bias_bits) - 1
                if code.bias_bits and bias >> code.bias_bits - 1:
                    bias -= 1 << code.bias_bits
                results.append((total << code.base) + bias)
        position += end
    return results


@pytest.mark.parametrize("kind", ["any", "dyadic", "even", "few", "lowest"])
@pytest.mark.parametrize("inverts", [False, True])
@pytest.mark.parametrize(("lanes", "terms"), [(1, 1), (2, 3), (5, 4), (3, 7)])
def test_words(kind, lanes, terms, inverts):
    """The memory's words, taken literally, are the matrix product; its length is what is said."""
    layer = dense(kind, 5, 12, [3, -700, 0, 1, -1])
    code = PickCode(layer.weight.reshape(5, 4, 3), layer.bias, lanes, terms, inverts=inverts)
    x = np.random.default_rng(1).integers(-8, 8, 12)
    assert expected(code, x.tolist()) == (layer.weight @ x + layer.bias).tolist()
    assert len(code.memory()) == code.steps == code.slot_ends[-1]


def through(layer, *, words, lanes, terms, lo, hi, seed, count=4, inverts=False, least=8):
    outputs, inputs = layer.weight.shape
    places = inputs // words
    source = BeatFormat((lo,) * places, (hi,) * places, places, words, 1)
    code = PickCode(layer.weight.reshape(outputs, words, places), layer.bias, lanes, terms,
                    inverts=inverts, least=least)
    rng = np.random.default_rng(0)
    x = rng.integers(lo, hi, (count, inputs), endpoint=True)
    x[0], x[1] = lo, hi
    y = x @ layer.weight.T + layer.bias
    slots = code.slots
    padded = np.pad(y, ((0, 0), (0, slots * lanes - outputs))).reshape(count * slots, lanes)
    limit = int(abs(padded).max()) + 1
    format = BeatFormat((-limit,) * lanes, (limit,) * lanes, outputs, 1, 1, slots)
    dut = DensePick(code=code, source=source, format=format)
    beats = [tuple(beat) for beat in x.reshape(-1, places).tolist()]
    found, times = run(dut, beats, count * slots, seed=seed, limit=20000)
    assert found == [tuple(row) for row in padded.tolist()]
    return dut, times


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(
    ("kind", "outputs", "lanes", "terms", "words", "lo", "hi"),
    [
        ("any", 5, 2, 3, 4, -8, 7),
        ("dyadic", 6, 1, 4, 12, 0, 255),
        ("even", 4, 4, 1, 3, 0, 1),
        ("few", 3, 1, 2, 6, -1, 0),
        ("lowest", 3, 2, 5, 2, -32768, 32767),
    ],
)
def test_matches_product(kind, outputs, lanes, terms, words, lo, hi, seed):
    dut, times = through(dense(kind, outputs, 12), words=words, lanes=lanes, terms=terms,
                         lo=lo, hi=hi, seed=seed)
    if seed is None:
        slots = dut.code.slots
        arrivals = np.array(times.taken[:words])
        assert times.taken[:words] == dut.take(np.zeros(words, np.int64))[0].tolist()
        assert times.offered[:slots] == (
            dut.departures(np.zeros(words, np.int64)).tolist())
        assert arrivals[-1] < times.offered[0]
        gaps = np.diff(times.given[slots - 1 :: slots])
        assert gaps[-1] == dut.interval


@pytest.mark.parametrize("steps", range(8, 31))
def test_interval_is_the_longer_of_writing_and_reading(steps):
    """Steps about as many as the 18 cycles of writing are stretched, and no others are."""
    least = least_steps(steps, 18)
    dut, times = through(Dense("y", "x", np.ones((1, 18), np.int64), int64([0]), int64([0])),
                         words=18, lanes=1, terms=18, lo=0, hi=1, seed=None, count=12,
                         inverts=True, least=max(steps, least))
    assert dut.code.steps == (steps if abs(steps - 18) >= 3 else 21)
    assert (np.diff(times.given)[2:] == dut.interval).all()


def test_steps_like_writes_are_not_the_interval():
    """Why they are stretched."""
    dut, times = through(Dense("y", "x", np.ones((1, 18), np.int64), int64([0]), int64([0])),
                         words=18, lanes=1, terms=18, lo=0, hi=1, seed=None, count=12,
                         inverts=True, least=18)
    assert set(np.diff(times.given)[2:].tolist()) == {dut.interval, dut.interval + 3}


def test_wrong_word_is_caught(monkeypatch):
    """One sign turned round in one word of the memory of steps changes a result."""
    right = PickCode.memory

    def faulty(code):
        words = right(code)
        words[3] ^= 1 << code.address_bits
        return words

    monkeypatch.setattr(PickCode, "memory", faulty)
    with pytest.raises(AssertionError):
        through(dense("any", 3, 6), words=2, lanes=1, terms=2, lo=-8, hi=7, seed=None)


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("inverts", [False, True])
def test_bias(inverts, seed):
    through(dense("any", 3, 4, [1000, -1, 0]), words=2, lanes=2, terms=2, lo=-8, hi=7, seed=seed,
            inverts=inverts)


@pytest.mark.parametrize(("lo", "hi"), [(0, 255), (-128, 127), (0, 1), (-1, 0)])
@pytest.mark.parametrize("kind", ["any", "lowest", "few"])
def test_inverted(kind, lo, hi):
    """Activations stored once, negative terms inverted: the same sums, written in half the time."""
    dut, times = through(dense(kind, 3, 6), words=3, lanes=2, terms=2, lo=lo, hi=hi, seed=None,
                         inverts=True)
    assert times.taken[:3] == dut.take(np.zeros(3, np.int64))[0].tolist() == [1, 3, 5]
    assert times.offered[: dut.code.slots] == dut.departures(np.zeros(3, np.int64)).tolist()


def test_one_output_of_zeros():
    """A layer without weights still gives its bias, eight steps an image."""
    layer = Dense("y", "x", int64([[0, 0]]), int64([-9]), int64([0]))
    dut, _ = through(layer, words=1, lanes=1, terms=1, lo=0, hi=3, seed=None)
    assert dut.code.steps == 8
