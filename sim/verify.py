"""Check a design folder against the golden model: build it, run it, compare every code, name the
first difference.

With all layers: cycle by cycle, every beat of every layer and the rules of every stream
(hwgen.sim.stepwise). With the last layer alone: results at the simulator's own speed
(hwgen.sim.bulk). A set too large for the first is checked by both: all layers on the first images,
the results on every image.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_json
from hwgen.layers import Int64Array
from hwgen.progress import Progress, silent
from hwgen.sim import golden
from hwgen.sim.build import Simulator
from hwgen.sim.bulk import every_image
from hwgen.sim.compare import Comparison, compare, merge
from hwgen.sim.confusion import confusion
from hwgen.sim.design import Folder, load_folder
from hwgen.sim.samples import write_samples
from hwgen.sim.stepwise import every_layer
from hwgen.sim.trace import write_trace
from hwgen.sim.vectors import check_images, random_images

STEPWISE_CYCLES = 100_000  # of a run that watches every layer, before it is cut to its first images
STEPWISE_IMAGES = 20


@dataclass(frozen=True, eq=False)
class Images:
    """What is sent. Parameters: codes, (N, C, H, W) int64; labels, (N,) or None."""

    codes: Int64Array
    labels: npt.NDArray[np.int64] | None


def verify(
    directory: Path,
    *,
    data: str | None = None,
    images: int | Literal["all"] = 20,
    layers: Literal["all", "last"] = "all",
    simulator: str = "verilator",
    stalls: bool = False,
    proof: bool = False,
    wave: Path | None = None,
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare a design in a simulator with the golden model, and write verify.json beside it.

    A few of the images and their results go into samples.npz (hwgen.sim.samples), some cycles of
    the ports into trace.json (hwgen.sim.trace).

    Parameters
    ----------
    directory : Path
        A folder that ``hwgen rtl`` wrote.
    data : str, optional
        Test images, as hwgen.datasets.load takes them; without it extreme and seeded random codes.
    images : int or "all"
        How many of them, from the first.
    layers : "all" or "last"
        Compare every layer's codes, or only the results.
    simulator : "verilator" or "icarus"
    stalls : bool
        Random gaps at the input and stalls at the output; without them interval and latency are
        checked.
    proof : bool
        Prove the linear layers from the netlist too (hwgen.sim.proof).
    wave : Path, optional
        Waveform (VCD) to write, of the run that watches every layer.
    seed : int
        Of random codes, gaps and stalls.

    Returns: the content of verify.json. ``mismatches`` counts wrong values, ``first_difference`` is
    the first of them or None, ``problems`` are sentences about what else is wrong (stream rules,
    tlast, interval, proof); ``passed`` is true if there is none of all that. ``cycles`` are those
    of the runs, ``cycles_per_image`` the measured interval of back-to-back images.
    Raises: HwgenError if the folder, the images or a tool is at fault.
    """
    start = time.monotonic()
    tell = progress or silent
    tool = Simulator.of(simulator)
    folder = load_folder(Path(directory))
    sent = _images(folder, data, images, seed, mean, std)
    if wave is not None and (layers != "all" or wave.suffix != ".vcd"):
        raise HwgenError(
            f"A waveform FILE.vcd of a run with all layers can be written, not {wave} of the "
            f"{layers} layer"
        )
    tool.check()
    result, cycles, watched, trace = _simulate(
        folder, sent, layers, tool, stalls, wave, seed, tell
    )
    proofs = _prove(folder, result, tell) if proof else {}
    report = _report(folder, sent, result, proofs)
    report |= {
        "simulator": str(tool),
        "cycles": cycles,
        "images_every_layer": watched,
        "stalls": stalls,
        "seed": seed,
        "seconds": round(time.monotonic() - start, 3),
    }
    write_samples(folder, sent.codes, sent.labels, result)
    write_trace(folder.path, folder.design.network.digest, trace, stalls=stalls)
    write_json(folder.path / "verify.json", report)
    return report


def _images(
    folder: Folder,
    data: str | None,
    count: int | Literal["all"],
    seed: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Images:
    if data is None:
        if count == "all":
            raise HwgenError("--images all needs --data: random images have no end")
        return Images(random_images(folder.design.network, count, seed), None)
    from hwgen.datasets import load

    dataset = load(data, mean=mean, std=std)
    x = dataset.test_x if count == "all" else dataset.test_x[:count]
    if count != "all" and len(x) < count:
        raise HwgenError(f"{data}: {count} test images needed, there are {len(x)}")
    return Images(
        check_images(folder.design.network, x, data), np.asarray(dataset.test_y[: len(x)], np.int64)
    )


def _simulate(
    folder: Folder,
    sent: Images,
    layers: str,
    tool: Simulator,
    stalls: bool,
    wave: Path | None,
    seed: int,
    tell: Progress,
) -> tuple[Comparison, int, int, Sequence[Mapping[str, Any]]]:
    """Run what is asked for; return the tally, the cycles simulated, how many images had all
    layers watched, and what their ports looked like.
    """
    design, count = folder.design, len(sent.codes)
    cache = make_folder(folder.path / ".sim")
    watched = 0
    if layers == "all":
        whole = wave is not None or count * design.ports.interval <= STEPWISE_CYCLES
        watched = count if whole else min(count, STEPWISE_IMAGES)
    result = Comparison({})
    cycles = 0
    trace: Sequence[Mapping[str, Any]] = ()
    if watched:
        tell("golden model", 0, watched)
        codes = golden.run(design.network, sent.codes[:watched])
        (recorded,) = every_layer(
            folder.verilog,
            [design],
            [sent.codes[:watched]],
            cache=cache,
            simulator=tool,
            stalls=stalls,
            seed=seed,
            wave=wave,
            progress=tell,
        )
        result = compare(design, codes, recorded, images=watched, flat_out=not stalls)
        cycles, trace = recorded.span, recorded.trace
    if watched < count:
        tell("golden model", 0, count)
        codes = golden.run(design.network, sent.codes, keep="last")
        runs = every_image(
            folder.verilog,
            design.ports,
            sent.codes,
            cache=cache,
            simulator=tool,
            stalls=stalls,
            seed=seed,
            progress=tell,
        )
        # The results of all images are in these runs.
        done, result.classes, result.results = 0, None, None
        for run in runs:
            result = merge(
                result,
                compare(
                    design,
                    codes,
                    run.recorded,
                    images=run.images,
                    first_image=done,
                    flat_out=not stalls,
                ),
            )
            cycles += run.recorded.span
            done += run.images
    return result, cycles, watched, trace


def _prove(folder: Folder, result: Comparison, tell: Progress) -> dict[str, str]:
    from hwgen.sim.proof import prove

    shown = prove(folder.path, progress=tell)
    for layer in shown.failures:
        result.problems.append(
            f"proof: {layer.difference or f'layer {layer.name}: {layer.reason}'}"
        )
    return {layer.name: layer.proof for layer in shown.layers}


def _report(
    folder: Folder, sent: Images, result: Comparison, proofs: dict[str, str]
) -> dict[str, Any]:
    design = folder.design
    layers = []
    for layer in design.network.layers:
        tally = result.layers.get(layer.name)
        layers.append(
            {
                "name": layer.name,
                "compared": tally.compared if tally else 0,
                "mismatches": tally.mismatches if tally else 0,
                "proof": proofs.get(layer.name, "none"),
            }
        )
    accuracy_golden = accuracy_rtl = table = None
    if sent.labels is not None and result.classes is not None:
        accuracy_golden = golden.accuracy(design.network, sent.codes, sent.labels)
        accuracy_rtl = float(np.mean(result.classes == sent.labels))
        scores = design.network.tensors[design.network.scores.name]
        table = confusion(sent.labels, result.classes, scores.shape[0])
    intervals = result.intervals
    return {
        "digest": design.network.digest,
        "engine": design.ports.engine,
        "simulator": "",
        "images": len(sent.codes),
        "values_compared": result.compared,
        "mismatches": result.mismatches,
        "passed": result.right,
        "first_difference": None if result.first is None else result.first.as_json(),
        "problems": result.problems,
        "cycles": 0,
        "cycles_per_image": float(intervals.mean()) if len(intervals) else None,
        "interval": design.ports.interval,
        "latency": result.latency,
        "accuracy_golden": accuracy_golden,
        "accuracy_rtl": accuracy_rtl,
        "confusion": table,
        "layers": layers,
    }
