"""Where the elements of a layer's tensor lie in memory: regions, and views of them.

A region is an array (tiles, rows, columns, tn) of codes, one word a place. A view says for each
channel of a tensor in which tile and lane it is; a Flatten or a Concat is only another view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwgen.layers import Int64Array, Tensor


@dataclass(frozen=True)
class Fold:
    """The windows that a folded input consists of: channel ``t * C + c`` is channel c of tap t.

    Parameters: kernel, its rows and columns; taps, (row, column) of the places under it that are
    kept; stride, padding, dilation, as of a Conv2d.
    """

    kernel: tuple[int, int]
    taps: tuple[tuple[int, int], ...]
    stride: tuple[int, int]
    padding: tuple[int, ...]
    dilation: tuple[int, int]


@dataclass(eq=False)
class Region:
    """A stored tensor.

    Parameters
    ----------
    layer : str
        Whose integers it holds.
    kind : str
        "codes"; "raw": accumulators, cut into pieces of one code, the lowest first, a tile each;
        "class": lane 0 the lowest bits, lane 1 those above.
    tiles, height, width : int
    gather : (tiles, height, width, tn) int64
        Which element of the layer's (C, H, W) tensor, flat, is in each place; -1: none, it is 0 in
        an input and anything in a result. Of raw ones (tiles / pieces, ...).
    pieces : int
        Of an accumulator; 1 for codes.
    fold : Fold, optional
        Of an input that is stored window by window.
    address : int
        Bytes; set by the memory map.
    """

    layer: str
    kind: str
    tiles: int
    height: int
    width: int
    gather: Int64Array
    pieces: int = 1
    fold: Fold | None = None
    address: int = -1

    @property
    def words(self) -> int:
        """Memory words."""
        return self.tiles * self.height * self.width


@dataclass(frozen=True, eq=False)
class Part:
    """A region seen as (tiles, height, width) words."""

    region: Region
    tiles: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class View:
    """Places of a tensor's channels.

    Parameters: parts, all of one height and width; part, tile, lane, (channels,) int64; lo, hi,
    range of the codes; edged, the first column's lower half of lanes and the last one's upper half
    lie outside the image; signs, whether each part's codes are signed, if not all as lo says.
    """

    parts: tuple[Part, ...]
    part: Int64Array
    tile: Int64Array
    lane: Int64Array
    lo: int
    hi: int
    edged: bool = False
    signs: tuple[bool, ...] = ()
    tile_base: Int64Array = field(init=False)

    def __post_init__(self) -> None:
        starts = np.cumsum([0, *(part.tiles for part in self.parts)])
        object.__setattr__(self, "tile_base", np.asarray(starts, np.int64))

    @property
    def height(self) -> int:
        """Rows."""
        return self.parts[0].height

    @property
    def width(self) -> int:
        """Columns."""
        return self.parts[0].width

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return self.part.size

    @property
    def tiles(self) -> int:
        """Tiles of all parts."""
        return int(self.tile_base[-1])

    def is_signed(self, tile: int) -> bool:
        """Tell whether the codes of a tile, parts counted through, are signed."""
        if not self.signs:
            return self.lo < 0
        return self.signs[int(np.searchsorted(self.tile_base, tile, side="right")) - 1]

    def runs(self, tiles: Sequence[int]) -> Iterator[tuple[Part, int, int]]:
        """Yield (part, first tile of it, tiles) of the runs of some tiles of the view."""
        for part, base in zip(self.parts, self.tile_base.tolist(), strict=False):
            here = [tile - base for tile in tiles if base <= tile < base + part.tiles]
            while here:
                count = 1
                while count < len(here) and here[count] == here[0] + count:
                    count += 1
                yield part, here[0], count
                here = here[count:]

    @property
    def global_tile(self) -> Int64Array:
        """(channels,) tile of each channel, parts counted through."""
        tiles: Int64Array = self.tile_base[self.part] + self.tile
        return tiles


def stored_view(layer: str, tensor: Tensor, tiles: list[Int64Array], tn: int,
                kind: str = "codes", pieces: int = 1) -> View:
    """Return the view, with a new region, of a tensor whose tiles hold these channels.

    Parameters: tiles, the channels of each tile in lane order (-1: none).
    """
    channels, height, width = tensor.shape
    table = np.full((len(tiles), tn), -1, np.int64)
    for row, members in zip(table, tiles, strict=True):
        row[: members.size] = members
    pixels = np.arange(height * width).reshape(height, width)
    gather = np.where(
        table[:, None, None, :] >= 0,
        table[:, None, None, :] * height * width + pixels[None, :, :, None], -1,
    )
    region = Region(layer, kind, len(tiles) * pieces, height, width, gather, pieces)
    tile, lane = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    rows, columns = np.nonzero(table >= 0)
    tile[table[rows, columns]], lane[table[rows, columns]] = rows, columns
    part = Part(region, len(tiles), height, width)
    return View((part,), np.zeros(channels, np.int64), tile, lane, tensor.lo or 0, tensor.hi or 0)


def natural_tiles(channels: int, tn: int) -> list[Int64Array]:
    """Return channels in their order, tn a tile."""
    return [np.arange(start, min(start + tn, channels)) for start in range(0, channels, tn)]


def flattened(view: View) -> View:
    """Return the view of a Flatten: every place is a tile of an image of one pixel."""
    pixels = view.height * view.width
    place = np.arange(pixels)
    parts = tuple(Part(part.region, part.tiles * pixels, 1, 1) for part in view.parts)
    return View(
        parts, np.repeat(view.part, pixels),
        (view.tile[:, None] * pixels + place).reshape(-1), np.repeat(view.lane, pixels),
        view.lo, view.hi,
    )


def joined(views: list[View]) -> View:
    """Return the view of a Concat; of different signs too, if it is the compiler's own."""
    offsets = np.cumsum([0, *(len(view.parts) for view in views)])
    return View(
        tuple(part for view in views for part in view.parts),
        np.concatenate([view.part + base for view, base in zip(views, offsets, strict=False)]),
        np.concatenate([view.tile for view in views]),
        np.concatenate([view.lane for view in views]),
        min(view.lo for view in views), max(view.hi for view in views),
        all(view.edged for view in views),
        tuple(view.is_signed(int(base)) for view in views for base in view.tile_base[:-1]),
    )


def folded_view(layer: str, source: Tensor, height: int, width: int, tn: int, fold: Fold) -> View:
    """Return a view whose channels are (tap, channel) pairs under a kernel, pixel by output pixel.

    A convolution of few channels becomes one of 1x1 kernels, its taps spread over the lanes.
    Parameters: height, width of the output.
    """
    rows = np.arange(height)[:, None] * fold.stride[0] - fold.padding[0]
    columns = np.arange(width)[None, :] * fold.stride[1] - fold.padding[1]
    planes = []
    for r, s in fold.taps:
        y, x = rows + r * fold.dilation[0], columns + s * fold.dilation[1]
        inside = (y >= 0) & (y < source.height) & (x >= 0) & (x < source.width)
        for channel in range(source.channels):
            flat = (channel * source.height + y) * source.width + x
            planes.append(np.where(inside, flat, -1))
    count = len(planes)
    tiles = -(-count // tn)
    flat_places = np.full((tiles * tn, height, width), -1, np.int64)
    flat_places[:count] = planes
    gather = flat_places.reshape(tiles, tn, height, width).transpose(0, 2, 3, 1)
    region = Region(layer, "codes", tiles, height, width, np.ascontiguousarray(gather), fold=fold)
    tile, lane = np.divmod(np.arange(count), tn)
    return View((Part(region, tiles, height, width),), np.zeros(count, np.int64), tile, lane,
                 source.lo or 0, source.hi or 0)
