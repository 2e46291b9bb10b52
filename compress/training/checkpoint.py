"""The state of a training on disk, so that an interrupted run goes on where it was.

One .safetensors file: the tensors, and in its metadata a JSON text under the key ``hwgen``. It is
written whole or not at all, and holds no pickle. A checkpoint says which run it belongs to; one of
another run is refused, not overwritten.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from hwgen.errors import HwgenError
from hwgen.files import write_atomic

SUFFIX = ".checkpoint.safetensors"
FORMAT = 1


def beside(out: Path) -> Path:
    """Return where the checkpoint of a run lies that writes ``out``."""
    return out.with_name(out.stem + SUFFIX)


def save(
    path: Path, tensors: Mapping[str, torch.Tensor], run: Mapping[str, Any], at: Mapping[str, int]
) -> None:
    """Write a checkpoint.

    Parameters: tensors, on any device; run, what identifies the run, JSON; at, counters.
    """
    copies = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps({"format": FORMAT, "run": dict(run), "at": dict(at)}, sort_keys=True)
    write_atomic(path, to_bytes(copies, metadata={"hwgen": text}))


def load(path: Path, run: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
    """Read a checkpoint of this run: (tensors on the CPU, counters).

    Raises: HwgenError, one line, if the file is broken or belongs to another run; it names what
    differs.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # no mapping
        described = json.loads(metadata["hwgen"])
        found, at = dict(described["run"]), dict(described["at"])
        form = described["format"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise HwgenError(
            f"{path}: a whole checkpoint needed ({error}); remove it to train from the beginning"
        ) from error
    wanted = json.loads(json.dumps(dict(run)))
    differing = [key for key in sorted({*wanted, *found}) if wanted.get(key) != found.get(key)]
    if form != FORMAT or differing:
        key = differing[0] if differing else "format"
        here, there = (wanted.get(key), found.get(key)) if differing else (FORMAT, form)
        raise HwgenError(
            f"{path}: a checkpoint of this run needed, {key} is {there} in it and {here} here; "
            "remove it to train from the beginning"
        )
    return tensors, at


def flat(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return an optimiser's state as named tensors."""
    return {
        f"optimiser.{index}.{name}": value
        for index, fields in optimiser.state_dict()["state"].items()
        for name, value in fields.items()
    }


def restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what ``flat`` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            index, _, field = rest.partition(".")
            state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def digest(*arrays: np.ndarray[Any, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of arrays: dtypes, shapes and bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


class Interruption:
    """Whether Ctrl-C was pressed inside ``deferred``."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Hold Ctrl-C back, so that a step of a training ends before its state is written.

    The block looks at ``asked`` between steps and raises KeyboardInterrupt itself; a second Ctrl-C
    raises at once. Only the main thread may hold signals; elsewhere, and where Ctrl-C is ignored (a
    job in the background), nothing changes.
    """
    told = Interruption()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield told
        return

    def note(number: int, frame: FrameType | None) -> None:
        if told.asked:
            raise KeyboardInterrupt
        told.asked = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
