"""The cocotb test bench for many images: gives clock and reset, and waits until bulk.v is done."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge, Timer


@cocotb.test()  # type: ignore[untyped-decorator]
async def bulk(dut: Any) -> None:
    """Run the clock until all results are written."""
    dut.rst.value = 1
    await Timer(1, "step")
    Clock(dut.clk, 2, "step", impl="gpi").start()
    await Timer(9, "step")
    dut.rst.value = 0
    await RisingEdge(dut.done)
    await ReadOnly()
