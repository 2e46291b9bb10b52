"""The networks that a search found: what each costs and what accuracy it loses."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from hwgen.report.material import Material
from hwgen.report.text import count, is_number, minus, number, percent, text

WIDTH, HEIGHT = 620, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 38
UNITS = {
    "adders": "two-input adders, none shared", "luts": "LUT positions of the adders",
    "cycles": "cycles an image", "macs": "products an image that are not with zero",
}
MOST = 200                     # points that are drawn


@dataclass(frozen=True)
class Point:
    """A network.

    Parameters: cost; lost, points below the float network; accuracy, 0 to 1, if known; what, its
    layers' treatments.
    """

    cost: float
    lost: float
    accuracy: Any
    what: str


def pareto(material: Material) -> str:
    """Return the section of the search, nothing if there was none."""
    made = material.files.get("compress", {})
    points = _points(made.get("pareto"))
    if not points:
        return ""
    objective, cost = str(made.get("objective")), made.get("cost")
    measured, budget = made.get("networks_measured"), made.get("budget")
    words = UNITS.get(objective, text(objective, 40))
    told = f" of {number(measured)} measured" if is_number(measured) else ""
    limit = f" The budget was {number(budget, 2)} points." if is_number(budget) else ""
    filled = " (filled)" if any(point.cost == cost for point in points) else ""
    chosen = f" The one that was taken{filled} costs {number(cost)}." if is_number(cost) else ""
    return (
        f'<section><h2>Search</h2><p class="soft">{count(len(points), "network")}{told} that no '
        "other beats in both cost and accuracy lost. The loss is measured on the last "
        "training images, in points below the float network; the cost is counted in "
        f"{escape(words)}.{limit}{chosen}</p>"
        f'<div class="scroll">{_plot(points, words, cost)}</div>{_table(points, cost)}</section>'
    )


def _points(found: Any) -> list[Point]:
    points = []
    for entry in found[:MOST] if isinstance(found, list) else ():
        if isinstance(entry, dict) and is_number(entry.get("cost")) and is_number(
                entry.get("lost")):
            layers = entry.get("layers")
            what = "; ".join(f"{name}: {how}" for name, how in layers.items()) if isinstance(
                layers, dict) else ""
            if entry.get("prune"):
                what = f"all: pruned by {number(entry['prune'], 2)}; {what}"
            points.append(Point(entry["cost"], entry["lost"], entry.get("accuracy"), what))
    return sorted(points, key=lambda point: (point.cost, point.lost))


def _ticks(lo: float, hi: float, most: int) -> list[float]:
    """Round numbers from at most lo to at least hi, at most ``most`` steps of them."""
    step, span = 10.0 ** -6, hi - lo or abs(hi) or 1.0
    while span / step > most:
        for factor in (2, 2.5, 2):
            step *= factor
            if span / step <= most:
                break
    first = int(lo // step)
    return [n * step for n in range(first, int(-(-hi // step)) + 1)] if hi > lo else [
        first * step, (first + 1) * step]


def _plot(points: list[Point], unit: str, taken: Any) -> str:
    across = _ticks(min(p.cost for p in points), max(p.cost for p in points), 7)
    down = _ticks(min(p.lost for p in points), max(p.lost for p in points), 5)

    def x(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (cost - across[0]) / (across[-1] - across[0])

    def y(lost: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (lost - down[0]) / (down[-1] - down[0])

    parts = [
        (f'<svg class="plot" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
         f'role="img" aria-label="Points lost against {escape(unit)}; the table below holds the '
         'figures">'),
    ]
    step = down[1] - down[0]
    digits = 0 if step >= 1 else 1 if step >= 0.1 else 2
    for value in down:
        at = y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/><text class="up" '
                     f'x="{LEFT - 8}" y="{at + 4:.1f}">{minus(f"{value:.{digits}f}")}</text>')
    for value in across:
        parts.append(f'<path class="grid" d="M{x(value):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
                     f'<text class="across" x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 16}">'
                     f"{value:,.0f}</text>")
    steps = f"M{x(points[0].cost):.1f} {y(points[0].lost):.1f}" + "".join(
        f"H{x(p.cost):.1f}V{y(p.lost):.1f}" for p in points[1:])
    parts.append(f'<path class="front" d="{steps}"/>')
    for point in points:
        kind = "point taken" if point.cost == taken else "point"
        parts.append(f'<circle class="{kind}" cx="{x(point.cost):.1f}" '
                     f'cy="{y(point.lost):.1f}" r="4.5"><title>{number(point.cost)}, '
                     f"{number(point.lost, 2)} points: {text(point.what, 300)}</title></circle>")
    parts.append(f'<text class="across" transform="rotate(-90 14 {HEIGHT / 2 - 12:g})" x="14" '
                 f'y="{HEIGHT / 2 - 12:g}">points lost</text>')
    parts.append(f'<text class="across" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 5}">'
                 f"{escape(unit)}</text></svg>")
    return "".join(parts)


def _table(points: list[Point], taken: Any) -> str:
    rows = "".join(
        f'<tr{" class=taken" if point.cost == taken else ""}>'
        f'<td class="number">{number(point.cost)}</td>'
        f'<td class="number">{number(point.lost, 2)}</td>'
        f'<td class="number">{percent(point.accuracy)}</td>'
        f'<td class="what">{text(point.what, 400)}</td></tr>' for point in points)
    return (f'<details><summary>{count(len(points), "network")} with their layers\' treatments'
            '</summary><div class="scroll"><table class="search"><thead><tr>'
            '<th scope="col" class="number">cost</th>'
            '<th scope="col" class="number">points lost</th>'
            '<th scope="col" class="number">accuracy</th><th scope="col">layers</th></tr>'
            f"</thead><tbody>{rows}</tbody></table></div></details>")
