# amaranth: UnusedElaboratable=no
"""The fastest plan that fits a chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hwgen.errors import HwgenError
from hwgen.network import Network
from hwgen.stream import estimate
from hwgen.stream.chip import Chip
from hwgen.stream.layer_plan import Options
from hwgen.stream.plan import make_plan, structural_interval
from hwgen.stream.top import StreamTop
from hwgen.stream.widen import widen

SLOWEST = 1 << 10  # times the cycles that the image's size sets: nothing gets smaller beyond
KINDS = {"lut": "LUT positions", "ff": "flip-flops", "bram": "block RAMs"}

Maker = Callable[[Options], StreamTop]


def engine_cost(top: StreamTop, chip: Chip) -> dict[str, dict[str, int]]:
    """Return {lut, ff, bram} of every layer of an engine, by name."""
    return {plan.layer.name: estimate.layer_cost(plan, top.parts[plan.layer.name], chip)
            for plan in top.plan.layers}


def fit(network: Network, chip: Chip, make: Maker, options: Options | None = None) -> Options:
    """Return the options of the fastest engine that a chip holds.

    Intervals are tried from the one that the image's size sets on, or from that of ``options`` if
    it is longer, each half as long again, up to ``SLOWEST`` times that; the first that the chip
    holds is lowered as far as it goes. (It is not searched from both ends: a slower plan may need
    block RAMs that a faster one does not.) Each try is a whole plan, its cost estimated from the
    built components (hwgen.stream.estimate); it may take ``chip.usable`` of the LUT positions and
    flip-flops.

    Parameters
    ----------
    network : Network
    chip : Chip
    make : callable
        From Options to the engine.
    options : Options or None
        What else the user wants; ``interval``, the cycles an image that are tried first.

    Returns: options with ``chip`` and ``interval``.
    Raises: HwgenError naming what is short and the layer that takes most of it, if nothing fits.
    """
    options = replace(options or Options(), chip=chip)
    least = max(structural_interval(widen(network, options.pixels)), options.interval or 0)

    def lacks(interval: int) -> str | None:
        tried = replace(options, interval=interval)
        try:
            make_plan(network, tried)
        except HwgenError as error:
            return str(error)
        return shortage(make(tried), chip)

    if lacks(least) is None:
        return replace(options, interval=least)
    low = high = least
    while (short := lacks(high := min(high + high // 2 + 1, least * SLOWEST))) is not None:
        if high == least * SLOWEST:
            raise HwgenError(f"{chip.name} cannot hold the network at any pace: {short}")
        low = high
    while high - low > max(low // 64, 1):                   # to within 2 %
        middle = (low + high) // 2
        if lacks(middle) is None:
            high = middle
        else:
            low = middle
    return replace(options, interval=high)


def shortage(top: StreamTop, chip: Chip) -> str | None:
    """Say what an engine needs more of than a chip has, and the layer that takes most of it.

    Where flip-flops take LUT positions these are counted with the LUTs.
    """
    costs = engine_cost(top, chip)
    for cost in costs.values():
        cost["lut"] += round(cost["ff"] * chip.apart)
    for kind, words in KINDS.items():
        limit: Any = getattr(chip, kind)
        if limit is None:
            continue
        usable = limit if kind == "bram" else int(limit * chip.usable)
        total = sum(cost[kind] for cost in costs.values())
        if total > usable:
            worst = max(costs, key=lambda name: costs[name][kind])
            return (f"{total} {words} needed, {usable} of {limit} may be used; layer {worst} "
                    f"alone takes {costs[worst][kind]}")
    return None
