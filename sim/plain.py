"""A test bench for any Verilog simulator: vectors from the golden model, and the bench that holds
the design to them without Python.

    tb/top_tb.v       the bench, sim/plain.v with this design's sizes
    tb/stimulus.hex   the beats of some images, a line each
    tb/expected.hex   the beats of their results, as the golden model has them
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_atomic
from hwgen.layers import Int64Array
from hwgen.sim import golden
from hwgen.sim.build import HERE
from hwgen.sim.design import Design, load_folder
from hwgen.sim.ports import Port
from hwgen.sim.stepwise import GRACE, standstill
from hwgen.sim.vectors import pack, random_images

IMAGES = 8  # four extreme ones first, see random_images


def write_bench(directory: Path, *, images: int = IMAGES, seed: int = 0) -> None:
    """Write the folder ``tb`` of a streaming design that ``hwgen rtl`` wrote.

    Parameters: images, how many (the extreme codes first, then seeded random ones); seed.
    Raises: HwgenError if the folder holds no streaming design or cannot be written.
    """
    if images < 1:
        raise HwgenError(f"At least one image needed for the test bench, not {images}")
    folder = load_folder(directory)
    design = folder.design
    codes = random_images(design.network, images, seed)
    out = make_folder(folder.path / "tb")
    write_atomic(out / "stimulus.hex", hex_lines(pack(codes, design.ports.input),
                                                 design.ports.input))
    write_atomic(out / "expected.hex", hex_lines(results(design, codes), design.ports.output))
    sizes = {
        "IMAGES": images,
        "IN_BITS": 8 * design.ports.input.bytes,
        "IN_BEATS": design.ports.input.beats,
        "OUT_BITS": 8 * design.ports.output.bytes,
        "OUT_BEATS": design.ports.output.beats,
        "GRACE": GRACE,
        "PATIENCE": 5 * standstill(design.ports) + 1000,
    }
    head = f"// network sha256 {design.network.digest}\n"
    lines = "\n    ".join(f"localparam {name} = {value};" for name, value in sizes.items())
    bench = (HERE / "plain.v").read_text(encoding="utf-8")
    write_atomic(out / "top_tb.v", head + bench.replace("@SIZES@", lines))


def results(design: Design, images: Int64Array) -> bytes:
    """Return the beats that a design must answer with, as bytes, least significant first."""
    port = design.ports.output
    layers = golden.run(
        design.network, images, keep=sorted({field.layer for field in port.fields})
    )
    return pack(
        np.stack([layers[field.layer][:, field.channel] for field in port.fields], axis=1), port
    )


def hex_lines(beats: bytes, port: Port) -> str:
    """Return beats as lines of hexadecimal digits, most significant first, for $readmemh."""
    size = port.bytes
    return "".join(
        f"{beats[start:start + size][::-1].hex()}\n" for start in range(0, len(beats), size)
    )
