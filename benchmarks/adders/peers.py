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
    """Count the adders of a cascade, and the outputs that have to be negated.

    A sign between two stages is taken to cost nothing where an adder follows; where the second
    stage hands a word of the first one through, it is the output's.
    """
    ops = [list(stage.ops) for stage in stages]       # reading an attribute copies it
    total = sum(op.opcode in (0, 1) for stage in ops for op in stage)
    sources, signs = list(stages[0].out_idxs), list(stages[0].out_negs)
    turned = set()
    for index, negative in zip(list(stages[-1].out_idxs), list(stages[-1].out_negs), strict=True):
        if index < 0:
            continue
        word, sign = (1, index), bool(negative)
        op = ops[-1][index]
        if op.opcode == -1 and len(stages) > 1:
            source = op.id0 if hasattr(op, "id0") else op.data[0]       # da4ml, alkaid
            if sources[source] < 0:
                continue
            word, sign = (0, sources[source]), sign != bool(signs[source])
        if sign:
            turned.add(word)
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
