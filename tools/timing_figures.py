"""Timing diagrams of the two engines, each from a simulation of a small network.

The network is of random weights: what counts is when a layer works, not what it computes.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import netfile, tools
from hwgen.files import read_json
from hwgen.layers import ArgMax, Conv2d, Dense, Flatten, Input, MaxPool, Requantise
from hwgen.network import Network
from hwgen.report.waves import picture
from tools.chart import COLOURS, FAINT, SOFT, label, svg


def example() -> Network:
    """Return 8 x 8 pixels, a padded convolution, a pool, a matrix: one layer of each kind."""
    random = np.random.default_rng(0)
    ones = np.ones(4, int)
    return Network((
        Input("pixels", 1, 8, 8, 0, 15, 4),
        Conv2d("conv", "pixels", random.integers(-2, 3, (4, 1, 3, 3)), 0 * ones, 0 * ones,
               padding=(1, 1, 1, 1)),
        Requantise("relu", "conv", ones, 0 * ones, 2 * ones, 0, 15, 4),
        MaxPool("pool", "relu", (2, 2), (2, 2)),
        Flatten("flat", "pool"),
        Dense("scores", "flat", random.integers(-2, 3, (3, 64)), np.zeros(3, int),
              np.zeros(3, int)),
        ArgMax("class", "scores"),
    ))


def simulator() -> str:
    """Return the simulator that starts fastest."""
    return "icarus" if tools.find_icarus() else "verilator"


def values(vcd: Path, names: Mapping[str, Sequence[str]], clock: str) -> dict[str, list[int]]:
    """Return the values of signals just before each rising edge of a clock.

    Parameters: names, the end of a signal's path, its scopes and its name, for each; clock, the
    name of the clock in the outermost scope that has one. Raises: KeyError if one is not there.
    """
    from vcd import reader

    scopes: list[str] = []
    found: dict[str, str] = {}
    code_of: dict[str, str] = {}
    now: dict[str, int] = {}
    result: dict[str, list[int]] = {name: [] for name in names}
    with open(vcd, "rb") as file:
        for token in reader.tokenize(io.BytesIO(file.read())):
            kind, data = token.kind, token.data
            if kind is reader.TokenKind.SCOPE:
                scopes.append(data.ident)
            elif kind is reader.TokenKind.UPSCOPE:
                scopes.pop()
            elif kind is reader.TokenKind.VAR:
                path = (*scopes, data.reference)
                if data.reference == clock and "clock" not in code_of:
                    code_of["clock"] = data.id_code
                for name, tail in names.items():
                    if path[-len(tail):] == tuple(tail) and name not in code_of:
                        code_of[name], found[name] = data.id_code, ".".join(path)
            elif kind in (reader.TokenKind.CHANGE_SCALAR, reader.TokenKind.CHANGE_VECTOR):
                value = data.value if isinstance(data.value, int) else (
                    int(data.value) if data.value in ("0", "1") else 0)
                if data.id_code == code_of["clock"] and value == 1 and not now.get(data.id_code):
                    for name in names:
                        result[name].append(now.get(code_of[name], 0))
                now[data.id_code] = value
    return result


def rows(about: str, lanes: Mapping[str, Sequence[tuple[int, int, int]]], cycles: int,
         notes: Sequence[str], *, tick: int) -> str:
    """Return bars over cycles, a row a name.

    Parameters: lanes, (first cycle, cycle behind the last, number of a colour) of each bar; notes,
    what the colours mean; tick, cycles between two numbers.
    """
    left, wide, high = 84, 522, 22
    step, bottom = wide / cycles, 26 + high * len(lanes)
    parts = []
    for cycle in range(0, cycles + 1, tick):
        x = left + step * cycle
        parts.append(f'<path d="M{x:.1f} 20V{bottom}" stroke="{FAINT}"/>')
        parts.append(label(x, 14, str(cycle), anchor="middle", colour=SOFT))
    for n, (name, bars) in enumerate(lanes.items()):
        y = 24 + high * n
        parts.append(label(left - 10, y + 13, name, anchor="end"))
        parts += [
            f'<rect x="{left + step * first:.2f}" y="{y + 2}" '
            f'width="{max(step * (end - first), 0.6):.2f}" height="{high - 6}" '
            f'fill="{COLOURS[colour]}"/>' for first, end, colour in bars
        ]
    x = float(left)
    for words, colour in zip(notes, COLOURS, strict=False):
        parts.append(f'<rect x="{x:.0f}" y="{bottom + 12}" width="10" height="10" '
                     f'fill="{colour}"/>')
        parts.append(label(x + 15, bottom + 21, words, colour=SOFT))
        x += 40 + 6.6 * len(words)
    return svg(620, bottom + (32 if notes else 10), about, parts)


def runs(marks: Sequence[int]) -> list[tuple[int, int]]:
    """Return where marks are not 0: (first, behind the last)."""
    ends = np.flatnonzero(np.diff([0, *(mark != 0 for mark in marks), 0]))
    return [(int(a), int(b)) for a, b in zip(ends[::2], ends[1::2], strict=True)]


# ---------------------------------------------------------------------------------------------


def _stream(folder: Path, images: int) -> dict[str, Any]:
    from hwgen.sim.verify import verify
    from hwgen.stream.emit import write_design

    netfile.save(example(), folder / "example.npz")
    write_design(folder / "example.npz", folder)
    pixels = np.random.default_rng(1).integers(0, 16, (images, 1, 8, 8), dtype=np.uint8)
    labels = np.zeros(images, int)
    np.savez(folder / "images.npz", x=pixels, y=labels, test_x=pixels, test_y=labels)
    found = verify(folder, data=f"npz:{folder / 'images.npz'}", images=images,
                   simulator=simulator(), seed=1, wave=folder / "wave.vcd")
    assert found["passed"], found
    return found


def stream_handshake() -> str:
    """The input port where an image ends and the next begins."""
    with tempfile.TemporaryDirectory() as place:
        _stream(Path(place), 2)
        (window,) = [window for window in read_json(Path(place) / "trace.json")["windows"]
                     if window["title"] == "end of the first image"]
    names = ("tvalid", "tready", "tlast", "tdata")
    signals = {name: window["signals"][f"input {name}"] for name in names}
    marks = [window["first"] + n for n, pair in enumerate(zip(
        signals["tvalid"], signals["tready"], strict=True)) if pair == ("1", "1")]
    return picture(signals, first=window["first"], marks=marks,
                   about="The input port at the end of an image")


def stream_layers() -> str:
    """When each layer of the streaming engine gives a beat, over three images."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _stream(folder, 3)
        ports = read_json(folder / "ports.json")
        ends = {"pixels": ports["input"]["prefix"], "class": ports["output"]["prefix"]}
        names = {f"{layer} {part}": [f"{prefix}_t{part}"] for layer, prefix in ends.items()
                 for part in ("valid", "ready")}
        taps = {}
        for tap in ports["taps"]:
            if not tap.get("alias") and tap["layer"] not in ends:
                taps[tap["layer"]] = tap
                names |= {f"{tap['layer']} {part}": [*filter(None, tap["instance"].split(".")),
                                                     tap[part]] for part in ("valid", "ready")}
        seen = values(folder / "wave.vcd", names, ports["clock"])
    order = [layer.name for layer in example().layers if layer.name in {*ends, *taps}]
    start = runs([a & b for a, b in zip(seen["pixels valid"], seen["pixels ready"],
                                        strict=True)])[0][0]
    lanes, last = {}, 0
    beats = {"pixels": 64, "class": 1}
    for name in order:
        moves = [n for n, pair in enumerate(zip(seen[f"{name} valid"], seen[f"{name} ready"],
                                                strict=True)) if pair == (1, 1)]
        each = len(moves) // 3 if name not in beats else beats[name]
        lanes[name] = [(cycle - start, cycle - start + 1, min(n // max(each, 1), 2))
                       for n, cycle in enumerate(moves) if n < 3 * each]
        last = max(last, *(end for _, end, _ in lanes[name]))
    return rows("Cycles in which each layer gives a beat, three images one after the other", lanes,
                -(-last // 20) * 20, ("first image", "second", "third"), tick=40)


def nfu_units() -> str:
    """When the units of an NFU work, over one image."""
    from hwgen.nfu.emit import write_design
    from hwgen.sim.nfu_verify import verify

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        netfile.save(example(), folder / "example.npz")
        write_design(folder / "example.npz", folder, tn=4)
        found = verify(folder, images=1, simulator=simulator(), seed=1, wave=folder / "wave.vcd")
        assert found["passed"], found
        names = {name: ["dispatcher", f"{name.lower()}_busy"]
                 for name in ("LOAD", "COMPUTE", "STORE")}
        seen = values(folder / "wave.vcd", names, "clk")
    busy = runs([max(three) for three in zip(*seen.values(), strict=True)])
    first, cycles = busy[0][0], busy[-1][1] - busy[0][0]
    lanes = {name: [(a - first, b - first, n) for a, b in runs(seen[name])]
             for n, name in enumerate(names)}
    return rows(f"Cycles in which the units of an NFU of 4 x 4 lanes work on one image, {cycles} "
                "of them", lanes, -(-cycles // 100) * 100, (), tick=200)


FIGURES: dict[str, Callable[[], str]] = {
    "stream-handshake": stream_handshake, "stream-layers": stream_layers, "nfu-units": nfu_units,
}
