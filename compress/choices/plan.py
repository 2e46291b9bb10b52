"""The methods of one run, in the order in which they are applied::

    linear-features    a convolution becomes fewer filters and a 1 x 1 combination of their maps
    lower-kernel       smaller windows of taps
    periodic           supports by a kernel's place
    ternary, prune=    the smallest weights of the whole network go
    ternary, dyadic    integers for what is left

Supports of earlier steps hold through all later ones. The order on the command line says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hwgen.compress.choices.linear_features import BASIS, LinearFeaturesChoice
from hwgen.compress.choices.linear_features import NAME as LINEAR_FEATURES
from hwgen.compress.choices.lower_kernel import LOSS, LowerKernelChoice
from hwgen.compress.choices.lower_kernel import NAME as LOWER_KERNEL
from hwgen.compress.choices.periodic import NAME as PERIODIC
from hwgen.compress.choices.periodic import VARIANT, PeriodicChoice
from hwgen.compress.choices.ternary import NAME as TERNARY
from hwgen.compress.choices.ternary import TernaryChoice
from hwgen.compress.options import DEFAULT_SET, DyadicChoice, parse_dyadic
from hwgen.errors import HwgenError

DYADIC = "dyadic"
NONE = ("none",)  # of ternary's layers: it prunes, and all layers stay dyadic

_PARSERS: Mapping[str, Callable[[str], Any]] = {
    LINEAR_FEATURES: LinearFeaturesChoice.parse,
    LOWER_KERNEL: LowerKernelChoice.parse,
    PERIODIC: PeriodicChoice.parse,
    TERNARY: TernaryChoice.parse,
    DYADIC: parse_dyadic,
}
METHODS = tuple(_PARSERS)


@dataclass(frozen=True)
class Plan:
    """What is to be done to a network.

    Parameters
    ----------
    linear_features, lower_kernel, periodic, ternary : choice, optional
        None where the method is not wanted.
    dyadic : DyadicChoice
        For all layers that are not ternary.
    dyadic_named : bool
        It was asked for; else its default serves what ternary leaves.
    kept : bool
        A quantised model's own integers stay, nothing else is done.
    """

    linear_features: LinearFeaturesChoice | None = None
    lower_kernel: LowerKernelChoice | None = None
    periodic: PeriodicChoice | None = None
    ternary: TernaryChoice | None = None
    dyadic: DyadicChoice = field(default_factory=DyadicChoice)
    dyadic_named: bool = True
    kept: bool = False

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the methods of which something is left for a search to choose."""
        if self.kept:
            return ()
        lower, ternary = self.lower_kernel, self.ternary
        left = {
            LINEAR_FEATURES: self.linear_features and self.linear_features.basis is None,
            LOWER_KERNEL: lower and lower.taps is None and lower.loss is None,
            PERIODIC: self.periodic and self.periodic.variant is None,
            TERNARY: ternary and (ternary.prune is None or not ternary.layers),
            DYADIC: self.dyadic_named and self.dyadic.is_open,
        }
        return tuple(name for name, yes in left.items() if yes)

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments that ask for this plan, all options written out, in order of use."""
        if self.kept:
            return NONE
        chosen = [self.linear_features, self.lower_kernel, self.periodic, self.ternary]
        texts = [choice.text() for choice in chosen if choice is not None]
        return (*texts, self.dyadic.text()) if self.uses_dyadic else tuple(texts)

    @property
    def uses_dyadic(self) -> bool:
        """False if all layers are ternary."""
        return self.dyadic_named or self.ternary is None or bool(self.ternary.layers)

    def ternary_layers(self, names: Iterable[str]) -> frozenset[str]:
        """Return which of the network's layers are, or may become, ternary."""
        if self.ternary is None or self.ternary.layers == NONE:
            return frozenset()
        return frozenset(self.ternary.layers or names)

    def fixed(self) -> Plan:
        """Return the plan with the defaults where it leaves a choice: what is done unsearched."""
        changes: dict[str, Any] = {}
        if self.linear_features and self.linear_features.basis is None:
            changes["linear_features"] = replace(self.linear_features, basis=BASIS)
        if self.lower_kernel and self.lower_kernel.taps is self.lower_kernel.loss is None:
            changes["lower_kernel"] = replace(self.lower_kernel, loss=LOSS)
        if self.periodic and self.periodic.variant is None:
            changes["periodic"] = replace(self.periodic, variant=VARIANT)
        if self.ternary and self.ternary.prune is None:
            changes["ternary"] = replace(self.ternary, prune=0.0)
        if self.dyadic.is_open:
            changes["dyadic"] = replace(self.dyadic, set_name=DEFAULT_SET)
        return replace(self, **changes)

    def with_digits(self, digits: int) -> Plan:
        """Return the plan with the scale digits that were found, where they were to be found."""
        ternary = self.ternary
        if ternary is not None and ternary.digits is None:
            ternary = replace(ternary, digits=digits)
        dyadic = self.dyadic if self.dyadic.digits else replace(self.dyadic, digits=digits)
        return replace(self, ternary=ternary, dyadic=dyadic)


KEPT = Plan(kept=True)


def parse_methods(methods: Sequence[str], *, searched: bool = False) -> Plan:
    """Return the plan that the ``--method`` arguments make.

    Parameters
    ----------
    methods : sequence of str
        None: dyadic, or with ``searched`` all methods.
    searched : bool
        A search follows, under ``--budget``.

    Raises: HwgenError, one line, for an unknown method or option, or methods that contradict one
    another.
    """
    if not methods:
        methods = METHODS if searched else (DYADIC,)
    chosen: dict[str, Any] = {}
    for method in methods:
        name, _, text = method.partition(":")
        if name not in _PARSERS:
            raise HwgenError(f"--method: one of {', '.join(METHODS)} needed, not {name!r}")
        if name in chosen:
            raise HwgenError(f"--method {name} can be given once, not twice")
        chosen[name] = _PARSERS[name](text)
    ternary = chosen.get(TERNARY)
    if ternary is not None and not ternary.layers and DYADIC in chosen and not searched:
        raise HwgenError(
            "--method ternary: layers=NAME+NAME needed beside dyadic (or none, to prune only); "
            "all layers are ternary without it"
        )
    dyadic = chosen.get(DYADIC, DyadicChoice())
    return Plan(
        chosen.get(LINEAR_FEATURES),
        chosen.get(LOWER_KERNEL),
        chosen.get(PERIODIC),
        ternary,
        dyadic,
        dyadic_named=DYADIC in chosen,
    )
