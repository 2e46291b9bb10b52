"""What a report is made of: the files that the verbs left in a design's folder.

A file that is not there, is broken or is of another network is left out and named with its reason;
nothing is made up in its place.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.cost import LayerCost, network_cost
from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.netfile import load
from hwgen.network import Network

MADE_BY = {
    "compress": "hwgen compress", "plan": "hwgen rtl", "ports": "hwgen rtl",
    "verify": "hwgen verify", "synth": "hwgen synth",
}
MAX_ARRAYS = 1 << 28           # bytes of arrays read for pictures


@dataclass(frozen=True, eq=False)
class Samples:
    """Some images with what came out. Parameters: images, (N, C, H, W); labels, (N,) or None;
    golden and hardware, (N, outputs) integers; names, of the outputs (``class``, ``score_0``, ...).
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any] | None
    golden: npt.NDArray[Any]
    hardware: npt.NDArray[Any]
    names: tuple[str, ...]


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
    """

    network: Network
    files: Mapping[str, dict[str, Any]]
    missing: list[str]
    before: Mapping[str, npt.NDArray[Any]]
    samples: Samples | None
    costs: Mapping[str, LayerCost] = field(default_factory=dict)

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
    """Read a design's folder. Raises: HwgenError if its net.npz is missing or broken."""
    directory = Path(directory)
    network = load(directory / "net.npz")
    missing: list[str] = []
    files = {}
    for name, verb in MADE_BY.items():
        found = _read_file(directory / f"{name}.json", network.digest, verb, missing)
        if found is not None:
            files[name] = found
    return Material(
        network, files, missing, _read_before(directory / "before.npz", missing),
        _read_samples(directory / "samples.npz", network, missing),
        {cost.name: cost for cost in network_cost(network)},
    )


def _read_file(
    path: Path, digest: str, verb: str, missing: list[str]
) -> dict[str, Any] | None:
    if not path.is_file():
        missing.append(f"{path.name} is not there: {verb} writes it")
        return None
    try:
        found = read_json(path)
    except HwgenError as error:
        missing.append(str(error))
        return None
    if not isinstance(found, dict) or found.get("digest") != digest:
        missing.append(f"{path.name} is of another network: run {verb} again")
        return None
    return found


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an .npz file. Raises: HwgenError if it is broken or too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MAX_ARRAYS:
            raise HwgenError(f"{path.name} must hold at most {MAX_ARRAYS} bytes, not {size}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except HwgenError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError,
            RuntimeError) as error:
        raise HwgenError(f"{path.name} cannot be read: {error}") from error


def _read_before(path: Path, missing: list[str]) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        missing.append(f"{path.name} is not there: hwgen compress writes it")
        return {}
    try:
        arrays = _read_arrays(path)
    except HwgenError as error:
        missing.append(str(error))
        return {}
    weights = {name.removesuffix(".weight"): array for name, array in arrays.items()
               if not name.endswith(".bias")}
    return {name: array for name, array in weights.items()
            if array.dtype.kind in "fiu" and array.ndim in (2, 4) and np.isfinite(array).all()}


def _read_samples(path: Path, network: Network, missing: list[str]) -> Samples | None:
    if not path.is_file():
        missing.append(f"{path.name} is not there: hwgen verify writes it")
        return None
    try:
        arrays = _read_arrays(path)
        images, golden, hardware = (arrays[name] for name in ("images", "golden", "hardware"))
        digest, names = str(arrays["digest"]), tuple(str(name) for name in arrays["names"])
    except (HwgenError, KeyError, TypeError) as error:
        missing.append(str(error) if isinstance(error, HwgenError)
                       else f"{path.name} must hold images, golden, hardware, names and digest")
        return None
    if digest != network.digest:
        missing.append(f"{path.name} is of another network: run hwgen verify again")
        return None
    count, lanes = len(images), len(names)
    shapes = {golden.shape, hardware.shape}
    numbers = all(array.dtype.kind in "iu" for array in (images, golden, hardware))
    if images.ndim != 4 or shapes != {(count, lanes)} or not numbers:
        missing.append(f"{path.name} must hold integer images and results of the same number")
        return None
    labels = arrays.get("labels")
    if labels is not None and (labels.shape != (count,) or labels.dtype.kind not in "iu"):
        labels = None
    return Samples(images, labels, golden, hardware, names)
