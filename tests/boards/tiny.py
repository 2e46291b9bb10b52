"""The smallest network that still has a convolution, two channels and a class: for board tops."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwgen import netfile
from hwgen.network import ArgMax, Conv2d, Dense, Flatten, Input, Network, Requantise
from hwgen.nfu import emit as nfu_emit
from hwgen.stream.emit import write_design


def tiny_network() -> Network:
    """Input 2x3x3, a Conv2d to 2 channels, a Dense to 3 scores; two input channels make a beat of
    two bytes."""
    rng = np.random.default_rng(7)
    return Network((
        Input("x", 2, 3, 3, 0, 255, 8),
        Conv2d("conv", "x", rng.integers(-2, 3, (2, 2, 2, 2)), rng.integers(-40, 40, 2),
               np.zeros(2, int)),
        Requantise("codes", "conv", multiplier=np.ones(2, int), offset=np.zeros(2, int),
                   shift=np.full(2, 5), lo=0, hi=15, frac=0),
        Flatten("flat", "codes"),
        Dense("dense", "flat", rng.integers(-3, 4, (3, 8)), rng.integers(-20, 20, 3),
              np.zeros(3, int)),
        ArgMax("class", "dense")))


def write_tiny(folder: Path) -> Path:
    """Write a design folder of it and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    netfile.save(tiny_network(), folder / "net.npz")
    write_design(folder / "net.npz", folder)
    return folder


def write_tiny_nfu(folder: Path, *, streamed: bool = True) -> Path:
    """Write a design folder of it on an NFU, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    netfile.save(tiny_network(), folder / "net.npz")
    nfu_emit.write_design(folder / "net.npz", folder, tn=4, streamed=streamed)
    return folder
