"""``DIR/report.html``: all that is known of a design, as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.files import write_atomic
from hwgen.network import Conv2d, Dense, Layer
from hwgen.report import picture
from hwgen.report.material import Material, Samples, read_material

DASH = "–"
NOTHING = int(np.iinfo(np.int64).min)     # in samples.npz: no result came
MOST_SAMPLES = 12
MOST_PICTURES = 24               # layers whose kernels are drawn
# Nothing may be fetched and no script may run, whatever a file's texts hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(directory: Path) -> Path:
    """Write ``report.html`` into a design's folder and return its path.

    Uses net.npz and whatever is there of compress.json, plan.json, ports.json, verify.json,
    synth.json, before.npz and samples.npz; what is missing is named in the page. The same files
    give the same bytes.
    Raises: HwgenError if net.npz is missing or broken, or if the page cannot be written.
    """
    directory = Path(directory)
    material = read_material(directory)
    path = directory / "report.html"
    write_atomic(path, page(material))
    return path


def page(material: Material) -> str:
    """Return the page."""
    title = f"hwgen: {_name(material)}"
    style = resources.files("hwgen.report").joinpath("style.css").read_text("utf-8")
    body = "\n".join(
        part for part in (
            _header(material), _tiles(material), _problems(material),
            f'<div class="pair"><div>{_accuracy(material)}</div><div>{_cost(material)}</div></div>',
            _network(material), _layers(material), _samples(material), _kernels(material),
            _missing(material), _footer(material),
        ) if part
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------------------------------
# Values as text. A file may hold anything in the place of a number: it is shown, escaped.


def _text(value: Any, most: int = 200) -> str:
    text = str(value)
    return escape(text if len(text) <= most else text[: most - 1] + "…")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any, digits: int = 0) -> str:
    if value is None:
        return DASH
    return f"{value:,.{digits}f}" if _is_number(value) else _text(value)


def _percent(value: Any) -> str:
    return f"{100 * value:.2f} %" if _is_number(value) else _number(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of cells that are HTML already; the first column is a heading, the others numbers."""
    columns = "".join(f'<th scope="col"{" class=number" if n else ""}>{escape(name)}</th>'
                      for n, name in enumerate(head))
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f'<td class="number">{cell}</td>' for cell in row[1:]) + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{columns}</tr></thead>" if head else ""
    note = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{note}{top}<tbody>{lines}</tbody></table>"


def _name(material: Material) -> str:
    model = material.network.metadata.get("model")
    return str(model)[:80] if model else "network"


# ---------------------------------------------------------------------------------------------
# Sections


def _header(material: Material) -> str:
    network, metadata = material.network, material.network.metadata
    channels, height, width = network.tensors[network.input.name].shape
    method = metadata.get("method")
    words = ", ".join(map(str, method)) if isinstance(method, list) else method
    made = f", compressed by {_text(words)}" if words else ""
    weights = sum(_weights(layer) for layer in network.layers)
    return (
        f"<header><h1>{escape(_name(material))}</h1>"
        f"<p>{len(network.layers)} layers, {channels} × {height} × {width} input{made}; "
        f"{weights:,} integer weights.</p>"
        f'<p class="soft digest">network <code>{network.digest}</code></p></header>'
    )


def _weights(layer: Layer) -> int:
    return layer.weight.size if isinstance(layer, (Conv2d, Dense)) else 0


def _rate(material: Material) -> float | None:
    """Images per second at the placed clock, back to back."""
    fmax, interval = material.value("synth", "fmax_mhz"), material.value("plan", "interval")
    if not _is_number(fmax) or not _is_number(interval) or interval <= 0:
        return None
    return float(fmax * 1e6 / interval)


def _tiles(material: Material) -> str:
    synth, verify = material.files.get("synth", {}), material.files.get("verify", {})
    tiles = []

    def tile(value: str, words: str, good: bool | None = None) -> None:
        mark = "" if good is None else ' class="good"' if good else ' class="bad"'
        tiles.append(f'<div class="tile"><b{mark}>{value}</b><span>{words}</span></div>')

    accuracy = verify.get("accuracy_rtl")
    if accuracy is not None:
        tile(_percent(accuracy), "accuracy in hardware")
    if verify:
        tile(_number(verify.get("mismatches")),
             f"mismatches in {_number(verify.get('values_compared'))} values",
             verify.get("mismatches") == 0 and verify.get("passed") is not False)
    if synth:
        tile(_number(synth.get("mul_cells")), "multipliers", synth.get("mul_cells") == 0)
        tile(_number(synth.get("dsp")), "DSP blocks", synth.get("dsp") == 0)
        if synth.get("lut") is not None:
            tile(_number(synth.get("lut")), f"LUTs, {_text(synth.get('target'))}")
        if synth.get("fmax_mhz") is not None:
            tile(f"{_number(synth.get('fmax_mhz'), 1)} MHz", "clock, placed and routed")
    rate = _rate(material)
    if rate is not None:
        tile(_number(rate), "images per second")
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _problems(material: Material) -> str:
    """What the checks found to be wrong."""
    said = []
    for name, where in (("verify", material.files.get("verify")),
                        ("gate level", material.value("verify", "gates"))):
        if not isinstance(where, dict):
            continue
        first = where.get("first_difference")
        if isinstance(first, dict):
            said.append(f"{name}: first difference: "
                        + ", ".join(f"{key} {value}" for key, value in first.items()))
        problems = where.get("problems")
        said += [f"{name}: {text}" for text in problems] if isinstance(problems, list) else []
    lines = "".join(f'<p class="problem">{_text(text, 400)}</p>' for text in said[:20])
    return f'<section><h2 class="bad">What is wrong</h2>{lines}</section>' if said else ""


def _accuracy(material: Material) -> str:
    compress, verify = material.files.get("compress", {}), material.files.get("verify", {})
    rows = [
        ("float, before compression", _percent(compress.get("accuracy_float")),
         _number(compress.get("images"))),
        ("integer network", _percent(compress.get("accuracy_integer")),
         _number(compress.get("images"))),
        ("golden model", _percent(verify.get("accuracy_golden")), _number(verify.get("images"))),
        ("hardware, simulated", _percent(verify.get("accuracy_rtl")),
         _number(verify.get("images"))),
    ]
    return "<h2>Accuracy</h2>" + _table(("", "accuracy", "images"), rows)


def _cost(material: Material) -> str:
    synth = material.files.get("synth")
    if synth is None:
        return '<h2>Cost</h2><p class="soft">Not synthesised yet.</p>'
    rows = [
        ("LUT positions", _number(synth.get("lut"))),
        ("flip-flops", _number(synth.get("ff"))),
        ("carry cells", _number(synth.get("carry"))),
        ("block RAMs", _number(synth.get("bram"))),
        ("DSP blocks", _number(synth.get("dsp"))),
        ("multiplier cells", _number(synth.get("mul_cells"))),
        ("clock, MHz", _number(synth.get("fmax_mhz"), 1)),
        ("cycles an image", _number(material.value("plan", "interval"))),
        ("latency, cycles", _number(material.value("plan", "latency"))),
        ("images per second", _number(_rate(material))),
    ]
    for key in ("gates", "area"):
        if synth.get(key) is not None:
            rows.append((key, _number(synth[key], 0 if key == "gates" else 1)))
    return "<h2>Cost</h2>" + _table((), rows, str(synth.get("device") or synth.get("target")))


def _network(material: Material) -> str:
    plan = [material.of_layer("plan", layer.name) for layer in material.network.layers]
    known = any(_is_number(entry.get("lut")) for entry in plan)
    if known:
        sizes = [entry.get("lut") if _is_number(entry.get("lut")) else None for entry in plan]
        unit = "LUTs, estimated by the planner"
    else:
        sizes = [_weights(layer) or None for layer in material.network.layers]
        unit = "weights"
    notes = [str(entry.get("form", ""))[:30] for entry in plan]
    return ("<section><h2>Network</h2>"
            + picture.drawing(material.network, sizes, notes, unit) + "</section>")


COLUMNS = ("layer", "output", "weights", "not zero", "digits", "adders", "LUTs", "interval",
           "latency", "compared", "differ", "proof")


def _layers(material: Material) -> str:
    rows = []
    for layer in material.network.layers:
        plan, seen = (material.of_layer(name, layer.name) for name in ("plan", "verify"))
        made = material.of_layer("compress", layer.name)
        cost = material.costs.get(layer.name)
        form = f", {_text(plan['form'], 30)}" if plan.get("form") else ""
        cells = [
            " × ".join(map(str, material.network.tensors[layer.name].shape)),
            _number(_weights(layer)) if cost else DASH,
            _number(cost.nonzeros) if cost else DASH,
            _number(cost.digits) if cost else DASH,
            _number(plan.get("adders", made.get("adders"))),
            _number(plan.get("lut")), _number(plan.get("interval")), _number(plan.get("latency")),
            _number(seen.get("compared")), _number(seen.get("mismatches")),
            _text(seen.get("proof", DASH), 20) if seen.get("proof") != "none" else DASH,
        ]
        head = (f'<th scope="row">{escape(layer.name)} <span class="soft">'
                f"{type(layer).__name__}{form}</span></th>")
        rows.append("<tr>" + head + "".join(
            f'<td class="number{" none" if cell == DASH else ""}" data-label="{label}">{cell}</td>'
            for label, cell in zip(COLUMNS[1:], cells, strict=True)
        ) + "</tr>")
    columns = "".join(f'<th scope="col"{" class=number" if n else ""}>{name}</th>'
                      for n, name in enumerate(COLUMNS))
    return (
        '<section><h2>Layers</h2><table class="layers"><caption>Digits: nonzero signed digits of '
        "all weights. LUTs: the planner's estimate. Interval and latency in cycles. Compared: "
        "values of the simulated hardware held against the golden model; proof: full for all "
        f"inputs from the netlist, or in parts.</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _samples(material: Material) -> str:
    samples = material.samples
    if samples is None or not len(samples.images):
        return ""
    layer = material.network.input
    figures = []
    for n in range(min(len(samples.images), MOST_SAMPLES)):
        shown = picture.png(picture.photo(samples.images[n], layer.lo, layer.hi))
        figures.append(f'<figure class="sample"><img src="{shown}" alt="input image {n}">'
                       f"<div>{_outcome(material, samples, n)}</div></figure>")
    return (
        "<section><h2>Images</h2><p class=\"soft\">What the golden model computes and what the "
        "simulated hardware gave; the bars are the hardware's scores. Images on which the two "
        "differ are taken first, then wrong classes, then the first of the set.</p>"
        f'<div class="samples">{"".join(figures)}</div></section>'
    )


def _outcome(material: Material, samples: Samples, n: int) -> str:
    names = material.network.metadata.get("class_names")

    def word(number: int) -> str:
        if number == NOTHING:
            return "nothing"
        known = isinstance(names, list) and 0 <= number < len(names)
        return _text(names[number] if known else number, 24)

    scores = [lane for lane, name in enumerate(samples.names) if name != "class"]

    def answer(row: Any) -> int | None:
        if "class" in samples.names:
            return int(row[samples.names.index("class")])
        return int(np.argmax(row[scores])) if scores else None

    expected, got = answer(samples.golden[n]), answer(samples.hardware[n])
    equal = bool(np.array_equal(samples.golden[n], samples.hardware[n]))
    lines = []
    if samples.labels is not None:
        lines.append(f"label {word(int(samples.labels[n]))}")
    if expected is not None and got is not None:
        lines.append(f"golden {word(expected)}, hardware {word(got)}")
    lines.append('<span class="good">all equal</span>' if equal
                 else '<span class="bad">different</span>')
    shown = samples.hardware[n][scores]
    bars = _bars(shown, got) if scores and NOTHING not in shown else ""
    return f'<figcaption>{"<br>".join(lines)}</figcaption>{bars}'


def _bars(scores: Any, winner: int | None) -> str:
    """Scores as columns over the lowest of them."""
    values = [int(score) for score in scores[:32]]
    low, high = min(values), max(values)
    step = 100 / len(values)
    columns = []
    for n, value in enumerate(values):
        height = 1 + 27 * (value - low) / max(high - low, 1)
        mark = ' class="winner"' if n == winner else ""
        columns.append(f'<rect{mark} x="{n * step:.1f}" y="{30 - height:.1f}" '
                       f'width="{step * 0.8:.1f}" height="{height:.1f}">'
                       f"<title>{n}: {value}</title></rect>")
    return f'<svg class="scores" viewBox="0 0 100 30" role="img">{"".join(columns)}</svg>'


def _kernels(material: Material) -> str:
    parts = []
    for layer in material.network.layers:
        if not isinstance(layer, (Conv2d, Dense)) or len(parts) == MOST_PICTURES:
            continue
        after = layer.weight * np.exp2(-layer.frac_w.astype(float)).reshape(
            -1, *[1] * (layer.weight.ndim - 1))
        before = material.before.get(layer.name)
        figures = ""
        if before is not None and before.shape == layer.weight.shape:
            figures += _figure("before, float", before)
        zeros = 1 - np.count_nonzero(layer.weight) / layer.weight.size
        figures += _figure(f"after, integers; {100 * zeros:.0f} % zeros", after)
        shape = " × ".join(map(str, layer.weight.shape))
        parts.append(f'<h3>{escape(layer.name)} <span class="soft">{type(layer).__name__}, '
                     f'{shape}</span></h3><div class="kernels">{figures}</div>')
    return (
        '<section><h2>Kernels</h2><p class="soft">Blue is positive, orange negative, strength is '
        "the share of the layer's largest weight. Rows are output channels, columns input "
        "channels; of a layer with one input channel the kernels follow each other. The first "
        f"8 × 16 kernels, or 128 × 512 weights of a dense layer.</p>{''.join(parts)}</section>"
        if parts else ""
    )


def _figure(words: str, weight: Any) -> str:
    kernel = weight.shape[-1] + 1 if weight.ndim == 4 else 1
    columns = weight.shape[1] if weight.ndim == 2 or weight.shape[1] > 1 else weight.shape[0]
    wide = min(columns, 512 if weight.ndim == 2 else 16) * kernel * (12 if kernel > 1 else 6)
    return (f'<figure><figcaption>{escape(words)}</figcaption>'
            f'<img style="--wide:{wide}px" src="{picture.kernels(weight)}" alt="{escape(words)}">'
            "</figure>")


def _missing(material: Material) -> str:
    if not material.missing:
        return ""
    lines = "".join(f"<li>{_text(text, 400)}</li>" for text in material.missing)
    return f'<section><h2>Not in this report</h2><ul class="notes">{lines}</ul></section>'


def _footer(material: Material) -> str:
    tools = {"hwgen": material.value("ports", "version")}
    found = material.value("synth", "tools")
    tools |= found if isinstance(found, dict) else {}
    simulator = material.value("verify", "simulator")
    words = [f"{_text(name, 60)} {_text(version, 60)}"
             for name, version in tools.items() if version]
    words += [f"simulated with {_text(simulator, 40)}"] if simulator else []
    return f'<footer class="soft">{", ".join(words)}</footer>' if words else ""
