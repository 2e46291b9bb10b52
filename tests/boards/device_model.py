"""A board in software, at the end of a pseudo terminal, written from docs/host_link.md alone.

It shares no code with the host or with the hardware: its CRC is the textbook's bit by bit loop.
"""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HEADER, PAYLOAD, LENGTH, KIND, TIMEOUT, LINE, BUSY = range(1, 8)


def crc(data: bytes) -> bytes:
    """CRC-32 as Ethernet has it, least significant byte first."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "little")


def answer(kind: int, sequence: int, payload: bytes) -> bytes:
    head = bytes([kind, sequence]) + len(payload).to_bytes(2, "little")
    return b"hg" + head + crc(head) + payload + crc(payload)


@dataclass
class Device:
    """What the board holds, and how it misbehaves.

    Parameters
    ----------
    identity : bytes
        Payload of its identity.
    image_bytes : int
    compute : callable
        Image to payload of the result.
    mute : bool
        Never answers.
    spoil : callable
        (number of the frame among those received, from 0; answer) -> what goes out instead.
    busy : set of int
        Frames by number that are refused as busy.
    """

    identity: bytes
    image_bytes: int
    compute: Callable[[bytes], bytes]
    mute: bool = False
    spoil: Callable[[int, bytes], bytes] = lambda number, text: text
    busy: set[int] = field(default_factory=set)
    received: int = 0
    text: bytes = b""

    def feed(self, byte: bytes) -> bytes:
        """Take a byte; return what is sent because of it."""
        self.text += byte
        if not b"hg".startswith(self.text[:2]):
            self.text = byte if byte == b"h" else b""
        if len(self.text) < 10:
            return b""
        kind, sequence, length = self.text[2], self.text[3], self.text[4] + 256 * self.text[5]
        if crc(self.text[2:6]) != self.text[6:10]:
            return self.end(0, HEADER)
        wanted = {1: 0, 2: self.image_bytes}
        if kind not in wanted:
            return self.end(sequence, KIND)
        if length != wanted[kind]:
            return self.end(sequence, LENGTH)
        if kind == 2 and self.received in self.busy:
            return self.end(sequence, BUSY)
        if len(self.text) < 10 + length + 4 * (length > 0):
            return b""
        payload, check = self.text[10 : 10 + length], self.text[10 + length :]
        if kind == 1:
            return self.end(sequence, 0, answer(0x81, sequence, self.identity))
        if crc(payload) != check:
            return self.end(sequence, PAYLOAD)
        return self.end(sequence, 0, answer(0x82, sequence, self.compute(payload)))

    def silence(self) -> bytes:
        """Nothing has come for a while."""
        if len(self.text) < 2:
            return b""
        return self.end(self.text[3] if len(self.text) >= 10 else 0, TIMEOUT)

    def end(self, sequence: int, fault: int, text: bytes = b"") -> bytes:
        self.text = b""
        text = text or answer(0x83, sequence, bytes([fault]))
        self.received += 1
        return b"" if self.mute else self.spoil(self.received - 1, text)


@contextmanager
def plugged_in(device: Device) -> Iterator[str]:
    """The path of a pseudo terminal that the device answers on."""
    own, other = pty.openpty()
    tty.setraw(own)
    tty.setraw(other)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            readable, _, _ = select.select([own], [], [], 0.02)
            out = b""
            if not readable:
                out = device.silence()
            else:
                for byte in os.read(own, 4096):
                    out += device.feed(bytes([byte]))
            if out:
                os.write(own, out)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(other)
    finally:
        stop.set()
        thread.join()
        os.close(own)
        os.close(other)
