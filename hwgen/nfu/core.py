"""The NFU: instructions fetched, waited for, and handed to the three units that execute them."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import MemorySignature
from hwgen.nfu import isa
from hwgen.nfu.compare import less
from hwgen.nfu.compute import Compute, used_fields
from hwgen.nfu.config import Config
from hwgen.nfu.isa import Fault, Op
from hwgen.nfu.move import BLOCK, Loader, Storer
from hwgen.nfu.walk import fields_layout
from hwgen.verilog import add

STATUS = data.StructLayout({
    "busy": 1, "done": 1, "fault": 4, "position": 32, "cycles": 32, "compute_cycles": 32,
    "stall_cycles": 32, "instructions": 32,
})


def field_value(instruction: Signal, field: isa.Field) -> Value:
    """Return a field of an instruction held in a signal of 512 bits."""
    low = 32 * field.word + field.bit
    value = instruction[low : low + field.width]
    return value.as_signed() if field.signed else value


class Dispatcher(wiring.Component):
    """Fetches, decodes, waits, starts; counts.

    Members
    -------
    start : In, with entry, the address of the first instruction. clear : In, forget done and fault.
    status : Out.
    fetch : Out, read the instruction at ``position``; word_valid, word : In, its words.
    load, compute, store : Out, start the unit with the fields of ``instruction``; move : Out, fetch
    or load. All are registers, high for a cycle.
    single : Out, the block of ``instruction`` has one row, one plane.
    load_busy, compute_busy, store_busy : In. compute_open, compute_older : In, of Compute.
    fault : In, what a unit found, a Fault. stop : Out, give up.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "entry": In(32), "clear": In(1), "status": Out(STATUS),
            "fetch": Out(1), "word_valid": In(1), "word": In(8 * config.word_bytes),
            "instruction": Out(8 * isa.INSTRUCTION_BYTES),
            "load": Out(1), "compute": Out(1), "store": Out(1), "move": Out(1), "single": Out(2),
            "load_busy": In(1), "compute_busy": In(1), "store_busy": In(1),
            "compute_open": In(1), "compute_older": In(1), "fault": In(4), "stop": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        status = self.status
        words = isa.INSTRUCTION_BYTES // self.config.word_bytes
        count, final = Signal(range(words + 1), name="count"), Signal(name="final_word")
        header = {field.name: field_value(self.instruction, field) for field in isa.HEADER}
        waiting = Signal(name="waiting")
        busy = Cat(self.load_busy, self.compute_busy, self.store_busy)
        # Of COMPUTEs two may overlap; others wait until there is but the newest.
        taken = Cat(self.load_busy | self.compute_older, ~self.compute_open,
                    self.store_busy | self.compute_older)
        asked = Cat(header["wait_load"], header["wait_compute"], header["wait_store"])
        own, free = Signal(3, name="own"), Signal(name="free")
        wrong, idle = self._checks(m, header["opcode"], own), Signal(name="idle")
        m.d.comb += waiting.eq((asked & busy | own & taken).any())
        # ``free``, high in ISSUE alone, says what was so a cycle before: only this unit starts
        # another.
        ready = Signal(name="ready")
        m.d.comb += ready.eq(~waiting & (wrong == 0))
        m.d.sync += free.eq(0)
        with m.If(self.word_valid):
            m.d.sync += [self.instruction.eq(Cat(self.instruction, self.word)[
                self.config.word_bytes * 8 :]), count.eq(count + 1), final.eq(count == words - 2)]
        broken, found = Signal(name="broken"), Signal(4, name="fault_found")
        with m.If(self.clear):
            m.d.sync += [status.done.eq(0), status.fault.eq(0), broken.eq(0)]
        m.d.sync += found.eq(self.fault)
        with m.If((found != 0) & status.busy & ~broken):
            m.d.sync += [status.fault.eq(found), broken.eq(1)]
        m.d.sync += [
            Cat(self.fetch, self.load, self.move, self.compute, self.store).eq(0),
            idle.eq(~(busy.any() | self.move | self.compute | self.store)),
        ]
        with m.If(free & ~broken):
            m.d.sync += [status.position.eq(status.position + isa.INSTRUCTION_BYTES),
                         status.instructions.eq(status.instructions + 1),
                         Cat(self.load, self.compute, self.store).eq(own), self.move.eq(own[0])]
        with m.FSM(name="state"):
            with m.State("REST"):
                with m.If(self.start):
                    m.d.sync += [
                        status.busy.eq(1), status.done.eq(0), status.fault.eq(0), broken.eq(0),
                        status.position.eq(self.entry), status.cycles.eq(0),
                        status.compute_cycles.eq(0), status.stall_cycles.eq(0),
                        status.instructions.eq(0)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                with m.If(broken):
                    m.next = "HALT"
                with m.Elif(~self.load_busy & ~self.load):
                    m.d.sync += [self.fetch.eq(1), self.move.eq(1), count.eq(0),
                                 final.eq(words == 1)]
                    m.next = "RECEIVE"
            with m.State("RECEIVE"):
                with m.If(broken):
                    m.next = "HALT"
                with m.Elif(self.word_valid & final):
                    m.next = "DECODE"
            self._issue(m, broken, wrong, ready, free)
            with m.State("HALT"):
                m.d.comb += self.stop.eq(broken)
                with m.If(idle):
                    m.d.sync += [status.busy.eq(0), status.done.eq(1)]
                    m.next = "REST"
        with m.If(status.busy):
            m.d.sync += [
                status.cycles.eq(status.cycles + 1),
                status.compute_cycles.eq(status.compute_cycles + self.compute_busy),
                status.stall_cycles.eq(status.stall_cycles + ~self.compute_busy)]
        return m

    def _issue(self, m: Module, broken: Signal, wrong: Signal, ready: Signal, free: Signal) -> None:
        """The instruction is there: look at it, wait until it may start."""
        held, refused = Signal(4, name="wrong_held"), Signal(name="refused")
        with m.State("DECODE"):
            m.next = "CHECK"
        with m.State("CHECK"):
            m.d.sync += [held.eq(wrong), refused.eq(wrong != 0), free.eq(ready)]
            m.next = "ISSUE"
        with m.State("ISSUE"):
            with m.If(broken):
                m.next = "HALT"
            with m.Elif(refused):
                m.d.sync += [self.status.fault.eq(held), broken.eq(1)]
                m.next = "HALT"
            with m.Elif(free):
                m.next = "FETCH"
                with m.If(field_value(self.instruction, isa.HEADER[0]) == Op.END):
                    m.next = "HALT"
            with m.Else():
                m.d.sync += free.eq(ready)

    def _checks(self, m: Module, opcode: Value, own: Signal) -> Signal:
        """Return the Fault of the instruction, 0 if it is right; drive ``own``, its unit. Both are
        a cycle behind the instruction.
        """
        wrong = Signal(4, name="wrong")

        def zero(op: Op, *names: str) -> Value:
            fields = [field for field in isa.FIELDS[op] if field.name in names]
            return Cat(*(field_value(self.instruction, field) == 0 for field in fields)).any()

        named = {op: {field.name: field_value(self.instruction, field)
                      for field in isa.FIELDS[op]} for op in Op}
        fields = named[Op.COMPUTE]
        move, buffer, compute, unknown = (
            Signal(name=f"wrong_{name}") for name in ("move", "buffer", "compute", "opcode"))
        m.d.sync += [
            self.single.eq(Cat(named[Op.LOAD][name] == 1 for name in ("rows", "planes"))),
            own.eq(Cat(opcode == op for op in (Op.LOAD, Op.COMPUTE, Op.STORE))),
            unknown.eq(Cat(opcode == op for op in Op) == 0),
            move.eq(zero(Op.LOAD, "cols", "rows", "planes")),
            buffer.eq(named[Op.LOAD]["buffer"] > max(isa.Buffer)),
            compute.eq(zero(Op.COMPUTE, "rows", "cols", "steps")
                       | less(fields["period"], fields["steps"])
                       | (fields["last"] & (fields["digits"] == 0))),
        ]
        with m.If(unknown):
            m.d.comb += wrong.eq(Fault.OPCODE)
        with m.Elif((own[0] & (move | buffer)) | (own[1] & compute) | (own[2] & move)):
            m.d.comb += wrong.eq(Fault.FIELD)
        return wrong


class Core(wiring.Component):
    """An NFU between a memory and whoever starts it.

    Parameters: config; weights, as of LaneArray.

    Members
    -------
    start, entry, clear : In; status : Out. memory : the port.
    """

    def __init__(self, *, config: Config, weights: bytes = b"") -> None:
        self.config, self.weights = config, weights
        super().__init__({
            "start": In(1), "entry": In(32), "clear": In(1), "status": Out(STATUS),
            "memory": Out(MemorySignature(word_bits=8 * config.word_bytes)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        dispatcher = Dispatcher(config=config)
        compute = Compute(config=config, weights=self.weights)
        loader, storer = Loader(config=config), Storer(config=config)
        for name, part in (("dispatcher", dispatcher), ("loader", loader), ("compute", compute),
                           ("storer", storer)):
            add(m, platform, name, part)
        instruction = dispatcher.instruction
        load = {field.name: field_value(instruction, field) for field in isa.FIELDS[Op.LOAD]}
        m.d.comb += [
            dispatcher.start.eq(self.start), dispatcher.entry.eq(self.entry),
            dispatcher.clear.eq(self.clear), self.status.eq(dispatcher.status),
            dispatcher.word_valid.eq(loader.word_valid), dispatcher.word.eq(loader.word),
            dispatcher.load_busy.eq(loader.busy), dispatcher.store_busy.eq(storer.busy),
            dispatcher.compute_busy.eq(compute.busy), dispatcher.compute_open.eq(compute.open),
            dispatcher.compute_older.eq(compute.older), compute.stop.eq(dispatcher.stop),
            loader.start.eq(dispatcher.move), storer.single.eq(dispatcher.single),
            loader.single.eq(dispatcher.single | dispatcher.fetch.replicate(2)),
            loader.fetch.eq(dispatcher.fetch), loader.buffer.eq(load["buffer"]),
            loader.line.eq(load["line"]), storer.start.eq(dispatcher.store),
            storer.line.eq(load["line"]), compute.start.eq(dispatcher.compute),
            compute.fill.eq(loader.fill), compute.read_line.eq(storer.read_line),
            storer.codes.eq(compute.codes),
        ]
        m.d.comb += [getattr(storer.block, name).eq(load[name]) for name in BLOCK.members]
        with m.If(dispatcher.fetch):
            m.d.comb += [loader.block.address.eq(dispatcher.status.position),
                         loader.block.cols.eq(isa.INSTRUCTION_BYTES // config.word_bytes),
                         loader.block.rows.eq(1), loader.block.planes.eq(1)]
        with m.Else():
            m.d.comb += [getattr(loader.block, name).eq(load[name]) for name in BLOCK.members]
        fields = {field.name: field for field in isa.FIELDS[Op.COMPUTE]}
        assert set(fields_layout(*used_fields(config)).members) <= set(fields)
        m.d.comb += [getattr(compute.fields, name).eq(field_value(instruction, fields[name]))
                     for name in compute.fields.shape().members]
        self._memory(m, loader, storer)
        m.d.comb += dispatcher.fault.eq(
            Mux(self.memory.read_fault, Fault.READ, Mux(
                self.memory.write_fault, Fault.WRITE, Mux(
                    loader.fault | storer.fault, Fault.ADDRESS,
                    Mux(loader.overflow | compute.overflow, Fault.FIELD, Fault.NONE)))))
        return m

    def _memory(self, m: Module, loader: Loader, storer: Storer) -> None:
        for part in (loader, storer):
            for name, member in part.runs.signature.members.items():
                inner, outer = getattr(part.runs, name), getattr(self.memory, name)
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
