"""``linear-features[:SHARE][,terms=N|all][,norm=data|weights][,layers=NAME+NAME]``: part of a
convolution's maps become combinations of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.compress.choices.fields import ALL, Fields, named, shown
from hwgen.compress.options import Norm

NAME = "linear-features"
BASIS = 0.75  # where neither the user nor a search says anything


@dataclass(frozen=True)
class LinearFeaturesChoice:
    """What ``linear-features`` was asked to do.

    Parameters
    ----------
    basis : float, optional
        Share of a convolution's filters that stay; None where the search chooses it.
    terms : int, optional
        Basis maps of a combination, at most; None for all.
    norm : Norm
        Fit for the error of the maps over calibration images, or of the weights.
    layers : tuple of str
        Only these; none for all convolutions.
    """

    basis: float | None = None
    terms: int | None = None
    norm: Norm = Norm.DATA
    layers: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the argument that asks for this choice."""
        return (
            f"{NAME}:{shown(self.basis)},terms={self.terms or ALL},norm={self.norm.value},"
            f"layers={named(self.layers)}"
        )

    @classmethod
    def parse(cls, text: str) -> LinearFeaturesChoice:
        """Read what follows the colon. Raises: HwgenError, one line."""
        fields = Fields(NAME, text, first="basis", options=("basis", "terms", "norm", "layers"))
        terms = fields.text("terms", ALL)
        return cls(
            fields.auto("basis", fields.share),
            None if terms == ALL else fields.count("terms", terms),
            fields.enum("norm", Norm, Norm.DATA),
            fields.layers(),
        )
