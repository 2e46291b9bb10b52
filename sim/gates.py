"""Check the netlist that synthesis made: the same images, the same results, gate by gate.

The mapped netlist of ``hwgen synth`` is simulated with behavioural models of the chip's cells
(sim/cells) in place of the design that it was made from. Only results are compared: layers have no
borders any more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_atomic
from hwgen.progress import Progress, silent
from hwgen.sim import golden
from hwgen.sim.build import HERE, Simulator
from hwgen.sim.bulk import every_image
from hwgen.sim.compare import compare
from hwgen.sim.design import load_folder
from hwgen.sim.vectors import check_images, random_images

CELLS = {"ecp5-25": "ecp5.v", "ecp5-85": "ecp5.v"}        # target -> its models


def find_netlist(directory: Path, target: str | None = None) -> tuple[str, Path]:
    """Return (target, file) of the netlist that synthesis left in a design's folder.

    Parameters: directory, the folder; target, which one, or None for the first that is there.
    Raises: HwgenError if the target has no cell models, or if there is no netlist of this top.v.
    """
    directory = Path(directory)
    if target is not None and target not in CELLS:
        raise HwgenError(
            f"The gate-level check knows the cells of {', '.join(CELLS)}, not of {target}"
        )
    names = [target] if target is not None else sorted(CELLS, reverse=True)
    for name in names:
        folder = directory / f"synth-{name}"
        netlist, source = folder / "netlist.v", folder / "top.v"
        if not netlist.is_file() or not source.is_file():
            continue
        if source.read_bytes() != (directory / "top.v").read_bytes():
            raise HwgenError(
                f"{netlist} is not of the present top.v: run `hwgen synth --target {name}` again"
            )
        return name, netlist
    raise HwgenError(
        f"{directory}: a netlist is needed for the gate-level check: "
        f"run `hwgen synth --target {names[0]}` first"
    )


def check_gates(
    directory: Path,
    *,
    images: int = 5,
    data: str | None = None,
    target: str | None = None,
    simulator: str = "verilator",
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Simulate a mapped netlist and compare its results with the golden model.

    Parameters
    ----------
    directory : Path
        A design folder in which ``hwgen synth`` left a netlist for an ECP5.
    images : int
        How many test images are sent.
    data : str, optional
        As for ``hwgen.sim.verify.verify``; extreme and seeded random codes without it.
    target : str, optional
        Whose netlist; by default the one that is there.
    simulator, seed, mean, std, progress
        As for ``hwgen.sim.verify.verify``.

    Returns: {target, simulator, images, values_compared, mismatches, passed, first_difference,
    problems, cycles, seconds}.
    Raises: HwgenError if the folder, the images or a tool is at fault.
    """
    start = time.monotonic()
    tell = progress or silent
    tool = Simulator.of(simulator)
    folder = load_folder(Path(directory))
    name, netlist = find_netlist(folder.path, target)
    network = folder.design.network
    codes = random_images(network, images, seed)
    if data is not None:
        from hwgen.datasets import load

        dataset = load(data, mean=mean, std=std)
        if len(dataset.test_x) < images:
            raise HwgenError(
                f"{data}: {images} test images needed, there are {len(dataset.test_x)}"
            )
        codes = check_images(network, dataset.test_x[:images], data)
    tool.check()
    cache = make_folder(folder.path / ".sim")
    gates = cache / f"gates-{name}.v"
    models = (HERE / "cells" / CELLS[name]).read_text(encoding="utf-8")
    write_atomic(gates, f"{models}\n{netlist.read_text(encoding='utf-8')}")
    tell("gate-level simulation", 0, 0)
    (run,) = every_image(
        gates, folder.design.ports, codes, cache=cache, simulator=tool, seed=seed, progress=tell
    )
    expected = golden.run(network, codes, keep="last")
    result = compare(folder.design, expected, run.recorded, images=images)
    return {
        "target": name,
        "simulator": str(tool),
        "images": images,
        "values_compared": result.compared,
        "mismatches": result.mismatches,
        "passed": result.right,
        "first_difference": None if result.first is None else result.first.as_json(),
        "problems": result.problems,
        "cycles": run.recorded.span,
        "seconds": round(time.monotonic() - start, 3),
    }
