"""The shape of a task's blocks: all that fit the buffers are tried, the fastest is taken.

The time of a shape is that of its jobs one behind the other: a job takes as long as its COMPUTE, or
as the loads of the next one and the store of the one before, whichever is more. The few best by
that are timed exactly, behind the tasks before: so the wait for what those still store counts too.
"""

from __future__ import annotations

from collections.abc import Iterator

from hwgen.nfu.compiler.jobs import JobMaker
from hwgen.nfu.compiler.pieces import Blob, Shape
from hwgen.nfu.compiler.schedule import Scheduler, place_job, rings
from hwgen.nfu.config import Config

COMPUTE_EXTRA = 8             # cycles between the pixels of two COMPUTEs, about
LOAD_EXTRA = 24               # of a LOAD or STORE beyond its words: its instruction too
MAX_JOBS = 60_000             # of one task
CANDIDATES = 12               # shapes that are timed exactly


def best_shapes(maker: JobMaker, before: Scheduler) -> list[Shape]:
    """Return the best shapes of a task that follows what is scheduled already, the fastest first.

    Raises: HwgenError naming the layer if none fits the buffers.
    """
    found = list(shapes(maker))
    least = {shape: least_time(maker, shape) for shape in found}
    times: dict[Shape, int] = {}
    worst = 0                                   # of the CANDIDATES best so far
    for shape in sorted(found, key=lambda shape: least[shape]):
        if len(times) >= CANDIDATES and least[shape] >= worst:
            break                               # and so are all that follow
        cycles = time_of(maker, shape, worst if len(times) >= CANDIDATES else None)
        if cycles is not None:
            times[shape] = cycles
            worst = sorted(times.values())[min(CANDIDATES, len(times)) - 1]
    if not times:
        config = maker.config
        raise maker.arranged.task.terms[0].layer.error(
            "kernel", f"a window that fits {config.nbin_lines} lines of NBin", "a larger one")
    best = sorted(times, key=lambda shape: times[shape])[:CANDIDATES]
    return sorted(best, key=lambda shape: (exact_time(maker, shape, before), times[shape]))


def exact_time(maker: JobMaker, shape: Shape, before: Scheduler) -> int:
    """Return when a task of this shape is done, by the hardware's clock."""
    schedule = before.fork()
    schedule.add(list(maker.jobs(shape)))
    return schedule.finished()


def counts(total: int) -> list[int]:
    """Return the sizes that cut ``total`` into 1, 2, 3, ... parts as even as can be."""
    return sorted({-(-total // parts) for parts in range(1, total + 1)}, reverse=True)


def shapes(maker: JobMaker) -> Iterator[Shape]:
    """Yield the shapes that fit the buffers, those with few jobs first."""
    task, views, config = maker.arranged.task, maker.arranged.views, maker.config
    tiles = max(view.tiles for view in views)
    height, width = task.tensor.height, task.tensor.width
    one_pixel = maker.classes is not None and len(maker.arranged.tiles) > 1
    for rows in [1] if one_pixel else counts(height):
        for columns in [1] if one_pixel else counts(width):
            if rows * columns > config.nbout_lines or (rows > 1 and columns < min(width, 4)):
                continue
            seen: set[int] = set()
            for size in counts(tiles):
                shape = Shape(rows, columns, size)
                if not fits(maker, shape):
                    continue
                seen.add(size)
                yield shape
                filters = len(maker.arranged.tiles)
                if size < tiles and filters > 1 and (
                        filters * rows * columns <= config.nbout_lines):
                    yield Shape(rows, columns, size, chunks_outside=True)
                if len(seen) >= 4:
                    break


def least_time(maker: JobMaker, shape: Shape) -> int:
    """Return cycles that a shape takes at least: those of all COMPUTEs."""
    arranged, config = maker.arranged, maker.config
    tensor = arranged.task.tensor
    pixels = tensor.height * tensor.width
    blocks = -(-tensor.height // shape.rows) * -(-tensor.width // shape.columns)
    total = 0
    for tile in range(len(arranged.tiles)):
        chunks = maker.chunks(tile, shape.tiles)
        total += blocks * len(chunks) * COMPUTE_EXTRA
        total += pixels * sum(len(chunk.steps) for chunk in chunks[:-1])
        total += pixels * max(len(chunks[-1].steps), config.groups)
    return total


def fits(maker: JobMaker, shape: Shape) -> bool:
    """Tell whether a block's pixels fit NBin."""
    for n, view in enumerate(maker.arranged.views):
        rows, columns = maker.loaded(shape, n)
        if min(shape.tiles, view.tiles) * rows * columns > maker.config.nbin_lines:
            return False
    return True


def words_of(blob: Blob, config: Config) -> int:
    """Memory words of a blob."""
    return -(-len(blob.data) // config.word_bytes)


def time_of(maker: JobMaker, shape: Shape, limit: int | None) -> int | None:
    """Return the cycles of a shape; None if they pass the limit or a buffer is too small."""
    config = maker.config
    buffers = rings(config)
    total, running, storing = 0, 0, 0
    for count, job in enumerate(maker.jobs(shape)):
        loads, spans = place_job(job, buffers, config)
        loading = sum(
            LOAD_EXTRA + (words_of(load.source, config) if isinstance(load.source, Blob)
                          else load.source.words) for load in loads)
        total += max(running, loading + storing)
        running = job.work + COMPUTE_EXTRA
        storing = job.store.words + LOAD_EXTRA if job.store else 0
        if limit is not None and total >= limit or count > MAX_JOBS:
            return None
        if any(span[1] > buffers[buffer].size for buffer, span in spans.items()):
            return None
    return total + running + storing
