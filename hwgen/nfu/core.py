"""The NFU: instructions fetched, waited for, and handed to the three units that execute them."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.memory import MemorySignature
from hwgen.nfu import isa
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
    load, compute, store : Out, start the unit with the fields of ``instruction``.
    load_busy, compute_busy, store_busy : In. compute_open, compute_older : In, of Compute.
    fault : In, what a unit found, a Fault. stop : Out, give up.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "entry": In(32), "clear": In(1), "status": Out(STATUS),
            "fetch": Out(1), "word_valid": In(1), "word": In(8 * config.word_bytes),
            "instruction": Out(8 * isa.INSTRUCTION_BYTES),
            "load": Out(1), "compute": Out(1), "store": Out(1),
            "load_busy": In(1), "compute_busy": In(1), "store_busy": In(1),
            "compute_open": In(1), "compute_older": In(1), "fault": In(4), "stop": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        status = self.status
        words = isa.INSTRUCTION_BYTES // self.config.word_bytes
        count = Signal(range(words + 1), name="count")
        header = {field.name: field_value(self.instruction, field) for field in isa.HEADER}
        waiting = Signal(name="waiting")
        busy = Cat(self.load_busy, self.compute_busy, self.store_busy)
        # Of COMPUTEs two may overlap; others wait until there is but the newest.
        taken = Cat(self.load_busy | self.compute_older, ~self.compute_open,
                    self.store_busy | self.compute_older)
        asked = Cat(header["wait_load"], header["wait_compute"], header["wait_store"])
        own = Signal(3, name="own")
        wrong, held = self._checks(m, header["opcode"], own), Signal(4, name="wrong_held")
        m.d.comb += waiting.eq((asked & busy | own & taken).any())
        with m.If(self.word_valid):
            m.d.sync += [self.instruction.eq(Cat(self.instruction, self.word)[
                self.config.word_bytes * 8 :]), count.eq(count + 1)]
        with m.If(self.clear):
            m.d.sync += [status.done.eq(0), status.fault.eq(0)]
        broken = Signal(name="broken")
        m.d.comb += broken.eq(status.fault != 0)
        with m.If((self.fault != 0) & status.busy & ~broken):
            m.d.sync += status.fault.eq(self.fault)
        with m.FSM(name="state"):
            with m.State("REST"):
                with m.If(self.start):
                    m.d.sync += [
                        status.busy.eq(1), status.done.eq(0), status.fault.eq(0),
                        status.position.eq(self.entry), status.cycles.eq(0),
                        status.compute_cycles.eq(0), status.stall_cycles.eq(0),
                        status.instructions.eq(0)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                with m.If(broken):
                    m.next = "HALT"
                with m.Elif(~self.load_busy):
                    m.d.comb += self.fetch.eq(1)
                    m.d.sync += count.eq(0)
                    m.next = "RECEIVE"
            with m.State("RECEIVE"):
                with m.If(broken):
                    m.next = "HALT"
                with m.Elif(count == words):
                    m.next = "DECODE"
            with m.State("DECODE"):
                m.d.sync += held.eq(wrong)
                m.next = "CHECK"
            with m.State("CHECK"):
                m.next = "ISSUE"
                with m.If(held != 0):
                    m.d.sync += status.fault.eq(held)
                    m.next = "HALT"
            with m.State("ISSUE"):
                with m.If(broken):
                    m.next = "HALT"
                with m.Elif(~waiting):
                    m.d.sync += [status.position.eq(status.position + isa.INSTRUCTION_BYTES),
                                 status.instructions.eq(status.instructions + 1)]
                    m.d.comb += Cat(self.load, self.compute, self.store).eq(own)
                    m.next = "FETCH"
                    with m.If(header["opcode"] == Op.END):
                        m.next = "HALT"
            with m.State("HALT"):
                m.d.comb += self.stop.eq(status.fault != 0)
                with m.If(~self.load_busy & ~self.store_busy & ~self.compute_busy):
                    m.d.sync += [status.busy.eq(0), status.done.eq(1)]
                    m.next = "REST"
        with m.If(status.busy):
            m.d.sync += [
                status.cycles.eq(status.cycles + 1),
                status.compute_cycles.eq(status.compute_cycles + self.compute_busy),
                status.stall_cycles.eq(status.stall_cycles + ~self.compute_busy)]
        return m

    def _checks(self, m: Module, opcode: Value, own: Signal) -> Signal:
        """Return the Fault of the instruction, 0 if it is right; drive ``own``, its unit."""
        wrong = Signal(4, name="wrong")

        def zero(op: Op, *names: str) -> Value:
            fields = [field for field in isa.FIELDS[op] if field.name in names]
            return Cat(*(field_value(self.instruction, field) == 0 for field in fields)).any()

        named = {op: {field.name: field_value(self.instruction, field)
                      for field in isa.FIELDS[op]} for op in Op}
        move = zero(Op.LOAD, "cols", "rows", "planes")
        with m.Switch(opcode):
            with m.Case(Op.LOAD):
                m.d.comb += own.eq(1)
                with m.If(move | (named[Op.LOAD]["buffer"] > max(isa.Buffer))):
                    m.d.comb += wrong.eq(Fault.FIELD)
            with m.Case(Op.COMPUTE):
                m.d.comb += own.eq(2)
                fields = named[Op.COMPUTE]
                with m.If(zero(Op.COMPUTE, "rows", "cols", "steps")
                          | (fields["period"] < fields["steps"])
                          | (fields["last"] & (fields["digits"] == 0))):
                    m.d.comb += wrong.eq(Fault.FIELD)
            with m.Case(Op.STORE):
                m.d.comb += own.eq(4)
                with m.If(move):
                    m.d.comb += wrong.eq(Fault.FIELD)
            with m.Case(Op.END):
                m.d.comb += own.eq(0)
            with m.Default():
                m.d.comb += wrong.eq(Fault.OPCODE)
        return wrong


class Core(wiring.Component):
    """An NFU between a memory and whoever starts it.

    Parameters: config.

    Members
    -------
    start, entry, clear : In; status : Out. memory : the port.
    """

    def __init__(self, *, config: Config) -> None:
        self.config = config
        super().__init__({
            "start": In(1), "entry": In(32), "clear": In(1), "status": Out(STATUS),
            "memory": Out(MemorySignature(word_bits=8 * config.word_bytes)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        dispatcher, compute = Dispatcher(config=config), Compute(config=config)
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
            loader.start.eq(dispatcher.fetch | dispatcher.load),
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
