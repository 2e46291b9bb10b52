"""Drivers and monitors against plain objects in place of a simulator."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from hwgen.sim.monitors import Driver, Monitor, Pace, Sink


@dataclass
class Wire:
    """A wire without a simulator."""

    value: Any = 0


def driver(words: bytes, *, beats: int, seed: int | None = None) -> tuple[Driver, dict[str, Wire]]:
    """A driver of one-byte beats and its wires."""
    wires = {name: Wire() for name in ("valid", "ready", "data", "last")}
    ends = range(beats - 1, len(words), beats)
    pace = Pace(None if seed is None else random.Random(seed))
    return Driver(*wires.values(), words=words, size=1, ends=ends, pace=pace), wires


def test_driver_flat_out() -> None:
    one, wires = driver(bytes(range(6)), beats=3)
    wires["ready"].value = 1
    seen = []
    for cycle in range(8):
        one.drive()
        seen.append((wires["valid"].value, wires["data"].value, wires["last"].value))
        one.sample(cycle)
    assert seen[:6] == [(1, 0, 0), (1, 1, 0), (1, 2, 1), (1, 3, 0), (1, 4, 0), (1, 5, 1)]
    assert [valid for valid, _, _ in seen[6:]] == [0, 0]
    assert (one.taken, one.first_cycle) == (6, 0)


@pytest.mark.parametrize("seed", range(5))
def test_driver_holds_until_taken(seed: int) -> None:
    one, wires = driver(bytes(range(50)), beats=10, seed=seed)
    rng = random.Random(seed)
    taken, held, gaps = [], None, 0
    for cycle in range(3000):
        one.drive()
        now = (wires["data"].value, wires["last"].value) if wires["valid"].value else None
        if held is not None:
            assert now == held
        gaps += now is None and len(taken) < 50
        wires["ready"].value = int(rng.random() < 0.5)
        one.sample(cycle)
        held = now if not wires["ready"].value else None
        if now is not None and wires["ready"].value:
            taken.append(now)
    assert taken == [(n, int(n % 10 == 9)) for n in range(50)]
    assert gaps > 0


def test_sink_pauses_and_goes_on() -> None:
    ready = Wire()
    sink = Sink(Wire(1), ready, pace=Pace(random.Random(1)), shy_from=1000)
    levels = []
    for _ in range(500):
        sink.drive()
        levels.append(ready.value)
    runs = "".join(map(str, levels)).replace("10", "1 0").replace("01", "0 1").split()
    assert max(len(run) for run in runs if "0" in run) > 10
    assert max(len(run) for run in runs if "1" in run) > 10


def test_sink_waits_for_valid_at_the_end() -> None:
    valid, ready = Wire(1), Wire()
    sink = Sink(valid, ready, pace=Pace(random.Random(1)), shy_from=10)
    before = 0
    for _ in range(1000):
        sink.drive()
        if sink.taken >= 10 and ready.value:
            assert before                       # seen high, not taken, in the cycle before
        sink.sample()
        before = valid.value and not ready.value
        valid.value = 1
    assert sink.taken > 50
    valid.value = 0
    for _ in range(100):
        sink.drive()
        sink.sample()
        assert sink.taken < 10 or not ready.value or before
        before = 0


def test_sink_always_ready() -> None:
    ready = Wire()
    sink = Sink(Wire(), ready, pace=Pace(None), shy_from=0)
    sink.drive()
    assert ready.value == 1


def monitored(*cycles: tuple[str, str, str]) -> Monitor:
    """What a monitor made of these (valid, ready, payload)."""
    valid, ready, payload = Wire(), Wire(), Wire()
    one = Monitor("conv1", valid, ready, payload, cycles=True)
    for n, values in enumerate(cycles):
        valid.value, ready.value, payload.value = values
        one.sample(n)
    return one


def test_monitor_records_what_goes_over() -> None:
    one = monitored(("0", "1", "11"), ("1", "0", "01"), ("1", "1", "01"), ("1", "1", "10"))
    assert (one.beats, one.cycles, one.breaches) == (["01", "10"], [2, 3], [])


@pytest.mark.parametrize(
    ("cycles", "breach"),
    [
        (
            [("1", "0", "01"), ("0", "1", "01")],
            "valid fell before its beat was taken (cycle 1, beat 0)",
        ),
        (
            [("1", "0", "01"), ("1", "1", "11")],
            "the payload changed before its beat was taken (cycle 1, beat 0)",
        ),
        ([("X", "1", "01")], "valid is X (cycle 0, beat 0)"),
        ([("1", "1", "01"), ("1", "Z", "01")], "ready is Z (cycle 1, beat 1)"),
    ],
)
def test_monitor_finds_breach(cycles: list[tuple[str, str, str]], breach: str) -> None:
    assert monitored(*cycles).breaches == [f"conv1: {breach}"]


def test_monitor_tells_few_counts_all() -> None:
    one = monitored(*[("X", "1", "0")] * 20)
    assert (len(one.breaches), one.breach_count) == (Monitor.MOST, 20)


def test_pace_stands_still_first_and_again() -> None:
    pace = Pace(random.Random(1), reach=300)
    went = [pace.go() for _ in range(20000)]
    assert went[:300] == [False] * 300
    runs = "".join("1" if go else " " for go in went[300:]).replace("1", "1 ").split("1")
    assert max(len(run) for run in runs) > 150
    assert sum(went) > 5000


def test_pace_goes_on_first() -> None:
    pace = Pace(random.Random(1), reach=300, first=1.0)
    assert all(pace.go() for _ in range(300))
    assert not all(pace.go() for _ in range(300))
