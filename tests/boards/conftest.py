"""What the tests of the boards share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boards.tiny import write_tiny, write_tiny_nfu


@pytest.fixture(scope="session")
def tiny_design(build_once) -> Path:
    """A design folder of the smallest network; not to be written in."""
    return build_once("tiny_design", write_tiny)


@pytest.fixture(scope="session")
def tiny_nfu(build_once) -> Path:
    """The same network on an NFU that holds its program; not to be written in."""
    return build_once("tiny_nfu", write_tiny_nfu)
