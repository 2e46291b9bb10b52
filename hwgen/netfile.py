"""The network file: a Network as one ``.npz`` of named integer arrays and a digest.

Layout (format 1): ``header`` holds UTF-8 JSON {format, layers: [{kind, name, <plain fields>}], metadata};
``<layer>.<field>`` holds each array, int64; ``digest`` holds the sha256 of all other members' names, dtypes,
shapes and bytes, in the order of their names. The zip container itself (dates, compression) does not count.
Nothing is ever unpickled, and sizes are bounded before memory is taken.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.files import write_atomic
from hwgen.layers import KINDS, Layer
from hwgen.network import Network

FORMAT = 1
MAX_BYTES = 1 << 30           # of all members together, unpacked
MAX_HEADER = 1 << 24

Arrays = dict[str, npt.NDArray[Any]]


def digest_of(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the sha256 of named arrays: names, dtypes, shapes and bytes, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        sha.update(array.tobytes())
    return sha.digest()


def to_arrays(network: Network) -> Arrays:
    """Return the members of the network file, without the digest."""
    arrays: Arrays = {}
    layers = []
    for layer in network.layers:
        entry: dict[str, Any] = {"kind": type(layer).__name__}
        for field in dataclasses.fields(layer):
            value = getattr(layer, field.name)
            if isinstance(value, np.ndarray):
                arrays[f"{layer.name}.{field.name}"] = value.astype("<i8")
            else:
                entry[field.name] = value
        layers.append(entry)
    header = {"format": FORMAT, "layers": layers, "metadata": dict(network.metadata)}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    arrays["header"] = np.frombuffer(text.encode(), np.uint8)
    return arrays


def network_digest(network: Network) -> str:
    """Return the digest of a Network, as hexadecimal text: that of the file ``save`` writes."""
    return digest_of(to_arrays(network)).hex()


def save(network: Network, path: Path) -> str:
    """Write a network file (whole or not at all) and return its digest as hexadecimal text.

    The same Network gives the same bytes. Raises HwgenError naming the path if it cannot be written.
    """
    arrays = to_arrays(network)
    digest = digest_of(arrays)
    arrays["digest"] = np.frombuffer(digest, np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, arrays[name], version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue())
    write_atomic(Path(path), buffer.getvalue())
    return digest.hex()


def load(path: Path) -> Network:
    """Read, bound and validate a network file.

    Raises: HwgenError, one line, if the file is missing, is no network file, is truncated, holds anything but
    bounded integer arrays, has a digest that does not match, or describes a network that does not fit.
    """
    path = Path(path)
    try:
        arrays = _read_members(path)
    except FileNotFoundError as error:
        raise HwgenError(f"{path}: a network file is needed, there is none") from error
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise HwgenError(f"{path}: a whole network file (.npz) is needed, this one is broken or "
                         f"truncated ({error})") from error
    stored = arrays.pop("digest", None)
    if stored is None or "header" not in arrays:
        raise HwgenError(f"{path}: a network file with header and digest is needed, this .npz has "
                         f"{', '.join(sorted(arrays)[:4]) or 'no members'}")
    if stored.tobytes() != (digest := digest_of(arrays)):
        raise HwgenError(f"{path}: digest {digest.hex()[:12]} of the content needed, the file says "
                         f"{stored.tobytes().hex()[:12]}")
    try:
        return _from_arrays(arrays)
    except HwgenError as error:
        raise HwgenError(f"{path}: {error}") from error


def _read_members(path: Path) -> Arrays:
    arrays: Arrays = {}
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        total = sum(info.file_size for info in infos)
        if total > MAX_BYTES or len(infos) > 1 << 16:
            raise HwgenError(f"{path}: at most {MAX_BYTES} bytes unpacked, this file declares {total} "
                             f"in {len(infos)} members")
        for info in infos:
            name = info.filename.removesuffix(".npy")
            if name in arrays or name == info.filename:
                raise HwgenError(f"{path}: members NAME.npy, each once, needed, not {info.filename!r}")
            with archive.open(info) as member:
                arrays[name] = _parse_npy(path, name, member.read(info.file_size + 1))
    return arrays


def _parse_npy(path: Path, name: str, data: bytes) -> npt.NDArray[Any]:
    """Return the array of one .npy member, after checking that its size is what the header promises."""
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("version 1.0 needed")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise HwgenError(f"{path}: member {name!r} is no plain array ({error})") from error
    wanted = "|u1" if name in ("header", "digest") else "<i8"
    if dtype.str != wanted or fortran:
        raise HwgenError(f"{path}: member {name!r} must be {wanted} in C order, not {dtype.str}")
    size = math.prod(shape) * dtype.itemsize
    if size != len(data) - stream.tell() or any(side < 0 for side in shape):
        raise HwgenError(f"{path}: member {name!r} promises {size} bytes and holds "
                         f"{len(data) - stream.tell()}")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)


def _from_arrays(arrays: Arrays) -> Network:
    text = arrays.pop("header").tobytes()
    if len(text) > MAX_HEADER:
        raise HwgenError(f"header: at most {MAX_HEADER} bytes needed, not {len(text)}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HwgenError(f"header: JSON needed ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        came = header.get("format") if isinstance(header, dict) else header
        raise HwgenError(f"format: {FORMAT} needed, not {came!r}")
    entries, metadata = header.get("layers"), header.get("metadata")
    if not isinstance(entries, list) or not isinstance(metadata, dict):
        raise HwgenError("header: a list of layers and a metadata object needed")
    layers = tuple(_layer(entry, arrays) for entry in entries)
    if arrays:
        raise HwgenError(f"member {sorted(arrays)[0]!r} belongs to no layer")
    return Network(layers, metadata)


def _layer(entry: Any, arrays: Arrays) -> Layer:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise HwgenError(f"header: a layer with a name needed, not {str(entry)[:60]!r}")
    plain = dict(entry)
    name, kind = entry["name"], plain.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise HwgenError(f"Layer {name!r}, kind: one of {', '.join(KINDS)} needed, not {kind!r}")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(KINDS[kind]):
        member = f"{name}.{field.name}"
        if field.type == "Int64Array":
            if member not in arrays:
                raise HwgenError(f"Layer {name!r}, {field.name}: an array needed, there is none")
            values[field.name] = arrays.pop(member)
        elif field.name not in plain:
            raise HwgenError(f"Layer {name!r}, {field.name}: a value needed, there is none")
        else:
            values[field.name] = value = plain.pop(field.name)
            if str(field.type).startswith("tuple"):
                kinds = str if "str" in str(field.type) else int
                if not isinstance(value, list) or not all(isinstance(v, kinds) for v in value):
                    raise HwgenError(f"Layer {name!r}, {field.name}: a list needed, not {value!r}")
            elif field.type == "str" and not isinstance(value, str):
                raise HwgenError(f"Layer {name!r}, {field.name}: a name needed, not {value!r}")
    if plain:
        raise HwgenError(f"Layer {name!r}: unknown field {sorted(plain)[0]!r}")
    return KINDS[kind](**values)
