"""Drivers and monitors of streams, one step a clock cycle, for the test benches that run inside a
simulator.

All of them are driven by one clock loop: ``drive`` sets what a cycle offers, and ``sample`` sees
what the rising edge will see, all signals settled. None looks at what another one does, only at the
wires. Signals are cocotb handles or anything else with a ``value`` whose ``str`` is the bits, most
significant first.
"""

from __future__ import annotations

import random
from collections.abc import Container
from typing import Any, Protocol


class Signal(Protocol):
    """A wire of the design: ``str(value)`` is its bits, most significant first; writable if it is
    an input.
    """

    value: Any


class Pace:
    """Decides in each cycle whether to go on, in phases of random length and random eagerness.

    Phases of never, seldom, often and always make both standstills and dense bursts; a design that
    only survives evenly spread pauses is found out. Behind layers that give few results, only a
    standstill of some images' time is felt at all, so the first phase is one of ``reach`` cycles,
    and others of up to that length follow now and then.

    Parameters
    ----------
    rng : random.Random or None
        None: go on always.
    reach : int
        Cycles of the longest standstill.
    first : float
        Eagerness in the first ``reach`` cycles.
    """

    EAGERNESS = (0.0, 0.1, 0.5, 0.5, 0.9, 1.0)
    SHORT = 40                # cycles of an ordinary phase, at most

    def __init__(self, rng: random.Random | None, *, reach: int = 0, first: float = 0.0) -> None:
        self.rng = rng
        self.reach = reach
        self.left = reach
        self.eager = first
        self.seldom = min(1 / 16, self.SHORT / max(2 * reach, 1))

    def go(self) -> bool:
        """Tell whether to go on in this cycle."""
        if self.rng is None:
            return True
        if self.left == 0:
            if self.reach > self.SHORT and self.rng.random() < self.seldom:
                self.left, self.eager = self.rng.randint(self.SHORT, self.reach), 0.0
            else:
                self.left = self.rng.randint(1, self.SHORT)
                self.eager = self.rng.choice(self.EAGERNESS)
        self.left -= 1
        return self.rng.random() < self.eager


class Driver:
    """Offers the beats of images on an AXI4-Stream input; a beat offered stays until it is
    taken.

    Parameters
    ----------
    valid, ready, data, last : Signal
    words : bytes
        Beats one after the other, ``size`` bytes each, least significant first.
    ends : container of int
        Numbers of the beats that ``last`` goes with.
    pace : Pace
        When to offer the next beat.
    """

    def __init__(
        self,
        valid: Signal,
        ready: Signal,
        data: Signal,
        last: Signal,
        *,
        words: bytes,
        size: int,
        ends: Container[int],
        pace: Pace,
    ) -> None:
        self.valid, self.ready, self.data, self.last = valid, ready, data, last
        self.words, self.size, self.ends, self.pace = words, size, ends, pace
        self.count = len(words) // size
        self.taken = 0
        self.first_cycle = -1
        self.offered = False
        valid.value, data.value, last.value = 0, 0, 0
        self.high = self.end = False

    def drive(self) -> None:
        """Offer a beat in this cycle, or not."""
        if self.offered:
            return
        if self.taken < self.count and self.pace.go():
            place = self.taken * self.size
            self.data.value = int.from_bytes(self.words[place : place + self.size], "little")
            end = self.taken in self.ends
            if end != self.end:
                self.last.value, self.end = int(end), end
            if not self.high:
                self.valid.value, self.high = 1, True
            self.offered = True
        elif self.high:
            self.valid.value, self.high = 0, False

    def sample(self, cycle: int) -> bool:
        """See whether the beat offered is taken at this edge."""
        if not self.offered or str(self.ready.value) != "1":
            return False
        if self.taken == 0:
            self.first_cycle = cycle
        self.taken += 1
        self.offered = False
        return True


class Sink:
    """Takes the beats of an output: sets its ``ready``.

    The last beats of a run with stalls are taken only after ``valid`` was seen high: a design whose
    ``valid`` waits for ``ready`` stands still there.

    Parameters
    ----------
    valid, ready : Signal
    pace : Pace
        When to be ready.
    shy_from : int
        Beats after which ``ready`` waits for ``valid``.
    """

    def __init__(self, valid: Signal, ready: Signal, *, pace: Pace, shy_from: int) -> None:
        self.valid, self.ready, self.pace, self.shy_from = valid, ready, pace, shy_from
        self.high = pace.rng is None
        self.taken = 0
        self.waiting = False
        ready.value = int(self.high)

    def drive(self) -> None:
        """Be ready in this cycle, or not."""
        if self.pace.rng is None:
            return
        go = self.pace.go() and (self.taken < self.shy_from or self.waiting)
        if go != self.high:
            self.ready.value, self.high = int(go), go

    def sample(self) -> None:
        """See whether a beat waits, or goes over."""
        if self.pace.rng is None:
            return
        valid = str(self.valid.value) == "1"
        self.taken += valid and self.high
        self.waiting = valid and not self.high


class Monitor:
    """Records every beat of a stream, and every breach of its rules.

    Once ``valid`` is high it stays, the payload unchanged, until ``ready`` takes the beat;
    ``valid`` and ``ready`` always have a value.

    Parameters
    ----------
    name : str
        Of the stream, for messages.
    valid, ready, payload : Signal
    last : Signal, optional
        Recorded with each beat.
    cycles : bool
        Record the cycle of each beat too.
    """

    MOST = 5  # breaches that are told one by one

    def __init__(
        self,
        name: str,
        valid: Signal,
        ready: Signal,
        payload: Signal,
        *,
        last: Signal | None = None,
        cycles: bool = False,
    ) -> None:
        self.name = name
        self.valid, self.ready, self.payload, self.last = valid, ready, payload, last
        self.beats: list[str] = []
        self.lasts: list[str] = []
        self.cycles: list[int] | None = [] if cycles else None
        self.breaches: list[str] = []
        self.breach_count = 0
        self.held: str | None = None

    def sample(self, cycle: int) -> bool:
        """See the wires at this edge; return whether a beat went over."""
        valid = str(self.valid.value)
        if valid == "0":
            if self.held is not None:
                self._breach(cycle, "valid fell before its beat was taken")
                self.held = None
            return False
        if valid != "1":
            self._breach(cycle, f"valid is {valid}")
            return False
        beat = str(self.payload.value)
        if self.held is not None and beat != self.held:
            self._breach(cycle, "the payload changed before its beat was taken")
        ready = str(self.ready.value)
        if ready == "1":
            self.beats.append(beat)
            if self.last is not None:
                self.lasts.append(str(self.last.value))
            if self.cycles is not None:
                self.cycles.append(cycle)
            self.held = None
            return True
        if ready != "0":
            self._breach(cycle, f"ready is {ready}")
        self.held = beat
        return False

    def _breach(self, cycle: int, what: str) -> None:
        self.breach_count += 1
        if self.breach_count <= self.MOST:
            self.breaches.append(f"{self.name}: {what} (cycle {cycle}, beat {len(self.beats)})")
