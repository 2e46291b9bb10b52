"""The class of a pixel: which of its totals is the largest, over groups of channels and tiles."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.compare import less
from hwgen.nfu.config import Config


class LargestLane(wiring.Component):
    """Running argmax; the lowest class wins a tie.

    Members
    -------
    totals : In, those of ``finishers`` channels, lowest first. enable : In, they are complete.
    fresh : In, they are the first of their pixel. lane : In, number of the lowest of them.
    lanes : In, channels that take part. base : In, class of lane 0.
    found : Out, class of the largest so far (``latency`` cycles later).

    Latency: 1 cycle for each halving, and 2. Resources: ``finishers`` comparators.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        self.latency = (config.finishers - 1).bit_length() + 2
        count = config.finishers
        super().__init__({
            "totals": In(count * config.total_bits), "enable": In(1), "fresh": In(1),
            "lane": In(6), "lanes": In(6), "base": In(16), "found": Out(16),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bits = self.config.total_bits
        rivals = []
        for n in range(self.config.finishers):
            value = Signal(signed(bits), name=f"value_{n}", reset_less=True)
            usable = Signal(name=f"usable_{n}", reset_less=True)
            place = Signal(16, name=f"place_{n}", reset_less=True)
            m.d.sync += [value.eq(self.totals[n * bits : (n + 1) * bits]),
                         usable.eq(self.lane + n < self.lanes),
                         place.eq(self.base + self.lane + n)]
            rivals.append((value, usable, place))
        enable, fresh = Signal(name="enable_0"), Signal(name="begin_0")
        m.d.sync += [enable.eq(self.enable), fresh.eq(self.fresh)]
        level = 0
        while len(rivals) > 1:
            winners = []
            for n in range(0, len(rivals), 2):
                winners.append(self._winner(m, rivals[n], rivals[n + 1], f"{level}_{n}"))
            later_enable = Signal(name=f"enable_{level + 1}")
            later_begin = Signal(name=f"begin_{level + 1}")
            m.d.sync += [later_enable.eq(enable), later_begin.eq(fresh)]
            rivals, enable, fresh, level = winners, later_enable, later_begin, level + 1
        value, usable, place = rivals[0]
        best = Signal(signed(bits), name="best", reset_less=True)
        with m.If(enable & (fresh | (usable & less(best, value)))):
            m.d.sync += [best.eq(value), self.found.eq(place)]
        return m

    def _winner(self, m: Module, one: Any, other: Any, name: str) -> tuple[Any, Any, Any]:
        """The first of two, unless the other is usable and larger."""
        second = Signal(name=f"second_{name}")
        m.d.comb += second.eq(other[1] & (~one[1] | less(one[0], other[0])))
        made = []
        for a, b, word in zip(one, other, ("value", "usable", "place"), strict=True):
            held = Signal.like(a, name=f"{word}_{name}", reset_less=True)
            m.d.sync += held.eq(Mux(second, b, a))
            made.append(held)
        return made[0], made[1], made[2]
