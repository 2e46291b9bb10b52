# amaranth: UnusedElaboratable=no
"""From a network file to a folder that holds the whole design: net.npz, top.v, ports.json,
plan.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from amaranth import Module
from amaranth.lib import wiring

import hwgen
from hwgen import netfile
from hwgen.adders.cache import build_cached
from hwgen.adders.greedy import Objective
from hwgen.adders.schedule import Schedule, schedule
from hwgen.adders.search import thorough_steps
from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_atomic, write_json
from hwgen.frames import on_frames
from hwgen.layers import ArgMax, Int64Array
from hwgen.network import Network
from hwgen.progress import Progress, silent
from hwgen.stream import estimate, timing
from hwgen.stream.beat import BeatFormat
from hwgen.stream.chip import Chip
from hwgen.stream.conv_pick import ConvPick
from hwgen.stream.fit import fit
from hwgen.stream.layer_plan import LayerPlan, Options
from hwgen.stream.linear import Linear
from hwgen.stream.pick_code import PickCode
from hwgen.stream.plan import make_plan, structural_interval
from hwgen.stream.serial import SerialLinear
from hwgen.stream.top import StreamTop
from hwgen.stream.widen import Merge, original_of, pixels_of
from hwgen.verilog import add, to_verilog

MOST_CYCLES = 1 << 16  # a pixel


def make_top(
    network: Network,
    options: Options | None = None,
    progress: Progress = silent,
    kept: dict[bytes, Schedule] | None = None,
) -> StreamTop:
    """Return the streaming engine of a network, its adder graphs searched (or taken from the
    cache).

    Parameters: network; options; progress; kept, graphs of this call for the next one.
    """
    plan = make_plan(network, options)
    adders = plan.options.chip.adders
    total = sum(layer.form in ("graph", "serial") for layer in plan.layers)
    done, found = 0, {} if kept is None else kept

    def make_graph(
        matrix: Int64Array, lo: Int64Array, hi: Int64Array, objective: Objective = Objective.BITS
    ) -> Schedule:
        # Bits, not adders, are what the LUTs follow where all bits come at once.
        nonlocal done
        progress("adder graphs", done, total)
        done += 1
        key = repr((matrix.shape, objective)).encode()
        key += b"".join(part.tobytes() for part in (matrix, lo, hi))
        if key not in found:
            graph = build_cached(matrix, input_lo=lo, input_hi=hi, objective=objective,
                                 steps=thorough_steps(matrix))
            found[key] = schedule(graph, adders_per_stage=adders)
        return found[key]

    return StreamTop(plan=plan, make_graph=make_graph)


def write_design(
    net_path: Path,
    out: Path,
    *,
    options: Options | None = None,
    cycles_per_pixel: float | None = None,
    chip: Chip | None = None,
    frame: tuple[int, int] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a self-contained design folder and return its plan (the content of plan.json).

    Parameters
    ----------
    net_path : Path
        A network file.
    out : Path
        The folder, made if it is not there.
    options : Options or None
    cycles_per_pixel : float or None
        How many cycles a pixel of the input may take, at least 1 (or one for all that come in a
        cycle): the cheapest engine that keeps that pace is built.
    chip : Chip or None
        The fastest engine that it holds is built; with ``cycles_per_pixel`` none that is faster
        than that.
    frame : (rows, columns) or None
        The network slides over frames of this size (hwgen.frames); the folder's net.npz is the one
        that does.

    Raises: HwgenError if the file is no network file, the folder cannot be written, a layer cannot
    keep the pace, or the chip holds no engine of this network.
    """
    network = netfile.load(Path(net_path))
    if frame is not None:
        if Path(net_path).resolve() == (Path(out) / "net.npz").resolve():
            raise HwgenError(f"--frame: another folder than {out} needed, its net.npz would change")
        network = on_frames(network, *frame)
    out = make_folder(out)
    options = options or Options()
    kept: dict[bytes, Schedule] = {}
    if cycles_per_pixel is not None:
        least = 1 / options.pixels
        if not least <= cycles_per_pixel <= MOST_CYCLES:
            raise HwgenError(f"Cycles per pixel must be from {least:g} to {MOST_CYCLES}, not "
                             f"{cycles_per_pixel:g}")
        pixels = network.input.height * network.input.width
        options = replace(options, interval=int(pixels * cycles_per_pixel),
                          strict=chip is None)
    if chip is not None:
        options = fit(network, chip, lambda tried: make_top(network, tried, progress, kept),
                      options)
    top = make_top(network, options, progress, kept)
    progress("Verilog", 0, 1)
    text = to_verilog(top, name="top", header=header_lines(network))
    plan = plan_json(top)
    if Path(net_path).resolve() != (out / "net.npz").resolve():
        netfile.save(network, out / "net.npz")
    write_atomic(out / "top.v", text)
    write_json(out / "ports.json", ports_json(top))
    write_json(out / "plan.json", plan)
    progress("Verilog", 1, 1)
    return plan


def header_lines(network: Network) -> str:
    """Return the first lines of the Verilog: what it is and which network it holds."""
    return (
        f"hwgen {hwgen.__version__}, streaming engine\nnetwork sha256 {network.digest}\n"
        "clk, rst (synchronous); s_axis: pixels in; m_axis: results out; see ports.json"
    )


def ports_json(top: StreamTop, instance: str = "") -> dict[str, Any]:
    """Return the content of ports.json: ports, fields of both streams, where each layer can be
    watched.
    """
    network = top.plan.network
    guard = top.parts[network.input.name]
    scores, wide = network.scores.name, pixels_of(network, network.output.name)
    channels = top.output.lanes // wide
    names: list[dict[str, Any]] = [
        {"name": f"score_{n % channels}", "layer": scores, "channel": n % channels}
        | ({"pixel": n // channels} if wide > 1 else {})
        for n in range(top.output.lanes)
    ]
    each, inputs = pixels_of(network, network.input.name), guard.format.fields()
    inputs = [
        {"name": f"channel_{n % (len(inputs) // each)}", **lane}
        | ({"pixel": n // (len(inputs) // each)} if each > 1 else {})
        for n, lane in enumerate(inputs)
    ]
    if isinstance(network.output, ArgMax):
        names = [{"name": "class", "layer": network.output.name, "channel": 0}, *names[:-1]]
    prefix = f"{instance}_" if instance else ""
    known = original_of(network).by_name
    return {
        "format": 1,
        "digest": network.digest,
        "version": hwgen.__version__,
        "engine": "stream",
        "top": "top",
        "clock": "clk",
        "reset": "rst",
        "input": {
            "prefix": f"{prefix}s_axis",
            "bits": len(top.s_axis_tdata),
            "beats": guard.format.beats,
            **({"pixels": each} if each > 1 else {}),
            "fields": inputs,
        },
        "output": {
            "prefix": f"{prefix}m_axis",
            "bits": len(top.m_axis_tdata),
            "beats": top.output.beats,
            **({"pixels": wide} if wide > 1 else {}),
            "fields": [
                {**name, **lane} for name, lane in zip(names, top.output.fields(), strict=True)
            ],
        },
        "frame_error": f"{prefix}frame_error",
        "interval": top.interval,
        "latency": top.latency,
        "taps": [_tap(plan, top, instance) for plan in top.plan.layers
                 if not isinstance(plan.layer, Merge) or plan.layer.name in known],
    }


def _tap(plan: LayerPlan, top: StreamTop, instance: str) -> dict[str, Any]:
    name, part = plan.layer.name, top.parts[plan.layer.name]
    if part is None:
        return {"layer": name, "alias": plan.layer.inputs[0]}
    format: BeatFormat = top.output if isinstance(plan.layer, ArgMax) else plan.format
    fields: list[dict[str, Any]] = format.fields()
    wide = pixels_of(top.plan.network, name)
    if isinstance(plan.layer, ArgMax):
        names = ["class", *(f"score_{n}" for n in range(format.lanes - 1))]
        fields = [{"name": label, **lane} for label, lane in zip(names, fields, strict=True)]
    return {
        "layer": name,
        "instance": f"{instance}.{name}" if instance else name,
        "valid": "o__valid",
        "ready": "o__ready",
        "payload": "o__payload",
        "beats": format.beats,
        "folds": format.folds,
        "lanes": format.lanes,
        **({"pixels": wide} if wide > 1 else {}),
        "fields": fields,
    }


def plan_json(top: StreamTop) -> dict[str, Any]:
    """Return the content of plan.json: form, cost, pace and reason of each layer."""
    layers, network = [], top.plan.network
    kinds = original_of(network).by_name
    for plan in top.plan.layers:
        part = top.parts[plan.layer.name]
        entry: dict[str, Any] = {
            "name": plan.layer.name,
            "kind": type(kinds.get(plan.layer.name, plan.layer)).__name__,
            "form": plan.form,
            **estimate.layer_cost(plan, part, top.plan.options.chip),
            "interval": timing.part_interval(part),
            "latency": timing.part_latency(part) if part else 0,
            "why": plan.why,
        }
        if isinstance(part, (Linear, SerialLinear)):
            graph = part.schedule.graph
            entry["adders"], entry["depth"] = graph.adders, graph.depth
        if isinstance(part, SerialLinear):
            entry["serial"] = {"digit": part.schedule.digit, "digits": part.schedule.digits}
        if isinstance(plan.code, PickCode):
            code = plan.code
            entry["pick"] = {"lanes": code.lanes, "terms": code.terms, "slots": code.slots,
                             "steps": code.steps, "base": code.base, "inverts": code.inverts}
            if isinstance(part, ConvPick):
                ring = part.ring
                entry["pick"] |= {"row_bits": ring.row_bits, "column_bits": ring.column_bits,
                                  "channel_bits": ring.channel_bits}
        elif plan.code is not None:
            entry["rom"] = {
                "lanes": plan.code.lanes,
                "terms": plan.code.terms,
                "slots": plan.code.slots,
                "words": plan.code.words,
                "groups": plan.code.groups,
                "passes": plan.code.passes,
                "base": plan.code.base,
                "magnitude_bits": plan.code.magnitude_bits,
                "code_bits": plan.code.code_bits,
            }
        if any(plan.fifos) or len(plan.fifos) > 1:
            entry["fifos"] = list(plan.fifos)
            entry["why"] = f"{plan.why}; queues of {', '.join(map(str, plan.fifos))} beats"
        layers.append(entry)
    totals = {key: sum(layer[key] for layer in layers) for key in ("lut", "ff", "bram")}
    options = top.plan.options
    return {
        "digest": top.plan.network.digest,
        "engine": "stream",
        "interval": top.interval,
        "latency": top.latency,
        "budget": max(options.interval or 0, structural_interval(top.plan.network)),
        "chip": options.chip.name,
        "pixels_per_cycle": options.pixels,
        "estimate": totals,
        "layers": layers,
    }


class Batch(wiring.Component):
    """Several engines side by side, each with its own ports behind a prefix ``net0_``, ``net1_``,
    ...
    """

    def __init__(self, *, tops: Sequence[StreamTop]) -> None:
        self.tops = tops
        super().__init__(
            {
                f"net{n}_{name}": member
                for n, top in enumerate(tops)
                for name, member in top.signature.members.items()
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for n, top in enumerate(self.tops):
            add(m, platform, f"net{n}", top)
            for name, member in top.signature.members.items():
                outer, inner = getattr(self, f"net{n}_{name}"), getattr(top, name)
                m.d.comb += outer.eq(inner) if member.flow is wiring.Out else inner.eq(outer)
        return m


def emit_batch(
    networks: Sequence[Network], out: Path, *, options: Options | None = None
) -> list[dict[str, Any]]:
    """Write one Verilog file with several engines, for a simulation that is built once.

    Writes out/batch.v (module ``batch``) and returns the ports.json of each network; instance paths
    begin with ``net0.``, ``net1.``, ...; the clock and the reset are shared.
    """
    tops = [make_top(network, options) for network in networks]
    write_atomic(make_folder(out) / "batch.v", to_verilog(Batch(tops=tops), name="batch"))
    return [ports_json(top, f"net{n}") for n, top in enumerate(tops)]
