# amaranth: UnusedElaboratable=no
"""Queues before joins: enough is enough, and one beat less stands still."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwgen.network import Add, Concat, Conv2d, Input, MaxPool, Network, Requantise, int64
from hwgen.stream.fifo_depth import common_fork, fifo_depths
from hwgen.stream.plan import Options, make_plan
from hwgen.stream.top import StreamTop
from tests.hwgen.stream import layers
from tests.hwgen.stream.engine import simulate
from tests.hwgen.stream.harness import StreamFault

AROUND = (1, 1, 1, 1)


def conv(name, source, kernel=(3, 3), padding=AROUND, stride=(1, 1), channels=1):
    weight = np.random.default_rng(len(name)).integers(1, 4, (channels, channels, *kernel))
    return Conv2d(
        name, source, int64(weight), int64([0] * channels), int64([0] * channels), stride, padding
    )


def codes(name, source, channels=1):
    return Requantise(
        name, source, int64([1] * channels), int64([0] * channels), int64([3] * channels), 0, 15, 0
    )


def image(height=4, width=5):
    return Input("x", 1, height, width, 0, 15, 0)


NETWORKS = {
    "identity": (image(), conv("a", "x"), codes("b", "a"), Add("y", ("b", "x"), (0, 0))),
    "two convolutions": (
        image(),
        conv("a", "x"),
        codes("b", "a"),
        conv("c", "b"),
        codes("d", "c"),
        Add("y", ("x", "d"), (0, 0)),
    ),
    "5x5": (
        image(5, 4),
        conv("a", "x", (5, 5), (2, 2, 2, 2)),
        codes("b", "a"),
        Add("y", ("b", "x"), (0, 0)),
    ),
    "three ways": (
        image(),
        conv("a", "x"),
        codes("b", "a"),
        MaxPool("p", "x", (2, 2), (1, 1), (1, 1, 0, 0)),
        Concat("y", ("p", "b", "x")),
    ),
    "behind another layer": (
        image(),
        codes("r", "x"),
        conv("a", "r"),
        codes("b", "a"),
        Add("y", ("r", "b"), (0, 0)),
    ),
    "one row": (
        image(1, 8),
        conv("a", "x", (1, 3), (0, 1, 0, 1)),
        codes("b", "a"),
        Add("y", ("x", "b"), (0, 0)),
    ),
    "unlike windows": (
        image(5, 6),
        conv("a", "x"),
        codes("b", "a"),
        conv("c", "x", (1, 3), (0, 2, 0, 0)),
        codes("d", "c"),
        Concat("y", ("b", "x", "d")),
    ),
    "projection": (
        image(5, 6),
        codes("r", "x"),
        conv("a", "r", (1, 1), (0, 0, 0, 0), (2, 2)),
        codes("b", "a"),
        conv("c", "r", stride=(2, 2)),
        codes("d", "c"),
        conv("e", "d"),
        codes("f", "e"),
        Add("y", ("b", "f"), (0, 0)),
    ),
    "whole image": (
        image(3, 3),
        conv("a", "x", (3, 3), (2, 2, 0, 0)),
        codes("b", "a"),
        conv("c", "b", (3, 3), (0, 0, 2, 2)),
        codes("d", "c"),
        Add("y", ("x", "d"), (0, 0)),
    ),
    "stride 2": (
        image(5, 6),
        conv("a", "x", stride=(2, 2)),
        codes("b", "a"),
        conv("c", "b"),
        codes("d", "c"),
        MaxPool("p", "x", (1, 1), (2, 2)),
        Add("y", ("d", "p"), (0, 0)),
    ),
}


def engine(network, less=None, slack=0):
    """The engine with the fewest beats in each queue; ``less``: one fewer in the queue at this
    source."""
    plan = make_plan(network, Options(fifo_slack=slack))
    if less is not None:
        own = plan["y"]
        fifos = tuple(depth - (n == less) for n, depth in enumerate(own.fifos))
        plan = replace(
            plan,
            layers=tuple(replace(one, fifos=fifos) if one is own else one for one in plan.layers),
        )
    return StreamTop(plan=plan, make_graph=layers.make_graph)


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_fewest_beats_suffice(name, seed):
    network = Network(NETWORKS[name])
    assert (
        simulate(engine(network), network, layers.images(network.input, 3), seed=seed).wrong == []
    )


@pytest.mark.parametrize(
    "name",
    [
        "identity",
        "two convolutions",
        "5x5",
        "three ways",
        "behind another layer",
        "one row",
        "whole image",
    ],
)
def test_one_beat_less_stands_still(name):
    """Where the way ahead leads straight from the fork to the join, nothing else can hold a
    beat."""
    network = Network(NETWORKS[name])
    source = network.by_name["y"].inputs.index("r" if "r" in network.by_name else "x")
    top = engine(network, less=source)
    assert min(top.plan["y"].fifos) >= 0
    with pytest.raises(StreamFault, match=r"beats in \d+ cycles|not taken in \d+ cycles"):
        simulate(top, network, layers.images(network.input, 3), limit=1500)


@pytest.mark.parametrize("name", NETWORKS)
def test_never_held_up(name):
    """As deep as planned, the engine keeps its interval, as long as one image takes in its slowest
    layer."""
    network = Network(NETWORKS[name])
    top = StreamTop(plan=make_plan(network), make_graph=layers.make_graph)
    done = simulate(top, network, layers.images(network.input, 5))
    assert done.wrong == []
    assert done.intervals[-2:] == [top.interval] * 2
    assert done.latency == top.latency
    # Padding is pushed in while pixels wait: one run of it serves both sides.
    height, width = network.input.height, network.input.width
    pads = [layer.padding for layer in network.layers if hasattr(layer, "padding")]
    down, across = (max(max(pad[n], pad[n + 2]) for pad in pads) for n in (0, 1))
    assert top.interval <= (height + down) * (width + across)


def depths(name):
    network = Network(NETWORKS[name])
    return fifo_depths(network, "y", make_plan(network).formats)


def test_depths_by_hand():
    """A 3x3 window padded all round needs a row and one pixel more than the pixel under its
    middle."""
    assert depths("identity") == (0, 5 + 1)
    assert depths("two convolutions") == (2 * (5 + 1), 0)
    assert depths("one row") == (1, 0)
    assert depths("5x5") == (0, 2 * 4 + 2)


def test_common_fork():
    assert common_fork(Network(NETWORKS["behind another layer"]), "y") == "r"
    assert common_fork(Network(NETWORKS["three ways"]), "y") == "x"


def test_no_join():
    network = Network(NETWORKS["identity"])
    with pytest.raises(TypeError, match="An Add or a Concat needed, not Conv2d"):
        fifo_depths(network, "a", make_plan(network).formats)
