"""Adder graphs kept on disk, by what they were built from.

One file an entry, named by the SHA-256 of the matrix, the ranges and the options. What is read
back is checked as if it came from the search: a file that is broken, old or of another matrix is
passed over and written again. A folder that cannot be written only costs the time of the next
search.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from hwgen.adders import compiled
from hwgen.adders.graph import Add, AdderGraph, Input, Output
from hwgen.adders.greedy import Objective
from hwgen.adders.search import Bound, Options, check_matrix, input_ports, search
from hwgen.errors import HwgenError
from hwgen.files import write_atomic
from hwgen.layers import Int64Array

FORMAT = 3                    # of the file and of the search: raised when either changes
LARGEST = 1 << 28             # bytes of an entry that is still read


def build_cached(matrix: Int64Array, *, input_lo: Bound, input_hi: Bound, sharing: bool = True,
                 objective: Objective = Objective.ADDERS, max_depth: int | None = None,
                 seed: int = 0, steps: int | None = None, seconds: float | None = None,
                 folder: Path | None = None) -> AdderGraph:
    """Return what ``hwgen.adders.search.build`` returns, from disk if it was built before.

    Parameters
    ----------
    matrix, input_lo, input_hi, sharing, objective, max_depth, seed, steps, seconds
        As for ``build``.
    folder : Path or None
        Where entries are kept; by default ``cache_folder()``.

    Raises: as ``build``; nothing about the folder.
    """
    options = Options(sharing=sharing, objective=objective, max_depth=max_depth, steps=steps,
                      seconds=seconds, seed=seed)
    checked = check_matrix(matrix)
    ports = input_ports(checked.shape[0], input_lo, input_hi)
    path = (cache_folder() if folder is None else folder) / f"{_key(checked, ports, options)}.npz"
    graph = _load(path, checked, ports)
    if graph is None:
        graph = search(checked, ports, options)
        try:
            write_atomic(path, _encoded(graph))
        except HwgenError:
            pass                # the next search takes as long as this one
    return graph


def cache_folder() -> Path:
    """Return the user's folder for graphs: ``$XDG_CACHE_HOME/hwgen`` or ``~/.cache/hwgen``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of that variable has relative paths ignored.
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~"), ".cache")
    return root / "hwgen" / "adders"


def _key(matrix: Int64Array, ports: Sequence[Input], options: Options) -> str:
    plain = asdict(options) | {"objective": options.objective.value, "format": FORMAT,
                               "compiled": compiled.missing() is None,
                               "shape": matrix.shape, "ports": [(p.lo, p.hi) for p in ports]}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(matrix, dtype="<i8").tobytes())
    return digest.hexdigest()


def _encoded(graph: AdderGraph) -> bytes:
    nodes = [(n.a, n.b, n.a_shift, n.b_shift, n.a_negative, n.b_negative) for n in graph.nodes]
    ends = [(-1 if o.signal is None else o.signal, o.shift, o.negative) for o in graph.outputs]
    file = io.BytesIO()
    np.savez_compressed(file, nodes=np.array(nodes, dtype=np.int64).reshape(-1, 6),
                        outputs=np.array(ends, dtype=np.int64).reshape(-1, 3))
    return file.getvalue()


def _load(path: Path, matrix: Int64Array, ports: tuple[Input, ...]) -> AdderGraph | None:
    """Return the graph of an entry, or None if there is none that is right in every respect."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        data = path.read_bytes()
        if not data.startswith(b"PK"):
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            nodes, ends = file["nodes"], file["outputs"]
        for table, columns in ((nodes, 6), (ends, 3)):
            if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] != columns:
                return None
        graph = AdderGraph(ports, tuple(_node(*row) for row in nodes.tolist()),
                           tuple(_output(*row) for row in ends.tolist()))
        graph.check(matrix)
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile):
        return None
    return graph


def _node(a: int, b: int, a_shift: int, b_shift: int, a_negative: int, b_negative: int) -> Add:
    return Add(a, b, a_shift, b_shift, bool(a_negative), bool(b_negative))


def _output(signal: int, shift: int, negative: int) -> Output:
    return Output(None if signal < 0 else signal, shift, bool(negative))
