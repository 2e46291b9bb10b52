"""Waveforms as a picture: a clock, wires of one bit, and words, as a simulation saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

CELL, ROW = 34, 26               # pixels of a cycle, from one signal to the next
LEFT, TOP = 72, 22               # room for the names, and for the numbers of the cycles
HIGH, LOW, SLOPE = 5, 19, 3      # of a wire, below the top of its row; of its edges
LETTERS = 4                      # of a word that a cell has room for

# The look of a picture on its own, the light one of style.css.
STYLE = """<style>
text { font: 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #57606a; }
.signal { text-anchor: end; fill: #1b1f24; font-size: 12px; }
.cycle, .value { text-anchor: middle; }
.value { fill: #1b1f24; font-family: ui-monospace, Menlo, "DejaVu Sans Mono", monospace; }
.grid { stroke: #eaeef2; fill: none; }
.mark { fill: #ecf7ee; }
.clock { fill: none; stroke: #57606a; }
.wire { fill: none; stroke: #2f66b5; stroke-width: 1.6; stroke-linejoin: round; }
.word { fill: #f6f7f9; stroke: #57606a; }
.unknown { fill: #fdeeec; stroke: #b3261e; }
</style>"""


def waves(
    signals: Mapping[str, Sequence[str]], *, first: int = 0, about: str = "",
    marks: Sequence[int] = (), names: Mapping[str, str] | None = None,
) -> str:
    """Return waveforms as SVG; its look is in the classes of ``style.css``.

    Parameters
    ----------
    signals : mapping
        A value a cycle: ``0``, ``1`` and ``x`` of a wire; of others, hexadecimal digits, drawn as
        words that end where they change. A signal is a wire if it has no other values than these
        and its name does not end in ``data``.
    first : int
        Number of the first cycle.
    about : str
        What it shows, for those who cannot see it.
    marks : sequence of int
        Cycles with a shade behind them.
    names : mapping, optional
        What is written beside a signal, if not its name.
    """
    cycles = max((len(values) for values in signals.values()), default=0)
    width, height = LEFT + CELL * cycles + 2, TOP + ROW * (len(signals) + 1) + 2
    parts = [
        (f'<svg class="waves" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
         f'role="img" aria-label="{escape(about)}">'),
    ]
    parts += [
        f'<rect class="mark" x="{LEFT + CELL * (cycle - first)}" y="{TOP - 4}" width="{CELL}" '
        f'height="{height - TOP + 2}"/>' for cycle in marks if 0 <= cycle - first < cycles
    ]
    for n in range(cycles):
        x = LEFT + CELL * n
        parts.append(f'<path class="grid" d="M{x} {TOP - 4}V{height - 2}"/>'
                     f'<text class="cycle" x="{x + CELL / 2:g}" y="12">{first + n}</text>')
    parts.append(_name(0, "clock") + _clock(cycles))
    for n, (name, values) in enumerate(signals.items(), 1):
        parts.append(_name(n, (names or {}).get(name, name)))
        parts.append(_wire(n, values) if _is_wire(name, values) else _words(n, values))
    return "".join([*parts, "</svg>"])


def picture(
    signals: Mapping[str, Sequence[str]], *, first: int = 0, about: str = "",
    marks: Sequence[int] = (),
) -> str:
    """Return waveforms as an SVG file of its own, on white ground; parameters as of ``waves``."""
    drawn = waves(signals, first=first, about=about, marks=marks)
    head = drawn.index(">") + 1
    return (drawn[:head].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"') + STYLE
            + '<rect width="100%" height="100%" fill="#ffffff"/>' + drawn[head:] + "\n")


def _is_wire(name: str, values: Sequence[str]) -> bool:
    return not name.endswith("data") and set(values) <= {"0", "1", "x"}


def _y(row: int) -> int:
    return TOP + ROW * row


def _name(row: int, name: str) -> str:
    return f'<text class="signal" x="{LEFT - 10}" y="{_y(row) + 16}">{escape(name)}</text>'


def _clock(cycles: int) -> str:
    """A cell begins at a rising edge; what it shows is taken at the next one, its end."""
    high, low, half = _y(0) + HIGH, _y(0) + LOW, CELL // 2
    steps = f"V{high}h{half}V{low}h{half}" * cycles
    return f'<path class="clock" d="M{LEFT} {low}{steps}"/>'


def _runs(values: Sequence[str]) -> list[tuple[str, int, int]]:
    """Values that stay: (value, first place, place behind the last)."""
    runs: list[tuple[str, int, int]] = []
    for n, value in enumerate(values):
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1], n + 1)
        else:
            runs.append((value, n, n + 1))
    return runs


def _wire(row: int, values: Sequence[str]) -> str:
    level = {"0": _y(row) + LOW, "1": _y(row) + HIGH, "x": _y(row) + (LOW + HIGH) / 2}
    path, unknown = "", []
    for n, (value, start, end) in enumerate(_runs(values)):
        x, y = LEFT + CELL * start, level[value]
        path += f"L{x + SLOPE} {y:g}" if n else f"M{x} {y:g}"
        path += f"L{LEFT + CELL * end} {y:g}"
        if value == "x":
            unknown.append(f'<rect class="unknown" x="{x + 1}" y="{_y(row) + HIGH}" '
                           f'width="{CELL * (end - start) - 2}" height="{LOW - HIGH}"/>')
    return "".join(unknown) + f'<path class="wire" d="{path}"/>'


def _words(row: int, values: Sequence[str]) -> str:
    parts = []
    for value, start, end in _runs(values):
        x, right = LEFT + CELL * start, LEFT + CELL * end
        high, low = _y(row) + HIGH, _y(row) + LOW
        middle = (high + low) / 2
        kind = "unknown" if "x" in value else "word"
        parts.append(
            f'<path class="{kind}" d="M{x} {middle:g}L{x + SLOPE} {high}H{right - SLOPE}'
            f'L{right} {middle:g}L{right - SLOPE} {low}H{x + SLOPE}Z"><title>{escape(value)}'
            "</title></path>"
        )
        room = LETTERS + (end - start - 1) * 5
        shown = value if len(value) <= room else "…" + value[len(value) - room + 1:]
        parts.append(f'<text class="value" x="{(x + right) / 2:g}" y="{middle + 4:g}">'
                     f"{escape(shown)}</text>")
    return "".join(parts)
