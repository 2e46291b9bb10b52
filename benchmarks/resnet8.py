"""ResNet-8 of MLPerf Tiny on CIFAR-10: one signed digit a weight, accuracy, and the NFU's cycles.

``python -m benchmarks.resnet8 --cifar DIR --weights DIR [--variants NAME ...] [--cores N] [--out
DIR] [--json FILE]``. Published float weights (MLPerf Tiny), set P9 with scales of one digit, some
passes of fine-tuning on the integer forward pass: two to three minutes a pass on one core. "8 taps"
leaves all kernels of 3x3, but the first layer's, 8 taps, those of largest energy, the same in each
tile of 16 filters and 16 channels; "7 taps", "6 taps" likewise. Accuracies are of the golden model
on all 10,000 test images; cycles are those of the compiler's clock, equal to the RTL's counter.
Networks stay in --out and are not trained again.

With ``--cores N`` each variant also becomes hardware by the commands that a user would type: N NFUs
with Tn = 16 and four shifts over a base that take images in turn, pixels in, class out; 100 test
images through the RTL; placed and routed on an ECP5-85F (an hour for two). FILE keeps what it holds
of other variants.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import _prepared as common
from benchmarks.lenet5 import must, verified
from hwgen import netfile
from hwgen.compress import pipeline
from hwgen.files import make_folder, read_json, write_json
from hwgen.nfu.compiler.program import compile_network
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.estimate import estimate

# name -> methods, passes of fine-tuning
VARIANTS = {
    "dense": (("dyadic:P9,digits=1",), 4),
    **{f"{taps} taps": ((f"periodic:PS{taps}_P16,phase=tile", "dyadic:P9,digits=1"), passes)
       for taps, passes in ((8, 4), (7, 8), (6, 8))},
}
IMAGES = 100
KEPT = ("lut", "ff", "carry", "bram", "dsp", "mul_cells", "fmax_mhz", "placed", "seed")
CONFIGS = {
    "Tn 8, wide": Config(tn=8, segments=False),
    "Tn 16, wide": Config(tn=16, segments=False, finishers=8),
    "Tn 32, base": Config(tn=32, segments=False, finishers=8, code=WeightCode.BASE),
}


def say(text: str, done: int, total: int) -> None:
    """Progress on standard error, a line now and then."""
    if done % 100 == 0 or done == total:
        print(f"  {text}", file=sys.stderr, flush=True)


def measure(name: str, model: Path, data: str, folder: Path) -> dict[str, Any]:
    """Return the figures of one variant."""
    out, started = folder / name.replace(" ", "_") / "net.npz", time.perf_counter()
    report = out.with_name("compress.json")
    if not report.exists():
        make_folder(out.parent)
        methods, passes = VARIANTS[name]
        pipeline.compress(str(model), methods, data, out, finetune=passes, progress=say)
    found, network = json.loads(report.read_text()), netfile.load(out)
    cycles = {}
    for title, config in CONFIGS.items():
        program = compile_network(network, config)
        count, products = estimate(program).cycles, sum(task.products for task in program.tasks)
        cycles[title] = {
            "cycles": count,
            "lane_use": round(products / (count * config.tn**2), 4),
            "images_per_second_at_100_mhz": round(1e8 / count),
        }
    return {
        "variant": name, "methods": found["methods"], "digest": found["digest"],
        "accuracy_float": found["accuracy_float"], "accuracy_integer": found["accuracy_integer"],
        "nfu": cycles, "seconds": round(max(found["seconds"], time.perf_counter() - started), 1),
    }  # fmt: skip


def built(folder: Path, data: str, cores: int) -> dict[str, Any]:
    """Return the figures of a variant's hardware; what was placed before is used again."""
    rtl, seconds = folder / f"rtl_{cores}", dict[str, float]()
    if not (rtl / "synth.json").exists():
        must(seconds, "rtl", "rtl", str(folder / "net.npz"), "--engine", "nfu", "--tn", "16",
             "--code", "base", "--ports", "stream", "--cores", str(cores), "--out", str(rtl))
        must(seconds, "verify", "verify", str(rtl), "--data", data, "--images", str(IMAGES))
        must(seconds, "synth", "synth", str(rtl), "--target", "ecp5-85", "--pnr")
    synth, interval = read_json(rtl / "synth.json"), read_json(rtl / "ports.json")["interval"]
    return {"cores": cores, "interval": interval, "verify": verified(rtl),
            **{key: synth[key] for key in KEPT}, "seconds": seconds,
            "images_per_second": round(synth["fmax_mhz"] * 1e6 / interval)}


def show(results: dict[str, Any]) -> None:
    """The table on standard output."""
    print("| variant | float | integer | " + " | ".join(f"cycles, {c}" for c in CONFIGS) + " |")
    print("|---|---|---|" + "---|" * len(CONFIGS))
    for row in results.values():
        cells = [f"{row['nfu'][c]['cycles']:,} ({row['nfu'][c]['lane_use']:.1%})" for c in CONFIGS]
        print(f"| {row['variant']} | {row['accuracy_float']:.2%} | {row['accuracy_integer']:.2%} | "
              + " | ".join(cells) + " |")
    for row in results.values():
        if (made := row.get("hardware")) is None:
            continue
        print(f"{row['variant']}, {made['cores']} NFUs: {made['lut']:,} LUT, {made['ff']:,} FF, "
              f"{made['bram']} block RAMs, {made['dsp']} DSP, {made['fmax_mhz']} MHz, "
              f"{made['interval']:,} cycles, {made['images_per_second']:,} images/s; "
              f"{made['verify']['images']} images in RTL, {made['verify']['values_compared']:,} "
              f"values, {made['verify']['mismatches']} different")


def main() -> None:
    """Measure, print the table, and write the JSON if a file was named."""
    parser = argparse.ArgumentParser(description="ResNet-8, one digit a weight, on the NFU.")
    parser.add_argument("--cifar", type=Path, help="folder with CIFAR-10")
    parser.add_argument("--weights", type=Path, help="folder with the published weights")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=["dense"])
    parser.add_argument("--cores", type=int, default=0, help="NFUs of the hardware; default none")
    parser.add_argument("--out", type=Path, default=Path("build/bench/resnet8"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.cifar is None or options.weights is None:
        print("left out: --cifar and --weights were not given")
        return
    make_folder(options.out)
    data = f"cifar10:{options.cifar}"
    model = common.model_of("resnet8", data, options.out, options.weights, say, None)
    results = {}
    for name in options.variants:
        results[name] = measure(name, model, data, options.out)
        if options.cores:
            results[name]["hardware"] = built(
                options.out / name.replace(" ", "_"), data, options.cores)
    show(results)
    if options.json is not None:
        known = read_json(options.json) if options.json.exists() else {}
        write_json(options.json, {**known, **results})


if __name__ == "__main__":
    main()
