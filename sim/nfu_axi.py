"""Run programs on an NFU with outside memory, in a simulator: the outside of sim/bench_nfu_axi.py.

Memory and the processor are cocotbext-axi's, so that the protocol is checked by someone else's
reading of it.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.layers import Int64Array
from hwgen.network import Network
from hwgen.nfu.compiler.program import Program
from hwgen.sim.build import Build, Simulator, Source, build, run
from hwgen.sim.nfu import Ran, layers_of

AXI_LITE = ("awaddr", "awprot", "awvalid", "awready", "wdata", "wstrb", "wvalid", "wready",
            "bresp", "bvalid", "bready", "araddr", "arprot", "arvalid", "arready", "rdata",
            "rresp", "rvalid", "rready")
AXI = ("awid", "bid", "arid", "rid", "awaddr",
       "awlen", "awsize", "awburst", "awlock", "awcache", "awprot", "awvalid", "awready",
       "wdata", "wstrb", "wlast", "wvalid", "wready", "bresp", "bvalid", "bready", "araddr",
       "arlen", "arsize", "arburst", "arlock", "arcache", "arprot", "arvalid", "arready", "rdata",
       "rresp", "rlast", "rvalid", "rready")
INPUTS = (
    "clk", "rst",
    *(f"s_axil_{name}" for name in AXI_LITE if name[:2] in ("aw", "ar") and name[-5:] != "ready"),
    "s_axil_wdata", "s_axil_wstrb", "s_axil_wvalid", "s_axil_bready", "s_axil_rready",
    "m_axi_bid", "m_axi_rid", "m_axi_awready",
    "m_axi_wready", "m_axi_bresp", "m_axi_bvalid", "m_axi_arready", "m_axi_rdata",
    "m_axi_rresp", "m_axi_rlast", "m_axi_rvalid",
)


@dataclass(frozen=True, eq=False)
class Case:
    """One start of the NFU.

    Parameters
    ----------
    writes : sequence of (address, bytes)
        Into memory before it; the first case's program stays for the others.
    reads : sequence of (address, count)
        From memory after it.
    limit : int
        Cycles after which it counts as stuck.
    stalls : bool
        Random pauses on every channel.
    faulty : (first, behind, kind) or None
        Addresses whose accesses memory answers with an error, "SLVERR" or "DECERR".
    again, reset_after : int
        Cycles after which a second start comes, or a reset and then the start again; 0: never.
    """

    writes: Sequence[tuple[int, bytes]]
    reads: Sequence[tuple[int, int]]
    limit: int = 1_000_000
    stalls: bool = False
    faulty: tuple[int, int, str] | None = None
    again: int = 0
    reset_after: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a case. Parameters: memory, bytes read; registers by name; ended, "done" or
    "stuck".
    """

    memory: list[bytes]
    registers: dict[str, int]
    ended: str
    extra: dict[str, Any] = field(default_factory=dict)


def build_axi(verilog: Path, simulator: Simulator, cache: Path, *, wave: bool = False) -> Build:
    """Build the simulation of an NFU with outside memory (module ``top``)."""
    read = tuple(("top", name) for name in (
        "interrupt", *(f"s_axil_{one}" for one in AXI_LITE), *(f"m_axi_{one}" for one in AXI))
        if name not in INPUTS)
    return build(Source((verilog,), "top", read, INPUTS, wave=wave), simulator, cache)


def run_cases(built: Build, cases: Sequence[Case], memory_bytes: int, cache: Path, *,
              seed: int = 0, wave: Path | None = None) -> list[Outcome]:
    """Run cases one behind the other, in one simulation."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache) as place:
        folder = Path(place)
        arrays: dict[str, np.ndarray] = {}
        plain = []
        for n, case in enumerate(cases):
            values = {**vars(case), "writes": [address for address, _ in case.writes]}
            for k, (_, raw) in enumerate(case.writes):
                arrays[f"w{n}_{k}"] = np.frombuffer(raw, np.uint8)
            plain.append(values)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        (folder / "writes.npz").write_bytes(buffer.getvalue())
        (folder / "cases.json").write_text(json.dumps({"memory": memory_bytes, "cases": plain}))
        run(built, module="hwgen.sim.bench_nfu_axi", folder=folder, log=cache / "nfu_axi.log",
            plusargs={}, seed=seed, wave=wave)
        try:
            told = json.loads((folder / "outcomes.json").read_text())
        except OSError as error:
            raise HwgenError("The simulation ended before its outcomes were written") from error
        with np.load(folder / "reads.npz") as found:
            return [
                Outcome([found[f"r{n}_{k}"].tobytes() for k in range(len(cases[n].reads))],
                        one["registers"], one["ended"], one["extra"])
                for n, one in enumerate(told)
            ]


def cases_of(program: Program, codes: Int64Array, *, limit: int, stalls: bool,
             seed: int) -> list[Case]:
    """Return a case an image; the first one brings the program along."""
    reads = [(region.address, region.words * program.config.word_bytes)
             for region in program.results]
    return [
        Case([*([(0, program.image)] if n == 0 else []), *program.pack_input(image)], reads, limit,
             stalls, seed=seed + n)
        for n, image in enumerate(codes)
    ]


def run_axi(built: Build, program: Program, network: Network, codes: Int64Array, *, cache: Path,
            stalls: bool, wave: Path | None, seed: int, limit: int) -> list[Ran]:
    """Run images through an NFU with outside memory; see ``hwgen.sim.nfu``."""
    cases = cases_of(program, codes, limit=limit, stalls=stalls, seed=seed)
    outcomes = run_cases(built, cases, program.size, cache, seed=seed, wave=wave)
    return [Ran(layers_of(program, network, dict(enumerate(one.memory))), one.registers, one.ended)
            for one in outcomes]
