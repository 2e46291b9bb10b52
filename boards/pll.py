"""What the PLLs of the boards' chips can make of a crystal, within the ranges of their data sheets.

Ref:
    Lattice, ECP5 and ECP5-5G Family, FPGA-DS-02012, sysCLOCK PLL timing (EHXPLLL).
    Lattice, iCE40 LP/HX Family, FPGA-DS-02029, and iCE40 UltraPlus, FPGA-DS-02008, sysCLOCK PLL
    timing; iCE40 sysCLOCK PLL Design and Usage, FPGA-TN-02052 (SB_PLL40, feedback path SIMPLE).
    Gowin, GW1NR series, DS117, PLL switching characteristics, C6/I5; UG286, Clock (rPLL).
    AMD, Artix-7, DS181, MMCM, speed grade -1; UG472 (MMCME2_BASE).

All of them: pfd = in / r, and, with the loop closed before the output divider, vco = pfd * f,
out = vco / q. The rPLL closes it behind: out = pfd * f, vco = out * q. The ECP5's loop goes through
its first output, whose divider is f; the clock comes from the second one, whose divider is q.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from hwgen.errors import HwgenError

MHZ = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Ranges of a PLL: frequencies in MHz, both ends allowed, and its dividers.

    ``outer``: the loop is closed behind the output divider.
    """

    input: tuple[float, float]
    pfd: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]
    r: range
    f: range
    q: tuple[int, ...]
    outer: bool


class Pll(Enum):
    """The PLLs that there is a generator for (``hwgen.boards.clock``)."""

    EHXPLLL = Limits(
        (8, 400), (10, 400), (400, 800), (3.125, 400),
        range(1, 129), range(1, 129), tuple(range(1, 129)), outer=False,
    )
    SB_PLL40 = Limits(
        (10, 133), (10, 133), (533, 1066), (16, 275),
        range(1, 17), range(1, 129), tuple(1 << n for n in range(1, 7)), outer=False,
    )
    RPLL = Limits(
        (3, 400), (3, 400), (400, 1200), (3.125, 600),
        range(1, 65), range(1, 65), (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128), outer=True,
    )
    MMCM = Limits(
        (10, 800), (10, 450), (600, 1200), (4.69, 800),
        range(1, 107), range(2, 65), tuple(range(1, 129)), outer=False,
    )


@dataclass(frozen=True)
class Step:
    """One setting: input divider r, feedback divider f, output divider q; frequencies in Hz."""

    pll: Pll
    input_hz: int
    r: int
    f: int
    q: int

    @property
    def pfd_hz(self) -> Fraction:
        """Frequency that the phases are compared at."""
        return Fraction(self.input_hz, self.r)

    @property
    def vco_hz(self) -> Fraction:
        """Frequency of the oscillator."""
        return self.pfd_hz * self.f * (self.q if self.pll.value.outer else 1)

    @property
    def output_hz(self) -> Fraction:
        """Frequency of the output."""
        return self.vco_hz / self.q


def _inside(frequency: Fraction, ends: tuple[float, float]) -> bool:
    return Fraction(ends[0]) * MHZ <= frequency <= Fraction(ends[1]) * MHZ


def is_allowed(step: Step) -> bool:
    """Tell whether all four frequencies and all three dividers are in their ranges."""
    limits = step.pll.value
    return (
        step.r in limits.r and step.f in limits.f and step.q in limits.q
        and _inside(Fraction(step.input_hz), limits.input)
        and _inside(step.pfd_hz, limits.pfd)
        and _inside(step.vco_hz, limits.vco)
        and _inside(step.output_hz, limits.output)
    )


def steps(pll: Pll, input_hz: int) -> Iterator[Step]:
    """Return every allowed setting for an input frequency."""
    limits = pll.value
    for r in limits.r:
        if not _inside(Fraction(input_hz, r), limits.pfd):
            continue
        for f in limits.f:
            if not limits.outer and not _inside(Fraction(input_hz * f, r), limits.vco):
                continue
            for q in limits.q:
                step = Step(pll, input_hz, r, f, q)
                if is_allowed(step):
                    yield step


def fastest(pll: Pll, input_hz: int, at_most_mhz: float) -> Step:
    """Return the setting of the highest output up to ``at_most_mhz``.

    Among equals the one with the highest frequency at the phase detector, then at the oscillator.
    Raises: HwgenError if there is none so slow.
    """
    limit = Fraction(at_most_mhz) * MHZ
    candidates = (
        Step(pll, input_hz, r, f, q)
        for r in pll.value.r if _inside(Fraction(input_hz, r), pll.value.pfd)
        for f in pll.value.f
        for q in _output_dividers(pll.value, Fraction(input_hz * f, r), limit)
    )
    best = max(
        filter(is_allowed, candidates), default=None,
        key=lambda step: (step.output_hz, step.pfd_hz, step.vco_hz),
    )
    if best is not None:
        return best
    lowest = min((step.output_hz for step in steps(pll, input_hz)), default=None)
    least = "none" if lowest is None else f"{float(lowest) / MHZ:g} MHz or more"
    raise HwgenError(
        f"The PLL makes {least} of {input_hz / MHZ:g} MHz, at most {at_most_mhz:.2f} MHz needed"
    )


def _output_dividers(limits: Limits, loop: Fraction, limit: Fraction) -> tuple[int, ...]:
    """Return the output dividers worth trying: of an inner loop, the first that is slow enough."""
    if limits.outer:
        return limits.q if loop <= limit else ()
    if not _inside(loop, limits.vco):
        return ()
    return tuple(q for q in limits.q if q * limit >= loop)[:1]
