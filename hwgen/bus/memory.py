"""What an NFU asks of memory: runs of words, read and written side by side."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

LENGTH_BITS = 16
ADDRESS_BITS = 32             # of a byte address


class MemorySignature(wiring.Signature):
    """The asking side's ports; addresses and lengths are in words, a length at least 1.

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


def bank_sizes(words: int) -> list[int]:
    """Return at most three powers of two (or one size up to 512) that hold ``words``: block RAMs
    deep enough for a bank need no multiplexer behind them.
    """
    sizes: list[int] = []
    while words > 0:
        size = 1 << words.bit_length() - 1
        if words <= 512 and not sizes:
            size = words
        elif len(sizes) == 2 or size < 512:
            size = 1 << (words - 1).bit_length()
        sizes.append(size)
        words -= size
    return sizes


class ChipMemory(wiring.Component):
    """Memory on chip: a word read and a word written in every cycle. It lies in banks.

    Parameters
    ----------
    word_bits, words : int
    image : bytes
        What is in it from the start, at address 0; zeros behind it.

    Members
    -------
    runs : the NFU's.
    peek : In, with peek_address; peek_data : Out, 4 cycles later. poke : In, with poke_address,
    poke_data and poke_mask, a bit for each 32 bits of the word. Both only while the NFU rests.

    Latency: 5 cycles from a run taken to its first word: the address counter, the address of the
    banks, which lie far apart, their output, their register, the word chosen. Interval: a cycle a
    word, none lost between runs. A word is written a cycle after it was taken, still before any
    read that is asked for then.
    """

    latency, peek_latency = 5, 4

    def __init__(self, *, word_bits: int, words: int, image: bytes = b"") -> None:
        self.word_bits, self.words, self.image = word_bits, words, image
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
        address, left = Signal(range(self.words), name="address"), Signal(LENGTH_BITS, name="left")
        # Registers say what the counts would: ``ready`` that at most one word is left.
        reading, ready = Signal(name="reading"), Signal(name="ready", init=1)
        valid = Signal(4, name="valid")
        m.d.comb += [
            port.read_ready.eq(ready), port.data_valid.eq(valid[-1]), self.peek_data.eq(port.data),
        ]
        m.d.sync += valid.eq(valid << 1 | reading)
        with m.If(port.read_valid & ready):
            m.d.sync += [address.eq(port.read_address), left.eq(port.read_length),
                         reading.eq(1), ready.eq(port.read_length == 1)]
        with m.Elif(reading):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1),
                         reading.eq(~ready), ready.eq(ready | (left == 2))]

        target, room = Signal(range(self.words), name="target"), Signal(LENGTH_BITS, name="room")
        writing = Signal(name="writing")
        taken = port.wdata_valid & writing
        m.d.comb += [
            port.write_ready.eq(~writing), port.wdata_ready.eq(writing),
            port.write_busy.eq(writing),
        ]
        read_at = Signal.like(address, name="read_at", reset_less=True)
        write_at = Signal.like(target, name="write_at", reset_less=True)
        data = Signal(self.word_bits, name="write_word", reset_less=True)
        mask = Signal(self.parts, name="write_mask")
        m.d.sync += [
            read_at.eq(Mux(self.peek, self.peek_address, address)),
            write_at.eq(Mux(self.poke, self.poke_address, target)),
            data.eq(Mux(self.poke, self.poke_data, port.wdata)),
            mask.eq(Mux(self.poke, self.poke_mask, taken.replicate(self.parts))),
        ]
        self._banks(m, read_at, write_at, data, mask)
        with m.If(port.write_valid & ~writing):
            m.d.sync += [target.eq(port.write_address), room.eq(port.write_length), writing.eq(1)]
        with m.Elif(taken):
            m.d.sync += [target.eq(target + 1), room.eq(room - 1), writing.eq(room != 1)]
        return m

    def _banks(self, m: Module, read_at: Signal, write_at: Signal, data: Signal,
               mask: Signal) -> None:
        """Read and write the bank that an address is in; its word is held, then chosen."""
        behind_read: Value = C(1)                          # the address is behind the banks so far
        behind_write: Value = C(1)
        words: list[Value] = []
        sizes, wide = bank_sizes(self.words), self.word_bits // 8
        for n, size in enumerate(sizes):
            first = sum(sizes[:n])
            image = self.image[first * wide : (first + size) * wide]
            store = memory.Memory(
                shape=unsigned(self.word_bits), depth=size,
                init=[int.from_bytes(image[at : at + wide], "little")
                      for at in range(0, len(image), wide)])
            m.submodules[f"words_{n}"] = store
            read = store.read_port()
            write = store.write_port(granularity=self.word_bits // self.parts)
            held = Signal(self.word_bits, name=f"held_{n}", reset_less=True)
            late = Signal(2, name=f"here_{n}", reset_less=True)
            here, there, low = behind_read, behind_write, (size - 1).bit_length()
            if n < len(sizes) - 1:
                here, there = here & ~read_at[low], there & ~write_at[low]
                behind_read, behind_write = behind_read & read_at[low], behind_write & write_at[low]
            m.d.comb += [
                read.en.eq(1), read.addr.eq(read_at[:low]), write.addr.eq(write_at[:low]),
                write.data.eq(data), write.en.eq(Mux(there, mask, 0)),
            ]
            m.d.sync += [held.eq(read.data), late.eq(Cat(here, late[0]))]
            words.append(Mux(late[1], held, 0) if len(sizes) > 1 else held)
        m.d.sync += self.runs.data.eq(reduce(or_, words))
