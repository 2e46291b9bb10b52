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

A Dense layer with its weights in a memory (module ``<layer>__weights`` or ``<layer>__steps``) is
proved in **parts**, see hwgen.sim.proof_rom and hwgen.sim.proof_pick; so is a layer whose adders
take a digit a cycle (module ``<layer>__serial``), see hwgen.sim.proof_serial: its window, bias and
the distance of its words are the simulation's part.

In the layer's module, the output stream's payload is shown to be y plus the bias, and its valid to
be as many registers behind the front's. Which pixel reaches which tap, the handshake and the
clipping behind are the simulation's part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.files import read_json
from hwgen.network import AvgPool, Conv2d, Dense, Flatten, Network
from hwgen.ranges import linear_range, value_ranges
from hwgen.sim.design import Design, load_folder
from hwgen.sim.linear_forms import NotLinear
from hwgen.sim.netlist import Cell, Module, Netlist, read_netlist
from hwgen.sim.netlist_linear import LinearMap, derive
from hwgen.sim.ports import Tap
from hwgen.sim.proof_layer import Sums, check_layer
from hwgen.sim.proof_matrix import Matrix, matrix_of, stream_order
from hwgen.sim.proof_pick import Target, prove_pick, sizes_of, window_numbers, word_numbers
from hwgen.sim.proof_rom import packing_of, prove_rom
from hwgen.sim.proof_serial import Serial, serial_matrix
from hwgen.stream.widen import widen

Progress = Callable[[str, int, int], None]
BIAS, CONSTANT = "bias", "constant term"


@dataclass(frozen=True)
class Evidence:
    """What a proof starts from.

    Parameters: network; netlist; taps of ports.json by layer; roms, picks and serials, entries
    ``rom``, ``pick`` and ``serial`` of plan.json by layer.
    """

    network: Network
    netlist: Netlist
    taps: Mapping[str, Tap] = field(default_factory=dict)
    roms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    picks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    serials: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Layers that are wiring alone, each with its source."""
        return {tap.layer: tap.alias for tap in self.taps.values() if tap.alias}


@dataclass(frozen=True)
class Difference:
    """The first number that is not the network's.

    Parameters: layer; output, its channel; tap, its place in words, or ``bias``; expected (from
    net.npz) and derived (from top.v).
    """

    layer: str
    output: int
    tap: str
    expected: int
    derived: int

    def __str__(self) -> str:
        kind = "" if self.tap in (BIAS, CONSTANT) else "coefficient "
        return (f"layer {self.layer}, output channel {self.output}, {self.tap}: {kind}"
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
        What ``hwgen rtl`` wrote.
    progress : callable, optional
        Called as ``progress(layer, done, total)``.

    Returns: a Proof; a netlist that differs is not an error but a layer with ``failed`` set.
    Raises: HwgenError if a file is missing or broken, or the files are of different networks.
    """
    start = time.monotonic()
    folder = load_folder(directory)
    evidence = gather(folder.design, read_json(folder.path / "plan.json"),
                      read_netlist(folder.verilog))
    known = folder.design.network.by_name
    layers = [layer for layer in evidence.network.layers if layer.name in known]
    found = []
    for done, layer in enumerate(layers):
        if progress is not None:
            progress(layer.name, done, len(layers))
        found.append(prove_layer(evidence, layer.name))
    if progress is not None:
        progress("", len(layers), len(layers))
    return Proof(evidence.network.digest, tuple(found), time.monotonic() - start)


def gather(design: Design, plan: Any, netlist: Netlist) -> Evidence:
    """Return what a proof starts from.

    Raises: HwgenError if a layer that is no Flatten shares its source's stream.
    """
    network = widen(design.network, design.ports.input.pixels)
    taps = {tap.layer: tap for tap in design.ports.taps}
    for tap in taps.values():
        layer = network.by_name[tap.layer]
        if tap.alias and (not isinstance(layer, Flatten) or layer.source != tap.alias):
            raise HwgenError(f"ports.json, {tap.layer}: a Flatten that shares its source's stream "
                             f"needed, not {type(layer).__name__} that shares {tap.alias}'s")
    entries = plan.get("layers", []) if isinstance(plan, dict) else []
    forms = ({str(entry.get("name")): entry[form] for entry in entries
              if isinstance(entry, dict) and isinstance(entry.get(form), dict)}
             for form in ("rom", "pick", "serial"))
    return Evidence(network, netlist, taps, *forms)


def prove_layer(evidence: Evidence, name: str) -> LayerProof:
    """Prove one layer from a netlist; see ``prove``."""
    layer = evidence.network.by_name[name]
    if not isinstance(layer, (Conv2d, Dense, AvgPool)):
        return LayerProof(name, "none", f"{type(layer).__name__} is compared in simulation")
    start = time.monotonic()
    try:
        if f"{name}__graph" in evidence.netlist:
            found = _prove_graph(evidence, layer)
        elif isinstance(layer, Dense) and f"{name}__weights" in evidence.netlist:
            found = _prove_rom(evidence, layer)
        elif not isinstance(layer, AvgPool) and f"{name}__steps" in evidence.netlist:
            found = _prove_pick(evidence, layer)
        elif f"{name}__serial" in evidence.netlist:
            found = _prove_serial(evidence, layer)
        else:
            found = LayerProof(name, "none", f"top.v has no module {name}__graph")
    except (NotLinear, HwgenError) as error:
        found = LayerProof(name, "none", str(error), failed=True)
    return replace(found, seconds=time.monotonic() - start)


def _prove_graph(evidence: Evidence, layer: Conv2d | Dense | AvgPool) -> LayerProof:
    name = layer.name
    graph = f"{name}__graph"
    instance = _instance(evidence.netlist, name, graph)
    matrix = matrix_of(evidence.network, layer, evidence.aliases)
    try:
        derived = _derive(evidence.network, layer.source, matrix, evidence.netlist[graph])
        difference = compare(matrix, derived, name)
    except NotLinear as error:
        raise NotLinear(f"{graph}: {error}") from error
    if difference is None:
        difference = _check_bias(evidence, layer, matrix, instance, derived)
    return LayerProof(
        name, "none" if difference else "full",
        str(difference) if difference else "every coefficient, bias and range, for all inputs",
        failed=difference is not None, coefficients=matrix.weights.size, adders=derived.words,
        latency=derived.latency, difference=difference)


def _check_bias(evidence: Evidence, layer: Conv2d | Dense | AvgPool, matrix: Matrix,
                instance: Cell, derived: LinearMap) -> Difference | None:
    source = value_ranges(evidence.network)[layer.source]
    lo, hi = linear_range(matrix.weights.T, source.lo[matrix.channels], source.hi[matrix.channels])
    bias = np.zeros(lo.size, np.int64) if isinstance(layer, AvgPool) else layer.bias
    found = check_layer(evidence.netlist[layer.name], instance, Sums(lo, hi, bias), derived.latency)
    if found is None:
        return None
    return Difference(layer.name, found[0], BIAS, int(bias[found[0]]), found[1])


def _prove_rom(evidence: Evidence, layer: Dense) -> LayerProof:
    name, source = layer.name, layer.source
    order, place = stream_order(evidence.network, source, evidence.aliases)
    while source in evidence.aliases:
        source = evidence.aliases[source]
    if source not in evidence.taps or name not in evidence.roms:
        raise HwgenError(f"Layer {name}: ports.json must give {source}, and plan.json the layer's "
                         "rom")
    tap, tensor = evidence.taps[source], evidence.network.tensors[source]
    packing = packing_of(name, evidence.roms[name], tap.folds, tap.lanes)
    found = prove_rom(evidence.network, layer, evidence.netlist, packing,
                      tensor.height * tensor.width)
    difference = None
    if found is not None:
        where = place(int(np.flatnonzero(order == found.input)[0]))
        difference = Difference(name, found.output, where, found.expected, found.derived)
    shown = ("weights in memory, each lane with every code and input, sums without overflow; "
             "not the order of the steps")
    return LayerProof(name, "none" if difference else "parts",
                      str(difference) if difference else shown, failed=difference is not None,
                      coefficients=layer.weight.size, difference=difference)


def _prove_pick(evidence: Evidence, layer: Conv2d | Dense) -> LayerProof:
    name, source = layer.name, layer.source
    while source in evidence.aliases:
        source = evidence.aliases[source]
    if source not in evidence.taps or name not in evidence.picks:
        raise HwgenError(f"Layer {name}: ports.json must give {source}, and plan.json the layer's "
                         "pick")
    matrix = matrix_of(evidence.network, layer, evidence.aliases)
    x = value_ranges(evidence.network)[layer.source]
    entry, tap = evidence.picks[name], evidence.taps[source]
    order = (window_numbers(layer, entry) if isinstance(layer, Conv2d)
             else word_numbers(evidence.network.tensors[source], tap.folds, tap.lanes))
    target = Target(name, matrix.weights.T, layer.bias, order, x.lo[matrix.channels],
                    x.hi[matrix.channels], isinstance(layer, Dense))
    found = prove_pick(target, evidence.netlist, sizes_of(name, entry, order.size))
    difference = None
    if found is not None:
        where = BIAS if found.input < 0 else matrix.tap(found.input)
        difference = Difference(name, found.output, where, found.expected, found.derived)
    shown = ("steps in memory, each lane's sums for all inputs, without overflow; not the "
             "activations' copies")
    return LayerProof(name, "none" if difference else "parts",
                      str(difference) if difference else shown, failed=difference is not None,
                      coefficients=matrix.weights.size, difference=difference)


def _prove_serial(evidence: Evidence, layer: Conv2d | Dense | AvgPool) -> LayerProof:
    name, entry = layer.name, evidence.serials.get(layer.name, {})
    given = [entry.get(key) for key in ("digit", "digits")]
    sizes = [one for one in given if isinstance(one, int) and 1 <= one <= 64]
    if len(sizes) < 2:
        raise HwgenError(f"Layer {name}: plan.json must give the layer's digit and digits")
    matrix = matrix_of(evidence.network, layer, evidence.aliases)
    source = value_ranges(evidence.network)[layer.source]
    lo, hi = source.lo[matrix.channels], source.hi[matrix.channels]
    serial = Serial(sizes[0], sizes[1], np.minimum(lo, 0), np.maximum(hi, 0),
                    matrix.widths(source))
    found, adders, latency = serial_matrix(evidence.netlist[f"{name}__serial"], serial)
    wrong = np.argwhere((found != matrix.weights) & matrix.alive[:, None])
    difference = None
    if wrong.size:
        i, j = (int(v) for v in wrong[0])
        difference = Difference(name, j, matrix.tap(i), int(matrix.weights[i, j]),
                                int(found[i, j]))
    return LayerProof(
        name, "none" if difference else "parts",
        str(difference) if difference else "every coefficient, for all inputs; not window and bias",
        failed=difference is not None, coefficients=matrix.weights.size, adders=adders,
        latency=latency, difference=difference)


def _instance(netlist: Netlist, layer: str, graph: str) -> Cell:
    """Return the one instance of a layer's graph, in the layer's module."""
    parents = [(module.name, cell) for module in netlist.modules.values()
               for cell in module.instances(graph)]
    if [name for name, _ in parents] != [layer]:
        raise HwgenError(f"{graph}: one instance in module {layer} needed, not "
                         f"{', '.join(name for name, _ in parents) or 'none'}")
    return parents[0][1]


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
            return Difference(layer, j, CONSTANT, 0, form.constant)
    if refused:
        raise NotLinear(f"output channel {refused[0][0]}: {refused[0][1]}"
                        + (f" (and {len(refused) - 1} more outputs)" if len(refused) > 1 else ""))
    return None
