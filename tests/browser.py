"""Pages in headless Chromium: what they fetch, what they complain of, whether they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 300_000             # milliseconds: only what hangs is given up, however busy the machine


@dataclass
class Seen:
    """What a page did. Parameters: requests, every address but its own; said, errors and warnings;
    wide, pixels that it is wider than its window; found, what was asked of it.
    """

    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    wide: int = 0
    found: Any = None


@contextmanager
def browser(path: str) -> Iterator[Callable[..., Seen]]:
    """Give ``look(file, width, ask="")``, which opens a file in a window of that width and
    evaluates ``ask``, JavaScript, in it.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=path, args=["--no-sandbox"],
                                        timeout=PATIENCE)

        def look(file: Path, width: int, ask: str = "") -> Seen:
            page, seen = window.new_page(viewport={"width": width, "height": 800}), Seen()
            own = file.as_uri()
            page.set_default_timeout(PATIENCE)
            page.on("request", lambda request: request.url in (own,) or request.url.startswith(
                "data:") or seen.requests.append(request.url))
            page.on("console", lambda line: line.type in ("error", "warning")
                    and seen.said.append(line.text))
            page.on("pageerror", lambda error: seen.said.append(str(error)))
            page.goto(own)
            page.wait_for_load_state("networkidle")
            seen.wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            seen.found = page.evaluate(ask) if ask else None
            page.close()
            return seen

        try:
            yield look
        finally:
            window.close()
