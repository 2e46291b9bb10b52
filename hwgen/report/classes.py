"""Accuracy in hardware class by class, and what the wrong images were taken for."""

from __future__ import annotations

from typing import Any

from hwgen.report.material import Material
from hwgen.report.text import count, number, percent, table, text

MATRIX = 20                    # classes of which the whole matrix is shown
WORST = 15                     # rows of the lists that stand in its place


def classes(material: Material) -> str:
    """Return the section of classes, nothing without labels."""
    rows = _table(material.value("verify", "confusion"))
    if not rows or not any(map(sum, rows)):
        return ""
    names = _names(material, len(rows))
    body = _matrix(rows, names) if len(rows) <= MATRIX else _lists(rows, names)
    wrong = sum(map(sum, rows)) - sum(row[n] for n, row in enumerate(rows))
    return (
        f'<section><h2>Classes</h2><p class="soft">Images of each class by the class that the '
        f"simulated hardware gave: {count(wrong, 'image')} of {number(sum(map(sum, rows)))} in a "
        f"wrong one.</p>{body}</section>"
    )


def _table(found: Any) -> list[list[int]]:
    """The matrix if it is one of whole numbers, else nothing."""
    if not isinstance(found, list) or not all(
            isinstance(row, list) and len(row) == len(found) and all(
                type(value) is int and value >= 0 for value in row) for row in found):
        return []
    return found


def _names(material: Material, most: int) -> list[str]:
    names = material.network.metadata.get("class_names")
    known = names if isinstance(names, list) else []
    return [text(known[n] if n < len(known) else n, 16) for n in range(most)]


def _right(row: list[int], place: int) -> str:
    return percent(row[place] / sum(row), 1) if any(row) else percent(None)


def _matrix(rows: list[list[int]], names: list[str]) -> str:
    largest = max([value for n, row in enumerate(rows) for m, value in enumerate(row) if n != m]
                  + [1])
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in names)
    lines = []
    for n, row in enumerate(rows):
        cells = []
        for m, value in enumerate(row):
            if n == m:
                cells.append(f'<td class="number right">{number(value)}</td>')
            elif value:
                cells.append(f'<td class="number wrong" style="--share:{value / largest:.2f}" '
                             f'title="{names[n]} taken for {names[m]}">{number(value)}</td>')
            else:
                cells.append('<td class="number none">·</td>')
        lines.append(f'<tr><th scope="row">{names[n]}</th>{"".join(cells)}'
                     f'<td class="number group">{number(sum(row))}</td>'
                     f'<td class="number">{_right(row, n)}</td></tr>')
    return (
        '<div class="scroll" role="region" aria-label="Classes" tabindex="0">'
        '<table class="confusion"><thead><tr><th scope="col">class</th>'
        f'{head}<th scope="col" class="number group">images</th>'
        '<th scope="col" class="number">right</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _lists(rows: list[list[int]], names: list[str]) -> str:
    """Of many classes: those with least right, and the mistakes that are made most often."""
    seen = [n for n, row in enumerate(rows) if any(row)]
    worst = sorted(seen, key=lambda n: (rows[n][n] / sum(rows[n]), n))[:WORST]
    mistakes = sorted(((value, n, m) for n, row in enumerate(rows) for m, value in enumerate(row)
                       if value and n != m), key=lambda found: (-found[0], found[1:]))[:WORST]
    return '<div class="figures lists"><div>' + table(
        ("class", "images", "right"),
        [(names[n], number(sum(rows[n])), _right(rows[n], n)) for n in worst],
        f"the {len(worst)} of {len(rows)} classes with least right",
    ) + "</div><div>" + table(
        ("class", "taken for", "images"),
        [(names[n], names[m], number(value)) for value, n, m in mistakes],
        "the mistakes that are made most often",
    ) + "</div></div>"
