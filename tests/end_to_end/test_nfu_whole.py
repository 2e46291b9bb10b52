"""Whole networks of published shapes on the NFU in RTL; weights are drawn (slow)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks._nfu_networks import mobilenet, resnet8
from hwgen.netfile import save
from hwgen.network import Network
from hwgen.nfu.emit import write_design
from hwgen.sim.nfu_verify import verify


@pytest.mark.slow
@pytest.mark.parametrize(("network", "tn", "code"), [
    (mobilenet(), 8, "wide"), (resnet8(codes=True), 16, "wide"), (resnet8(), 32, "base"),
])
def test_network(network: Network, tn: int, code: str, tmp_path: Path, verilator: Any) -> None:
    """Every stored layer of extreme and random images, and every cycle as estimated."""
    save(network, tmp_path / "in.npz")
    write_design(tmp_path / "in.npz", tmp_path / "rtl", tn=tn, code=code)
    report = verify(tmp_path / "rtl", images=3)
    assert report["passed"], (report["first_difference"], report["problems"])
    assert report["values_compared"] > 3 * 10_000
    assert report["cycles_per_image"] == report["interval"]
    assert report["compute_cycles"] == report["compute_cycles_estimated"]
