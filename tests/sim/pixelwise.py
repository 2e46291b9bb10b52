"""A folder as `hwgen rtl` writes it, made without any generator: the network, and its hardware by
hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwgen.files import write_json
from hwgen.netfile import save
from hwgen.network import Conv2d, Input, Network, Requantise

HERE = Path(__file__).parent


def network() -> Network:
    """Two channels of 3x4 pixels through a 1x1 convolution and a requantise."""
    return Network(
        (
            Input("pixels", 2, 3, 4, 0, 15, 0),
            Conv2d(
                "conv1",
                "pixels",
                np.array([[1, -2], [3, 1], [0, 0]]).reshape(3, 2, 1, 1),
                np.array([1, 0, -3]),
                np.zeros(3, int),
            ),
            Requantise(
                "relu1", "conv1", np.ones(3, int), np.zeros(3, int), np.array([1, 2, 0]), 0, 15, 0
            ),
        )
    )


def _lanes(*shapes: tuple[int, bool]) -> list[dict[str, object]]:
    offset, fields = 0, []
    for width, signed in shapes:
        fields.append({"offset": offset, "width": width, "signed": signed})
        offset += width
    return fields


def ports(digest: str) -> dict[str, object]:
    """Its ports.json."""
    lanes = {
        "pixels": [(4, False)] * 2,
        "conv1": [(7, True), (7, True), (4, True)],
        "relu1": [(4, False)] * 3,
    }
    return {
        "format": 1,
        "digest": digest,
        "version": "0",
        "engine": "stream",
        "top": "top",
        "clock": "clk",
        "reset": "rst",
        "input": {
            "prefix": "s_axis",
            "bits": 8,
            "beats": 12,
            "fields": [
                {"name": f"c{n}", **lane} for n, lane in enumerate(_lanes(*lanes["pixels"]))
            ],
        },
        "output": {
            "prefix": "m_axis",
            "bits": 16,
            "beats": 12,
            "fields": [
                {"name": f"c{n}", "layer": "relu1", "channel": n, **lane}
                for n, lane in enumerate(_lanes(*lanes["relu1"]))
            ],
        },
        "frame_error": "frame_error",
        "interval": 12,
        "latency": 13,
        "taps": [
            {
                "layer": name,
                "instance": name,
                "valid": "o__valid",
                "ready": "o__ready",
                "payload": "o__payload",
                "beats": 12,
                "folds": 1,
                "lanes": len(shapes),
                "fields": _lanes(*shapes),
            }
            for name, shapes in lanes.items()
        ],
    }


def write(folder: Path, *faults: tuple[str, str]) -> Path:
    """Write the folder, each fault a (text, other text) replaced once in the Verilog."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = save(network(), folder / "net.npz")
    verilog = (HERE / "pixelwise.v").read_text().replace("DIGEST", digest)
    for text, other in faults:
        assert verilog.count(text) == 1, text
        verilog = verilog.replace(text, other)
    (folder / "top.v").write_text(verilog)
    write_json(folder / "ports.json", ports(digest))
    write_json(folder / "plan.json", {"digest": digest, "interval": 12, "layers": []})
    return folder
