"""Cycles, lane use and traffic of the NFU, by its compiler and its exact clock; no simulation.

``python -m benchmarks.nfu_cycles [--json FILE]``. "Array cycles" are those in which lanes work:
the compute-bound figure, comparable with DianNao's model ``pixels x ceil(Ni / 16) x ceil(No / 16) x
kernel``. Whole networks count every cycle, from start to done.

Ref: T. Chen et al., "DianNao", ASPLOS 2014 (16 x 16 lanes, 0.98 GHz). Energy: 16-bit multiply 0.8
pJ, add 0.06 pJ (configuration of dnn-sim): a product costs 0.86, a digit 0.06; memory is given in
bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._nfu_networks import digits, one_layer, requantise, resnet8, vgg16_imagenet
from hwgen.compress.methods.periodic import Options, Phase, Variant, mask
from hwgen.compress.shapes import LayerShape, alexnet, resnet18, vgg16
from hwgen.files import write_json
from hwgen.layers import Int64Array
from hwgen.network import Conv2d, Dense, Flatten, Input, Network, int64
from hwgen.nfu.compiler.program import Program, arranged_first, compile_network
from hwgen.nfu.config import Config, WeightCode
from hwgen.nfu.estimate import estimate
from hwgen.nfu.isa import Op

CONFIG = Config(tn=16, segments=False, finishers=8)
STRIDES = {"conv1": 4}        # of AlexNet
MULTIPLY, ADD = 0.8, 0.06     # pJ


def diannao(shape: LayerShape, tn: int = 16) -> int:
    """Cycles of DianNao's model."""
    tiles = -(-shape.ci // tn) * -(-(shape.co // shape.groups) // tn) * shape.groups
    return shape.pixels * tiles * shape.kh * shape.kw


def array_cycles(shape: LayerShape, weight: Int64Array | None = None, *, stride: int = 1,
                 sort: bool = True, config: Config = CONFIG) -> int:
    """Cycles of the array for one convolution, filters sorted, a first layer folded."""
    network = one_layer(shape, weight, stride=stride)
    arranged = arranged_first(network, config, fold=shape.ci < config.tn, sort=sort)
    return shape.pixels * sum(max(sum(map(len, tile)), config.groups) for tile in arranged.steps)


def lane_use(shapes: Sequence[LayerShape], cycles: Sequence[int], tn: int = 16) -> float:
    """Products over lanes times cycles."""
    return sum(shape.macs for shape in shapes) / (sum(cycles) * tn * tn)


def published() -> dict[str, Any]:
    """AlexNet and VGG-16: DianNao's model beside ours."""
    found: dict[str, Any] = {}
    for name, shapes in (
        ("alexnet", [shape for shape in alexnet() if shape.name.startswith("conv")]),
        ("vgg16", list(vgg16_imagenet())),
    ):
        rows = []
        for shape in shapes:
            stride = STRIDES.get(shape.name, 1) if name == "alexnet" else 1
            cycles = array_cycles(shape, stride=stride)
            rows.append({"layer": shape.name, "diannao": diannao(shape), "cycles": cycles,
                         "lane_use": round(lane_use([shape], [cycles]), 4),
                         "diannao_lane_use": round(lane_use([shape], [diannao(shape)]), 4)})
        found[name] = {
            "layers": rows, "diannao": sum(row["diannao"] for row in rows),
            "cycles": sum(row["cycles"] for row in rows),
            "lane_use": round(lane_use(shapes, [row["cycles"] for row in rows]), 4),
        }
    found["alexnet"]["lane_use_conv2_to_5"] = round(
        lane_use(alexnet()[1:5], [row["cycles"] for row in found["alexnet"]["layers"][1:]]), 4)
    return found


def reduced() -> list[dict[str, Any]]:
    """128 filters of 3x3, some reduced to 1x1: sorted and in a random order (claim 18)."""
    shape = LayerShape("conv", 128, 128, 3, 3, 16, 16)
    rng = np.random.default_rng(0)
    rows = []
    for part in (0.25, 0.5, 0.75):
        weight = digits(rng, shape.shape)
        small = rng.permutation(128)[: round(128 * part)]
        centre = weight[small, :, 1, 1].copy()
        weight[small] = 0
        weight[small, :, 1, 1] = centre
        dense = array_cycles(shape)
        rows.append({
            "reduced": part, "sorted": round(dense / array_cycles(shape, weight), 2),
            "unsorted": round(dense / array_cycles(shape, weight, sort=False), 2),
            "macs": round(9 * 128 / (9 * (128 - len(small)) + len(small)), 2),
        })
    return rows


def periodic(name: str, shapes: Sequence[LayerShape]) -> dict[str, Any]:
    """PSD1_P16 with phases by tile: cycles saved against products saved."""
    options = Options(Variant.parse("PSD1_P16"), Phase.TILE)
    rng = np.random.default_rng(0)
    cycles, dense, kept, products = 0, 0, 0, 0
    for n, shape in enumerate(shapes):
        weight = digits(rng, shape.shape)
        full = array_cycles(shape)
        if n and shape.kh > 1:
            weight = weight * mask(shape.shape, options, rng)
            cycles += array_cycles(shape, weight)
        else:
            cycles += full
        dense += full
        kept += int(np.count_nonzero(weight)) * shape.pixels
        products += shape.macs
    return {"network": name, "dense_cycles": dense, "cycles": cycles,
            "cycle_ratio": round(dense / cycles, 2), "mac_ratio": round(products / kept, 2),
            "reached": round(dense / cycles / (products / kept), 3)}


def classifier() -> dict[str, Any]:
    """8192 -> 256 with 64 entries a buffer, twice for loading beside (claim 20)."""
    rng = np.random.default_rng(0)
    network = Network((
        Input("image", 8192, 1, 1, 0, 255, 8), Flatten("flat", "image"),
        Dense("dense", "flat", digits(rng, (256, 8192)), int64([0] * 256), int64([0] * 256)),
        requantise("codes", "dense", 256, shift=12)))
    config = Config(tn=16, segments=False, finishers=8, nbin_lines=128, nbout_lines=16,
                    sb_lines=128, tap_count=64, acc_bits=32, total_bits=40)
    program = compile_network(network, config)
    computes = [one for one in program.instructions if one.op is Op.COMPUTE]
    return {"compute_instructions": len(computes),
            "array_cycles": sum(one["period"] * one["rows"] * one["cols"] for one in computes),
            "cycles": estimate(program).cycles}


def whole(name: str, network: Network, config: Config) -> dict[str, Any]:
    """A whole network, every cycle of it."""
    program = compile_network(network, config)
    found = estimate(program)
    products = sum(task.products for task in program.tasks)
    weights = [layer.weight for layer in network.layers if isinstance(layer, (Conv2d, Dense))]
    lanes = config.tn * config.tn
    return {
        "network": name, "tn": config.tn, "code": config.code.value, "products": products,
        "cycles": found.cycles, "compute_cycles": found.compute_cycles,
        "array_cycles": sum(task.work for task in program.tasks),
        "lane_use": round(products / (found.cycles * lanes), 4),
        "read_bytes": found.read_bytes, "written_bytes": found.written_bytes,
        "index_percent": _index(program), "weights": sum(int(np.count_nonzero(w)) for w in weights),
        "pj": round(products * (MULTIPLY + ADD if config.multipliers else ADD)),
        "images_per_second_at_100_mhz": round(1e8 / found.cycles, 1),
        "buffer_bytes": _buffers(program),
    }


def _index(program: Program) -> float:
    constants = program.constants
    return round(100 * constants.get("taps", 0) / constants["sb"], 3)


def _buffers(program: Program) -> int:
    """Bytes read from NBin and SB by all COMPUTEs."""
    config = program.config
    line = config.word_bytes * (1 + config.sb_words)
    return sum(one["rows"] * one["cols"] * one["steps"] * line
               for one in program.instructions if one.op is Op.COMPUTE)


def lower_kernels(part: float, unit: int) -> Network:
    """ResNet-8 with a part of the filters of its 3x3 layers, the first one left out, reduced to
    1x1, wherever they are: ``unit`` filters or a multiple of it, rounded down.
    """
    rng = np.random.default_rng(1)

    def mask_of(name: str, shape: tuple[int, ...]) -> Int64Array:
        chosen = np.ones(shape, np.int64)
        if name != "conv0" and shape[2] > 1:
            small = rng.permutation(shape[0])[: int(part * shape[0] / unit) * unit]
            chosen[small] = 0
            chosen[small, :, 1, 1] = 1
        return chosen

    return resnet8(mask=mask_of)


def periodic_resnet8() -> Network:
    """ResNet-8 with PSD1_P16, phases by tile."""
    options = Options(Variant.parse("PSD1_P16"), Phase.TILE)
    rng = np.random.default_rng(1)

    def mask_of(name: str, shape: tuple[int, ...]) -> Int64Array:
        if name == "conv0" or shape[2] == 1:
            return np.ones(shape, np.int64)
        return np.asarray(mask(shape, options, rng), np.int64)

    return resnet8(mask=mask_of)


def index_of_resnet18() -> dict[str, Any]:
    """Bytes of taps and of weights of ResNet18's sparse layers, PSD1_P16 by tile."""
    options = Options(Variant.parse("PSD1_P16"), Phase.TILE)
    rng = np.random.default_rng(0)
    taps = weights = 0
    for shape in resnet18()[1:]:
        if shape.kh == 1:
            continue
        weight = digits(rng, shape.shape) * mask(shape.shape, options, rng)
        program = compile_network(one_layer(shape, weight), CONFIG, fold=False)
        taps += program.constants["taps"]
        weights += program.constants["sb"]
    return {"tap_bytes": taps, "weight_bytes": weights, "percent": round(100 * taps / weights, 3)}


def lenet5(part: float) -> dict[str, Any]:
    """LeNet-5's second convolution (16 filters, 6 channels, 5x5), a part reduced to 3x3."""
    shape = LayerShape("conv2", 16, 6, 5, 5, 8, 8)
    rng = np.random.default_rng(0)
    weight = digits(rng, shape.shape)
    small = round(16 * part)
    keep = np.zeros((5, 5), np.int64)
    keep[1:4, 1:4] = 1
    weight[:small] *= keep
    return {"reduced": part, "cycles": shape.pixels * sum(
        max(sum(map(len, tile)), CONFIG.groups)
        for tile in arranged_first(one_layer(shape, weight), CONFIG, fold=False).steps)}


def measure() -> dict[str, Any]:
    """Return all figures."""
    base = Config(tn=16, segments=False, finishers=8, code=WeightCode.BASE)
    base32 = Config(tn=32, segments=False, finishers=16, code=WeightCode.BASE)
    plain = Config(tn=16, segments=False, finishers=8, code=WeightCode.PRODUCT)
    dense = resnet8()
    networks = [
        whole("ResNet-8, unmodified", dense, plain), whole("ResNet-8", dense, CONFIG),
        whole("ResNet-8", dense, base), whole("ResNet-8", dense, base32),
        whole("ResNet-8, half of the filters 1x1", lower_kernels(0.5, 1), CONFIG),
        whole("ResNet-8, half 1x1, whole tiles", lower_kernels(0.5, 16), CONFIG),
        whole("ResNet-8, 3/4 1x1, whole tiles", lower_kernels(0.75, 16), CONFIG),
        whole("ResNet-8, PSD1_P16", periodic_resnet8(), CONFIG),
        whole("ResNet-8, half 1x1, whole tiles", lower_kernels(0.5, 16), base32),
        whole("ResNet-8, PSD1_P16", periodic_resnet8(), base32),
    ]
    return {
        "published": published(), "reduced_kernels": reduced(),
        "lenet5_conv2": [lenet5(part) for part in (0, 0.5, 1)],
        "periodic": [periodic("ResNet18, 32x32", resnet18()), periodic("VGG16, 32x32", vgg16())],
        "classifier": classifier(), "networks": networks, "index": index_of_resnet18(),
        "config": CONFIG.to_json(),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures as tables."""
    print("| layer | DianNao's cycles | lanes | ours | lanes |\n|---|---|---|---|---|")
    for name, found in figures["published"].items():
        for row in found["layers"]:
            print(f"| {name} {row['layer']} | {row['diannao']:,} | {row['diannao_lane_use']:.1%} "
                  f"| {row['cycles']:,} | {row['lane_use']:.1%} |")
        print(f"| **{name}** | {found['diannao']:,} | | {found['cycles']:,} "
              f"| {found['lane_use']:.1%} |")
    print(f"AlexNet conv2 to conv5: {figures['published']['alexnet']['lane_use_conv2_to_5']:.1%}")
    print("\n| 3x3 filters reduced to 1x1 | sorted | unsorted | products |\n|---|---|---|---|")
    for row in figures["reduced_kernels"]:
        print(f"| {row['reduced']:.0%} | {row['sorted']}x | {row['unsorted']}x | {row['macs']}x |")
    print("LeNet-5 conv2, cycles with none, half, all of 5x5 reduced to 3x3: "
          + ", ".join(str(row["cycles"]) for row in figures["lenet5_conv2"]))
    for row in figures["periodic"]:
        print(f"{row['network']}, PSD1_P16 by tile: {row['cycle_ratio']}x cycles, "
              f"{row['mac_ratio']}x products, {row['reached']:.1%} of it")
    print(f"8192 -> 256: {figures['classifier']}")
    print("\n| network | Tn | code | cycles | lanes | read bytes | written | index | pJ |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in figures["networks"]:
        print(f"| {row['network']} | {row['tn']} | {row['code']} | {row['cycles']:,} "
              f"| {row['lane_use']:.1%} | {row['read_bytes']:,} | {row['written_bytes']:,} "
              f"| {row['index_percent']} % | {row['pj']:,} |")
    dense, *others = [row for row in figures["networks"][1:] if row["code"] == "wide"]
    for row in others:
        ideal = (dense["products"] - row["products"]) / 256
        print(f"{row['network']}: {dense['cycles'] - row['cycles']:,} cycles saved, "
              f"{(dense['cycles'] - row['cycles']) / ideal:.1%} of the products saved")
    print(f"ResNet18, PSD1_P16 by tile: taps {figures['index']['percent']} % of the weights")


def main() -> None:
    """Print the tables; with ``--json`` also write the figures."""
    parser = argparse.ArgumentParser(description="Cycles, lane use and traffic of the NFU.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure()
    show(figures)
    if options.json is not None:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
