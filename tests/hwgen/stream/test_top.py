# amaranth: UnusedElaboratable=no
"""Whole engines, small ones: every layer's codes, latency and interval as stated."""

from __future__ import annotations

import pytest

from hwgen.network import ArgMax, Network
from hwgen.stream.emit import make_top, ports_json
from hwgen.stream.plan import Options
from tests.hwgen.stream.engine import simulate
from tests.networks import THEMES, digits_like_network, random_images, random_network

SEEDS = {theme.__name__: seed for seed, theme in enumerate(THEMES)}


@pytest.mark.parametrize("gaps", [None, 0])
@pytest.mark.parametrize(
    ("theme", "dense"),
    [
        ("one_row", "auto"),
        ("one_pixel", "graph"),
        ("one_pixel", "rom"),
        ("several_dense", "rom"),
        ("map_of_classes", "auto"),
        ("map_of_scores", "auto"),
        ("projection", "auto"),
    ],
)
def test_random_network(theme, dense, gaps):
    network = random_network(SEEDS[theme])
    top = make_top(network, Options(dense=dense))
    done = simulate(top, network, random_images(network, 5, 0), seed=gaps)
    assert done.wrong == []
    if gaps is None:
        assert done.latency == top.latency
        assert done.intervals[-2:] == [top.interval] * 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(THEMES)))
def test_every_theme(seed):
    network = random_network(seed + len(THEMES))
    done = simulate(make_top(network), network, random_images(network, 4, 0), seed=seed)
    assert done.wrong == []


@pytest.mark.slow
def test_digits():
    """The network of the demo keeps the pace of its padded input layer: (8 + 1) * (8 + 1)."""
    network = digits_like_network(0)
    top = make_top(network)
    done = simulate(top, network, random_images(network, 6, 0))
    assert done.wrong == []
    assert done.latency == top.latency
    assert done.intervals == [81] * 5 == [top.interval] * 5


def test_reset_in_the_middle_of_an_image():
    """Cut off after half an image, the engine gives the next one right."""
    network = random_network(SEEDS["map_of_classes"])
    assert isinstance(network.output, ArgMax)
    images = random_images(network, 2, 1)
    half = network.input.height * network.input.width // 2
    assert simulate(make_top(network), network, images, cut=half).wrong == []


def test_fields_of_the_output():
    """The class lowest, the scores above it, each where its width puts it."""
    network: Network = random_network(SEEDS["map_of_classes"])
    top = make_top(network)
    simulate(top, network, random_images(network, 1, 0))
    fields = ports_json(top)["output"]["fields"]
    assert [field["name"] for field in fields] == [
        "class",
        *(f"score_{n}" for n in range(len(fields) - 1)),
    ]
    assert fields[0]["offset"] == 0
    for before, after in zip(fields, fields[1:], strict=False):
        assert after["offset"] == before["offset"] + before["width"]
