"""Trained reference networks on disk: a .safetensors file whose metadata say what it is.

The metadata are one JSON text under the key ``hwgen`` (safetensors keeps no order among several):
{network, scale, mean, std, class_names, seed, epochs, data, accuracy}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from hwgen.compress import zoo
from hwgen.errors import HwgenError
from hwgen.files import write_atomic


@dataclass(frozen=True)
class InputScaling:
    """What a raw code means: ``(code * scale - mean) / std``, mean and std by channel."""

    scale: float
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def factors(self, channels: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return (factor, offset) by channel, float64: value = code * factor + offset."""
        std = np.ones(channels) if self.std is None else np.asarray(self.std, np.float64)
        mean = np.zeros(channels) if self.mean is None else np.asarray(self.mean, np.float64)
        for name, values in (("mean", mean), ("std", std)):
            if values.shape != (channels,):
                raise HwgenError(
                    f"Input {name}: {channels} numbers needed, one a channel, not {values.size}"
                )
        return self.scale / std, -mean / std


def save(module: nn.Module, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write a module's parameters and buffers and its metadata, whole or not at all."""
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }
    text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    write_atomic(path, to_bytes(tensors, metadata={"hwgen": text}))


def load(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model written by ``save``: the module, in evaluation mode, and the metadata.

    Raises: HwgenError, one line, if the file is missing, broken, of no known network, or does not
    fit it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # no mapping
    except FileNotFoundError as error:
        raise HwgenError(f"{path}: a .safetensors file needed, there is none") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise HwgenError(f"{path}: a whole .safetensors file needed ({error})") from error
    try:
        described = json.loads(metadata["hwgen"])
        recipe = zoo.recipe(described["network"])
        scale = float(described["scale"])
    except (KeyError, TypeError, ValueError) as error:
        raise HwgenError(
            f"{path}: a model that `hwgen train` wrote needed, its metadata say "
            f"{sorted(metadata) or 'nothing'}"
        ) from error
    if not 0 < scale < float("inf"):
        raise HwgenError(f"{path}: a positive input scale needed, not {scale}")
    module = recipe.build()
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise HwgenError(
            f"{path}: the tensors of {described['network']} needed ({reason})"
        ) from error
    return module.eval(), described


def as_input(
    codes: Any, scaling: InputScaling, *, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return raw codes (N, C, H, W) as the float tensor that the network takes."""
    factor, offset = scaling.factors(codes.shape[1])
    x = torch.from_numpy(np.array(codes, dtype=np.float64)).to(dtype)
    return (
        x * torch.as_tensor(factor, dtype=dtype)[:, None, None]
        + torch.as_tensor(offset, dtype=dtype)[:, None, None]
    )
