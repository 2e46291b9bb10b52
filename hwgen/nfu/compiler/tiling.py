"""The shape of a task's blocks: all that fit the buffers are tried, the fastest is taken.

The time of a shape is that of its jobs one behind the other: a job takes as long as its COMPUTE, or
as the loads of the next one and the store of the one before, whichever is more.
"""

from __future__ import annotations

from collections.abc import Iterator

from hwgen.errors import HwgenError
from hwgen.nfu.compiler.jobs import Blob, JobMaker, Shape
from hwgen.nfu.compiler.schedule import place_job, rings
from hwgen.nfu.config import Config

COMPUTE_EXTRA = 24            # cycles of a COMPUTE beyond its pixels: the pipeline's length, about
LOAD_EXTRA = 24               # of a LOAD or STORE beyond its words: its instruction too
MAX_JOBS = 60_000             # of one task


def best_shape(maker: JobMaker) -> Shape:
    """Return the fastest shape of a task.

    Raises: HwgenError naming the layer if none fits the buffers.
    """
    best: tuple[int, Shape] | None = None
    for shape in shapes(maker):
        cycles = time_of(maker, shape, None if best is None else best[0])
        if cycles is not None and (best is None or cycles < best[0]):
            best = cycles, shape
    if best is None:
        config = maker.config
        raise maker.arranged.task.terms[0].layer.error(
            "kernel", f"a window that fits {config.nbin_lines} lines of NBin", "a larger one")
    return best[1]


def counts(total: int) -> list[int]:
    """Return the sizes that cut ``total`` into 1, 2, 3, ... parts as even as can be."""
    return sorted({-(-total // parts) for parts in range(1, total + 1)}, reverse=True)


def shapes(maker: JobMaker) -> Iterator[Shape]:
    """Yield the shapes that fit the buffers, those with few jobs first."""
    task, views, config = maker.arranged.task, maker.arranged.views, maker.config
    tiles = max(part.tiles for view in views for part in view.parts)
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


def fits(maker: JobMaker, shape: Shape) -> bool:
    """Tell whether a block's pixels fit NBin."""
    for n, view in enumerate(maker.arranged.views):
        for part in view.parts:
            rows, columns = maker.loaded(shape, n, part)
            if min(shape.tiles, part.tiles) * rows * columns > maker.config.nbin_lines:
                return False
    return True


def words_of(blob: Blob, config: Config) -> int:
    """Memory words of a blob."""
    return -(-len(blob.data) // config.word_bytes)


def time_of(maker: JobMaker, shape: Shape, limit: int | None) -> int | None:
    """Return the cycles of a shape; None once they pass the limit."""
    config = maker.config
    buffers = rings(config)
    total, running, storing = 0, 0, 0
    try:
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
    except HwgenError:
        return None
    return total + running + storing
