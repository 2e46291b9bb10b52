"""The engines of a space: ``NAME[:option[=value],...]``, as arguments of ``hwgen rtl``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hwgen.errors import HwgenError

MOST_CYCLES = 65536
LANES = ("4", "8", "16", "32")
CODES = ("wide", "narrow", "base", "product")
MEMORIES = ("chip", "axi")


class Kind(Enum):
    """An engine."""

    STREAM = "stream"
    NFU = "nfu"


@dataclass(frozen=True)
class Engine:
    """An engine and what ``hwgen rtl`` is told of it.

    Parameters
    ----------
    kind : Kind
    text : str
        As in the space file.
    options : tuple of str
        Flags of ``hwgen rtl``, without ``--fit``.
    fits : bool
        The point's target is given to ``--fit``.
    """

    kind: Kind
    text: str
    options: tuple[str, ...] = ()
    fits: bool = False

    def arguments(self, target: str | None) -> tuple[str, ...]:
        """Return the flags of ``hwgen rtl`` for a target."""
        fit = ("--fit", target) if self.fits and target is not None else ()
        return ("--engine", self.kind.value, *self.options, *fit)


def parse_engine(text: str) -> Engine:
    """Return the engine that a text names.

    ``stream``, ``stream:cycles-per-pixel=N``, ``stream:fit``; ``nfu`` with ``tn=4|8|16|32``,
    ``code=wide|narrow|base|product``, ``memory=chip|axi`` behind the colon, commas between.
    Raises: HwgenError, one line, for anything else.
    """
    name, _, rest = text.partition(":")
    try:
        kind = Kind(name)
    except ValueError:
        raise HwgenError(f"engines: stream or nfu needed, not {name!r}") from None
    known = {Kind.STREAM: ("cycles-per-pixel", "fit"), Kind.NFU: ("tn", "code", "memory")}[kind]
    given: dict[str, str] = {}
    for part in rest.split(",") if rest else []:
        option, _, value = part.partition("=")
        if option not in known:
            raise HwgenError(f"engines: {name} takes {', '.join(known)}, not {option!r}")
        if option in given:
            raise HwgenError(f"engines: {name} takes {option} once, not twice")
        given[option] = _checked(option, value)
    if len(given) > 1 and kind is Kind.STREAM:
        raise HwgenError(f"engines: cycles-per-pixel or fit needed, not both: {text!r}")
    options = [word for option in known if option in given and option != "fit"
               for word in (f"--{option}", given[option])]
    return Engine(kind, text, tuple(options), "fit" in given)


def _checked(option: str, value: str) -> str:
    values = {"fit": ("",), "tn": LANES, "code": CODES, "memory": MEMORIES}.get(option)
    if values is None:
        try:
            good = 1 <= float(value) <= MOST_CYCLES
        except ValueError:
            good = False
        needed = f"a number from 1 to {MOST_CYCLES}"
    else:
        good, needed = value in values, ", ".join(values) or "no value"
    if not good:
        raise HwgenError(f"engines: {option}: {needed} needed, not {value!r}")
    return value
