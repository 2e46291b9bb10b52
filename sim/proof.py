"""The proof: what top.v computes, read back from the text, is what net.npz says, for all inputs.

Every layer that is a constant matrix (Conv2d, Dense, AvgPool) and was laid out as an adder graph
has a module ``<layer>__graph`` with ports x and y. Its netlist is turned into linear forms
(hwgen.sim.linear_forms) and each coefficient, zeros included, is compared with the network's, and
each output's width with the range it needs: **full**. Nothing of the generator is imported; the
order of the words in x and y is the contract:

* x: the taps in the order (kernel row, kernel column, input channel), or for a Dense layer the
  pixels of the tensor before Flatten in raster order, each with its channels; each in the smallest
  width of its range.
* y: the output channels, each in the smallest width of its range, without bias.

Which pixel reaches which tap, the bias and the clipping behind are the simulation's part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.netfile import load
from hwgen.network import AvgPool, Conv2d, Dense, Network
from hwgen.ranges import value_ranges
from hwgen.sim.linear_forms import NotLinear
from hwgen.sim.netlist import Module, Netlist, read_netlist
from hwgen.sim.netlist_linear import LinearMap, derive
from hwgen.sim.proof_matrix import Matrix, matrix_of, read_aliases

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Difference:
    """The first coefficient that is not the network's.

    Parameters: layer; output, its channel; tap, in words; expected (from net.npz) and derived (from
    top.v).
    """

    layer: str
    output: int
    tap: str
    expected: int
    derived: int

    def __str__(self) -> str:
        return (f"layer {self.layer}, output channel {self.output}, {self.tap}: coefficient "
                f"{self.expected} needed, the netlist has {self.derived}")


@dataclass(frozen=True)
class LayerProof:
    """What was shown of one layer.

    Parameters
    ----------
    name : str
    proof : str
        ``full``, ``parts`` or ``none``.
    reason : str
        What was shown, or why nothing was.
    failed : bool
        True if the netlist was read and is not (or cannot be shown to be) what the network says.
    coefficients : int
        Coefficients compared, zeros included.
    adders : int
        Words of arithmetic that the netlist has.
    latency : int or None
        Cycles from x to y.
    seconds : float
    difference : Difference or None
        The first coefficient that differs.
    """

    name: str
    proof: str
    reason: str
    failed: bool = False
    coefficients: int = 0
    adders: int = 0
    latency: int | None = None
    seconds: float = 0.0
    difference: Difference | None = None


@dataclass(frozen=True)
class Proof:
    """What was shown of every layer of a network, in order."""

    digest: str
    layers: tuple[LayerProof, ...]
    seconds: float

    @property
    def failures(self) -> tuple[LayerProof, ...]:
        """Layers whose netlist is not what the network says."""
        return tuple(layer for layer in self.layers if layer.failed)

    @property
    def ok(self) -> bool:
        """True if no layer failed."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}


def prove(directory: Path, *, progress: Progress | None = None) -> Proof:
    """Read DIR/top.v back and prove its constant-matrix layers equal to DIR/net.npz.

    Parameters
    ----------
    directory : Path
        With net.npz, top.v and ports.json.
    progress : callable, optional
        Called as ``progress(layer, done, total)``.

    Returns: a Proof; a netlist that differs is not an error but a layer with ``failed`` set.
    Raises: HwgenError if a file is missing or broken, or top.v was not made from net.npz.
    """
    start = time.monotonic()
    directory = Path(directory)
    network = load(directory / "net.npz")
    check_digest(directory / "top.v", network)
    aliases = read_aliases(directory / "ports.json", network)
    netlist = read_netlist(directory / "top.v")
    layers = []
    for done, layer in enumerate(network.layers):
        if progress is not None:
            progress(layer.name, done, len(network.layers))
        layers.append(prove_layer(network, layer.name, netlist, aliases))
    if progress is not None:
        progress("", len(network.layers), len(network.layers))
    return Proof(network.digest, tuple(layers), time.monotonic() - start)


def check_digest(verilog: Path, network: Network) -> None:
    """Check that the comment at the head of a Verilog file names the network's digest."""
    try:
        with verilog.open(encoding="utf-8") as file:
            head = [line for _, line in zip(range(32), file, strict=False) if line.startswith("//")]
    except (OSError, UnicodeDecodeError) as error:
        raise HwgenError(f"{verilog}: cannot be read ({error})") from error
    if not any(network.digest in line for line in head):
        raise HwgenError(f"{verilog}: a header with the digest {network.digest[:12]}... of net.npz "
                         "needed, this file was not made from it")


def prove_layer(network: Network, name: str, netlist: Netlist,
                aliases: Mapping[str, str] | None = None) -> LayerProof:
    """Prove one layer from a netlist; see ``prove`` and, for aliases, ``stream_order``."""
    start = time.monotonic()
    layer = network.by_name[name]
    if not isinstance(layer, (Conv2d, Dense, AvgPool)):
        return LayerProof(name, "none", f"{type(layer).__name__} is compared in simulation")
    graph = f"{name}__graph"
    if graph not in netlist:
        return LayerProof(name, "none", f"top.v has no module {graph}")
    try:
        _check_instance(netlist, name, graph)
        matrix = matrix_of(network, layer, aliases or {})
        derived = _derive(network, layer.source, matrix, netlist[graph])
        difference = compare(matrix, derived, name)
    except (NotLinear, HwgenError) as error:
        return LayerProof(name, "none", f"{graph}: {error}", failed=True,
                          seconds=time.monotonic() - start)
    return LayerProof(
        name, "none" if difference else "full",
        str(difference) if difference else "every coefficient and range, for all inputs",
        failed=difference is not None, coefficients=matrix.weights.size, adders=derived.words,
        latency=derived.latency, seconds=time.monotonic() - start, difference=difference)


def _check_instance(netlist: Netlist, layer: str, graph: str) -> None:
    parents = [(module.name, cell) for module in netlist.modules.values()
               for cell in module.instances(graph)]
    if [name for name, _ in parents] != [layer]:
        raise HwgenError(f"one instance in module {layer} needed, not "
                         f"{', '.join(name for name, _ in parents) or 'none'}")


def _derive(network: Network, source: str, matrix: Matrix, module: Module) -> LinearMap:
    channels = value_ranges(network)[source]
    shapes = channels.shapes()
    return derive(module, shapes=[shapes[c] for c in matrix.channels.tolist()],
                  lo=channels.lo[matrix.channels], hi=channels.hi[matrix.channels],
                  widths=matrix.widths(channels))


def compare(matrix: Matrix, derived: LinearMap, layer: str) -> Difference | None:
    """Return the first coefficient in which a derived map differs from a layer's matrix, or None.

    Raises: NotLinear naming the output channel, if one has no linear form.
    """
    refused = [(j, form) for j, form in enumerate(derived.outputs) if isinstance(form, NotLinear)]
    for j, form in enumerate(derived.outputs):
        if isinstance(form, NotLinear):
            continue
        column = np.zeros(len(matrix.weights), np.int64)
        column[form.index] = form.coefficient
        wrong = np.flatnonzero((column != matrix.weights[:, j]) & matrix.alive)
        if wrong.size:
            i = int(wrong[0])
            return Difference(layer, j, matrix.tap(i), int(matrix.weights[i, j]), int(column[i]))
        if form.constant:
            return Difference(layer, j, "constant term", 0, form.constant)
    if refused:
        raise NotLinear(f"output channel {refused[0][0]}: {refused[0][1]}"
                        + (f" (and {len(refused) - 1} more outputs)" if len(refused) > 1 else ""))
    return None
