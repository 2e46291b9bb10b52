"""The folder that `hwgen rtl` writes, as synthesis sees it: Verilog text, names of its ports,
digest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

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


def digest_in(verilog: str) -> str | None:
    """Return the digest in the comment lines that a Verilog text begins with, or None."""
    header = "\n".join(takewhile(lambda line: line.startswith("//"), verilog.splitlines()))
    found = re.search(r"\b[0-9a-f]{64}\b", header)
    return found.group(0) if found else None
