"""The report of a sweep: what nothing beats, every point with the command that makes it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import hwgen
from hwgen.files import write_atomic
from hwgen.report.page import POLICY
from hwgen.report.text import DASH, count, number, percent, text
from hwgen.sweep.chart import chart, kind_of
from hwgen.sweep.lead import STORE
from hwgen.sweep.pareto import View, views
from hwgen.sweep.space import Space
from hwgen.sweep.store import Store

MOST_ROWS = 2000              # of the table; those that are not dominated come first
LOG = 6000                    # characters of a failure's log that are shown: its end
KINDS = (("stream", "stream"), ("nfu", "nfu"), ("none", "no engine built"))

Row = Mapping[str, Any]


def write_report(space: Space, folder: Path) -> list[str]:
    """Write ``report.html`` into a sweep's folder.

    Returns: the keys of the points that no other dominates in at least one chart.
    Raises: HwgenError if the store is broken or the page cannot be written.
    """
    with Store(folder / STORE) as store:
        rows = store.rows()
    names = {point.key: point.name for point in space.points}
    found = [rows[key] for key in names if key in rows]
    shown = views(found)
    write_atomic(folder / "report.html", page(space, found, shown, names))
    front = frozenset().union(*(view.front for view in shown))
    return [row["key"] for row in found if row["key"] in front]


def page(space: Space, rows: Sequence[Row], shown: Sequence[View],
         names: Mapping[str, str]) -> str:
    """Return the page. Parameters: rows, the finished points; names, all points in words."""
    style = "".join(
        resources.files(package).joinpath("style.css").read_text("utf-8")
        for package in ("hwgen.report", "hwgen.sweep"))
    body = "\n".join(part for part in (
        _header(space, names), _verdict(rows, names), _charts(shown, rows, names),
        _table(shown, rows, names), _failures(rows, names), _footer(space),
    ) if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>hwgen sweep: {escape(space.path.stem)}</title>\n<style>\n{style}</style>\n"
        f"</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(space: Space, names: Mapping[str, str]) -> str:
    models = dict.fromkeys(point.source.model for point in space.points)
    data = dict.fromkeys(point.source.data for point in space.points)
    return (f"<header><h1>{escape(space.path.stem)}</h1>"
            f"<p>A sweep of {count(len(names), 'point')}: {text(', '.join(models))} on "
            f"{text(', '.join(data))}.</p>"
            f'<p class="soft">hwgen {hwgen.__version__} · {escape(space.path.name)}</p></header>')


def _verdict(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    failed = sum(row["status"] == "failed" for row in rows)
    done, left = len(rows) - failed, len(names) - len(rows)
    state = "bad" if failed else "open" if left else "good"
    mark, word = {"good": ("✓", "All done"), "bad": ("✗", "Points failed"),
                  "open": ("…", "Not finished")}[state]
    more = f", {left:,} not finished (the same command goes on)" if left else ""
    return (f'<p class="verdict {state}"><span class="mark" aria-hidden="true">{mark}</span>'
            f"<span><b>{word}.</b> {done:,} done, {failed:,} failed{more}.</span></p>")


def _charts(shown: Sequence[View], rows: Sequence[Row], names: Mapping[str, str]) -> str:
    if not shown:
        return ""
    present = {kind_of(row) for row in rows if row["status"] == "done"}
    keys = "".join(f'<span class="key {kind}"></span>{words}' for kind, words in KINDS
                   if kind in present)
    figures = "".join(
        f"<figure><figcaption>{escape(view.title)} <small>{len(view.front)} of "
        f"{len(view.rows):,} not dominated</small></figcaption>"
        f"{chart(view, names)}</figure>" for view in shown)
    return (
        '<section><h2>Accuracy against cost</h2><p class="soft">Of the integer network, on the '
        "test images. A grey point is dominated in its chart: another is at least as accurate at "
        "no more cost, and better in one of the two. LUTs are compared within a target; adders are "
        f"those of the layers' adder graphs, a point a network.{keys}"
        '<span class="key dominated"></span>dominated</p>'
        f'<div class="charts">{figures}</div></section>'
    )


# ---------------------------------------------------------------------------------------------
# All points

COLUMNS = ("accuracy", "adders", "cycles", "LUT", "FF", "BRAM", "MHz", "images/s", "not dominated")


def _table(shown: Sequence[View], rows: Sequence[Row], names: Mapping[str, str]) -> str:
    done = [row for row in rows if row["status"] == "done"]
    if not done:
        return ""
    where: dict[str, list[str]] = {}
    for view in shown:
        for key in view.front:
            where.setdefault(key, []).append(view.title.partition(",")[0].split(" ")[0])
    order = sorted(done, key=lambda row: (row["key"] not in where,
                                          -(row["accuracy_integer"] or 0)))
    lines = "".join(_line(row, names[row["key"]], where.get(row["key"], []))
                    for row in order[:MOST_ROWS])
    heads = "".join(f'<th scope="col" class="number">{name}</th>' for name in COLUMNS)
    left = (f"; the first {MOST_ROWS:,} of {len(order):,}, all are in {STORE}"
            if len(order) > MOST_ROWS else "")
    return (
        '<section><h2>Points</h2><p class="soft">Those that nothing beats first. A command '
        "runs in the folder of the space file, and makes <code>point</code> there"
        f"{left}.</p>"
        '<div class="scroll" role="region" aria-label="Points" tabindex="0">'
        f'<table class="points"><thead><tr><th scope="col">point</th>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></section>"
    )


def _line(row: Row, name: str, where: Sequence[str]) -> str:
    fmax, cycles = row["fmax_mhz"], row["cycles"]
    rate = fmax * 1e6 / cycles if fmax and cycles else None
    lut = number(row["lut"]) + ("*" if row["lut_from"] == "estimate" and row["lut"] else "")
    cells = (percent(row["accuracy_integer"]), number(row["adders"]), number(cycles), lut,
             number(row["ff"]), number(row["bram"]), number(fmax, 1),
             number(rate, 0), escape(", ".join(where)) or DASH)
    kind = "" if where else ' class="dominated"'
    title = (f'<th scope="row">{escape(name)}<details><summary>command</summary><pre><code>'
             f"{escape(row['command'])}</code></pre></details></th>")
    return (f'<tr id="p-{row["key"]}"{kind}>{title}'
            + "".join(f'<td class="number">{cell}</td>' for cell in cells) + "</tr>")


def _failures(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    failed = [row for row in rows if row["status"] == "failed"]
    if not failed:
        return ""
    alike: dict[tuple[str, str, str], list[Row]] = {}
    for row in failed:
        alike.setdefault((row["failed_stage"], row["error"], row["log"]), []).append(row)
    parts = []
    for (stage, error, log), several in alike.items():
        points = "".join(
            f"<li>{escape(names[row['key']])}<details><summary>command</summary><pre><code>"
            f"{escape(row['command'])}</code></pre></details></li>" for row in several)
        parts.append(
            f'<div class="failure"><p class="problem"><b>{escape(stage)}:</b> {text(error, 600)}'
            f"</p><ul>{points}</ul><details><summary>log</summary>"
            f'<pre class="log"><code>{escape((log or "")[-LOG:])}</code></pre></details></div>')
    return (f"<section><h2>Failures</h2><p class=\"soft\"><code>--retry</code> tries them again."
            f"</p>{''.join(parts)}</section>")


def _footer(space: Space) -> str:
    return (f'<footer class="soft">* the plan\'s estimate, not synthesised. Everything is in '
            f"<code>{STORE}</code>; <code>hwgen sweep {escape(space.path.name)}</code> goes on."
            "</footer>")
