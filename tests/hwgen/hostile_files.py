"""Network files as only a broken disk or an enemy writes them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwgen import netfile
from tests.networks import digits_like_network

Arrays = dict[str, Any]


class Danger:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.path,)


def base_arrays() -> Arrays:
    """Return the members of a good file, without its digest."""
    return dict(netfile.to_arrays(digits_like_network(0)))


def signed(arrays: Arrays) -> Arrays:
    """Return arrays with the digest that belongs to them."""
    return arrays | {"digest": np.frombuffer(netfile.digest_of(arrays), np.uint8)}


def with_header(edit: Callable[[dict[str, Any]], None]) -> Arrays:
    """Return the members of a good file whose header was edited, with the digest of that."""
    arrays = base_arrays()
    header = json.loads(arrays["header"].tobytes())
    edit(header)
    return signed(arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)})


def npy(array: Any, *, version: tuple[int, int] = (1, 0), pickles: bool = False) -> bytes:
    """Return an array as the bytes of an .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=pickles)
    return stream.getvalue()


def pack(path: Path, arrays: Mapping[str, Any], *, compression: int = zipfile.ZIP_DEFLATED,
         pickles: bool = False, more: Sequence[tuple[str, bytes]] = ()) -> None:
    """Write arrays, and raw members beside them, as an archive."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", npy(array, pickles=pickles))
        for name, data in more:
            archive.writestr(name, data)
