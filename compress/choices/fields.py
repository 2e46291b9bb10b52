"""The text behind ``--method NAME:``: options with commas between, ``key=value``, the first one
possibly bare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

from hwgen.errors import HwgenError

AUTO = "auto"  # the search chooses, under --budget
ALL = "all"

Kind = TypeVar("Kind", bound=Enum)
Value = TypeVar("Value")


class Fields:
    """The options of one ``--method``.

    Parameters
    ----------
    method : str
        Its name, for messages.
    text : str
        What follows the colon.
    first : str or None
        The option that may be given bare, in the first place.
    options : sequence of str
        All that there are.
    bare : mapping
        Words that stand for an option wherever they are: word -> option.

    Raises: HwgenError, one line, for an unknown option, a bare word or an option given twice.
    """

    def __init__(
        self,
        method: str,
        text: str,
        *,
        first: str | None,
        options: Sequence[str],
        bare: Mapping[str, str] | None = None,
    ) -> None:
        self.method, self._values = method, dict[str, str]()
        for position, part in enumerate(part for part in text.split(",") if part):
            key, equals, value = part.partition("=")
            if not equals:
                key, value = (bare or {}).get(part, "" if position else first or ""), part
                if not key:
                    raise self.wrong(f"options like {options[-1]}=...", part)
            if key not in options:
                raise self.wrong(f"options {', '.join(options)}", key)
            if key in self._values:
                raise HwgenError(f"--method {method}: {key} once needed, not twice")
            self._values[key] = value

    def wrong(self, needed: str, came: str) -> HwgenError:
        """Return the error that says what was needed and what came."""
        return HwgenError(f"--method {self.method}: {needed} needed, not {came!r}")

    def text(self, option: str, default: str) -> str:
        """Return the option as it was given."""
        return self._values.get(option, default)

    def enum(self, option: str, kind: type[Kind], default: Kind) -> Kind:
        """Return a member by its value."""
        text = self.text(option, str(default.value))
        for member in kind:
            if member.value == text:
                return member
        *most, last = (str(member.value) for member in kind)
        raise self.wrong(f"{option}={', '.join(most)} or {last}", text)

    def flag(self, option: str, default: bool) -> bool:
        """Return yes or no."""
        text = self.text(option, yes(default))
        if text not in ("yes", "no"):
            raise self.wrong(f"{option}=yes or no", text)
        return text == "yes"

    def auto(self, option: str, read: Callable[[str, str], Value]) -> Value | None:
        """Return what ``read(option, text)`` makes of it, None for auto or where not given."""
        text = self.text(option, AUTO)
        return None if text == AUTO else read(option, text)

    def share(self, option: str, text: str) -> float:
        """Return a number above 0 and at most 1."""
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value <= 1:
            raise self.wrong(f"{option}=a share above 0, at most 1,", text)
        return value

    def part(self, option: str, text: str) -> float:
        """Return a number from 0 to below 1."""
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < 1:
            raise self.wrong(f"{option}=a share from 0 to below 1", text)
        return value

    def count(self, option: str, text: str) -> int:
        """Return a whole number from 1 up."""
        if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text)):
            raise self.wrong(f"{option}=a whole number from 1", text)
        return int(text)

    def layers(self) -> tuple[str, ...]:
        """Return the names after ``layers=``, apart by ``+``; none for all layers."""
        text = self.text("layers", ALL)
        if text == ALL:
            return ()
        names = tuple(text.split("+"))
        if not all(names) or len(set(names)) != len(names):
            raise self.wrong("layers=names, each once, apart by +,", text)
        return names


def yes(value: bool) -> str:
    """Return yes or no."""
    return "yes" if value else "no"


def shown(value: float | int | str | None) -> str:
    """Return a value as an option's text; None is auto."""
    if value is None:
        return AUTO
    return repr(value) if isinstance(value, float) else str(value)


def named(layers: Sequence[str]) -> str:
    """Return ``layers=`` as text."""
    return "+".join(layers) or ALL
