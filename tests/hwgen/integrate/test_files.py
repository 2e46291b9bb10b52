"""The files beside the Verilog, held to what other tools read in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwgen import tools
from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.integrate.files import core_file, instance, lpf, port_list, sdc, write_files
from hwgen.nfu.emit import verilog_of
from hwgen.nfu.top import port_list as nfu_ports
from tests.conftest import BuildOnce
from tests.hwgen.nfu.programs import CONFIG
from tests.sim.small_design import write_small

PORTS = {
    "version": "1.2.3", "digest": "ab" * 32, "engine": "stream", "top": "top", "clock": "clk",
    "reset": "rst", "frame_error": "frame_error", "interval": 9,
    "input": {"prefix": "s_axis", "bits": 12, "beats": 9, "fields": [
        {"name": "channel_0", "offset": 0, "width": 8, "signed": False}]},
    "output": {"prefix": "m_axis", "bits": 5, "beats": 1, "fields": [
        {"name": "class", "offset": 0, "width": 2, "signed": False},
        {"name": "score_0", "offset": 2, "width": 3, "signed": True}]},
}


@pytest.fixture(scope="module")
def design(build_once: BuildOnce) -> Path:
    return build_once("small-design", lambda folder: write_small(folder, "rom"))


def test_ports_are_those_of_the_verilog(design: Path, tmp_path: Path) -> None:
    """As Yosys reads them."""
    (tmp_path / "top.v").write_bytes((design / "top.v").read_bytes())
    tools.run_yosys("read_verilog top.v\nhierarchy -top top\nproc\nwrite_json -noscopeinfo n.json",
                    cwd=tmp_path, log=tmp_path / "log")
    module = json.loads((tmp_path / "n.json").read_text())["modules"]["top"]
    found = {(port["direction"], name, len(port["bits"]))
             for name, port in module["ports"].items()}
    assert set(port_list(read_json(design / "ports.json"))) == found


@pytest.mark.parametrize("memory_bytes", [0, 4096])
def test_ports_of_an_nfu(memory_bytes: int, tmp_path: Path) -> None:
    config = replace(CONFIG, memory_bytes=memory_bytes)
    (tmp_path / "top.v").write_text(verilog_of(config, "test"))
    ports = {**{key: PORTS[key] for key in ("version", "digest", "top", "clock", "reset")},
             "engine": "nfu", "interval": 7, "ports": [list(one) for one in nfu_ports(config)]}
    (tmp_path / "outer.v").write_text(f"module outer;\n{instance(ports)}endmodule\n")
    tools.run_yosys("read_verilog top.v outer.v\nhierarchy -check -top outer\nproc\n"
                    "write_json -noscopeinfo n.json", cwd=tmp_path, log=tmp_path / "log")
    module = json.loads((tmp_path / "n.json").read_text())["modules"]["top"]
    found = {(port["direction"], name, len(port["bits"]))
             for name, port in module["ports"].items()}
    assert set(port_list(ports)) == found
    core = yaml.safe_load(core_file(ports))
    assert set(core["filesets"]) == {"rtl", "clock_sdc", "clock_xdc"}
    assert set(core["targets"]) == {"default", "vivado"}


def test_instance_is_verilog(design: Path, tmp_path: Path) -> None:
    (tmp_path / "top.v").write_bytes((design / "top.v").read_bytes())
    text = instance(read_json(design / "ports.json"))
    (tmp_path / "outer.v").write_text(f"module outer;\n{text}endmodule\n")
    tools.run_yosys("read_verilog top.v outer.v\nhierarchy -check -top outer", cwd=tmp_path,
                    log=tmp_path / "log")


def test_instance_says_where_the_fields_lie() -> None:
    text = instance(PORTS)
    assert "//   out m_axis_tdata[4:2]  score_0, signed\n" in text
    assert "wire [15:0] s_axis_tdata;\n" in text


@pytest.mark.parametrize(("mhz", "period"), [(100.0, "10.000"), (62.5, "16.000"), (48, "20.833")])
def test_clock(mhz: float, period: str) -> None:
    assert f"create_clock -name clk -period {period} [get_ports {{clk}}]\n" in sdc(PORTS, mhz)
    assert f'FREQUENCY PORT "clk" {mhz:.3f} MHZ;\n' in lpf(PORTS, mhz)


def test_core_file_names_the_files(tmp_path: Path) -> None:
    (tmp_path / "tb").mkdir()
    write_files(tmp_path, PORTS)
    text = core_file(PORTS)
    head, _, body = text.partition("\n")
    core: dict[str, Any] = yaml.safe_load(body)
    assert head == "CAPI=2:"
    assert core["name"] == "::hwgen_stream_abababababab:1.2.3"
    assert core["targets"]["sim"]["toplevel"] == "top_tb"
    named = {
        next(iter(one)) if isinstance(one, dict) else one
        for fileset in core["filesets"].values() for one in fileset["files"]
    }
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in named if name.startswith("constraints")} <= there


@pytest.mark.parametrize("mhz", [0.0, -3.0, 1e6, float("nan")])
def test_clock_wrong(tmp_path: Path, mhz: float) -> None:
    with pytest.raises(HwgenError, match=r"^--clock: a frequency above 0 and up to 10000 MHz"):
        write_files(tmp_path, PORTS, mhz=mhz)
    assert list(tmp_path.iterdir()) == []
