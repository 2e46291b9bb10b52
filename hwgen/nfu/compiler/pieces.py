"""What jobs are made of: pieces of regions, constants, the shape of a task's blocks."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.nfu.compiler.arrange import Step
from hwgen.nfu.compiler.views import Region
from hwgen.nfu.isa import Buffer

Key = tuple[str, int, int, int, int]    # task, tile of filters, row and column of a block, end


@dataclass(frozen=True)
class Shape:
    """A way to cut a task. Parameters: rows, columns of a block; tiles of a chunk; chunks_outside,
    chunks before filters.
    """

    rows: int
    columns: int
    tiles: int
    chunks_outside: bool = False


@dataclass(frozen=True, eq=False)
class Blob:
    """Constant bytes in memory. Parameters: buffer they go to; lines they fill there; data."""

    buffer: Buffer
    lines: int
    data: bytes


@dataclass(frozen=True, eq=False)
class Piece:
    """A block of a region in memory: tiles, rows and columns from some place on."""

    region: Region
    width: int                # of the region's rows, in words
    height: int
    tile: int
    tiles: int
    row: int
    rows: int
    column: int
    columns: int

    @property
    def words(self) -> int:
        """Words of it."""
        return self.tiles * self.rows * self.columns

    @property
    def key(self) -> tuple[int, ...]:
        """What it is, among all pieces."""
        return (id(self.region), self.width, self.tile, self.tiles, self.row, self.rows,
                self.column, self.columns)

    def meets(self, other: Piece) -> bool:
        """Tell whether two pieces may share a word."""
        if self.region is not other.region:
            return False
        if (self.width, self.height) != (other.width, other.height):
            return True                         # seen through a Flatten
        return (self.tile < other.tile + other.tiles and other.tile < self.tile + self.tiles
                and self.row < other.row + other.rows and other.row < self.row + self.rows)


@dataclass(frozen=True, eq=False)
class Job:
    """One COMPUTE.

    Parameters: fields of the instruction but for its lines; pixels it reads, pieces that lie one
    behind the other in NBin; blobs it needs by buffer; out, NBout lines it writes; store, where the
    codes go, or None; cycles of the array.
    """

    fields: dict[str, int]
    pixels: tuple[Piece, ...]
    blobs: dict[Buffer, Blob]
    out_lines: int
    out_key: Key
    store: Piece | None
    work: int

    @property
    def words(self) -> int:
        """Lines of NBin that its pixels take."""
        return sum(piece.words for piece in self.pixels)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Steps of a tile of filters over input tiles that are loaded together.

    Parameters: term, number of it; tiles, those of its view that the steps read; steps.
    """

    term: int
    tiles: tuple[int, ...]
    steps: tuple[Step, ...]
