"""``periodic[:VARIANT][,supports=rule|rotated|energy][,phase=channel|tile][,tile=16]
[,refit=yes|no][,layers=NAME+NAME]``: a kernel's place in the layer fixes the taps that it may use.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.compress.choices.fields import Fields, named, yes
from hwgen.compress.methods.periodic import Kind, Options, Phase, Supports, Variant

NAME = "periodic"
VARIANT = Variant(Kind.DENSE_ONE, 4, 8)  # where neither the user nor a search says anything


@dataclass(frozen=True)
class PeriodicChoice:
    """What ``periodic`` was asked to do; the first convolution and 1 x 1 ones stay dense.

    Parameters
    ----------
    variant : Variant, optional
        None where the search chooses it.
    supports, phase, tile : as ``methods.periodic.Options``
    refit : bool
        Fit the weights that stay to the layer's inputs.
    layers : tuple of str
        Only these; none for all convolutions.
    """

    variant: Variant | None = None
    supports: Supports = Supports.ENERGY
    phase: Phase = Phase.CHANNEL
    tile: int = 16
    refit: bool = True
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.options(self.variant or VARIANT)

    def options(self, variant: Variant) -> Options:
        """For the method itself."""
        return Options(variant, self.phase, self.supports, self.tile)

    def text(self) -> str:
        """Return the argument that asks for this choice."""
        return (
            f"{NAME}:{self.variant.name if self.variant else 'auto'},"
            f"supports={self.supports.value},phase={self.phase.value},tile={self.tile},"
            f"refit={yes(self.refit)},layers={named(self.layers)}"
        )

    @classmethod
    def parse(cls, text: str) -> PeriodicChoice:
        """Read what follows the colon. Raises: HwgenError, one line."""
        fields = Fields(
            NAME, text, first="variant",
            options=("variant", "supports", "phase", "tile", "refit", "layers"),
        )  # fmt: skip
        variant = fields.auto("variant", lambda _, name: Variant.parse(name))
        drawn = variant is not None and variant.kind is Kind.RANDOM
        return cls(
            variant,
            fields.enum("supports", Supports, Supports.RULE if drawn else Supports.ENERGY),
            fields.enum("phase", Phase, Phase.CHANNEL),
            fields.count("tile", fields.text("tile", "16")),
            fields.flag("refit", True),
            fields.layers(),
        )
