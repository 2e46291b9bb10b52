"""The CFF face detector over whole frames: 512x512 at one pixel a cycle, 1920x1080 at several.

``python -m benchmarks.frames --faces DIR [--frames NAME ...] [--out DIR] [--json FILE]``. Train,
compress, rtl with ``--frame`` (and ``--pixels-per-cycle``), verify one random frame against the
golden model, synth with place and route. 1920x1080 is planned and placed; a frame of it is not
simulated unless ``--verify-all`` is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.lenet5 import must, verified
from hwgen.files import make_folder, read_json, write_json

# name -> (rows x columns, pixels a cycle, simulated)
FRAMES = {
    "512x512": ("512x512", 1, True),
    "1080p, 2 pixels a cycle": ("1080x1920", 2, False),
    "1080p, 4 pixels a cycle": ("1080x1920", 4, False),
}
KEYS = ("lut", "ff", "bram", "dsp", "mul_cells", "fmax_mhz")


def measure(net: Path, name: str, out: Path, target: str, everything: bool) -> dict[str, Any]:
    """Return the figures of one size of frame."""
    size, pixels, simulated = FRAMES[name]
    seconds: dict[str, float] = {}
    rtl = out / name.replace(" ", "-").replace(",", "")
    must(seconds, "rtl", "rtl", str(net), "--out", str(rtl), "--frame", size,
         "--pixels-per-cycle", str(pixels))
    plan, check = read_json(rtl / "plan.json"), None
    if simulated or everything:
        must(seconds, "verify", "verify", str(rtl), "--images", "2", "--proof")
        check = verified(rtl)
    must(seconds, "synth", "synth", str(rtl), "--target", target, "--pnr")
    synth = read_json(rtl / "synth.json")
    return {
        "frame": size, "pixels_per_cycle": pixels, "interval": plan["interval"],
        "estimate": plan["estimate"], "target": target, **{key: synth[key] for key in KEYS},
        "frames_per_second": round(synth["fmax_mhz"] * 1e6 / plan["interval"], 1),
        "mhz_for_60_frames": round(60 * plan["interval"] / 1e6, 1),
        "verify": check, "seconds": seconds,
    }


def main() -> int:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description="A detector over whole frames.")
    parser.add_argument("--faces", type=Path, required=True, help="folder with the face crops")
    parser.add_argument("--frames", nargs="*", choices=FRAMES, default=list(FRAMES))
    parser.add_argument("--target", default="ecp5-85")
    parser.add_argument("--verify-all", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("build/bench/frames"))
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    out, data = make_folder(chosen.out), f"faces:{chosen.faces}"
    model, net = out / "m.safetensors", out / "net.npz"
    seconds: dict[str, float] = {}
    if not model.exists():
        must(seconds, "train", "train", "cff", "--data", data, "--out", str(model))
    if not net.exists():
        must(seconds, "compress", "compress", str(model), "--data", data, "--out", str(net))
    results = {name: measure(net, name, out, chosen.target, chosen.verify_all)
               for name in chosen.frames}
    table = Table("frame", "cycles", "LUT", "FF", "BRAM", "DSP", "MHz", "frames/s", box=None)
    for name, one in results.items():
        table.add_row(name, *(f"{one[key]:,}" for key in (
            "interval", "lut", "ff", "bram", "dsp", "fmax_mhz", "frames_per_second")))
    Console(markup=False, highlight=False).print(table)
    if chosen.json is not None:
        known = read_json(chosen.json) if chosen.json.exists() else {}
        write_json(chosen.json, {**known, **results})
    else:
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
