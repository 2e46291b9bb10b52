from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest


@pytest.fixture
def setup(repository: Path, tmp_path: Path) -> types.ModuleType:
    """The set-up script as it stands in a tree of its own."""
    (tmp_path / "tools").mkdir()
    (tmp_path / ".venv").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.py"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    spec = importlib.util.spec_from_file_location("setup", tmp_path / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(root: Path) -> int:
    command = [sys.executable, str(root / "tools" / "setup.py"), "--check"]
    return subprocess.run(command, check=False).returncode


def test_stamp(setup: types.ModuleType, tmp_path: Path) -> None:
    assert check(tmp_path) == 1
    setup.STAMP.write_text(setup.wanted())
    assert check(tmp_path) == 0
    setup.UNDER_WAY.touch()                 # as an interrupted set-up leaves it
    assert check(tmp_path) == 1
    setup.UNDER_WAY.unlink()
    with (tmp_path / "constraints.txt").open("a") as file:
        file.write("\n")
    assert check(tmp_path) == 1


def test_suitable_python(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup.unsuitable() is None
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    assert setup.unsuitable() == "it is older than 3.11"
    monkeypatch.undo()
    monkeypatch.setattr(setup.sysconfig, "get_config_var", lambda name: "libpython3.11.a")
    assert "without a shared library" in setup.unsuitable()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert setup.unsuitable() == "its venv module is missing (package python3-venv)"


def test_missing_compiler(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None if name == "g++" else name)
    with pytest.raises(SystemExit, match="^hwgen: g.. was not found: install a C.. compiler"):
        setup.set_up()


def test_no_python_will_do(repository: Path, tmp_path: Path) -> None:
    """`make setup` names what it tried and why that would not do."""
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 'hwgen: it cannot be used: it is too old' >&2\nexit 1\n")
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    done = subprocess.run(
        ["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert "hwgen: Python 3.11 or newer with venv and a shared library is needed" in done.stderr
    assert f"{old}: hwgen: it cannot be used: it is too old" in done.stderr


def test_interrupted_installation(setup: types.ModuleType) -> None:
    """What is left of a set-up that stopped halfway is not trusted: made afresh next time."""
    (setup.VENV / "left over").touch()
    setup.UNDER_WAY.touch()
    python = setup.make_environment()
    assert python.is_file()
    assert not (setup.VENV / "left over").exists()
    assert setup.UNDER_WAY.exists()         # until all is installed
    (setup.VENV / "kept").touch()
    setup.UNDER_WAY.unlink()
    setup.make_environment()
    assert (setup.VENV / "kept").exists()


def test_constraints_name_what_is_wanted(repository: Path) -> None:
    """Every direct dependency is pinned, except hwgen's own extras."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text).name for text in [
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ]]
    pinned = {
        line.partition("==")[0].lower()
        for line in (repository / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    assert set(wanted) - pinned == {"hwgen"}


def test_packages_are_those_of_the_tree(repository: Path) -> None:
    import tomllib

    setuptools = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = {name: Path(folder) for name, folder in setuptools["package-dir"].items()}
    found = set()
    for name, folder in places.items():
        for init in (repository / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(repository / folder).parts
            found.add(".".join([name, *inner]))
    assert found == set(setuptools["packages"])
