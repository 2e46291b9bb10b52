from __future__ import annotations

import pytest

from hwgen.boards.design import digest_in, read_design
from hwgen.errors import HwgenError
from tests.boards.designs import DIGEST, folder, registered


def test_reads(tmp_path):
    design = read_design(folder(tmp_path, registered("a ^ b")))
    assert (design.top, design.clock, design.reset) == ("top", "clk", "rst")
    assert design.digest == DIGEST
    assert design.verilog.startswith("// hwgen")


def test_digest_is_of_the_header_alone():
    assert digest_in(f"// a\nmodule top; // {DIGEST}\n") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "top.v").unlink(), "Cannot read .*top.v"),
        (lambda d: (d / "ports.json").unlink(), "Cannot read .*ports.json"),
        (lambda d: (d / "ports.json").write_text("{"), "ports.json is not valid JSON"),
        (lambda d: (d / "ports.json").write_text("[]"), "an object is needed, not list"),
        (lambda d: (d / "top.v").write_text("module top; endmodule"), "its header says none"),
        (lambda d: (d / "top.v").write_bytes(b"\xff\xfe"), "this is not UTF-8"),
    ],
)
def test_broken(tmp_path, change, message):
    change(folder(tmp_path, registered("a ^ b")))
    with pytest.raises(HwgenError, match=message):
        read_design(tmp_path)


def test_another_network(tmp_path):
    folder(tmp_path, registered("a ^ b"), header="f" * 64)
    with pytest.raises(HwgenError, match="digest 0123456789ab of ports.json needed, .* ffffffffff"):
        read_design(tmp_path)


def test_name_that_is_a_command(tmp_path):
    folder(tmp_path, registered("a ^ b"))
    text = (tmp_path / "ports.json").read_text().replace('"top": "top"', '"top": "top; shell"')
    (tmp_path / "ports.json").write_text(text)
    with pytest.raises(HwgenError, match="ports.json, top: a name is needed, not 'top; shell'"):
        read_design(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(HwgenError, match="a folder that `hwgen rtl` wrote is needed"):
        read_design(tmp_path / "none")
