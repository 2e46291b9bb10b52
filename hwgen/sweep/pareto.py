"""Which points are worth a look: those that no other point beats.

A point is dominated by another of the same group that is at least as accurate at no more cost and
better in one of the two; points that are equal in both do not dominate each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ACCURACY = "accuracy_integer"


@dataclass(frozen=True)
class View:
    """A chart: accuracy against one cost, of the points whose costs can be compared.

    Parameters
    ----------
    key : str
        Column of the cost.
    title : str
    rows : sequence of mapping
        Points with both figures.
    front : frozenset of str
        Keys of those that are not dominated.
    """

    key: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    front: frozenset[str]


def front_of(rows: Iterable[Mapping[str, Any]], cost: str) -> frozenset[str]:
    """Return the keys of the rows that none dominates: most accuracy, least cost.

    From the cheapest up, of equal cost the most accurate first: a row stays if it is more accurate
    than every cheaper one, or equal in both to one that stayed. n log n for n rows.
    """
    best, at, kept = float("-inf"), None, set()
    for row in sorted(rows, key=lambda row: (row[cost], -row[ACCURACY])):
        accuracy = row[ACCURACY]
        if accuracy > best:
            best, at = accuracy, row[cost]
        if (accuracy, row[cost]) == (best, at):
            kept.add(row["key"])
    return frozenset(kept)


def views(rows: Iterable[Mapping[str, Any]]) -> list[View]:
    """Return the charts of the points that are done: adders, cycles, and LUTs by target.

    LUTs of different targets, or estimated and counted ones, are not one measure: each has a chart
    of its own. Adders are the network's, whatever is built of it: that chart has the first point of
    each network.
    """
    done = [row for row in rows if row["status"] == "done" and row[ACCURACY] is not None]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    networks = set()
    for row in done:
        if row["adders"] is not None and row["digest"] not in networks:
            networks.add(row["digest"])
            groups.setdefault(("adders", "adders"), []).append(row)
        if row["cycles"] is not None:
            groups.setdefault(("cycles", "cycles an image"), []).append(row)
        if row["lut"] is not None:
            where = row["target"] or ""
            if row["lut_from"] == "estimate":
                where = f"estimate for {where}" if where else "estimate"
            groups.setdefault(("lut", f"LUTs, {where}"), []).append(row)
    order = ("lut", "cycles", "adders")
    return [View(cost, title, found, front_of(found, cost))
            for (cost, title), found in sorted(
                groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))]
