"""An .onnx file as parsed, checked numbers: sizes, external data, operator sets.

Everything in a file is doubted: a broken or hostile one gives one line and takes no more memory
than its own size. Data beside the file are read from its own folder only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

Array = npt.NDArray[Any]

MAX_BYTES = 1 << 31
MAX_ELEMENTS = 1 << 28
OLDEST = 7  # operator sets before it broadcast in another way


@dataclass(frozen=True, eq=False)
class File:
    """A parsed model.

    Parameters
    ----------
    path : Path
    graph : onnx.GraphProto
    opset : int
        Of the standard operators.
    arrays : mapping of tensor name to array
        The initialisers.
    """

    path: Path
    graph: Any
    opset: int
    arrays: dict[str, Array]


def load(path: Path) -> File:
    """Read an .onnx file.

    Raises: HwgenError, one line, if the package onnx is missing, or the file is missing, broken,
    too large or of an operator set that is not read.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise HwgenError(
            f"{path}: reading it needs the package onnx (pip install 'hwgen[train]')"
        ) from error
    try:
        size = path.stat().st_size
        if not 0 < size < MAX_BYTES:
            raise HwgenError(f"{path}: from 1 to {MAX_BYTES - 1} bytes needed, not {size}")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise HwgenError(f"{path}: an .onnx file needed, there is none") from error
    except OSError as error:
        raise HwgenError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise HwgenError(f"{path}: a whole .onnx file needed ({one_line(error)})") from error
    sets = {entry.domain: entry.version for entry in model.opset_import}
    opset = max(sets.get("", 0), sets.get("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if not model.HasField("graph") or not model.graph.node:
        raise HwgenError(f"{path}: a whole .onnx file needed (it has no graph)")
    if not OLDEST <= opset <= newest:
        raise HwgenError(f"{path}: operator set {OLDEST} to {newest} needed, not {opset}")
    if model.graph.sparse_initializer:
        raise HwgenError(f"{path}: dense initialisers needed, not sparse ones")
    arrays = {tensor.name: array(path, tensor) for tensor in model.graph.initializer}
    return File(path, model.graph, opset, arrays)


def array(path: Path, tensor: Any) -> Array:
    """Return a TensorProto's values; floats of any kind as float64.

    Raises: HwgenError naming the tensor if its size, type or values do not fit.
    """
    import onnx

    place = f"{path}: tensor {shown(tensor.name)}"
    dims = [int(side) for side in tensor.dims]
    count = math.prod(dims)
    if min(dims, default=0) < 0 or count > MAX_ELEMENTS:
        raise HwgenError(f"{place}: at most {MAX_ELEMENTS} numbers needed, not {dims}")
    try:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            plain = onnx.TensorProto()
            plain.data_type = tensor.data_type
            plain.dims.extend(dims)
            plain.raw_data = _external(path, place, tensor)
            tensor = plain
        values: Array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise HwgenError(f"{place}: {count} numbers of a known type needed "
                         f"({one_line(error)})") from error
    if values.dtype.kind in "OUS" or values.shape != tuple(dims):
        raise HwgenError(f"{place}: numbers needed, not {values.dtype} {values.shape}")
    if values.dtype.kind in "iub":
        return values
    if values.dtype.kind == "V" and "int" in values.dtype.name:
        return values.astype(np.int64)  # four-bit integers
    if values.dtype.kind == "c":
        raise HwgenError(f"{place}: real numbers needed, not {values.dtype}")
    return values.astype(np.float64)


def _external(path: Path, place: str, tensor: Any) -> bytes:
    """Return the bytes of a tensor that lie in another file of the same folder."""
    fields: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    name = fields.get("location", "")
    folder = path.resolve().parent
    plain = bool(name) and "\0" not in name and Path(name).name == name
    if not plain or (file := (folder / name).resolve()).parent != folder:
        raise HwgenError(f"{place}: external data in the same folder needed, not {shown(name)}")
    offset, length = int(fields.get("offset", 0)), int(fields.get("length", -1))
    if file.exists() and not file.is_file():
        raise HwgenError(f"{place}: external data in a plain file needed, not {shown(name)}")
    try:
        with file.open("rb") as opened:
            size = file.stat().st_size
            length = size - offset if length < 0 else length
            if offset < 0 or offset + length > size or length > MAX_BYTES:
                raise HwgenError(f"{place}: bytes {offset} to {offset + length} of {name} needed, "
                                 f"it has {size}")
            opened.seek(offset)
            data: bytes = opened.read(length)
            return data
    except OSError as error:
        raise HwgenError(
            f"{place}: external data file {shown(name)} needed ({error.strerror or error})"
        ) from error


def one_line(error: object) -> str:
    """Return an error's text, one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}..."


def shown(name: str) -> str:
    """Return a name from a file, quoted, printable and short."""
    text = ascii(str(name))
    return text if len(text) <= 80 else f"{text[:76]}...'"


def attributes(node: Any, path: Path) -> dict[str, Any]:
    """Return a node's attributes as numbers, texts (str), lists of them, or arrays."""
    import onnx

    kinds = onnx.AttributeProto
    found: dict[str, Any] = {}
    for entry in node.attribute:
        match entry.type:
            case kinds.FLOAT:
                found[entry.name] = float(entry.f)
            case kinds.INT:
                found[entry.name] = int(entry.i)
            case kinds.STRING:
                found[entry.name] = entry.s.decode("utf-8", "replace")
            case kinds.FLOATS:
                found[entry.name] = [float(v) for v in entry.floats]
            case kinds.INTS:
                found[entry.name] = [int(v) for v in entry.ints]
            case kinds.TENSOR:
                found[entry.name] = array(path, entry.t)
            case _:
                raise ValueError(f"attribute {shown(entry.name)} of a kind that is not read")
    return found


def sides(value: Any) -> list[int | None]:
    """Return the shape that a ValueInfoProto declares; None for what is left open."""
    dims: Iterable[Any] = value.type.tensor_type.shape.dim
    return [int(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims]
