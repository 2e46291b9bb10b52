"""The page: verdict, picture of the network, tables, classes, images, waveforms, kernels, the
search, the commands behind it.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from pathlib import Path

from hwgen.files import write_atomic
from hwgen.network import Conv2d, Dense
from hwgen.report import tables
from hwgen.report.array import array, is_nfu
from hwgen.report.classes import classes
from hwgen.report.commands import commands
from hwgen.report.drawing import drawing
from hwgen.report.handshake import handshake
from hwgen.report.images import images
from hwgen.report.kernels import kernels
from hwgen.report.material import Material, read_material
from hwgen.report.pareto import pareto
from hwgen.report.text import count, is_number, number, shape, text

# Nothing may be fetched and no script may run, whatever a file's texts hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(directory: Path) -> Path:
    """Write ``report.html`` into a design's folder and return its path.

    Uses net.npz and whatever is there of compress.json, plan.json, ports.json, verify.json,
    synth.json, before.npz, samples.npz and trace.json; what is missing is named in the page. The
    same files give the same bytes.
    Raises: HwgenError if net.npz is missing, if a file is broken or of another network, or if the
    page cannot be written.
    """
    directory = Path(directory)
    material = read_material(directory)
    path = directory / "report.html"
    write_atomic(path, page(material))
    return path


def page(material: Material) -> str:
    """Return the page."""
    style = resources.files("hwgen.report").joinpath("style.css").read_text("utf-8")
    overview = (
        f'<div class="overview"><div>{_network(material)}</div><div class="figures">'
        f"<div>{tables.accuracy(material)}{tables.checks(material)}</div><div>{tables.cost(material)}</div></div></div>"
    )
    body = "\n".join(part for part in (
        _header(material), _verdict(material), _problems(material), _missing(material), overview,
        tables.layers(material), array(material), classes(material), images(material),
        handshake(material), kernels(material), pareto(material), commands(material),
        _footer(material),
    ) if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>hwgen: {escape(_name(material))}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _name(material: Material) -> str:
    model = material.network.metadata.get("model")
    return str(model)[:80] if model else "network"


def _header(material: Material) -> str:
    network = material.network
    sides = network.tensors[network.input.name].shape
    weights = sum(layer.weight.size for layer in network.layers
                  if isinstance(layer, (Conv2d, Dense)))
    methods = material.value("compress", "methods") or network.metadata.get("method")
    words = ", ".join(map(str, methods)) if isinstance(methods, list) else methods
    made = f"; compressed by {text(words)}" if words else ""
    engine = material.value("plan", "engine")
    built = f"; engine: {text(engine, 20)}" if engine else ""
    version = material.value("ports", "version")
    tool = f" · hwgen {text(version, 40)}" if version else ""
    return (
        f"<header><h1>{escape(_name(material))}</h1>"
        f"<p>{count(len(network.layers), 'layer')}, {shape(sides)} input, "
        f"{count(weights, 'integer weight')}{made}{built}.</p>"
        f'<p class="soft digest">network <code>{network.digest}</code>{tool}</p></header>'
    )


# ---------------------------------------------------------------------------------------------
# What was found


def _verdict(material: Material) -> str:
    """One sentence each on equality, proof and multipliers; a mark for all of it."""
    said = [_equality(material), _proof(material), _multipliers(material)]
    states = [state for state, _ in said]
    state = "bad" if "bad" in states else "open" if "open" in states else "good"
    mark, word = {"good": ("✓", "Passed"), "bad": ("✗", "Failed"),
                  "open": ("–", "Not complete")}[state]
    words = " ".join(sentence for _, sentence in said if sentence)
    return (f'<p class="verdict {state}"><span class="mark" aria-hidden="true">{mark}</span>'
            f"<span><b>{word}.</b> {words}</span></p>")


def _equality(material: Material) -> tuple[str, str]:
    verify = material.files.get("verify")
    if verify is None:
        return "open", "Not verified yet."
    compared, wrong = verify.get("values_compared"), verify.get("mismatches")
    images = verify.get("images")
    where = "in the simulated hardware " + (
        "(1 image)" if images == 1 else f"({number(images)} images)")
    gates = verify.get("gates")
    gates_right = not isinstance(gates, dict) or gates.get("passed") is True
    if verify.get("passed") is True and is_number(wrong) and wrong == 0 and gates_right:
        return "good", f"All {number(compared)} values compared {where} equal the golden model's."
    if is_number(wrong) and wrong:
        return "bad", (f"{number(wrong)} of {number(compared)} values compared {where} differ from "
                       "the golden model's.")
    return "bad", f"{number(compared)} values compared {where}; something else is wrong, see below."


def _proof(material: Material) -> tuple[str, str]:
    """Layers whose weights were proven from the netlist, of those that have weights."""
    linear = [layer for layer in material.network.layers if isinstance(layer, (Conv2d, Dense))]
    if "verify" not in material.files or not linear:
        return "good", ""
    if is_nfu(material):
        return "good", "The weights are in the program, so there is no netlist of them to prove."
    proofs = [material.of_layer("verify", layer.name).get("proof") for layer in linear]
    full, parts = proofs.count("full"), proofs.count("parts")
    if not full and not parts:
        return "open", "No layer is proven."
    rest = len(linear) - full - parts
    told = [f"{amount} {how}" for amount, how in (
        (full, "proven in full for all inputs"), (parts, "proven in parts"), (rest, "not proven"),
    ) if amount]
    words = f"Of {count(len(linear), 'layer')} with weights: {', '.join(told)}."
    return ("open" if rest else "good"), words


def _multipliers(material: Material) -> tuple[str, str]:
    synth = material.files.get("synth")
    if synth is None:
        return "open", "Not synthesised yet."
    cells, blocks = synth.get("mul_cells"), synth.get("dsp")
    words = f"{number(cells)} multiplier cells, {number(blocks)} DSP blocks."
    return ("good" if cells == 0 and blocks == 0 else "bad"), words


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
        said += [f"{name}: {words}" for words in problems] if isinstance(problems, list) else []
    lines = "".join(f'<p class="problem">{text(words, 400)}</p>' for words in said[:20])
    return f'<section><h2 class="bad">What is wrong</h2>{lines}</section>' if said else ""


def _missing(material: Material) -> str:
    if not material.missing:
        return ""
    lines = "".join(f"<li>{text(words, 400)}</li>" for words in material.missing)
    return (f'<section class="missing"><h2>Not in this report</h2><ul>{lines}</ul></section>')


# ---------------------------------------------------------------------------------------------


def _network(material: Material) -> str:
    layers = material.network.layers
    plan = [material.of_layer("plan", layer.name) for layer in layers]
    sizes = [entry["lut"] if is_number(entry.get("lut")) else None for entry in plan]
    unit = "LUT positions, the planner's estimate, and share"
    if is_nfu(material):
        sizes = [entry["interval"] if is_number(entry.get("interval")) else None for entry in plan]
        unit = "cycles an image, the compiler's estimate, and share"
    elif not any(size is not None for size in sizes):
        sizes = [layer.weight.size if isinstance(layer, (Conv2d, Dense)) else None
                 for layer in layers]
        unit = "weights, and share"
    forms = [str(entry.get("form", ""))[:20] for entry in plan]
    return ('<h2>Network</h2><div class="scroll">'
            + drawing(material.network, sizes, forms, unit) + "</div>")


def _footer(material: Material) -> str:
    tools = {"hwgen": material.value("ports", "version")}
    found = material.value("synth", "tools")
    tools |= found if isinstance(found, dict) else {}
    words = [f"{text(name, 60)} {text(version, 60)}" for name, version in tools.items() if version]
    simulator = material.value("verify", "simulator")
    words += [f"simulated with {text(simulator, 40)}"] if simulator else []
    return f'<footer class="soft">{" · ".join(words)}</footer>' if words else ""
