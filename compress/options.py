"""``--method dyadic``: the weights' last step; the other methods are in ``hwgen.compress.choices``.

``dyadic[:SET][,filter|kernel|layer][,dense=filter|layer][,digits=1|2|3|auto][,norm=data|weights]``

* SET: T3, P5, P7, P9, Q4, Q8, Q16, or the positive levels of a set of one's own: ``1/8+1/2+1``;
  ``auto``, the default, is P9, or the search's choice for each layer under ``--budget``.
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

from dataclasses import dataclass
from enum import Enum

from hwgen.compress import dyadic_budget
from hwgen.compress.methods.dyadic import Levels, Scale
from hwgen.errors import HwgenError

DEFAULT_SET = "P9"


class Norm(Enum):
    """Which error is made small."""

    DATA = "data"  # of the layer's output, over calibration images
    WEIGHTS = "weights"  # of the weights: the Frobenius norm


@dataclass(frozen=True)
class DyadicChoice:
    """What ``dyadic`` was asked to do.

    Parameters: set_name, None for auto; scale of convolutions; dense, scale of dense layers;
    digits of a scale, None for auto; norm, the error that is made small; extra, a budget in place
    of the set, and what else ``dyadic_budget`` reads.
    """

    set_name: str | None = None
    scale: Scale = Scale.FILTER
    dense: Scale = Scale.LAYER
    digits: int | None = None
    norm: Norm = Norm.DATA
    extra: dyadic_budget.Choice = dyadic_budget.Choice()

    @property
    def levels(self) -> Levels:
        """The set's levels."""
        return Levels.parse(self.set_name or DEFAULT_SET)

    @property
    def is_open(self) -> bool:
        """True if neither a set nor a budget of digits or adders is given."""
        return self.set_name is None and not self.extra.spends

    def text(self) -> str:
        """Return the argument that asks for this choice."""
        words = [] if self.extra.spends else [self.set_name or "auto"]
        words += [f"scale={self.scale.value}", f"dense={self.dense.value}"]
        words += [f"digits={self.digits or 'auto'}", f"norm={self.norm.value}", self.extra.text]
        return "dyadic:" + ",".join(word for word in words if word)


def parse_dyadic(text: str) -> DyadicChoice:
    """Read what follows ``dyadic:``. Raises: HwgenError, one line."""
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
        None if fields.get("set", "auto") == "auto" else fields["set"],
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
