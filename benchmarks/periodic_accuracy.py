"""Pre-defined periodic sparsity at equal MACs: accuracy over three seeds, from scratch and tuned.

``python -m benchmarks.periodic_accuracy --data MNIST [--cifar DIR] [--quick] [--json FILE]``. A
small ResNet and a small VGG, dense and with two taps a 3x3 kernel on average (PSD1_P8, pSC2,
PS2_P6, and PSD1_P8 with the phase of the tile), and a MobileNetV2-like network of about as many
MACs. MNIST, or CIFAR-10 with ``--cifar``; there, with a GPU, also ResNet18 by ``--nets resnet18``,
dense and PSD1_P16. Each variant is trained from scratch; with ``--tuned`` PSD1_P8 and its
best-energy supports are also masked on the trained dense network and tuned. What is found is kept
after each run, so a stopped benchmark goes on, and several may share its folder. The integer
accuracy is that of Q16 weights and 8-bit codes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import _prepared as common
from hwgen import datasets
from hwgen.compress import zoo
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.methods.checks import BoolArray
from hwgen.compress.methods.periodic import Options, Phase, Supports, Variant
from hwgen.compress.modelfile import InputScaling
from hwgen.compress.training import finetune, masked
from hwgen.compress.training.augment import Augmentation
from hwgen.compress.zoo import Recipe
from hwgen.compress.zoo.mobilenet import MobileNetSmall
from hwgen.compress.zoo.resnet import ResNet
from hwgen.compress.zoo.vgg import vgg_small
from hwgen.files import make_folder, write_json

TILE = 4  # filters and channels of a tile: the widths here are small


@dataclass(frozen=True)
class Size:
    """How large a run is. Parameters: widths of the stages; passes; training images at most."""

    widths: tuple[int, int, int]
    epochs: int
    images: int | None


SIZES = {True: Size((8, 16, 32), 3, 6000), False: Size((16, 32, 64), 20, None)}
SPARSE: dict[str, Options | None] = {
    "dense": None,
    "PSD1_P8": Options(Variant.parse("PSD1_P8")),
    "pSC2": Options(Variant.parse("pSC2")),
    "PS2_P6": Options(Variant.parse("PS2_P6")),
    "PSD1_P8, tile phase": Options(Variant.parse("PSD1_P8"), phase=Phase.TILE, tile=TILE),
}
LARGE: dict[str, Options | None] = {
    "dense": None,
    "PSD1_P16": Options(Variant.parse("PSD1_P16")),
    "PSD1_P16, tile phase": Options(Variant.parse("PSD1_P16"), phase=Phase.TILE, tile=16),
}
NETS: dict[str, dict[str, Options | None]] = {
    "resnet": SPARSE,
    "vgg": SPARSE,
    "mobilenet": {"dense": None},
    "resnet18": LARGE,
}
TUNED = {
    "PSD1_P8": Options(Variant.parse("PSD1_P8")),
    "PSD1_P8, best energy": Options(Variant.parse("PSD1_P8"), supports=Supports.ENERGY),
}


def builders(size: Size, shape: tuple[int, int, int]) -> dict[str, Callable[[], nn.Module]]:
    """Return the networks for images of a shape."""
    channels, side, _ = shape
    first, second, third = size.widths
    stages = ((1, first, 1, 1), (2, second, 1, 2), (2, third, 1, 2))
    return {
        "resnet": lambda: ResNet(1, size.widths, channels),
        "vgg": lambda: vgg_small(channels, side, size.widths),
        "mobilenet": lambda: MobileNetSmall(channels, first, stages, third),
        "resnet18": zoo.recipe("resnet18").build,
    }


def macs(
    module: nn.Module, shape: tuple[int, int, int], masks: Mapping[str, BoolArray]
) -> tuple[int, int]:
    """Return (MACs an image, weights) of a module, masked weights not counted."""
    total = weights = 0

    def count(path: str, pixels: int, layer: nn.Conv2d | nn.Linear) -> None:
        nonlocal total, weights
        used = int(masks[path].sum()) if path in masks else layer.weight.numel()
        weights += used
        total += used * pixels

    hooks = []
    for path, layer in module.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            hooks.append(
                layer.register_forward_hook(
                    lambda m, _, out, path=path: count(
                        path, out.shape[2] * out.shape[3] if out.ndim == 4 else 1, m
                    )
                )
            )
    module.eval()
    with torch.inference_mode():
        module(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return total, weights


class Bench:
    """The runs, their data and what was found."""

    def __init__(self, options: argparse.Namespace) -> None:
        spec = f"cifar10:{options.cifar}" if options.cifar else f"mnist:{options.data}"
        images = datasets.load(spec)
        self.size = SIZES[options.quick]
        if options.epochs:
            self.size = replace(self.size, epochs=options.epochs)
        images = common.shortened(images, options.images or self.size.images)
        self.images, self.data = images, "cifar10" if options.cifar else "mnist"
        change = (
            Augmentation(crop=4, flip=True) if options.cifar else Augmentation(crop=2)
        )
        self.recipe = Recipe(
            lambda: nn.Identity(), images.shape, 1 / 256, self.size.epochs, options.batch, 0.01,
            5e-3, augmentation=change,
        )  # fmt: skip
        self.seeds, self.tuned = options.seeds, options.tuned
        self.nets: list[str] = options.nets
        self.variants: list[str] | None = options.variants
        self.device = finetune.choose_device(options.device)
        self.builders = builders(self.size, images.shape)
        self.kept = common.Kept(options.out / f"{self.data}.json")

    def train(self, net: str, variant: str, seed: int) -> dict[str, Any]:
        """Train one variant from scratch."""
        torch.manual_seed(seed)
        module = self.builders[net]()
        chosen = NETS[net][variant]
        masks = masked.masks_for(module, chosen, np.random.default_rng(seed)) if chosen else {}
        masked.hold(module, masks)
        recipe = zoo.recipe(net) if net == "resnet18" else self.recipe
        return self._run(module, masks, f"{net} {variant}", seed, self.size.epochs, recipe)

    def tune(self, net: str, variant: str, seed: int) -> dict[str, Any]:
        """Mask a trained dense network and tune it for half of the passes."""
        torch.manual_seed(seed)
        module = self.builders[net]()
        self._run(module, {}, f"{net} dense", seed, self.size.epochs, self.recipe)
        masks = masked.masks_for(module, TUNED[variant])
        masked.hold(module, masks)
        short = replace(self.recipe, rate=self.recipe.rate / 2)
        passes = max(1, self.size.epochs // 2)
        return self._run(module, masks, f"{net} {variant} tuned", seed, passes, short)

    def _run(
        self,
        module: nn.Module,
        masks: Mapping[str, BoolArray],
        name: str,
        seed: int,
        epochs: int,
        recipe: Recipe,
    ) -> dict[str, Any]:
        started = time.perf_counter()
        finetune.fit(
            module, recipe, self.images, name=name, epochs=epochs, seed=seed, device=self.device
        )
        found, weights = macs(module, self.images.shape, masks)
        scaling = InputScaling(recipe.scale)
        module.to(self.device)
        real = finetune.accuracy(
            module, self.images.test_x, self.images.test_y, scaling, self.device
        )
        graph = import_module(module.cpu().eval(), self.images.shape)
        ready = common.prepare_graph(graph, scaling, self.images)
        project = common.dyadic_projection(ready.graph, "Q16")
        network = common.network_of(ready, ready.graph, ready.statistics, project)
        return {
            "accuracy": 100 * common.final_accuracy(network, self.images, self.device),
            "accuracy_float": real,
            "macs": found,
            "weights": weights,
            "epochs": epochs,
            "seconds": round(time.perf_counter() - started, 1),
        }

    def all(self) -> dict[str, Any]:
        """Make every run that is not there yet, and return mean and deviation of each variant."""
        for seed in self.seeds:
            for net in self.nets:
                for variant in self.variants or NETS[net]:
                    self._kept(f"{net}|{variant}|scratch|{seed}", self.train, net, variant, seed)
                for variant in TUNED if self.tuned and NETS[net] is SPARSE else ():
                    self._kept(f"{net}|{variant}|tuned|{seed}", self.tune, net, variant, seed)
        return self.summary()

    def _kept(self, key: str, make: Callable[..., Any], *words: Any) -> None:
        found = self.kept.get(key, lambda: make(*words))
        print(f"  {key}: {found['accuracy']:.2f} %", file=sys.stderr, flush=True)

    def summary(self) -> dict[str, Any]:
        """Return mean and deviation over the seeds that are there."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for key, found in self.kept.results.items():
            groups.setdefault(key.rpartition("|")[0], []).append(found)
        rows = {}
        for key, runs in groups.items():
            scores = [run["accuracy"] for run in runs]
            rows[key] = {
                "mean": statistics.mean(scores),
                "mean_float": statistics.mean(run["accuracy_float"] for run in runs),
                "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
                "seeds": len(scores),
                "epochs": runs[0]["epochs"],
                "macs": runs[0]["macs"],
                "weights": runs[0]["weights"],
                "seconds": sum(run["seconds"] for run in runs),
            }
        return {
            "data": self.data,
            "learnt_images": len(self.images.train_x) - self.images.calibration_size,
            "epochs": self.size.epochs,
            "widths": self.size.widths,
            "runs": rows,
        }


def show(result: dict[str, Any]) -> None:
    """The table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "network", "variant", "training", "passes", "float", "integer", "deviation", "seeds",
        "MACs", "weights",
        title=f"{result['data']}, {result['learnt_images']:,} images",
        title_justify="left", box=None,
    )  # fmt: skip
    for key, row in result["runs"].items():
        deviation = "-" if row["deviation"] is None else f"{row['deviation']:.2f}"
        table.add_row(
            *key.split("|"), str(row["epochs"]), f"{row['mean_float']:.2f} %",
            f"{row['mean']:.2f} %", deviation, str(row["seeds"]), f"{row['macs']:,}",
            f"{row['weights']:,}",
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)


def main() -> None:
    """Measure, print the table and the JSON, or write the JSON to a file."""
    parser = argparse.ArgumentParser(description="Accuracy of pre-defined periodic sparsity.")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's four files")
    parser.add_argument("--cifar", type=Path, help="folder with CIFAR-10, in its place")
    parser.add_argument("--quick", action="store_true", help="small networks, 6,000 images")
    parser.add_argument("--tuned", action="store_true", help="also mask and tune the dense ones")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--nets", nargs="*", choices=NETS, default=["resnet", "vgg", "mobilenet"])
    parser.add_argument("--variants", nargs="*", help="of these networks alone")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, help="in place of 3 (quick) or 20")
    parser.add_argument("--images", type=int, help="to learn, at most")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/bench/periodic"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make_folder(options.out)
    result = Bench(options).all()
    show(result)
    if options.json is not None:
        write_json(options.json, result)
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
