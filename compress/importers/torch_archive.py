"""The files in a ``torch.export`` archive (.pt2): JSON and raw numbers, no pickle."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

Array = npt.NDArray[Any]

# Numbers of torch's serialised types.
_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f2", 7: "<f4", 8: "<f8"}
_BFLOAT16 = 13
MAX_BYTES = 1 << 31
MAX_JSON = 1 << 28


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the graph as JSON and the weights by name.

    Raises: HwgenError, one line, if the file is missing, broken, has pickled weights or numbers
    that are not finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
            model, config = (
                _json(path, archive, members, name)
                for name in ("models/model.json", "data/weights/model_weights_config.json")
            )
            weights = {
                name: _tensor(path, archive, members, name, entry)
                for name, entry in config["config"].items()
            }
    except FileNotFoundError as error:
        raise HwgenError(f"{path}: a .pt2 file needed, there is none") from error
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise HwgenError(
            f"{path}: a whole .pt2 archive of torch.export.save needed ({error})"
        ) from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise HwgenError(
            f"{path}: a .pt2 archive of the known layout needed ({error!r})"
        ) from error
    return model, weights


def _read(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, limit: int
) -> bytes:
    if name not in members:
        raise HwgenError(f"{path}: a .pt2 archive of torch.export.save needed, it has no {name}")
    if members[name].file_size > limit:
        raise HwgenError(
            f"{path}: {name}: at most {limit} bytes needed, not {members[name].file_size}"
        )
    return archive.read(members[name])


def _json(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str
) -> Any:
    try:
        return json.loads(_read(path, archive, members, name, MAX_JSON))
    except (ValueError, RecursionError) as error:
        if isinstance(error, HwgenError):
            raise
        raise HwgenError(f"{path}: {name}: JSON needed ({error})") from error


def _tensor(
    path: Path,
    archive: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    name: str,
    entry: dict[str, Any],
) -> Array:
    """Return one weight; refuse pickled ones."""
    if entry["use_pickle"]:
        raise HwgenError(
            f"{path}: {name} is stored as a pickle, which is not read; export the model again "
            "with plain tensors"
        )
    meta = entry["tensor_meta"]
    kind = meta["dtype"]
    sizes: list[int] = [int(size["as_int"]) for size in meta["sizes"]]
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    raw = _read(path, archive, members, f"data/weights/{entry['path_name']}", MAX_BYTES)
    if kind == _BFLOAT16:
        flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind in _TYPES and len(raw) % np.dtype(_TYPES[kind]).itemsize == 0:
        flat = np.frombuffer(raw, _TYPES[kind])
    else:
        raise HwgenError(
            f"{path}: {name}: a plain number type needed, not type {kind} of {len(raw)} bytes"
        )
    first = int(meta["storage_offset"]["as_int"])
    reach = (
        first + 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    )
    count = 1
    for size in sizes:
        count *= size
    if min(first, *sizes, *strides, 0) < 0 or count > flat.size or (count and reach > flat.size):
        raise HwgenError(f"{path}: {name}: {count} numbers needed, {flat.size} there")
    places: Array = np.full((), first, dtype=np.int64)
    for size, stride in zip(sizes, strides, strict=True):
        places = places[..., None] + np.arange(size) * stride
    values = flat[places]
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        layer, _, parameter = name.rpartition(".")
        bad = "NaN" if np.isnan(values).any() else "infinity"
        raise HwgenError(f"{layer or 'model'}: finite {parameter} needed, there is {bad} in it")
    return values
