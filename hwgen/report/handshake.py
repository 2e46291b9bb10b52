"""What the ports did, cycle by cycle, around the first pixel, the end of an image, a result."""

from __future__ import annotations

from html import escape

from hwgen.report.material import Material, Window
from hwgen.report.waves import waves

ORDER = ("tvalid", "tready", "tlast", "tdata")


def handshake(material: Material) -> str:
    """Return the section of waveforms, nothing if there are none."""
    parts = [_window(window) for window in material.windows]
    if not parts:
        return ""
    held = "with random gaps and stalls" if material.value("verify", "stalls") is True else (
        "at full speed")
    return (
        f'<section><h2>Handshake</h2><p class="soft">The ports as the simulation saw them, {held}. '
        "A beat goes over at the rising edge that ends a cycle in which tvalid and tready are both "
        "high; those cycles are shaded. Cycles count from the start of the run, words are "
        "hexadecimal (rest on one for all of it).</p>"
        f'<div class="traces">{"".join(parts)}</div></section>'
    )


def _window(window: Window) -> str:
    figures = []
    for end in dict.fromkeys(end for end, _ in window.signals):
        signals = {name: window.signals[end, name] for name in ORDER
                   if window.signals.get((end, name))}
        moves = [window.first + n for n, pair in enumerate(zip(
            signals.get("tvalid", ()), signals.get("tready", ()), strict=False))
            if pair == ("1", "1")]
        # An output that waits for its first result, an input after the last pixel: nothing to see.
        if not moves:
            continue
        about = (f"{window.title}: {end} port, cycles {window.first} to "
                 f"{window.first + len(signals['tvalid']) - 1}; beats in cycles "
                 f"{', '.join(map(str, moves))}")
        figures.append(f'<figure class="scroll"><figcaption>{end}</figcaption>'
                       f"{waves(signals, first=window.first, about=about, marks=moves)}</figure>")
    return (f'<div class="window"><h3>{escape(window.title.capitalize())}</h3>'
            f'<div class="traces">{"".join(figures)}</div></div>')
