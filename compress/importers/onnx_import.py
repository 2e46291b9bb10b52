"""ONNX files to the float graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwgen.compress.importers.graph import Graph, Shape
from hwgen.compress.importers.onnx_file import load, one_line
from hwgen.compress.importers.onnx_fold import FOLDS
from hwgen.compress.importers.onnx_layers import RULES
from hwgen.compress.importers.onnx_reader import Reader
from hwgen.errors import HwgenError


def import_onnx(path: Path, shape: Shape) -> tuple[Graph, tuple[str, ...]]:
    """Return the float graph of an .onnx file, and notes on what was left out.

    Parameters
    ----------
    path : Path
    shape : (channels, height, width)
        Of one image; the file may leave sizes open, batch included.

    Raises: HwgenError, one line, if the file is missing, broken or hostile, or an operator is not
    supported: the message names the node and what would be.
    """
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused where it is used
            reader = Reader(load(path), shape, RULES)
            return reader.read(), tuple(reader.notes)
    except HwgenError as error:
        if str(error).startswith(str(path)):
            raise
        raise HwgenError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise HwgenError(f"{path}: an ONNX graph that can be read needed "
                         f"({one_line(error)})") from error


def supported() -> tuple[str, ...]:
    """Return the names of the ONNX operators that are read, in order."""
    return tuple(sorted({"Constant", "Shape", *RULES, *FOLDS}))
