"""The ``--method`` argument: ``NAME[:option,option...]``, one a method, in the order they are
applied.

``dyadic[:SET][,filter|kernel|layer][,dense=filter|layer][,digits=1|2|3|auto][,norm=data|weights]``

* SET: T3, P5, P7, P9, Q4, Q8, Q16, or the positive levels of a set of one's own: ``1/8+1/2+1``.
* filter, kernel or layer (or ``scale=...``): which weights of a convolution share a scale. A scale
  by kernel is multiplied into the integers, so it costs digits.
* dense: the same for dense layers; ``layer`` by default, so that one pair of constants serves all
  outputs.
* digits: signed digits of a scale's mantissa; ``auto`` takes the fewest that cost no accuracy on
  the last training images.
* norm: ``data`` (default) moves the weights on to the least error at the layer's output, over
  training images; ``weights`` stays at the least error of the weights themselves.
* budget, adders, solver, bias, pool: see ``dyadic_budget``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hwgen.compress import dyadic_budget
from hwgen.compress.methods.dyadic import Levels, Scale
from hwgen.errors import HwgenError

LATER = ("linear-features", "lower-kernel", "periodic", "ternary")


class Norm(Enum):
    """Which error is made small."""

    DATA = "data"  # of the layer's output, over calibration images
    WEIGHTS = "weights"  # of the weights: the Frobenius norm


@dataclass(frozen=True)
class DyadicChoice:
    """What ``dyadic`` was asked to do.

    Parameters: set_name; scale of convolutions; dense, scale of dense layers; digits of a scale,
    None for auto; norm, the error that is made small; extra, a budget in place of the set, and
    what else ``dyadic_budget`` reads.
    """

    set_name: str = "P9"
    scale: Scale = Scale.FILTER
    dense: Scale = Scale.LAYER
    digits: int | None = None
    norm: Norm = Norm.DATA
    extra: dyadic_budget.Choice = dyadic_budget.Choice()

    @property
    def levels(self) -> Levels:
        """The set's levels."""
        return Levels.parse(self.set_name)

    def text(self, digits: int) -> str:
        """Return the argument that asks for this choice with the scale digits that were found."""
        words = [] if self.extra.spends else [self.set_name]
        words += [f"scale={self.scale.value}", f"dense={self.dense.value}", f"digits={digits}"]
        words += [f"norm={self.norm.value}", self.extra.text]
        return "dyadic:" + ",".join(word for word in words if word)


def parse_methods(methods: Sequence[str]) -> DyadicChoice:
    """Return the choice that the ``--method`` arguments make.

    Raises: HwgenError, one line, for an unknown method or option, or one that is not there yet.
    """
    if not methods:
        return DyadicChoice()
    for method in methods:
        name = method.partition(":")[0]
        if name in LATER:
            raise HwgenError(f"--method {name} comes in a later version; this one has dyadic")
        if name != "dyadic":
            raise HwgenError(
                f"--method: dyadic needed ({', '.join(LATER)} come later), not {name!r}"
            )
    if len(methods) > 1:
        raise HwgenError(f"--method dyadic can be given once, not {len(methods)} times")
    return _dyadic(methods[0].partition(":")[2])


def _dyadic(text: str) -> DyadicChoice:
    fields: dict[str, str] = {}
    extra, text = dyadic_budget.parse(text)
    for position, part in enumerate(part for part in text.split(",") if part):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = ("scale", part) if part in {s.value for s in Scale} else ("set", part)
            if key == "set" and position:
                raise HwgenError(
                    f"--method dyadic: the set comes first, then options; {part!r} is neither "
                    "filter, kernel nor layer"
                )
        if key not in ("set", "scale", "dense", "digits", "norm"):
            raise HwgenError(
                f"--method dyadic: options are SET, scale, dense, digits and norm, not {key!r} "
                f"(nor one of {', '.join(dyadic_budget.KEYS)})"
            )
        if key in fields:
            raise HwgenError(f"--method dyadic: {key} once needed, not twice")
        fields[key] = value
    if (digits := fields.get("digits", "auto")) not in ("auto", "1", "2", "3"):
        raise HwgenError(f"--method dyadic: digits=1, 2, 3 or auto needed, not {digits!r}")
    if (norm := fields.get("norm", "data")) not in {n.value for n in Norm}:
        raise HwgenError(f"--method dyadic: norm=data or weights needed, not {norm!r}")
    choice = DyadicChoice(
        fields.get("set", DyadicChoice.set_name),
        _scale("scale", fields.get("scale", "filter")),
        _scale("dense", fields.get("dense", "layer")),
        None if digits == "auto" else int(digits),
        Norm(norm),
        extra,
    )
    _ = choice.levels  # named now, not after minutes of work
    if choice.dense is Scale.KERNEL:
        raise HwgenError(
            "--method dyadic: dense=filter or dense=layer needed, dense layers have no kernels"
        )
    return choice


def _scale(option: str, text: str) -> Scale:
    try:
        return Scale(text)
    except ValueError as error:
        raise HwgenError(
            f"--method dyadic: {option}=filter, kernel or layer needed, not {text!r}"
        ) from error
