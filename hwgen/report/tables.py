"""The figures of a report: accuracy, checks, cost, and what each layer is made of."""

from __future__ import annotations

from html import escape
from typing import Any

from hwgen.layers import Activation, Add, AvgPool, Concat, Conv2d, Dense, Layer, MaxPool, Requantise
from hwgen.report.material import Material
from hwgen.report.text import DASH, is_number, minus, number, percent, shape, table, text

PROOF = {"full": "in full", "parts": "in parts", "none": DASH}


def rate(material: Material) -> float | None:
    """Return images per second at the placed clock, back to back, or None if not known."""
    fmax, interval = material.value("synth", "fmax_mhz"), material.value("plan", "interval")
    if not is_number(fmax) or not is_number(interval) or interval <= 0:
        return None
    return fmax * 1e6 / interval


def microseconds(material: Material) -> float | None:
    """Return the time from an image's first pixel to its result at the placed clock, or None."""
    fmax, latency = material.value("synth", "fmax_mhz"), material.value("plan", "latency")
    if not is_number(fmax) or not is_number(latency) or fmax <= 0:
        return None
    return latency / fmax


def accuracy(material: Material) -> str:
    """Return the table of accuracies from float to hardware."""
    compress, verify = material.files.get("compress", {}), material.files.get("verify", {})
    start = compress.get("accuracy_float")
    of = compress.get("images")

    def row(words: str, file: dict[str, Any], key: str) -> tuple[str, ...]:
        value = file.get(key)
        images = None if value is None else file.get("images")
        change = DASH
        # Points are of the same number of images, or they would mislead.
        if key != "accuracy_float" and images == of and is_number(value) and is_number(start):
            change = minus(f"{100 * (value - start):+.2f}")
        return words, percent(value), change, number(images)

    return "<h2>Accuracy</h2>" + table(("", "accuracy", "points", "images"), (
        row("float network", compress, "accuracy_float"),
        row("integer network", compress, "accuracy_integer"),
        row("golden model", verify, "accuracy_golden"),
        row("hardware, simulated", verify, "accuracy_rtl"),
    ))


def checks(material: Material) -> str:
    """Return the table of what was compared."""
    verify = material.files.get("verify")
    if verify is None:
        return '<h2>Checks</h2><p class="soft">Not verified yet.</p>'
    rows = [
        ("values compared", number(verify.get("values_compared"))),
        ("mismatches", number(verify.get("mismatches"))),
        ("images", number(verify.get("images"))),
        ("images, every layer watched", number(verify.get("images_every_layer"))),
        ("cycles simulated", number(verify.get("cycles"))),
        ("cycles an image, measured", number(verify.get("cycles_per_image"))),
        ("random gaps and stalls", _yes(verify.get("stalls"))),
        ("simulator", text(verify.get("simulator") or DASH, 40)),
    ]
    gates = verify.get("gates")
    if isinstance(gates, dict):
        rows += [
            (f"gate level, {text(gates.get('target'), 20)}: values",
             number(gates.get("values_compared"))),
            ("gate level: mismatches", number(gates.get("mismatches"))),
        ]
    return "<h2>Checks</h2>" + table((), rows)


def _yes(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else number(value)


def cost(material: Material) -> str:
    """Return the table of what the design takes on its target, and how fast it is."""
    synth = material.files.get("synth")
    if synth is None:
        return '<h2>Cost</h2><p class="soft">Not synthesised yet.</p>'
    spent = microseconds(material)
    rows = [
        ("LUT positions", number(synth.get("lut"))),
        ("flip-flops", number(synth.get("ff"))),
        ("carry cells", number(synth.get("carry"))),
        ("block RAMs", number(synth.get("bram"))),
        ("DSP blocks", number(synth.get("dsp"))),
        ("multiplier cells", number(synth.get("mul_cells"))),
        ("clock, placed and routed", _unit(number(synth.get("fmax_mhz"), 1), "MHz")),
        ("cycles an image", number(material.value("plan", "interval"))),
        ("images per second", number(rate(material), 0)),
        ("latency, cycles", number(material.value("plan", "latency"))),
        ("latency", _unit(number(spent, 2), "µs")),
    ]
    for key in ("gates", "area"):
        if synth.get(key) is not None:
            rows.append((key, number(synth[key])))
    where = str(synth.get("device") or synth.get("target"))
    return "<h2>Cost</h2>" + table((), rows, where)


def _unit(figure: str, unit: str) -> str:
    return figure if figure == DASH else f"{figure} {unit}"


# ---------------------------------------------------------------------------------------------
# Layers

# Title, unit or meaning for a pointer that rests on it; a group begins where the mark is True.
COLUMNS = (
    ("output", "channels × rows × columns", True),
    ("weights", "places for weights", True),
    ("nonzero", "weights that are not zero", False),
    ("digits", "nonzero signed digits of all weights", False),
    ("adders", "two-input adders and subtractors of the adder graph", False),
    ("depth", "adders on its longest path", False),
    ("LUT", "LUT positions, the planner's estimate", True),
    ("FF", "flip-flops, the planner's estimate", False),
    ("BRAM", "block RAMs, the planner's estimate", False),
    ("interval", "cycles an image", True),
    ("latency", "cycles", False),
    ("compared", "values held against the golden model", True),
    ("differ", "values that are not equal", False),
    ("proof", "for all inputs, from the netlist: in full, or in parts", False),
)
SUMMED = ("weights", "nonzero", "digits", "adders", "LUT", "FF", "BRAM", "compared", "differ")


def layers(material: Material) -> str:
    """Return the table of layers, with a line of sums."""
    rows, sums, seen = [], dict.fromkeys(SUMMED, 0.0), set()
    for layer in material.network.layers:
        figures = _figures(material, layer)
        for name in SUMMED:
            if is_number(figures[name]):
                sums[name] += figures[name]
                seen.add(name)
        plan = material.of_layer("plan", layer.name)
        head = (f'<th scope="row">{escape(layer.name)}<small>{escape(describe(layer))}</small>'
                f'</th><td class="form">{text(plan.get("form", DASH), 30)}'
                f'<small>{text(plan.get("why", ""), 300)}</small></td>')
        rows.append("<tr>" + head + _cells(figures) + "</tr>")
    known = {
        "weights": True, "nonzero": True, "digits": True,
        **dict.fromkeys(seen & {"adders", "LUT", "FF", "BRAM"}, True),
        **dict.fromkeys(("compared", "differ"), "verify" in material.files),
    }
    total = _cells({name: sums[name] if known.get(name) else None for name, _, _ in COLUMNS},
                   blank="")
    columns = "".join(
        f'<th scope="col" class="number{" group" if first else ""}" title="{escape(about)}">'
        f"{name}</th>" for name, about, first in COLUMNS
    )
    return (
        '<section><h2>Layers</h2><p class="soft">LUT, FF and BRAM are the planner\'s estimates; '
        "digits are nonzero signed digits; adders and depth are those of a layer's adder graph, "
        "a layer from ROM has none. Interval and latency in cycles.</p>"
        '<div class="scroll" role="region" aria-label="Layers" tabindex="0">'
        '<table class="layers"><thead><tr>'
        f'<th scope="col">layer</th><th scope="col">form</th>{columns}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody>"
        f'<tfoot><tr><th scope="row">all</th><td></td>{total}</tr></tfoot></table></div></section>'
    )


def _figures(material: Material, layer: Layer) -> dict[str, Any]:
    """Values of a layer by column; text that is HTML already, numbers, or None."""
    plan, seen = (material.of_layer(name, layer.name) for name in ("plan", "verify"))
    price = material.costs.get(layer.name)
    proof = seen.get("proof")
    return {
        "output": shape(material.network.tensors[layer.name].shape),
        "weights": layer.weight.size if isinstance(layer, (Conv2d, Dense)) else None,
        "nonzero": price.nonzeros if price else None,
        "digits": price.digits if price else None,
        **{name: plan.get(name) for name in ("adders", "depth")},
        **{name: plan.get(name.lower()) for name in ("LUT", "FF", "BRAM")},
        **{name: plan.get(name) for name in ("interval", "latency")},
        "compared": seen.get("compared"),
        "differ": seen.get("mismatches"),
        "proof": PROOF.get(str(proof), proof),
    }


def _cells(figures: dict[str, Any], blank: str = DASH) -> str:
    cells = []
    for name, _, first in COLUMNS:
        value = figures[name]
        words = number(value) if value is not None else blank
        bad = name == "differ" and is_number(value) and value != 0
        kind = "number" + (" group" if first else "") + (" bad" if bad else "")
        cells.append(f'<td class="{kind}{" none" if words == DASH else ""}">{words}</td>')
    return "".join(cells)


def describe(layer: Layer) -> str:
    """Return the kind of a layer and what else matters of it, in a few words."""
    words = [type(layer).__name__]
    match layer:
        case Conv2d():
            words.append(f"{layer.weight.shape[2]}×{layer.weight.shape[3]}")
            if layer.groups > 1:
                words.append("depthwise" if layer.weight.shape[1] == 1 else
                             f"{layer.groups} groups")
        case MaxPool() | AvgPool():
            words.append(f"{layer.kernel[0]}×{layer.kernel[1]}")
        case Requantise() | Activation():
            words.append(f"{layer.lo}..{layer.hi}")
        case Add() | Concat():
            words.append(f"of {len(layer.sources)}")
    if isinstance(layer, (Conv2d, MaxPool, AvgPool)):
        if set(layer.stride) != {1}:
            words.append("stride " + "×".join(map(str, dict.fromkeys(layer.stride))))
        if any(layer.padding):
            sides = layer.padding[:1] if len(set(layer.padding)) == 1 else layer.padding
            words.append("padding " + ",".join(map(str, sides)))
    return minus(" ".join(words))
