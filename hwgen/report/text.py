"""Values as HTML text. A file may hold anything in the place of a number: it is shown, escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TypeGuard

DASH = "–"


def text(value: Any, most: int = 200) -> str:
    """Return any value as text of at most ``most`` characters, escaped."""
    words = str(value)
    return escape(words if len(words) <= most else words[: most - 1] + "…")


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number; truth values are none."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and math.isfinite(value))


def number(value: Any, digits: int | None = None) -> str:
    """Return a number with its thousands apart, a dash for None.

    Parameters: digits, behind the point; None: as many as a whole number needs, else one.
    """
    if value is None:
        return DASH
    if not is_number(value):
        return text(value)
    if digits is None:
        digits = 0 if value == int(value) else 1
    return minus(f"{value:,.{digits}f}")


def minus(figure: str) -> str:
    """Return a figure with a true minus sign, as wide as a plus."""
    return figure.replace("-", "−")


def percent(value: Any, digits: int = 2) -> str:
    """Return a share, 0 to 1, as per cent."""
    return f"{100 * value:.{digits}f} %" if is_number(value) else number(value)


def shape(sides: Iterable[int]) -> str:
    """Return sizes with a cross between them."""
    return " × ".join(str(side) for side in sides)


def count(amount: int, one: str, several: str = "") -> str:
    """Return ``1 layer``, ``2 layers``."""
    return f"{amount:,} {one if amount == 1 else several or one + 's'}"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = ""
) -> str:
    """Return a table of cells that are HTML already; the first column is a heading, the others are
    numbers.
    """
    columns = "".join(f'<th scope="col"{" class=number" if n else ""}>{escape(name)}</th>'
                      for n, name in enumerate(head))
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f'<td class="number">{cell}</td>' for cell in row[1:]) + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{columns}</tr></thead>" if head else ""
    note = f"<caption>{escape(caption)}</caption>" if caption else ""
    mark = f' class="{kind}"' if kind else ""
    return f"<table{mark}>{note}{top}<tbody>{lines}</tbody></table>"
