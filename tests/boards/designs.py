"""Small designs in Verilog, in a folder as ``hwgen rtl`` writes it."""

from __future__ import annotations

import json
from pathlib import Path

DIGEST = "0123456789abcdef" * 4


def folder(path: Path, verilog: str, *, digest: str = DIGEST, header: str = DIGEST) -> Path:
    """Write top.v and ports.json into ``path`` and return it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "top.v").write_text(f"// hwgen, network sha256 {header}\n`timescale 1ns/1ps\n{verilog}")
    ports = {"format": 1, "digest": digest, "top": "top", "clock": "clk", "reset": "rst"}
    (path / "ports.json").write_text(json.dumps(ports))
    return path


def registered(expression: str, *, width: int = 8, inputs: int = 8, extra: str = "") -> str:
    """Verilog of a top whose output register takes an expression of its inputs a and b."""
    return f"""
module top(input clk, input rst, input [{inputs - 1}:0] a, input [{inputs - 1}:0] b,
           output reg [{width - 1}:0] y);
  {extra}
  always @(posedge clk) y <= {expression};
endmodule
"""
