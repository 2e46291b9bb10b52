"""One stage of a point, run by a worker: a process of its own, whole or not there at all.

    SWEEP/stages/.KEY.1a2b3c4d/     while it runs
    SWEEP/stages/KEY/               when it is done: what the verb wrote, log.txt, stage.json
    SWEEP/failed/KEY/               when it failed: the same as far as it came, log.txt

The rename comes last, so a folder under its key is complete, whenever the power went.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hwgen
from hwgen.errors import HwgenError
from hwgen.files import read_json, write_json

PROGRAM = (sys.executable, "-m", "hwgen.commands.child")
TOKEN = "sweep.id"            # the file that a worker must see
LOG_BYTES = 1 << 16           # of a log that go into the store: its end
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)       # from outside, not by its own fault
PATIENCE = 20.0               # seconds that a stage has to end in when it is told to


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of a stage.

    Parameters
    ----------
    key : str
    stage : str
        compress, rtl, synth or pnr.
    words : tuple of str
        The command line behind ``hwgen``, with ``{source}`` and ``{out}``.
    source : str or None
        Key of the stage before it.
    root, folder : str
        The sweep's folder, and where the command runs: absolute, the same on every worker.
    token, version : str
        What TOKEN holds; the program's version.
    seconds : float or None
        It may take so long.
    program : tuple of str
        What is run, with this process's number and the words behind it.
    """

    key: str
    stage: str
    words: tuple[str, ...]
    source: str | None
    root: str
    folder: str
    token: str
    version: str = hwgen.__version__
    seconds: float | None = None
    program: tuple[str, ...] = PROGRAM


@dataclass(frozen=True)
class Outcome:
    """How a stage ended.

    Parameters
    ----------
    key, stage : str
    figures : mapping
        What it found out, see :func:`figures_of`; {} if it failed.
    seconds : float
    worker : str
        Where it ran.
    error : str or None
        One line, of a stage that failed.
    log : str
        The end of its log, of a stage that failed.
    reused : bool
        It was there already.
    """

    key: str
    stage: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""
    error: str | None = None
    log: str = ""
    reused: bool = False


def finished(root: Path, key: str, stage: str) -> Outcome | None:
    """Return the outcome of a stage whose folder is there and whole, or None."""
    try:
        made = read_json(root / "stages" / key / "stage.json")
        return Outcome(key, stage, made["figures"], made["seconds"], made["worker"], reused=True)
    except (HwgenError, KeyError, TypeError):
        return None


def run_stage(job: Job) -> Outcome:
    """Run a stage, or find it done.

    Returns: the outcome; a command that fails is one too.
    Raises: HwgenError where the fault is not the stage's: no common folder, another version, a full
    disk, a command that was stopped from outside.
    """
    root = Path(job.root)
    _same_sweep(job, root)
    done = finished(root, job.key, job.stage)
    if done is not None:
        return done
    work = root / "stages" / f".{job.key}.{secrets.token_hex(4)}"
    shutil.rmtree(root / "stages" / job.key, ignore_errors=True)          # what a disk damaged
    try:
        work.mkdir(parents=True)
        return _run(job, root, work)
    except OSError as error:
        raise HwgenError(f"{job.key} on {socket.gethostname()}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _same_sweep(job: Job, root: Path) -> None:
    try:
        token = (root / TOKEN).read_text("utf-8")
    except OSError:
        token = ""
    if token != job.token:
        raise HwgenError(f"Every worker must see the folder {root} (a common file system); "
                         f"{socket.gethostname()} does not")
    if hwgen.__version__ != job.version:
        raise HwgenError(f"hwgen {job.version} needed on every worker; {socket.gethostname()} has "
                         f"{hwgen.__version__}")


def _run(job: Job, root: Path, work: Path) -> Outcome:
    source = None if job.source is None else root / "stages" / job.source
    if source is not None and job.stage in ("synth", "pnr"):
        shutil.copytree(source, work, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("stage.json", "log.txt"))
    words = [word.replace("{source}", str(source)).replace("{out}", str(work))
             for word in job.words]
    start = time.monotonic()
    code = _execute(job, words, work / "log.txt")
    seconds = round(time.monotonic() - start, 2)
    if code in STOPPED:
        raise HwgenError(f"{job.key} was stopped from outside; the same command goes on")
    error: str | None = None
    figures: dict[str, Any] = {}
    if code == 0:
        try:
            figures = figures_of(job.stage, work)
        except (HwgenError, KeyError, TypeError, AttributeError) as wrong:
            error = f"hwgen {job.stage} wrote no figures: {wrong}"
    else:
        error = _reason(code, job, work / "log.txt")
    if error is not None:
        return _failed(job, root, work, seconds, error)
    write_json(work / "stage.json", {
        "key": job.key, "stage": job.stage, "command": shlex.join(["hwgen", *job.words]),
        "figures": figures, "seconds": seconds, "worker": worker_name(),
    })
    try:
        work.rename(root / "stages" / job.key)
    except OSError:
        # Another worker was quicker: a scheduler that loses sight of a worker starts again.
        done = finished(root, job.key, job.stage)
        if done is None:
            raise
        return done
    return Outcome(job.key, job.stage, figures, seconds, worker_name())


def _execute(job: Job, words: list[str], log: Path) -> int | None:
    """Run the command; everything it says goes to the log. None: it took too long."""
    with open(log, "wb") as file:
        file.write(f"$ {shlex.join(['hwgen', *words])}\n".encode())
        file.flush()
        # A session of its own: Ctrl-C in the terminal is the sweep's, not the stage's.
        process = subprocess.Popen(
            [*job.program, str(os.getpid()), *words], cwd=job.folder, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            return process.wait(job.seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _reason(code: int | None, job: Job, log: Path) -> str:
    if code is None:
        return f"took longer than {(job.seconds or 0) / 60:g} minutes"
    if code < 0:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    lines = [line for line in _tail(log).splitlines() if line.startswith("hwgen: ")]
    return lines[-1].removeprefix("hwgen: ") if lines else f"exit code {code}"


def _tail(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, os.path.getsize(log) - LOG_BYTES))
        return file.read().decode("utf-8", "replace")


def _failed(job: Job, root: Path, work: Path, seconds: float, error: str) -> Outcome:
    log = _tail(work / "log.txt")
    kept = root / "failed" / job.key
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    work.rename(kept)
    return Outcome(job.key, job.stage, {}, seconds, worker_name(), error, log)


def worker_name() -> str:
    """Return where this runs: host and, in a dask worker, its address."""
    try:
        from distributed import get_worker

        return str(get_worker().address)
    except (ImportError, ValueError):
        return socket.gethostname()


def figures_of(stage: str, folder: Path) -> dict[str, Any]:
    """Return what a finished stage found out, from the JSON files of its verb.

    compress: digest, accuracy_float, accuracy_integer (shares), images, adders, digits, nonzeros,
    macs (sums over the layers); rtl: cycles, latency, and lut, ff, bram by the plan's estimate,
    None where it makes none; synth and pnr: lut, ff, bram, dsp, mul_cells, fmax_mhz.
    Raises: HwgenError if the file is missing or broken; KeyError if an entry is.
    """
    if stage == "compress":
        made = read_json(folder / "compress.json")
        layers = made["layers"]
        return {
            **{name: made[name]
               for name in ("digest", "accuracy_float", "accuracy_integer", "images")},
            **{name: sum(layer[name] for layer in layers)
               for name in ("adders", "digits", "nonzeros", "macs")},
        }
    if stage == "rtl":
        plan = read_json(folder / "plan.json")
        size = plan.get("estimate") or {}
        return {"cycles": plan["interval"], "latency": plan["latency"], "lut_from": "estimate",
                **{name: size.get(name) for name in ("lut", "ff", "bram")}}
    made = read_json(folder / "synth.json")
    return {"lut_from": stage,
            **{name: made[name]
               for name in ("lut", "ff", "bram", "dsp", "mul_cells", "fmax_mhz")}}

