"""The function behind ``hwgen adders``: a matrix file in, figures and Verilog out."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hwgen.adders.delays import MODES, DelayedGraph, build_delayed, taps_of
from hwgen.adders.graph import AdderGraph, expand
from hwgen.adders.greedy import Objective
from hwgen.adders.schedule import Schedule, schedule
from hwgen.adders.search import LIMIT, Options, input_ports, search
from hwgen.errors import HwgenError
from hwgen.files import replace_on_success
from hwgen.layers import Int64Array
from hwgen.ranges import width_of

MAX_ENTRIES = 1 << 22
MAX_IN_BITS = 32


def run(matrix_path: Path, *, conv: str | None = None, delays: str = "none", in_bits: int = 8,
        unsigned: bool = False, objective: str = "bits", max_depth: int | None = None,
        seconds: float = 5.0, steps: int | None = None, seed: int = 0,
        verilog: Path | None = None, pipelined: bool = False) -> dict[str, Any]:
    """Build the adder graph of a matrix file and describe it.

    Parameters
    ----------
    matrix_path : Path
        A ``.npy`` file, (inputs, outputs) integers below 2**31 in magnitude: y = x @ W.
    conv : str or None
        "KH,KW": the rows are (kh, kw, cin) in that order. Without delays it is only checked.
    delays : str
        "none"; with ``conv`` also "column" (inputs are the kh * cin row signals) or "row" (inputs
        are the cin pixel streams): see delays.py.
    in_bits : int
        Bits of every input, 1 to 32, two's complement unless ``unsigned``.
    objective : str
        "adders" or "bits".
    max_depth : int or None
        Adders on the longest path, at most.
    seconds, steps
        The search goes on until ``seconds`` have passed; if ``steps`` is given, for exactly so
        many, so that the result does not depend on the machine.
    seed : int
    verilog : Path or None
        Where to write module ``adder_graph``: ports x and y, with ``pipelined`` or delays also clk
        and en; with line memory a row's length is its parameter ROW.
    pipelined : bool
        A register behind each adder.

    Returns: the keys of the command's JSON: adders, depth, adder_bits, ff_bits, line_bits, inputs,
    outputs, input_bits, output_bits, latency (cycles), verified, seconds.
    Raises: HwgenError if the file or an option is not as above.
    """
    if delays not in ("none", *MODES):
        raise HwgenError(f"Delays must be none, {' or '.join(MODES)}, not {delays}")
    if delays != "none" and conv is None:
        raise HwgenError(f"Delays of a {delays} need a kernel (--conv KH,KW), which is not given")
    if delays != "none" and max_depth is not None:
        raise HwgenError("A depth limit needs delays none: with delays there is no limit yet, "
                         f"not {max_depth}")
    if not 1 <= in_bits <= MAX_IN_BITS:
        raise HwgenError(f"Input bits must be from 1 to {MAX_IN_BITS}, not {in_bits}")
    try:
        goal = Objective(objective)
    except ValueError:
        raise HwgenError(f"Objective must be adders or bits, not {objective}") from None
    options = Options(objective=goal, max_depth=max_depth, seed=seed,
                      steps=steps, seconds=seconds if steps is None else None)
    matrix = load_matrix(matrix_path)
    kernel = (1, 1) if conv is None else check_conv(conv, matrix.shape[0])
    started = time.monotonic()
    lo, hi = (0, (1 << in_bits) - 1) if unsigned else (-1 << in_bits - 1, (1 << in_bits - 1) - 1)
    if delays != "none":
        delayed = build_delayed(matrix, kernel=kernel, delays=delays, input_lo=lo, input_hi=hi,
                                objective=goal, seed=seed, steps=options.steps,
                                seconds=options.seconds)
        spent = time.monotonic() - started
        result = _delayed(delayed, taps_of(matrix, kernel, delays), pipelined, verilog)
        return result | {"seconds": round(spent, 3)}
    graph = search(matrix, input_ports(matrix.shape[0], lo, hi), options)
    spent = time.monotonic() - started
    plan = schedule(graph) if pipelined else None
    if verilog is not None:
        write_verilog(graph, plan, verilog)
    return describe(graph, plan, matrix) | {"seconds": round(spent, 3)}


def load_matrix(path: Path) -> Int64Array:
    """Return the matrix of a ``.npy`` file as int64.

    Raises: HwgenError, naming the file, unless it holds a 2-D array, not empty and of at most 2**22
    entries, of integers (or floats that are integers) below 2**31 in magnitude.
    """
    try:
        with open(path, "rb") as file:
            shape, dtype = _head(file)
            _check_head(path, shape, dtype)
            file.seek(0)
            values = np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise HwgenError(f"Cannot read {path}: {error.strerror or error}") from error
    except HwgenError:
        raise
    except (ValueError, EOFError) as error:
        raise HwgenError(f"{path} must be a .npy file of numbers: {_first_line(error)}") from error
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise HwgenError(f"{path} must hold integers, not NaN or infinity")
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        i, j = np.argwhere(values != np.rint(values))[0]
        raise HwgenError(f"{path} must hold integers, not {values[i, j]} in row {i}, column {j}")
    largest = max(abs(values.max().item()), abs(values.min().item()))
    if largest >= LIMIT:
        raise HwgenError(f"{path} must hold entries below 2**31 in magnitude, not {largest:.0f}")
    return values.astype(np.int64)


def check_conv(conv: str, rows: int) -> tuple[int, int]:
    """Return (kh, kw) of "KH,KW" if the matrix has kh * kw * cin rows.

    Raises: HwgenError otherwise.
    """
    parts = conv.split(",")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and 0 < len(part) < 6
                                  and int(part) for part in parts):
        raise HwgenError(f"Kernel must be two positive numbers KH,KW, not {conv}")
    taps = int(parts[0]) * int(parts[1])
    if rows % taps:
        raise HwgenError(f"Rows must be a multiple of {taps} for a kernel of {conv}, not {rows}")
    return int(parts[0]), int(parts[1])


def _delayed(graph: DelayedGraph, taps: Int64Array, pipelined: bool,
             verilog: Path | None) -> dict[str, Any]:
    """Return the figures of a graph with delays, and write its Verilog if that is wanted."""
    from hwgen.adders.delayed_component import DelayedComponent, Timing, delayed_verilog

    timing = Timing(graph, pipelined=pipelined)
    if verilog is not None:
        with replace_on_success(verilog) as temporary:
            component = DelayedComponent(graph, pipelined=pipelined)
            header = (f"{taps.shape[0]} inputs, {taps.shape[1]} outputs, {graph.adders} adders, "
                      f"latency {timing.latency} steps")
            temporary.write_text(delayed_verilog(component, header=header))
    return {
        "adders": graph.adders,
        "depth": graph.depth,
        "adder_bits": graph.adder_bits,
        "ff_bits": timing.ff_bits,
        "line_bits": timing.line_bits,
        "inputs": taps.shape[0],
        "outputs": taps.shape[1],
        "input_bits": sum(width_of(port.lo, port.hi)[0] for port in graph.plain.inputs),
        "output_bits": sum(width_of(lo, hi)[0] for lo, hi in graph.output_ranges),
        "latency": timing.latency,
        "verified": bool(np.array_equal(graph.expand(*taps.shape[2:]), taps)),
    }


def describe(graph: AdderGraph, plan: Schedule | None, matrix: Int64Array) -> dict[str, Any]:
    """Return the figures of a graph; ``verified`` is found by expanding it again."""
    return {
        "adders": graph.adders,
        "depth": graph.depth,
        "adder_bits": graph.adder_bits,
        "ff_bits": 0 if plan is None else plan.ff_bits,
        "line_bits": 0,
        "inputs": len(graph.inputs),
        "outputs": len(graph.outputs),
        "input_bits": sum(width_of(port.lo, port.hi)[0] for port in graph.inputs),
        "output_bits": sum(width_of(lo, hi)[0] for lo, hi in graph.output_ranges),
        "latency": 0 if plan is None else plan.latency,
        "verified": bool(np.array_equal(expand(graph), matrix)),
    }


def write_verilog(graph: AdderGraph, plan: Schedule | None, path: Path) -> None:
    """Write module ``adder_graph``; an earlier file stays if anything fails."""
    from hwgen.adders.component import AdderGraphComponent
    from hwgen.verilog import to_verilog

    with replace_on_success(path) as temporary:
        component = AdderGraphComponent(graph, schedule=plan, own_clock=True)
        header = (f"{len(graph.inputs)} inputs, {len(graph.outputs)} outputs, "
                  f"{graph.adders} adders, depth {graph.depth}, latency {component.latency}")
        temporary.write_text(to_verilog(component, name="adder_graph", header=header))


def _head(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type that a .npy file claims to hold."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0,
               (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]} is for other types")
    shape, _, dtype = readers[version](file)
    return shape, dtype


def _check_head(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse what is no matrix of numbers, or too large, before any memory is taken for it."""
    if len(shape) != 2 or 0 in shape:
        raise HwgenError(f"{path} must hold a matrix (inputs, outputs), not shape {shape}")
    if math.prod(shape) > MAX_ENTRIES:
        raise HwgenError(f"{path} must hold at most {MAX_ENTRIES} entries, not {math.prod(shape)}")
    if dtype.kind not in "iufb":
        raise HwgenError(f"{path} must hold integers, not {dtype}")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
