"""Where branches meet: sums and concatenations, with a FIFO for the branch that is ahead."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Shape, Signal, Value, unsigned
from amaranth.hdl import ShapeLike
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.stream.beat import BeatFormat
from hwgen.stream.control import SkidBuffer, pipeline
from hwgen.stream.window import in_blocks
from hwgen.verilog import BLOCK, add


def queue_latency(depth: int) -> int:
    """Return the cycles a beat takes through an empty queue: 0 if there is none, 1 in registers,
    else 2.
    """
    return min(depth, 1) + (depth > 2)


class Fifo(wiring.Component):
    """A queue of exactly ``depth`` beats.

    Latency: 2 cycles (1 for a depth of 1 or 2). Throughput: 1 beat a cycle from a depth of 2 on.
    """

    def __init__(self, *, shape: ShapeLike, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"A FIFO needs a depth of at least 1, not {depth}")
        self.shape, self.depth = shape, depth
        self.latency = queue_latency(depth)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.depth == 2:
            # A memory of one word and its output register would take a beat every second cycle
            # only.
            skid = SkidBuffer(shape=self.shape)
            add(m, platform, "registers", skid)
            m.d.comb += [
                skid.i.valid.eq(self.i.valid),
                skid.i.payload.eq(self.i.payload),
                self.i.ready.eq(skid.i.ready),
                self.o.valid.eq(skid.o.valid),
                self.o.payload.eq(skid.o.payload),
                skid.o.ready.eq(self.o.ready),
            ]
            return m
        if self.depth == 1:
            word, full = Signal(self.shape, name="word", reset_less=True), Signal(name="full")
            m.d.comb += [
                self.i.ready.eq(~full), self.o.valid.eq(full), self.o.payload.eq(word),
            ]
            with m.If(~full):
                m.d.sync += [full.eq(self.i.valid), word.eq(self.i.payload)]
            with m.Elif(self.o.ready):
                m.d.sync += full.eq(0)
            return m
        self._queue(m)
        return m

    def _queue(self, m: Module) -> None:
        """A memory of one word less, and its output register."""
        bits, words = Shape.cast(self.shape).width, max(self.depth - 1, 1)
        store = memory.Memory(shape=unsigned(bits), depth=words, init=[])
        m.submodules[f"{BLOCK}storage" if in_blocks(words, bits) else "storage"] = store
        write, read = store.write_port(), store.read_port()
        level = Signal(range(words + 1), name="level")
        produce, consume = (Signal(range(words), name=name) for name in ("produce", "consume"))
        full, puts, gets = Signal(name="full"), Signal(name="puts"), Signal(name="gets")
        meets = Signal(name="meets")
        # Registers, set by what the level was, so that no handshake waits for a comparison.
        room, some = Signal(name="room", init=1), Signal(name="some")
        beyond_one, below_last = Signal(name="beyond_one"), Signal(name="below_last")
        m.d.comb += [
            beyond_one.eq(level != 1),
            below_last.eq(level != words - 1),
            self.i.ready.eq(room),
            puts.eq(self.i.valid & self.i.ready),
            gets.eq(some & (~full | self.o.ready)),
            # What is written is never read in the same cycle; so synthesis can see that.
            meets.eq(puts & (produce == consume)),
            write.en.eq(puts),
            write.addr.eq(produce),
            write.data.eq(self.i.payload),
            read.en.eq(gets & ~meets),
            read.addr.eq(consume),
            self.o.valid.eq(full),
            self.o.payload.eq(read.data),
        ]
        m.d.sync += [
            level.eq(level + puts - gets),
            some.eq(puts | (some & (~gets | beyond_one))),
            room.eq(gets | (room & (~puts | below_last))),
        ]
        with m.If(puts):
            m.d.sync += produce.eq(Mux(produce == words - 1, 0, produce + 1))
        with m.If(gets):
            m.d.sync += [consume.eq(Mux(consume == words - 1, 0, consume + 1)), full.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += full.eq(0)


class Join(wiring.Component):
    """One beat from each of several streams, together.

    Parameters: formats, BeatFormat of each input, same size and folds.
    Members: i0, i1, ...; o, whose fields are those of i0, then those of i1, and so on.
    Latency: 0 cycles. Throughput: 1 beat a cycle.
    """

    latency = 0

    def __init__(self, *, formats: list[BeatFormat]) -> None:
        first = formats[0]
        for format in formats:
            if (format.height, format.width, format.folds) != (first.height, first.width, 1):
                raise ValueError(
                    f"Whole pixels of {first.height}x{first.width} images needed, not "
                    f"{format.folds} folds of {format.height}x{format.width}"
                )
        self.formats = formats
        lo = tuple(lo for format in formats for lo in format.lo)
        hi = tuple(hi for format in formats for hi in format.hi)
        self.format = BeatFormat(lo, hi, len(lo), first.height, first.width)
        self.interval = first.beats
        super().__init__(
            {
                **{f"i{n}": In(format.signature) for n, format in enumerate(formats)},
                "o": Out(self.format.signature),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        ins = [getattr(self, f"i{n}") for n in range(len(self.formats))]
        together = Signal(name="together")
        valid: Value = ins[0].valid
        for i in ins[1:]:
            valid = valid & i.valid
        m.d.comb += [together.eq(valid), self.o.valid.eq(together)]
        m.d.comb += [i.ready.eq(together & self.o.ready) for i in ins]
        lane = 0
        for i, format in zip(ins, self.formats, strict=True):
            for value in format.values(i.payload):
                m.d.comb += self.o.payload[f"c{lane}"].eq(value)
                lane += 1
        return m


class Sum(wiring.Component):
    """Sum of the corresponding lanes of several tensors, each shifted left.

    Parameters: source, BeatFormat of the tensors' lanes one after the other (Join); shifts, of each
    tensor; format, BeatFormat of the sums; straight, as of hwgen.stream.control.pipeline.
    Latency: tensors - 1 cycles. Throughput: 1 beat a cycle.
    Resources: tensors - 1 adders a lane.
    """

    def __init__(
        self, *, source: BeatFormat, shifts: tuple[int, ...], format: BeatFormat,
        straight: bool = False,
    ) -> None:
        if source.lanes != len(shifts) * format.lanes:
            raise ValueError(f"{len(shifts)} times {format.lanes} lanes needed, not {source.lanes}")
        self.source, self.shifts, self.format = source, shifts, format
        self.straight = straight
        self.latency = len(shifts) - 1
        self.interval = format.beats
        super().__init__({"i": In(source.signature), "o": Out(format.signature)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = pipeline(m, self.i, self.o, self.latency, self.straight)
        values = self.source.values(self.i.payload)
        lanes = self.format.lanes
        for lane in range(lanes):
            terms = [values[n * lanes + lane] << shift for n, shift in enumerate(self.shifts)]
            while len(terms) > 1:
                held = []
                for n, value in enumerate([terms[0] + terms[1], *terms[2:]]):
                    term = Signal(
                        value.shape(), name=f"sum_{lane}_{len(terms)}_{n}", reset_less=True
                    )
                    with m.If(enable):
                        m.d.sync += term.eq(value)
                    held.append(term)
                terms = held
            m.d.comb += self.o.payload[f"c{lane}"].eq(terms[0])
        return m
