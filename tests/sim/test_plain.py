"""The test bench without Python: it passes the design as it is, and fails one that was spoilt."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.integrate.files import write_files
from hwgen.layers import Int64Array
from hwgen.sim import golden
from hwgen.sim.plain import write_bench
from hwgen.sim.vectors import random_images
from tests.conftest import BuildOnce
from tests.sim.small_design import small_network, write_small


@pytest.fixture(scope="module")
def design(build_once: BuildOnce) -> Path:
    """The folder of a small design with its bench."""

    def make(folder: Path) -> None:
        write_small(folder, "rom")
        write_bench(folder)
        write_files(folder, read_json(folder / "ports.json"))

    return build_once("plain-bench", make)


@pytest.fixture
def copy(design: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(design, tmp_path / "design"))


def icarus_runs(folder: Path, *plusargs: str) -> tuple[int, str]:
    """Build and run as the head of the bench says; exit code and output."""
    tb = folder / "tb"
    subprocess.run(
        ["iverilog", "-g2012", "-o", "top_tb.vvp", "top_tb.v", "../top.v"], cwd=tb, check=True
    )
    done = subprocess.run(
        ["vvp", "top_tb.vvp", *plusargs], cwd=tb, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("plusargs", [(), ("+pause=90",), ("+pause=200", "+seed=7")])
def test_passes(design: Path, tmp_path: Path, icarus: str, plusargs: tuple[str, ...]) -> None:
    folder = Path(shutil.copytree(design, tmp_path / "design"))
    code, out = icarus_runs(folder, *plusargs)
    assert (code, out.splitlines()[-1]) == (0, "PASS: 8 images, 8 results equal")


def test_expected_results_are_the_golden_models(design: Path) -> None:
    """The class lies in the lowest bits, see ports.json."""
    network = small_network()
    classes = golden.classes(network, random_images(network, 8, 0))
    width = read_json(design / "ports.json")["output"]["fields"][0]["width"]
    lines = (design / "tb" / "expected.hex").read_text().split()
    found: Int64Array = np.array([int(line, 16) & ((1 << width) - 1) for line in lines])
    assert found.tolist() == classes.tolist()


def test_wrong_sign_in_the_design_fails(copy: Path, icarus: str) -> None:
    text = (copy / "top.v").read_text()
    sums = list(re.finditer(r"(?<=[\w\])}]) - (?=[{\\$\w])", text))
    assert sums
    spoilt = sums[0]
    (copy / "top.v").write_text(f"{text[:spoilt.start()]} + {text[spoilt.end():]}")
    code, out = icarus_runs(copy)
    assert code != 0
    assert re.match(r"FAIL: image \d, beat 0: expected [0-9a-f]+, got [0-9a-f]+, tlast 1\n", out)


def test_wrong_expected_result_fails(copy: Path, icarus: str) -> None:
    path = copy / "tb" / "expected.hex"
    lines = path.read_text().splitlines()
    lines[5] = f"{int(lines[5], 16) ^ 1:0{len(lines[5])}x}"
    path.write_text("\n".join(lines) + "\n")
    code, out = icarus_runs(copy)
    assert code != 0
    assert "FAIL: image 5, beat 0: " in out


def test_result_that_never_comes_fails(copy: Path, icarus: str) -> None:
    bench = copy / "tb" / "top_tb.v"
    text = bench.read_text()
    held = text.replace(".s_axis_tvalid(tvalid)", ".s_axis_tvalid(tvalid && sent != 40)")
    assert held != text
    taken = "if (tvalid && s_tready"
    bench.write_text(held.replace(f"{taken})", f"{taken} && sent != 40)"))
    code, out = icarus_runs(copy)
    assert code != 0
    assert "FAIL: 1 of 8 results came" in out


def test_missing_vectors_fail(copy: Path, icarus: str) -> None:
    (copy / "tb" / "stimulus.hex").unlink()
    code, out = icarus_runs(copy)
    assert code != 0
    assert "FAIL: stimulus.hex and expected.hex of 8 images needed in ." in out


def test_same_bytes(design: Path, copy: Path) -> None:
    write_bench(copy)
    for name in ("top_tb.v", "stimulus.hex", "expected.hex"):
        assert (copy / "tb" / name).read_bytes() == (design / "tb" / name).read_bytes()


def test_fusesoc_runs_the_bench(copy: Path, tmp_path: Path, icarus: str) -> None:
    """FuseSoC's own reading of the core file: it finds the block, builds it and runs its bench."""
    digest = read_json(copy / "ports.json")["digest"][:12]
    version = read_json(copy / "ports.json")["version"]
    (work := tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "fusesoc.main", "--cores-root", str(copy), "run", "--target=sim",
         f"::hwgen_stream_{digest}:{version}"],
        cwd=work, capture_output=True, text=True, check=False, env=_environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "PASS: 8 images, 8 results equal" in done.stdout + done.stderr


def _environment(home: Path) -> dict[str, str]:
    scripts = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "HOME": str(home),
            "XDG_CONFIG_HOME": str(home)}


def test_no_image_refused(copy: Path) -> None:
    with pytest.raises(HwgenError, match=r"^At least one image needed for the test bench, not 0$"):
        write_bench(copy, images=0)
