from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Fragment

from hwgen.adders import command
from hwgen.adders.command import run
from hwgen.errors import HwgenError
from tests.hwgen.adders import helpers

KEYS = ["adders", "depth", "adder_bits", "ff_bits", "line_bits", "inputs", "outputs", "input_bits",
        "output_bits", "latency", "verified", "seconds"]


@pytest.fixture
def matrix_file(tmp_path):
    np.save(tmp_path / "matrix.npy", helpers.family("trained"))
    return tmp_path / "matrix.npy"


def test_figures(matrix_file):
    result = run(matrix_file, conv="3,3", steps=0)
    assert list(result) == KEYS
    assert result["verified"] is True
    assert (result["inputs"], result["outputs"], result["input_bits"]) == (27, 8, 27 * 8)
    assert result["latency"] == result["ff_bits"] == result["line_bits"] == 0
    column = np.abs(helpers.family("trained")).sum(axis=0) * 128   # reaches -it
    assert result["output_bits"] == sum(int(top - 1).bit_length() + 1 for top in column)


def test_pipelined(matrix_file):
    result = run(matrix_file, steps=0, pipelined=True)
    assert result["latency"] == result["depth"] > 0
    assert result["ff_bits"] > result["output_bits"]


def test_unsigned_inputs(matrix_file):
    assert run(matrix_file, steps=0, in_bits=1, unsigned=True)["input_bits"] == 27


@pytest.mark.parametrize("pipelined", [False, True])
def test_verilog(matrix_file, tmp_path, pipelined):
    target = tmp_path / "graph.v"
    run(matrix_file, steps=0, verilog=target, pipelined=pipelined)
    ports = re.search(r"module adder_graph\((.*?)\);", target.read_text())
    assert ports is not None
    assert sorted(ports[1].split(", ")) == (["clk", "en", "x", "y"] if pipelined else ["x", "y"])


def test_time_is_kept(matrix_file):
    """Attempts end with the time; with steps they do not, and give the same figures again."""
    assert run(matrix_file, seconds=0.0)["verified"]
    one, two = (run(matrix_file, steps=300, seconds=0.0) for _ in range(2))
    assert one | {"seconds": 0} == two | {"seconds": 0}


def test_earlier_verilog_stays(matrix_file, tmp_path, monkeypatch):
    target = tmp_path / "graph.v"
    target.write_text("earlier")

    def fail(component: Elaboratable, **options: object) -> str:
        Fragment.get(component, None)
        raise HwgenError("Yosys failed")

    monkeypatch.setattr("hwgen.verilog.to_verilog", fail)
    with pytest.raises(HwgenError, match="Yosys failed"):
        run(matrix_file, steps=0, verilog=target)
    assert target.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.v", "matrix.npy"]


@pytest.mark.parametrize("dtype", ["i1", ">i4", "u8", "f8", "f4", "?"])
def test_types_that_hold_integers(dtype, tmp_path):
    np.save(tmp_path / "m.npy", np.array([[1, 0], [0, 1]], dtype=dtype))
    loaded = command.load_matrix(tmp_path / "m.npy")
    assert loaded.tolist() == [[1, 0], [0, 1]]
    assert loaded.dtype == np.int64


def claims(path: Path, shape: str) -> None:
    """A file whose head promises a shape that is not there."""
    head = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())


WRONG = {
    "a vector": (lambda p: np.save(p, np.arange(3)),
                 "must hold a matrix (inputs, outputs), not shape (3,)"),
    "nothing": (lambda p: np.save(p, np.zeros((0, 3))),
                "must hold a matrix (inputs, outputs), not shape (0, 3)"),
    "NaN": (lambda p: np.save(p, np.array([[np.nan]])), "must hold integers, not NaN or infinity"),
    "infinity": (lambda p: np.save(p, np.array([[np.inf]])),
                 "must hold integers, not NaN or infinity"),
    "halves": (lambda p: np.save(p, np.array([[1, 2], [3, 0.5]])),
               "must hold integers, not 0.5 in row 1, column 1"),
    "complex": (lambda p: np.save(p, np.array([[1j]])), "must hold integers, not complex128"),
    "large": (lambda p: np.save(p, np.array([[-(1 << 31)]])),
              "must hold entries below 2**31 in magnitude, not 2147483648"),
    "least int64": (lambda p: np.save(p, np.array([[-(1 << 63)]])),
                    "must hold entries below 2**31 in magnitude, not 9223372036854775808"),
    "objects": (lambda p: np.save(p, np.array([[None]]), allow_pickle=True),
                "must hold integers, not object"),
    "text cells": (lambda p: np.save(p, np.array([["a"]])), "must hold integers, not <U1"),
    "text": (lambda p: p.write_text("1 2 3"), "must be a .npy file of numbers: "),
    "empty": (lambda p: p.write_bytes(b""), "must be a .npy file of numbers: "),
    "cut": (lambda p: claims(p, "(1000, 1000)"), "must be a .npy file of numbers: "),
    "huge": (lambda p: claims(p, f"({10**12}, {10**12})"),
             f"must hold at most 4194304 entries, not {10**24}"),
    "too many": (lambda p: np.save(p, np.zeros((1 << 11, (1 << 11) + 1), dtype=np.int8)),
                 "must hold at most 4194304 entries, not 4196352"),
    "an archive": (lambda p: p.write_bytes(b"PK" + bytes(100)), "must be a .npy file of numbers: "),
    "a negative size": (lambda p: claims(p, "(-2, -2)"), "must be a .npy file of numbers: "),
    "no numbers for sizes": (lambda p: claims(p, "(1.5, 'a')"),
                             "must be a .npy file of numbers: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file(name, tmp_path):
    path = tmp_path / "m.npy"
    write, message = WRONG[name]
    write(path)
    with pytest.raises(HwgenError) as caught:
        run(path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(HwgenError, match=r"Cannot read .*none\.npy: No such file"):
        run(tmp_path / "none.npy")


@pytest.mark.parametrize(("options", "message"), [
    ({"delays": "rows"}, "Delays must be none, column or row, not rows"),
    ({"delays": "row"}, "Delays of a row need a kernel (--conv KH,KW), which is not given"),
    ({"delays": "column", "conv": "3,3", "max_depth": 9},
     "A depth limit needs delays none: with delays there is no limit yet, not 9"),
    ({"in_bits": 0}, "Input bits must be from 1 to 32, not 0"),
    ({"in_bits": 33}, "Input bits must be from 1 to 32, not 33"),
    ({"objective": "luts"}, "Objective must be adders or bits, not luts"),
    ({"conv": "3"}, "Kernel must be two positive numbers KH,KW, not 3"),
    ({"conv": "3,0"}, "Kernel must be two positive numbers KH,KW, not 3,0"),
    ({"conv": "a,b"}, "Kernel must be two positive numbers KH,KW, not a,b"),
    ({"conv": "5,5"}, "Rows must be a multiple of 25 for a kernel of 5,5, not 27"),
    ({"max_depth": 2}, "Depth limit must be at least 6 for this matrix, not 2"),
    ({"seed": -1}, "Seed must be at least 0, not -1"),
    ({"seconds": -1.0}, "Seconds must be at least 0, not -1.0"),
])
def test_wrong_option(matrix_file, options, message):
    with pytest.raises(HwgenError) as caught:
        run(matrix_file, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(("delays", "inputs"), [("column", 9), ("row", 3)])
def test_delays(matrix_file, tmp_path, delays, inputs):
    target = tmp_path / "graph.v"
    result = run(matrix_file, conv="3,3", delays=delays, steps=100, verilog=target)
    assert list(result) == KEYS
    assert result["verified"] is True
    assert (result["inputs"], result["input_bits"]) == (inputs, 8 * inputs)
    assert result["ff_bits"] > 0
    assert (result["line_bits"] > 0) == (delays == "row") == ("parameter ROW" in target.read_text())
    ports = re.search(r"module adder_graph ?(?:#\(.*?\) )?\((.*?)\);", target.read_text(), re.S)
    assert ports is not None
    assert sorted(re.findall(r"\b(clk|en|x|y)\b", ports[1])) == ["clk", "en", "x", "y"]


def test_delays_pipelined(matrix_file):
    one, two = (run(matrix_file, conv="3,3", delays="column", steps=0, pipelined=pipelined)
                for pipelined in (False, True))
    assert (one["latency"], two["latency"]) == (0, two["depth"])
    assert two["ff_bits"] > one["ff_bits"]
