"""Kernels before and after compression, side by side in one scale."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.network import Conv2d, Dense
from hwgen.report.material import Material
from hwgen.report.png import heat, png
from hwgen.report.text import count, minus, number, percent, shape, table

MOST = 16                        # kernels of a layer that are drawn, those of the first all
LAYERS = 32                      # layers whose kernels are drawn
SIDE, CELL = 44, 14              # pixels of a kernel's picture and of one weight, at most


def kernels(material: Material) -> str:
    """Return the section of kernels, and the error of each layer; nothing without weights."""
    network = material.network
    linear = [layer for layer in network.layers if isinstance(layer, (Conv2d, Dense))]
    if not linear:
        return ""
    shown = [layer for layer in linear if isinstance(layer, Conv2d)][:LAYERS]
    parts = [_layer(material, layer, MOST if n else None) for n, layer in enumerate(shown)]
    return (
        '<section><h2>Kernels</h2><p class="soft">Pairs: the trained kernel, then the integers '
        "that the hardware adds up, both in units of the real weight and in one scale a layer. "
        '<span class="swatch minus"></span>below zero, <span class="swatch plus"></span>above, '
        "colourless zero; strength is the share of the layer's largest weight.</p>"
        f"{_errors(material, linear)}{''.join(parts)}</section>"
    )


def _errors(material: Material, linear: list[Conv2d | Dense]) -> str:
    """The table of what compression did to each layer's weights."""
    rows = []
    for layer in linear:
        made, price = material.of_layer("compress", layer.name), material.costs[layer.name]
        zeros = 1 - price.nonzeros / layer.weight.size
        levels = np.unique(np.abs(layer.weight)).size
        each = price.digits / max(price.nonzeros, 1)
        rows.append((escape(layer.name), shape(layer.weight.shape), percent(made.get("error"), 1),
                     percent(zeros, 1), number(levels), number(each, 2)))
    return ('<div class="scroll">' + table(
        ("layer", "weights", "squared error", "zeros", "magnitudes", "digits a weight"), rows,
        kind="narrow") + "</div>")


def _layer(material: Material, layer: Conv2d, most: int | None) -> str:
    after = real_weights(layer)
    before = material.before.get(layer.name)
    if before is not None and before.shape != after.shape:
        before = None
    largest = max(float(np.abs(array).max(initial=0))
                  for array in (after, before) if array is not None)
    co, ci, kh, kw = after.shape
    places = [(o, i) for o in range(co) for i in range(ci)][:most]
    cell = max(3, min(CELL, SIDE // max(kh, kw)))
    size = f'width="{kw * cell}" height="{kh * cell}"'
    figures = []
    for o, i in places:
        pair = [("before", before[o, i])] if before is not None else []
        pair.append(("after", after[o, i]))
        pictures = "".join(
            f'<img src="{png(heat(kernel, largest))}" {size} alt="{escape(layer.name)} output {o} '
            f'input {i} {when}: {_extent(kernel)}">' for when, kernel in pair
        )
        figures.append(f'<figure class="kernel">{pictures}'
                       f"<figcaption>{o}, {i}</figcaption></figure>")
    which = "" if len(places) == co * ci else f", the first {len(places)} of {co * ci:,}"
    note = "" if before is not None else "; those before compression are not there"
    return (f'<h3>{escape(layer.name)} <span class="soft">{count(len(places), "kernel")}{which}, '
            f"output and input channel below each; full colour is {largest:.3g}{note}</span></h3>"
            f'<div class="kernels">{"".join(figures)}</div>')


def real_weights(layer: Conv2d | Dense) -> npt.NDArray[np.float64]:
    """Return the real values of a layer's integer weights."""
    shift = layer.frac_w.reshape(-1, *[1] * (layer.weight.ndim - 1))
    return np.ldexp(layer.weight.astype(np.float64), -shift)


def _extent(kernel: npt.NDArray[Any]) -> str:
    return minus(f"{float(kernel.min()):.3g} to {float(kernel.max()):.3g}")
