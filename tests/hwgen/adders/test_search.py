from __future__ import annotations

import numpy as np
import pytest

from hwgen.adders import compiled, search
from hwgen.adders.csd import digit_count
from hwgen.adders.greedy import Objective
from hwgen.adders.rows import Rows, unpacked
from hwgen.adders.search import build, least_depth
from hwgen.errors import HwgenError
from tests.hwgen.adders import helpers

RANGES = [(-128, 127), (0, 255), (-1, 0), (0, 1), (-37, 5)]
STEPS = 50


@pytest.fixture(params=["compiled", "python"], autouse=True)
def way(request, monkeypatch):
    """Both ways of searching; without a compiler only one is there."""
    if request.param == "python":
        monkeypatch.setattr(compiled, "missing", lambda: "not wanted here")
    elif (reason := compiled.missing()) is not None:
        pytest.skip(reason)
    return request.param


@pytest.mark.parametrize("sharing", [False, True])
@pytest.mark.parametrize("name", helpers.FAMILIES)
def test_is_the_matrix(name, sharing):
    """Every output, at random and extreme inputs, and its range, from the matrix alone."""
    matrix = helpers.family(name)
    for lo, hi in RANGES:
        graph = build(matrix, input_lo=lo, input_hi=hi, sharing=sharing, steps=STEPS)
        rng = np.random.default_rng(1)
        for x in helpers.vectors(rng, matrix, lo, hi, 20):
            assert helpers.evaluate(graph, x) == helpers.product(x, matrix)
        for column, bounds in zip(matrix.T.tolist(), graph.output_ranges, strict=True):
            assert bounds == (sum(min(w * lo, w * hi) for w in column),
                              sum(max(w * lo, w * hi) for w in column))


@pytest.mark.parametrize("name", helpers.FAMILIES)
def test_adders_are_at_most_the_digits(name):
    matrix = helpers.family(name)
    digits = digit_count(matrix).sum(axis=0)
    # a column of negative digits alone needs one more, for its sign
    least = [search.rows_of(matrix[:, [j]])[0] for j in range(matrix.shape[1])]
    signs = sum(bool(row) and all(sign < 0 for _, _, sign in row) for row in least)
    plain = build(matrix, input_lo=-128, input_hi=127, sharing=False)
    shared = build(matrix, input_lo=-128, input_hi=127, steps=0)
    assert plain.adders <= np.maximum(digits - 1, 0).sum() + signs
    assert shared.adders <= plain.adders


def test_sharing_saves():
    matrix = helpers.family("trained")
    plain = build(matrix, input_lo=-128, input_hi=127, sharing=False)
    assert build(matrix, input_lo=-128, input_hi=127, steps=0).adders < 0.8 * plain.adders


@pytest.mark.parametrize(("matrix", "adders"), [
    ([[7]], 1),                                    # 8 - 1
    ([[45]], 2),                                   # 5 * 9
    ([[3, 6, -12]], 2),                            # one triple; one of them negated
    ([[1, 1], [1, 1]], 1),
    ([[1, -1], [1, -1]], 2),
    ([[1, -1], [-1, 1]], 2),
    ([[-1], [-1]], 2),                             # no adder gives -a - b
    ([[-1, 0], [-1, 1], [1, -1]], 3),
    ([[1, 1], [1, 1], [1, -1], [0, 1]], 4),
    ([[0]], 0),
    ([[1 << 20]], 0),
    ([[-4]], 1),
])
def test_known_counts(matrix, adders):
    graph = build(np.array(matrix), input_lo=-128, input_hi=127, steps=STEPS)
    assert graph.adders == adders


def test_signs_are_pushed(way):
    """Of random matrices only columns without a positive digit should cost a negation."""
    rng = np.random.default_rng(3)
    beyond = 0
    for _ in range(20):
        matrix = rng.integers(-7, 8, (6, 6))
        rows = search.rows_of(matrix)
        forced = sum(all(sign < 0 for _, _, sign in row) for row in rows if row)
        graph = build(matrix, input_lo=0, input_hi=15, steps=STEPS)
        beyond += max(0, len(graph.negations) - forced)
    # Outputs that are read by others cannot always be turned.
    assert beyond <= (0 if way == "python" else 2)


@pytest.mark.parametrize("sharing", [False, True])
@pytest.mark.parametrize("name", helpers.FAMILIES)
def test_max_depth(name, sharing):
    matrix = helpers.family(name)
    least = least_depth(matrix)
    for limit in range(least, least + 3):
        graph = build(matrix, input_lo=0, input_hi=1, sharing=sharing, max_depth=limit,
                      steps=STEPS)
        assert graph.depth <= limit
    if least:
        with pytest.raises(HwgenError, match=f"Depth limit must be at least {least} for"):
            build(matrix, input_lo=0, input_hi=1, sharing=sharing, max_depth=least - 1)


@pytest.mark.parametrize("seed", range(12))
def test_max_depth_of_random_signs(seed):
    """Small matrices at their least depth, where a sign more is a level too many."""
    rng = np.random.default_rng(seed)
    for _ in range(30):
        matrix = rng.integers(-3, 3, rng.integers(1, 6, size=2))
        least = least_depth(matrix)
        graph = build(matrix, input_lo=0, input_hi=1, max_depth=least, steps=STEPS)
        assert graph.depth <= least
        assert build(matrix, input_lo=0, input_hi=1, max_depth=least, sharing=False).depth <= least


def test_same_arguments_same_graph():
    matrix = helpers.family("trained")
    one = build(matrix, input_lo=0, input_hi=255, steps=1000, seed=5)
    assert one == build(matrix.copy(), input_lo=0, input_hi=255, steps=1000, seed=5)


def test_steps_pay():
    matrix = helpers.family("uniform")
    counts = [build(matrix, input_lo=0, input_hi=255, steps=steps).adders for steps in (0, 5000)]
    assert counts[1] < counts[0]


def test_objective_bits():
    for name in ("uniform", "dyadic"):
        ports = {"input_lo": 0, "input_hi": 255}
        first = build(helpers.family(name), steps=0, **ports)
        narrow = build(helpers.family(name), objective=Objective.BITS, steps=3000, **ports)
        assert narrow.adder_bits < first.adder_bits


def test_matrix_is_left_alone():
    matrix = helpers.family("trained")
    before = matrix.copy()
    build(matrix, input_lo=0, input_hi=255, steps=STEPS)
    assert (matrix == before).all()


def test_a_range_for_each_input():
    graph = build(np.array([[1], [2], [-1]]), input_lo=[0, -8, 1], input_hi=[15, 7, 1])
    assert graph.output_ranges == ((-17, 28),)


def test_a_wrong_graph_is_never_returned(monkeypatch, way):
    """The elimination loses a term: expanding the graph has to notice."""
    if way == "python":
        honest = search.Elimination.terms
        monkeypatch.setattr(search.Elimination, "terms",
                            lambda self: [row[1:] if len(row) > 1 else row for row in honest(self)])
    else:
        monkeypatch.setattr("hwgen.adders.explore.unpacked", lambda *given: short(unpacked(*given)))
    with pytest.raises(AssertionError, match="The adder graph is not its matrix: Coefficient of"):
        build(helpers.family("uniform"), input_lo=0, input_hi=1, steps=STEPS)


def short(rows):
    """The same rows, the last one without its last term."""
    last = max(rows.rows)
    return Rows(rows.inputs, rows.outputs, rows.rows | {last: rows.rows[last][:-1]})


def test_more_patterns_than_are_kept(monkeypatch):
    """Counting in pieces, with rare patterns dropped on the way, still gives a right graph."""
    from hwgen.adders import greedy

    monkeypatch.setattr(compiled, "missing", lambda: "not wanted here")
    matrix = helpers.family("uniform")
    whole = build(matrix, input_lo=0, input_hi=1)
    monkeypatch.setattr(greedy, "PAIRS_AT_ONCE", 50)
    assert build(matrix, input_lo=0, input_hi=1) == whole
    monkeypatch.setattr(greedy, "PATTERNS_COUNTED", 40)
    monkeypatch.setattr(greedy, "PATTERNS_KEPT", 20)
    build(matrix, input_lo=0, input_hi=1)


@pytest.mark.parametrize(("matrix", "options", "error", "message"), [
    (np.zeros((2, 2)), {}, TypeError, "Matrix must hold integers, not float64"),
    (np.zeros(2, int), {}, HwgenError, "Matrix must have 2 dimensions (inputs, outputs), not 1"),
    (np.array([[1 << 31]]), {}, HwgenError,
     "Entries must be less than 2**31 in magnitude, not 2147483648..2147483648"),
    (np.eye(2, dtype=int), {"input_lo": 2}, HwgenError,
     "Input 0: lo must be at most hi, not 2..1"),
    (np.eye(2, dtype=int), {"input_lo": [0, 0, 0]}, HwgenError,
     "Input ranges must be one or 2 numbers, not (3,) and ()"),
    (np.eye(2, dtype=int), {"input_hi": 1.5}, TypeError, "Input ranges must be integers"),
    (np.eye(2, dtype=int), {"input_hi": 1 << 48}, HwgenError,
     "Input ranges must be less than 2**48 in magnitude"),
    (np.eye(2, dtype=int), {"max_depth": -1}, HwgenError, "Depth limit must be at least 0, not -1"),
    (np.eye(2, dtype=int), {"steps": -1}, HwgenError, "Steps must be at least 0, not -1"),
    (np.eye(2, dtype=int), {"seconds": float("nan")}, HwgenError,
     "Seconds must be at least 0, not nan"),
    (np.eye(2, dtype=int), {"seed": -1}, HwgenError, "Seed must be at least 0, not -1"),
])
def test_wrong_arguments(matrix, options, error, message):
    with pytest.raises(error) as caught:
        build(matrix, **{"input_lo": 0, "input_hi": 1} | options)
    assert str(caught.value) == message
