"""The network file: a Network as one ``.npz`` of named integer arrays and a digest.

Layout (format 1): ``header`` holds UTF-8 JSON {format, layers: [{kind, name, <plain fields>}],
metadata}; ``<layer>.<field>`` holds each array, int64; ``digest`` holds the sha256 of all other
members' names, dtypes, shapes and bytes, in the order of their names. The zip container itself
(dates, compression) does not count. Members are plain .npy version 1.0 as numpy writes them.
Nothing is ever unpickled or evaluated, and sizes are bounded before memory is taken.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import lzma
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.files import write_atomic
from hwgen.layers import KINDS, Layer, shown
from hwgen.network import Network

FORMAT = 1
MAX_BYTES = 1 << 30           # of all members together, unpacked
MAX_HEADER = 1 << 24
MAX_MEMBERS = 1 << 16

NPY = re.compile(rb"\x93NUMPY\x01\x00(..)"
                 rb"\{'descr': '([^']{3})', 'fortran_order': False, "
                 rb"'shape': \(([0-9, ]{1,60})\), \} *\n", re.DOTALL)
# Whatever a damaged archive makes of zipfile and its decompressors.
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
          NotImplementedError, RuntimeError, ValueError, OverflowError, IndexError)

Arrays = dict[str, npt.NDArray[Any]]


def digest_of(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the sha256 of named arrays: names, dtypes, shapes and bytes, in order of the names."""
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

    The same Network gives the same bytes.

    Raises: HwgenError naming the path if it cannot be written.
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

    Raises: HwgenError, one line, if the file is missing, is no network file, is truncated, holds
    anything but bounded integer arrays, has a digest that does not match, or describes a network
    that does not fit.
    """
    path = Path(path)
    try:
        arrays = _read_members(path)
        _check_digest(arrays)
        return _from_arrays(arrays)
    except HwgenError as error:
        raise HwgenError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise HwgenError(f"{path}: a network file is needed, there is none") from error
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_members(path: Path) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpack(archive)
    except HwgenError:
        raise
    except BROKEN as error:
        raise HwgenError("a whole network file (.npz) is needed, this one is broken or truncated "
                         f"({shown(str(error))})") from error


def _unpack(archive: zipfile.ZipFile) -> Arrays:
    arrays: Arrays = {}
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES or len(infos) > MAX_MEMBERS:
        raise HwgenError(f"at most {MAX_BYTES} bytes unpacked in {MAX_MEMBERS} members needed, "
                         f"this file declares {total} in {len(infos)}")
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name in arrays or name == info.filename:
            raise HwgenError("members NAME.npy, each once, needed, "
                             f"not {shown(info.filename)}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise HwgenError(f"member {shown(name)}: stored or deflated bytes needed, "
                             f"not compression {info.compress_type}")
        with archive.open(info) as member:
            arrays[name] = _parse_npy(name, member.read(info.file_size + 1))
    return arrays


def _check_digest(arrays: Arrays) -> None:
    """Take the digest out of the arrays and compare it with theirs."""
    stored = arrays.pop("digest", None)
    if stored is None or "header" not in arrays:
        raise HwgenError("a network file with header and digest is needed, this .npz has "
                         f"{shown(sorted(arrays)) if arrays else 'nothing else'}")
    if stored.tobytes() != (digest := digest_of(arrays)):
        raise HwgenError(f"digest {digest.hex()[:12]} of the content needed, the file says "
                         f"{stored.tobytes().hex()[:12]}")


def _parse_npy(name: str, data: bytes) -> npt.NDArray[Any]:
    """Return the array of one .npy member, after checking that its size is what it promises."""
    match = NPY.match(data)
    if match is None or match.end() != 10 + int.from_bytes(match[1], "little"):
        raise HwgenError(f"member {shown(name)}: a plain array in C order needed, as .npy version "
                         f"1.0, not {shown(data[:64])}")
    wanted = "|u1" if name in ("header", "digest") else "<i8"
    kind = match[2].decode("latin-1")
    if kind != wanted:
        raise HwgenError(f"member {shown(name)}: {wanted} needed, not {shown(kind)}")
    shape = tuple(int(side) for side in match[3].split(b",") if side.strip())
    size = math.prod(shape) * np.dtype(wanted).itemsize
    if size != len(data) - match.end() or max(shape, default=0) > MAX_BYTES:
        raise HwgenError(f"member {shown(name)}: {size} bytes of shape {shape} needed, "
                         f"not {len(data) - match.end()}")
    return np.frombuffer(data, wanted, offset=match.end()).reshape(shape)


def _from_arrays(arrays: Arrays) -> Network:
    text = arrays.pop("header").tobytes()
    if len(text) > MAX_HEADER:
        raise HwgenError(f"header: at most {MAX_HEADER} bytes needed, not {len(text)}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HwgenError(f"header: JSON needed ({shown(str(error))})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        came = header.get("format") if isinstance(header, dict) else header
        raise HwgenError(f"format: {FORMAT} needed, not {shown(came)}")
    entries, metadata = header.get("layers"), header.get("metadata")
    if not isinstance(entries, list) or not isinstance(metadata, dict):
        raise HwgenError("header: a list of layers and a metadata object needed")
    layers = tuple(_layer(entry, arrays) for entry in entries)
    if arrays:
        raise HwgenError(f"member {shown(min(arrays))} belongs to no layer")
    return Network(layers, metadata)


def _layer(entry: Any, arrays: Arrays) -> Layer:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise HwgenError(f"header: a layer with a name needed, not {shown(entry)}")
    plain = dict(entry)
    name, kind = entry["name"], plain.pop("kind", None)
    where = f"Layer {shown(name)}"
    if not isinstance(kind, str) or kind not in KINDS:
        raise HwgenError(f"{where}, kind: one of {', '.join(KINDS)} needed, not {shown(kind)}")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(KINDS[kind]):
        member = f"{name}.{field.name}"
        if field.type == "Int64Array":
            if member not in arrays:
                raise HwgenError(f"{where}, {field.name}: an array needed, there is none")
            values[field.name] = arrays.pop(member)
        elif field.name not in plain:
            raise HwgenError(f"{where}, {field.name}: a value needed, there is none")
        else:
            values[field.name] = value = plain.pop(field.name)
            if str(field.type).startswith("tuple") and not isinstance(value, list):
                raise HwgenError(f"{where}, {field.name}: a list needed, not {shown(value)}")
    if plain:
        raise HwgenError(f"{where}: unknown field {shown(min(plain))}")
    return KINDS[kind](**values)
