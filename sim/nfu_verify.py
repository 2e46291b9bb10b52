"""Check an NFU's design folder against the golden model: load program and images, run, compare
every layer's integers as they lie in memory afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.files import make_folder, read_json, write_json
from hwgen.layers import ArgMax, Int64Array
from hwgen.netfile import load
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program, compile_network
from hwgen.nfu.config import Config
from hwgen.nfu.estimate import estimate
from hwgen.nfu.isa import Fault
from hwgen.progress import Progress, silent
from hwgen.sim import golden, nfu
from hwgen.sim.build import Simulator
from hwgen.sim.confusion import confusion
from hwgen.sim.design import verilog_digest
from hwgen.sim.nfu import Ran
from hwgen.sim.vectors import check_images, random_images
from hwgen.sim.verify import verify as verify_stream

BATCH = 10                    # images a run of the simulator
PATIENCE = 20                 # times the estimate, after which a run counts as stuck


@dataclass(frozen=True, eq=False)
class NfuFolder:
    """What ``hwgen rtl --engine nfu`` wrote, found to belong together."""

    path: Path
    network: Network
    program: Program


def is_nfu(directory: Path) -> bool:
    """Tell whether a folder holds an NFU."""
    try:
        ports = read_json(Path(directory) / "ports.json")
    except HwgenError:
        return False
    return isinstance(ports, dict) and ports.get("engine") == "nfu"


def load_nfu(directory: Path, progress: Progress = silent) -> NfuFolder:
    """Read a folder; compile its network again and compare with the program in it.

    Raises: HwgenError naming the file that is missing, broken or of another network.
    """
    path = Path(directory)
    network = load(path / "net.npz")
    values = read_json(path / "nfu.json")
    digests: dict[str, Any] = {"top.v": verilog_digest(path / "top.v")}
    for name in ("nfu.json", "ports.json", "plan.json"):
        found = read_json(path / name)
        digests[name] = found.get("digest") if isinstance(found, dict) else None
    for name, digest in digests.items():
        if digest != network.digest:
            raise HwgenError(
                f"{path / name}: digest {network.digest[:12]} of net.npz needed, not "
                f"{str(digest)[:12]}: write the folder again with `hwgen rtl`")
    try:
        config = Config.from_json({key: value for key, value in values.items() if key != "digest"})
    except (TypeError, ValueError, KeyError) as error:
        raise HwgenError(f"{path / 'nfu.json'}: parameters of an NFU needed ({error})") from error
    program = replace(compile_network(network, config, progress=progress), config=config)
    try:
        image = (path / "program.bin").read_bytes()
    except OSError as error:
        raise HwgenError(f"Cannot read {path / 'program.bin'}: {error.strerror}") from error
    if image != program.image:
        raise HwgenError(f"{path / 'program.bin'}: the program of net.npz needed, this is another "
                         "one: write the folder again with `hwgen rtl`")
    return NfuFolder(path, network, program)


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
    """Compare an NFU in a simulator with the golden model; parameters and result as of
    ``hwgen.sim.verify.verify``. ``layers`` are those that the NFU stores; what is between two of
    them is compared by the later one. Of one whose images come as a stream the results are seen.

    Raises: HwgenError if the folder, the images or a tool is at fault, or if what is asked for does
    not exist for this engine (``proof``).
    """
    start = time.monotonic()
    tell = progress or silent
    tool = Simulator.of(simulator)
    if proof:
        raise HwgenError("--proof is of the streaming engine: an NFU's weights are in its program")
    if wave is not None and wave.suffix != ".vcd":
        raise HwgenError(f"A waveform FILE.vcd can be written, not {wave}")
    folder = load_nfu(directory, tell)
    if folder.program.config.streamed:
        return verify_stream(directory, data=data, images=images, layers=layers,
                             simulator=simulator, stalls=stalls, wave=wave, seed=seed, mean=mean,
                             std=std, progress=progress)
    codes, labels = _images(folder.network, data, images, seed, mean, std)
    tool.check()
    ran, seconds = _run(folder, codes, tool, stalls=stalls, wave=wave, seed=seed, tell=tell)
    report = compare(folder.network, folder.program, codes, labels, ran, layers)
    report |= {"simulator": str(tool), "stalls": stalls, "seed": seed,
               "simulation_seconds": round(seconds, 3),
               "seconds": round(time.monotonic() - start, 3)}
    write_json(folder.path / "verify.json", report)
    return report


def _images(network: Network, data: str | None, count: int | Literal["all"], seed: int,
            mean: Sequence[float] | None, std: Sequence[float] | None
            ) -> tuple[Int64Array, npt.NDArray[np.int64] | None]:
    if data is None:
        if count == "all":
            raise HwgenError("--images all needs --data: random images have no end")
        return random_images(network, count, seed), None
    from hwgen.datasets import load as load_data

    dataset = load_data(data, mean=mean, std=std)
    x = dataset.test_x if count == "all" else dataset.test_x[:count]
    if count != "all" and len(x) < count:
        raise HwgenError(f"{data}: {count} test images needed, there are {len(x)}")
    return check_images(network, x, data), np.asarray(dataset.test_y[: len(x)], np.int64)


def _run(folder: NfuFolder, codes: Int64Array, tool: Simulator, *, stalls: bool,
         wave: Path | None, seed: int, tell: Progress) -> tuple[list[Ran], float]:
    """Return what the images did, and the seconds that it took once the simulation was built."""
    program, network = folder.program, folder.network
    cache = make_folder(folder.path / ".sim")
    limit = PATIENCE * estimate(program).cycles + nfu.MARGIN
    tell("building the simulation", 0, 0)
    if not program.config.memory_bytes:
        from hwgen.sim.nfu_axi import build_axi, run_axi

        built = build_axi(folder.path / "top.v", tool, cache, wave=wave is not None)
        tell("running images", 0, len(codes))
        start = time.monotonic()
        ran = run_axi(built, program, network, codes, cache=cache, stalls=stalls, wave=wave,
                      seed=seed, limit=limit)
        return ran, time.monotonic() - start
    built = nfu.build_chip(folder.path / "top.v", tool, cache, wave=wave is not None)
    start = time.monotonic()

    def batch(first: int) -> list[Ran]:
        some = codes[first : first + BATCH]
        script = nfu.Script()
        nfu.add_program(script, program, some, limit)
        answers = nfu.run_script(built, script, cache, gaps=nfu.GAPS if stalls else 0,
                                 seed=seed + first, wave=wave if first == 0 else None,
                                 log=f"nfu-{first}.log" if first else "nfu.log")
        return nfu.take_results(answers, program, network, len(some))

    found: list[Ran] = []
    # Each batch is a simulator of its own: as many at a time as there are processors.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for some in pool.map(batch, range(0, len(codes), BATCH)):
            found += some
            tell("running images", len(found), len(codes))
    return found, time.monotonic() - start


def compare(network: Network, program: Program, codes: Int64Array,
            labels: npt.NDArray[np.int64] | None, ran: Sequence[Ran],
            layers: Literal["all", "last"] = "all") -> dict[str, Any]:
    """Compare what an NFU stored with the golden model; return the content of verify.json."""
    wanted = golden.run(network, codes)
    outputs = {network.output.name, network.scores.name}
    names = [layer.name for layer in network.layers if layer.name in ran[0].layers
             and (layers == "all" or layer.name in outputs)]
    tally = dict.fromkeys(names, (0, 0))
    first: dict[str, Any] | None = None
    problems: list[str] = []
    for n, one in enumerate(ran):
        if one.ended != "done":
            problems.append(f"image {n}: not done after {PATIENCE} times the estimated cycles")
        if one.fault is not Fault.NONE:
            problems.append(f"image {n}: fault {one.fault.name} at byte "
                            f"{one.registers['position']} of the program")
        for name in names:
            expected, got = wanted[name][n], one.layers[name]
            different = expected != got
            tally[name] = (tally[name][0] + expected.size,
                           tally[name][1] + int(different.sum()))
            if first is None and different.any():
                at = tuple(int(part) for part in np.unravel_index(
                    int(np.argmax(different)), different.shape))
                first = {"image": n, "layer": name, "channel": at[0], "row": at[1],
                         "column": at[2], "expected": int(expected[at]), "got": int(got[at])}
    mismatches = sum(wrong for _, wrong in tally.values())
    cycles = [one.registers["cycles"] for one in ran]
    found = estimate(program)
    right_golden = right_rtl = table = None
    if labels is not None:
        right_golden = golden.accuracy(network, codes, labels)
        classes = np.array([_class(network, one) for one in ran], np.int64)
        right_rtl = float(np.mean(classes == labels))
        table = confusion(labels, classes, network.tensors[network.scores.name].shape[0])
    return {
        "digest": network.digest, "engine": "nfu", "simulator": "", "images": len(codes),
        "values_compared": sum(count for count, _ in tally.values()), "mismatches": mismatches,
        "passed": not mismatches and not problems, "first_difference": first,
        "problems": problems, "cycles": int(sum(cycles)),
        "cycles_per_image": float(np.mean(cycles)), "interval": found.cycles,
        "compute_cycles": ran[0].registers["compute_cycles"],
        "compute_cycles_estimated": found.compute_cycles,
        "latency": int(cycles[0]), "images_every_layer": len(codes),
        "accuracy_golden": right_golden, "accuracy_rtl": right_rtl, "confusion": table,
        "layers": [{"name": layer.name, "compared": tally.get(layer.name, (0, 0))[0],
                    "mismatches": tally.get(layer.name, (0, 0))[1], "proof": "none"}
                   for layer in network.layers],
    }


def _class(network: Network, one: Ran) -> int:
    """The class the NFU gives, or the largest score's place."""
    if isinstance(network.output, ArgMax):
        return int(one.layers[network.output.name].reshape(-1)[0])
    scores = one.layers[network.output.name].reshape(-1).astype(np.float64)
    return int(np.argmax(scores * 2.0 ** -network.tensors[network.output.name].frac))
