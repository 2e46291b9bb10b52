"""The command line: a verb a file, each a thin layer over one Python function.

Nothing imports this package, and it imports the others only when a verb runs, so that
``hwgen --help`` answers at once and a verb needs only the packages that it uses.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code.

    0: done; 1: a comparison or a proof failed; 2: the input or the machine is at fault (one line on
    standard error); 3: a mistake of the program's own; 130: interrupted; 143: terminated.
    """
    try:
        from hwgen.commands.app import run
    except KeyboardInterrupt:
        print("hwgen: interrupted", file=sys.stderr)
        return 130
    return run()
