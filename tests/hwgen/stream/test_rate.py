# amaranth: UnusedElaboratable=no
"""Engines that spend only what the rate needs: codes, pace and latency of whole networks."""

from __future__ import annotations

import pytest

from hwgen.network import ArgMax, Flatten, MaxPool, Network
from hwgen.stream.conv_pick import ConvPick
from hwgen.stream.emit import make_top
from hwgen.stream.plan import Options
from tests.hwgen.stream.engine import simulate
from tests.network_builder import Builder
from tests.networks import random_images

FORMS = {
    "bits as the rate needs": Options(),
    "one bit, lanes that shift": Options(digit=1, dense="rom"),
    "all bits at once": Options(digit=0, dense="pick"),
    "half the rate": Options(interval=400),
    "a seventh of the rate": Options(interval=1400),
}


def small_lenet(seed: int = 3, padding: int = 0, side: int = 14) -> Network:
    """LeNet's order of layers on 14x14 pixels."""
    build = Builder(seed)
    x = build.input(1, side, side, lo=0, hi=255, frac=8)
    for channels in (3, 5):
        x = build.conv(x, channels, (3, 3), weights="dyadic", padding=(padding,) * 4)
        x = build.put(MaxPool, build.requantise(x, lo=0, hi=255), (2, 2), (2, 2))
    x = build.put(Flatten, x)
    x = build.requantise(build.dense(x, 12, weights="dyadic"), lo=0, hi=255)
    build.put(ArgMax, build.dense(x, 4, weights="dyadic", frac_w=6))
    return Network(tuple(build.layers), {"seed": seed})


QUICK = ("bits as the rate needs", "a seventh of the rate")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FORMS]
)
def test_same_codes_and_pace(name):
    """Every plan gives the golden codes of every layer, and keeps the interval it publishes."""
    network = small_lenet()
    top = make_top(network, FORMS[name])
    images = random_images(network, 3 if top.interval > 500 else 4, 0)
    done = simulate(top, network, images, limit=20000)
    assert done.wrong == []
    assert done.intervals[-1] == top.interval
    if FORMS[name].digit is None:
        assert top.interval <= max(FORMS[name].interval or 0, 14 * 14)
    assert done.latency == top.latency
    if name == "bits as the rate needs":
        assert top.interval == 14 * 14
        forms = {plan.layer.name: plan.form for plan in top.plan.layers}
        assert sorted(set(forms.values())) == ["graph", "lanes", "max", "pick", "serial", "wire"]
    if name == "a seventh of the rate":
        assert sum(isinstance(part, ConvPick) for part in top.parts.values()) >= 1


@pytest.mark.parametrize("interval", [3000, 7000])
def test_padding_is_picked(interval):
    """Convolutions with padding in time: golden codes at the pace that the plan publishes."""
    network = small_lenet(4, padding=1, side=12)
    top = make_top(network, Options(interval=interval))
    picked = [part for part in top.parts.values() if isinstance(part, ConvPick)]
    assert sum(not part.border.real.all() for part in picked) >= 1
    done = simulate(top, network, random_images(network, 3, 2), limit=40000)
    assert done.wrong == []
    assert done.intervals[-1] == top.interval <= interval
    assert done.latency == top.latency


def test_padded_with_gaps():
    network = small_lenet(4, padding=1)
    done = simulate(make_top(network), network, random_images(network, 3, 1), seed=1, limit=20000)
    assert done.wrong == []
