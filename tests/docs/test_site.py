"""The documentation site is built without a warning, and is readable without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import browser

PAGES = ("index", "tutorial", "cli", "methods/dyadic", "engines", "nfu", "verification")
BROKEN = """[...document.querySelectorAll("img")].filter(
    image => !image.complete || !image.naturalWidth).map(image => image.src)"""


@pytest.fixture
def site(build_once: Callable[..., Path], repository: Path) -> Path:
    """The folder of the site, built once a run."""

    def make(folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir",
             str(folder / "site")],
            cwd=repository, capture_output=True, text=True, check=False,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    return build_once("site", make) / "site"


def test_every_page_is_in_the_site(site: Path, repository: Path) -> None:
    docs = repository / "docs"
    pages = {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.md")}
    assert pages <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    nav = (repository / "mkdocs.yml").read_text(encoding="utf-8")
    assert {f"{page}.md" for page in pages} == set(re.findall(r"[\w/-]+\.md", nav))


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """No script, style, picture or font of another host in any page."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"<(?:script|img|iframe|link)[^>]*(?:src|href)=[\"']?(https?:[^\"' >]*)",
                           text)
        assert not found, (path, found)


@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser(width: int, site: Path, chromium: str) -> None:
    with browser(chromium) as look:
        for name in PAGES:
            seen = look(site / f"{name}.html", width, BROKEN)
            away = [url for url in seen.requests if not url.startswith(site.as_uri())]
            assert (away, seen.said, seen.found) == ([], [], []), name
            assert seen.wide <= 0, name


SEARCH = """new Promise(done => {
    const field = document.querySelector("input[name=query]");
    field.focus();
    field.value = "bitstream";
    for (const kind of ["input", "keyup", "change"]) field.dispatchEvent(new Event(kind));
    setTimeout(() => done([]), 300_000);
    setInterval(() => {
        const found = [...document.querySelectorAll(".md-search-result__item a")];
        if (found.length) done(found.map(link => link.href));
    }, 50);
})"""


def test_search_without_a_server(site: Path, chromium: str) -> None:
    with browser(chromium) as look:
        seen = look(site / "index.html", 1280, SEARCH)
    assert any("boards.html" in link or "cli.html" in link for link in seen.found)


def test_every_file_named_in_a_page_exists(repository: Path) -> None:
    """Paths of the source tree in backquotes; what an example adds is named here."""
    added = {"boards/icesugar.py", "compress/methods/binary.py", "compress/choices/binary.py",
             "tests/compress/test_binary.py"}
    for page in [*(repository / "docs").rglob("*.md"), repository / "README.md"]:
        for name in re.findall(
                r"`((?:hwgen|compress|sim|boards|tests|tools|benchmarks|docs)/[\w/.-]+)`",
                page.read_text(encoding="utf-8")):
            assert name in added or (repository / name).exists(), f"{page.name}: {name}"
