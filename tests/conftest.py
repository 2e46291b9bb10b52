"""What every test may ask for: data, tools, and builds made once a run."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from hwgen import tools
from hwgen.errors import HwgenError

BuildOnce = Callable[[str, Callable[[Path], object]], Path]


def pytest_configure(config: pytest.Config) -> None:
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that starts us in the background has it ignored, in all that we start too; the
        # tests that interrupt a program would wait for ever.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        tools.verilator_environment()
    except HwgenError:
        pass                                # the tests that simulate ask for it by fixture


# ---------------------------------------------------------------------------------------------
# A skip is a failure where everything is meant to be there


def _is_forgiven(item: pytest.Item | pytest.Collector) -> bool:
    return any(item.get_closest_marker(name) for name in ("gpu", "peer"))


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: a skip is a failure here (HWGEN_CI is set): {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if os.environ.get("HWGEN_CI") and not _is_forgiven(item):
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if os.environ.get("HWGEN_CI") and not _is_forgiven(collector):
        _fail_if_skipped(report)
    return report


# ---------------------------------------------------------------------------------------------
# Fixtures


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def hwgen_data() -> Path:
    """The folder of benchmark data (mnist/, cifar10/, ...), named by HWGEN_DATA."""
    name = os.environ.get("HWGEN_DATA")
    if not name:
        pytest.skip("HWGEN_DATA is not set: it names the folder that holds mnist/, cifar10/, ...")
    folder = Path(name)
    assert folder.is_dir(), f"HWGEN_DATA must name a folder, not {name}"
    return folder.resolve()


@pytest.fixture(scope="session")
def verilator() -> dict[str, str]:
    """Verilator's environment; skips by name where a part of it is missing."""
    try:
        return tools.verilator_environment()
    except HwgenError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def icarus() -> str:
    """The path of ``iverilog``."""
    path = tools.find_icarus()
    if path is None:
        pytest.skip("iverilog was not found")
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; nothing of a browser is downloaded."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("chromium was not found")


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all tests of this run share, those of other xdist workers included."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "shared-builds"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def build_once(build_folder: Path) -> BuildOnce:
    """``build_once(name, make)``: the folder ``name``, filled by ``make(folder)`` once a run.

    A worker that comes second waits for the first. A ``make`` that raises leaves no mark, so the
    next test tries again.
    """

    def build(name: str, make: Callable[[Path], object]) -> Path:
        folder = build_folder / name
        folder.mkdir(parents=True, exist_ok=True)
        done = folder / ".built"
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return build
