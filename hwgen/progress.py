"""How long work tells how far it is; the command line draws it, a script may pass what it likes.

A function with ``progress`` calls it as ``progress(text, done, total)``: what is being done now, in
a few words, and how many of how many equal parts are behind it. ``total`` is 0 where nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(text: str, done: int, total: int) -> None:
    """Tell nobody: the progress of a caller that asked for none."""
