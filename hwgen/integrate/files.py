"""Files beside a generated top.v for the project that takes it in.

    top.core              FuseSoC's description of the block (CAPI 2), lint and simulation targets
    top_instance.v        an instance of the top, every port named, to paste
    constraints/top.sdc   the clock for Synopsys, Quartus, Gowin and OpenROAD flows
    constraints/top.xdc   for Vivado
    constraints/top.lpf   for nextpnr-ecp5 and Diamond

They are written from ports.json alone, so they fit every engine that has one clock and one reset.
An engine whose ports.json lists its ports (``ports``) has no test bench beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_atomic

MHZ = 100.0  # the clock asked for where the user says nothing
BENCH = """\
  bench:
    files:
      - tb/top_tb.v
      - tb/stimulus.hex: {file_type: user, copyto: stimulus.hex}
      - tb/expected.hex: {file_type: user, copyto: expected.hex}
    file_type: systemVerilogSource
"""
SIMULATION = """\
  sim:
    <<: *default
    default_tool: icarus
    filesets_append: [bench]
    toplevel: top_tb
    tools:
      icarus: {iverilog_options: [-g2012]}
      verilator: {mode: binary, verilator_options: [--timing, -Wno-fatal, -Wno-lint]}
"""


def write_files(out: Path, ports: Mapping[str, Any], *, mhz: float = MHZ) -> None:
    """Write the files into a design's folder.

    Parameters: out, the folder; ports, the content of its ports.json; mhz, the clock's frequency.
    Raises: HwgenError if the frequency is not positive or a file cannot be written.
    """
    if not 0 < mhz <= 10_000:
        raise HwgenError(f"--clock: a frequency above 0 and up to 10000 MHz needed, not {mhz:g}")
    make_folder(Path(out) / "constraints")
    for name, text in {
        "top.core": core_file(ports),
        "top_instance.v": instance(ports),
        "constraints/top.sdc": sdc(ports, mhz),
        "constraints/top.xdc": sdc(ports, mhz),
        "constraints/top.lpf": lpf(ports, mhz),
    }.items():
        write_atomic(Path(out) / name, text)


def _head(ports: Mapping[str, Any], mark: str) -> str:
    return f"{mark} hwgen {ports['version']}, network sha256 {ports['digest']}\n"


def core_file(ports: Mapping[str, Any]) -> str:
    """Return a FuseSoC core file (CAPI version 2): the Verilog, its test bench, two targets.

    Ref: FuseSoC user guide, "CAPI2 core description format".
    """
    name = f"::hwgen_{ports['engine']}_{ports['digest'][:12]}:{ports['version']}"
    bench, simulation = ("", "") if "ports" in ports else (BENCH, SIMULATION)
    return f"""CAPI=2:
{_head(ports, "#")}name: "{name}"
description: "{ports['engine']} engine of a convolutional network, without multipliers"

filesets:
  rtl:
    files: [top.v]
    file_type: verilogSource
{bench}  clock_sdc:
    files: [constraints/top.sdc]
    file_type: SDC
  clock_xdc:
    files: [constraints/top.xdc]
    file_type: xdc

targets:
  default: &default
    filesets: [rtl]
    toplevel: {ports['top']}
{simulation}  vivado:
    <<: *default
    filesets_append: [clock_xdc]
"""


def port_list(ports: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return (direction, name, bits) of each port of the top, clock and reset first."""
    if "ports" in ports:
        return [(str(way), str(name), int(bits)) for way, name, bits in ports["ports"]]
    source, sink = ports["input"], ports["output"]
    found = [("input", ports["clock"], 1), ("input", ports["reset"], 1)]
    for port, out in ((source, False), (sink, True)):
        there, back = ("output", "input") if out else ("input", "output")
        bits = 8 * -(-int(port["bits"]) // 8)
        found += [
            (there, f"{port['prefix']}_tdata", bits),
            (there, f"{port['prefix']}_tvalid", 1),
            (back, f"{port['prefix']}_tready", 1),
            (there, f"{port['prefix']}_tlast", 1),
        ]
    if ports.get("frame_error"):
        found.append(("output", ports["frame_error"], 1))
    return found


def instance(ports: Mapping[str, Any]) -> str:
    """Return Verilog to paste: wires, the instance, and where the fields of a result lie."""
    listed = port_list(ports)
    lines = [_head(ports, "//").rstrip()]
    if "ports" in ports:
        lines.append(f"// s_axil: registers. {ports['interval']} cycles an image.")
        return _pasted(ports, lines, listed)
    lines.append(
        f"// {ports['input']['beats']} beats an image in, {ports['output']['beats']} out; the last "
        f"has tlast. {ports['interval']} cycles an image."
    )
    for name, port in (("in", ports["input"]), ("out", ports["output"])):
        for field in port["fields"]:
            top = field["offset"] + field["width"] - 1
            kind = "signed" if field["signed"] else "unsigned"
            bits = f"{port['prefix']}_tdata[{top}:{field['offset']}]"
            lines.append(f"//   {name} {bits}  {field['name']}, {kind}")
    return _pasted(ports, lines, listed)


def _pasted(ports: Mapping[str, Any], lines: list[str], listed: list[tuple[str, str, int]]) -> str:
    """Return the comments, then wires and the instance."""
    lines += [
        f"wire {f'[{bits - 1}:0] ' if bits > 1 else ''}{name};"
        for _, name, bits in listed
    ]
    lines.append(f"{ports['top']} network (")
    lines += [
        f"    .{name}({name}){',' if n + 1 < len(listed) else ''}  // {direction}, {bits} bit"
        f"{'s' if bits > 1 else ''}"
        for n, (direction, name, bits) in enumerate(listed)
    ]
    return "\n".join([*lines, ");", ""])


def sdc(ports: Mapping[str, Any], mhz: float) -> str:
    """Return the clock as an SDC line, which is also Vivado's XDC."""
    period = 1000 / mhz
    return (
        f"{_head(ports, '#')}create_clock -name {ports['clock']} -period {period:.3f} "
        f"[get_ports {{{ports['clock']}}}]\n"
    )


def lpf(ports: Mapping[str, Any], mhz: float) -> str:
    """Return the clock as a Lattice preference."""
    return f"{_head(ports, '#')}FREQUENCY PORT \"{ports['clock']}\" {mhz:.3f} MHZ;\n"
