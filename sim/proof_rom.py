"""A dense layer in time, proved in parts: the weights in its memory, and the unit that uses them.

The parts, all from the netlist and net.npz:

1. **Unit.** The registers in front of each lane's accumulator are evaluated for every code in use
   and every value x of an input; together they must be ``x * v`` with a number v for each code. So
   the codes' meaning is read out of the netlist, not assumed.
2. **Accumulator.** What it takes in is shown as a linear form: bias + the products in a slot's
   first step, itself + the products in every other one.
3. **Memory.** Its contents, decoded by 1, sum up to net.npz's weights for every output and input;
   what no weight uses is 0. The codes reach their lanes unchanged, two registers behind the memory.
4. **Range.** With these weights in the order of the steps, no partial sum of any image leaves the
   accumulator.

The counters, the image buffer and the choice of the bias are the simulation's part. The packing
(step by step: slot, word, group, pass; in a step: lane, term) and its sizes are plan.json's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.network import Dense, Int64Array, Network
from hwgen.ranges import value_ranges, width_of
from hwgen.sim.linear_forms import NotLinear
from hwgen.sim.netlist import UNKNOWN, Bits, Module, Netlist
from hwgen.sim.netlist_trace import Tracer
from hwgen.sim.proof_unit import Unit, read_unit

MAX_STEPS = 1 << 24


@dataclass(frozen=True)
class Packing:
    """Sizes of a layer's memory, from plan.json.

    Parameters: lanes, terms, slots, words, groups, passes, code_bits as there; folds and places,
    beats of a pixel and channels in a beat of the source, from ports.json.
    """

    lanes: int
    terms: int
    slots: int
    words: int
    groups: int
    passes: int
    code_bits: int
    folds: int
    places: int

    @property
    def steps(self) -> int:
        """Steps of an image: words of the memory."""
        return self.slots * self.words * self.groups * self.passes

    @property
    def share(self) -> int:
        """Bits of the memory's word that one lane gets."""
        return self.terms * self.code_bits


@dataclass(frozen=True)
class RomDifference:
    """The first weight that is not the network's: output channel, input, expected, derived."""

    output: int
    input: int
    expected: int
    derived: int


def packing_of(layer: str, rom: Mapping[str, Any], folds: int, places: int) -> Packing:
    """Return the packing of a layer.

    Parameters: layer, its name; rom, its entry in plan.json; folds and places, of its source's
    stream.

    Raises: HwgenError if a number is missing or out of range.
    """
    names = ("lanes", "terms", "slots", "words", "groups", "passes", "code_bits")
    values = {name: rom.get(name) for name in names} | {"folds": folds, "places": places}
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_STEPS:
            raise HwgenError(f"Layer {layer}: plan.json and ports.json must give {name} from 1 to "
                             f"{MAX_STEPS}, not {value!r}")
    packing = Packing(**{name: int(value) for name, value in values.items() if value is not None})
    if packing.steps > MAX_STEPS or packing.groups != -(-packing.places // packing.terms):
        raise HwgenError(f"Layer {layer}: at most {MAX_STEPS} steps of {packing.terms} terms for "
                         f"{packing.places} places needed, not {packing.steps} in "
                         f"{packing.groups} groups")
    return packing


def prove_rom(network: Network, layer: Dense, netlist: Netlist, packing: Packing,
              pixels: int) -> RomDifference | None:
    """Prove a dense layer in ROM form; see the module's head.

    Parameters: network, layer and netlist; packing; pixels, of the tensor the words come from.
    Returns: the first weight that differs, or None.
    Raises: NotLinear or HwgenError, if a part cannot be shown.
    """
    memory = _memory(netlist[f"{layer.name}__weights"], packing)
    parent = netlist[layer.name]
    _check_wiring(parent, layer.name, packing)
    if packing.slots * packing.lanes < layer.weight.shape[0]:
        raise HwgenError(f"{layer.weight.shape[0]} outputs needed, {packing.slots} slots of "
                         f"{packing.lanes} lanes came")
    order = _order(packing, layer.weight.shape[1], pixels)
    x = value_ranges(network)[layer.source]
    ends = int(x.lo.min()), int(x.hi.max())
    width = width_of(*ends)[0]
    units = [read_unit(netlist[f"{layer.name}__lane_{n}"], code_bits=packing.code_bits,
                       codes=[np.unique(codes) for codes in memory[:, n].T], width=width,
                       lo=ends[0], hi=ends[1]) for n in range(packing.lanes)]
    digits = _decode(memory, packing, units)
    if (found := _compare(layer, digits, order)) is not None:
        return found
    lo, hi = (np.where(order >= 0, bound[order], 0) for bound in (x.lo, x.hi))
    _check_partial_sums(layer, digits, lo, hi, units)
    return None


def _memory(module: Module, packing: Packing) -> Int64Array:
    """Return the codes in the memory, (steps, lanes, terms); check how they leave the module."""
    flat = memory_bits(module, packing.steps, packing.lanes * packing.share, "codes")
    codes = flat.reshape(packing.steps, packing.lanes, packing.terms, packing.code_bits)
    return codes @ (1 << np.arange(packing.code_bits, dtype=np.int64))


def memory_bits(module: Module, depth: int, bits: int, port: str) -> Int64Array:
    """Return the contents of a module's one memory, (depth, bits), the lowest bit first.

    Parameters: module with the ports address, enable and ``port``; depth and bits that are needed.
    Raises: HwgenError unless the memory is read at ``address`` alone and its word reaches ``port``
    unchanged, two registers behind.
    """
    cells = module.instances("$mem_v2")
    if len(cells) != 1:
        raise HwgenError(f"Module {module.name}: one memory needed, not {len(cells)}")
    (cell,) = cells
    came = cell.number("WIDTH"), cell.number("SIZE")
    if cell.number("WR_PORTS") or cell.number("OFFSET") or cell.number("RD_PORTS") != 1:
        raise HwgenError(f"Module {module.name}: a memory with one read port needed")
    if came != (bits, depth):
        raise HwgenError(f"Module {module.name}: {depth} words of {bits} bits needed, not "
                         f"{came[1]} of {came[0]}")
    address, data = cell.inputs["RD_ADDR"], cell.outputs["RD_DATA"]
    if cell.flag("RD_CLK_ENABLE") or address != module.word("address")[:len(address)]:
        raise HwgenError(f"Module {module.name}: the memory must be read at the port address")
    tracer = Tracer(module, {net: (0, k) for k, net in enumerate(data)}, 1, enable="enable")
    for k, net in enumerate(module.word(port)):
        if tracer.trace(net) != (0, k, 2):
            raise HwgenError(f"Module {module.name}: {port}[{k}] must be the memory's bit {k}, two "
                             "registers behind it")
    tracer.check_control()
    digits = cell.parameters["INIT"].zfill(bits * depth)[-bits * depth:]
    if set(digits) - {"0", "1"}:
        raise HwgenError(f"Module {module.name}: the memory has undefined words")
    flat = np.frombuffer(digits.encode(), np.uint8)[::-1].astype(np.int64) - ord("0")
    return flat.reshape(depth, bits)


def _check_wiring(parent: Module, layer: str, packing: Packing) -> None:
    """Check that every lane gets its share of the memory's codes, and all the same inputs."""
    weights = parent.instances(f"{layer}__weights")
    lanes = [parent.instances(f"{layer}__lane_{n}") for n in range(packing.lanes)]
    if len(weights) != 1 or any(len(found) != 1 for found in lanes):
        raise HwgenError(f"Module {layer}: one {layer}__weights and one of each of {packing.lanes} "
                         "lanes needed")
    codes = weights[0].outputs["codes"]
    for n, (lane,) in enumerate(lanes):
        if lane.inputs["codes"] != codes[n * packing.share:(n + 1) * packing.share]:
            raise HwgenError(f"Module {layer}: lane {n} must have the codes of bits "
                             f"{n * packing.share} and up")
        for port in ("x", "start", "enable"):
            bits: Bits = lane.inputs.get(port, ())
            if bits != lanes[0][0].inputs.get(port, ()) or UNKNOWN in bits:
                raise HwgenError(f"Module {layer}: all lanes must have the same {port}, lane {n} "
                                 "has another one")
        if lane.inputs["enable"] != weights[0].inputs["enable"]:
            raise HwgenError(f"Module {layer}: weights and lanes must have the same enable")


def _order(packing: Packing, inputs: int, pixels: int) -> Int64Array:
    """Return which input each place of each word carries, (words, places); -1 for none."""
    word = np.arange(packing.words)[:, None]
    place = np.arange(packing.groups * packing.terms)[None, :]
    channel = word % packing.folds * packing.places + place
    channels = inputs // pixels
    if packing.words != pixels * packing.folds or channels * pixels != inputs:
        raise HwgenError(f"{pixels * packing.folds} words an image needed, not {packing.words}")
    used = (place < packing.places) & (channel < channels)
    return np.where(used, channel * pixels + word // packing.folds, -1)


def _decode(memory: Int64Array, packing: Packing, units: list[Unit]) -> Int64Array:
    """Return what each step multiplies by, (slots * lanes, words, places, passes)."""
    values = np.empty_like(memory)
    for lane, unit in enumerate(units):
        for term, table in enumerate(unit.values):
            values[:, lane, term] = table[memory[:, lane, term]]
    shaped = values.reshape(packing.slots, packing.words, packing.groups, packing.passes,
                            packing.lanes, packing.terms)
    outputs = packing.slots * packing.lanes
    return shaped.transpose(0, 4, 1, 2, 5, 3).reshape(outputs, packing.words, -1, packing.passes)


def _compare(layer: Dense, digits: Int64Array, order: Int64Array) -> RomDifference | None:
    outputs, inputs = layer.weight.shape
    weights = digits.sum(axis=3)
    if np.any(weights[outputs:]) or np.any(digits[:, order < 0]):
        raise HwgenError("the memory must be 0 where no weight is")
    used = order >= 0
    derived = np.zeros((outputs, inputs), np.int64)
    derived[:, order[used]] = weights[:outputs, used]
    wrong = np.argwhere(derived != layer.weight)
    if not wrong.size:
        return None
    o, i = (int(v) for v in wrong[0])
    return RomDifference(o, i, int(layer.weight[o, i]), int(derived[o, i]))


def _check_partial_sums(layer: Dense, digits: Int64Array, lo: Int64Array, hi: Int64Array,
                        units: list[Unit]) -> None:
    """Check that the accumulator of every output holds every sum on the way, in the steps' order.

    Within a group the passes come one after the other, all terms at once; a group's inputs are
    taken with the sum of their digits so far, everything before with the whole weight.
    """
    lanes = len(units)
    for o, bias in enumerate(layer.bias.tolist()):
        so_far = np.cumsum(digits[o], axis=2)                  # (words, places, passes)
        terms = units[0].terms
        ends = [np.minimum(so_far * lo[..., None], so_far * hi[..., None]),
                np.maximum(so_far * lo[..., None], so_far * hi[..., None])]
        least, most = (end.reshape(-1, terms, digits.shape[3]).sum(axis=1) for end in ends)
        whole_lo, whole_hi = np.cumsum(least[:, -1]), np.cumsum(most[:, -1])
        bottom = min(bias, int((whole_lo - least[:, -1] + least.min(axis=1)).min()) + bias)
        top = max(bias, int((whole_hi - most[:, -1] + most.max(axis=1)).max()) + bias)
        width = units[o % lanes].width
        if not -(1 << width - 1) <= bottom <= top < 1 << width - 1:
            raise NotLinear(f"output channel {o}: its sums reach {bottom}..{top}, and the "
                            f"accumulator has {width} bits")
