"""Against the optimum, found by trying everything, and properties over generated matrices."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.adders import compiled
from hwgen.adders.graph import expand
from hwgen.adders.rows import Part, Rows, unpacked
from hwgen.adders.search import build, default_steps
from tests.hwgen.adders import helpers

pytestmark = pytest.mark.skipif(compiled.missing() is not None, reason=str(compiled.missing()))
LARGEST = 3                   # entries in magnitude
REACH = 16                    # of intermediate values


def odd(vector):
    """A vector without common factors of 2, its first entry positive."""
    a, b = vector
    while not (a | b) & 1:
        a, b = a // 2, b // 2
    return (a, b) if (a, b) > (-a, -b) else (-a, -b)


@cache
def sums(u, v):
    """Every value, up to shift and sign, of one adder that reads u and v."""
    found = set()
    for shift in range(4):
        for p, q in ((u, v), (v, u)):
            for sign in (1, -1):
                total = tuple(x + sign * (y << shift) for x, y in zip(p, q, strict=True))
                if any(total) and max(map(abs, total)) <= REACH:
                    found.add(odd(total))
    return frozenset(found)


def least_adders(matrix, limit=4):
    """The fewest adders for the columns of a 2 x 2 matrix, signs of outputs being free."""
    wanted = {odd(tuple(column)) for column in matrix.T.tolist() if any(column)}
    have = {(1, 0), (0, 1)}

    def reachable(have, left):
        missing = wanted - have
        if len(missing) > left:
            return False
        if not missing:
            return True
        options = set()
        for u, v in itertools.combinations_with_replacement(sorted(have), 2):
            options |= sums(u, v)
        options -= have
        if left == len(missing):
            options &= missing
        return any(reachable(have | {value}, left - 1) for value in sorted(options))

    return next(n for n in range(limit + 1) if reachable(have, n))


def test_least_adders_itself():
    assert least_adders(np.array([[1, 0], [0, 1]])) == 0
    assert least_adders(np.array([[3, 1], [0, 1]])) == 2
    assert least_adders(np.array([[1, 2], [1, 2]])) == 1
    assert least_adders(np.array([[3, 3], [1, -1]])) == 3


def test_tiny_matrices_are_optimal():
    """Every tenth 2 x 2 matrix: negations apart, all are found with the fewest adders."""
    values = range(-LARGEST, LARGEST + 1)
    beyond = []
    for entries in list(itertools.product(values, repeat=4))[::10]:
        matrix = np.array(entries).reshape(2, 2)
        graph = build(matrix, input_lo=-8, input_hi=7, steps=500)
        beyond.append(len(graph.nodes) - least_adders(matrix))
    assert min(beyond) >= 0
    assert max(beyond) == 0


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_generated_matrices(data):
    """Columns that are zero, equal, negated and shifted among others, 16-bit entries."""
    rows, columns = data.draw(SHAPES)
    top = data.draw(st.sampled_from([1, 7, 128, 1 << 15]))
    entry = st.integers(-top, top - 1) | st.just(0) | st.just(-top)
    matrix = np.array(data.draw(st.lists(st.lists(entry, min_size=columns, max_size=columns),
                                         min_size=rows, max_size=rows)), dtype=np.int64)
    extra = [matrix[:, :1] * factor for factor in data.draw(st.lists(
        st.sampled_from([0, 1, -1, 2, -4]), max_size=3))]
    matrix = np.concatenate([matrix, *extra], axis=1)
    graph = build(matrix, input_lo=-3, input_hi=4, steps=20)
    x = np.random.default_rng(0).integers(-3, 5, (4, rows)).tolist()
    for vector in x:
        assert helpers.evaluate(graph, vector) == helpers.product(vector, matrix)


@pytest.mark.parametrize("name", ["uniform", "trained", "shifted columns", "16 bit", "ternary"])
def test_turned_round_twice(name):
    """A graph walked backwards is one of the transposed matrix, with the adders of the theorem."""
    matrix = helpers.family(name)
    used = matrix[:, [bool(column.any()) for column in matrix.T]]
    used = used[[bool(row.any()) for row in used]]
    inputs, outputs = used.shape
    search = compiled.NativeSearch(inputs, outputs, kernel=(1, 1), lo=[-1] * inputs,
                                   hi=[1] * inputs, bits=False, max_depth=None, seed=0)
    from hwgen.adders.explore import digit_rows

    search.start(digit_rows(used[:, :, None, None]).packed())
    rows = unpacked(search.best(), inputs, outputs)
    assert (product_of(rows) == used).all()
    turned = rows.transposed()
    assert (product_of(turned) == used.T).all()
    assert turned.adders == rows.adders + outputs - inputs
    assert (product_of(turned.transposed()) == used).all()


def product_of(rows: Rows):
    """The matrix of some rows, in Python integers, by themselves."""
    forms = {n: [int(k == n) * 2 ** 40 for k in range(rows.inputs)] for n in range(rows.inputs)}
    for signal, parts in rows.rows.items():
        forms[signal] = [sum(p.sign * forms[p.signal][k] * 2 ** max(p.shift, 0)
                             // 2 ** max(-p.shift, 0) for p in parts) for k in range(rows.inputs)]
    ends = range(rows.inputs, rows.inputs + rows.outputs)
    return np.array([[value >> 40 for value in forms[signal]] for signal in ends]).T


def test_runs_in_pieces_are_the_same():
    """The search may be interrupted anywhere: the state is in it, not in the call."""
    matrix = helpers.family("uniform")
    from hwgen.adders.explore import digit_rows

    found = []
    for pieces in (1, 4):
        search = compiled.NativeSearch(8, 8, kernel=(1, 1), lo=[-1] * 8, hi=[1] * 8, bits=False,
                                       max_depth=None, seed=3)
        search.start(digit_rows(matrix[:, :, None, None]).packed())
        for n in range(pieces):
            search.run(400 // pieces, n / pieces, (n + 1) / pieces, hot=0.5, cold=0.1)
        found.append(search.best().tolist())
    assert found[0] == found[1]


def test_interrupt_comes_through(monkeypatch):
    """Ctrl-C ends a search at the next look at the clock, with its memory freed."""
    closed = []
    monkeypatch.setattr(compiled.NativeSearch, "run", interrupt)
    honest = compiled.NativeSearch.close
    monkeypatch.setattr(compiled.NativeSearch, "close",
                        lambda self: (closed.append(1), honest(self))[1])
    with pytest.raises(KeyboardInterrupt):
        build(helpers.family("uniform"), input_lo=0, input_hi=1, steps=1000)
    assert closed


def interrupt(*arguments: object, **options: object) -> float:
    raise KeyboardInterrupt


def test_no_time_is_enough():
    matrix = helpers.family("uniform")
    assert (expand(build(matrix, input_lo=0, input_hi=1, seconds=0.0)) == matrix).all()


def test_fewer_steps_for_more_digits():
    assert default_steps(10) > default_steps(2000) > default_steps(100_000) > 0


def test_parts_that_are_fractions():
    """A row whose parts are halves, only their sum a whole: y0 = (2 x0 + x1) / 2 + x1 / 2."""
    halves = Rows(2, 2, {4: (Part(0, 1, 1), Part(1, 0, 1)), 2: (Part(4, -1, 1), Part(1, -1, 1)),
                         3: (Part(0, 0, 1), Part(1, 2, -1))})
    search = compiled.NativeSearch(2, 2, kernel=(1, 1), lo=[-1] * 2, hi=[1] * 2, bits=False,
                                   max_depth=None, seed=0)
    search.start(halves.packed(), close=False)
    search.run(200, 0, 1, hot=0.5, cold=0.1)
    found = unpacked(search.best(), 2, 2)
    assert product_of(found).tolist() == product_of(halves).tolist() == [[1, 1], [1, -4]]
    assert found.adders == 2


@pytest.mark.parametrize("turn", [False, True])
def test_long_searches_stay_right(turn):
    """Thousands of steps, some from where another search ended, give the matrix they began with."""
    from hwgen.adders.explore import digit_rows

    rng = np.random.default_rng(3)
    matrix = rng.integers(-9, 10, (14, 9)) * (rng.random((14, 9)) < 0.7)
    rows = digit_rows(matrix[:, :, None, None])
    for seed in range(4):
        search = compiled.NativeSearch(rows.inputs, rows.outputs, kernel=(1, 1),
                                       lo=[-1] * rows.inputs, hi=[1] * rows.inputs, bits=False,
                                       max_depth=None, seed=seed)
        search.start(rows.packed())
        search.run(3000, 0, 1, hot=0.6, cold=0.12)
        rows = unpacked(search.best(), rows.inputs, rows.outputs)
        rows = rows.transposed() if turn else rows
        wanted = matrix.T if turn and seed % 2 == 0 else matrix
        assert (product_of(rows) == wanted).all()
