"""NFU-1 and NFU-2 of one output lane: shifted inputs, summed by a pipelined tree of adders."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import Config


class Neuron(wiring.Component):
    """``total = sum of +-(x << shift)`` over all input lanes, less 1 for each negative digit.

    A negative digit inverts the product: ~p = -p - 1. The compiler puts what is missing into the
    bias. With multipliers (the unmodified DianNao) the sum is of plain products.

    Parameters
    ----------
    config : Config

    Members
    -------
    x : In, tn signed activations of act_bits + 1, the first lowest.
    codes : In, tn weights of weight_bits.
    total : Out, signed.

    Latency: 2 cycles for the lanes, then one for each level of the tree. Resources a lane: a
    shifter, no multiplier; tn - 1 adders.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        self.levels = (config.tn - 1).bit_length()
        self.latency = 2 + self.levels
        self.x_bits = config.act_bits + 1
        super().__init__({
            "x": In(config.tn * self.x_bits),
            "codes": In(config.tn * config.weight_bits),
            "total": Out(signed(config.product_bits + self.levels)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bits = self.config.weight_bits
        make = self._product if self.config.multipliers else self._term
        terms = [
            make(m, n, self.x[n * self.x_bits : (n + 1) * self.x_bits].as_signed(),
                 self.codes[n * bits : (n + 1) * bits])
            for n in range(self.config.tn)
        ]
        for level in range(self.levels):
            sums = []
            for n in range(0, len(terms), 2):
                total = Signal(signed(self.config.product_bits + level + 1),
                               name=f"sum_{level}_{n // 2}", reset_less=True)
                m.d.sync += total.eq(terms[n] + terms[n + 1])
                sums.append(total)
            terms = sums
        m.d.comb += self.total.eq(terms[0])
        return m

    def _term(self, m: Module, n: int, x: Value, code: Value) -> Value:
        """Levels of 2:1 multiplexers, a register, the last level and the sign, a register.

        Zero goes into the first level, the sign into the last one: each is still one LUT a bit.
        """
        config = self.config
        width, largest = self.x_bits, config.code.largest_shift
        kind = config.code.value
        sign = code[-1]
        if kind == "narrow":
            # The magnitude is the shift + 1: shift by it, and leave the lowest bit out.
            some, shift, below = code[:3].any(), code[:3], 1
        else:
            some, shift, below = code[-2], code[: config.weight_bits - 2], 0
        levels = (largest + below).bit_length() - 1            # before the register
        first = Signal(signed(width + (1 << levels) - 1), name=f"first_{n}", reset_less=True)
        shifted = (x << shift[:levels])[: len(first)]
        # Of a multiplexer synthesis makes a reset for each lane. For 32 x 32 of them there is no
        # place, and a small board's chip has few: gates there.
        gates = shifted & some.replicate(len(first))
        plain = config.tn < 32 and not config.streamed
        m.d.sync += first.eq(Mux(some, x << shift[:levels], 0) if plain else gates)
        term = Signal(signed(config.product_bits), name=f"term_{n}", reset_less=True)
        minus = Signal(name=f"minus_{n}", reset_less=True)
        m.d.sync += minus.eq(sign)
        far = Signal(name=f"far_{n}", reset_less=True)
        m.d.sync += far.eq(shift[levels])
        product: Value = Mux(far, first << (1 << levels), first)
        product = (product >> below) if below else product
        m.d.sync += term.eq(Mux(minus, ~product, product))
        return term

    def _product(self, m: Module, n: int, x: Value, code: Value) -> Value:
        first = Signal(signed(self.config.product_bits), name=f"first_{n}", reset_less=True)
        term = Signal(signed(self.config.product_bits), name=f"term_{n}", reset_less=True)
        m.d.sync += [first.eq(x * code.as_signed()), term.eq(first)]
        return term
