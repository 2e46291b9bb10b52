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


ECHO = """
module top(input clk, input rst, input [7:0] s_axis_tdata, input s_axis_tvalid,
           output s_axis_tready, input s_axis_tlast, output [7:0] m_axis_tdata,
           output m_axis_tvalid, input m_axis_tready, output m_axis_tlast, output frame_error);
  reg [7:0] sum;
  reg full;
  assign s_axis_tready = !full;
  assign m_axis_tdata = sum;
  assign m_axis_tvalid = full;
  assign m_axis_tlast = 1'b1;
  assign frame_error = 1'b0;
  always @(posedge clk)
    if (rst) begin sum <= 0; full <= 0; end
    else if (full) begin if (m_axis_tready) begin full <= 0; sum <= 0; end end
    else if (s_axis_tvalid) begin sum <= sum ^ s_axis_tdata; full <= s_axis_tlast; end
endmodule
"""


def echo(path: Path) -> Path:
    """Write the smallest engine there can be: the exclusive or of four pixels of a byte."""
    folder(path, ECHO)
    ports = json.loads((path / "ports.json").read_text())
    sides = {
        side: {"prefix": prefix, "bits": 8, "beats": beats,
               "fields": [{"name": name, "offset": 0, "width": 8, "signed": False}]}
        for side, prefix, beats, name in (("input", "s_axis", 4, "channel_0"),
                                          ("output", "m_axis", 1, "score_0"))
    }
    ports |= {"engine": "stream", **sides, "frame_error": "frame_error", "interval": 5}
    (path / "ports.json").write_text(json.dumps(ports))
    return path
