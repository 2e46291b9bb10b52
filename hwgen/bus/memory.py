"""What an NFU asks of memory: runs of words, read and written side by side."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

LENGTH_BITS = 16
ADDRESS_BITS = 32             # of a byte address


class MemorySignature(wiring.Signature):
    """The asking side's ports; addresses and lengths are in words.

    read_valid, read_ready, read_address, read_length: a run to be read; its words come back in
    order on data_valid, data, at whatever pace, and must be taken. read_fault: one of them was an
    error. write_valid, write_ready, write_address, write_length: a run to be written, its words on
    wdata_valid, wdata_ready, wdata. write_busy: a run is not yet at its end. write_fault: one ended
    with an error.
    """

    def __init__(self, *, word_bits: int) -> None:
        self.word_bits = word_bits
        address = ADDRESS_BITS - (word_bits // 8 - 1).bit_length()
        super().__init__({
            "read_valid": Out(1), "read_ready": In(1), "read_address": Out(address),
            "read_length": Out(LENGTH_BITS),
            "data_valid": In(1), "data": In(word_bits), "read_fault": In(1),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(address),
            "write_length": Out(LENGTH_BITS),
            "wdata_valid": Out(1), "wdata_ready": In(1), "wdata": Out(word_bits),
            "write_busy": In(1), "write_fault": In(1),
        })


class ChipMemory(wiring.Component):
    """Memory on chip: a word read and a word written in every cycle.

    Parameters
    ----------
    word_bits, words : int

    Members
    -------
    runs : the NFU's.
    peek : In, with peek_address; peek_data : Out, 2 cycles later. poke : In, with poke_address,
    poke_data and poke_mask, a bit for each 32 bits of the word. Both only while the NFU rests.

    Latency: 3 cycles from a run taken to its first word. Interval: a cycle a word, none lost
    between runs.
    """

    latency = 3

    def __init__(self, *, word_bits: int, words: int) -> None:
        self.word_bits, self.words = word_bits, words
        self.parts = max(word_bits // 32, 1)
        super().__init__({
            "runs": In(MemorySignature(word_bits=word_bits)),
            "peek": In(1), "peek_address": In(range(words)), "peek_data": Out(word_bits),
            "poke": In(1), "poke_address": In(range(words)), "poke_data": In(word_bits),
            "poke_mask": In(self.parts),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        port = self.runs
        store = memory.Memory(shape=unsigned(self.word_bits), depth=self.words, init=[])
        m.submodules.words = store
        read, write = store.read_port(), store.write_port(granularity=self.word_bits // self.parts)
        address, left = Signal(range(self.words), name="address"), Signal(LENGTH_BITS, name="left")
        held = Signal(self.word_bits, name="held", reset_less=True)
        valid = Signal(2, name="valid")
        m.d.comb += [
            port.read_ready.eq(left[1:] == 0), read.en.eq(1),
            read.addr.eq(Mux(self.peek, self.peek_address, address)),
            port.data_valid.eq(valid[1]), port.data.eq(held), self.peek_data.eq(held),
        ]
        m.d.sync += [held.eq(read.data), valid.eq(valid << 1 | (left != 0))]
        with m.If(left != 0):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
        with m.If(port.read_valid & port.read_ready):
            m.d.sync += [address.eq(port.read_address), left.eq(port.read_length)]

        target, room = Signal(range(self.words), name="target"), Signal(LENGTH_BITS, name="room")
        taken = port.wdata_valid & port.wdata_ready
        m.d.comb += [
            port.write_ready.eq(room == 0), port.wdata_ready.eq(room != 0),
            port.write_busy.eq(room != 0),
            write.addr.eq(Mux(self.poke, self.poke_address, target)),
            write.data.eq(Mux(self.poke, self.poke_data, port.wdata)),
            write.en.eq(Mux(self.poke, self.poke_mask, taken.replicate(self.parts))),
        ]
        with m.If(taken):
            m.d.sync += [target.eq(target + 1), room.eq(room - 1)]
        with m.If(port.write_valid & port.write_ready):
            m.d.sync += [target.eq(port.write_address), room.eq(port.write_length)]
        return m
