# amaranth: UnusedElaboratable=no
"""What the planner chooses for a pace and for a chip, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import Dense, Network, int64
from hwgen.stream.chip import Chip, chip_of
from hwgen.stream.dense_plan import choices
from hwgen.stream.emit import make_top, plan_json
from hwgen.stream.fit import engine_cost, fit, shortage
from hwgen.stream.plan import Options, make_plan
from tests.hwgen.stream import layers
from tests.hwgen.stream.test_rate import small_lenet
from tests.networks import lenet5_shape


def test_forms_follow_the_pace():
    """The slower the pixels, the fewer bits a cycle, lanes and terms."""
    network = lenet5_shape(0)
    fast = make_plan(network)
    slow = make_plan(network, Options(interval=20 * 784))
    assert (fast["conv1"].form, fast["conv2"].form) == ("graph", "serial")
    assert fast["conv2"].digit >= 2
    assert (slow["conv1"].form, slow["conv1"].digit, slow["conv2"].digit) == ("serial", 1, 1)
    for name in ("dense1", "dense2"):
        work = [plan[name].code.lanes * plan[name].code.terms for plan in (fast, slow)]
        assert work[0] > 5 * work[1]


def test_every_layer_keeps_the_pace():
    network = lenet5_shape(1)
    for times in (1, 3, 10):
        top = make_plan(network, Options(interval=784 * times))
        for plan in top.layers:
            if plan.code is not None:
                assert plan.code.interval <= 784 * times


def test_best_of_all_combinations():
    """The layer-by-layer search finds what trying every combination finds."""
    rng = np.random.default_rng(0)
    source = layers.image_input((24, 1, 1), 0, 15)
    first = Dense("a", "x", int64(rng.integers(-9, 10, (16, 24))), int64([0] * 16),
                  int64([0] * 16))
    second = Dense("b", "a", int64(rng.integers(-9, 10, (6, 16))), int64([0] * 6), int64([0] * 6))
    network = Network((source, first, second))
    for limit in (None, 40, 12, 7):
        options = Options(interval=200, chip=Chip("chip", bram=limit))
        found = make_plan(network, options)
        formats = found["a"].formats[0]
        best = None
        for one in choices(first, formats, 200):
            middle = make_plan(network, Options(interval=200))["b"].formats[0]
            lanes = one.lanes if one.form != "graph" else 16
            folds = -(-16 // lanes)
            wide = (min(middle.lo),) * lanes, (max(middle.hi),) * lanes
            words = type(middle)(*wide, 16, 1, 1, folds)
            for other in choices(second, words, 200):
                bram = one.bram + other.bram
                if limit is None or bram <= limit:
                    cost = one.lut + other.lut + 4 * bram
                    best = cost if best is None else min(best, cost)
        costs = [
            next(c for c in choices(found[name].layer, found[name].formats[0], 200)
                 if (c.form, c.lanes, c.terms) == (
                     found[name].form, *((found[name].code.lanes, found[name].code.terms)
                                         if found[name].code else (1, 1))))
            for name in ("a", "b")
        ]
        assert limit is None or sum(c.bram for c in costs) <= limit
        assert sum(c.lut + 4 * c.bram for c in costs) == best


def test_blocks_wrong():
    network = small_lenet()
    with pytest.raises(HwgenError, match="dense1.*block RAMs.*at most 0"):
        make_plan(network, Options(dense="pick", chip=Chip("chip", bram=0)))


def test_pace_wrong():
    """A pace that no form of a layer keeps is refused, naming the layer."""
    wide = Dense("wide", "x", int64(np.ones((4, 400), int)), int64([0] * 4), int64([0] * 4))
    network = Network((layers.image_input((400, 1, 1), 0, 1), wide))
    with pytest.raises(HwgenError, match="wide.*at most 1 cycles an image.* 800"):
        make_plan(network, Options(dense="pick", strict=True))


@pytest.mark.parametrize("share", [1.1, 0.6])
def test_fit(share):
    """The fastest engine within a chip: its estimate fits, and a faster one's would not."""
    network = small_lenet()
    kept = {}
    whole = sum(cost["lut"] for cost in engine_cost(make_top(network, kept=kept),
                                                     Chip("all")).values())
    chip = Chip("chip", lut=int(whole * share / 0.95) + 1)
    make = lambda options: make_top(network, options, kept=kept)  # noqa: E731 - short
    options = fit(network, chip, make)
    top = make(options)
    assert shortage(top, chip) is None
    plan = plan_json(top)
    assert plan["estimate"]["lut"] <= 0.95 * chip.lut
    assert plan["chip"] == "chip"
    if share > 1:
        assert options.interval == 196
    else:
        assert options.interval > 196
        assert shortage(make(Options(interval=196, chip=chip)), chip) is not None


def test_fit_wrong():
    network = small_lenet()
    with pytest.raises(HwgenError, match="tiny cannot hold the network at any pace: .* layer "):
        fit(network, Chip("tiny", lut=100), lambda options: make_top(network, options))
    with pytest.raises(HwgenError, match="A target of ecp5, ice40, gowin needed to fit into"):
        chip_of("xc7", "xc7", lut=1, ff=1, bram=1)


@pytest.mark.parametrize(("depth", "bits", "blocks"), [
    (512, 36, 1), (512, 37, 2), (1024, 18, 1), (1024, 36, 2), (2048, 9, 1), (784, 300, 17),
    (4096, 8, 2),
])
def test_blocks(depth, bits, blocks):
    """Words of 36 bits 512 deep, 18 bits 1024 deep, and so on in a block of 18 kbit."""
    assert Chip("ecp5").blocks(depth, bits) == blocks


def test_intervals_differ():
    """Options of one network give plans that differ, not one plan under many names."""
    forms = [tuple(plan.form for plan in make_plan(small_lenet(), options).layers)
             for options in (Options(), Options(digit=0), Options(dense="rom"))]
    assert all(a != b for a, b in itertools.combinations(forms, 2))
