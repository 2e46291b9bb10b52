"""``ports.json`` as frozen dataclasses: which bits of which port carry what, and where the taps
lie.

Written with the Verilog, read here by the test benches and by whoever drives the design. Everything
is checked at the door, so that a broken file is one error that names the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.errors import HwgenError
from hwgen.files import read_json

FORMAT = 1


@dataclass(frozen=True)
class Field:
    """One value of a beat: ``width`` bits from bit ``offset`` on, two's complement if ``signed``.

    ``layer`` and ``channel`` say whose value it is where ports.json does; a lane of a tap has
    neither. ``pixel`` says which of the beat's pixels it is of.
    """

    offset: int
    width: int
    signed: bool
    name: str = ""
    layer: str = ""
    channel: int = 0
    pixel: int = 0


@dataclass(frozen=True)
class Port:
    """An AXI4-Stream port: signals ``<prefix>_tdata``, ``_tvalid``, ``_tready``, ``_tlast``.

    ``bits`` is the width of tdata, ``beats`` the beats of an image. A beat carries ``pixels``
    pixels of a row, one behind the other.
    """

    prefix: str
    bits: int
    beats: int
    fields: tuple[Field, ...]
    pixels: int = 1

    @property
    def bytes(self) -> int:
        """Whole bytes of a beat."""
        return -(-self.bits // 8)


@dataclass(frozen=True)
class Tap:
    """Where a layer's output stream can be watched, or (``alias``) whose stream it shares.

    Signals ``valid``, ``ready`` and ``payload`` lie in instance ``instance``, a dotted path under
    the top (empty for the top itself). A pixel takes ``folds`` beats of ``lanes`` values, or
    ``pixels`` of a row together do.
    """

    layer: str
    alias: str
    instance: str
    valid: str
    ready: str
    payload: str
    beats: int
    folds: int
    lanes: int
    fields: tuple[Field, ...]
    pixels: int = 1

    @property
    def bits(self) -> int:
        """Bits that the fields reach over."""
        return max((field.offset + field.width for field in self.fields), default=0)


@dataclass(frozen=True)
class Ports:
    """The whole of ``ports.json``. ``latency`` is None where the writer did not know it."""

    digest: str
    version: str
    engine: str
    top: str
    clock: str
    reset: str
    input: Port
    output: Port
    frame_error: str
    interval: int
    latency: int | None
    taps: tuple[Tap, ...]


class _Reader:
    """Typed access to a JSON object; an error names the file and the path of the key."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise HwgenError(f"{where}: an object needed, not {str(value)[:40]!r}")
        self.value = value
        self.where = where

    def _get(self, key: str, default: Any) -> Any:
        if key not in self.value and default is None:
            raise HwgenError(f"{self.where}.{key}: a value needed, there is none")
        return self.value.get(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise HwgenError(f"{self.where}.{key}: text needed, not {value!r}")
        return value

    def whole(self, key: str, least: int = 0, default: int | None = None) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise HwgenError(
                f"{self.where}.{key}: a whole number from {least} on needed, not {value!r}"
            )
        return value

    def truth(self, key: str) -> bool:
        value = self._get(key, None)
        if not isinstance(value, bool):
            raise HwgenError(f"{self.where}.{key}: true or false needed, not {value!r}")
        return value

    def inner(self, key: str) -> _Reader:
        return _Reader(self._get(key, None), f"{self.where}.{key}")

    def each(self, key: str) -> list[_Reader]:
        values = self._get(key, None)
        if not isinstance(values, list):
            raise HwgenError(f"{self.where}.{key}: a list needed, not {str(values)[:40]!r}")
        return [_Reader(value, f"{self.where}.{key}[{n}]") for n, value in enumerate(values)]


def _field(reader: _Reader) -> Field:
    return Field(
        reader.whole("offset"),
        reader.whole("width", 1),
        reader.truth("signed"),
        reader.text("name", ""),
        reader.text("layer", ""),
        reader.whole("channel", default=0),
        reader.whole("pixel", default=0),
    )


def _port(reader: _Reader) -> Port:
    port = Port(
        reader.text("prefix"),
        reader.whole("bits", 1),
        reader.whole("beats", 1),
        tuple(_field(field) for field in reader.each("fields")),
        reader.whole("pixels", 1, 1),
    )
    for n, field in enumerate(port.fields):
        if field.offset + field.width > port.bits:
            raise HwgenError(
                f"{reader.where}.fields[{n}]: a field inside the {port.bits} bits needed, not "
                f"{field.width} bits from bit {field.offset} on"
            )
    return port


def _tap(reader: _Reader) -> Tap:
    layer, alias = reader.text("layer"), reader.text("alias", "")
    if alias:
        return Tap(layer, alias, "", "", "", "", 0, 1, 0, ())
    tap = Tap(
        layer,
        "",
        reader.text("instance", ""),
        reader.text("valid"),
        reader.text("ready"),
        reader.text("payload"),
        reader.whole("beats", 1),
        reader.whole("folds", 1, 1),
        reader.whole("lanes", 1),
        tuple(_field(field) for field in reader.each("fields")),
        reader.whole("pixels", 1, 1),
    )
    if not tap.fields:
        raise HwgenError(f"{reader.where}.fields: at least one field needed, there is none")
    return tap


def parse_ports(value: Any, where: str = "ports.json") -> Ports:
    """Return the content of a ports.json that was read as JSON.

    Raises: HwgenError naming ``where`` and the key, if one is missing or of the wrong kind.
    """
    reader = _Reader(value, where)
    if reader.whole("format", default=FORMAT) != FORMAT:
        raise HwgenError(f"{where}.format: {FORMAT} needed, not {value['format']}")
    latency = value.get("latency")
    return Ports(
        digest=reader.text("digest"),
        version=reader.text("version", ""),
        engine=reader.text("engine"),
        top=reader.text("top"),
        clock=reader.text("clock"),
        reset=reader.text("reset"),
        input=_port(reader.inner("input")),
        output=_port(reader.inner("output")),
        frame_error=reader.text("frame_error", ""),
        interval=reader.whole("interval", 1),
        latency=None if latency is None else reader.whole("latency"),
        taps=tuple(_tap(tap) for tap in reader.each("taps")),
    )


def load_ports(path: Path) -> Ports:
    """Read a ports.json. Raises: HwgenError naming the file, and the key if one is at fault."""
    return parse_ports(read_json(path), str(path))
