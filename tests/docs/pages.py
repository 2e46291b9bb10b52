"""The code of a documentation page, run as a reader would run it."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A piece of code. Parameters: kind, ``python`` or ``sh``; code; wanted, what it prints, if the
    page says so; line, where it is.
    """

    kind: str
    code: str
    wanted: str | None
    line: int


def blocks(text: str) -> list[Block]:
    """Return a page's code in order; a fence of ``text`` right behind one is what it prints."""
    fences = [(match[1], match[2], match.start(), match.end()) for match in FENCE.finditer(text)]
    found = []
    for n, (kind, code, start, end) in enumerate(fences):
        if kind not in ("python", "sh"):
            continue
        wanted = None
        if n + 1 < len(fences) and fences[n + 1][0] == "text" and not (
                text[end : fences[n + 1][2]].strip()):
            wanted = fences[n + 1][1]
        found.append(Block(kind, code, wanted, text.count("\n", 0, start) + 1))
    return found


def run_page(page: Path, folder: Path, changes: Mapping[str, str] | None = None) -> int:
    """Run the code of a page in a folder and return how many blocks there were.

    Python blocks share their names; shell blocks run in a bash that ends at the first error, with
    this ``hwgen`` first on the path. ``changes`` are made to shell blocks, each in exactly one.
    Raises: AssertionError if one fails or prints something else than the page says.
    """
    found = blocks(page.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    unused = dict(changes or {})
    for block in found:
        where, code = f"{page.name}:{block.line}", block.code
        if block.kind == "python":
            printed = io.StringIO()
            with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
                exec(compile("\n" * block.line + code, str(page), "exec"), names)
            out = printed.getvalue()
        else:
            for old in [old for old in unused if old in code]:
                code = code.replace(old, unused.pop(old))
            out = _shell(code, folder, where)
        if block.wanted is not None and (not changes or block.kind == "python"):
            assert doctest.OutputChecker().check_output(block.wanted, out, LOOSE), (
                f"{where} prints\n{out}\nnot\n{block.wanted}")
    assert not unused, f"{page.name} holds no more: {', '.join(unused)}"
    return len(found)


def _shell(code: str, folder: Path, where: str) -> str:
    scripts = folder / ".bin"
    scripts.mkdir(exist_ok=True)
    hwgen = scripts / "hwgen"
    hwgen.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hwgen.commands "$@"\n')
    hwgen.chmod(0o755)
    environment = {**os.environ,
                   "PATH": f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=folder, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where} ends with {done.returncode}:\n{done.stderr[-3000:]}"
    return done.stdout
