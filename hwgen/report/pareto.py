"""The networks that a search found: what each costs and what accuracy it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from hwgen.report.material import Material
from hwgen.report.text import count, is_number, number, percent, text

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

    Parameters: cost; accuracy, 0 to 1; lost, points below the float network; what, its layers'
    treatments.
    """

    cost: float
    accuracy: float
    lost: Any
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
    limit = (f" At most {number(budget)} points of accuracy could be lost." if is_number(budget)
             else "")
    filled = " (filled)" if any(point.cost == cost for point in points) else ""
    chosen = f" The one that was taken{filled} costs {number(cost)}." if is_number(cost) else ""
    return (
        f'<section><h2>Search</h2><p class="soft">{count(len(points), "network")}{told} that no '
        "other beats in both accuracy (on training images that were not learnt) and "
        f"{escape(words)}.{limit}{chosen}</p>"
        f'<div class="scroll">{_plot(points, words, cost)}</div>{_table(points, cost)}</section>'
    )


def _points(found: Any) -> list[Point]:
    points = []
    for entry in found[:MOST] if isinstance(found, list) else ():
        if isinstance(entry, dict) and is_number(entry.get("cost")) and is_number(
                entry.get("accuracy")):
            layers = entry.get("layers")
            what = "; ".join(f"{name}: {how}" for name, how in layers.items()) if isinstance(
                layers, dict) else ""
            if entry.get("prune"):
                what = f"all: pruned by {number(entry['prune'], 2)}; {what}"
            points.append(Point(entry["cost"], entry["accuracy"], entry.get("lost"), what))
    return sorted(points, key=lambda point: (point.cost, point.accuracy))


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
    up = _ticks(100 * min(p.accuracy for p in points), 100 * max(p.accuracy for p in points), 5)

    def x(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (cost - across[0]) / (across[-1] - across[0])

    def y(accuracy: float) -> float:
        share = (100 * accuracy - up[0]) / (up[-1] - up[0])
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [
        (f'<svg class="plot" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
         f'role="img" aria-label="Accuracy against {escape(unit)}; the table below holds the '
         'figures">'),
    ]
    digits = 0 if up[1] - up[0] >= 1 else 1 if up[1] - up[0] >= 0.1 else 2
    for value in up:
        at = y(value / 100)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/><text class="up" '
                     f'x="{LEFT - 8}" y="{at + 4:.1f}">{value:.{digits}f} %</text>')
    for value in across:
        parts.append(f'<path class="grid" d="M{x(value):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
                     f'<text class="across" x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 16}">'
                     f"{value:,.0f}</text>")
    steps = f"M{x(points[0].cost):.1f} {y(points[0].accuracy):.1f}" + "".join(
        f"H{x(p.cost):.1f}V{y(p.accuracy):.1f}" for p in points[1:])
    parts.append(f'<path class="front" d="{steps}"/>')
    for point in points:
        kind = "point taken" if point.cost == taken else "point"
        parts.append(f'<circle class="{kind}" cx="{x(point.cost):.1f}" '
                     f'cy="{y(point.accuracy):.1f}" r="4.5"><title>{number(point.cost)}, '
                     f"{percent(point.accuracy)}: {text(point.what, 300)}</title></circle>")
    parts.append(f'<text class="across" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 5}">'
                 f"{escape(unit)}</text></svg>")
    return "".join(parts)


def _table(points: list[Point], taken: Any) -> str:
    rows = "".join(
        f'<tr{" class=taken" if point.cost == taken else ""}>'
        f'<td class="number">{number(point.cost)}</td>'
        f'<td class="number">{percent(point.accuracy)}</td>'
        f'<td class="number">{_lost(point.lost)}</td>'
        f'<td class="what">{text(point.what, 400)}</td></tr>' for point in points)
    return (f'<details><summary>{count(len(points), "network")} with their layers\' treatments'
            '</summary><div class="scroll"><table class="search"><thead><tr>'
            '<th scope="col" class="number">cost</th><th scope="col" class="number">accuracy</th>'
            '<th scope="col" class="number">points lost</th><th scope="col">layers</th></tr>'
            f"</thead><tbody>{rows}</tbody></table></div></details>")


def _lost(points: Any) -> str:
    return number(points, 2) if is_number(points) else number(points)
