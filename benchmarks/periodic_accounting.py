"""Weights, MACs, index bits and cycles that pre-defined periodic sparsity saves, from shapes alone.

``python -m benchmarks.periodic_accounting [--json FILE]``. VGG16 and ResNet18 on 32 x 32 images;
first convolution, 1 x 1 kernels and classifier dense. Columns for each network: weights saved,
dense MACs over sparse ones; then, for VGG16's sparse layers, index bits over weight bits (16-bit
weights): the table of supports (the most of any layer), a support number a kernel, a bitmap, a tap
number a weight; then cycles of a 16 x 16 array, dense over sparse, with phases by channel and by
tile.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.compress.methods.periodic import Kind, Options, Phase, Variant, mask
from hwgen.compress.methods.periodic_cost import savings, storage, tile_taps
from hwgen.compress.shapes import LayerShape, resnet18, vgg16
from hwgen.files import write_json

VARIANTS = (
    "pSC4", "pSC2", "pSC1", "PS4_P4", "PS2_P6", "PS1_P9", "PSD4_P8", "PSD4_P16", "PSD2_P8",
    "PSD2_P16", "PSD1_P8", "PSD1_P16",
)
SPARSE = tuple(layer for layer in vgg16()[1:] if layer.kh > 1)


def cycles(layer: LayerShape, options: Options | None) -> int:
    """Cycles of an image on a 16 x 16 array that walks the taps in time; dense without options."""
    if options is None:
        chosen = np.ones(layer.shape, bool)
    else:
        chosen = mask(layer.shape, options, np.random.default_rng(0))
    return tile_taps(chosen) * layer.pixels


def measure(name: str) -> dict[str, Any]:
    """Return the figures of one variant."""
    options = Options(Variant.parse(name))
    row: dict[str, Any] = {"variant": name}
    for network, layers in (("vgg16", vgg16()), ("resnet18", resnet18())):
        found = savings(layers, options)
        row |= {
            f"{network}_weights": found.weights,
            f"{network}_saved_percent": round(100 * found.saved, 1),
            f"{network}_ratio": round(found.ratio, 2),
        }
    bits = [storage(layer, options) for layer in SPARSE]
    periodic = [part.periodic / part.weights for part in bits if part.periodic is not None]
    total = sum(part.weights for part in bits)
    row["index_periodic_percent"] = round(100 * max(periodic), 4) if periodic else None
    for key in ("support", "bitmap", "rows"):
        row[f"index_{key}_percent"] = round(
            100 * sum(getattr(part, key) for part in bits) / total, 1
        )
    dense = sum(cycles(layer, None) for layer in SPARSE)
    by_channel = sum(cycles(layer, options) for layer in SPARSE)
    row["cycles_channel_ratio"] = round(dense / by_channel, 2)
    row["cycles_tile_ratio"] = None
    if options.variant.kind is not Kind.RANDOM:
        tiled = Options(options.variant, Phase.TILE)
        row["cycles_tile_ratio"] = round(dense / sum(cycles(layer, tiled) for layer in SPARSE), 2)
    return row


def main() -> None:
    """Print the table; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="What periodic sparsity saves, from shapes.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measure(name) for name in VARIANTS]
    print("| variant | VGG16 saved | ratio | ResNet18 saved | ratio | periodic index | support "
          "number | bitmap | tap number | cycles by channel | by tile |")
    print("|---|" + "---|" * 10)
    for row in rows:
        index = row["index_periodic_percent"]
        tile = row["cycles_tile_ratio"]
        print(
            f"| {row['variant']} | {row['vgg16_saved_percent']} % | {row['vgg16_ratio']}x "
            f"| {row['resnet18_saved_percent']} % | {row['resnet18_ratio']}x "
            f"| {'-' if index is None else f'{index} %'} | {row['index_support_percent']} % "
            f"| {row['index_bitmap_percent']} % | {row['index_rows_percent']} % "
            f"| {row['cycles_channel_ratio']}x | {'-' if tile is None else f'{tile}x'} |"
        )
    if options.json is not None:
        write_json(options.json, {"seed": 0, "weight_bits": 16, "rows": rows})


if __name__ == "__main__":
    main()
