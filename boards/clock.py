"""The clock of a board: its crystal through the chip's PLL, and a reset until that is steady.

The reset lasts 4,096 cycles behind the PLL's lock: an iCE40's block RAM reads zeros in the first
microseconds after configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth import (
    ClockDomain,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import cdc, io

from hwgen.boards.pll import MHZ, Pll, Step

RESET_BITS = 12


class PllClock(Elaboratable):
    """Drives clock and reset of the domain ``sync``.

    Parameters
    ----------
    resource : str
        The platform's clock input.
    step : Step
        Setting of the PLL, which must be allowed.
    on_pin : bool
        The clock's pin is the one that the PLL of an iCE40 takes its input from; it can then not
        be reached otherwise.
    """

    def __init__(self, *, resource: str, step: Step, on_pin: bool = False) -> None:
        self.resource, self.step, self.on_pin = resource, step, on_pin

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, lock = Signal(name="clock"), Signal(name="lock")
        port = platform.request(self.resource, dir="-")
        if self.on_pin:
            source = port.io
        else:
            m.submodules.input = buffer = io.Buffer("i", port)
            source = buffer.i
        m.submodules.pll = INSTANCES[self.step.pll](self.step, source, clock, lock, self.on_pin)
        if self.step.pll is Pll.MMCM:
            out = Signal(name="global")
            m.submodules.buffer = Instance("BUFG", i_I=clock, o_O=out)
            clock = out
        m.domains.start = ClockDomain("start", reset_less=True, local=True)
        m.d.comb += [ClockSignal("start").eq(clock), ClockSignal("sync").eq(clock)]
        locked, reset = Signal(name="locked"), Signal(name="reset", init=1)
        count = Signal(RESET_BITS, name="count")
        m.submodules.synchroniser = cdc.FFSynchronizer(lock, locked, o_domain="start")
        m.d.start += reset.eq(~count.all())
        with m.If(~locked):
            m.d.start += count.eq(0)
        with m.Elif(~count.all()):
            m.d.start += count.eq(count + 1)
        m.d.comb += ResetSignal("sync").eq(reset)
        return m


def ehxplll(step: Step, source: Any, clock: Any, lock: Any, on_pin: bool) -> Instance:
    """Return the PLL of an ECP5: its loop goes through CLKOP, the clock comes from CLKOS."""
    loop = Signal(name="loop")
    return Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=f"{step.input_hz / MHZ:g}",
        a_FREQUENCY_PIN_CLKOS=f"{float(step.output_hz) / MHZ:g}",
        a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
        p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
        p_FEEDBK_PATH="CLKOP", p_CLKI_DIV=step.r, p_CLKFB_DIV=1,
        p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=step.f, p_CLKOP_CPHASE=step.f - 1, p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=step.q, p_CLKOS_CPHASE=step.q - 1, p_CLKOS_FPHASE=0,
        i_CLKI=source, i_CLKFB=loop, i_RST=Const(0), i_STDBY=Const(0),
        i_PHASESEL0=Const(0), i_PHASESEL1=Const(0), i_PHASEDIR=Const(1), i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1), i_PLLWAKESYNC=Const(0), i_ENCLKOP=Const(0), i_ENCLKOS=Const(0),
        o_CLKOP=loop, o_CLKOS=clock, o_LOCK=lock,
    )


# Upper ends of the phase detector's frequency, in MHz, of each filter range of an SB_PLL40.
FILTERS = ((17, 1), (26, 2), (44, 3), (66, 4), (101, 5), (133, 6))


def filter_range(step: Step) -> int:
    """Return FILTER_RANGE of an SB_PLL40 (FPGA-TN-02052)."""
    return next(number for end, number in FILTERS if step.pfd_hz <= end * MHZ)


def sb_pll40(step: Step, source: Any, clock: Any, lock: Any, on_pin: bool) -> Instance:
    """Return the PLL of an iCE40, feedback path SIMPLE."""
    where = {"i_PACKAGEPIN" if on_pin else "i_REFERENCECLK": source}
    return Instance(
        "SB_PLL40_PAD" if on_pin else "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE", p_DIVR=Const(step.r - 1, 4), p_DIVF=Const(step.f - 1, 7),
        p_DIVQ=Const(step.q.bit_length() - 1, 3), p_FILTER_RANGE=Const(filter_range(step), 3),
        i_RESETB=Const(1), i_BYPASS=Const(0), o_PLLOUTGLOBAL=clock, o_LOCK=lock, **where,
    )


def rpll(step: Step, source: Any, clock: Any, lock: Any, on_pin: bool) -> Instance:
    """Return the PLL of a GW1NR-9C."""
    return Instance(
        "rPLL",
        p_DEVICE="GW1NR-9C", p_FCLKIN=f"{step.input_hz / MHZ:g}",
        p_IDIV_SEL=step.r - 1, p_FBDIV_SEL=step.f - 1, p_ODIV_SEL=step.q,
        p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
        p_DYN_DA_EN="false", p_DYN_SDIV_SEL=2, p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false", p_CLKOUTP_BYPASS="false", p_CLKOUTD_BYPASS="false",
        p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_CLKOUT_FT_DIR=1, p_CLKOUTP_FT_DIR=1,
        p_CLKOUT_DLY_STEP=0, p_CLKOUTP_DLY_STEP=0, p_CLKOUTD_SRC="CLKOUT", p_CLKOUTD3_SRC="CLKOUT",
        i_CLKIN=source, i_CLKFB=Const(0), i_RESET=Const(0), i_RESET_P=Const(0),
        i_FBDSEL=Const(0, 6), i_IDSEL=Const(0, 6), i_ODSEL=Const(0, 6),
        i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4), i_FDLY=Const(0, 4),
        o_CLKOUT=clock, o_LOCK=lock,
    )


def mmcm(step: Step, source: Any, clock: Any, lock: Any, on_pin: bool) -> Instance:
    """Return the MMCM of a 7 series chip, its loop closed inside."""
    loop = Signal(name="loop")
    return Instance(
        "MMCME2_BASE",
        p_CLKIN1_PERIOD=round(1e9 / step.input_hz, 3), p_DIVCLK_DIVIDE=step.r,
        p_CLKFBOUT_MULT_F=float(step.f), p_CLKOUT0_DIVIDE_F=float(step.q),
        i_CLKIN1=source, i_CLKFBIN=loop, i_RST=Const(0), i_PWRDWN=Const(0),
        o_CLKFBOUT=loop, o_CLKOUT0=clock, o_LOCKED=lock,
    )


INSTANCES: dict[Pll, Callable[[Step, Any, Any, Any, bool], Instance]] = {
    Pll.EHXPLLL: ehxplll, Pll.SB_PLL40: sb_pll40, Pll.RPLL: rpll, Pll.MMCM: mmcm,
}
