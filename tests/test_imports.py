"""Which part may import which, read from the sources; and what an import must not drag in."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Folder -> import name.
FOLDERS = {
    "hwgen": "hwgen",
    "compress": "hwgen.compress",
    "sim": "hwgen.sim",
    "boards": "hwgen.boards",
}
# The modules of hwgen that compress may use, and the one module of sim.
OPEN_TO_COMPRESS = (
    "hwgen.network", "hwgen.layers", "hwgen.layer_base", "hwgen.netfile", "hwgen.ranges",
    "hwgen.adders", "hwgen.cost",
    "hwgen.datasets", "hwgen.errors", "hwgen.files", "hwgen.progress", "hwgen.compress",
    "hwgen.sim.golden",
)
GOLDEN = ("hwgen.sim.golden", "hwgen.sim.golden_layers")
# The network file, and what it stands on.
OPEN_TO_GOLDEN = (
    "hwgen.network", "hwgen.layers", "hwgen.layer_base", "hwgen.netfile", "hwgen.ranges",
    "hwgen.errors", *GOLDEN,
)
FORBIDDEN = {
    "hwgen": ("torch", "hwgen.compress", "hwgen.sim", "hwgen.boards", "hwgen.commands"),
    "compress": ("amaranth", "cocotb", "hwgen.boards", "hwgen.commands", "hwgen.stream"),
    "sim": ("torch", "hwgen.compress", "hwgen.boards", "hwgen.commands"),
    "boards": ("torch", "hwgen.compress", "hwgen.commands"),
}


def module_name(path: Path, root: Path) -> str:
    """``sim/golden.py`` -> ``hwgen.sim.golden``; a package's ``__init__`` is the package."""
    folder, *rest = path.relative_to(root).with_suffix("").parts
    name = ".".join([FOLDERS[folder], *rest])
    return name.removesuffix(".__init__")


def imports(path: Path, root: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, full module name and "at module level?" of every import, relative ones resolved.

    ``from a import b`` gives both ``a`` and ``a.b``, because b may be a module.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = module_name(path, root)
    if path.name != "__init__.py":
        package = package.rpartition(".")[0]
    nested = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("import_module", "importlib.import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [str(node.args[0].value)]
        for name in names:
            yield getattr(node, "lineno", 0), name, id(node) not in nested


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_allowed(module: str, folder: str, name: str, at_module_level: bool) -> bool:
    """May ``module``, in ``folder``, import ``name``?"""
    if within(module, ("hwgen.commands",)):
        # The commands reach everything, but only when a verb runs.
        heavy = ("torch", "amaranth", "cocotb", "numpy", "matplotlib", "sklearn")
        others = ("hwgen.compress", "hwgen.sim", "hwgen.boards", "hwgen.stream", "hwgen.adders")
        return not (at_module_level and within(name, (*heavy, *others)))
    if within(name, FORBIDDEN[folder]):
        return False
    if not within(name, ("hwgen",)) or name == "hwgen":
        return True
    if within(module, GOLDEN):
        return within(name, OPEN_TO_GOLDEN) or name == "hwgen.sim"
    if folder == "compress":
        return within(name, OPEN_TO_COMPRESS) or name in ("hwgen.sim", "hwgen.__version__")
    if folder == "boards" and within(name, ("hwgen.sim",)):
        return within(name, ("hwgen.sim.golden", "hwgen.sim.vectors")) or name == "hwgen.sim"
    return True


def offences(root: Path) -> list[str]:
    found = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            module = module_name(path, root)
            found += [
                f"{path.relative_to(root)}:{line}: {module} may not import {name}"
                for line, name, top in imports(path, root)
                if not is_allowed(module, folder, name, top)
            ]
    return found


def test_import_directions(repository: Path) -> None:
    assert offences(repository) == []


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("hwgen/network.py", "import torch\n", "torch"),
        ("hwgen/stream/conv.py", "def f():\n    from torch import nn\n", "torch"),
        ("hwgen/cost.py", "from hwgen.sim import golden\n", "hwgen.sim"),
        ("hwgen/cost.py", "from .sim.golden import run\n", "hwgen.sim.golden"),
        ("hwgen/stream/emit.py", "from .. import boards\n", "hwgen.boards"),
        ("hwgen/cost.py", "import importlib\nimportlib.import_module('hwgen.compress')\n",
         "hwgen.compress"),
        ("hwgen/commands/rtl.py", "from hwgen.stream import emit\n", "hwgen.stream"),
        ("compress/lower.py", "from amaranth.hdl import Signal\n", "amaranth.hdl"),
        ("compress/lower.py", "from hwgen.tools import run_yosys\n", "hwgen.tools"),
        ("compress/methods/dyadic.py", "from hwgen.sim import verify\n", "hwgen.sim.verify"),
        ("sim/golden.py", "from hwgen.adders import graph\n", "hwgen.adders"),
        ("sim/golden.py", "from .verify import verify\n", "hwgen.sim.verify"),
        ("sim/golden_layers.py", "from hwgen.sim import ports\n", "hwgen.sim.ports"),
        ("sim/verify.py", "import hwgen.compress.zoo\n", "hwgen.compress.zoo"),
        ("boards/synth.py", "from hwgen.sim.verify import verify\n", "hwgen.sim.verify"),
        ("boards/synth.py", "import torch.nn\n", "torch.nn"),
    ],
)
def test_planted_import_is_found(tmp_path: Path, path: str, text: str, name: str) -> None:
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(text)
    assert any(line.endswith(f"may not import {name}") for line in offences(tmp_path))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hwgen/commands/train.py", "def f():\n    from hwgen.compress.zoo import train\n"),
        ("hwgen/adders/component.py", "from amaranth.lib import wiring\n"),
        ("compress/lower.py", "from hwgen.sim import golden\nfrom hwgen.network import Network\n"),
        ("sim/golden.py", "from hwgen.network import Network\nimport numpy as np\n"),
        ("boards/synth.py", "from hwgen.sim.golden import run\nimport hwgen.tools\n"),
    ],
)
def test_allowed_import_is_let_through(tmp_path: Path, path: str, text: str) -> None:
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(text)
    assert offences(tmp_path) == []


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a fresh Python holds after a statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["hwgen", "hwgen.network", "hwgen.netfile"])
def test_network_file_is_light(module: str) -> None:
    assert not loaded_after(f"import {module}") & {"amaranth", "torch", "cocotb", "scipy"}


def test_command_line_is_light() -> None:
    loaded = loaded_after("import hwgen.commands.app")
    assert not loaded & {"amaranth", "torch", "cocotb", "numpy", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    "module", ["hwgen.stream.emit", "hwgen.sim.verify", "hwgen.sim.proof", "hwgen.boards.synth"]
)
def test_hardware_side_is_without_torch(module: str) -> None:
    assert "torch" not in loaded_after(f"import {module}")
