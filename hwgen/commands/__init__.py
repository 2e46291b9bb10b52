"""The command line: a verb a file."""

from __future__ import annotations


def main() -> int:
    """Run the command line; gives the exit code."""
    from hwgen.commands.app import run

    return run()
