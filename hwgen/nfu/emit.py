"""From a network file to a folder that holds an NFU and its program: net.npz, top.v, program.bin,
nfu.json, ports.json, plan.json.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import hwgen
from hwgen import netfile
from hwgen.errors import HwgenError
from hwgen.files import make_folder, write_atomic, write_json
from hwgen.network import Activation, ArgMax, Network
from hwgen.nfu import isa
from hwgen.nfu.compiler.program import Program, compile_network
from hwgen.nfu.config import MOST_CORES, MOST_LINES, SIZES, Config, WeightCode
from hwgen.nfu.estimate import Estimate, estimate
from hwgen.nfu.stream_top import StreamTop
from hwgen.nfu.top import AxiTop, ChipTop, port_list
from hwgen.progress import Progress, silent
from hwgen.stream.frame import whole_bytes
from hwgen.verilog import to_verilog

MEMORY = re.compile(
    r"^  reg \[(?P<msb>\d+):0\] (?P<name>\w+) \[(?P<top>\d+):0\];\n"
    r"(?:  initial begin\n(?:    (?P=name)\[\d+\] = \d+'[dh]0+;\n)+  end\n"
    r"|  integer (?P=name)_place;\n  initial\n    for \(.*\)\n"
    r"      (?P=name)\[(?P=name)_place\] = \d+'[dh]0+;\n)", re.M)
FILLED = re.compile(r"^(  reg \[\d+:0\] (\w+) \[\d+:0\];\n  initial begin\n    \2\[0\])", re.M)
STEP = 1 << 12                # memory on chip is a multiple of it
# Buffers to be tried where they need to serve one network alone, one behind the other: parameters
# in LUTs, fewer block RAMs.
SMALLER: tuple[dict[str, Any], ...] = (
    {"par_lines": 32}, {"nbin_lines": 512}, {"nbin_lines": 256}, {"tap_count": 256},
    {"nbout_lines": 128},
)
SLOWER = 1.02
SAVED = 0.9                   # of the cycles, at most, are left with twice the finishers
# Bits of an activation, an accumulator, a finished product; tried in this order.
WIDTHS = ((8, 24, 32), (8, 32, 48), (16, 32, 48), (16, 40, 48))


def verilog_of(config: Config, header: str = "") -> str:
    """Return the Verilog of an NFU that a host starts, module ``top``."""
    make = ChipTop if config.memory_bytes else AxiTop
    return compact(to_verilog(make(config=config), name="top", header=header))


def compact(text: str) -> str:
    """Write the zeros that memories begin with as a loop, which synthesis does not read, and say
    that no word of those memories, or of one with a program in it, is read while it is written:
    the schedule sees to that.
    """
    def loop(found: re.Match[str]) -> str:
        name, top = found["name"], found["top"]
        return (f"  (* no_rw_check *)\n  reg [{found['msb']}:0] {name} [{top}:0];\n"
                f"`ifndef SYNTHESIS\n  integer {name}_place;\n"
                f"  initial for ({name}_place = 0; {name}_place <= {top}; "
                f"{name}_place = {name}_place + 1)\n    {name}[{name}_place] = 0;\n`endif\n")

    return FILLED.sub(r"  (* no_rw_check *)\n\1", MEMORY.sub(loop, text))


def fitted(network: Network, config: Config, progress: Progress = silent) -> Program:
    """Compile a network; memory on chip becomes as large as the network needs, and so does SB where
    the weights are in it from the start.

    Raises: HwgenError if the network cannot run.
    """
    program = compile_network(network, config, progress=progress)
    if not config.memory_bytes:
        return program
    size = -(-program.size // STEP) * STEP
    config = replace(config, memory_bytes=size)
    if config.streamed:
        lines = len(program.weights) // (config.sb_words * config.word_bytes)
        if lines > MOST_LINES:
            raise HwgenError(f"Weights of at most {MOST_LINES} lines of SB needed, not {lines}: "
                             "a larger --tn makes them fewer")
        config = replace(config, sb_lines=max(512, 1 << (lines - 1).bit_length()))
    return replace(program, config=config)


def choose(network: Network, *, tn: int, code: str, axi: bool, streamed: bool = False,
           cores: int = 1, progress: Progress = silent) -> Program:
    """Compile a network for the smallest number formats in which it runs.

    Parameters: as of ``write_design``.
    Raises: HwgenError if a size is none of an NFU's or the network cannot run in any.
    """
    if tn not in SIZES:
        raise HwgenError(f"--tn must be one of {', '.join(map(str, SIZES))}, not {tn}")
    if not 1 <= cores <= MOST_CORES:
        raise HwgenError(f"--cores must be from 1 to {MOST_CORES}, not {cores}")
    tensors = [network.tensors[layer.name] for layer in network.layers
               if not isinstance(layer, ArgMax)]
    narrow = all(-128 <= tensor.lo and tensor.hi < (256 if tensor.lo == 0 else 128)
                 for tensor in tensors if tensor.lo is not None and tensor.hi is not None)
    segments = any(isinstance(layer, Activation) for layer in network.layers)
    program, refused = None, None
    for act_bits, acc_bits, total_bits in WIDTHS:
        if act_bits == 8 and not narrow:
            continue
        config = Config(tn=tn, code=WeightCode(code), act_bits=act_bits, acc_bits=acc_bits,
                        total_bits=total_bits, segments=segments,
                        # Lanes of short shifts leave room for more finishers.
                        finishers=tn // 2 if code == "base" else tn // 4,
                        memory_bytes=0 if axi else 1 << 30, streamed=streamed, cores=cores)
        try:
            program = fitted(network, config, progress)
            break
        except HwgenError as error:
            refused = error
    if program is None:
        assert refused is not None
        raise refused
    program = with_finishers(network, program, 1 << 30 if not axi else 0, progress)
    return with_small_buffers(network, program, progress) if streamed else program


def with_finishers(network: Network, program: Program, memory: int,
                   progress: Progress = silent) -> Program:
    """Return the program for twice the finishers, and twice again, as long as each doubling saves a
    tenth of the cycles: multipliers of several digits keep few of them busy for long.
    """
    while program.config.finishers < program.config.tn:
        config = replace(program.config, finishers=2 * program.config.finishers,
                         memory_bytes=memory)
        more = fitted(network, config, progress)
        if estimate(more).cycles > SAVED * estimate(program).cycles:
            break
        program = more
    return program


def with_small_buffers(network: Network, program: Program, progress: Progress = silent) -> Program:
    """Return the program for smaller buffers, each as long as it costs no more than a fiftieth of
    the cycles: an NFU that holds its program runs no other.
    """
    most = SLOWER * estimate(program).cycles
    for sizes in SMALLER:
        config = replace(program.config, memory_bytes=1 << 30, sb_lines=512, **sizes)
        try:
            tried = fitted(network, config, progress)
        except HwgenError:                                     # a window finds no room
            continue
        if estimate(tried).cycles <= most:
            program = tried
    return program


def write_design(net_path: Path, out: Path, *, tn: int = 16, code: str = "wide", axi: bool = False,
                 streamed: bool = False, cores: int = 1, config: Config | None = None,
                 progress: Progress = silent) -> dict[str, Any]:
    """Write a self-contained design folder and return its plan (the content of plan.json).

    Parameters
    ----------
    net_path, out : Path
        A network file; the folder.
    tn, code, axi, streamed, cores
        Lanes, a name of WeightCode, memory outside, ports of a streaming engine, NFUs that take
        images in turn; the rest is chosen for the network.
    config : Config, optional
        In their place; only its memory is fitted.

    Raises: HwgenError if the file is no network file, the network cannot run, or the folder cannot
    be written.
    """
    network = netfile.load(Path(net_path))
    out = make_folder(out)
    program = (fitted(network, config, progress) if config is not None
               else choose(network, tn=tn, code=code, axi=axi, streamed=streamed,
                           cores=cores, progress=progress))
    progress("Verilog", 0, 1)
    header, plan = header_lines(network, program.config), plan_json(program)
    if program.config.streamed:
        top = StreamTop(program=program, network=network)
        text = compact(to_verilog(top, name="top", header=header))
        ports = stream_ports(network, top)
        plan |= {"interval": top.interval, "latency": top.latency}
    else:
        text, ports = verilog_of(program.config, header), ports_json(network, program)
    if not (out / "net.npz").exists() or Path(net_path).resolve() != (out / "net.npz").resolve():
        netfile.save(network, out / "net.npz")
    write_atomic(out / "top.v", text)
    write_atomic(out / "program.bin", program.image)
    write_json(out / "nfu.json", {"digest": network.digest, **program.config.to_json()})
    write_json(out / "ports.json", ports)
    write_json(out / "plan.json", plan)
    progress("Verilog", 1, 1)
    return plan


def header_lines(network: Network, config: Config) -> str:
    """Return the first lines of the Verilog: what it is and which network it was made for."""
    kind = "unmodified DianNao" if config.multipliers else "NFU"
    where = f"{config.memory_bytes} bytes on chip" if config.memory_bytes else "AXI4 memory"
    ports = ("s_axis: pixels in; m_axis: results out; see ports.json" if config.streamed
             else "s_axil: registers, see docs/nfu.md")
    many = f"{config.cores} times " if config.cores > 1 else ""
    return (f"hwgen {hwgen.__version__}, {kind}, {many}{config.tn} x {config.tn} lanes, {where}\n"
            f"network sha256 {network.digest}\nclk, rst (synchronous); {ports}")


def ports_json(network: Network, program: Program) -> dict[str, Any]:
    """Return the content of ports.json: names, registers, and where images go and results are."""
    config = program.config
    found = estimate(program)
    return {
        "format": 1, "digest": network.digest, "version": hwgen.__version__, "engine": "nfu",
        "top": "top", "clock": "clk", "reset": "rst", "control": "s_axil", "interrupt": "interrupt",
        "memory": "chip" if config.memory_bytes else "m_axi",
        "ports": [list(port) for port in port_list(config)],
        "registers": {register.name: register.offset for register in isa.REGISTERS},
        "memory_window": isa.MEMORY_WINDOW if config.memory_bytes else None,
        "memory_bytes": program.size, "word_bytes": config.word_bytes,
        "interval": found.cycles, "latency": found.cycles,
        "inputs": [_region(region) for region in program.inputs],
        "results": [_region(region) for region in program.results],
    }


def stream_ports(network: Network, top: StreamTop, instance: str = "") -> dict[str, Any]:
    """Return the content of ports.json of an NFU with the ports of a streaming engine.

    Parameters: instance, its name in a top with several.
    """
    sides, before = {}, f"{instance}_" if instance else ""
    for key, prefix, format, names in (
            ("input", "s_axis", top.input, [f"channel_{n}" for n in range(top.input.lanes)]),
            ("output", "m_axis", top.output, top.names)):
        fields = [{"name": name, **field}
                  for name, field in zip(names, format.fields(), strict=True)]
        sides[key] = {"prefix": before + prefix, "bits": whole_bytes(format.bits),
                      "beats": format.beats, "fields": fields}
    return {
        "format": 1, "digest": network.digest, "version": hwgen.__version__, "engine": "nfu",
        "top": "top", "clock": "clk", "reset": "rst", **sides,
        "frame_error": f"{before}frame_error", "interval": top.interval,
        "latency": top.latency, "taps": [],
    }


def _region(region: Any) -> dict[str, Any]:
    return {"layer": region.layer, "kind": region.kind, "address": region.address,
            "tiles": region.tiles, "height": region.height, "width": region.width}


def plan_json(program: Program) -> dict[str, Any]:
    """Return the content of plan.json: cycles, lane use and traffic of each task."""
    found: Estimate = estimate(program)
    config = program.config
    layers = []
    for task, cycles in zip(program.tasks, found.task_cycles, strict=True):
        layers.append({
            "name": task.layer, "form": "nfu", "lut": None, "ff": None, "bram": None,
            "interval": cycles, "latency": cycles, "steps": task.steps, "tiles": task.tiles,
            "array_cycles": task.work, "products": task.products,
            "lane_use": round(task.products / (task.work * config.tn * config.tn), 4)
            if task.work else None,
            "block": [task.shape.rows, task.shape.columns], "chunk_tiles": task.shape.tiles,
            "why": f"{task.steps} steps a pixel in {task.tiles} tiles of filters",
        })
    return {
        "digest": program.digest, "engine": "nfu", "interval": found.cycles,
        "latency": found.cycles, "memory_bytes": program.size,
        "read_bytes": found.read_bytes, "written_bytes": found.written_bytes,
        "constants": program.constants, "instructions": len(program.instructions),
        "config": config.to_json(), "layers": layers,
    }
