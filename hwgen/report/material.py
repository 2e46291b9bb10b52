"""What a report is made of: the files that the verbs left in a design's folder.

A file that is not there is named with the command that writes it; nothing is made up in its place.
A file that is broken, or of another network than net.npz, is refused.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.cost import LayerCost, network_cost
from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.layer_base import shown
from hwgen.netfile import BROKEN, load
from hwgen.network import Network

MADE_BY = {
    "compress": "hwgen compress", "plan": "hwgen rtl", "ports": "hwgen rtl",
    "verify": "hwgen verify", "synth": "hwgen synth",
}
LACKS = {
    "compress": "float and integer accuracy, error of each layer",
    "plan": "form, size and pace of each layer",
    "ports": "tool version",
    "verify": "comparison with the golden model, accuracy in hardware, proof",
    "synth": "LUTs, clock, multipliers",
    "before": "kernels before compression",
    "samples": "images with their results",
    "trace": "waveforms of the ports",
}
MAX_ARRAYS = 1 << 28           # bytes of arrays read for pictures
MOST_WINDOWS, MOST_CYCLES = 8, 64
WORD = re.compile(r"[0-9a-fx]{1,4096}")
NOTHING = np.iinfo(np.int64).min         # a result that the hardware did not give


@dataclass(frozen=True, eq=False)
class Samples:
    """Some images with what came out.

    Parameters
    ----------
    images : (N, C, H, W) integers
    labels : (N,) integers or None
    index : (N,) integers
        Of each image in the set that was sent.
    golden, hardware : (N, outputs) integers
        NOTHING where the hardware gave none.
    names : tuple of str
        Of the outputs: ``class``, ``score_0``, ...
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None
    index: npt.NDArray[Any]
    golden: npt.NDArray[Any]
    hardware: npt.NDArray[Any]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """Some cycles of the ports.

    Parameters: title, what it is about; first, its first cycle; signals, a value a cycle of each,
    by the end and the name, such as ``("input", "tvalid")``.
    """

    title: str
    first: int
    signals: Mapping[tuple[str, str], Sequence[str]]


@dataclass(frozen=True, eq=False)
class Material:
    """All that is known of a design.

    Parameters
    ----------
    network : Network
    files : mapping
        compress, plan, ports, verify and synth, as far as they are there: JSON objects.
    missing : list of str
        What is not, a sentence each.
    before : mapping
        Float weights before compression, by layer name.
    samples : Samples or None
    costs : mapping
        Of each layer, by name.
    windows : sequence of Window
    """

    network: Network
    files: Mapping[str, dict[str, Any]]
    missing: list[str]
    before: Mapping[str, npt.NDArray[Any]]
    samples: Samples | None
    costs: Mapping[str, LayerCost] = field(default_factory=dict)
    windows: Sequence[Window] = ()

    def value(self, name: str, *keys: str) -> Any:
        """Return an entry of a file, or None if the file or the entry is not there."""
        found: Any = self.files.get(name)
        for key in keys:
            if not isinstance(found, dict):
                return None
            found = found.get(key)
        return found

    def of_layer(self, name: str, layer: str) -> dict[str, Any]:
        """Return what a file says of a layer, {} if nothing."""
        entries = self.value(name, "layers")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("name") == layer:
                return entry
        return {}


def read_material(directory: Path) -> Material:
    """Read a design's folder.

    Raises: HwgenError if net.npz is missing, or if a file is broken or of another network.
    """
    directory = Path(directory)
    network = load(directory / "net.npz")
    missing: list[str] = []
    files = {}
    for name, verb in MADE_BY.items():
        path = directory / f"{name}.json"
        if _is_there(path, verb, missing):
            files[name] = _read_file(path, network.digest, verb)
    before: dict[str, npt.NDArray[Any]] = {}
    if _is_there(directory / "before.npz", "hwgen compress", missing):
        before = _read_before(directory / "before.npz")
    samples, windows = None, []
    plan = files.get("plan", {})
    config = plan.get("config") if plan.get("engine") == "nfu" else {"streamed": True}
    if isinstance(config, dict) and config.get("streamed"):    # other NFUs' results lie in memory
        if _is_there(directory / "samples.npz", "hwgen verify", missing):
            samples = _read_samples(directory / "samples.npz", network)
        if _is_there(directory / "trace.json", "hwgen verify, with all layers,", missing):
            path = directory / "trace.json"
            windows = _read_trace(path, _read_file(path, network.digest, "hwgen verify"))
    costs = {cost.name: cost for cost in network_cost(network)}
    return Material(network, files, missing, before, samples, costs, windows)


def _is_there(path: Path, verb: str, missing: list[str]) -> bool:
    if path.is_file():
        return True
    missing.append(f"{path.name} is not there ({LACKS[path.stem]}): {verb} writes it")
    return False


def _read_file(path: Path, digest: str, verb: str) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise HwgenError(f"{path}: a JSON object needed, not {shown(found)}")
    _same_network(path, found.get("digest"), digest, verb)
    return found


def _same_network(path: Path, found: object, digest: str, verb: str) -> None:
    if found != digest:
        raise HwgenError(f"{path}: digest {digest[:12]} of net.npz needed, not "
                         f"{shown(str(found)[:12])}: run {verb} again")


def _read_trace(path: Path, found: dict[str, Any]) -> list[Window]:
    windows = []
    try:
        for entry in found["windows"][:MOST_WINDOWS]:
            signals = {}
            for name, values in entry["signals"].items():
                end, _, signal = name.partition(" ")
                signals[end, signal] = tuple(values)
                if end not in ("input", "output") or not all(map(WORD.fullmatch, values)):
                    raise ValueError(name)
            if len({len(values) for values in signals.values()} - {0}) != 1 or max(
                    map(len, signals.values())) > MOST_CYCLES:
                raise ValueError("cycles of the signals")
            windows.append(Window(str(entry["title"])[:80], int(entry["first"]), signals))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HwgenError(f"{path}: windows of signals needed, each of at most {MOST_CYCLES} "
                         f"cycles ({shown(str(error))}): run hwgen verify again") from error
    return windows


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an .npz file. Raises: HwgenError if it is broken or too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MAX_ARRAYS:
            raise HwgenError(f"{path}: at most {MAX_ARRAYS} bytes needed, not {size}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except HwgenError:
        raise
    except (*BROKEN, OSError, KeyError, MemoryError, SyntaxError) as error:
        raise HwgenError(f"{path}: plain arrays (.npz) needed ({shown(str(error))})") from error


def _read_before(path: Path) -> dict[str, npt.NDArray[Any]]:
    return {
        name.removesuffix(".weight"): array for name, array in _read_arrays(path).items()
        if name.endswith(".weight") and array.dtype.kind in "fiu" and np.isfinite(array).all()
    }


def _read_samples(path: Path, network: Network) -> Samples:
    arrays = _read_arrays(path)
    lacking = {"digest", "images", "golden", "hardware", "names"} - arrays.keys()
    if lacking:
        raise HwgenError(f"{path}: an array {shown(min(lacking))} needed, there is none")
    _same_network(path, str(arrays["digest"]), network.digest, "hwgen verify")
    images, golden, hardware = (arrays[name] for name in ("images", "golden", "hardware"))
    names = tuple(str(name) for name in np.ravel(arrays["names"]))
    count = len(images) if images.ndim else 0
    labels = arrays.get("labels")
    index = arrays.get("index", np.arange(count))
    shapes = {
        "images": (images, (count, *network.tensors[network.input.name].shape)),
        "golden": (golden, (count, len(names))), "hardware": (hardware, (count, len(names))),
        "index": (index, (count,)),
        "labels": (np.zeros(count, np.int64) if labels is None else labels, (count,)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape or array.dtype.kind not in "iu":
            raise HwgenError(f"{path}, {name}: integers of shape {shape} needed, not "
                             f"{array.dtype} of {array.shape}")
    return Samples(images, labels, index, golden, hardware, names)
