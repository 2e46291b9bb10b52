"""The cocotb test bench of an NFU with outside memory: cocotbext-axi's memory and processor."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp

from hwgen.nfu.isa import REGISTER

NAMES = ("status", "position", "cycles", "compute_cycles", "stall_cycles", "instructions")
PAUSE = 0.3                   # share of cycles in which a channel pauses


def pauses(seed: int) -> Iterator[bool]:
    """Yield random pauses without end."""
    source = random.Random(seed)
    while True:
        yield source.random() < PAUSE


class FaultyRam(AxiRam):  # type: ignore[misc]  # cocotbext-axi carries no types
    """A memory some addresses of which answer with an error."""

    faulty: tuple[int, int, str] | None = None

    def _wrong(self, address: int, length: int) -> bool:
        return self.faulty is not None and (
            address < self.faulty[1] and address + length > self.faulty[0])


def spoil(interface: Any, ram: FaultyRam, method: str) -> None:
    """Let one interface of a memory raise where the memory is faulty: it then answers SLVERR."""
    plain = getattr(interface, method)

    async def checked(address: int, argument: Any, *rest: Any) -> Any:
        length = argument if isinstance(argument, int) else len(argument)
        if ram._wrong(address, length):
            raise RuntimeError("this address is faulty")
        return await plain(address, argument, *rest)

    setattr(interface, method, checked)


def decode_error(channel: Any, ram: FaultyRam) -> None:
    """Turn a memory's SLVERR into DECERR where that is asked for."""
    plain = channel.send

    async def changed(beat: Any) -> Any:
        if ram.faulty is not None and ram.faulty[2] == "DECERR":
            for name in ("rresp", "bresp"):
                if hasattr(beat, name) and int(getattr(beat, name)) == AxiResp.SLVERR:
                    setattr(beat, name, AxiResp.DECERR)
        return await plain(beat)

    channel.send = changed


class Bench:
    """Clock, reset, a processor and a memory around the NFU."""

    def __init__(self, dut: Any, memory: int) -> None:
        self.dut = dut
        dut.rst.value = 1
        Clock(dut.clk, 10, "ns").start()
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.ram = FaultyRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst,
                             size=-(-memory // 4096) * 4096)
        spoil(self.ram.read_if, self.ram, "_read")
        spoil(self.ram.write_if, self.ram, "_write")
        decode_error(self.ram.read_if.r_channel, self.ram)
        decode_error(self.ram.write_if.b_channel, self.ram)

    async def reset(self) -> None:
        """Some cycles of reset."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 5)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    def stall(self, seed: int | None) -> None:
        """Pause all channels at random, or none."""
        channels = [
            self.ram.read_if.ar_channel, self.ram.read_if.r_channel,
            self.ram.write_if.aw_channel, self.ram.write_if.w_channel,
            self.ram.write_if.b_channel, self.host.read_if.ar_channel,
            self.host.read_if.r_channel, self.host.write_if.aw_channel,
            self.host.write_if.w_channel, self.host.write_if.b_channel,
        ]
        for n, channel in enumerate(channels):
            if seed is None:
                channel.clear_pause_generator()
                channel.pause = False
            else:
                channel.set_pause_generator(pauses(seed * 100 + n))

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        await self.host.write_dword(REGISTER[name].offset, value)

    async def read(self, name: str) -> int:
        """Read a register."""
        return int(await self.host.read_dword(REGISTER[name].offset))

    async def until_done(self, limit: int) -> str:
        """Wait for the interrupt."""
        for _ in range(limit):
            if int(self.dut.interrupt.value):
                return "done"
            await RisingEdge(self.dut.clk)
        return "stuck"


@cocotb.test()  # type: ignore[untyped-decorator]
async def cases(dut: Any) -> None:
    """Run all cases."""
    told = json.loads(Path("cases.json").read_text())
    bench = Bench(dut, told["memory"])
    await bench.reset()
    outcomes: list[dict[str, Any]] = []
    found: dict[str, np.ndarray] = {}
    with np.load("writes.npz") as writes:
        for n, case in enumerate(told["cases"]):
            for k, address in enumerate(case["writes"]):
                bench.ram.write(address, writes[f"w{n}_{k}"].tobytes())
            outcomes.append(await one_case(bench, case))
            for k, (address, count) in enumerate(case["reads"]):
                found[f"r{n}_{k}"] = np.frombuffer(bench.ram.read(address, count), np.uint8)
    np.savez("reads.npz", allow_pickle=False, **found)
    Path("outcomes.json").write_text(json.dumps(outcomes))


async def one_case(bench: Bench, case: dict[str, Any]) -> dict[str, Any]:
    """Start the NFU as a case says, and wait."""
    extra: dict[str, Any] = {}
    bench.ram.faulty = tuple(case["faulty"]) if case["faulty"] else None
    bench.stall(case["seed"] if case["stalls"] else None)
    for _ in itertools.repeat(None, 2 if case["reset_after"] else 1):
        await bench.write("program", 0)
        await bench.write("control", 3)
        if case["reset_after"] and "reset" not in extra:
            await ClockCycles(bench.dut.clk, case["reset_after"])
            extra["reset"] = await bench.read("status")
            await bench.reset()
            extra["after_reset"] = await bench.read("status")
    if case["again"]:
        await ClockCycles(bench.dut.clk, case["again"])
        await bench.write("control", 3)
        extra["again"] = await bench.read("status")
    ended = await bench.until_done(case["limit"])
    registers = {name: await bench.read(name) for name in NAMES}
    await bench.write("control", 4)
    extra["cleared"] = await bench.read("status")
    if ended == "stuck":
        await bench.reset()
    return {"registers": registers, "ended": ended, "extra": extra}
