"""The NFU as a whole: registers on AXI4-Lite, and memory on chip or behind AXI4."""

from __future__ import annotations

from typing import Any

from amaranth import Array, C, Cat, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.bus.axi import AxiMaster, AxiSignature
from hwgen.bus.axilite import AxiLiteSignature, AxiLiteTarget
from hwgen.bus.memory import ChipMemory
from hwgen.nfu import isa
from hwgen.nfu.compare import less
from hwgen.nfu.config import Config
from hwgen.nfu.core import STATUS, Core
from hwgen.verilog import add

PREFIX, AXI_PREFIX = "s_axil_", "m_axi_"


class Registers(wiring.Component):
    """The registers of ``hwgen.nfu.isa``, and the way to a memory on chip.

    Members
    -------
    bus : AXI4-Lite, the target's side. interrupt : Out.
    start, clear : Out, one cycle. entry : Out. status : In.
    poke : Out, one cycle, peek : Out, until it is answered, with window_address (bytes), data,
    strobe; window : In, the 32 bits read, as late behind ``peek`` as ChipMemory gives them. Only
    with ``windowed``; it answers with an error while busy.

    Latency: 2 cycles from a request to its answer, ``latency`` when it reads memory. In the first
    the address is looked up, in the second the answer is chosen, in the third a write is done.
    """

    latency = ChipMemory.latency + 3

    def __init__(self, *, config: Config) -> None:
        self.config, self.windowed = config, bool(config.memory_bytes)
        super().__init__({
            "bus": In(AxiLiteSignature()), "interrupt": Out(1), "start": Out(1), "clear": Out(1),
            "entry": Out(32), "status": In(STATUS),
            "peek": Out(1), "poke": Out(1), "window_address": Out(31), "data": Out(32),
            "strobe": Out(4), "window": In(32),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        target = AxiLiteTarget()
        add(m, platform, "target", target)
        wiring.connect(m, wiring.flipped(self.bus), target.bus)
        status, config = self.status, self.config
        enabled, missed = Signal(name="interrupt_enabled"), Signal(name="missed")
        program = Signal(32, name="program_held")
        m.d.comb += [
            self.interrupt.eq(enabled & status.done), self.entry.eq(program),
            self.window_address.eq(target.address[:31]), self.data.eq(target.data),
            self.strobe.eq(target.strobe),
        ]
        known = (config.tn | config.act_bits << 8 | config.weight_bits << 16
                 | config.finishers << 24)
        values = {
            "identification": isa.IDENTIFICATION, "parameters": known, "control": enabled << 1,
            "status": Cat(status.busy, status.done, Signal(2, name="spare"), status.fault, missed),
            "program": program, "position": status.position, "cycles": status.cycles,
            "compute_cycles": status.compute_cycles, "stall_cycles": status.stall_cycles,
            "instructions": status.instructions,
        }
        # Cycle 0: which register; the address and the request stay.
        turn, request = Signal(range(self.latency), name="turn"), Signal(name="request")
        far, wrong = Signal(name="far"), Signal(name="wrong")
        near = Signal(name="near")
        here = {name: Signal(name=f"at_{name}") for name in isa.REGISTER}
        bits = max(register.offset for register in isa.REGISTERS).bit_length()
        m.d.comb += request.eq((target.read | target.write) & ~target.done)
        m.d.sync += [
            turn.eq(Mux(request, turn + 1, 0)), far.eq(target.address[31]),
            near.eq(target.address[bits:] == 0),
            *(hit.eq(target.address[2:bits] == isa.REGISTER[name].offset // 4)
              for name, hit in here.items()),
        ]
        # Cycle 1: the answer.
        second, writes = Signal(name="second"), Signal(name="writes")
        fixed = Cat(hit for name, hit in here.items() if isa.REGISTER[name].access == "r").any()
        known_place = near & Cat(*here.values()).any()
        m.d.comb += second.eq(request & (turn == 1))
        chosen = C(0, 32)
        for name, hit in here.items():
            chosen = chosen | Mux(hit, values[name], 0)
        window = Signal(32, name="window_held")
        m.d.sync += [
            window.eq(self.window),
            target.answer.eq(Mux(self.peek, window, Mux(near, chosen, 0))),
            target.error.eq(wrong), writes.eq(second & target.write & near & target.strobe.all()),
            self.start.eq(writes & here["control"] & target.data[0] & ~status.busy),
            self.clear.eq(writes & here["control"] & target.data[2]),
        ]
        # Cycle 2: what is written.
        with m.If(writes & here["program"]):
            m.d.sync += program.eq(target.data)
        with m.If(writes & here["control"]):
            m.d.sync += enabled.eq(target.data[1])
            with m.If(target.data[0]):
                m.d.sync += missed.eq(status.busy)
        if self.windowed:
            beyond, looks = Signal(name="beyond"), Signal(name="looks")
            m.d.comb += [
                wrong.eq(Mux(far, status.busy | beyond | (target.write & ~target.strobe.all()),
                             ~known_place | (fixed & target.write))),
                looks.eq(target.read & far & ~wrong),
            ]
            m.d.sync += [
                beyond.eq(~less(target.address[:31], C(config.memory_bytes))),
                self.poke.eq(second & target.write & far & ~wrong),
                self.peek.eq(request & (self.peek | (second & looks))),
                target.done.eq(request & ((second & ~looks) | (turn == self.latency - 1))),
            ]
        else:
            m.d.comb += wrong.eq(~known_place | (fixed & target.write))
            m.d.sync += target.done.eq(second)
        return m


class ChipTop(wiring.Component):
    """An NFU with all of its memory on chip; AXI4-Lite reaches both registers and memory.

    Members: s_axil_* : AXI4-Lite; interrupt : Out.
    """

    def __init__(self, *, config: Config) -> None:
        if not config.memory_bytes:
            raise ValueError("memory_bytes of at least 64 needed, not 0")
        self.config = config
        super().__init__({**_prefixed(AxiLiteSignature(), PREFIX, In), "interrupt": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        core, registers = Core(config=config), Registers(config=config)
        bits = 8 * config.word_bytes
        memory = ChipMemory(word_bits=bits, words=config.memory_bytes // config.word_bytes)
        for name, part in (("core", core), ("registers", registers), ("memory", memory)):
            add(m, platform, name, part)
        _wire(m, self, registers.bus, PREFIX)
        _control(m, registers, core)
        wiring.connect(m, core.memory, memory.runs)
        low = (config.word_bytes - 1).bit_length()
        part = registers.window_address[2:low] if low > 2 else Signal(1, name="no_part")
        words = [memory.peek_data[32 * n : 32 * n + 32] for n in range(memory.parts)]
        m.d.comb += [
            self.interrupt.eq(registers.interrupt),
            memory.peek.eq(registers.peek), memory.poke.eq(registers.poke),
            memory.peek_address.eq(registers.window_address >> low),
            memory.poke_address.eq(registers.window_address >> low),
            memory.poke_data.eq(registers.data.replicate(memory.parts)),
            memory.poke_mask.eq(1 << part if low > 2 else 1),
            registers.window.eq(Array(words)[part] if low > 2 else memory.peek_data),
        ]
        return m


class AxiTop(wiring.Component):
    """An NFU with its memory outside, behind AXI4.

    Members: s_axil_* : AXI4-Lite; m_axi_* : AXI4, the manager's side; interrupt : Out.
    """

    def __init__(self, *, config: Config) -> None:
        if config.memory_bytes:
            raise ValueError(f"memory_bytes of 0 needed, not {config.memory_bytes}")
        self.config = config
        self.signature_axi = AxiSignature(data_bits=8 * config.word_bytes)
        super().__init__({
            **_prefixed(AxiLiteSignature(), PREFIX, In),
            **_prefixed(self.signature_axi, AXI_PREFIX, Out), "interrupt": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        core, registers = Core(config=config), Registers(config=config)
        master = AxiMaster(word_bits=8 * config.word_bytes)
        for name, part in (("core", core), ("registers", registers), ("master", master)):
            add(m, platform, name, part)
        _wire(m, self, registers.bus, PREFIX)
        for name, member in self.signature_axi.members.items():
            outer, inner = getattr(self, f"{AXI_PREFIX}{name}"), getattr(master.bus, name)
            m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
        _control(m, registers, core)
        wiring.connect(m, core.memory, master.runs)
        m.d.comb += self.interrupt.eq(registers.interrupt)
        return m


def port_list(config: Config) -> list[tuple[str, str, int]]:
    """Return (direction, name, bits) of each port of the top, clock and reset first."""
    found = [("input", "clk", 1), ("input", "rst", 1)]
    buses: list[tuple[str, wiring.Signature, Any]] = [(PREFIX, AxiLiteSignature(), In)]
    if not config.memory_bytes:
        buses.append((AXI_PREFIX, AxiSignature(data_bits=8 * config.word_bytes), Out))
    for prefix, signature, flow in buses:
        for name, member in _prefixed(signature, prefix, flow).items():
            found.append(("output" if member.flow is Out else "input", name,
                          Shape.cast(member.shape).width))
    return [*found, ("output", "interrupt", 1)]


def _prefixed(signature: wiring.Signature, prefix: str, flow: Any) -> dict[str, Any]:
    return {f"{prefix}{name}": member if flow is Out else member.flip()
            for name, member in signature.members.items()}


def _wire(m: Module, top: Any, bus: Any, prefix: str) -> None:
    """Connect the ports of a top to a target's bus."""
    for name, member in AxiLiteSignature().members.items():
        outer, inner = getattr(top, f"{prefix}{name}"), getattr(bus, name)
        m.d.comb += inner.eq(outer) if member.flow is Out else outer.eq(inner)


def _control(m: Module, registers: Registers, core: Core) -> None:
    m.d.comb += [core.start.eq(registers.start), core.clear.eq(registers.clear),
                 core.entry.eq(registers.entry), registers.status.eq(core.status)]
