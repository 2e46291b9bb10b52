"""Small pictures for the documentation: lines over axes, and kernels as squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import numpy.typing as npt

INK, SOFT, FAINT = "#1b1f24", "#57606a", "#dfe4ea"
COLOURS = ("#2f66b5", "#c9921a", "#2e8b57", "#b3261e")
PLUS, MINUS = (29, 95, 208), (214, 96, 20)
FONT = "font:12px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"


def svg(width: float, height: float, about: str, parts: Sequence[str]) -> str:
    """Return a picture on white ground."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(about)}">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def label(x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK,
          more: str = "") -> str:
    """Return a text whose base line is at y."""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
            f'style="{FONT}"{more}>{escape(words)}</text>')


@dataclass
class Chart:
    """Lines and points over two axes.

    Parameters: about, what it shows; across and up, the axes' names; x and y, their ticks; log, y
    in powers of ten.
    """

    about: str
    across: str
    up: str
    x: Sequence[float]
    y: Sequence[float]
    log: bool = False
    width: int = 620
    height: int = 300
    parts: list[str] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point."""
        scale = math.log10 if self.log else float
        left, right, top, bottom = 64, self.width - 14, 12, self.height - 62
        share = (scale(y) - scale(self.y[0])) / (scale(self.y[-1]) - scale(self.y[0]))
        return (left + (right - left) * (x - self.x[0]) / (self.x[-1] - self.x[0]),
                bottom - (bottom - top) * share)

    def line(self, name: str, x: Sequence[float], y: Sequence[float], *, marks: bool = False,
             words: Sequence[str] = ()) -> None:
        """Add a line; marks, a dot at each point; words, one beside each dot."""
        colour = COLOURS[len(self.names)]
        places = [self.at(*pair) for pair in zip(x, y, strict=True)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        self.parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        for (a, b), word in zip(places, words or [""] * len(places), strict=True):
            if marks:
                self.parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.2" fill="{colour}"/>')
            if word:
                self.parts.append(label(a + 6, b - 6, word, colour=SOFT))
        self.names.append((name, colour))

    def draw(self) -> str:
        """Return the picture."""
        parts = []
        for tick in self.y:
            (a, b), (c, _) = self.at(self.x[0], tick), self.at(self.x[-1], tick)
            parts.append(f'<path d="M{a:.1f} {b:.1f}H{c:.1f}" stroke="{FAINT}"/>')
            parts.append(label(a - 8, b + 4, f"{tick:g}", anchor="end", colour=SOFT))
        for tick in self.x:
            (a, b), (_, d) = self.at(tick, self.y[0]), self.at(tick, self.y[-1])
            parts.append(f'<path d="M{a:.1f} {b:.1f}V{d:.1f}" stroke="{FAINT}"/>')
            parts.append(label(a, b + 17, f"{tick:g}", anchor="middle", colour=SOFT))
        middle = (12 + self.height - 62) / 2
        parts.append(label(14, middle, self.up, anchor="middle", colour=SOFT,
                           more=f' transform="rotate(-90 14 {middle:g})"'))
        parts.append(label(self.width / 2, self.height - 29, self.across, anchor="middle",
                           colour=SOFT))
        x = 64.0
        for name, colour in self.names:
            parts.append(f'<rect x="{x:.1f}" y="{self.height - 16}" width="12" height="4" '
                         f'fill="{colour}"/>')
            parts.append(label(x + 18, self.height - 9, name))
            x += 36 + 6.6 * len(name)
        return svg(self.width, self.height, self.about, [*parts, *self.parts])


def kernel(x: float, y: float, values: npt.NDArray[np.float64], cell: float, *,
           largest: float | None = None, words: npt.NDArray[np.str_] | None = None) -> list[str]:
    """Return a kernel as squares, its upper left corner at (x, y): blue above zero, orange below.

    Parameters: cell, side of a square; largest, what is shown in full colour; words, in them.
    """
    full = largest or float(np.abs(values).max()) or 1.0
    parts = []
    for row, column in np.ndindex(*values.shape):
        value = float(values[row, column])
        share = min(abs(value) / full, 1.0)
        colour = "rgb({})".format(",".join(
            f"{255 - share * (255 - part):.0f}" for part in (MINUS if value < 0 else PLUS)))
        a, b = x + column * cell, y + row * cell
        parts.append(f'<rect x="{a:.1f}" y="{b:.1f}" width="{cell:g}" height="{cell:g}" '
                     f'fill="{colour}" stroke="{FAINT}"/>')
        if words is not None:
            parts.append(label(a + cell / 2, b + cell / 2 + 4, str(words[row, column]),
                               anchor="middle", colour="#ffffff" if share > 0.55 else INK))
    return parts


def frame(x: float, y: float, width: float, height: float) -> str:
    """Return a dark outline."""
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="none" stroke="{INK}" stroke-width="2.2"/>')
