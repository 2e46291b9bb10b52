"""Accuracy against a cost, as SVG: what nothing beats in colour, the others grey."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hwgen.report.text import minus
from hwgen.sweep.pareto import ACCURACY, View

WIDTH, HEIGHT = 400, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 34
WIDE = 12.0                   # a cost that varies more than so many times gets a logarithmic axis


class Axis:
    """One axis: from values to pixels.

    Parameters: values, all that are shown; start and end, in pixels; log, logarithmic.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool) -> None:
        self.log = log
        low, high = min(values), max(values)
        room = 0.06 * (self._place(high) - self._place(low)) or (0.5 if log else abs(low) * 0.05
                                                                   or 1.0)
        self._low, self._high = self._place(low) - room, self._place(high) + room
        self._start, self._end = start, end

    def _place(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def at(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        share = (self._place(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self, most: int) -> list[float]:
        """Return round values within the axis, at most about ``most``."""
        if self.log:
            first, last = math.floor(self._low), math.ceil(self._high)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [step * 10.0**n for n in range(first, last + 1) for step in steps
                         if self._low <= n + math.log10(step) <= self._high]
                if 2 <= len(found) <= most:
                    return found
            every = math.ceil((last - first) / most)
            return [10.0**n for n in range(first + 1, last, every)]
        span = self._high - self._low
        unit = 10.0 ** math.floor(math.log10(span / most))
        step = next(unit * n for n in (1, 2, 2.5, 5, 10, 20) if span / (unit * n) <= most)
        first = math.ceil(self._low / step)
        return [n * step for n in range(first, math.floor(self._high / step) + 1)]


def chart(view: View, labels: Mapping[str, str]) -> str:
    """Return a view as SVG. Parameters: labels, key -> the point in words."""
    costs = [float(row[view.key]) for row in view.rows]
    log = min(costs) > 0 and max(costs) > WIDE * min(costs)
    x = Axis(costs, LEFT, WIDTH - RIGHT, log=log)
    y = Axis([100 * row[ACCURACY] for row in view.rows], HEIGHT - BOTTOM, TOP, log=False)
    parts = [
        (f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Accuracy '
         f'against {escape(view.title)} of {len(view.rows)} points, {len(view.front)} of them not '
         'dominated; the table holds the figures">'),
        _axes(x, y),
        _steps(view, x, y),
    ]
    front_last = sorted(view.rows, key=lambda row: row["key"] in view.front)
    parts += [_mark(row, x.at(row[view.key]), y.at(100 * row[ACCURACY]),
                    row["key"] in view.front, labels[row["key"]]) for row in front_last]
    return "".join([*parts, "</svg>"])


def _axes(x: Axis, y: Axis) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in y.ticks(6):
        at = y.at(value)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>'
                     f'<text class="y" x="{LEFT - 6}" y="{at + 4:.1f}">{minus(_short(value))} %'
                     "</text>")
    for value in x.ticks(6):
        at = x.at(value)
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>'
                     f'<text class="x" x="{at:.1f}" y="{bottom + 15}">{_thousands(value)}</text>')
    parts.append(f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{right - LEFT}" '
                 f'height="{bottom - TOP}"/>')
    return "".join(parts)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _thousands(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g} {unit}"
    return f"{value:,g}"


def _steps(view: View, x: Axis, y: Axis) -> str:
    """The border of what can be had: from the cheapest of the front to the most accurate."""
    places = sorted({(row[view.key], row[ACCURACY]) for row in view.rows
                     if row["key"] in view.front})
    path = f"M{x.at(places[0][0]):.1f} {y.at(100 * places[0][1]):.1f}"
    for cost, accuracy in places[1:]:
        path += f"H{x.at(cost):.1f}V{y.at(100 * accuracy):.1f}"
    return f'<path class="steps" d="{path}"/>'


def kind_of(row: Mapping[str, Any]) -> str:
    """Return the class of a point's mark: stream, nfu, or none where no engine was built."""
    engine = str(row["engine"] or "").partition(":")[0]
    return engine if engine in ("stream", "nfu") else "none"


def _mark(row: Mapping[str, Any], x: float, y: float, front: bool, label: str) -> str:
    kind = kind_of(row)
    style = f"front {kind}" if front else "dominated"
    size = 4.5 if front else 3.5
    if kind == "nfu":
        shape = (f'<rect class="{style}" x="{x - size:.1f}" y="{y - size:.1f}" '
                 f'width="{2 * size}" height="{2 * size}">')
    else:
        shape = f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{size}">'
    closing = "</rect>" if kind == "nfu" else "</circle>"
    return (f'<a href="#p-{row["key"]}">{shape}<title>{escape(label)}</title>{closing}</a>')
