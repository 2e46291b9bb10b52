"""A finished design's folder, made by hand, and a strict reader of pages."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import netfile
from hwgen.network import Add, ArgMax, Conv2d, Dense, Flatten, Input, Network, Requantise

VOID = {"meta", "img", "br", "link"}
NAMES = ("class", "score_0", "score_1", "score_2")


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses tags that are not closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text but that of the style sheet, blanks joined."""
        return " ".join(" ".join(self.words[2:]).split())

    def all(self, tag: str, kind: str = "") -> list[dict[str, str]]:
        """Attributes of each tag of that name (and class)."""
        return [attrs for name, attrs in self.tags
                if name == tag and (not kind or kind in attrs.get("class", "").split())]


def network(**metadata: Any) -> Network:
    """Two convolutions around a residual sum, then a matrix and the largest."""
    rng = np.random.default_rng(0)
    ones = np.ones(2, int)
    return Network((
        Input("image", 1, 4, 4, 0, 15, 0),
        Conv2d("conv1", "image", rng.integers(-2, 3, (2, 1, 3, 3)), np.array([0, 1]),
               np.array([1, 2]), padding=(1, 1, 1, 1)),
        Requantise("relu1", "conv1", ones, 0 * ones, 2 * ones, 0, 15, 0),
        Conv2d("conv2", "relu1", rng.integers(-2, 3, (2, 2, 1, 1)), 0 * ones, 0 * ones),
        Requantise("q2", "conv2", ones, 0 * ones, ones, -8, 7, 0),
        Add("sum", ("relu1", "q2"), (0, 0)),
        Requantise("relu3", "sum", ones, 0 * ones, 0 * ones, 0, 15, 0),
        Flatten("flat", "relu3"),
        Dense("fc", "flat", rng.integers(-4, 5, (3, 32)), np.zeros(3, int), np.zeros(3, int)),
        ArgMax("class", "fc"),
    ), metadata)


def records(net: Network) -> dict[str, dict[str, Any]]:
    """Every JSON file of the design; all figures differ."""
    names = [layer.name for layer in net.layers]
    linear = [layer.name for layer in net.layers if isinstance(layer, (Conv2d, Dense))]
    return {
        "compress": {
            "digest": net.digest, "methods": ["dyadic:P9"], "seed": 11, "accuracy_float": 0.9753,
            "accuracy_integer": 0.9694, "images": 371,
            "layers": [{"name": name, "error": 0.041 + n / 10} for n, name in enumerate(linear)],
            "budget": 0.7, "objective": "adders", "cost": 1460, "networks_measured": 57,
            "pareto": [
                {"cost": 1210, "lost": 1.25, "accuracy": 0.9621, "prune": 0.0,
                 "layers": {"conv1": "dyadic=T3"}},
                {"cost": 1460, "lost": 0.61, "accuracy": 0.9685, "prune": 0.35,
                 "layers": {"conv1": "dyadic=P5", "fc": "dyadic=P9"}},
            ],
        },
        "plan": {
            "digest": net.digest, "engine": "stream", "interval": 25, "latency": 77,
            "layers": [
                {"name": name, "form": f"form{n}", "why": f"reason {n}", "lut": 4100 + n,
                 "ff": 5200 + n, "bram": 60 + n, "interval": 640 + n, "latency": 730 + n,
                 "adders": 8200 + n, "depth": 90 + n} for n, name in enumerate(names)],
        },
        "ports": {"digest": net.digest, "version": "0.1.7"},
        "verify": {
            "digest": net.digest, "simulator": "verilator", "images": 362, "passed": True,
            "values_compared": 54321, "mismatches": 0, "first_difference": None, "problems": [],
            "accuracy_golden": 0.9611, "accuracy_rtl": 0.9612, "cycles": 98765,
            "confusion": [[101, 2, 3], [4, 105, 6], [7, 8, 109]],
            "cycles_per_image": 26.5, "images_every_layer": 21, "stalls": False, "seed": 12,
            "layers": [{"name": name, "compared": 9300 + n, "mismatches": 0, "proof": "full"}
                       for n, name in enumerate(names)],
        },
        "synth": {
            "digest": net.digest, "target": "ecp5-85", "lut": 7915, "ff": 9159, "carry": 2729,
            "bram": 37, "dsp": 0, "mul_cells": 0, "fmax_mhz": 100.5, "seed": 13,
            "device": "a device", "tools": {"yosys": "0.70"},
        },
    }


def fill(folder: Path, net: Network, **changes: dict[str, Any]) -> Path:
    """Write every file of a finished design, with some entries of the JSON files changed."""
    netfile.save(net, folder / "net.npz")
    for name, value in records(net).items():
        change(folder / f"{name}.json", {**value, **changes.get(name, {})})
    rng = np.random.default_rng(1)
    np.savez(folder / "before.npz", allow_pickle=False, **{
        f"{layer.name}.weight": rng.normal(size=layer.weight.shape).astype(np.float32)
        for layer in net.layers if isinstance(layer, (Conv2d, Dense))})
    samples(folder, net)
    trace(folder, net)
    return folder


def trace(folder: Path, net: Network, *windows: Any) -> None:
    """Write trace.json: of a window of four cycles from 30 on, two move a beat of the input."""
    window = {"title": "first pixel", "first": 30, "signals": {
        "input tvalid": [*"0111"], "input tready": [*"1101"], "input tlast": [*"0000"],
        "input tdata": ["00", "0f", "0a", "0a"],
        "output tvalid": [*"0000"], "output tready": [*"1111"], "output tlast": [*"0000"],
        "output tdata": ["0x", "0x", "0x", "0x"]}}
    change(folder / "trace.json",
           {"digest": net.digest, "stalls": False, "windows": list(windows) or [window]})


def samples(folder: Path, net: Network, **arrays: Any) -> None:
    """Write samples.npz: of two images the second has one score that is not the golden model's."""
    golden = np.array([[2, 5, -6, 7], [0, 19, -16, 17]])
    found = {
        "images": np.random.default_rng(1).integers(0, 16, (2, 1, 4, 4)),
        "labels": np.array([2, 1]), "index": np.array([3, 1234]), "names": np.array(NAMES),
        "golden": golden, "hardware": golden + np.array([[0, 0, 0, 0], [0, 0, 1, 0]]),
        "digest": np.array(net.digest), **arrays,
    }
    np.savez(folder / "samples.npz", allow_pickle=False,
             **{name: array for name, array in found.items() if array is not None})


def change(path: Path, value: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of each number in a JSON value; truth values are none."""
    if isinstance(value, dict):
        return [place for key, part in value.items() for place in places(part, (*path, key))]
    if isinstance(value, list):
        return [place for n, part in enumerate(value) for place in places(part, (*path, n))]
    return [path] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with another number in one place."""
    value = copy.deepcopy(value)
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = new
    return value
