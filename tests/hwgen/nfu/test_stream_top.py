"""Cycles of an NFU with the ports of a streaming engine, where pixels come at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwgen.layers import Conv2d, Input, int64
from hwgen.network import Network
from hwgen.nfu.compiler.program import compile_network
from hwgen.nfu.stream_top import StreamTop
from tests.hwgen.nfu.programs import CONFIG, requantise


def wide_window() -> Network:
    """A network whose windows walk a long row of padding before the first pixel."""
    return Network((
        Input("x", 1, 2, 40, 0, 200, 0),
        Conv2d("a", "x", np.arange(-4, 5).reshape(1, 1, 3, 3), int64([900]), int64([0]), (1, 1),
               (1, 1, 1, 1)),
        requantise("b", "a", 1)))


# Three are faster than results go out.
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_cycles_from_reset_on(cores: int) -> None:
    """The first image's latency, and intervals, when pixels are offered from the first cycle on."""
    network = wide_window()
    config = replace(CONFIG, streamed=True, cores=cores)
    top = StreamTop(program=compile_network(network, config), network=network)
    images, taken, given = cores + 1, list[int](), list[int]()

    async def bench(context: Any) -> None:
        context.set(top.s_axis_tvalid, 1)
        context.set(top.m_axis_tready, 1)
        cycle, beats = 0, top.input.beats
        while len(given) < images * top.output.beats:
            context.set(top.s_axis_tlast, len(taken) % beats == beats - 1)
            if context.get(top.s_axis_tready):
                taken.append(cycle)
            if context.get(top.m_axis_tvalid):
                given.append(cycle)
            await context.tick()
            cycle += 1
            assert cycle < 2 * images * top.latency
        assert not context.get(top.frame_error)

    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    ends = given[top.output.beats - 1 :: top.output.beats]
    assert ends[0] - taken[0] == top.latency
    assert np.diff(ends).tolist() == [top.interval] * cores
    assert (top.interval > -(-(top.latency + 1) // cores)) == (cores == 3)
