"""The MODEL argument: a trained network in one of the forms the command line takes."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hwgen.compress import modelfile, zoo
from hwgen.compress.importers import state_dict
from hwgen.compress.importers.graph import Graph, Shape
from hwgen.compress.importers.torch_fx import import_module
from hwgen.compress.modelfile import InputScaling
from hwgen.errors import HwgenError

_COUNT = itertools.count()


@dataclass(frozen=True, eq=False)
class Model:
    """A trained float network.

    Parameters
    ----------
    name : str
        For the metadata.
    graph : Graph
        What it computes from its float input.
    scaling : InputScaling or None
        What a raw code means to it, if the model says so.
    class_names : tuple of str or None
    notes : tuple of str
        What import left out or changed, a sentence each.
    """

    name: str
    graph: Graph
    scaling: InputScaling | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def load(spec: str, shape: Shape) -> Model:
    """Load the network that a MODEL argument names, for images of (channels, height, width).

    ``FILE.safetensors`` of ``hwgen train``; ``FILE.onnx``; ``FILE.pt2`` of ``torch.export.save``;
    ``FILE.pth:NAME`` (or ``.pt``, ``.safetensors``), a state dict of the zoo's network NAME;
    ``python:FILE:FACTORY``, which runs FILE and calls FACTORY() for an ``nn.Module``.

    Raises: HwgenError, one line, if it cannot be read or holds what is not supported.
    """
    if spec.startswith("python:"):
        return _from_python(spec, shape)
    path = Path(spec)
    if (named := state_dict.split(spec)) is not None:
        file, network = named
        return Model(network, _import_known(network, state_dict.load(file, network), shape))
    if path.suffix == ".safetensors":
        return _from_safetensors(path, shape)
    if path.suffix == ".pt2":
        from hwgen.compress.importers.torch_export import import_archive

        return Model(path.stem, import_archive(path, shape))
    if path.suffix == ".onnx":
        from hwgen.compress.importers.onnx_import import import_onnx

        graph, notes = import_onnx(path, shape)
        return Model(path.stem, graph, notes=notes)
    raise HwgenError(
        "Model must be FILE.safetensors, FILE.onnx, FILE.pt2, FILE.pth:NAME or "
        f"python:FILE:FACTORY, not {spec!r}"
    )


def _from_safetensors(path: Path, shape: Shape) -> Model:
    module, metadata = modelfile.load(path)
    names, network = metadata.get("class_names"), str(metadata["network"])
    return Model(
        network,
        _import_known(network, module, shape),
        _scaling(path, metadata),
        tuple(str(name) for name in names) if isinstance(names, list) else None,
    )


def _import_known(network: str, module: nn.Module, shape: Shape) -> Graph:
    """Import a reference network; one that does not fit the images is told what it takes."""
    try:
        return import_module(module, shape)
    except HwgenError as error:
        wanted = zoo.recipe(network).shape
        if shape == wanted:
            raise
        takes, given = ("x".join(map(str, one)) for one in (wanted, shape))
        raise HwgenError(f"{network}: images of {takes} needed, not of {given}") from error


def _scaling(path: Path, metadata: Mapping[str, Any]) -> InputScaling:
    def numbers(key: str) -> tuple[float, ...] | None:
        value = metadata.get(key)
        return None if value is None else tuple(float(v) for v in value)

    try:
        return InputScaling(float(metadata["scale"]), numbers("mean"), numbers("std"))
    except (KeyError, TypeError, ValueError) as error:
        raise HwgenError(
            f"{path}: input scaling as numbers needed in the metadata ({error})"
        ) from error


def _from_python(spec: str, shape: Shape) -> Model:
    file, _, factory = spec.removeprefix("python:").rpartition(":")
    if not file or not factory:
        raise HwgenError(f"Model python:FILE:FACTORY needed, not {spec!r}")
    path = Path(file)
    if not path.is_file():
        raise HwgenError(f"{path}: a Python file needed, there is none")
    name = f"_hwgen_model_{next(_COUNT)}"
    loader = importlib.util.spec_from_file_location(name, path)
    if loader is None or loader.loader is None:
        raise HwgenError(f"{path}: a Python file (.py) needed")
    python = importlib.util.module_from_spec(loader)
    sys.modules[name] = python  # dataclasses look their module up
    try:
        loader.loader.exec_module(python)
        make = getattr(python, factory, None)
        if not callable(make):
            raise HwgenError(
                f"{path}: a function or class {factory} needed, "
                f"it has {'none' if make is None else type(make).__name__}"
            )
        module = make()
    except HwgenError:
        raise
    except Exception as error:  # the user's own code may raise anything
        reason = str(error).splitlines()[0] if str(error) else ""
        raise HwgenError(
            f"{path}: {factory}() failed with {type(error).__name__} ({reason})"
        ) from error
    finally:
        del sys.modules[name]
    if not isinstance(module, nn.Module):
        raise HwgenError(
            f"{path}: {factory}() must return an nn.Module, not {type(module).__name__}"
        )
    return Model(factory, import_module(module.eval(), shape))
