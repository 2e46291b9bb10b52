"""NFU programs executed instruction by instruction, from the table in hwgen.nfu.isa alone.

It knows memory, buffers and numbers, but no network and no clock: every LOAD, COMPUTE and STORE is
done whole, in the order of the program. What the hardware may do at the same time is checked
instead: an instruction that touches what one before it, not waited for, still uses is a fault here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.nfu import isa
from hwgen.nfu.config import Config
from hwgen.nfu.isa import Buffer, Fault, Instruction, Op

Memory = npt.NDArray[np.uint8]
Spans = list[tuple[str, int, int]]      # what, first place, place behind the last


class Stopped(HwgenError):
    """The program is at fault. ``fault`` is what the status register would say."""

    def __init__(self, fault: Fault, position: int, reason: str) -> None:
        super().__init__(f"Instruction at byte {position}: {reason}")
        self.fault, self.position = fault, position


@dataclass(eq=False)
class Interpreter:
    """An NFU without a clock.

    Parameters
    ----------
    config : Config
    memory : (bytes,) uint8
        Read and written in place.
    """

    config: Config
    memory: Memory
    executed: int = 0
    _running: dict[str, tuple[Spans, Spans]] = field(default_factory=dict)
    _best: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        config = self.config
        self.nbin = np.zeros((config.nbin_lines, config.tn), np.int64)
        self.codes = np.zeros((config.nbout_lines, config.tn), np.int64)
        self.sums = np.zeros((config.nbout_lines, config.tn), np.int64)
        self.sb = np.zeros((config.sb_lines, config.tn, config.tn), np.int64)
        self.taps: list[dict[str, int]] = [{}] * config.tap_count
        self.parameters: list[list[dict[str, int]]] = [[]] * config.par_lines
        self.table: list[dict[str, int]] = [{}] * isa.SEGMENTS

    def run(self, program: int = 0, limit: int = 1_000_000) -> None:
        """Execute from an address to END.

        Raises: Stopped if the program is at fault, HwgenError if it does not end.
        """
        position = program
        for _ in range(limit):
            raw = self._bytes(position, isa.INSTRUCTION_BYTES, position)
            try:
                instruction = isa.decode(raw)
            except ValueError as error:
                raise Stopped(Fault.OPCODE, position, str(error)) from error
            self.executed += 1
            if instruction.op is Op.END:
                return
            self._execute(instruction, position)
            position += isa.INSTRUCTION_BYTES
        raise HwgenError(f"A program of at most {limit} instructions needed")

    # --- order ----------------------------------------------------------------------------------

    def _execute(self, one: Instruction, position: int) -> None:
        unit = one.op.name
        for name in ("load", "compute", "store"):
            if one[f"wait_{name}"] or name.upper() == unit:
                self._running.pop(name.upper(), None)
        if one.op is Op.COMPUTE:
            reads, writes = self._compute(one, position)
        else:
            reads, writes = self._move(one, position)
        for other, (other_reads, other_writes) in self._running.items():
            for mine, theirs, word in ((writes, other_reads, "reads"), (writes, other_writes,
                                       "writes"), (reads, other_writes, "writes")):
                for span in mine:
                    if any(span[0] == o[0] and span[1] < o[2] and o[1] < span[2] for o in theirs):
                        raise HwgenError(
                            f"Instruction at byte {position}: {unit} must wait for a {other} that "
                            f"{word} {span[0]} {span[1]}..{span[2] - 1} or near")
        self._running[unit] = (reads, writes)

    # --- moving ---------------------------------------------------------------------------------

    def _move(self, one: Instruction, position: int) -> tuple[Spans, Spans]:
        word = self.config.word_bytes
        cols, rows, planes = one["cols"], one["rows"], one["planes"]
        if not (cols and rows and planes):
            raise Stopped(Fault.FIELD, position, "cols, rows and planes of at least 1 needed")
        line, outside, parts = one["line"], [], []
        for plane in range(planes):
            for row in range(rows):
                start = one["address"] + plane * one["plane_pitch"] + row * one["row_pitch"]
                outside.append(("memory", start, start + cols * word))
                if one.op is Op.LOAD:
                    parts.append(self._bytes(start, cols * word, position))
                else:
                    self._put(start, self.codes[line : line + cols], position)
                    line += cols
        count = cols * rows * planes
        if one.op is Op.STORE:
            self._inside("nbout", line, self.config.nbout_lines, position)
            return [("nbout", one["line"], line)], outside
        return outside, [self._fill(one["buffer"], one["line"], b"".join(parts), count, position)]

    def _fill(self, buffer: int, line: int, raw: bytes, words: int,
              position: int) -> tuple[str, int, int]:
        config = self.config
        if buffer not in set(Buffer):
            raise Stopped(Fault.FIELD, position, f"no buffer {buffer}")
        match Buffer(buffer):
            case Buffer.NBIN:
                kind = "<u1" if config.act_bits == 8 else "<u2"
                values = np.frombuffer(raw, kind).astype(np.int64).reshape(-1, config.tn)
                self._inside("nbin", line + words, config.nbin_lines, position)
                self.nbin[line : line + words] = values
                return "nbin", line, line + words
            case Buffer.SB:
                count = -(-words // config.sb_words)
                self._inside("sb", line + count, config.sb_lines, position)
                size = config.sb_words * config.word_bytes
                for n in range(count):
                    self.sb[line + n] = self._weights(raw[n * size : (n + 1) * size])
                return "sb", line, line + count
            case Buffer.TAPS:
                count = len(raw) // 4
                self._inside("taps", line + count, config.tap_count, position)
                for n in range(count):
                    self.taps[line + n] = isa.unpack(isa.TAP, raw[4 * n : 4 * n + 4])
                return "taps", line, line + count
            case Buffer.PARAMETERS:
                count = -(-words // config.par_words)
                self._inside("parameters", line + count, config.par_lines, position)
                size = config.par_words * config.word_bytes
                for n in range(count):
                    entries = raw[n * size : (n + 1) * size]
                    self.parameters[line + n] = [
                        isa.unpack(isa.PARAMETER, entries[16 * c : 16 * c + 16])
                        for c in range(config.finishers)]
                return "parameters", line, line + count
            case _:
                size = config.entry_words * config.word_bytes
                count = len(raw) // size
                self._inside("table", line + count, isa.SEGMENTS, position)
                for n in range(count):
                    self.table[line + n] = isa.unpack(isa.SEGMENT, raw[n * size : n * size + 16])
                return "table", line, line + count

    def _weights(self, raw: bytes) -> Int64Array:
        """Return a line as integers, what each code multiplies by."""
        config = self.config
        number, bits = int.from_bytes(raw, "little"), config.weight_bits
        values = np.zeros(config.tn * config.tn, np.int64)
        for n in range(values.size):
            values[n] = self._weight(number >> n * bits & (1 << bits) - 1)
        return values.reshape(config.tn, config.tn)

    def _weight(self, code: int) -> int:
        bits = self.config.weight_bits
        match self.config.code.value:
            case "product":
                return code - (1 << bits) if code >> bits - 1 else code
            case "wide":
                size = 1 << (code & 7) if code & 8 else 0
            case "narrow":
                size = 1 << (code & 7) - 1 if code & 7 else 0
            case _:
                size = 1 << (code & 3) if code & 4 else 0
        return -size if code >> bits - 1 else size

    # --- computing ------------------------------------------------------------------------------

    def _compute(self, one: Instruction, position: int) -> tuple[Spans, Spans]:
        config = self.config
        rows, cols, steps = one["rows"], one["cols"], one["steps"]
        if not (rows and cols and steps) or one["period"] < steps:
            raise Stopped(Fault.FIELD, position, "rows, cols, steps needed, no period below steps")
        pixels = rows * cols
        out = one["out_line"]
        self._inside("nbout", out + pixels, config.nbout_lines, position)
        places = self._places(one)
        x, inside, lines = self._gathered(one, places)            # (pixels, steps, tn)
        reads: Spans = [("nbin", int(line), int(line) + 1) for line in np.unique(lines[inside])]
        if not config.multipliers:
            reads.append(("taps", one["tap_line"], one["tap_line"] + steps))
        if one["max"]:
            least = -(1 << config.act_bits)
            sums = np.where(inside[:, :, None], x, least).max(axis=1)
        else:
            count = 1 if one["hold"] else steps
            self._inside("sb", one["sb_line"] + count, config.sb_lines, position)
            reads.append(("sb", one["sb_line"], one["sb_line"] + count))
            weights = self.sb[one["sb_line"] : one["sb_line"] + count]
            weights = np.broadcast_to(weights, (steps, config.tn, config.tn))
            x = np.where(inside[:, :, None], x, 0)
            sums = np.einsum("psi,soi->po", x.astype(np.float64), weights.astype(np.float64),
                             optimize=True).astype(np.int64)
            if not config.multipliers:
                # A negative digit gives the product inverted, bit by bit: one less.
                sums -= (weights < 0).sum(axis=(0, 2))
        if not one["first"]:
            sums = sums + self.sums[out : out + pixels]
        if np.any(np.abs(sums) >= 1 << config.acc_bits - 1):
            raise HwgenError(f"Instruction at byte {position}: a sum leaves {config.acc_bits} bits")
        if not one["last"]:
            self.sums[out : out + pixels] = sums
        else:
            digits = one["digits"]
            if not 1 <= digits <= 3 or one["period"] < config.groups * digits:
                raise Stopped(Fault.FIELD, position, "1 to 3 digits and their time needed")
            self.codes[out : out + pixels] = self._finish(one, sums, position)
            lines_used = config.groups * digits
            reads.append(("parameters", one["par_line"], one["par_line"] + lines_used))
            if one["activate"]:
                reads.append(("table", 0, isa.SEGMENTS))
        return reads, [("nbout", out, out + pixels)]

    def _places(self, one: Instruction) -> list[tuple[int, int, int, int]]:
        """Return (offset, dy, dx, of the other sign) of each step."""
        if not self.config.multipliers:
            taps = self.taps[one["tap_line"] : one["tap_line"] + one["steps"]]
            return [(tap["offset"], tap["dy"], tap["dx"], tap["other"]) for tap in taps]
        found, offset = [], 0
        for _ in range(one["tiles"]):
            for r in range(one["kernel_h"]):
                for s in range(one["kernel_w"]):
                    found.append((offset, r * one["tap_y"], s * one["tap_x"], 0))
                    offset += one["tap_col"] if s < one["kernel_w"] - 1 else 0
                offset += one["tap_row"] if r < one["kernel_h"] - 1 else 0
            offset += one["tap_tile"]
        return found

    def _gathered(self, one: Instruction, places: list[tuple[int, int, int, int]]
                  ) -> tuple[Int64Array, npt.NDArray[np.bool_], Int64Array]:
        row, col = (index.reshape(-1, 1) for index in np.indices((one["rows"], one["cols"])))
        offset, dy, dx, other = (np.array(part, np.int64)[None, :]
                                 for part in zip(*places, strict=True))
        lines = one["in_line"] + row * one["in_row"] + col * one["in_col"] + offset & 0xFFFF
        y = one["y"] + row * one["step_y"] + dy
        x = one["x"] + col * one["step_x"] + dx
        inside = (y >= 0) & (y < one["height"]) & (x >= 0) & (x < one["width"])
        if np.any(lines[inside] >= self.config.nbin_lines):
            raise HwgenError("A tap reads beyond NBin")
        lines = np.where(inside, lines, 0)
        values = self.nbin[lines]
        half = self.config.tn // 2
        if one["left"]:
            values = np.where((inside & (x == 0))[:, :, None] & (np.arange(2 * half) < half), 0,
                              values)
        if one["right"]:
            last = inside & (x == one["width"] - 1)
            values = np.where(last[:, :, None] & (np.arange(2 * half) >= half), 0, values)
        bits = self.config.act_bits
        signed = (other ^ one["signed"])[:, :, None] == 1
        values = np.where(signed & (values >> bits - 1 == 1), values - (1 << bits), values)
        return values, inside, lines

    def _finish(self, one: Instruction, sums: Int64Array, position: int) -> Int64Array:
        config, digits, base = self.config, one["digits"], one["par_line"]
        self._inside("parameters", base + config.groups * digits, config.par_lines, position)
        totals, shifts = np.zeros_like(sums), np.zeros(config.tn, np.int64)
        for lane in range(config.tn):
            group, place = divmod(lane, config.finishers)
            entries = [self.parameters[base + group * digits + d][place] for d in range(digits)]
            acc = (sums[:, lane] << entries[0]["base"]) + entries[0]["bias"]
            shifts[lane] = entries[0]["shift"]
            if one["activate"]:
                totals[:, lane] = self._line(acc, digits)
            else:
                total = np.full_like(acc, _offset(entries[0]))
                for entry in entries:
                    part = np.zeros_like(acc) if entry["zero"] else acc << entry["up"]
                    total = total - part if entry["negative"] else total + part
                totals[:, lane] = total
        if np.any(np.abs(totals) >= 1 << config.total_bits - 1):
            raise HwgenError(f"Instruction at byte {position}: a product leaves "
                             f"{config.total_bits} bits")
        if one["argmax"]:
            return self._classes(one, totals)
        codes = totals >> shifts
        if not one["wrap"]:
            codes = np.clip(codes, one["lo"], one["hi"])
        kept: Int64Array = codes & (1 << config.act_bits) - 1
        return kept

    def _line(self, acc: Int64Array, digits: int) -> Int64Array:
        """Evaluate the piecewise-linear table: the last segment that starts at or below."""
        starts = np.array([entry["start"] for entry in self.table[1:]], np.int64)
        segment = (acc[:, None] >= starts).sum(axis=1)
        offsets = np.array([_offset(entry) for entry in self.table], np.int64)
        total: Int64Array = offsets[segment]
        for d in range(digits):
            up, negative, zero = (np.array([entry[f"{name}_{d}"] for entry in self.table],
                                           np.int64)[segment] for name in ("up", "negative",
                                                                           "zero"))
            total = total + np.where(zero, 0, np.where(negative, -(acc << up), acc << up))
        return total

    def _classes(self, one: Instruction, totals: Int64Array) -> Int64Array:
        codes = np.zeros((len(totals), self.config.tn), np.int64)
        bits = self.config.act_bits
        for n, values in enumerate(totals[:, : one["lanes"]]):
            lane = int(np.argmax(values))
            best = int(values[lane]), one["class_base"] + lane
            if one["argmax_first"] or best[0] > self._best[0]:
                self._best = best
            codes[n, 0] = self._best[1] & (1 << bits) - 1
            codes[n, 1] = self._best[1] >> bits
        return codes

    # --- memory ---------------------------------------------------------------------------------

    def _bytes(self, start: int, count: int, position: int) -> bytes:
        self._check(start, count, position)
        return self.memory[start : start + count].tobytes()

    def _put(self, start: int, codes: Any, position: int) -> None:
        raw = codes.astype("<u1" if self.config.act_bits == 8 else "<u2").tobytes()
        self._check(start, len(raw), position)
        self.memory[start : start + len(raw)] = np.frombuffer(raw, np.uint8)

    def _check(self, start: int, count: int, position: int) -> None:
        if start % self.config.word_bytes:
            raise Stopped(Fault.ADDRESS, position, f"address {start} is not a word's")
        if start + count > self.memory.size:
            raise Stopped(Fault.ADDRESS, position, f"address {start + count - 1} is beyond the "
                          f"memory's {self.memory.size} bytes")

    def _inside(self, name: str, end: int, size: int, position: int) -> None:
        if end > size:
            raise Stopped(Fault.FIELD, position, f"{name} has {size} lines, not {end}")


def _offset(entry: dict[str, int]) -> int:
    value = entry["offset_low"] | entry["offset_high"] << 32
    return value - (1 << 48) if value >> 47 else value
