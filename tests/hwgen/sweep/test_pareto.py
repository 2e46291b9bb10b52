from __future__ import annotations

import random

import pytest

from hwgen.sweep.pareto import front_of, views


def row(key: str, accuracy: float | None, **figures: object) -> dict[str, object]:
    """A point that is done."""
    return {"key": key, "digest": key, "status": "done", "accuracy_integer": accuracy, "adders": 1,
            "cycles": 1, "lut": 1, "lut_from": "synth", "target": "up5k", **figures}


def by_definition(rows: list[dict[str, object]], cost: str) -> set[object]:
    """Each row held against each other one."""
    def beats(other, one):
        at_least = (other["accuracy_integer"] >= one["accuracy_integer"]
                    and other[cost] <= one[cost])
        return at_least and (other["accuracy_integer"] > one["accuracy_integer"]
                             or other[cost] < one[cost])

    return {one["key"] for one in rows if not any(beats(other, one) for other in rows)}


@pytest.mark.parametrize("count", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("values", [2, 5, 1000])          # few values: many ties
def test_front_is_that_of_the_definition(count: int, values: int) -> None:
    for seed in range(30):
        draw = random.Random(seed)
        rows = [row(str(n), draw.randrange(values) / values, lut=draw.randrange(values))
                for n in range(count)]
        assert front_of(rows, "lut") == by_definition(rows, "lut")


def test_equal_points_stay_together() -> None:
    rows = [row("a", 0.9, lut=5), row("b", 0.9, lut=5), row("c", 0.9, lut=6),
            row("d", 0.8, lut=5)]
    assert front_of(rows, "lut") == {"a", "b"}


def test_luts_are_compared_within_a_target() -> None:
    found = views([
        row("a", 0.9, lut=100), row("b", 0.8, lut=200), row("c", 0.7, lut=300, target="ecp5-85"),
        row("d", 0.6, lut=400, target=None, lut_from="estimate"),
        row("e", 0.5, lut=500, lut_from="pnr"), row("f", 0.5, lut=None, adders=None)])
    assert [(view.title, sorted(view.front)) for view in found] == [
        ("LUTs, ecp5-85", ["c"]), ("LUTs, estimate", ["d"]), ("LUTs, up5k", ["a"]),
        ("cycles an image", ["a"]), ("adders", ["a"])]
    assert [sorted(one["key"] for one in view.rows) for view in found] == [
        ["c"], ["d"], ["a", "b", "e"], ["a", "b", "c", "d", "e", "f"], ["a", "b", "c", "d", "e"]]


def test_adders_are_the_networks() -> None:
    rows = [row("a", 0.9, digest="x"), row("b", 0.9, digest="x"), row("c", 0.8, digest="y")]
    adders = views(rows)[-1]
    assert [one["key"] for one in adders.rows] == ["a", "c"]
    assert adders.front == {"a"}


def test_failed_points_are_in_no_chart() -> None:
    failed = {**row("b", None), "status": "failed"}
    assert [sorted(one["key"] for one in view.rows) for view in views([row("a", 0.9), failed])] == [
        ["a"]] * 3
