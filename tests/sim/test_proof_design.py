"""The proof of whole generated designs, and of dense layers in memory with planted faults."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hwgen import netfile
from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.network import AvgPool, Conv2d, Dense, Network
from hwgen.sim.design import load_folder
from hwgen.sim.netlist import read_netlist
from hwgen.sim.proof import Evidence, LayerProof, Proof, gather, prove, prove_layer
from hwgen.stream.emit import write_design
from hwgen.stream.plan import Options
from tests.hwgen.stream.test_rate import small_lenet
from tests.networks import random_network
from tests.sim.small_design import small_network, write_small


@pytest.fixture(scope="module", params=["graph", "rom", "pick"])
def design(request, build_once) -> Path:
    """A generated folder; its name ends in the form of the dense layers."""
    return build_once(f"proof-{request.param}", lambda folder: write_small(folder, request.param))


def by_name(proof: Proof) -> dict[str, LayerProof]:
    return {layer.name: layer for layer in proof.layers}


def test_design(design):
    steps: list[tuple[str, int, int]] = []
    proof = prove(design, progress=lambda *step: steps.append(step))
    assert proof.ok, [layer.reason for layer in proof.failures]
    dense = "full" if design.name.endswith("graph") else "parts"
    assert {name: layer.proof for name, layer in by_name(proof).items()} == {
        "x": "none", "conv1": "full", "relu1": "none", "pool1": "full", "codes1": "none",
        "flat": "none", "dense1": dense, "relu2": "none", "dense2": dense, "class": "none"}
    shown = [layer.coefficients for layer in proof.layers if layer.proof != "none"]
    assert shown == [27, 36, 84, 28]
    assert json.loads(json.dumps(proof.as_dict()))["digest"] == small_network().digest
    assert steps[0] == ("x", 0, 10)
    assert steps[-1] == ("", 10, 10)


def replaced(pattern: str, by: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, by, text, count=1, flags=re.S)


def flip_sign(text: str) -> str:
    """Change the sign of the lowest code that is not 0 in the memory's step 5."""
    found = re.search(r"rom\[5\] = (\d+)'h([0-9a-f]+);", text)
    assert found is not None
    bits, word = int(found[1]), int(found[2], 16)
    lowest = next(n for n in range(0, bits, 5) if word >> n & 15)
    return text.replace(found[0], f"rom[5] = {bits}'h{word ^ 16 << lowest:x};")


def exchange_lanes(text: str) -> str:
    first, second = re.findall(r"\.codes\(([^)]*)\)", text)[:2]
    return text.replace(f"({first})", "(@)").replace(f"({second})", f"({first})").replace(
        "(@)", f"({second})")


def narrow(text: str) -> str:
    return re.sub(r"\[(\d+):0\] (base|bias|total)\b",
                  lambda found: f"[{int(found[1]) - 3}:0] {found[2]}", text)


# name: (module, change of its text, what the proof must say)
ROM_FAULTS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "memory": ("dense1__weights", flip_sign,
               r"output channel \d+, input row \d, column \d, channel \d: coefficient -?\d+ ne"),
    "undefined": ("dense1__weights", replaced(r"rom\[3\] = \d+'h\w+;", ""), "undefined words"),
    "address": ("dense1__weights", replaced(r"rom\[address\]", "rom[~address]"),
                "read at the port address"),
    "late": ("dense1__weights", replaced(r"codes <= ", "codes <= {codes[0], codes[9:1]} & "),
             r"codes\[0\]|is none of"),
    "inverted": ("dense1__lane_0", replaced(r"~ product_0", "product_0"),
                 r"code \d+ with x = -?\d+ must give -?\d+ times x, not"),
    "rounding": ("dense1__lane_0", replaced(r"1'h1 \}", "1'h0 }"),
                 r"code \d+ with x = -?\d+ must give -?\d+ times x, not"),
    "carry": ("dense1__lane_0", replaced(r"term_0, carry_0 \}", "term_0, 1'h0 }"),
              r"code \d+ with x = -?\d+ must give -?\d+ times x, not"),
    "start": ("dense1__lane_0", replaced(r"start \? bias : total", "start ? total : bias"),
              "total must take in 1 times bias, not 0"),
    "enable": ("dense1__lane_0", replaced(r"if \(enable\) total", "if (start) total"),
               "the enable start, not enable"),
    "narrow": ("dense1__lane_0", narrow, r"reach -?\d+\.\.\d+, and the accumulator has"),
    "lanes": ("dense1", exchange_lanes, "lane 0 must have the codes of bits 0 and up"),
}


def module_text(folder: Path, pattern: str) -> dict[str, str]:
    """Return the text of the modules of top.v whose whole name matches, by name."""
    text = (folder / "top.v").read_text()
    return {found[1]: found[0] for found in re.finditer(
        rf"^module ({pattern})\(.*?^endmodule\n", text, re.S | re.M)}


@pytest.fixture(scope="module")
def rom_faults(build_once, tmp_path_factory) -> Evidence:
    """Layer dense1 in memory, as it is and with each fault under the fault's name, read at once."""
    folder = build_once("proof-rom", lambda folder: write_small(folder, "rom"))
    right = module_text(folder, r"dense1\w*")
    texts = list(right.values())
    for name, (module, change, _) in ROM_FAULTS.items():
        changed = change(right[module])
        assert changed != right[module], name
        texts += [text.replace("dense1", name) for text in (right | {module: changed}).values()]
    path = tmp_path_factory.mktemp("roms") / "roms.v"
    path.write_text("".join(texts))
    design = load_folder(folder).design
    return gather(design, read_json(folder / "plan.json"), read_netlist(path))


def renamed(evidence: Evidence, name: str) -> Evidence:
    """The evidence with layer dense1 called by another name."""
    layers = tuple(
        dataclasses.replace(layer, **{field: name for field in ("name", "source")
                                      if getattr(layer, field, "") == "dense1"})
        for layer in evidence.network.layers)
    return dataclasses.replace(evidence, network=Network(layers),
                               roms={**evidence.roms, name: evidence.roms.get("dense1", {})})


def flip_pick(text: str) -> str:
    """Take the first used term of the memory's step 2 as -x instead of x, or the other way."""
    found = re.search(r"rom\[2\] = (\d+)'h([0-9a-f]+);", text)
    assert found is not None
    word = int(found[2], 16)
    term = next(n for n in range(0, int(found[1]), 6) if word >> n + 5 & 1)
    return text.replace(found[0], f"rom[2] = {found[1]}'h{word ^ 16 << term:x};")


# name: (module, change of its text, what the proof must say)
PICK_FAULTS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "memory": ("dense1__steps", flip_pick,
               r"output channel \d+, input row \d, column \d, channel \d: coefficient -?\d+ ne"),
    "start": ("dense1__sums_0", replaced(r"start \?", "double ?"), "0 times total plus the terms"),
    "double": ("dense1__sums_0", replaced(r"double \?", "~double ?"), r"\w"),
    "subtracted": ("dense1__sums_0", replaced(r"\+ \$signed\(sum_1_0\)",
                                                   "- $signed(sum_1_0)"),
                   "times total plus the terms needed"),
}


def test_pick_faults(build_once, tmp_path):
    """A wrong word of the schedule, or a lane that adds otherwise, fails the proof."""
    folder = build_once("proof-pick", lambda folder: write_small(folder, "pick"))
    right = module_text(folder, r"dense1\w*")
    texts = list(right.values())
    for name in PICK_FAULTS:
        module, change, _ = PICK_FAULTS[name]
        changed = change(right[module])
        assert changed != right[module], name
        texts += [text.replace("dense1", name) for text in (right | {module: changed}).values()]
    path = tmp_path / "picks.v"
    path.write_text("".join(texts))
    evidence = gather(load_folder(folder).design, read_json(folder / "plan.json"),
                      read_netlist(path))
    assert prove_layer(evidence, "dense1").proof == "parts"
    for name in PICK_FAULTS:
        other = dataclasses.replace(
            renamed(evidence, name),
            picks=dict(evidence.picks) | {name: evidence.picks["dense1"]})
        found = prove_layer(other, name)
        assert found.failed, name
        assert re.search(PICK_FAULTS[name][2], found.reason), found.reason


def test_slow_layers(tmp_path):
    """A convolution that picks is proved in parts, and not if a number in its memory is wrong."""
    network = small_lenet()
    netfile.save(network, tmp_path / "source.npz")
    plan = write_design(tmp_path / "source.npz", tmp_path, options=Options(interval=1400))
    proofs = {layer.name: layer for layer in prove(tmp_path).layers}
    forms = {entry["name"]: entry["form"] for entry in plan["layers"]}
    picks = [name for name, form in forms.items()
             if form == "pick" and isinstance(network.by_name[name], Conv2d)]
    assert picks
    for name, form in forms.items():
        assert not proofs[name].failed, proofs[name].reason
        if form in ("pick", "serial"):
            assert proofs[name].proof == "parts"
    path = tmp_path / "top.v"
    module = module_text(tmp_path, f"{picks[0]}__steps")[f"{picks[0]}__steps"]
    found = re.search(r"rom\[1\] = (\d+)'h([0-9a-f]+);", module)
    assert found is not None
    wrong = module.replace(found[0], f"rom[1] = {found[1]}'h{int(found[2], 16) ^ 1:x};")
    path.write_text(path.read_text().replace(module, wrong))
    assert [layer.name for layer in prove(tmp_path).failures] == [picks[0]]


def test_rom(rom_faults):
    assert prove_layer(rom_faults, "dense1").proof == "parts"


@pytest.mark.parametrize("name", ROM_FAULTS)
def test_fault_in_rom(rom_faults, name):
    found = prove_layer(renamed(rom_faults, name), name)
    assert (found.proof, found.failed) == ("none", True)
    assert re.search(ROM_FAULTS[name][2], found.reason), found.reason


@pytest.mark.parametrize(("key", "value", "message"), [
    ("lanes", 0, "must give lanes from 1 to"), ("passes", None, "must give passes from 1 to"),
    ("groups", 1 << 20, "steps"), ("lanes", 1 << 20, "words of .* bits needed|lanes needed"),
    ("words", 3, "words"), ("code_bits", 3, "bits needed"),
])
def test_packing_of_plan_wrong(rom_faults, key, value, message):
    roms = {"dense1": {**rom_faults.roms["dense1"], key: value}}
    found = prove_layer(dataclasses.replace(rom_faults, roms=roms), "dense1")
    assert found.failed
    assert re.search(message, found.reason), found.reason


@pytest.fixture
def folder(build_once, tmp_path) -> Path:
    """A copy of a generated folder, to be spoilt."""
    source = build_once("proof-rom", lambda folder: write_small(folder, "rom"))
    return shutil.copytree(source, tmp_path / "copy")


def test_fault_in_design(folder):
    (right,) = module_text(folder, "conv1__graph").values()
    text = (folder / "top.v").read_text()
    (folder / "top.v").write_text(text.replace(right, replaced(r" \+ ", " - ")(right)))
    proof = prove(folder)
    (failure,) = proof.failures
    assert (proof.ok, failure.name) == (False, "conv1")


def test_other_network(folder):
    network = small_network()
    other = Network(network.layers, {"name": "another"})
    netfile.save(other, folder / "net.npz")
    with pytest.raises(HwgenError, match="digest .* needed"):
        prove(folder)


def test_missing_verilog(folder):
    (folder / "top.v").unlink()
    with pytest.raises(HwgenError, match=r"top\.v"):
        prove(folder)


@pytest.mark.slow
@pytest.mark.parametrize("dense", ["graph", "rom"])
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed, dense, tmp_path):
    network = random_network(seed)
    netfile.save(network, tmp_path / "source.npz")
    plan = write_design(tmp_path / "source.npz", tmp_path, options=Options(dense=dense))
    proof = prove(tmp_path)
    assert proof.ok, [layer.reason for layer in proof.failures]
    for layer, entry in zip(network.layers, plan["layers"], strict=True):
        if isinstance(layer, (Conv2d, AvgPool, Dense)):
            shown = by_name(proof)[layer.name].proof
            assert shown == ("full" if entry["form"] == "graph" else "parts")
