"""``lower-kernel[:SIDES][,taps=SHARE|loss=SHARE][,unit=...][,place=...][,refit=yes|no]
[,order=greedy|tiles][,tile=16][,layers=NAME+NAME]``: filters or kernels with a smaller window.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hwgen.compress.choices.fields import AUTO, Fields, named, shown, yes
from hwgen.compress.methods.kernel_tiles import TILE
from hwgen.compress.methods.kernel_windows import Place
from hwgen.compress.methods.lower_kernel import Options, Unit
from hwgen.errors import HwgenError

NAME = "lower-kernel"
LOSS = 0.05  # where neither the user nor a search says anything
ODD = "odd"  # all odd sides below the kernel's


class Order(Enum):
    """Which units shrink first."""

    GREEDY = "greedy"  # least loss for a tap saved
    TILES = "tiles"  # least loss for the cycles of a tiled array: a knapsack with tiles as items


@dataclass(frozen=True)
class LowerKernelChoice:
    """What ``lower-kernel`` was asked to do.

    Parameters
    ----------
    sides : tuple of int
        Smaller kernels that are considered; none for all odd ones.
    taps : float, optional
        Share of a convolution's taps that stay, at most.
    loss : float, optional
        Part of the energy of its maps that may be lost. Of taps and loss one at most; neither
        where the search chooses.
    unit, place, refit : as ``methods.lower_kernel.Options``
    order : Order
    tile : int
        Filters of a tile, for ``Order.TILES``.
    layers : tuple of str
        Only these; none for all convolutions.
    """

    sides: tuple[int, ...] = ()
    taps: float | None = None
    loss: float | None = None
    unit: Unit = Unit.FILTER
    place: Place = Place.BEST
    refit: bool = True
    order: Order = Order.GREEDY
    tile: int = TILE
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.taps is not None and self.loss is not None:
            raise HwgenError(f"--method {NAME}: taps= or loss= needed, not both")
        if self.order is Order.TILES and self.unit is Unit.KERNEL:
            raise HwgenError(
                f"--method {NAME}: unit=filter needed with order=tiles, a tile is made of filters, "
                "not 'kernel'"
            )

    @property
    def options(self) -> Options:
        """For the method itself."""
        return Options(self.unit, self.place, self.refit)

    def sides_for(self, kh: int, kw: int) -> tuple[int, ...]:
        """Return the smaller sides to consider for a kernel; none if it cannot shrink."""
        full = max(kh, kw)
        wanted = self.sides or range(1, full, 2)
        return tuple(side for side in wanted if side < full)

    def text(self) -> str:
        """Return the argument that asks for this choice."""
        sides = "+".join(map(str, self.sides)) or ODD
        amount = f"loss={shown(self.loss)}" if self.taps is None else f"taps={shown(self.taps)}"
        return (
            f"{NAME}:{sides},{amount},unit={self.unit.value},place={self.place.value},"
            f"refit={yes(self.refit)},order={self.order.value},tile={self.tile},"
            f"layers={named(self.layers)}"
        )

    @classmethod
    def parse(cls, text: str) -> LowerKernelChoice:
        """Read what follows the colon. Raises: HwgenError, one line."""
        fields = Fields(
            NAME, text, first="sides",
            options=("sides", "taps", "loss", "unit", "place", "refit", "order", "tile", "layers"),
        )  # fmt: skip
        sides = fields.text("sides", ODD)
        parts = [] if sides in (ODD, AUTO) else sides.split("+")
        return cls(
            tuple(sorted({fields.count("sides", part) for part in parts}, reverse=True)),
            fields.auto("taps", fields.share),
            fields.auto("loss", fields.part),
            fields.enum("unit", Unit, Unit.FILTER),
            fields.enum("place", Place, Place.BEST),
            fields.flag("refit", True),
            fields.enum("order", Order, Order.GREEDY),
            fields.count("tile", fields.text("tile", str(TILE))),
            fields.layers(),
        )
