"""What the documentation shows is what happens: its code runs, and prints what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks, run_page

QUICK = (
    "methods/dyadic", "methods/linear-features", "methods/lower-kernel", "methods/periodic",
    "methods/ternary", "add_layer", "add_method",
)
SIMULATED = ("network_file", "engines", "verification")

# What makes the tutorial a matter of seconds: less training, one image, the lighter simulator.
SHORT = {
    "--data digits --out m.safetensors": "--data digits --epochs 2 --out m.safetensors",
    "--images 20 --wave wave.vcd": "--images 2 --simulator icarus",
    "--images all --proof": "--images 2 --simulator icarus --layers last",
    "hwgen synth rtl --target ecp5-85 --pnr": "hwgen synth --help > help.txt",
}


@pytest.mark.parametrize("name", QUICK)
def test_page(name: str, repository: Path, tmp_path: Path) -> None:
    assert run_page(repository / "docs" / f"{name}.md", tmp_path) > 0


@pytest.mark.parametrize("name", SIMULATED)
def test_page_with_simulation(name: str, repository: Path, tmp_path: Path, icarus: str) -> None:
    assert run_page(repository / "docs" / f"{name}.md", tmp_path) > 0


def test_tutorial_shortened(repository: Path, tmp_path: Path, icarus: str) -> None:
    run_page(repository / "docs" / "tutorial.md", tmp_path, SHORT)
    assert (tmp_path / "rtl" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_tutorial(repository: Path, tmp_path: Path, verilator: dict[str, str]) -> None:
    run_page(repository / "docs" / "tutorial.md", tmp_path)


# --- the runner itself ------------------------------------------------------------------------


def test_blocks() -> None:
    page = ("# A\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n```sh\ntrue\n```\nand\n"
            "```text\n2\n```\n")
    assert blocks(page) == [
        Block("python", "print(1)\n", "1\n", 3), Block("sh", "true\n", None, 11)]


@pytest.mark.parametrize(("page", "words"), [
    ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "page.md:1 prints"),
    ("```sh\necho 1\n```\n\n```text\n2\n```\n", "page.md:1 prints"),
    ("\n```sh\nfalse\ntrue\n```\n", "page.md:2 ends with 1"),
    ("```sh\nhwgen rtl nothing.npz --out rtl\n```\n", "page.md:1 ends with 2"),
])
def test_wrong_page_is_found_out(page: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(AssertionError, match=words):
        run_page(tmp_path / "page.md", tmp_path)


def test_changes_are_all_made(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```sh\necho a > x\n```\n")
    run_page(tmp_path / "page.md", tmp_path, {"echo a": "echo b"})
    assert (tmp_path / "x").read_text() == "b\n"
    with pytest.raises(AssertionError, match="page.md holds no more: echo c"):
        run_page(tmp_path / "page.md", tmp_path, {"echo c": "echo b"})
