from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.adders.csd import csd_digits, digit_count


def fewest_terms(limit: int) -> dict[int, int]:
    """Fewest signed powers of two for each value: breadth first, not by any digit formula."""
    powers = [sign << k for k in range(limit.bit_length() + 1) for sign in (1,)]
    best = {0: 0}
    front = [0]
    while front:
        after = []
        for value in front:
            for power in powers:
                for other in (value + power, value - power):
                    if abs(other) <= 2 * limit and other not in best:
                        best[other] = best[value] + 1
                        after.append(other)
        front = after
    return best


def test_count_is_the_fewest():
    best = fewest_terms(1 << 11)
    values = np.arange(-(1 << 11), (1 << 11) + 1)
    assert digit_count(values).tolist() == [best[v] for v in values.tolist()]


@settings(deadline=None)
@given(st.lists(st.integers(-(1 << 61) + 1, (1 << 61) - 1), max_size=20))
def test_digits_add_up(values):
    array = np.array(values, dtype=np.int64)
    index, shift, sign = csd_digits(array)
    total = [0] * len(values)
    places: list[set[int]] = [set() for _ in values]
    for n, s, g in zip(index.tolist(), shift.tolist(), sign.tolist(), strict=True):
        assert g in (1, -1)
        assert not {s - 1, s, s + 1} & places[n]          # canonical: no two neighbours
        places[n].add(s)
        total[n] += g << s
    assert total == values
    assert digit_count(array).tolist() == [len(place) for place in places]


def test_digits_are_ordered():
    index, shift, _ = csd_digits(np.array([[7, -5], [0, 85]]))
    pairs = list(zip(index.tolist(), shift.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 3), (1, 0), (1, 2), (3, 0), (3, 2), (3, 4), (3, 6)]


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 2, 2), ()])
def test_shape_is_kept(shape):
    assert digit_count(np.zeros(shape, dtype=np.int8)).shape == shape
    assert [part.size for part in csd_digits(np.zeros(shape, dtype=np.int8))] == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32])
def test_ends_of_a_type(dtype):
    ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype=dtype)
    assert digit_count(ends).tolist() == digit_count(ends.astype(np.int64)).tolist()


def test_floats_are_refused():
    with pytest.raises(TypeError, match="Values must be integers, not float64"):
        digit_count(np.array([1.0]))


@pytest.mark.parametrize("value", [1 << 61, -(1 << 61)])
def test_too_large(value):
    with pytest.raises(ValueError, match="must be less than 2\\*\\*61 in magnitude"):
        csd_digits(np.array([value]))
