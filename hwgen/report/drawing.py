"""The network as a picture: boxes from top to bottom, a bar for the size of each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hwgen.network import Network
from hwgen.report.tables import describe
from hwgen.report.text import shape

WIDTH = 620                      # of the drawing, in pixels
PITCH, BOX, TOP = 58, 36, 26     # from box to box, height of a box, above the first
WIDE, LANE = 194, 20             # of a box, of a line that goes past boxes
ROOM = 104                       # for the figure behind the longest bar


def drawing(
    network: Network, sizes: Sequence[float | None], forms: Sequence[str], unit: str
) -> str:
    """Return the network as SVG.

    Parameters: sizes, one a layer, None where there is none to show; forms, a word a layer; unit,
    what the sizes are. A layer that reads another than the one before it gets a line past the
    boxes, with the shape of what it carries.
    """
    layers = network.layers
    places = {layer.name: n for n, layer in enumerate(layers)}
    direct, far = set(), []
    for n, layer in enumerate(layers):
        for source in dict.fromkeys(layer.inputs):
            if places[source] == n - 1:
                direct.add(n - 1)
            else:
                far.append((places[source], n))
    direct.add(len(layers) - 1)
    lanes = _lanes(far)
    left = 10 + LANE * (max(lanes.values()) + 1) if lanes else 2
    shapes = [shape(network.tensors[layer.name].shape) for layer in layers]
    height = TOP + len(layers) * PITCH + 4
    parts = [
        (f'<svg class="network" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
         f'role="img" aria-label="Flow of the {len(layers)} layers from {layers[0].name} to '
         f'{layers[-1].name}, with the size of each; the table of layers holds the figures">'),
        f'<text class="unit" x="{left + WIDE + 22}" y="13">{escape(unit)}</text>',
    ]
    column = {edge: left - 8 - LANE // 2 - LANE * lane for edge, lane in lanes.items()}
    parts += [_far(*edge, x, left) for edge, x in column.items()]
    for edge, x in column.items():
        crossing = [y for other in column if column[other] < x for y in _ends(*other)]
        parts.append(_along(x, _ends(*edge), crossing, shapes[edge[0]]))
    parts += [_arrow(n, left, shapes[n]) for n in sorted(direct)]
    for n, (layer, form) in enumerate(zip(layers, forms, strict=True)):
        words = describe(layer).split(" stride")[0].split(" padding")[0]
        parts.append(_box(n, left, layer.name, f"{words} · {form}" if form else words,
                          type(layer).__name__.lower()))
    parts.append(_bars(sizes, left + WIDE + 22))
    return "".join([*parts, "</svg>"])


def _lanes(edges: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return which lane each line past boxes takes; lines that overlap take different ones."""
    taken: dict[tuple[int, int], int] = {}
    for source, target in sorted(edges, key=lambda edge: (edge[1] - edge[0], edge)):
        used = {lane for (start, end), lane in taken.items() if start < target and source < end}
        taken[source, target] = next(n for n in range(len(edges)) if n not in used)
    return taken


def _top(n: int) -> int:
    return TOP + n * PITCH


def _arrow(n: int, left: int, sides: str) -> str:
    x, start, end = left + WIDE // 2, _top(n) + BOX, _top(n + 1)
    return (f'<path class="edge" d="M{x} {start}V{end - 5}"/>'
            f'<path class="tip" d="M{x - 3.5} {end - 7}h7l-3.5 6z"/>'
            f'<text class="size" x="{x + 9}" y="{start + 15}">{sides}</text>')


def _ends(source: int, target: int) -> tuple[int, int]:
    """Where a line past boxes leaves the one and comes to the other."""
    return _top(source) + BOX - 9, _top(target) + 9


def _far(source: int, target: int, x: int, left: int) -> str:
    start, end = _ends(source, target)
    return (f'<path class="edge" d="M{left} {start}H{x + 7}Q{x} {start} {x} {start + 7}V{end - 7}'
            f'Q{x} {end} {x + 7} {end}H{left - 6}"/>'
            f'<path class="tip" d="M{left - 7} {end - 3.5}v7l6 -3.5z"/>')


def _along(x: int, ends: tuple[int, int], crossing: Sequence[int], sides: str) -> str:
    """The shape along a line, as near to its middle as other lines leave room for."""
    long = 6 * len(sides) + 4
    middle = sum(ends) // 2
    free = [y for y in range(ends[0] + long // 2 + 9, ends[1] - long // 2 - 8)
            if all(abs(y - other) > long // 2 + 2 for other in crossing)]
    y = min(free, key=lambda place: abs(place - middle), default=middle)
    return (f'<g transform="translate({x} {y}) rotate(-90)"><rect class="gap" x="{-long / 2}" '
            f'y="-7" width="{long}" height="14"/>'
            f'<text class="size along" y="3.5">{sides}</text></g>')


def _box(n: int, left: int, name: str, words: str, kind: str) -> str:
    y = _top(n)
    return (f'<g class="layer {kind}"><title>{escape(name)}: {escape(words)}</title>'
            f'<rect x="{left}" y="{y}" width="{WIDE}" height="{BOX}" rx="5"/>'
            f'<text class="name" x="{left + 10}" y="{y + 15}">{escape(_short(name, 24))}</text>'
            f'<text class="kind" x="{left + 10}" y="{y + 29}">{escape(_short(words, 32))}</text>'
            "</g>")


def _bars(sizes: Sequence[float | None], x: int) -> str:
    known = [size for size in sizes if size is not None]
    largest, total = max([*known, 1]), sum(known) or 1
    parts = []
    for n, size in enumerate(sizes):
        if size is None:
            continue
        y = _top(n) + BOX // 2
        length = (WIDTH - ROOM - x) * max(size, 0) / largest
        share = f" · {100 * size / total:.0f} %" if size else ""
        if length:
            parts.append(f'<rect class="bar" x="{x}" y="{y - 7}" width="{max(length, 1.5):.1f}" '
                         'height="14" rx="1.5"/>')
        gap = length + 7 if length else 0
        parts.append(f'<text class="count" x="{x + gap:.1f}" y="{y + 4}">'
                     f"{size:,.0f}{share}</text>")
    return "".join(parts)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
