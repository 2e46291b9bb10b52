"""State dicts of networks that the zoo knows: a file of tensors and the name of an architecture.

``.pt`` and ``.pth`` files are read with ``torch.load(weights_only=True)``, which makes tensors and
plain containers and runs nothing; a file that holds anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hwgen.compress import zoo
from hwgen.compress.importers.onnx_file import one_line
from hwgen.errors import HwgenError

MAX_BYTES = 1 << 31
SUFFIXES = (".pt", ".pth", ".safetensors")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def split(spec: str) -> tuple[Path, str] | None:
    """Return (file, architecture) of ``FILE:NAME`` with a state dict's suffix, or None.

    ``FILE.pt`` and ``FILE.pth`` alone give an empty architecture.
    """
    file, colon, name = spec.rpartition(":")
    if colon and Path(file).suffix in SUFFIXES and "/" not in name:
        return Path(file), name
    return (Path(spec), "") if Path(spec).suffix in (".pt", ".pth") else None


def load(path: Path, name: str) -> nn.Module:
    """Return the zoo's network of a name with the tensors of a file, in evaluation mode.

    Raises: HwgenError, one line, if the name is unknown or missing, or the file is missing, broken,
    holds more than tensors, or does not fit the network.
    """
    if not name:
        raise HwgenError(
            f"{path}: a state dict says nothing about its network: {path}:NAME needed, NAME one of "
            f"{', '.join(zoo.ZOO)}; other networks as .onnx, .pt2 or python:FILE:FACTORY"
        )
    module = zoo.recipe(name).build()
    tensors = _tensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = one_line(str(error).splitlines()[-1])
        raise HwgenError(f"{path}: the tensors of {name} needed ({reason})") from error
    return module.eval()


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a file, without wrappers and without the prefix ``module.``."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise HwgenError(f"{path}: a file of weights needed, there is none") from error
    if size >= MAX_BYTES:
        raise HwgenError(f"{path}: at most {MAX_BYTES - 1} bytes needed, not {size}")
    found: Any
    if path.suffix == ".safetensors":
        try:
            found = load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise HwgenError(
                f"{path}: a whole .safetensors file needed ({one_line(error)})"
            ) from error
    else:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a broken file may raise anything there
            raise HwgenError(
                f"{path}: a state dict of tensors alone needed, saved with "
                "torch.save(model.state_dict(), FILE); it is broken or needs pickle "
                f"({type(error).__name__})"
            ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping) or not found or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    ):
        raise HwgenError(f"{path}: a state dict, names and tensors, needed, "
                         f"not {type(found).__name__}")
    return {key.removeprefix("module."): value for key, value in found.items()}
