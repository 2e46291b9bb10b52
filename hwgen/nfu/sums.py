"""The end of NFU-2: accumulators over the steps of a pixel, and running maxima for pooling."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.compare import less
from hwgen.nfu.config import Config


class Accumulators(wiring.Component):
    """tn accumulators: ``acc = (keep ? acc : resume ? earlier : 0) + total`` while ``enable``.

    Parameters: config; total_bits, of what the trees give.

    Members
    -------
    totals : In, tn sums, the first lowest. earlier : In, tn partial sums of acc_bits.
    enable, keep, resume : In, never both of the last two. sums : Out, tn accumulators.

    Latency: 1 cycle.
    """

    latency = 1

    def __init__(self, *, config: Config, total_bits: int) -> None:
        self.config, self.total_bits = config, total_bits
        width = config.tn * config.acc_bits
        super().__init__({"totals": In(config.tn * total_bits), "earlier": In(width),
                          "enable": In(1), "keep": In(1), "resume": In(1),
                          "sums": Out(width)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bits, width = self.total_bits, self.config.acc_bits
        for n in range(self.config.tn):
            acc = Signal(signed(width), name=f"acc_{n}", reset_less=True)
            total = self.totals[n * bits : (n + 1) * bits].as_signed()
            before = self.earlier[n * width : (n + 1) * width].as_signed()
            with m.If(self.enable):
                # One LUT a bit before the carry chain.
                m.d.sync += acc.eq((Mux(self.keep, acc, 0) | Mux(self.resume, before, 0)) + total)
            m.d.comb += self.sums[n * width : (n + 1) * width].eq(acc)
        return m


class Maxima(wiring.Component):
    """tn running maxima: of the activations inside the image, from ``start`` on.

    Members: x : In, tn signed activations of act_bits + 1; enable, start, covered : In; largest :
    Out, as x. A pixel without any place inside it gives the least number of act_bits + 1.

    Latency: 2 cycles: what is outside becomes the least number, then the comparison.
    """

    latency = 2

    def __init__(self, *, config: Config) -> None:
        self.config = config
        width = config.tn * (config.act_bits + 1)
        super().__init__({"x": In(width), "enable": In(1), "start": In(1), "covered": In(1),
                          "largest": Out(width)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width = self.config.act_bits + 1
        least = -(1 << width - 1)
        enable, start = Signal(name="enable_held"), Signal(name="start_held")
        m.d.sync += [enable.eq(self.enable), start.eq(self.start)]
        found = []
        for n in range(self.config.tn):
            best = Signal(signed(width), name=f"best_{n}", reset_less=True)
            x = Signal(signed(width), name=f"x_{n}", reset_less=True)
            m.d.sync += x.eq(Mux(self.covered, self.x[n * width : (n + 1) * width], least))
            with m.If(enable & (start | less(best, x))):
                m.d.sync += best.eq(x)
            found.append(best)
        m.d.comb += self.largest.eq(Cat(*found))
        return m
