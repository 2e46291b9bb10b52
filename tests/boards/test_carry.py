from __future__ import annotations

import json

from hwgen.boards import synth
from hwgen.boards.carry import cut_unread_carries
from hwgen.boards.synth import synthesise
from tests.boards.designs import folder, registered


def cell(kind, **connections):
    outputs = ("COUT", "S0", "Z")
    return {"type": kind, "connections": {name: [bit] for name, bit in connections.items()},
            "port_directions": {name: "output" if name in outputs else "input"
                                for name in connections}}


def test_only_unread_ends_are_cut():
    module = {
        "ports": {"carry": {"bits": [13]}},
        "cells": {
            "first": cell("CCU2C", CIN="0", A0=2, S0=3, COUT=10),     # goes on in the second
            "second": cell("CCU2C", CIN=10, A0=4, S0=5, COUT=11),     # read by nothing
            "third": cell("CCU2C", CIN="0", A0=6, S0=7, COUT=12),     # read by a LUT
            "fourth": cell("CCU2C", CIN="0", A0=8, S0=9, COUT=13),    # a port
            "lut": cell("LUT4", A=12, Z=14),
        },
    }
    assert cut_unread_carries(module) == 1
    ends = {name: one["connections"].get("COUT") for name, one in module["cells"].items()}
    assert ends == {"first": [10], "second": ["x"], "third": [12], "fourth": [13], "lut": None}
    assert cut_unread_carries(module) == 0


def test_placed_chain_is_two_positions_shorter(tmp_path, monkeypatch):
    directory = folder(tmp_path, registered("a + b"))
    short = synthesise(directory, target="ecp5-25", pnr=True)
    wrapped = json.loads((directory / "synth-ecp5-25" / "wrapped.json").read_bytes())
    cells = wrapped["modules"]["hwgen_wrapper"]["cells"].values()
    assert sum(one["connections"].get("COUT") == ["x"] for one in cells) == 1
    monkeypatch.setattr(synth, "cut_unread_carries", lambda module: 0)
    long = synthesise(directory, target="ecp5-25", pnr=True)
    assert short["lut"] == long["lut"] == 8
    used = [report["placed"]["TRELLIS_COMB"]["used"] for report in (short, long)]
    assert used[1] - used[0] == 2
