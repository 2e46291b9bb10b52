"""A few images with what the golden model and the hardware made of them."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from hwgen.report.material import NOTHING, Material, Samples
from hwgen.report.png import photo, png
from hwgen.report.text import DASH, number, text

MOST_IMAGES, MOST_SCORES = 12, 10
BAR, TALL = 84, 15               # pixels of a score's bars


def images(material: Material) -> str:
    """Return the section of images, nothing if there are none."""
    samples = material.samples
    if samples is None or not len(samples.images):
        return ""
    cards = [_card(material, samples, n) for n in range(min(len(samples.images), MOST_IMAGES))]
    return (
        '<section><h2>Images</h2><p class="soft">What the golden model computes '
        '(<span class="swatch golden"></span>golden) and what the simulated hardware gave '
        '(<span class="swatch hardware"></span>hardware), as exact integers. An image on which '
        "the two differ and some in a wrong class are shown where there are such, then the first "
        f'of the set.</p><div class="cards">{"".join(cards)}</div></section>'
    )


def _card(material: Material, samples: Samples, n: int) -> str:
    layer = material.network.input
    place = number(int(samples.index[n]))
    label = None if samples.labels is None else _class(material, int(samples.labels[n]))
    expected, got = _answer(samples, samples.golden[n]), _answer(samples, samples.hardware[n])
    equal = bool(np.array_equal(samples.golden[n], samples.hardware[n]))
    picture = png(photo(samples.images[n], layer.lo, layer.hi))
    called = f"image {place}" + (f", label {label}" if label is not None else "")
    lines = [f"<b>image {place}</b>"]
    if label is not None:
        lines.append(f"label {label}")
    if expected is not None:
        wrong = samples.labels is not None and int(samples.labels[n]) != expected
        lines.append(f"golden {_class(material, expected)}{' (wrong)' if wrong else ''}")
        lines.append(f"hardware {_class(material, got) if got is not None else DASH}")
    lines.append('<span class="good">✓ all equal</span>' if equal
                 else '<span class="bad">✗ different</span>')
    return (f'<figure class="card"><img src="{picture}" alt="{called}">'
            f'<figcaption>{"<br>".join(lines)}</figcaption>{_scores(material, samples, n)}'
            "</figure>")


def _class(material: Material, place: int) -> str:
    """The name of a class if the network file gives it, else its number."""
    if place == NOTHING:
        return "nothing"
    names = material.network.metadata.get("class_names")
    if isinstance(names, list) and 0 <= place < len(names):
        return text(names[place], 24)
    return text(place, 24)


def _answer(samples: Samples, row: Any) -> int | None:
    """The class that a row of outputs names, or that of its largest score."""
    if "class" in samples.names:
        return int(row[samples.names.index("class")])
    scores = _lanes(samples)
    return int(np.argmax(row[scores])) if scores else None


def _lanes(samples: Samples) -> list[int]:
    return [lane for lane, name in enumerate(samples.names) if name != "class"]


def _scores(material: Material, samples: Samples, n: int) -> str:
    """The table of scores, golden and hardware side by side; the highest ones if there are many."""
    lanes = _lanes(samples)
    golden = [int(samples.golden[n][lane]) for lane in lanes]
    hardware = [int(samples.hardware[n][lane]) for lane in lanes]
    known = [value for value in (*golden, *hardware) if value != NOTHING]
    if not known:
        return ""
    lo, hi = min(*known, 0), max(*known, 0)
    best = sorted(range(len(lanes)), key=lambda place: -golden[place])[:MOST_SCORES]
    words = max(len(_class(material, place)) for place in best)
    figures = max(8, *(len(number(value)) for value in known))
    rows = []
    for place in sorted(best):
        a, b = golden[place], hardware[place]
        kind = ' class="bad"' if a != b else ' class="best"' if place == best[0] else ""
        rows.append(
            f'<tr{kind}><th scope="row">{_class(material, place)}</th>'
            f"<td>{_bars(a, b, lo, hi)}</td>"
            f'<td class="number">{number(a)}</td>'
            f'<td class="number">{number(b) if b != NOTHING else DASH}</td></tr>'
        )
    more = (f"<caption>the {len(best)} highest of {len(lanes)} scores</caption>"
            if len(best) < len(lanes) else "")
    column = f'<th scope="col" class="number" style="width:calc({figures}ch + 10px)">'
    return (f'<table class="scores">{more}<thead><tr>'
            f'<th scope="col" style="width:{min(max(words, 5), 10) + 1}ch">class</th>'
            '<th scope="col"><span class="hidden">bars</span></th>'
            f"{column}golden</th>{column}hardware</th>"
            f"</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def _bars(golden: int, hardware: int, lo: int, hi: int) -> str:
    """Two bars from zero, golden above hardware."""
    def at(value: int) -> float:
        return BAR * (value - lo) / max(hi - lo, 1)

    zero = at(0)
    parts = []
    for value, kind, y in ((golden, "golden", 1), (hardware, "hardware", 8)):
        if value != NOTHING:
            start, end = sorted((zero, at(value)))
            parts.append(f'<rect class="{escape(kind)}" x="{start:.1f}" y="{y}" '
                         f'width="{max(end - start, 0.5):.1f}" height="6"/>')
    return (f'<svg width="{BAR}" height="{TALL}" viewBox="0 0 {BAR} {TALL}" '
            'preserveAspectRatio="none" aria-hidden="true">'
            f'{"".join(parts)}<path class="zero" d="M{zero:.1f} 0V{TALL}"/></svg>')
