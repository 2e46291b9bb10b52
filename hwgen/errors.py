"""The one error that is shown to a user as a single line."""

from __future__ import annotations


class HwgenError(ValueError):
    """The input or the machine is at fault; the message says what was needed and what came.

    The command line prints the message as one line on standard error and exits with code 2, so it
    holds no line breaks and makes sense without a traceback.
    """
