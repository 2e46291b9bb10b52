"""Jobs to instructions: what lies where in the buffers, and who waits for whom.

Every buffer is a ring: a job's data goes behind that of the job before, and over what is oldest. So
while a COMPUTE runs the next job is loaded beside it, and what is still there is not loaded again::

    LOAD j+1 ... | COMPUTE j+1 | STORE j | LOAD j+2 ... | COMPUTE j+2 | STORE j+1 | ...

Data are loaded further ahead too, for one of the next jobs, while the array is busy anyway: if a
buffer has room that no job in between needs, if pixels are stored already, and if the next COMPUTE
does not start later for it.

An instruction waits only where it must: a COMPUTE for its LOADs; a LOAD for the COMPUTE whose data
it goes over, and for the STORE of what it reads; a COMPUTE for the STORE of the lines it goes over.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hwgen.nfu import isa
from hwgen.nfu.clock import Clock
from hwgen.nfu.compiler.pieces import Blob, Job, Piece
from hwgen.nfu.config import MOST_LINES, Config
from hwgen.nfu.isa import Buffer, Instruction, Op

AHEAD = 48                    # jobs whose data may be loaded ahead
Span = tuple[int, int]        # first line, line behind the last one


def overlap(one: Span, other: Span) -> bool:
    """Tell whether two spans share a line."""
    return one[0] < other[1] and other[0] < one[1]


@dataclass(eq=False)
class Ring:
    """A buffer that is filled round and round. Parameters: size in lines."""

    size: int
    place: int = 0
    held: dict[Hashable, Span] = field(default_factory=dict)

    def find(self, key: Hashable, lines: int) -> tuple[Span, bool]:
        """Return where ``lines`` lines are, and whether they have to be loaded there."""
        if key in self.held:
            return self.held[key], False
        span = self.next_span(lines)
        self.held = {old: where for old, where in self.held.items() if not overlap(where, span)}
        self.held[key] = span
        self.place = span[1]
        return span, True

    def next_span(self, lines: int) -> Span:
        """Return where the next ``lines`` lines will be."""
        start = 0 if self.place + lines > self.size else self.place
        return start, start + lines


@dataclass(eq=False)
class Shelf(Ring):
    """A buffer that holds all of its data from the start: nothing is loaded."""

    def find(self, key: Hashable, lines: int) -> tuple[Span, bool]:
        """Return where ``lines`` lines are: behind all others, when they are asked for first."""
        if key not in self.held:
            self.held[key] = self.place, self.place + lines
            self.place += lines
        return self.held[key], False


def rings(config: Config) -> dict[Buffer | None, Ring]:
    """Return the empty buffers of an NFU; None is NBout."""
    weights = Shelf(MOST_LINES) if config.streamed else Ring(config.sb_lines)
    return {Buffer.NBIN: Ring(config.nbin_lines), Buffer.SB: weights,
            Buffer.TAPS: Ring(config.tap_count), Buffer.PARAMETERS: Ring(config.par_lines),
            Buffer.TABLE: Ring(isa.SEGMENTS), None: Ring(config.nbout_lines)}


@dataclass(eq=False)
class Load:
    """A LOAD to come. Parameters: buffer, span there, what from: a piece or a blob."""

    buffer: Buffer
    span: Span
    source: Piece | Blob


def lines_of(blob: Blob, config: Config) -> int:
    """Return the lines of a buffer that a blob takes."""
    if blob.buffer is Buffer.TAPS:                     # whole words
        return -(-blob.lines // config.taps_in_word) * config.taps_in_word
    return blob.lines


def place_job(job: Job, buffers: dict[Buffer | None, Ring],
              config: Config) -> tuple[list[Load], dict[Buffer | None, Span]]:
    """Return the loads a job needs and where all of its data lie, NBout (None) among them."""
    loads: list[Load] = []
    spans: dict[Buffer | None, Span] = {}
    for buffer, blob in job.blobs.items():
        span, missing = buffers[buffer].find(id(blob), lines_of(blob, config))
        spans[buffer] = span
        if missing:
            loads.append(Load(buffer, span, blob))
    if job.pixels:
        key = tuple(piece.key for piece in job.pixels)
        span, missing = buffers[Buffer.NBIN].find(key, job.words)
        spans[Buffer.NBIN] = span
        line = span[0]
        for piece in job.pixels if missing else ():
            loads.append(Load(Buffer.NBIN, (line, line + piece.words), piece))
            line += piece.words
    spans[None], _ = buffers[None].find(job.out_key, job.out_lines)
    return loads, spans


@dataclass(eq=False)
class Scheduler:
    """Turns jobs into instructions whose addresses are still Pieces and Blobs (see ``Program``).

    Parameters: config. ``code`` is what has been made so far: (instruction, source or target).
    """

    config: Config
    code: list[tuple[Instruction, Piece | Blob | None]] = field(default_factory=list)
    _buffers: dict[Buffer | None, Ring] = field(init=False)
    clock: Clock = field(init=False)
    _running: dict[Buffer | None, Span] = field(default_factory=dict)   # of the last COMPUTE
    _pending: tuple[Piece, Span] | None = None         # the last COMPUTE's store, not yet begun
    _storing: tuple[Piece, Span] | None = None         # the last STORE, perhaps still under way
    _loading: Load | None = None                       # the last LOAD, if no COMPUTE waited for it

    def __post_init__(self) -> None:
        self._buffers = rings(self.config)
        self.clock = Clock(self.config)

    def fork(self) -> Scheduler:
        """Return one that goes on from here, and leaves this one alone; its code is its own."""
        other = Scheduler(self.config)
        other._buffers = {name: replace(ring, held=dict(ring.held))
                          for name, ring in self._buffers.items()}
        other.clock = replace(self.clock)
        other._running, other._pending, other._storing = (
            self._running, self._pending, self._storing)
        other._loading = self._loading
        return other

    def weights(self, jobs: Iterable[Job]) -> bytes:
        """Return the lines of SB that are there from the start, for these jobs."""
        shelf = self._buffers[Buffer.SB]
        if not isinstance(shelf, Shelf):
            return b""
        size = self.config.sb_words * self.config.word_bytes
        lines = bytearray(shelf.place * size)
        for job in jobs:
            blob = job.blobs.get(Buffer.SB)
            if blob is not None:
                first, last = shelf.held[id(blob)]
                lines[first * size : last * size] = blob.data
        return bytes(lines)

    def finished(self) -> int:
        """Return when everything so far would be done and stored."""
        other = self.fork()
        other._store(wait=True)
        return max(other.clock.compute_free, other.clock.store_free)

    def _put(self, op: Op, values: dict[str, int], what: Piece | Blob | None = None) -> None:
        if what is not None:
            values = {**values, **geometry(what, self.config)}
        instruction = Instruction(op, values)
        self.clock.step(instruction)
        self.code.append((instruction, what))

    def add(self, jobs: Sequence[Job], starts: Iterable[int] = ()) -> list[int]:
        """Append jobs; return the instructions with which those numbered ``starts`` begin."""
        wanted, found = set(starts), []
        for n, job in enumerate(jobs):
            if n in wanted:
                found.append(len(self.code))
            self._job(job, jobs[n + 1 : n + 1 + AHEAD])
        return found

    def end(self) -> None:
        """Append the last store and the END."""
        self._store(wait=True)
        self._put(Op.END, {"wait_load": 1, "wait_compute": 1, "wait_store": 1})

    def _job(self, job: Job, upcoming: Sequence[Job]) -> None:
        loads, spans = place_job(job, self._buffers, self.config)
        for load in loads:
            self._load(load)
        values = {**job.fields,
                  "par_line": spans.get(Buffer.PARAMETERS, (0, 0))[0],
                  "sb_line": spans.get(Buffer.SB, (0, 0))[0],
                  "tap_line": spans.get(Buffer.TAPS, (0, 0))[0],
                  "out_line": spans[None][0],
                  "in_line": job.fields.get("in_line", 0) + spans.get(
                      Buffer.NBIN, (0, 0))[0] & 0xFFFF}
        if self._pending and overlap(self._pending[1], spans[None]):
            self._store(wait=True)
        if self._storing and overlap(self._storing[1], spans[None]):
            values["wait_store"] = 1
            self._storing = None
        self._ahead(Instruction(Op.COMPUTE, values), job, spans, upcoming)
        last = self._loading
        if last is not None and last.buffer in spans and overlap(last.span, spans[last.buffer]):
            values["wait_load"] = 1
            self._loading = None
        self._put(Op.COMPUTE, values)
        # Only now is the COMPUTE before surely done, and what it made can be stored.
        self._store(wait=False)
        self._running = spans
        self._pending = (job.store, spans[None]) if job.store is not None else None

    def _ahead(self, compute: Instruction, job: Job, spans: dict[Buffer | None, Span],
               upcoming: Sequence[Job]) -> None:
        """Load what later jobs need for as long as this COMPUTE does not start later for it."""
        without = replace(self.clock)
        without.step(compute)
        needed = {buffer: [part[buffer] for part in (self._running, spans) if buffer in part]
                  for buffer in Buffer}
        stores = [job.store] if job.store is not None else []
        if self._pending is not None:
            stores.append(self._pending[0])
        full: set[Buffer] = set()
        for later in upcoming:
            for buffer, key, sources, lines in self._wanted(later):
                ring = self._buffers[buffer]
                if key in ring.held:
                    needed[buffer].append(ring.held[key])
                    continue
                span = ring.next_span(lines)
                if buffer in full or span[1] > ring.size or any(
                        overlap(span, other) for other in needed[buffer]) or any(
                        isinstance(source, Piece) and source.meets(store)
                        for source in sources for store in stores):
                    full.add(buffer)
                    continue
                with_load = replace(self.clock)
                for source in sources:
                    with_load.step(Instruction(Op.LOAD, geometry(source, self.config)))
                with_load.step(compute)
                if with_load.now > without.now:
                    return
                ring.find(key, lines)
                needed[buffer].append(span)
                line = span[0]
                for source in sources:
                    size = source.words if isinstance(source, Piece) else lines
                    self._load(Load(buffer, (line, line + size), source))
                    line += size
            if later.store is not None:
                stores.append(later.store)
            if len(full) == len(Buffer):
                return

    def _wanted(self, job: Job) -> Iterator[tuple[Buffer, Hashable, Sequence[Piece | Blob], int]]:
        """Yield buffer, key, what to load and how many lines, of all that a job needs."""
        for buffer, blob in job.blobs.items():
            if not isinstance(self._buffers[buffer], Shelf):
                yield buffer, id(blob), (blob,), lines_of(blob, self.config)
        if job.pixels:
            yield Buffer.NBIN, tuple(piece.key for piece in job.pixels), job.pixels, job.words

    def _load(self, load: Load) -> None:
        values = {"buffer": int(load.buffer), "line": load.span[0]}
        if load.buffer in self._running and overlap(load.span, self._running[load.buffer]):
            values["wait_compute"] = 1
        if isinstance(load.source, Piece):
            if self._pending and load.source.meets(self._pending[0]):
                self._store(wait=True)
            if self._storing and load.source.meets(self._storing[0]):
                values["wait_store"] = 1
                self._storing = None
        self._loading = load
        self._put(Op.LOAD, values, load.source)

    def _store(self, *, wait: bool) -> None:
        if self._pending is None:
            return
        piece, span = self._pending
        values = {"line": span[0], "wait_compute": int(wait)}
        self._put(Op.STORE, values, piece)
        self._storing, self._pending = self._pending, None


def geometry(what: Piece | Blob, config: Config) -> dict[str, int]:
    """Return the fields of a LOAD or STORE but for its address. Rows and planes that lie side by
    side are joined, so that memory is read in one run.
    """
    word = config.word_bytes
    if isinstance(what, Blob):
        return {"cols": -(-len(what.data) // word), "rows": 1, "planes": 1}
    block = {"cols": what.columns, "rows": what.rows, "planes": what.tiles,
             "row_pitch": what.width * word, "plane_pitch": what.height * what.width * word}
    if what.columns == what.width and what.columns * what.rows < 1 << 16:
        block |= {"cols": what.columns * what.rows, "rows": 1}
        if what.rows == what.height and block["cols"] * what.tiles < 1 << 16:
            block |= {"cols": block["cols"] * what.tiles, "planes": 1}
    return block
