"""The pictures of the documentation are what ``python tools/figures.py`` draws today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.figures import FIGURES
from tools.timing_figures import FIGURES as TIMING

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def same(drawn: str, kept: str) -> None:
    """Equal but for the last place of a coordinate, which another BLAS may round otherwise."""
    assert NUMBER.sub("0", drawn) == NUMBER.sub("0", kept), "run python tools/figures.py"
    far = [(a, b) for a, b in zip(NUMBER.findall(drawn), NUMBER.findall(kept), strict=True)
           if abs(float(a) - float(b)) > 0.25]
    assert not far, "run python tools/figures.py"


@pytest.mark.parametrize("name", FIGURES)
def test_methods(name: str, repository: Path) -> None:
    kept = (repository / "docs" / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    same(FIGURES[name](), kept)


@pytest.mark.parametrize("name", TIMING)
def test_engines(name: str, repository: Path, icarus: str) -> None:
    """A design that takes its pixels at other times needs other pictures."""
    kept = (repository / "docs" / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    same(TIMING[name](), kept)


def test_another_picture_is_found_out() -> None:
    same("<a x='1.20'/>", "<a x='1.10'/>")
    for other in ("<a x='1.60'/>", "<b x='1.20'/>", "<a x='1.20'/><a/>"):
        with pytest.raises(AssertionError, match="figures"):
            same("<a x='1.20'/>", other)
