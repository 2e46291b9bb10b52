"""``ternary[:filter|kernel|layer][,digits=1|2|3|auto][,norm=data|weights][,prune=SHARE]
[,layers=NAME+NAME]``: weights of -sigma, 0 and sigma.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.compress.choices.fields import AUTO, Fields, named, shown
from hwgen.compress.methods.dyadic import Scale
from hwgen.compress.options import Norm

NAME = "ternary"


@dataclass(frozen=True)
class TernaryChoice:
    """What ``ternary`` was asked to do.

    Parameters
    ----------
    scale : Scale
        Which weights of a convolution share a sigma; a dense layer's by filter where this is so.
    digits : int, optional
        Signed digits of sigma, None for auto.
    norm : Norm
    prune : float, optional
        Share of all weights of the network that become zero first, the smallest ones; None where
        the search chooses it.
    layers : tuple of str
        Only these are ternary; none for all, or for those that the search chooses.
    """

    scale: Scale = Scale.LAYER
    digits: int | None = None
    norm: Norm = Norm.DATA
    prune: float | None = None
    layers: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the argument that asks for this choice."""
        return (
            f"{NAME}:{self.scale.value},digits={shown(self.digits)},norm={self.norm.value},"
            f"prune={shown(self.prune)},layers={named(self.layers)}"
        )

    @classmethod
    def parse(cls, text: str) -> TernaryChoice:
        """Read what follows the colon. Raises: HwgenError, one line."""
        fields = Fields(
            NAME, text, first="scale", options=("scale", "digits", "norm", "prune", "layers")
        )
        if (digits := fields.text("digits", AUTO)) not in (AUTO, "1", "2", "3"):
            raise fields.wrong("digits=1, 2, 3 or auto", digits)
        return cls(
            fields.enum("scale", Scale, Scale.LAYER),
            None if digits == AUTO else int(digits),
            fields.enum("norm", Norm, Norm.DATA),
            fields.auto("prune", fields.part),
            fields.layers(),
        )
