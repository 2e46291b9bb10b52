"""Inside the simulator: the host's end of the serial line, by cocotbext-uart.

The job (JSON, plusarg ``job``) is {out, period_ns, baud, quiet_ns, steps: [{name, send, low_ns}]}:
each step holds the line low for ``low_ns`` if that is not 0, sends the bytes ``send`` (hex), and
waits until nothing has come for ``quiet_ns``. ``out`` gets {name: bytes that came, hex}.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Timer
from cocotbext.uart import UartSink, UartSource


@cocotb.test()
async def host(dut: Any) -> None:
    """Play all steps."""
    job = json.loads(Path(cocotb.plusargs["job"]).read_text())
    dut.rst.value = 1
    source, sink = UartSource(dut.rx, baud=job["baud"]), UartSink(dut.tx, baud=job["baud"])
    source.log.setLevel(logging.WARNING)
    sink.log.setLevel(logging.WARNING)
    Clock(dut.clk, job["period_ns"], "ns", impl="gpi").start()
    await Timer(10 * job["period_ns"], "ns")
    dut.rst.value = 0
    await Timer(10 * job["period_ns"], "ns")
    sink.clear()
    came = {}
    for step in job["steps"]:
        if step["low_ns"]:
            dut.rx.value = 0
            await Timer(step["low_ns"], "ns")
            dut.rx.value = 1
            await Timer(2000, "ns")
        if step["send"]:
            await source.write(bytes.fromhex(step["send"]))
            await source.wait()
        data = b""
        while True:
            await Timer(job["quiet_ns"], "ns")
            if sink.empty():
                break
            data += bytes(sink.read_nowait())
        came[step["name"]] = data.hex()
    Path(job["out"]).write_text(json.dumps(came))
