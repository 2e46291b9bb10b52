"""The process that leads a sweep: it hands stages to dask, and writes what comes back.

A stage is one task. Which stage a point needs next is known when the one before it is done (two
methods may have ended in the same network), so tasks are submitted as the sweep goes.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_atomic
from hwgen.progress import Progress, silent
from hwgen.sweep import stages
from hwgen.sweep.points import STAGES, Point
from hwgen.sweep.space import Space
from hwgen.sweep.stages import Job, Outcome, run_stage
from hwgen.sweep.store import Store, only_one

if TYPE_CHECKING:
    from distributed import Client

STORE = "results.sqlite"
PATIENCE = 60.0               # seconds to wait for the first worker
WATCH = 5.0                   # seconds from one look for workers to the next
CLOSING = 30.0                # seconds that a cluster has to end in


@dataclass
class Tally:
    """What one run of a sweep did.

    Parameters
    ----------
    points, done, failed, kept : int
        Of the space; of them finished well and not; finished by an earlier run.
    ran, reused : Counter
        Stages by name: run now, found done by an earlier run.
    """

    points: int = 0
    done: int = 0
    failed: int = 0
    kept: int = 0
    ran: Counter[str] = field(default_factory=Counter)
    reused: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def run_sweep(
    space: Space,
    out: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    program: tuple[str, ...] = stages.PROGRAM,
    progress: Progress = silent,
) -> Tally:
    """Bring every point of a space to its end, and write each into ``out/results.sqlite``.

    Parameters
    ----------
    space : Space
    out : Path
        The sweep's folder. What an earlier run left there is kept, finished points and finished
        stages, also if that run was killed.
    workers : int, optional
        Processes of the local cluster; default one a processor core.
    scheduler : str, optional
        Address of a dask scheduler in its place; its workers must see ``out`` under the same path.
    retry : bool
        Failed points of earlier runs are tried again.
    program : tuple of str
        See ``stages.Job``.

    Returns: the tally. Points that fail are counted and stored, not raised.
    Raises: HwgenError if another sweep holds the folder, the store is broken, no worker comes, or
    a worker's machine is at fault.
    """
    start = time.monotonic()
    root = make_folder(out).resolve()
    with only_one(root), Store(root / STORE) as store:
        token = _token(root)
        rows = store.rows()
        known = {key for key, row in rows.items() if row["status"] == "done" or not retry}
        open_points = [point for point in space.points if point.key not in known]
        lead = _Lead(space, root, token, store, program, progress)
        lead.tally.points = len(space.points)
        for point in space.points:
            if point.key in known:
                lead.tally.kept += 1
                lead.count(rows[point.key]["status"])
        lead.begin(open_points)
        if lead.ready:
            with _client(root, workers, scheduler) as client:
                lead.run(client)
    lead.tally.seconds = round(time.monotonic() - start, 2)
    return lead.tally


def _token(root: Path) -> str:
    """Return what the workers recognise the folder by; made once."""
    path = root / stages.TOKEN
    if not path.is_file():
        write_atomic(path, secrets.token_hex(16))
    return path.read_text("utf-8")


@contextmanager
def _client(root: Path, workers: int | None, scheduler: str | None) -> Iterator[Client]:
    """Connect to a scheduler, or start a local cluster of single-threaded workers."""
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=PATIENCE / 4, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            raise HwgenError(f"--scheduler {scheduler}: no dask scheduler answers "
                             f"({error or type(error).__name__})") from error
        with client:
            try:
                client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                raise HwgenError(f"--scheduler {scheduler}: a worker needed, there is none "
                                 f"after {PATIENCE:g} s") from None
            yield client
        return
    for left in (root / "stages").glob(".*"):          # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    scratch = root / ".dask"
    shutil.rmtree(scratch, ignore_errors=True)
    # Ctrl-C in the terminal is for this process alone; the workers inherit that they ignore it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1",
            dashboard_address="127.0.0.1:0", memory_limit=0, local_directory=str(scratch),
            silence_logs=logging.CRITICAL,
            scheduler_kwargs={"allowed_failures": 0, "dashboard": False},
        )
    except (OSError, RuntimeError) as error:
        raise HwgenError(f"The local cluster did not start: {error}") from error
    finally:
        signal.signal(signal.SIGINT, before)
    client = Client(cluster, set_as_default=False)
    try:
        yield client
    finally:
        # A worker that is just starting has kept a cluster from ending; its process ends with ours.
        for part in (client, cluster):
            with suppress(TimeoutError):
                part.close(timeout=CLOSING)
        shutil.rmtree(scratch, ignore_errors=True)


def _next(queue: Any, client: Client) -> Any:
    """Wait for the next task to end, and see now and then whether there is anybody left to do it.

    Raises: HwgenError if there has been no worker for a while.
    """
    last, look = time.monotonic(), time.monotonic() + WATCH
    while not queue.has_ready():
        with queue.thread_condition:
            queue.thread_condition.wait(0.1)
        now = time.monotonic()
        if now > look:
            look = now + WATCH
            if client.nthreads():
                last = now
            elif now - last > 2 * PATIENCE:
                raise HwgenError("No worker is left; the same command goes on")
    return next(queue)


class _Lead:
    """Where the sweep stands.

    Parameters: space; root, the sweep's folder; token; store; program; tell, the progress.
    ``ready`` holds stages that can be handed out.
    """

    def __init__(self, space: Space, root: Path, token: str, store: Store,
                 program: tuple[str, ...], tell: Progress) -> None:
        self._space, self._root, self._token = space, root, token
        self._store, self._program, self._tell = store, program, tell
        self._outcomes: dict[str, Outcome] = {}
        self._waiting: dict[str, list[Point]] = {}
        self._jobs: dict[str, Job] = {}
        self._suspects: set[str] = set()
        self._doubted: list[Job] = []
        self.ready: list[Job] = []
        self.tally = Tally()

    def begin(self, points: Sequence[Point]) -> None:
        """Take points up: those whose stages were all done by an earlier run are finished now."""
        for point in points:
            self._advance(point)
        self._show()

    def run(self, client: Client) -> None:
        """Bring the points to their end."""
        self._drain(client)
        while self._doubted:
            self.ready.append(self._doubted.pop(0))
            self._drain(client)

    def _drain(self, client: Client) -> None:
        """Hand out what is ready, and go on with the points that wait for it, until none is left.
        """
        from distributed import as_completed

        queue = as_completed(loop=client.loop)
        self._submit(client, queue)
        while not queue.is_empty():
            future = _next(queue, client)
            outcome = self._outcome(future)
            if outcome is None:
                continue
            self._outcomes[outcome.key] = outcome
            (self.tally.reused if outcome.reused else self.tally.ran)[outcome.stage] += 1
            for point in self._waiting.pop(outcome.key):
                self._advance(point)
            future.release()
            self._submit(client, queue)
            self._show()

    def _submit(self, client: Client, queue: Any) -> None:
        for job in self.ready:
            again = "-alone" if job.key in self._suspects else ""
            # The later stage first: points are finished before others are begun.
            future = client.submit(run_stage, job, key=f"{self._token}-{job.key}{again}",
                                   pure=False, priority=STAGES.index(job.stage))
            self._jobs[future.key] = job
            queue.add(future)
        self.ready.clear()

    def _outcome(self, future: Any) -> Outcome | None:
        """Return what became of a task; None: it is tried again.

        With a worker that dies dask gives up all tasks that it had been handed, those too that had
        not begun. So each of them is run once more with no other beside it.
        """
        from distributed.scheduler import KilledWorker

        job = self._jobs[future.key]
        if future.status == "finished":
            outcome: Outcome = future.result()
            return outcome
        if future.status != "error":
            raise HwgenError("The dask scheduler was lost; the same command goes on")
        error = future.exception()
        if isinstance(error, KilledWorker):
            if job.key not in self._suspects:
                self._suspects.add(job.key)
                self._doubted.append(job)
                return None
            return Outcome(job.key, job.stage, log=str(error),
                           error="each worker that took it up died")
        if isinstance(error, HwgenError):
            raise error
        raise HwgenError(f"A worker cannot run {job.key}: {type(error).__name__}: {error}")

    def _advance(self, point: Point) -> None:
        """Go on with a point as far as its stages are done."""
        figures: dict[str, Any] = {}
        seconds, workers, before, source = 0.0, [], "", None
        for stage in point.stages:
            key = point.stage_key(stage, before)
            outcome = self._outcomes.get(key)
            if outcome is None and key not in self._waiting:
                outcome = stages.finished(self._root, key, stage)
                if outcome is not None:
                    self._outcomes[key] = outcome
                    self.tally.reused[stage] += 1
            if outcome is None:
                if key not in self._waiting:
                    self._waiting[key] = []
                    self.ready.append(self._job(point, stage, key, source))
                self._waiting[key].append(point)
                return
            seconds += outcome.seconds
            workers.append(outcome.worker)
            if outcome.error is not None:
                self._store.put(point, figures=figures, seconds=seconds,
                                workers=" ".join(dict.fromkeys(workers)), failed_stage=stage,
                                error=outcome.error, log=outcome.log)
                self.count("failed")
                return
            figures |= outcome.figures
            before = figures["digest"] if stage == "compress" else key
            source = key
        self._store.put(point, figures=figures, seconds=seconds,
                        workers=" ".join(dict.fromkeys(workers)))
        self.count("done")

    def _job(self, point: Point, stage: str, key: str, source: str | None) -> Job:
        minutes = self._space.minutes
        return Job(key, stage, point.words(stage), source, str(self._root),
                   str(self._space.folder), self._token, program=self._program,
                   seconds=None if minutes is None else 60.0 * minutes)

    def count(self, status: str) -> None:
        """Count a point that is finished."""
        if status == "done":
            self.tally.done += 1
        else:
            self.tally.failed += 1

    def _show(self) -> None:
        tally = self.tally
        running = Counter(key.partition("-")[0] for key in self._waiting)
        words = [f"{running[stage]} {stage}" for stage in STAGES if running[stage]]
        text = "points; open: " + (", ".join(words) or "nothing")
        if tally.failed:
            text += f"; {tally.failed} failed"
        with suppress(OSError):
            self._tell(text, tally.done + tally.failed, tally.points)
