"""A layer whose lanes pick their activations, proved in parts.

The parts, all from the netlist and net.npz:

1. **Memory.** The words of ``<layer>__steps`` reach its output unchanged. Taken step by step (sum
   begun at 0 or doubled, then the terms) they give every weight and bias of net.npz; what no weight
   uses is not picked.
2. **Lanes.** Each ``<layer>__sums_n`` takes in its terms' sum and 0, itself or twice itself, as the
   step says, as linear forms; the terms' sum is shown through the tree of adders.
3. **Range.** With these steps no sum of any image leaves the lane's register.
4. **Wiring.** Every copy of the activations is addressed by its own term of the memory's word (in a
   convolution by its sum with the window's place, which is left to simulation), and its value is
   the lane's term.

The copies' contents, the counters and the output are the simulation's part. Sizes are plan.json's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.errors import HwgenError
from hwgen.network import Conv2d, Int64Array, Tensor
from hwgen.sim.linear_forms import Box, Form, NotLinear
from hwgen.sim.netlist import Module, Netlist
from hwgen.sim.netlist_linear import words
from hwgen.sim.netlist_trace import Tracer
from hwgen.sim.proof_rom import MAX_STEPS, RomDifference, memory_bits


@dataclass(frozen=True)
class Sizes:
    """Sizes of a layer.

    Parameters: lanes, terms, slots, steps, base, inverts, from plan.json; inputs, numbers that an
    activation can have.
    """

    lanes: int
    terms: int
    slots: int
    steps: int
    base: int
    inverts: bool
    inputs: int

    @property
    def address_bits(self) -> int:
        """Bits of an activation's number."""
        return max((self.inputs - 1).bit_length(), 1)

    @property
    def term_bits(self) -> int:
        """Bits of a term: number, sign, used."""
        return self.address_bits + 2


def sizes_of(layer: str, entry: Mapping[str, Any], inputs: int) -> Sizes:
    """Return the sizes of a layer.

    Raises: HwgenError if plan.json lacks one or it is out of range.
    """
    names = ("lanes", "terms", "slots", "steps", "base")
    values = {name: entry.get(name) for name in names}
    for name, value in values.items():
        least, most = (0, 61) if name == "base" else (1, MAX_STEPS)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise HwgenError(f"Layer {layer}: plan.json must give {name} in its range, not "
                             f"{value!r}")
    if not isinstance(entry.get("inverts"), bool):
        raise HwgenError(f"Layer {layer}: plan.json must say whether it inverts")
    return Sizes(**{name: int(value) for name, value in values.items() if value is not None},
                 inverts=bool(entry["inverts"]), inputs=inputs)


def word_numbers(tensor: Tensor, folds: int, lanes: int) -> Int64Array:
    """Return which input of a dense layer, in raster order of the pixels with all channels of one
    together, each place of the stream is; -1 for none.

    Parameters: tensor that the words come from; folds of a pixel and lanes of a beat.
    """
    word = np.arange(tensor.height * tensor.width * folds)[:, None]
    channel = word % folds * lanes + np.arange(lanes)
    found = np.where(channel < tensor.channels, word // folds * tensor.channels + channel, -1)
    return found.ravel()


def window_numbers(layer: Conv2d, entry: Mapping[str, Any]) -> Int64Array:
    """Return which input of a convolution, in the order (row, column, channel), each number is, -1
    for none: {row, column, channel} of the window in as many bits as plan.json says.

    Raises: HwgenError if it does not say.
    """
    given = [entry.get(f"{part}_bits") for part in ("row", "column", "channel")]
    bits = [one for one in given if isinstance(one, int) and 0 <= one <= 16]
    if len(bits) < 3 or sum(bits) > 24:
        raise HwgenError(f"Layer {layer.name}: plan.json must give row, column and channel bits")
    across, channel_bits = 1 << bits[1], bits[2]
    _, ci, kh, kw = layer.weight.shape
    channels = ci * layer.groups
    found = np.full(max(1 << sum(bits), 2), -1, np.int64)
    row, column, channel = np.indices((kh, kw, channels))
    place = row * layer.dilation[0] * across + column * layer.dilation[1]
    found[(place << channel_bits) + channel] = (row * kw + column) * channels + channel
    return found


@dataclass(frozen=True, eq=False)
class Target:
    """What a layer should compute.

    Parameters
    ----------
    name : str
    weights : (outputs, inputs) int64
    bias : (outputs,) int64
    order : (numbers,) int64
        Which input each number of an activation is, -1 for none.
    lo, hi : (inputs,) int64
        Ranges of the inputs.
    direct : bool
        Copies are addressed by the memory's word alone.
    """

    name: str
    weights: Int64Array
    bias: Int64Array
    order: Int64Array
    lo: Int64Array
    hi: Int64Array
    direct: bool


def prove_pick(target: Target, netlist: Netlist, sizes: Sizes) -> RomDifference | None:
    """Prove a layer in pick form; see the module's head.

    Returns: the first weight that differs, or the first bias (its input is -1), or None.
    Raises: NotLinear or HwgenError, if a part cannot be shown.
    """
    name, order = target.name, target.order
    steps = netlist[f"{name}__steps"]
    bits = len(steps.word("word"))
    share, left = divmod(bits - 2, sizes.lanes)
    bias_bits = share - sizes.terms * sizes.term_bits - 1
    if left or bias_bits < 0:
        raise HwgenError(f"Module {steps.name}: words of {sizes.lanes} lanes of {sizes.terms} "
                         f"terms needed, not {bits} bits")
    memory = memory_bits(steps, sizes.steps, bits, "word")
    _check_wiring(netlist[name], target, sizes, share)
    lo, hi = (np.where(order >= 0, bound[order], 0) for bound in (target.lo, target.hi))
    ends = min(int(lo.min()), 0), max(int(hi.max()), 0)
    weights = np.zeros((sizes.slots * sizes.lanes, sizes.inputs), np.int64)
    bias = np.zeros(sizes.slots * sizes.lanes, np.int64)
    for lane in range(sizes.lanes):
        width = check_sums(netlist[f"{name}__sums_{lane}"], sizes.terms, ends,
                           sizes.inverts)
        part = memory[:, lane * share:(lane + 1) * share]
        rows = _run(part, memory[:, -2:], sizes, lo, hi, width, name)
        weights[lane::sizes.lanes], bias[lane::sizes.lanes] = rows
    outputs = target.weights.shape[0]
    if outputs > weights.shape[0] or np.any(weights[outputs:]) or np.any(weights[:, order < 0]):
        raise HwgenError(f"Layer {name}: nothing may be picked where no weight is")
    return _compare(target, weights[:outputs], bias[:outputs])


def _number(bits: Int64Array) -> Int64Array:
    found: Int64Array = bits @ (1 << np.arange(bits.shape[-1], dtype=np.int64))
    return found


def _run(part: Int64Array, marks: Int64Array, sizes: Sizes, lo: Int64Array, hi: Int64Array,
         width: int, name: str) -> tuple[Int64Array, Int64Array]:
    """Go through a lane's steps; return its weights, (slots, inputs), and biases, (slots,)."""
    terms = part[:, :sizes.terms * sizes.term_bits].reshape(len(part), sizes.terms, -1)
    number = _number(terms[..., :sizes.address_bits])
    sign = 1 - 2 * terms[..., sizes.address_bits]
    used = terms[..., sizes.address_bits + 1]
    double = part[:, sizes.terms * sizes.term_bits]
    field = part[:, sizes.terms * sizes.term_bits + 1:]
    slots = np.cumsum(marks[:, 0]) - 1
    if marks[0, 0] != 1 or slots[-1] != sizes.slots - 1 or not np.array_equal(
            np.append(marks[1:, 0], 1), marks[:, 1]):
        raise HwgenError(f"Layer {name}: {sizes.slots} slots needed, each of which begins and ends")
    if np.any((used == 1) & (number >= sizes.inputs)):
        raise HwgenError(f"Layer {name}: activations below {sizes.inputs} needed")
    weights = np.zeros((sizes.slots, sizes.inputs), np.int64)
    bias = np.zeros(sizes.slots, np.int64)
    row, lacks = np.zeros(sizes.inputs, np.int64), 0      # lacks: ones that ~x = -x - 1 takes off
    for n, slot in enumerate(slots.tolist()):
        row = np.zeros_like(row) if marks[n, 0] else row << int(double[n])
        np.add.at(row, number[n], sign[n] * used[n])
        if sizes.inverts:
            lacks = 0 if marks[n, 0] else lacks << int(double[n])
            lacks += int(used[n][sign[n] < 0].sum())
        plus, minus = np.maximum(row, 0), np.minimum(row, 0)
        bottom = int(plus @ lo + minus @ hi) - lacks
        top = int(plus @ hi + minus @ lo) - lacks
        if not -(1 << width - 1) <= bottom <= top < 1 << width - 1:
            raise NotLinear(f"step {n}: the sum reaches {bottom}..{top}, and the lane has {width} "
                            "bits")
        if marks[n, 1]:
            weights[slot] = row << sizes.base
            bias[slot] = -lacks << sizes.base
            if field.shape[1]:
                value = int(_number(field[n]))
                bias[slot] += value - (int(field[n, -1]) << field.shape[1])
    return weights, bias


def check_sums(module: Module, terms: int, ends: tuple[int, int], inverts: bool) -> int:
    """Check that a lane takes in its terms' sum and 0, itself or twice itself; return its width.

    Parameters: module with ports x, start, double, enable, total; terms; ends, the smallest and
    the largest activation; inverts, negative terms are ~x.
    """
    total, x = module.word("total"), module.word("x")
    bits, left = divmod(len(x), terms)
    levels = (terms - 1).bit_length()
    last = module.word(f"sum_{levels - 1}_0") if levels else x
    if left or len(total) < 4:
        raise HwgenError(f"Module {module.name}: x of {terms} terms and a total of 4 bits or more "
                         f"needed, not {len(x)} and {len(total)} bits")
    reach = max(-ends[0], ends[1]) + inverts
    if not -(1 << bits - 1) <= -reach <= reach - inverts < 1 << bits - 1:
        raise HwgenError(f"Module {module.name}: terms that hold {-reach}..{reach} needed, not of "
                         f"{bits} bits")
    if levels:
        inputs = {net: (n // bits, n % bits) for n, net in enumerate(x)}
        box = Box(np.full(terms, -reach), np.full(terms, reach - inverts))
        tracer = Tracer(module, inputs, terms, enable="enable")
        (form,) = words(tracer, box, [f"term {n}" for n in range(terms)], [last])
        tracer.check_control()
        _expect(module, form, np.ones(terms, np.int64), levels, "the terms' sum")
    nets = {net: (n, k) for n, word in enumerate((total, last)) for k, net in enumerate(word)}
    # Part 3 shows that the register holds every sum there is; a form is shown for smaller ones, so
    # that none of these leaves it.
    small, part = 1 << len(total) - 4, min(reach * terms, 1 << len(total) - 2)
    for start, double, factor in ((1, 0, 0), (1, 1, 0), (0, 0, 1), (0, 1, 2)):
        most = min((reach - inverts) * terms, part)  # the tree's word may hold no more
        box = Box(np.array([-small, -part]), np.array([small - 1, most]))
        tracer = Tracer(module, nets, 2, enable="enable", assumed={
            module.word("start")[0]: bool(start), module.word("double")[0]: bool(double)})
        (form,) = words(tracer, box, ["total", "sum of the terms"],
                        [tuple(tracer.taken_in(bit) for bit in total)])
        tracer.check_control()
        _expect(module, form, np.array([factor, 1]), 0, f"{factor} times total plus the terms")
    return len(total)


def _expect(module: Module, form: Form | NotLinear, wanted: Int64Array, delay: int,
            what: str) -> None:
    if not isinstance(form, Form):
        raise form
    found = np.zeros(wanted.size, np.int64)
    found[form.index] = form.coefficient
    if form.constant or form.delay != delay or not np.array_equal(found, wanted):
        raise NotLinear(f"{module.name}: {what} needed {delay} cycles later, not "
                        f"{found.tolist()} and {form.constant}, {form.delay} cycles later")


def _check_wiring(parent: Module, target: Target, sizes: Sizes, share: int) -> None:
    """Check that every term of the memory's word addresses its own copy, which is the lane's term.
    """
    layer = target.name
    steps = parent.instances(f"{layer}__steps")
    if len(steps) != 1:
        raise HwgenError(f"Module {layer}: one {layer}__steps needed, not {len(steps)}")
    word, bits = steps[0].outputs["word"], sizes.address_bits
    for n in range(sizes.lanes):
        lanes = parent.instances(f"{layer}__sums_{n}")
        if len(lanes) != 1 or lanes[0].inputs["enable"] != steps[0].inputs["enable"]:
            raise HwgenError(f"Module {layer}: one lane {n} with the enable of the memory needed")
        terms = lanes[0].inputs["x"]
        width = len(terms) // sizes.terms
        for k in range(sizes.terms):
            copies = parent.instances(f"{layer}__copy_{n}_{k}")
            place = n * share + k * sizes.term_bits
            direct = bits if target.direct else 0
            if (len(copies) != 1
                    or copies[0].inputs["address"][:direct] != word[place:place + direct]
                    or copies[0].inputs["minus"] != word[place + bits:place + bits + 1]
                    or copies[0].inputs["used"] != word[place + bits + 1:place + bits + 2]
                    or copies[0].outputs["value"] != terms[k * width:(k + 1) * width]):
                raise HwgenError(f"Module {layer}: term {k} of lane {n} must be one copy's value, "
                                 f"addressed by bits {place} and up of the memory's word")


def _compare(target: Target, weights: Int64Array, bias: Int64Array) -> RomDifference | None:
    used = target.order >= 0
    derived = np.zeros(target.weights.shape, np.int64)
    derived[:, target.order[used]] = weights[:, used]
    wrong = np.argwhere(derived != target.weights)
    if wrong.size:
        o, i = (int(v) for v in wrong[0])
        return RomDifference(o, i, int(target.weights[o, i]), int(derived[o, i]))
    off = np.flatnonzero(bias != target.bias)
    if not off.size:
        return None
    o = int(off[0])
    return RomDifference(o, -1, int(target.bias[o]), int(bias[o]))
