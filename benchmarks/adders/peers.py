"""Adders of da4ml and alkaid; run by the Python of an environment of its own that has them.

Reads a ``.npz`` of matrices, prints one JSON line for each: {name, adders, by, seconds}: the fewest
adders of both over their settings, or with ``--default`` with their default alone. Counted as for
hwgen: additions and subtractions, and one for each value that an output needs negated.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

SETTINGS = [{}, {"method0": "mc"}, {"method0": "wmc-dc"}, {"hard_dc": 2}]


def adders(stages: Any) -> int:
    """Count the adders of a cascade."""
    total = 0
    for stage in stages:
        total += sum(op.opcode in (0, 1) for op in stage.ops)
    last = stages[-1]
    turned = {index for index, negative in zip(last.out_idxs, last.out_negs, strict=True)
              if negative and index >= 0}
    return total + len(turned)


def solvers() -> dict[str, Any]:
    """The solvers that are installed."""
    found: dict[str, Any] = {}
    try:
        from da4ml.cmvm import solve
    except ImportError:
        pass
    else:
        found["da4ml"] = lambda w, options: list(solve(w, **options).solutions)
    try:
        from alkaid._binary.cmvm_bin import cmvm_solve
    except ImportError:
        pass
    else:
        found["alkaid"] = lambda w, options: list(cmvm_solve(w, **options))
    return found


def main() -> None:
    """Solve every matrix of the file named."""
    tools = solvers()
    settings = SETTINGS[:1] if "--default" in sys.argv else SETTINGS
    with np.load(sys.argv[1], allow_pickle=False) as arrays:
        for name in arrays.files:
            matrix = arrays[name].astype(np.float32)
            best: dict[str, Any] = {}
            started = time.process_time()
            for tool, solve in tools.items():
                for options in settings:
                    try:
                        count = adders(solve(matrix, options))
                    except (ValueError, RuntimeError, TypeError):
                        continue
                    if not best or count < best["adders"]:
                        best = {"adders": count, "by": f"{tool} {options or 'default'}"}
            best["seconds"] = round(time.process_time() - started, 2)
            print(json.dumps({"name": name, **best}), flush=True)


if __name__ == "__main__":
    main()
