"""A task as a list of jobs: what one COMPUTE does, with the loads it needs and the store after it.

    for block of output pixels: for tile of filters: for chunk of input tiles: one job
    (or block, chunk, tile, when the partial sums of all tiles fit NBout)

The same pieces of weights, taps and pixels have the same key, by which the schedule knows that a
buffer still holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hwgen.layers import Activation
from hwgen.nfu import isa
from hwgen.nfu.compiler.arrange import Arranged, Step
from hwgen.nfu.compiler.digits import digit_counts, encode_line, planes
from hwgen.nfu.compiler.finish import (
    Finish,
    check_segments,
    check_sums,
    finish_class,
    finish_codes,
    finish_raw,
)
from hwgen.nfu.compiler.pieces import Blob, Chunk, Job, Key, Piece, Shape
from hwgen.nfu.compiler.tasks import Term
from hwgen.nfu.compiler.views import Region
from hwgen.nfu.config import Config
from hwgen.nfu.isa import Buffer

AGAIN = 16                    # steps of a pixel
MAX_WINDOW = 128              # rows and columns, of a tap's fields


@dataclass(eq=False)
class JobMaker:
    """Makes the jobs of one arranged task, for any shape."""

    arranged: Arranged
    result: Region | None = None        # of codes or the class
    raw: Region | None = None
    classes: Region | None = None
    _blobs: dict[object, Blob] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sums(self.arranged)
        if isinstance(self.arranged.task.finish, Activation):
            check_segments(self.arranged, self.arranged.task.finish)

    @property
    def config(self) -> Config:
        """Of the NFU."""
        return self.arranged.config

    @cached_property
    def finishes(self) -> list[list[tuple[Finish, Region, int, bool]]]:
        """For each tile of filters, what is made of its sums: the finishing, the region and tile
        stored to, and whether there is something to store.
        """
        arranged, config = self.arranged, self.config
        found: list[list[tuple[Finish, Region, int, bool]]] = []
        for n, members in enumerate(arranged.tiles):
            ends = []
            if self.result is not None:
                ends.append((finish_codes(arranged, members), self.result, n, True))
            if self.raw is not None:
                pieces = self.raw.pieces
                ends += [(finish_raw(arranged, members, p), self.raw, n * pieces + p, True)
                         for p in range(pieces)]
            if self.classes is not None:
                last = n == len(arranged.tiles) - 1
                finish = finish_class(arranged, members, first=n == 0, base=n * config.tn)
                ends.append((finish, self.classes, 0, last))
            found.append(ends)
        return found

    # --- steps ----------------------------------------------------------------------------------

    def chunks(self, tile: int, size: int) -> list[Chunk]:
        """Return the chunks of a tile of filters, those of the term with most steps last."""
        views, found = self.arranged.views, []
        limit = min(self.config.sb_lines, self.config.tap_count)
        terms = sorted(range(len(views)), key=lambda n: len(self.arranged.steps[tile][n]))
        for n in terms:
            here = self.arranged.steps[tile][n]
            while here:
                used = list(dict.fromkeys(step.tile for step in here))[:size]
                some = [step for step in here if step.tile <= used[-1]][:limit]
                used = [tile for tile in used if tile <= some[-1].tile]
                found.append(Chunk(n, tuple(used), tuple(some)))
                here = here[len(some):]
        if not found:
            found.append(Chunk(0, (0,), (Step(0, 0, 0),)))
        return found

    def reach(self, n: int) -> tuple[int, int]:
        """Return the rows and columns that a term's window spans."""
        term = self.arranged.task.terms[n]
        return ((term.kernel[0] - 1) * term.dilation[0] + 1,
                (term.kernel[1] - 1) * term.dilation[1] + 1)

    # --- jobs -----------------------------------------------------------------------------------

    def jobs(self, shape: Shape) -> Iterator[Job]:
        """Yield the jobs in order."""
        tensor = self.arranged.task.tensor
        tiles = range(len(self.arranged.tiles))
        for row in range(0, tensor.height, shape.rows):
            for column in range(0, tensor.width, shape.columns):
                rows = min(shape.rows, tensor.height - row)
                columns = min(shape.columns, tensor.width - column)
                place = (row, rows, column, columns)
                if not shape.chunks_outside:
                    for tile in tiles:
                        chunks = self.chunks(tile, shape.tiles)
                        for n in range(len(chunks)):
                            yield from self._job(shape, tile, chunks, n, place)
                else:
                    lists = [self.chunks(tile, shape.tiles) for tile in tiles]
                    for n in range(max(map(len, lists))):
                        for tile in tiles:
                            if n < len(lists[tile]):
                                yield from self._job(shape, tile, lists[tile], n, place)

    def _job(self, shape: Shape, tile: int, chunks: list[Chunk], n: int,
             place: tuple[int, int, int, int]) -> Iterator[Job]:
        chunk, ends = chunks[n], self.finishes[tile]
        final = n == len(chunks) - 1
        # Few steps are walked again for each end: that is less than to keep their sums and go on.
        again = len(chunks) == 1 and len(ends) > 1 and len(chunk.steps) <= AGAIN
        direct = final and (len(ends) == 1 or again)
        row, rows, column, columns = place
        fields, pixels = self._window(shape, chunk, place)
        key = (self.arranged.task.title, tile, row, column, 0)
        fields |= {"first": int(n == 0), "last": int(direct)}
        blobs = {Buffer.TAPS: self._taps(chunk, pixels[0])}
        if not self.arranged.task.is_max:
            blobs[Buffer.SB] = self._weights(tile, chunk)
            fields["hold"] = int(blobs[Buffer.SB].lines < len(chunk.steps))
        if self.config.multipliers:
            fields |= self._walk(chunk, pixels[0])
            del blobs[Buffer.TAPS]
        count = rows * columns
        if not direct:
            yield self._made(fields, pixels, blobs, count, key, None, len(chunk.steps))
        else:
            for number, end in enumerate(ends):
                yield self._finished(fields, pixels, blobs, count, (*key[:4], number), end, place)
        if final and not direct:
            for end in ends:
                yield self._again(count, key, end, place)

    def _made(self, fields: dict[str, int], pixels: tuple[Piece, ...], blobs: dict[Buffer, Blob],
              count: int, key: Key, store: Piece | None, period: int) -> Job:
        fields = {**fields, "period": period}
        return Job(fields, pixels, blobs, count, key, store, count * period)

    def _finished(self, fields: dict[str, int], pixels: tuple[Piece, ...],
                  blobs: dict[Buffer, Blob], count: int, key: Key,
                  end: tuple[Finish, Region, int, bool],
                  place: tuple[int, int, int, int]) -> Job:
        finish, region, index, stored = end
        row, rows, column, columns = place
        blobs = {**blobs, Buffer.PARAMETERS: self._blob(
            Buffer.PARAMETERS, finish.lines, self.config.groups * finish.digits)}
        if finish.table is not None:
            blobs[Buffer.TABLE] = self._blob(Buffer.TABLE, finish.table, isa.SEGMENTS)
        period = max(fields["steps"], self.config.groups * finish.digits)
        fields = {**fields, **finish.flags, "digits": finish.digits, "lo": finish.lo,
                  "hi": finish.hi}
        piece = Piece(region, region.width, region.height, index, 1, row, rows, column, columns)
        return self._made(fields, pixels, blobs, count, key, piece if stored else None, period)

    def _again(self, count: int, key: Key, end: tuple[Finish, Region, int, bool],
               place: tuple[int, int, int, int]) -> Job:
        """Finish partial sums once more: a step of zero weights after them."""
        config, tn = self.config, self.config.tn
        zero = np.zeros((tn, tn), np.int64)
        blobs = {Buffer.SB: self._blob(Buffer.SB, encode_line(zero, zero, config), 1),
                 Buffer.TAPS: self._blob(Buffer.TAPS, self._tap_bytes([(0, 0, 0, 0)]), 1)}
        fields = {"first": 0, "last": 1, "steps": 1, "rows": place[1], "cols": place[3],
                  "height": 1, "width": 1}
        if config.multipliers:
            del blobs[Buffer.TAPS]
            fields |= {"tiles": 1, "kernel_h": 1, "kernel_w": 1}
        return self._finished(fields, (), blobs, count, key, end, place)

    # --- parts of a job -------------------------------------------------------------------------

    def loaded(self, shape: Shape, n: int) -> tuple[int, int]:
        """Return the rows and columns of a term's view that are loaded for a block."""
        term, (span_y, span_x) = self.arranged.task.terms[n], self.reach(n)
        view = self.arranged.views[n]
        return (min(view.height, (shape.rows - 1) * term.stride[0] + span_y),
                min(view.width, (shape.columns - 1) * term.stride[1] + span_x))

    def _window(self, shape: Shape, chunk: Chunk,
                place: tuple[int, int, int, int]) -> tuple[dict[str, int], tuple[Piece, ...]]:
        """Return the fields of the walk over a block, and the pixels it reads.

        The loaded rows and columns are as many for every block, so that tap lists are the same.
        """
        term, view = self.arranged.task.terms[chunk.term], self.arranged.views[chunk.term]
        rows, columns = self.loaded(shape, chunk.term)
        top = place[0] * term.stride[0] - term.padding[0]
        left = place[2] * term.stride[1] - term.padding[1]
        row = min(max(top, 0), view.height - rows)
        column = min(max(left, 0), view.width - columns)
        pieces = tuple(
            Piece(part.region, part.width, part.height, first, tiles, row, rows, column, columns)
            for part, first, tiles in view.runs(chunk.tiles))
        y, x = top - row, left - column
        fields = {
            "rows": place[1], "cols": place[3], "steps": len(chunk.steps),
            "max": int(self.arranged.task.is_max), "signed": int(view.is_signed(chunk.tiles[0])),
            "y": y, "x": x, "step_y": term.stride[0], "step_x": term.stride[1],
            "height": rows, "width": columns, "in_line": y * columns + x,
            "in_row": term.stride[0] * columns, "in_col": term.stride[1],
        }
        if view.edged:
            fields |= {"left": int(column == 0), "right": int(column + columns == view.width)}
        return fields, pieces

    def _places(self, chunk: Chunk, piece: Piece) -> list[tuple[int, int, int, int]]:
        """Return offset, dy, dx and the other sign's mark of each step; pieces are all alike."""
        term, view = self.arranged.task.terms[chunk.term], self.arranged.views[chunk.term]
        taps, found = term.taps, []
        sign = view.is_signed(chunk.tiles[0])
        for step in chunk.steps:
            dy, dx = taps[step.tap][0] * term.dilation[0], taps[step.tap][1] * term.dilation[1]
            tile = chunk.tiles.index(step.tile)
            found.append(((tile * piece.rows + dy) * piece.columns + dx, dy, dx,
                          int(view.is_signed(step.tile) != sign)))
        return found

    def _tap_bytes(self, places: list[tuple[int, int, int, int]]) -> bytes:
        return b"".join(
            isa.pack(isa.TAP, {"offset": offset, "dy": dy, "dx": dx, "other": other}, 1)
            for offset, dy, dx, other in places)

    def _taps(self, chunk: Chunk, piece: Piece) -> Blob:
        places = self._places(chunk, piece)
        key = (tuple(places),)
        if key not in self._blobs:
            term = self.arranged.task.terms[chunk.term]
            if max(max(dy, dx) for _, dy, dx, _ in places) >= MAX_WINDOW:
                raise term.layer.error(
                    "kernel", f"a window of at most {MAX_WINDOW} rows and columns",
                    self.reach(chunk.term))
            if max(offset for offset, *_ in places) >= 1 << 16:
                raise term.layer.error("source", "fewer pixels a tile", len(places))
            self._blobs[key] = self._blob(Buffer.TAPS, self._tap_bytes(places), len(places))
        return self._blobs[key]

    def _walk(self, chunk: Chunk, piece: Piece) -> dict[str, int]:
        """Return the fields of the unmodified DianNao's counters."""
        term: Term = self.arranged.task.terms[chunk.term]
        (kh, kw), (dy, dx) = term.kernel, term.dilation
        across = dx * (kw - 1)
        down = dy * piece.columns - across
        last = dy * (kh - 1) * piece.columns + across
        return {"tiles": len(chunk.tiles), "kernel_h": kh, "kernel_w": kw, "tap_y": dy, "tap_x": dx,
                "tap_col": dx, "tap_row": down & 0xFFFF,
                "tap_tile": piece.rows * piece.columns - last & 0xFFFF}

    def _weights(self, tile: int, chunk: Chunk) -> Blob:
        key = (tile, chunk.term, chunk.steps)
        if key not in self._blobs:
            weights = self._tile_weights(tile, chunk.term)
            most = max(1, int(digit_counts(weights, self.config).max()))
            signs, shifts = planes(weights, self.config, most)
            lines = [encode_line(signs[s.digit, :, s.tile, :, s.tap],
                                 shifts[s.digit, :, s.tile, :, s.tap], self.config)
                     for s in chunk.steps]
            if len(set(lines)) == 1:                    # a pool: one line for all of them
                lines = lines[:1]
            self._blobs[key] = Blob(Buffer.SB, len(lines), b"".join(lines))
        return self._blobs[key]

    def _tile_weights(self, tile: int, n: int) -> np.ndarray:
        return self.arranged.weights(self.arranged.tiles[tile], n)

    def _blob(self, buffer: Buffer, data: bytes, lines: int) -> Blob:
        key = (buffer, data)
        if key not in self._blobs:
            self._blobs[key] = Blob(buffer, lines, data)
        return self._blobs[key]
