"""What is done to one layer, all numbers chosen: what a plan says where nothing is searched, and
what a search moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hwgen.compress.choices.fields import AUTO
from hwgen.compress.choices.ternary import TernaryChoice
from hwgen.compress.methods.periodic import Variant
from hwgen.compress.options import DyadicChoice

Coder = DyadicChoice | TernaryChoice


@dataclass(frozen=True)
class Treatment:
    """Of one convolution or dense layer of the float graph.

    Parameters
    ----------
    basis : float, optional
        Share of the filters that stay (linear-features); None for all of them.
    taps, loss : float, optional
        Share of taps that stay, or part of the maps' energy that may go (lower-kernel).
    variant : Variant, optional
        Periodic supports.
    coder : Coder
        What makes integers of the weights.
    """

    basis: float | None = None
    taps: float | None = None
    loss: float | None = None
    variant: Variant | None = None
    coder: Coder = field(default_factory=DyadicChoice)

    def words(self) -> list[str]:
        """Return what is done, a few words a method."""
        said = [] if self.basis is None else [f"linear-features:{self.basis:g}"]
        if self.taps is not None or self.loss is not None:
            amount = f"loss={self.loss:g}" if self.taps is None else f"taps={self.taps:g}"
            said.append(f"lower-kernel:{amount}")
        if self.variant is not None:
            said.append(f"periodic:{self.variant.name}")
        if isinstance(self.coder, TernaryChoice):
            return [*said, f"ternary:{self.coder.scale.value}"]
        if self.coder.extra.spends:
            return [*said, f"dyadic:{self.coder.extra.text}"]
        return [*said, f"dyadic:{self.coder.set_name or AUTO}"]


@dataclass(frozen=True)
class State:
    """What is done to a whole network.

    Parameters
    ----------
    treatments : tuple of (name, Treatment)
        Every layer with weights, in the graph's order.
    prune : float
        Share of all weights of the network that go.
    """

    treatments: tuple[tuple[str, Treatment], ...]
    prune: float = 0.0

    def of(self, name: str) -> Treatment:
        """Return a layer's treatment."""
        return dict(self.treatments)[name]

    def with_(self, name: str, treatment: Treatment) -> State:
        """Return the state with one layer treated otherwise."""
        return State(
            tuple((n, treatment if n == name else old) for n, old in self.treatments), self.prune
        )
