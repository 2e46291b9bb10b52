"""What goes into the chip: the shell and the engine joined, and around them the board's pins and
clock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal
from amaranth.back import rtlil
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from hwgen.boards.design import Axis, Design, Streams
from hwgen.boards.shell import Beats, instance_ports, make_shell
from hwgen.tools import run_yosys


def beats(axis: Axis) -> Beats:
    """Return the size of one side of an engine."""
    return Beats(axis.bytes, axis.beats)


class Core(wiring.Component):
    """Shell and engine: all of the board but pins and clock.

    Parameters
    ----------
    design, streams : Design, Streams
        Of the engine, which becomes an Instance of its module.
    clock_hz, baud : int
        Of the domain ``sync``, of the line.

    Members: rx, In(1); tx, Out(1).
    """

    def __init__(
        self, *, design: Design, streams: Streams, clock_hz: int, baud: int, **options: Any
    ) -> None:
        self.design, self.streams = design, streams
        self.shell = make_shell(
            image=beats(streams.image), result=beats(streams.result), digest=design.digest,
            clock_hz=clock_hz, baud=baud, engine=streams.engine, **options,
        )
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.shell = shell = self.shell
        design, streams = self.design, self.streams
        m.submodules.engine = Instance(
            design.top,
            **{f"i_{design.clock}": ClockSignal(), f"i_{design.reset}": ResetSignal()},
            **instance_ports(shell, image=streams.image.prefix, result=streams.result.prefix,
                             frame_error=streams.frame_error),
        )
        m.d.comb += [shell.rx.eq(self.rx), self.tx.eq(shell.tx)]
        return m


def core_verilog(core: Core, name: str = "board") -> str:
    """Return the Verilog of a core, ports clk, rst, rx and tx; the engine's module is not in it.

    Raises: HwgenError if Yosys fails.
    """
    text = rtlil.convert(core, name=name, ports=[core.rx, core.tx], emit_src=False)
    with tempfile.TemporaryDirectory(prefix="hwgen-") as folder:
        Path(folder, "core.il").write_text(text, encoding="utf-8")
        run_yosys("read_rtlil core.il\nmemory_collect\nproc -norom\nopt_clean\n"
                  "write_verilog -noattr core.v", cwd=folder)
        return "`timescale 1ns/1ps\n" + Path(folder, "core.v").read_text(encoding="utf-8")


class BoardTop(Elaboratable):
    """A core behind a board's pins.

    Parameters
    ----------
    core : Core
    clock : Elaboratable
        Drives ``ClockSignal`` and ``ResetSignal`` of the domain ``sync`` (see
        ``hwgen.boards.clock``).
    uart : tuple of (str, int)
        The platform's resource that holds the serial line, with ``rx`` and ``tx``.
    """

    def __init__(self, *, core: Core, clock: Elaboratable, uart: tuple[str, int]) -> None:
        self.core, self.clock, self.uart = core, clock, uart

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.submodules.clock = self.clock
        m.submodules.core = self.core
        uart = platform.request(*self.uart, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [self.core.rx.eq(rx.i), tx.o.eq(self.core.tx)]
        return m
