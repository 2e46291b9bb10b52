"""Pictures of a report: small PNG images as data addresses, and the network as SVG."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.layers import Layer
from hwgen.network import Network

PLUS, MINUS = (37, 99, 235), (234, 88, 12)     # weights above and below zero; zero is transparent
GAP = 1                                       # pixels between kernels


def png(pixels: npt.NDArray[np.uint8]) -> str:
    """Return an image (height, width, 3 or 4) as the address of a PNG inside the page."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, width * channels + 1), np.uint8)      # each row begins with filter 0
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
    data = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def photo(codes: npt.NDArray[Any], lo: int, hi: int) -> npt.NDArray[np.uint8]:
    """Return codes (C, H, W) of an image as pixels (H, W, 3); three channels are red, green, blue.

    Other numbers of channels are shown by their mean.
    """
    scaled = (codes.astype(np.float64) - lo) * 255 / max(hi - lo, 1)
    if len(codes) != 3:
        scaled = np.repeat(scaled.mean(axis=0, keepdims=True), 3, axis=0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def heat(values: npt.NDArray[Any], largest: float) -> npt.NDArray[np.uint8]:
    """Return weights (H, W) as pixels (H, W, 4): colour for the sign, opacity for the size."""
    share = np.abs(values.astype(np.float64)) / (largest or 1.0)
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where((values < 0)[..., None], MINUS, PLUS)
    pixels[..., 3] = np.rint(255 * np.clip(share, 0, 1))
    return pixels


def kernels(weight: npt.NDArray[Any], *, rows: int = 8, columns: int = 16) -> str:
    """Return a picture of a layer's first kernels, scaled by its largest weight.

    Parameters: weight, (co, ci, kh, kw) or (outputs, inputs). Of a convolution with one input
    channel kernels follow each other; else a row is an output channel, a column an input channel.
    """
    largest = float(np.abs(weight).max()) if weight.size else 0.0
    if weight.ndim == 2:
        return png(heat(weight[:128, :512], largest))
    shown = weight
    if weight.shape[1] == 1:
        shown = weight[: rows * columns].transpose(1, 0, 2, 3)
    shown = shown[:rows, :columns]
    co, ci, kh, kw = shown.shape
    grid = np.zeros((co * (kh + GAP) - GAP, ci * (kw + GAP) - GAP, 4), np.uint8)
    for o in range(co):
        for i in range(ci):
            top, left = o * (kh + GAP), i * (kw + GAP)
            grid[top : top + kh, left : left + kw] = heat(shown[o, i], largest)
    # A faint ground under the kernels, so that zeros and gaps differ.
    ground = np.zeros(grid.shape[:2], bool)
    for o in range(co):
        for i in range(ci):
            top, left = o * (kh + GAP), i * (kw + GAP)
            ground[top : top + kh, left : left + kw] = True
    empty = ground & (grid[..., 3] < 18)
    grid[empty] = (128, 128, 128, 40)
    return png(grid)


# ---------------------------------------------------------------------------------------------
# The network


ROW, BOX, LEFT, WIDTH = 58, 38, 120, 330      # of the drawing, in its own units
BAR = LEFT + WIDTH + 24


def drawing(
    network: Network, sizes: Sequence[float | None], notes: Sequence[str], unit: str
) -> str:
    """Return the network as SVG: a box a layer from top to bottom, its size as a bar beside it.

    Parameters: sizes, one a layer, None where there is none to show; notes, a few words a layer;
    unit, what the sizes are. A layer that reads another than the one before gets a curved line.
    """
    layers = network.layers
    places = {layer.name: n for n, layer in enumerate(layers)}
    largest = max([size for size in sizes if size] or [1])
    total = len(layers) * ROW + 26
    parts = [
        (f'<svg class="network" viewBox="0 0 760 {total}" role="img" '
         f'aria-label="The network, {len(layers)} layers">'),
        f'<text class="unit" x="{BAR}" y="14">{escape(unit)}</text>',
    ]
    for n, layer in enumerate(layers):
        for source in layer.inputs:
            parts.append(_edge(places[source], n))
    for n, (layer, size, note) in enumerate(zip(layers, sizes, notes, strict=True)):
        parts.append(_box(layer, network.tensors[layer.name].shape, n, note))
        if size is not None:
            length = max(2.0, 200 * size / largest) if size else 0.0
            y = _top(n)
            parts.append(f'<rect class="bar" x="{BAR}" y="{y + 12}" width="{length:.1f}" '
                         f'height="14" rx="2"/>')
            parts.append(f'<text class="count" x="{BAR + length + 7:.1f}" y="{y + 23}">'
                         f"{size:,.0f}</text>")
    return "".join([*parts, "</svg>"])


def _top(n: int) -> int:
    return 24 + n * ROW


def _edge(source: int, target: int) -> str:
    x = LEFT + WIDTH / 2
    start, end = _top(source) + BOX, _top(target)
    if target == source + 1:
        return (f'<path class="edge" d="M{x} {start}V{end - 6}"/>'
                f'<path class="tip" d="M{x - 4} {end - 7}h8l-4 7z"/>')
    reach = min(18 + 12 * (target - source), 104)
    start, end = start - BOX / 2, end + BOX / 2
    return (f'<path class="edge" d="M{LEFT} {start}C{LEFT - reach} {start} {LEFT - reach} {end} '
            f'{LEFT - 7} {end}"/><path class="tip" d="M{LEFT - 8} {end - 4}v8l7 -4z"/>')


def _box(layer: Layer, shape: tuple[int, int, int], n: int, note: str) -> str:
    y = _top(n)
    kind = type(layer).__name__
    size = " × ".join(str(side) for side in shape)
    return (f'<g class="layer {kind.lower()}"><rect x="{LEFT}" y="{y}" width="{WIDTH}" '
            f'height="{BOX}" rx="6"/>'
            f'<text class="name" x="{LEFT + 12}" y="{y + 16}">{escape(_short(layer.name))}</text>'
            f'<text class="kind" x="{LEFT + 12}" y="{y + 31}">{escape(kind)}'
            f'{escape(", " + note if note else "")}</text>'
            f'<text class="size" x="{LEFT + WIDTH - 12}" y="{y + 16}">{size}</text></g>')


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
