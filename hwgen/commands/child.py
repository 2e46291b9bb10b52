"""``python -m hwgen.commands.child PID ...``: the command line; it ends when process PID ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from hwgen.commands import main

PR_SET_PDEATHSIG = 1          # prctl(2): the signal that this process gets when its parent is gone


def die_with(parent: int) -> None:
    """Have SIGTERM sent here when the parent ends, however it ends; it may have done so already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(143)


if __name__ == "__main__":
    die_with(int(sys.argv.pop(1)))
    raise SystemExit(main())
