"""The folder that `hwgen rtl` writes, as synthesis and the boards see it: Verilog text, names of
its ports, digest; the streams that images and results come by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from hwgen.boards.protocol import ENGINES
from hwgen.errors import HwgenError
from hwgen.files import read_json


@dataclass(frozen=True)
class Design:
    """What synthesis needs of a generated design.

    Parameters
    ----------
    verilog : str
        The text of top.v.
    top, clock, reset, digest : str
        As ports.json gives them; the digest is also that of the text's first comment.
    """

    verilog: str
    top: str
    clock: str
    reset: str
    digest: str


def read_design(directory: Path) -> Design:
    """Read top.v and ports.json of ``directory``.

    Raises: HwgenError if one is missing or broken, or if their digests differ.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise HwgenError(f"{directory}: a folder that `hwgen rtl` wrote is needed, there is none")
    ports = read_json(directory / "ports.json")
    if not isinstance(ports, dict):
        came = type(ports).__name__
        raise HwgenError(f"{directory / 'ports.json'}: an object is needed, not {came}")
    names = {}
    for key in ("top", "clock", "reset", "digest"):
        value = ports.get(key)
        if not isinstance(value, str) or not re.fullmatch(r"\w+", value):
            raise HwgenError(f"{directory / 'ports.json'}, {key}: a name is needed, not {value!r}")
        names[key] = value
    path = directory / "top.v"
    try:
        verilog = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HwgenError(f"Cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise HwgenError(f"{path}: Verilog text is needed, this is not UTF-8") from error
    found = digest_in(verilog)
    if found != names["digest"]:
        raise HwgenError(
            f"{path}: digest {names['digest'][:12]} of ports.json needed, its header says "
            f"{found[:12] if found else 'none'}"
        )
    return Design(verilog, **names)


@dataclass(frozen=True)
class Lane:
    """One value of a beat: bits ``offset`` to ``offset + width - 1``, two's complement if
    ``signed``; its ``name`` is ``class``, ``score_3``, ``channel_0``.
    """

    name: str
    offset: int
    width: int
    signed: bool


@dataclass(frozen=True)
class Axis:
    """One AXI4-Stream port of an engine: prefix of its signals, bytes of a beat, beats of
    an image, values of a beat.
    """

    prefix: str
    bytes: int
    beats: int
    lanes: tuple[Lane, ...]


@dataclass(frozen=True)
class Streams:
    """What joins an engine to a shell; ``frame_error`` is a port's name or "".

    ``interval`` is in cycles, ``engine`` "stream" or "nfu".
    """

    engine: str
    image: Axis
    result: Axis
    frame_error: str
    interval: int


def read_streams(directory: Path) -> Streams:
    """Read the streams of an engine from ``directory``/ports.json.

    Raises: HwgenError if it has none, or they are broken.
    """
    path = Path(directory) / "ports.json"
    ports = read_json(path)
    engine = ports.get("engine") if isinstance(ports, dict) else None
    if engine not in ENGINES:
        raise HwgenError(f"{path}: an engine of {', '.join(ENGINES)} needed, not {engine}")
    if engine == "nfu" and "input" not in ports:
        raise HwgenError(f"{path}: a board takes an NFU with its program built in, this one waits "
                         "for a host: hwgen rtl --engine nfu --ports stream makes it")
    try:
        streams = Streams(engine, _axis(ports["input"]), _axis(ports["output"]),
                          str(ports.get("frame_error", "")), int(ports["interval"]))
    except (KeyError, TypeError, ValueError) as error:
        raise HwgenError(f"{path}: two streams with their fields needed ({error!r})") from error
    names = [streams.image.prefix, streams.result.prefix, streams.frame_error or "none"]
    sizes = [streams.interval, *(size for axis in (streams.image, streams.result)
                                 for size in (axis.bytes, axis.beats, len(axis.lanes)))]
    if min(sizes) < 1 or not all(re.fullmatch(r"\w+", name) for name in names):
        raise HwgenError(f"{path}: names and sizes of two streams needed, not {names} and {sizes}")
    return streams


def _axis(value: Any) -> Axis:
    lanes = tuple(
        Lane(str(field["name"]), int(field["offset"]), int(field["width"]), bool(field["signed"]))
        for field in value["fields"]
    )
    for lane in lanes:
        if lane.offset < 0 or not 1 <= lane.width <= 63 or lane.offset + lane.width > value["bits"]:
            raise ValueError(f"{lane.name} outside the {value['bits']} bits")
    return Axis(str(value["prefix"]), -(-int(value["bits"]) // 8), int(value["beats"]), lanes)


def digest_in(verilog: str) -> str | None:
    """Return the digest in the comment lines that a Verilog text begins with, or None."""
    header = "\n".join(takewhile(lambda line: line.startswith("//"), verilog.splitlines()))
    found = re.search(r"\b[0-9a-f]{64}\b", header)
    return found.group(0) if found else None
