from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwgen.adders.graph import Add, AdderGraph, Input, Output
from hwgen.adders.schedule import Schedule, schedule
from hwgen.adders.search import build
from hwgen.ranges import width_of
from tests.hwgen.adders import helpers


def flip_flops(graph: AdderGraph, plan: Schedule) -> int:
    """Count bits by walking every reader back to what it reads, one register a stage crossed."""
    inputs = len(graph.inputs)
    stage = [1] * inputs + [-(-plan.levels[k] // plan.adders_per_stage)
                            for k in range(len(graph.nodes))]
    widths = [width_of(lo, hi)[0] for lo, hi in graph.ranges]
    held: set[tuple[object, int]] = set()
    bits = 0

    def hold(word: object, first: int, last: int, width: int) -> int:
        new = {(word, cycle) for cycle in range(first, last)} - held
        held.update(new)
        return width * len(new)

    end = max([*(-(-level // plan.adders_per_stage) for level in plan.levels), 0]) + 1
    for k, node in enumerate(graph.nodes):
        for operand in (node.a, node.b):
            bits += hold(operand, stage[operand], stage[inputs + k], widths[operand])
    for n, signal in enumerate(graph.negations):
        place = -(-plan.levels[len(graph.nodes) + n] // plan.adders_per_stage)
        lo, hi = graph.ranges[signal]
        bits += hold(signal, stage[signal], place, widths[signal])
        bits += hold(("-", signal), place, end, width_of(-hi, -lo)[0])
    for output in graph.outputs:
        if output.signal is not None and not output.negative and plan.levels:
            bits += hold(output.signal, stage[output.signal], end, widths[output.signal])
    return bits


@pytest.mark.parametrize("per_stage", [1, 2, 3])
@pytest.mark.parametrize("name", helpers.FAMILIES)
def test_flip_flops_and_latency(name, per_stage):
    graph = build(helpers.family(name), input_lo=-8, input_hi=7)
    plan = schedule(graph, adders_per_stage=per_stage)
    assert plan.latency == plan.stages == -(-graph.depth // per_stage)
    assert plan.ff_bits == flip_flops(graph, plan)


def test_moving_saves_flip_flops():
    graph = build(helpers.family("trained"), input_lo=-8, input_hi=7)
    early = Schedule(graph, tuple(graph.depths[len(graph.inputs):])
                     + tuple(graph.depths[s] + 1 for s in graph.negations))
    assert schedule(graph).ff_bits < early.ff_bits


def test_least_of_all_schedules():
    """A small graph with slack: every schedule of its latency is tried."""
    graph = AdderGraph(
        (Input(0, 255), Input(0, 3), Input(0, 3)),
        (Add(1, 2), Add(0, 0, 1, 0), Add(4, 0), Add(5, 0, 2, 0), Add(6, 3)),
        (Output(7), Output(3)),
    )
    best = min(plan.ff_bits for levels in np.ndindex(4, 4, 4, 4, 4)
               if (plan := _tried(graph, tuple(level + 1 for level in levels))) is not None)
    assert schedule(graph).ff_bits == best


def _tried(graph: AdderGraph, levels: tuple[int, ...]) -> Schedule | None:
    try:
        return Schedule(graph, levels)
    except ValueError:
        return None


def test_inputs_registered():
    graph = build(np.array([[1, 0], [1, 0], [0, 0]]), input_lo=0, input_hi=15)
    plain, front = schedule(graph), schedule(graph, register_inputs=True)
    assert (plain.latency, plain.ff_bits) == (1, 5)
    assert (front.latency, front.ff_bits) == (2, 5 + 8)        # the third input is not read


def test_wires_take_no_time():
    graph = build(np.eye(3, dtype=int) * 4, input_lo=0, input_hi=15)
    plan = schedule(graph)
    assert (plan.latency, plan.ff_bits) == (0, 0)


def test_wrong_level():
    graph = AdderGraph((Input(0, 1),) * 2, (Add(0, 1), Add(0, 2)), (Output(3),))
    plan = schedule(graph)
    with pytest.raises(ValueError, match="Operation 1: level must be above 1, not 1"):
        dataclasses.replace(plan, levels=(1, 1))
    with pytest.raises(ValueError, match="Schedule must have 2 levels, not 1"):
        dataclasses.replace(plan, levels=(1,))


@pytest.mark.parametrize("per_stage", [0, -1])
def test_adders_per_stage_wrong(per_stage):
    graph = AdderGraph((Input(0, 1),) * 2, (Add(0, 1),), (Output(2),))
    with pytest.raises(ValueError, match=f"Adders per stage must be at least 1, not {per_stage}"):
        schedule(graph, adders_per_stage=per_stage)
