"""The NFU beside DianNao: as published, the unmodified and the modified build; the same layers.

``python -m benchmarks.nfu_table [--sizes FILE] [--json FILE]``. Cycles and lane use are of the
convolutions of AlexNet and VGG-16 at Tn = 16, compute-bound (see benchmarks.nfu_cycles); buffer
traffic is what NBin and SB give to the lanes in those cycles. Positions, block RAMs and clock are
from FILE, the rows of ``benchmarks.nfu_area --json``, and of ``benchmarks.nfu_place --json``.

Ref: T. Chen et al., "DianNao", ASPLOS 2014: Tn = 16, 16-bit numbers, 0.98 GHz in 65 nm, 452 GOP/s.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks._nfu_networks import vgg16_imagenet
from benchmarks.nfu_cycles import CONFIG, STRIDES, array_cycles, diannao, lane_use
from hwgen.compress.shapes import LayerShape, alexnet
from hwgen.files import read_json, write_json
from hwgen.nfu.config import Config, WeightCode

RESULTS = Path(__file__).parent / "results"
PLAIN = replace(CONFIG, code=WeightCode.PRODUCT)
BASE = replace(CONFIG, code=WeightCode.BASE)
PUBLISHED_BYTES = 2 * (16 + 16 * 16)      # of 16-bit numbers, from NBin and SB in a cycle


def networks() -> dict[str, list[LayerShape]]:
    """The layers: AlexNet's and VGG-16's convolutions."""
    return {"AlexNet": [shape for shape in alexnet() if shape.name.startswith("conv")],
            "VGG-16": list(vgg16_imagenet())}


def step_bytes(config: Config) -> int:
    """Bytes that NBin and SB give in a cycle."""
    return (config.tn * config.act_bits + config.tn * config.tn * config.weight_bits) // 8


def cycles_of(name: str, shapes: list[LayerShape], config: Config) -> int:
    """Cycles of the array for all layers."""
    return sum(array_cycles(shape, config=config,
                            stride=STRIDES.get(shape.name, 1) if name == "AlexNet" else 1)
               for shape in shapes)


def sizes(path: Path) -> dict[str, dict[str, Any]]:
    """Positions, block RAMs, clock of the cores by name, as far as they were measured."""
    found: dict[str, dict[str, Any]] = {}
    for file in (path, RESULTS / "nfu_place.json"):
        if not file.exists():
            continue
        content = read_json(file)
        for row in [*content.get("cores", []), *content.get("rows", [])]:
            name = row.get("core", f"{row.get('code')}{row.get('tn')}")
            if "failed" not in row:
                kept = {key: row[key] for key in ("lut", "ff", "bram", "dsp", "fmax_mhz")}
                found[name] = {**found.get(name, {}), **{
                    key: value for key, value in kept.items() if value is not None}}
    return found


def measure(path: Path) -> list[dict[str, Any]]:
    """Return the rows."""
    built = sizes(path)
    rows = []
    for name, shapes in networks().items():
        published = sum(map(diannao, shapes))
        rows.append({"network": name, "build": "DianNao, published", "cycles": published,
                     "lane_use": round(lane_use(shapes, [published]), 4),
                     "buffer_bytes": published * PUBLISHED_BYTES, "fmax_mhz": 980.0})
        for build, config, core in (("unmodified", PLAIN, "product16"),
                                    ("modified", CONFIG, "wide16"),
                                    ("modified, four shifts over a base", BASE, "base16")):
            cycles = cycles_of(name, shapes, config)
            rows.append({"network": name, "build": build, "cycles": cycles,
                         "lane_use": round(lane_use(shapes, [cycles]), 4),
                         "buffer_bytes": cycles * step_bytes(config), **built.get(core, {})})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    print("| network | build | cycles | lane use | positions | block RAMs | DSP | MHz "
          "| buffer traffic, MB |\n|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        def of(key: str, row: dict[str, Any] = row) -> str:
            return f"{row[key]:,}" if row.get(key) is not None else "-"

        print(f"| {row['network']} | {row['build']} | {row['cycles']:,} | {row['lane_use']:.1%} "
              f"| {of('lut')} | {of('bram')} | {of('dsp')} | {of('fmax_mhz')} "
              f"| {row['buffer_bytes'] / 1e6:,.0f} |")


def main() -> None:
    """Print the table; with ``--json`` also write the rows."""
    parser = argparse.ArgumentParser(description="The NFU beside DianNao.")
    parser.add_argument("--sizes", type=Path, default=RESULTS / "nfu_area.json")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.sizes)
    show(rows)
    if options.json is not None:
        write_json(options.json, {"rows": rows})


if __name__ == "__main__":
    main()
