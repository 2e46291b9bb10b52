"""Whole NFU cores placed and routed, and how many ResNet-8 images a second they then finish.

``python -m benchmarks.nfu_place [--cores NAME,NAME] [--seed N] [--json FILE]``. Minutes for tn = 8,
some ten for tn = 16, an hour for tn = 32. FILE keeps the rows of other cores and of other seeds.

Positions are LUT4 + 2 CCU2C as Yosys maps them (see hwgen.boards.targets); ``placed`` is what
nextpnr uses, the wrapper around the core included. Images a second = clock / cycles of ResNet-8
(dense, one digit a weight drawn at random; exact by the hardware's clock, memory on chip). A core
whose memory is outside has no such figure. Buffers of the largest core are as large as its block
RAMs allow; ResNet-8 takes no more cycles for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks._nfu_networks import resnet8
from benchmarks._rows import write_rows
from hwgen.boards.synth import synthesise
from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_json
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.emit import fitted, verilog_of
from hwgen.nfu.estimate import estimate

KEPT = ("lut", "ff", "carry", "bram", "dsp", "mul_cells", "fmax_mhz", "placed", "device", "seed",
        "seconds", "tools")
WIDE, BASE = WeightCode.WIDE, WeightCode.BASE
# Name: target, and the NFU; memory of the larger ones is what ResNet-8 takes, 0 is AXI4.
CORES = {
    "wide8": ("ecp5-25", Config(tn=8, code=WIDE, segments=False, memory_bytes=1 << 15)),
    "wide16": ("ecp5-85", Config(tn=16, code=WIDE, segments=False)),
    "base16": ("ecp5-85", Config(tn=16, code=BASE, segments=False, finishers=8)),
    "base32": ("ecp5-85", Config(tn=32, code=BASE, segments=False, finishers=8, nbin_lines=512,
                                 tap_count=256, par_lines=32, memory_bytes=0)),
}
FITTED = ("wide16", "base16")


def place(name: str, seed: int, out: Path) -> dict[str, Any]:
    """Place and route one core; return its row."""
    target, config = CORES[name]
    network = resnet8()
    if name in FITTED:
        config = fitted(network, config).config
    cycles = None
    if config.memory_bytes >= (0 if name in FITTED else 1 << 17):
        cycles = estimate(fitted(network, config)).cycles
    digest = "0" * 64                                      # of no network
    folder = make_folder(out / f"{name}-{seed}")
    (folder / "top.v").write_text(verilog_of(config, f"network sha256 {digest}"))
    write_json(folder / "ports.json", {"top": "top", "clock": "clk", "reset": "rst",
                                       "digest": digest})
    row: dict[str, Any] = {"core": name, "target": target, "config": config.to_json(),
                           "seed": seed, "resnet8_cycles": cycles}
    try:
        report = synthesise(folder, target=target, pnr=True, seed=seed)
    except HwgenError as error:
        return {**row, "failed": str(error)}
    row |= {key: report[key] for key in KEPT}
    if cycles is not None:
        row["resnet8_images_per_second"] = round(row["fmax_mhz"] * 1e6 / cycles, 1)
    return row


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    print("| core | target | seed | positions | placed | FF | BRAM | DSP | MHz | ResNet-8 cycles "
          "| images/s |\n|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        if "failed" in row:
            print(f"| {row['core']} | {row['target']} | {row['seed']} | {row['failed']} |")
            continue
        placed = row["placed"].get("TRELLIS_COMB", {}).get("used")
        print(f"| {row['core']} | {row['target']} | {row['seed']} | {row['lut']:,} | {placed:,} "
              f"| {row['ff']:,} | {row['bram']} | {row['dsp']} | {row['fmax_mhz']} "
              f"| {row['resnet8_cycles'] or '-'} | {row.get('resnet8_images_per_second', '-')} |")


def main() -> None:
    """Place and print; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Place and route whole NFU cores on ECP5.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cores", default="wide8", help=f"of {', '.join(CORES)}; default wide8")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/bench/nfu_place"))
    options = parser.parse_args()
    rows = []
    for name in options.cores.split(","):
        if name not in CORES:
            raise SystemExit(f"--cores must be of {', '.join(CORES)}, not {name}")
        rows.append(place(name, options.seed, options.out))
        write_rows(options.json, rows, ("core", "seed"))
    show(rows)


if __name__ == "__main__":
    main()
