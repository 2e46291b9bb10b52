"""A shell with few pins around a design, for place and route out of context.

Every input bit of the design comes from a flip-flop of a shift register, every output bit goes into
a flip-flop, and those are folded into signature registers::

    shift_in ──► FF ──► FF ──► ... ──► FF          inputs of the design, bit 0 first
                  │      │              │
               ┌──▼──────▼──────────────▼──┐
               │           top             │
               └──┬──────┬──────────────┬──┘
                  FF     FF             FF          its outputs, held one cycle
                  │      │              │
          0 ──► xor,FF► xor,FF ► ... ► xor,FF ──► shift_out

So the design sees inputs that are free, none of its outputs is unused, all paths through it lie
between registers, and a chip with twenty free pins is enough. Chains are cut: one pin a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth import Cat, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

MAX_CHAIN = 380                # flip-flops; Yosys of the wheel ends its stack at some thousand


@dataclass(frozen=True)
class Port:
    """One port of the design: name, width in bits, and whether it is an output."""

    name: str
    width: int
    output: bool


def chains_of(bits: int) -> list[int]:
    """Return lengths of chains, as even as can be, at most MAX_CHAIN each, that sum to ``bits``."""
    count = max(-(-bits // MAX_CHAIN), 1)
    return [(bits + n) // count for n in range(count)][::-1]


class Wrapper(wiring.Component):
    """Registers and shift registers around an instance of a design.

    Parameters
    ----------
    top : str
        The design's module.
    ports : sequence of Port
        All its ports but clock and reset.
    clock, reset : str or None
        Names of its clock and reset ports, None if it has none.

    Members
    -------
    shift_in : In(one bit a chain of inputs)
    shift_out : Out(one bit a chain of outputs)

    Latency: input bit n of a chain is at the design n + 1 cycles after it was at ``shift_in``; an
    output bit n of a chain of N is at ``shift_out`` N + 1 - n cycles later, xored with the others
    on the way.
    """

    def __init__(
        self, *, top: str, ports: Sequence[Port], clock: str | None, reset: str | None
    ) -> None:
        self.top, self.ports, self.clock, self.reset = top, tuple(ports), clock, reset
        self.in_chains = chains_of(sum(port.width for port in ports if not port.output))
        self.out_chains = chains_of(sum(port.width for port in ports if port.output))
        super().__init__({
            "shift_in": In(len(self.in_chains)),
            "shift_out": Out(len(self.out_chains)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        stimulus = [Signal(length, name=f"stimulus_{n}", reset_less=True)
                    for n, length in enumerate(self.in_chains)]
        for n, chain in enumerate(stimulus):
            m.d.sync += chain.eq(Cat(self.shift_in[n], chain))
        connections: dict[str, Any] = {}
        if self.clock is not None:
            connections[f"i_{self.clock}"] = ClockSignal()
        if self.reset is not None:
            reset = Signal(name="reset", reset_less=True)
            m.d.sync += reset.eq(ResetSignal(allow_reset_less=True))
            connections[f"i_{self.reset}"] = reset
        into, outof = Cat(*stimulus), []
        offset = 0
        for port in self.ports:
            if port.output:
                outof.append(Signal(port.width, name=port.name))
                connections[f"o_{port.name}"] = outof[-1]
            else:
                connections[f"i_{port.name}"] = into[offset:offset + port.width]
                offset += port.width
        m.submodules.design = Instance(self.top, **connections)
        results, offset = Cat(*outof), 0
        for n, length in enumerate(self.out_chains):
            held = Signal(length, name=f"held_{n}", reset_less=True)
            folded = Signal(length, name=f"folded_{n}", reset_less=True)
            m.d.sync += [held.eq(results[offset:offset + length]),
                         folded.eq(held ^ Cat(Const(0, 1), folded))]
            m.d.comb += self.shift_out[n].eq(folded[-1] if length else 0)
            offset += length
        return m
