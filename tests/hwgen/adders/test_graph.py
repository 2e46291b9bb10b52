from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwgen.adders.graph import Add, AdderGraph, GraphError, Input, Output, expand
from tests.hwgen.adders import helpers

BYTE = Input(-128, 127)
# y0 = 5 a - 3 b, y1 = -2 (a + b), y2 = 0, y3 = 4 b
SMALL = AdderGraph(
    (BYTE, Input(0, 255)),
    (Add(0, 1), Add(0, 2, 2, 0), Add(3, 1, 0, 2, b_negative=True)),
    (Output(4), Output(2, 1, True), Output(None), Output(1, 2)),
)
MATRIX = np.array([[5, -2, 0, 0], [-3, -2, 0, 4]])


def test_expand():
    assert expand(SMALL).tolist() == MATRIX.tolist()
    assert expand(SMALL).dtype == np.int64
    SMALL.check(MATRIX)


def test_figures():
    assert SMALL.adders == 4                       # three nodes and a negation
    assert SMALL.negations == (2,)
    assert SMALL.depths == (0, 0, 1, 2, 3)
    assert SMALL.depth == 3
    assert SMALL.signals == 5


def test_ranges_are_reached_and_kept():
    ends = [(a, b) for a in (-128, 127) for b in (0, 255)]
    rows = [helpers.evaluate(SMALL, end) for end in ends]
    exact = [(min(column), max(column)) for column in zip(*rows, strict=True)]
    assert list(SMALL.output_ranges) == exact


def test_ranges_know_what_cancels():
    # 4 x - x: by intervals of the operands alone it would reach -255..1020
    triple = AdderGraph((Input(0, 255),), (Add(0, 0, 2, 0, b_negative=True),), (Output(1),))
    assert triple.ranges == ((0, 255), (0, 765))


def test_wide_values_are_exact():
    # 2**60 * 2**20 does not fit an int64
    graph = AdderGraph((Input(-(1 << 20), 1 << 20),), (Add(0, 0, 60, 0),), (Output(1),))
    assert graph.ranges[1] == (-(1 << 20) * ((1 << 60) + 1), (1 << 20) * ((1 << 60) + 1))
    assert expand(graph).tolist() == [[(1 << 60) + 1]]


@pytest.mark.parametrize(("node", "bits"), [
    (Add(0, 1), 9),                                # all bits and a carry
    (Add(0, 1, 0, 3), 9),                          # a's low 3 bits pass: 12 - 3
    (Add(0, 1, 3, 0), 9),
    (Add(0, 1, 0, 3, b_negative=True), 9),         # a - 8 b: -2040..255, 12 bits, the low 3 pass
    (Add(0, 1, 0, 3, a_negative=True), 12),        # 8 b - a: -255..2040, nothing passes
    (Add(0, 1, 0, 8), 0),                          # side by side
    (Add(0, 1, 0, 8, b_negative=True), 9),
])
def test_adder_bits(node, bits):
    graph = AdderGraph((Input(0, 255), Input(0, 255)), (node,), (Output(2),))
    assert graph.adder_bits == bits


def test_adder_bits_of_signed_operands():
    # a negative low operand reaches into the high one, wherever that begins
    graph = AdderGraph((BYTE, BYTE), (Add(0, 1, 0, 8),), (Output(2),))
    assert graph.adder_bits == 9               # -32896..32639 takes 17, the low 8 pass
    negated = AdderGraph((BYTE,), (), (Output(0, 3, True),))
    assert (negated.adders, negated.depth, negated.adder_bits) == (1, 1, 9)    # -127..128


@pytest.mark.parametrize("place", range(len(SMALL.nodes)))
@pytest.mark.parametrize("change", [
    lambda n: {"a_negative": not n.a_negative} if not n.b_negative else {"b_negative": False},
    lambda n: {"a_shift": n.a_shift + 1, "b_shift": 0},
    lambda n: {"a": 1 - n.a if n.a < 2 else 0},
])
def test_planted_fault_is_found(place, change):
    nodes = list(SMALL.nodes)
    nodes[place] = dataclasses.replace(nodes[place], **change(nodes[place]))
    faulty = dataclasses.replace(SMALL, nodes=tuple(nodes))
    with pytest.raises(GraphError, match=r"Coefficient of input \d in output \d must be"):
        faulty.check(MATRIX)


@pytest.mark.parametrize("place", [0, 1, 3])
def test_planted_fault_at_an_output_is_found(place):
    outputs = list(SMALL.outputs)
    outputs[place] = dataclasses.replace(outputs[place], negative=not outputs[place].negative)
    with pytest.raises(GraphError, match=f"in output {place} must be"):
        dataclasses.replace(SMALL, outputs=tuple(outputs)).check(MATRIX)


def test_shape_of_the_matrix():
    with pytest.raises(GraphError, match=r"Graph must be \(4, 2\), not \(2, 4\)"):
        SMALL.check(MATRIX.T)


@pytest.mark.parametrize(("node", "message"), [
    (Add(0, 2), "Node 0: operands must be from 0 to 1, not 0 and 2"),
    (Add(-1, 0), "Node 0: operands must be from 0 to 1, not -1 and 0"),
    (Add(0, 1, 1, 1), "Node 0: one shift must be 0, the other from 0 to 62, not 1 and 1"),
    (Add(0, 1, 0, 63), "Node 0: one shift must be 0, the other from 0 to 62, not 0 and 63"),
    (Add(0, 1, -1, 0), "Node 0: one shift must be 0, the other from 0 to 62, not -1 and 0"),
    (Add(0, 1, 0, 0, True, True), "Node 0: at most one operand may be negative"),
])
def test_node_wrong(node, message):
    with pytest.raises(GraphError) as caught:
        AdderGraph((BYTE, BYTE), (node,), (Output(2),))
    assert str(caught.value) == message


@pytest.mark.parametrize(("output", "message"), [
    (Output(1), "Output 0: signal must be from 0 to 0, not 1"),
    (Output(-1), "Output 0: signal must be from 0 to 0, not -1"),
    (Output(0, -63), "Output 0: shift must be from -62 to 62, not -63"),
    (Output(None, 1), "Output 0: a zero has no shift or sign"),
])
def test_output_wrong(output, message):
    with pytest.raises(GraphError) as caught:
        AdderGraph((BYTE,), (), (output,))
    assert str(caught.value) == message


def test_input_wrong():
    with pytest.raises(GraphError, match=r"Input 1: lo must be at most hi, not 3\.\.2"):
        AdderGraph((BYTE, Input(3, 2)), (), ())


def test_exact_division():
    """(a + b) + (a - b) is 2a: the output drops the bit that is always 0."""
    ports = (Input(-8, 7), Input(-8, 7))
    nodes = (Add(0, 1), Add(0, 1, b_negative=True), Add(2, 3))
    graph = AdderGraph(ports, nodes, (Output(4, -1), Output(4, -1, True)))
    assert expand(graph).tolist() == [[1, -1], [0, 0]]
    assert graph.output_ranges == ((-8, 7), (-7, 8))


def test_division_that_is_not_exact():
    graph = AdderGraph((Input(0, 1),), (), (Output(0, -1),))
    with pytest.raises(GraphError, match="Output 0: signal must be a multiple of 2"):
        expand(graph)
