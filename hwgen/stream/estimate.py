"""What a layer costs, before synthesis says it: LUT positions, flip-flops and block RAMs of an
ECP5.

Counted from the built component's words: an adder takes a LUT position a bit, a comparator one a
bit, a line memory of at most 32 words goes into distributed RAM (6 positions for 16 x 4 bits), a
longer one into blocks of 18 kbit. A rough model: it knows nothing of what synthesis merges.
"""

from __future__ import annotations

from typing import Any

from hwgen.ranges import width_of
from hwgen.stream.activation import TABLES, Activation, Line
from hwgen.stream.chip import ECP5, Chip, even
from hwgen.stream.control import SkidBuffer
from hwgen.stream.conv_pick import ConvPick
from hwgen.stream.dense_pick import DensePick
from hwgen.stream.dense_plan import copy_blocks, pick_lut
from hwgen.stream.dense_rom import DenseRom
from hwgen.stream.frame import FrameGuard
from hwgen.stream.gather import Gather, Unpack
from hwgen.stream.largest import ArgMax, RunningArgMax, WindowMax
from hwgen.stream.layer_plan import LayerPlan
from hwgen.stream.linear import Chain, Linear
from hwgen.stream.pool import PixelMax, Pool
from hwgen.stream.requantise import TABLE, Requantise, digits_of
from hwgen.stream.requantise_folds import FoldedRequantise
from hwgen.stream.serial import SerialLinear
from hwgen.stream.serial_window import SerialWindow
from hwgen.stream.window import Window, columns_ahead, in_blocks

Cost = dict[str, int]


def layer_cost(plan: LayerPlan, part: Any, chip: Chip = ECP5) -> Cost:
    """Return {lut, ff, bram} of a layer's component; zeros for one that is only wiring."""
    cost = {"lut": 0, "ff": 0, "bram": 0}
    for one in _flat(part):
        for key, value in _cost(one, chip).items():
            cost[key] += int(value)
    for depth, format in zip(plan.fifos, plan.formats, strict=False):
        if depth > 2:
            bits = format.bits
            for key, value in chip.memory(depth, bits, in_blocks(depth, bits)).items():
                cost[key] += value
            cost["lut"] += 25
        elif depth:
            cost["lut"] += format.bits * (depth - 1)
            cost["ff"] += format.bits * depth
    return cost


def _flat(part: Any) -> list[Any]:
    if isinstance(part, Chain):
        return [one for inner in part.parts.values() for one in _flat(inner)]
    if isinstance(part, Linear):
        return [*part.front.values(), part]
    return [] if part is None else [part]


def _cost(part: Any, chip: Chip) -> Cost:
    match part:
        case Linear():
            graph = part.schedule.graph
            bias = part.format.bits if part.bias.any() else 0
            # A carry cell holds two bits: half of the adders have one to spare.
            lut = graph.adder_bits + graph.adders // 2 + bias
            return {"lut": lut, "ff": part.schedule.ff_bits + bias}
        case SerialLinear():
            return _serial(part, chip)
        case Window():
            registers = part.rows.kernel * (part.columns.reach + 1) * part.format.bits
            memory = _lines(part, part.format.bits, chip)
            return {
                **memory,
                "lut": memory.get("lut", 0) + part.format.bits + 30,
                "ff": memory.get("ff", 0) + registers + 20,
            }
        case Requantise():
            lanes = zip(part.source.shapes, part.format.shapes, part.layer.multiplier, strict=False)
            tables = part.source.folds >= TABLE and len(set(part.layer.offset.tolist())) > 1
            return {
                "lut": sum(
                    max(len(digits_of(int(m))), 1) * (a.width + 1) + a.width // 4 + c.width
                    for a, c, m in lanes
                ),
                "ff": sum(
                    2 * a.width + 1 + c.width
                    for a, c in zip(part.source.shapes, part.format.shapes, strict=True)
                ),
                "bram": part.source.lanes * tables,
            }
        case FoldedRequantise():
            widths = [shape.width for shape in part.source.shapes]
            powers = [len({d[n][0] for d in part.digits if n < len(d)})
                      for n in range(part.levels)]
            choice = sum(powers) / 2
            shifts = len(set(part.layer.shift.tolist()))
            return {
                "lut": round(sum((choice + 2 * part.levels + 1) * (w + 5) + 4 * shifts + 16
                                 for w in widths)),
                "ff": sum((w + 5) * 2 * part.levels for w in widths) + 20,
            }
        case Activation():
            functions = [_function(line, shape.width, part.adds) for line, shape in zip(
                part.lines, part.source.shapes, strict=True)]
            codes = sum(shape.width for shape in part.format.shapes)
            return {kind: sum(one[kind] for one in functions) + codes for kind in ("lut", "ff")}
        case WindowMax():
            return {
                "lut": 2 * (part.taps - 1) * part.format.bits,
                "ff": part.taps * part.format.bits,
            }
        case ArgMax():
            return {"lut": 2 * part.source.bits, "ff": (part.latency + 1) * part.source.bits}
        case RunningArgMax():
            bits = part.source.bits
            return {"lut": 2 * bits + 20, "ff": bits * (part.source.folds + 1) + 10}
        case FrameGuard():
            return {"lut": 35, "ff": 13}
        case SkidBuffer():
            bits = part.i.payload.shape().size
            return {"lut": bits, "ff": 2 * bits + 2}
        case Gather():
            return {"ff": part.source.bits * part.count}
        case DenseRom():
            return _rom(part, chip)
        case DensePick():
            code, bits = part.code, part.bits
            terms = code.lanes * code.terms
            lut = pick_lut(code.lanes, code.terms, bits, part.source.lanes, code.bias_bits > 0)
            size = copy_blocks(code.address_bits + 1, bits, code.inverts, chip)
            return {"lut": lut + terms * bits * code.inverts,
                    "ff": code.word_bits + terms * 3 * (bits + 1),
                    "bram": terms * size + chip.blocks(code.steps, code.word_bits)}
        case ConvPick():
            code, ring = part.code, part.ring
            terms = code.lanes * code.terms
            lut = pick_lut(code.lanes, code.terms, part.bits, part.source.lanes, code.bias_bits > 0)
            around = 30 + part.source.bits if not part.border.real.all() else 0
            return {
                "lut": lut + 40 + around + terms * (
                    even(ring.column_bits + ring.row_bits) + part.bits * code.inverts),
                "ff": code.word_bits + terms * 3 * (part.bits + 1) + 60,
                "bram": terms * copy_blocks(ring.bits, part.bits, code.inverts, chip)
                + chip.blocks(code.steps, code.word_bits),
            }
        case Pool():
            cells = -(-part.source.width // part.layer.kernel[1]) * part.source.folds
            memory = chip.memory(cells, part.format.bits)
            return {
                **memory,
                "lut": memory.get("lut", 0) + 3 * part.format.bits + 30,
                "ff": memory.get("ff", 0) + 2 * part.format.bits + 20,
            }
        case PixelMax():
            return {"lut": round(1.5 * (part.count - 1) * part.format.bits)}
        case Unpack():
            return {"lut": part.format.bits * part.format.folds // 2 + 8, "ff": 4}
    return {}


def _function(line: Line, bits: int, adds: bool) -> Cost:
    """One lane of an activation, less its codes."""
    edges, (least, most) = len(line.edges), line.bounds
    wide, name = width_of(least, most)[0], len(line.edges).bit_length()
    compare = -(-(bits - 1) // 3) if bits <= TABLES else even(bits + 1)
    # Of more than 16 segments a look-up table has more inputs than a LUT.
    table = 1 << max(name - 4, 0)
    choice = moves = 0
    for term in range(line.terms):
        low, high = line.powers(term)
        levels = (high - low).bit_length()
        choice += levels + 2
        moves += wide * levels
    lut = edges * compare + 2 * edges // 3 + (wide + choice) * table + moves + wide * (1 + adds)
    lut = round(0.85 * lut)                              # tables of different bits are often alike
    ff = edges + name + 3 * bits + choice + wide * (line.terms + 3 + 2 * adds)
    return {"lut": lut, "ff": ff}


def _lines(window: Window | SerialWindow, bits: int, chip: Chip) -> Cost:
    depth, word = window.columns.places, window.rows.reach * bits
    if depth == 1 or word == 0:
        return {"lut": 0, "ff": word, "bram": 0}
    cost = chip.memory(depth, word, in_blocks(depth, word))
    return {**cost, "ff": cost["ff"] + (columns_ahead(depth, word) - 1) * word}


def _serial(part: SerialLinear, chip: Chip) -> Cost:
    window, schedule = part.window, part.schedule
    bits = window.format.bits
    memory = _lines(window, bits, chip)
    steps, taps = window.steps, window.rows.kernel * window.format.lanes * window.digit
    chain = (window.columns.reach * steps + 1) * taps
    bias = part.format.bits if part.bias.any() else 0
    return {
        **memory,
        "lut": memory.get("lut", 0) + schedule.lut + (steps - 1) * taps + bits + 60 + bias,
        "ff": memory.get("ff", 0) + schedule.ff_bits + chain + len(window.x) + part.format.bits,
    }


def _rom(part: DenseRom, chip: Chip) -> Cost:
    code, place = part.code, part.place.width
    shifter = place * code.magnitude_bits + place + code.exponents
    memory = chip.memory(code.interval, code.lanes * code.terms * code.code_bits)
    words = chip.memory(2 * code.words, part.source.bits)
    lanes = sum(shape.width + 1 + code.terms * (shifter + place) for shape in part.totals)
    return {
        "lut": lanes
        + code.groups * code.terms * place // 2
        + 40
        + memory.get("lut", 0)
        + words.get("lut", 0),
        "ff": sum(2 * shape.width for shape in part.totals)
        + code.lanes * code.terms * (code.code_bits + place),
        "bram": memory.get("bram", 0) + words.get("bram", 0),
    }
