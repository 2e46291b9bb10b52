"""The report in a real browser, at the width of a desk and of a pocket."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwgen.report.page import write_report
from tests.browser import browser
from tests.hwgen.report.filled import fill, network

SEEN = """[...document.querySelectorAll("svg, img, table, h2")].filter(
    part => part.getBoundingClientRect().height < 5 && !part.closest("details")).map(
    part => part.outerHTML.slice(0, 80))"""
LONG = "dyadic:P9,scale=filter,dense=layer,digits=2,norm=data,solver=sweep,bias=3,pool=3"


@pytest.mark.parametrize("width", [1280, 400])
def test_report(width: int, chromium: str, tmp_path: Path) -> None:
    """Nothing is fetched, nothing is blocked or complained of, nothing hangs over the edge, and
    every picture, table and heading has a size.
    """
    path = write_report(fill(tmp_path, network(model="tiny"), compress={"methods": [LONG]}))
    with browser(chromium) as look:
        seen = look(path, width, SEEN)
    assert (seen.requests, seen.said, seen.found) == ([], [], [])
    assert seen.wide <= 0


def test_a_page_that_fetches_is_found_out(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="other.png"><div style="width:900px">.</div>'
                    "<script>console.error('no')</script>")
    with browser(chromium) as look:
        seen = look(page, 400)
    assert seen.requests == [(tmp_path / "other.png").as_uri()]
    assert "no" in seen.said
    assert seen.wide > 0
