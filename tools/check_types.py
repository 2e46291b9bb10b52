"""Run mypy on the four packages under their import names.

They are top-level folders that are installed below ``hwgen``; mypy follows folders, not the
installation, so it is shown a folder of links that lies as the installed package does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("compress", "sim", "boards")


def lay_out(view: Path) -> None:
    """Links in ``view/hwgen``: everything of hwgen/, and the other packages below it."""
    package = view / "hwgen"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.iterdir():
        old.unlink()
    for target in [*(ROOT / "hwgen").iterdir(), *(ROOT / part for part in PARTS)]:
        if target.name != "__pycache__":
            (package / target.name).symlink_to(target)


def main() -> int:
    view = ROOT / "build" / "types"
    lay_out(view)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", "-p", "hwgen", *sys.argv[1:]],
        cwd=ROOT, env={**os.environ, "MYPYPATH": str(view)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )
    text = done.stdout
    for part in PARTS:
        text = text.replace(f"build/types/hwgen/{part}/", f"{part}/")
    print(text.replace("build/types/hwgen/", "hwgen/"), end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
