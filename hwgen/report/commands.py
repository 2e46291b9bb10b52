"""The commands that make the same again, as far as the files tell."""

from __future__ import annotations

import shlex
from html import escape
from typing import Any

from hwgen.report.material import Material
from hwgen.report.text import is_number

REFERENCE = ("digits", "lenet5")         # models that `hwgen train` makes


def commands(material: Material) -> str:
    """Return the section of commands; a step that has not been taken is left out."""
    metadata = material.network.metadata
    data, model = _data(metadata.get("data")), metadata.get("model")
    lines: list[list[str]] = []
    if "compress" in material.files:
        trained = "MODEL"
        if model in REFERENCE:
            trained = f"{model}.safetensors"
            lines.append(["train", str(model), "--data", data, "--out", trained])
        lines.append(["compress", trained, "--data", data, "--out", "net.npz",
                      *_compress(material)])
    if "plan" in material.files:
        lines.append(["rtl", "net.npz", "--out", "DIR", *_rtl(material)])
    if "verify" in material.files:
        lines.append(["verify", "DIR", *_verify(material.files["verify"], data)])
    if "synth" in material.files:
        lines.append(["synth", "DIR", *_synth(material.files["synth"])])
    lines.append(["report", "DIR"])
    shown = "\n".join(shlex.join(["hwgen", *line]) for line in lines)
    return (
        '<section><h2>Commands</h2><p class="soft">What makes the same again; DIR is this folder, '
        "FOLDER that of the images, MODEL the trained network.</p>"
        f"<pre><code>{escape(shown)}</code></pre></section>"
    )


def _data(name: Any) -> str:
    if name == "digits":
        return "digits"
    return f"{name}:FOLDER" if isinstance(name, str) and name else "DATA"


def _compress(material: Material) -> list[str]:
    made = material.files["compress"]
    words = []
    methods = made.get("methods")
    for method in methods if isinstance(methods, list) else []:
        words += ["--method", str(method)]
    options = material.network.metadata.get("options")
    bits = options.get("act_bits") if isinstance(options, dict) else None
    words += _number("--budget", made.get("budget")) + _number("--finetune", made.get("finetune"))
    if isinstance(made.get("objective"), str):
        words += ["--objective", made["objective"]]
    return words + _number("--act-bits", bits) + _number("--seed", made.get("seed"))


def _rtl(material: Material) -> list[str]:
    plan, config = material.files["plan"], material.value("plan", "config")
    if plan.get("engine") == "nfu" and isinstance(config, dict):
        words = ["--engine", "nfu", *_number("--tn", config.get("tn")),
                 "--code", str(config.get("code"))]
        if config.get("streamed"):
            words += ["--ports", "stream"]
            words += _number("--cores", config["cores"]) if config.get("cores", 1) != 1 else []
        return words
    layer, budget = material.network.input, plan.get("budget")
    pixels = layer.height * layer.width
    if is_number(budget) and budget > pixels and budget % pixels == 0:
        return _number("--cycles-per-pixel", budget // pixels)
    return []


def _verify(made: dict[str, Any], data: str) -> list[str]:
    words = ["--data", data] if is_number(made.get("accuracy_rtl")) else []
    words += _number("--images", made.get("images"))
    if made.get("images_every_layer") == 0:
        words += ["--layers", "last"]
    if made.get("simulator") != "verilator":
        words += ["--simulator", str(made.get("simulator"))]
    if made.get("stalls") is True:
        words.append("--stalls")
    layers = made.get("layers")
    proofs = [layer.get("proof") for layer in layers if isinstance(layer, dict)] if isinstance(
        layers, list) else []
    if "full" in proofs or "parts" in proofs:
        words.append("--proof")
    if "gates" in made:
        words.append("--gates")
    return words + _number("--seed", made.get("seed"))


def _synth(made: dict[str, Any]) -> list[str]:
    words = ["--target", str(made.get("target"))]
    if made.get("fmax_mhz") is not None:
        words.append("--pnr")
    return words + _number("--seed", made.get("seed"))


def _number(flag: str, value: Any) -> list[str]:
    return [flag, str(value)] if is_number(value) else []
