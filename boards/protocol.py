"""The host link's frames, in software: what a byte means on the cable between board and host.

docs/host_link.md describes them. A frame, numbers least significant byte first::

    "hg" | kind | sequence | length | CRC-32 of these four | payload | CRC-32 of the payload
     2      1        1         2                4             length          4

A frame of length 0 ends behind its header. The hardware's side is ``hwgen.boards.link``.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

SYNC = b"hg"
VERSION = 1
HEADER_BYTES = 10
CRC_BYTES = 4
MAX_PAYLOAD = 0xFFFF
BAUD = 1_000_000
ENGINES = {"stream": 1, "nfu": 2}     # the engine's number in an identity
TRAILER_BYTES = 5              # behind the beats of a result: cycles, 4 bytes; status, 1


class Kind(enum.IntEnum):
    """What a frame is; answers have the top bit set."""

    IDENTIFY = 0x01
    IMAGE = 0x02
    IDENTITY = 0x81
    RESULT = 0x82
    ERROR = 0x83


class Fault(enum.IntEnum):
    """The one byte of an error answer.

    HEADER: the header's CRC is wrong, so the answer's sequence number is 0 and means nothing.
    PAYLOAD: the payload's CRC is wrong. LENGTH: not the length of such a request. KIND: no such
    request. TIMEOUT: the host stopped in the middle of a frame. LINE: a stop bit was missing in
    the middle of a frame. BUSY: the image before this one still waits for the engine.
    """

    HEADER = 1
    PAYLOAD = 2
    LENGTH = 3
    KIND = 4
    TIMEOUT = 5
    LINE = 6
    BUSY = 7


@dataclass(frozen=True)
class Frame:
    """One frame. ``kind`` may be a number that no request or answer has."""

    kind: int
    sequence: int
    payload: bytes = b""


@dataclass(frozen=True)
class Identity:
    """What a board says of itself.

    Parameters
    ----------
    version, engine : int
        Of this protocol, and of the kind of engine.
    image_bytes, result_bytes : int
        Payload of an image, and of a result without its trailer.
    clock_khz : int
        Clock of the engine.
    digest : str
        Of the network, 64 hexadecimal digits.
    """

    version: int
    engine: int
    image_bytes: int
    result_bytes: int
    clock_khz: int
    digest: str

    FORMAT = "<BBHHI32s"

    def pack(self) -> bytes:
        """Return the payload of an identity."""
        return struct.pack(
            self.FORMAT, self.version, self.engine, self.image_bytes, self.result_bytes,
            self.clock_khz, bytes.fromhex(self.digest),
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Identity:
        """Return the identity of a payload. Raises: ValueError if it has another length."""
        if len(payload) != struct.calcsize(cls.FORMAT):
            raise ValueError(
                f"An identity of {struct.calcsize(cls.FORMAT)} bytes needed, not {len(payload)}"
            )
        version, engine, image, result, clock, digest = struct.unpack(cls.FORMAT, payload)
        return cls(version, engine, image, result, clock, digest.hex())


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame.

    Raises: ValueError if its numbers do not fit in a byte or its payload is too long.
    """
    if not 0 <= frame.kind <= 255 or not 0 <= frame.sequence <= 255:
        raise ValueError(
            f"Kind and sequence from 0 to 255 needed, not {frame.kind} and {frame.sequence}"
        )
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"At most {MAX_PAYLOAD} bytes can be sent, not {len(frame.payload)}")
    header = struct.pack("<BBH", frame.kind, frame.sequence, len(frame.payload))
    text = SYNC + header + struct.pack("<I", zlib.crc32(header))
    if frame.payload:
        text += frame.payload + struct.pack("<I", zlib.crc32(frame.payload))
    return text


def link_rate(image_bytes: int, result_bytes: int, baud: int) -> float:
    """Return images a second that a serial line carries, both directions at work.

    Parameters: result_bytes, without its trailer; baud, ten of them a byte.
    """
    longest = max(image_bytes, result_bytes + TRAILER_BYTES) + HEADER_BYTES + CRC_BYTES
    return baud / 10 / longest


class Decoder:
    """Frames out of a stream of bytes that may hold noise, or frames that were damaged.

    Attributes: damaged, the number of frames begun whose payload's CRC was wrong; skipped, bytes
    that belonged to no frame.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self.skipped = 0
        self._held = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take some more bytes and return the frames that they complete."""
        self._held += data
        frames: list[Frame] = []
        while True:
            start = self._held.find(SYNC)
            if start < 0:
                start = len(self._held) - self._held.endswith(SYNC[:1])
            self._drop(start)
            if len(self._held) < HEADER_BYTES:
                return frames
            header = self._held[2:6]
            if struct.pack("<I", zlib.crc32(header)) != self._held[6:HEADER_BYTES]:
                self._drop(len(SYNC))
                continue
            kind, sequence, length = struct.unpack("<BBH", header)
            end = HEADER_BYTES + length + (CRC_BYTES if length else 0)
            if len(self._held) < end:
                return frames
            payload = self._held[HEADER_BYTES : HEADER_BYTES + length]
            if length and struct.pack("<I", zlib.crc32(payload)) != self._held[end - 4 : end]:
                self.damaged += 1
                self._drop(HEADER_BYTES)    # a frame may hide in what was taken for a payload
                continue
            frames.append(Frame(kind, sequence, payload))
            self._held = self._held[end:]

    def forget(self) -> None:
        """Drop what is held of an unfinished frame."""
        self._drop(len(self._held))

    def _drop(self, count: int) -> None:
        self.skipped += count
        self._held = self._held[count:]
