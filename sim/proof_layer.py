"""What the module of a layer does around its adder graph: the bias, and data and valid in step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from hwgen.network import Int64Array
from hwgen.ranges import width_of
from hwgen.sim.linear_forms import Box, Form, NotLinear
from hwgen.sim.netlist import ONE, Bits, Cell, Module
from hwgen.sim.netlist_linear import words
from hwgen.sim.netlist_trace import Tracer


@dataclass(frozen=True, eq=False)
class Sums:
    """What leaves an adder graph.

    Parameters: lo and hi, (outputs,) ranges; bias, (outputs,), what is to be added.
    """

    lo: Int64Array
    hi: Int64Array
    bias: Int64Array


def check_layer(module: Module, graph: Cell, sums: Sums, latency: int) -> tuple[int, int] | None:
    """Check that ``o__payload`` is y + bias, and ``o__valid`` as late as that.

    Parameters
    ----------
    module : Module
        Of the layer, with streams i and o.
    graph : Cell
        The instance of the adder graph.
    sums : Sums
    latency : int
        Cycles of the graph.

    Returns: None, or the first output whose constant differs, and the constant.
    Raises: NotLinear if a word is not y plus a constant, does not fit, or is not in step.

    An output's word is as wide as its range, so its constant counts modulo two to that width.
    """
    enable = graph.inputs.get("en") or module.wires.get("en", (ONE,))
    y = _split(graph.outputs["y"], sums.lo, sums.hi)
    nets = {net: (j, k) for j, bits in enumerate(y) for k, net in enumerate(bits) if net > ONE}
    tracer = Tracer(module, nets, len(y), enable=enable[0])
    payload = _split(module.word("o__payload"), sums.lo + sums.bias, sums.hi + sums.bias)
    forms = words(tracer, Box(sums.lo, sums.hi), [f"y[{j}]" for j in range(len(y))], payload)
    tracer.check_control()
    delays = set()
    for j, form in enumerate(forms):
        if isinstance(form, NotLinear):
            raise NotLinear(f"{module.name}, output channel {j}: {form}")
        own = [j] if sums.lo[j] < sums.hi[j] else []
        if form.index.tolist() != own or np.any(form.coefficient != 1):
            raise NotLinear(f"{module.name}, output channel {j}: y[{j}] and a constant needed, not "
                            f"{_words_of(form)}")
        if (form.constant - int(sums.bias[j])) % (1 << len(payload[j])):
            return j, form.constant
        delays |= {form.delay} if form.delay is not None else set()
    if len(delays) > 1:
        raise NotLinear(f"{module.name}: all channels at once needed, not after "
                        f"{' and '.join(str(delay) for delay in sorted(delays))} cycles")
    if delays:
        _check_valid(module, graph, enable[0], latency + delays.pop())
    return None


def _split(bits: Bits, lo: Int64Array, hi: Int64Array) -> list[Bits]:
    widths = [width_of(int(a), int(b))[0] for a, b in zip(lo, hi, strict=True)]
    if len(bits) != sum(widths):
        raise NotLinear(f"a word of {sum(widths)} bits needed, not {len(bits)}")
    ends = np.cumsum([0, *widths]).tolist()
    return [bits[a:b] for a, b in itertools.pairwise(ends)]


def _words_of(form: Form) -> str:
    terms = [f"{c} * y[{j}]" for j, c in zip(form.index.tolist(), form.coefficient.tolist(),
                                             strict=True)]
    return " + ".join([*terms[:4], str(form.constant)])


def _check_valid(module: Module, graph: Cell, enable: int, latency: int) -> None:
    """Check that o__valid is the valid that comes with x, as many cycles later as the data."""
    drivers = {module.drivers[net].cell for net in graph.inputs["x"] if net in module.drivers}
    fronts = [cell for cell in drivers if cell is not None and "o__valid" in cell.outputs]
    if len(fronts) != 1 or len(drivers) != 1:
        raise NotLinear(f"{module.name}: x must come from one stream")
    tracer = Tracer(module, {fronts[0].outputs["o__valid"][0]: (0, 0)}, 1, enable=enable)
    found = tracer.trace(module.word("o__valid")[0])
    tracer.check_control()
    if (found.source, found.delay) != (0, latency):
        raise NotLinear(f"{module.name}: o__valid must be the front's, {latency} cycles later, as "
                        f"the data, not {found.delay}")
