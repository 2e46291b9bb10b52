# amaranth: UnusedElaboratable=no
"""What the planner chooses for a pace and for a chip, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.network import Conv2d, Dense, Network, Requantise, int64
from hwgen.stream.beat import BeatFormat
from hwgen.stream.chip import Chip, chip_of
from hwgen.stream.dense_plan import choices
from hwgen.stream.emit import make_top, plan_json
from hwgen.stream.fit import engine_cost, fit, shortage
from hwgen.stream.plan import BLOCK_PRICE, LANE, Options, make_plan
from tests.hwgen.stream import layers
from tests.hwgen.stream.test_rate import small_lenet
from tests.networks import lenet5_shape


def test_forms_follow_the_pace():
    """The slower the pixels, the fewer bits a cycle, lanes and terms."""
    network = lenet5_shape(0)
    fast = make_plan(network)
    slow = make_plan(network, Options(interval=20 * 784))
    convolutions = [layer.name for layer in network.layers if isinstance(layer, Conv2d)]
    assert [fast[name].form for name in convolutions] == ["graph", "serial"]
    assert fast[convolutions[1]].digit >= 2
    assert all(slow[name].form != "graph" for name in convolutions)
    for layer in network.layers:
        if isinstance(layer, Dense) and layer.weight.size > 1000:
            work = [plan[layer.name].code.lanes * plan[layer.name].code.terms
                    for plan in (fast, slow)]
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
    zeros = int64([0] * 16)
    first = Dense("a", "x", int64(rng.integers(-9, 10, (16, 24))), zeros, zeros)
    codes = Requantise("c", "a", int64([1] * 16), zeros, int64([4] * 16), 0, 15, 0)
    second = Dense("b", "c", int64(rng.integers(-9, 10, (6, 16))), zeros[:6], zeros[:6])
    network = Network((source, first, codes, second))
    pixels = make_plan(network)["a"].formats[0]

    def kept(layer, format):
        return [one for one in choices(layer, format, 200) if one.interval <= 200]

    for limit in (None, 40, 12, 7):
        found = make_plan(network, Options(interval=200, chip=Chip("chip", bram=limit)))
        best = None
        for one in kept(first, pixels):
            lanes = 16 if one.form == "graph" else one.lanes
            words = BeatFormat((0,) * lanes, (15,) * lanes, 16, 1, 1, -(-16 // lanes))
            for other in kept(second, words):
                bram = one.bram + other.bram
                cost = one.lut + other.lut + LANE * lanes + BLOCK_PRICE * bram
                if (limit is None or bram <= limit) and (best is None or cost < best):
                    best = cost
        costs = [
            next(one for one in choices(found[name].layer, found[name].formats[0], 200)
                 if one.why == found[name].why)
            for name in ("a", "b")
        ]
        bram = sum(one.bram for one in costs)
        assert limit is None or bram <= limit
        lanes = found["c"].format.lanes
        assert sum(one.lut for one in costs) + LANE * lanes + BLOCK_PRICE * bram == best


def test_blocks_wrong():
    network = small_lenet()
    with pytest.raises(HwgenError, match="Layer 'dense.*, block RAMs: at most 0"):
        make_plan(network, Options(dense="pick", chip=Chip("chip", bram=0)))


def test_pace_wrong():
    """A pace that no form of a layer keeps is refused, naming the layer."""
    wide = Dense("wide", "x", int64(np.ones((4, 400), int)), int64([0] * 4), int64([0] * 4))
    network = Network((layers.image_input((400, 1, 1), 0, 1), wide))
    with pytest.raises(HwgenError, match="wide', pace: at most 1 cycles an image needed, not"):
        make_plan(network, Options(dense="pick", strict=True))


@pytest.mark.parametrize("share", [1.1, 0.8])
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


def test_fit_where_slower_plans_do_not_fit(monkeypatch):
    """A chip that holds the plans of 300 to 600 cycles and of 5,000 on, none between."""
    def lacks(options, chip):
        good = 300 <= options.interval <= 600 or options.interval >= 5000
        return None if good else "too large"

    monkeypatch.setattr("hwgen.stream.fit.shortage", lacks)
    options = fit(small_lenet(), Chip("chip"), lambda options: options)
    assert 300 <= options.interval <= 306


def test_fit_at_a_pace():
    """None faster than the pace asked for, though the chip would hold it."""
    network, chip = small_lenet(), Chip("chip", lut=100_000)
    options = fit(network, chip, lambda options: make_top(network, options), Options(interval=400))
    assert options.interval == 400


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
