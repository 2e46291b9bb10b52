"""The host's end of the cable: ask a board who it is, send it images, take results.

Several images are under way at once, so that the line is not idle while an answer travels. Answers
come in the order of the requests; so whatever was sent before a frame that is answered, and has no
answer, was lost, and is sent again at once. Silence loses everything that is under way.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from hwgen.boards.protocol import BAUD, Decoder, Fault, Frame, Identity, Kind, encode
from hwgen.errors import HwgenError

PATIENCE = 0.5                 # seconds of silence after which what is under way is lost
TRIES = 5                      # times that an image, or the question who it is, is sent
WINDOW = 8                     # images under way


class Line(Protocol):
    """What is wanted of a serial port, as pyserial's ``Serial`` has it."""

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""

    def read(self, size: int = 1) -> bytes:
        """Return up to ``size`` bytes, fewer after the port's time-out."""

    def write(self, data: bytes) -> int | None:
        """Send bytes."""

    def close(self) -> None:
        """Let the port go."""


def open_line(port: str, baud: int = BAUD) -> Line:
    """Open a serial port, ``/dev/ttyUSB0`` or a URL of pyserial (``socket://host:port``).

    Raises: HwgenError with the reason if it cannot be opened.
    """
    import serial

    try:
        line: Line = serial.serial_for_url(port, baudrate=baud, timeout=0.02, write_timeout=5)
    except (OSError, ValueError) as error:          # SerialException is an OSError
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if isinstance(number, int) else str(error)
        raise HwgenError(f"{port} cannot be opened: {reason}") from error
    return line


class Link:
    """A board at the other end of a line.

    Parameters
    ----------
    line : Line
    name : str
        Of the port, for messages.
    patience : float
        Seconds of silence after which what is under way is taken for lost.

    Attributes: resent, frames that were sent again; faults, error answers by kind.
    """

    def __init__(self, line: Line, name: str, *, patience: float = PATIENCE) -> None:
        self.line, self.name, self.patience = line, name, patience
        self.resent = 0
        self.faults: dict[str, int] = {}
        self._decoder = Decoder()
        self._sequence = 0

    def identify(self) -> Identity:
        """Ask the board who it is.

        Raises: HwgenError if nothing comes back, or something that is not understood.
        """
        for _ in range(TRIES):
            number = self._send(Kind.IDENTIFY)
            end = time.monotonic() + self.patience
            while time.monotonic() < end:
                for frame in self._receive():
                    if (frame.kind, frame.sequence) == (Kind.IDENTITY, number):
                        try:
                            return Identity.unpack(frame.payload)
                        except ValueError as error:
                            raise HwgenError(f"{self.name}: {error}") from error
        raise HwgenError(
            f"{self.name}: an answer needed, none came in {TRIES * self.patience:g} s: is the "
            "board there, and a bitstream of `hwgen bitstream` loaded?"
        )

    def classify(
        self,
        images: Sequence[bytes],
        *,
        window: int = WINDOW,
        on_result: Callable[[int, int], None] | None = None,
    ) -> list[bytes]:
        """Send images and return the payload of each one's result.

        Parameters
        ----------
        images : sequence of bytes
            Payloads.
        window : int
            Images under way at once; one as soon as the board answers that it is busy.
        on_result : callable, optional
            Called with the number of results and of images after each result.

        Raises: HwgenError, naming the image, if one has no result after five tries.
        """
        run = _Run(len(images), window)
        moved = time.monotonic()
        while len(run.results) < len(images):
            while run.waiting and len(run.under_way) < run.window:
                if not run.under_way:
                    moved = time.monotonic()
                image = heapq.heappop(run.waiting)
                run.under_way[self._send(Kind.IMAGE, images[image])] = image
            for frame in self._receive():
                if run.take(frame):
                    moved = time.monotonic()
                    if on_result is not None:
                        on_result(len(run.results), len(images))
            if time.monotonic() - moved > self.patience:
                run.lose_all("silence")
                self._decoder.forget()
                moved = time.monotonic()
            if run.given_up is not None:
                image, why = run.given_up
                raise HwgenError(
                    f"{self.name}: image {image} has no result after {TRIES} tries: {why}"
                )
        self.resent += run.lost
        for fault, count in run.faults.items():
            self.faults[fault] = self.faults.get(fault, 0) + count
        return [run.results[n] for n in range(len(images))]

    def _send(self, kind: Kind, payload: bytes = b"") -> int:
        """Send a request and return its number, 1 to 255; 0 means "unknown" in an answer."""
        self._sequence = self._sequence % 255 + 1
        try:
            self.line.write(encode(Frame(kind, self._sequence, payload)))
        except OSError as error:
            raise HwgenError(f"{self.name}: cannot be written: {error}") from error
        return self._sequence

    def _receive(self) -> list[Frame]:
        try:
            data = self.line.read(max(self.line.in_waiting, 1))
        except OSError as error:
            raise HwgenError(f"{self.name}: cannot be read: {error}") from error
        return self._decoder.feed(data)


class _Run:
    """What is still to be sent, what is under way, what has come."""

    def __init__(self, count: int, window: int) -> None:
        self.window = window
        self.waiting = list(range(count))                         # a heap: the first image first
        self.under_way: OrderedDict[int, int] = OrderedDict()     # number -> image, oldest first
        self.results: dict[int, bytes] = {}
        self.tries = [0] * count
        self.lost = 0
        self.faults: dict[str, int] = {}
        self.given_up: tuple[int, str] | None = None

    def take(self, frame: Frame) -> bool:
        """Note an answer; return True if it told something of what is under way."""
        fault = ""
        if frame.kind == Kind.ERROR and len(frame.payload) == 1:
            known = frame.payload[0] in list(Fault)
            fault = Fault(frame.payload[0]).name if known else f"fault {frame.payload[0]}"
            self.faults[fault] = self.faults.get(fault, 0) + 1
            if fault == Fault.BUSY.name:
                self.window = 1
            if frame.sequence == 0 and len(self.under_way) == 1:
                self._lose(next(iter(self.under_way)), fault)
                return True
        elif frame.kind != Kind.RESULT:
            return False
        if frame.sequence not in self.under_way:
            return False
        for number in list(self.under_way):
            if number == frame.sequence:
                break
            self._lose(number, "no answer")
        if fault:
            self._lose(frame.sequence, fault)
        else:
            self.results[self.under_way.pop(frame.sequence)] = frame.payload
        return True

    def lose_all(self, why: str) -> None:
        """Everything under way is to be sent again."""
        for number in list(self.under_way):
            self._lose(number, why)

    def _lose(self, number: int, why: str) -> None:
        image = self.under_way.pop(number)
        self.lost += 1
        self.tries[image] += 1
        if self.tries[image] >= TRIES and self.given_up is None:
            self.given_up = image, why
        heapq.heappush(self.waiting, image)


def close_quietly(line: Any) -> None:
    """Close a line whose other end may be gone."""
    with suppress(OSError):
        line.close()
