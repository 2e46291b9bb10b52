"""Make .venv with pinned versions and warm the tools up; needs only the standard library.

A stamp keeps a second call short: it holds a digest of what was asked for. A set-up that was
interrupted leaves its mark, and the next one starts the environment afresh rather than trust it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".hwgen-ready"
UNDER_WAY = VENV / ".hwgen-under-way"
PROGRAMS = {"g++": "a C++ compiler (package g++)", "make": "GNU make", "perl": "Perl"}


def fail(message: str) -> None:
    sys.exit(f"hwgen: {message}")


def wanted() -> str:
    """Digest of everything that decides what is installed."""
    digest = hashlib.sha256(sys.platform.encode())
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.py"):
        digest.update((ROOT / name).read_bytes())
    digest.update(os.fspath(ROOT).encode())         # an editable install names this folder
    return digest.hexdigest()


def is_ready() -> bool:
    return STAMP.is_file() and STAMP.read_text() == wanted() and not UNDER_WAY.exists()


def unsuitable() -> str | None:
    """Why the running Python will not do, or None."""
    if sys.version_info < (3, 11):  # noqa: UP036 (any Python may run this file)
        return "it is older than 3.11"
    try:
        import ensurepip  # noqa: F401 (its presence is the question)
        import venv  # noqa: F401
    except ImportError:
        return "its venv module is missing (package python3-venv)"
    library = sysconfig.get_config_var("LDLIBRARY") or ""
    folder = sysconfig.get_config_var("LIBDIR") or ""
    if sys.platform.startswith("linux") and not library.endswith(".so"):
        return f"it was built without a shared library ({library} in {folder}), which cocotb needs"
    return None


def progress(step: int, text: str) -> None:
    print(f"[{step}/4] {text}", flush=True)


def run_with_display(argv: list[str]) -> None:
    """Run a command; on a terminal its last line is shown in place, with the seconds gone by."""
    start = time.monotonic()
    shown = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 1
    kept: list[str] = []
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            kept.append(line)
            text = line.strip()
            if shown and text:
                seconds = f"      {time.monotonic() - start:4.0f} s  "
                print(f"\r\x1b[K{(seconds + text)[:width]}", end="", flush=True)
        code = process.wait()
    if shown:
        print("\r\x1b[K", end="")
    if code:
        sys.stderr.writelines(kept[-30:])
        fail(f"`{' '.join(argv[:6])} ...` failed with exit code {code}")
    print(f"      {time.monotonic() - start:.0f} s", flush=True)


def make_environment() -> Path:
    """The virtual environment's Python; made afresh after an interrupted set-up."""
    python = VENV / "bin" / "python"
    usable = python.exists() and not UNDER_WAY.exists() and subprocess.run(
        [str(python), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"],
        check=False, capture_output=True,
    ).returncode == 0
    if usable:
        progress(1, "using the virtual environment .venv")
    else:
        version = ".".join(map(str, sys.version_info[:3]))
        progress(1, f"making a virtual environment in .venv with Python {version}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    STAMP.unlink(missing_ok=True)
    UNDER_WAY.touch()
    return python


def set_up() -> None:
    reason = unsuitable()
    if reason is not None:
        fail(f"{sys.executable} cannot be used: {reason}")
    for name, what in PROGRAMS.items():
        if shutil.which(name) is None:
            fail(f"{name} was not found: install {what}")
    python = make_environment()
    count = sum(
        1 for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    progress(2, f"installing about {count} pinned packages, 2 GB on disk: a minute or more")
    run_with_display(
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
         "-c", "constraints.txt", "-e", ".[dev]"]
    )
    progress(3, "translating the synthesis tools to machine code, once a machine: a minute or two")
    run_with_display([str(python), "-c", "from hwgen import tools; tools.warm_up(print)"])
    UNDER_WAY.unlink()
    STAMP.write_text(wanted())
    progress(4, "ready: .venv/bin/hwgen --help")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 0 if nothing is to be done")
    parser.add_argument("--suitable", action="store_true", help="exit 0 if this Python will do")
    options = parser.parse_args()
    if options.check:
        sys.exit(not is_ready())
    if options.suitable:
        reason = unsuitable()
        if reason is not None:
            fail(f"{sys.executable} cannot be used: {reason}")
        return
    if not is_ready():
        try:
            set_up()
        except KeyboardInterrupt:
            print()
            sys.exit(130)


if __name__ == "__main__":
    main()
