"""Which form each layer takes in the streaming engine, how fast it is and about what it costs.

Forms: ``graph`` (window or gather, then an adder graph), ``serial`` (the same graph, its adders a
digit a cycle), ``rom`` (a dense layer in time, weights in a memory), ``lanes`` (one unit a channel:
requantise, activation, sum), ``max`` (window and comparators), ``wire`` (nothing but names).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hwgen.adders.csd import digit_count
from hwgen.errors import HwgenError
from hwgen.layers import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Int64Array,
    Layer,
    MaxPool,
    Requantise,
)
from hwgen.network import Network
from hwgen.ranges import Range, value_ranges
from hwgen.stream.beat import BeatFormat
from hwgen.stream.dense_code import DenseCode
from hwgen.stream.fifo_depth import axes, fifo_depths
from hwgen.stream.requantise import lanes_agree
from hwgen.stream.serial_window import Walk

MOST_DIGIT = 4  # bits a cycle; from there on a digit-serial graph is as large as a whole one
GRAPH_DIGITS = 3000  # a dense layer with more signed digits than this is not laid out as a graph


# Of the engine's top module, whose instances carry the layers' names.
PORTS = ("clk", "rst", "frame_error", *(f"{side}_axis_t{name}" for side in "sm"
                                        for name in ("data", "valid", "ready", "last")))


@dataclass(frozen=True)
class Options:
    """Choices of the user.

    Parameters
    ----------
    dense : "auto", "graph" or "rom"
        Form of the dense layers.
    interval : int or None
        Cycles an image may take; None: as many as the layers in front of the dense ones need.
    fifo_slack : int or None
        Beats a queue before a join gets beyond the fewest possible; None: as many as it takes for
        the stream never to be held up.
    digit : int or None
        Bits a cycle of the layers with windows that may be digit-serial, 0 for all bits at once;
        None: the fewest that keep up.
    """

    dense: str = "auto"
    interval: int | None = None
    fifo_slack: int | None = None
    digit: int | None = None

    def __post_init__(self) -> None:
        if self.digit is not None and self.digit < 0:
            raise HwgenError(f"digit: 0 or more bits needed, not {self.digit}")
        if self.dense not in ("auto", "graph", "rom"):
            raise HwgenError(f"dense: auto, graph or rom needed, not {self.dense!r}")


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer as it will be built.

    Parameters
    ----------
    layer : Layer
    form : str
        See the module's head.
    formats : tuple of BeatFormat
        Of what comes from each source.
    format : BeatFormat
        Of the output.
    why : str
        The reason for the form, for people.
    unfold : bool
        The source's folds are gathered to whole pixels first.
    code : DenseCode or None
        Of a layer from ROM.
    fifos : tuple of int
        Depth of the queue at each source of a join, or in front of a layer that takes its pixels
        more evenly than they come, 0 for none: the fewest beats that do, until the engine is built
        and its latencies are known.
    digit : int
        Bits a cycle of a layer in serial form; 0 otherwise.
    """

    layer: Layer
    form: str
    formats: tuple[BeatFormat, ...]
    format: BeatFormat
    why: str
    unfold: bool = False
    code: DenseCode | None = None
    fifos: tuple[int, ...] = ()
    digit: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """All layers as they will be built, in the network's order."""

    network: Network
    ranges: Mapping[str, Range]
    layers: tuple[LayerPlan, ...]
    options: Options = field(default_factory=Options)

    def __getitem__(self, name: str) -> LayerPlan:
        return next(plan for plan in self.layers if plan.layer.name == name)

    @property
    def formats(self) -> dict[str, BeatFormat]:
        """Format of each layer's output."""
        return {plan.layer.name: plan.format for plan in self.layers}


def stream_order(format: BeatFormat) -> Int64Array:
    """Return which element of the tensor, in C, H, W order, each lane of each beat carries; -1 for
    none.

    Returns: (beats, lanes) int64.
    """
    beat, lane = np.arange(format.beats)[:, None], np.arange(format.lanes)[None, :]
    pixel, fold = beat // format.folds, beat % format.folds
    channel = fold * format.lanes + lane
    index = channel * (format.height * format.width) + pixel
    return np.where(channel < format.channels, index, -1)


def make_plan(network: Network, options: Options | None = None) -> Plan:
    """Choose a form for every layer.

    Raises: HwgenError naming the layer if it cannot be built.
    """
    for layer in network.layers:
        if layer.name in PORTS:
            raise layer.error("name", "a name that no port of the engine has", layer.name)
    options = options or Options()
    planner = _Planner(network, options)
    for layer in network.layers:
        planner.add(layer)
    return Plan(network, planner.ranges, tuple(planner.plans.values()), options)


class _Planner:
    """Goes through the layers in order; each sees the formats of those before it."""

    def __init__(self, network: Network, options: Options) -> None:
        self.network, self.options = network, options
        self.ranges = value_ranges(network)
        self.plans: dict[str, LayerPlan] = {}
        self.budget = options.interval or 0
        self.formats: dict[str, BeatFormat] = {}
        self.rules: dict[type[Layer], Callable[..., LayerPlan]] = {
            Input: self._input,
            Conv2d: self._window,
            AvgPool: self._window,
            MaxPool: self._window,
            Dense: self._dense,
            Requantise: self._lanes,
            Activation: self._lanes,
            Add: self._join,
            Concat: self._join,
            Flatten: self._flatten,
            ArgMax: self._argmax,
        }
        self.structural = structural_interval(network)

    def add(self, layer: Layer) -> None:
        plan = self.rules[type(layer)](layer, tuple(self.formats[name] for name in layer.inputs))
        self.plans[layer.name] = plan
        self.formats[layer.name] = plan.format

    def _whole(self, layer: Layer) -> BeatFormat:
        """Format with all channels of a pixel in one beat."""
        return BeatFormat.of(self.network.tensors[layer.name], self.ranges[layer.name])

    def _input(self, layer: Input, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        return LayerPlan(
            layer, "wire", (), self._whole(layer), "frames are counted, one pixel a beat"
        )

    def _window(
        self, layer: Conv2d | AvgPool | MaxPool, sources: tuple[BeatFormat, ...]
    ) -> LayerPlan:
        format, unfold = self._whole(layer), sources[0].folds > 1
        if isinstance(layer, MaxPool):
            why = "a comparator tree over the window"
            return LayerPlan(layer, "max", sources, format, why, unfold=unfold)
        budget = max(self.options.interval or 0, self.structural)
        digit = None if unfold or not self._may_wait(layer) else self._digit(layer, sources[0])
        if digit:
            walk = serial_walk(self.network, self.ranges, layer, digit)
            why = (
                f"an adder graph of {digit} bits a cycle: {walk.interval} of {budget} cycles, "
                f"{walk.digits} a window"
            )
            return LayerPlan(layer, "serial", sources, format, why, fifos=(0,), digit=digit)
        why = "one window a cycle through one adder graph"
        return LayerPlan(layer, "graph", sources, format, why, unfold=unfold)

    def _may_wait(self, layer: Layer) -> bool:
        """Tell whether a layer may take its pixels when it wants: its source is its own, and no
        branch behind it waits for another one.
        """
        behind, found = [layer.name], {layer.name}
        while behind:
            for reader in self.network.readers[behind.pop()]:
                if isinstance(self.network.by_name[reader], (Add, Concat)):
                    return False
                if reader not in found:
                    found.add(reader)
                    behind.append(reader)
        return len(self.network.readers[layer.inputs[0]]) == 1

    def _digit(self, layer: Conv2d | AvgPool, source: BeatFormat) -> int | None:
        """Return the fewest bits a cycle that keep up, or None if only all at once do."""
        if self.options.digit is not None:
            return self.options.digit
        budget = max(self.options.interval or 0, self.structural)
        for digit in range(1, MOST_DIGIT + 1):
            if serial_walk(self.network, self.ranges, layer, digit).interval <= budget:
                return digit
        return None

    def _lanes(self, layer: Requantise | Activation, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        source = sources[0]
        agree = isinstance(layer, Activation) or lanes_agree(layer, source.lanes)
        if source.folds == 1 or not agree:
            why = "one unit a channel" + ("" if agree else ": channels of one lane differ in scale")
            return LayerPlan(
                layer, "lanes", sources, self._whole(layer), why, unfold=source.folds > 1
            )
        format = BeatFormat.of(
            self.network.tensors[layer.name], self.ranges[layer.name], lanes=source.lanes
        )
        return LayerPlan(
            layer, "lanes", sources, format, f"one unit for every {source.folds} channels"
        )

    def _join(self, layer: Add | Concat, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        format = self._whole(layer)
        for name, source in zip(layer.inputs, sources, strict=True):
            if source.folds > 1:
                raise layer.error(
                    "sources",
                    "branches that carry whole pixels",
                    f"{name}, whose channels come one after the other (dense layer in ROM form)",
                )
        fewest = fifo_depths(self.network, layer.name, {**self.formats, layer.name: format})
        slack = self.options.fifo_slack or 0
        return LayerPlan(
            layer,
            "lanes",
            sources,
            format,
            f"a join that needs queues of at least {fewest}",
            fifos=tuple(depth + slack for depth in fewest),
        )

    def _flatten(self, layer: Flatten, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        source = sources[0]
        readers = [self.network.by_name[name] for name in self.network.readers[layer.name]]
        if source.height * source.width == 1 or (
            readers and all(isinstance(r, Dense) for r in readers)
        ):
            return LayerPlan(
                layer, "wire", sources, source, "the dense layer takes pixels as they come"
            )
        return LayerPlan(
            layer, "gather", sources, self._whole(layer), "all codes of an image in one beat"
        )

    def _argmax(self, layer: ArgMax, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        if layer is not self.network.output:
            raise layer.error("name", "an ArgMax as the last layer", "one that another layer reads")
        return LayerPlan(
            layer,
            "max",
            sources,
            self._whole(layer),
            "a comparator tree over the scores",
            unfold=sources[0].folds > 1,
        )

    def _dense(self, layer: Dense, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        source = sources[0]
        digits = int(digit_count(layer.weight).sum())
        budget = max(self.options.interval or 0, self.structural)
        best = None if self.options.dense == "graph" else self._rom(layer, source, budget)
        fits = best is not None and best.interval <= budget
        if best is None or (
            self.options.dense == "auto"
            and digits <= GRAPH_DIGITS
            and (not fits or _rom_cost(best) >= _graph_cost(digits, source))
        ):
            return LayerPlan(
                layer,
                "graph",
                sources,
                self._whole(layer),
                f"{digits} digits: an adder graph, used once an image",
            )
        tensor, values = self.network.tensors[layer.name], self.ranges[layer.name]
        why = (
            f"{best.lanes} lanes of {best.terms} do {layer.weight.size} weights in {best.interval} "
            f"of {budget} cycles"
        )
        return LayerPlan(
            layer, "rom", sources, BeatFormat.of(tensor, values, lanes=best.lanes), why, code=best
        )

    def _rom(self, layer: Dense, source: BeatFormat, budget: int) -> DenseCode:
        """Return the cheapest unit that keeps the interval, or the fastest if none does."""
        weight = ordered_weight(layer, source)
        outputs = layer.weight.shape[0]
        found: list[tuple[tuple[float, ...], DenseCode]] = []
        terms = 1
        while True:
            steps = DenseCode(weight, outputs, terms).steps
            slots = min(max(budget // steps, 1), outputs)
            lanes = -(-outputs // slots)
            code = DenseCode(weight, lanes, terms)
            late = code.interval > budget
            found.append(((late, code.interval if late else 0, _rom_cost(code)), code))
            if terms >= weight.shape[2]:
                return min(found, key=lambda pair: pair[0])[1]
            terms = min(2 * terms, weight.shape[2])


def ordered_weight(layer: Dense, source: BeatFormat) -> Int64Array:
    """Return a dense layer's weights in the order of the stream, (outputs, beats, lanes)."""
    order = stream_order(source)
    return np.where(order >= 0, layer.weight[:, order], 0)


def serial_walk(
    network: Network, ranges: Mapping[str, Range], layer: Conv2d | AvgPool, digit: int
) -> Walk:
    """Return the walk of a layer's window if its words come ``digit`` bits a cycle."""
    source = network.tensors[layer.source]
    rows, columns = axes(layer, source.height, source.width)
    sums = ranges[layer.name]
    bias = layer.bias if isinstance(layer, Conv2d) else np.zeros(1, np.int64)
    widths = [bits for bits, _ in Range(sums.lo - bias, sums.hi - bias).shapes()]
    steps = -(-max(bits for bits, _ in ranges[layer.source].shapes()) // digit)
    return Walk(
        rows=rows, columns=columns, steps=steps, digits=max(steps, -(-max(widths) // digit))
    )


def structural_interval(network: Network) -> int:
    """Return the cycles an image takes in the layers whose pace the image's size sets."""
    interval = network.input.height * network.input.width
    for layer in network.layers:
        if isinstance(layer, (Conv2d, MaxPool, AvgPool)):
            source = network.tensors[layer.source]
            rows, columns = axes(layer, source.height, source.width)
            interval = max(interval, rows.places * columns.places)
    return interval


def _rom_cost(code: DenseCode) -> float:
    """LUT positions, roughly: shifters and accumulators, and the image's words."""
    return code.lanes * (24 + 40 * code.terms) + 60 + 8 * 8 * code.terms


def _graph_cost(digits: int, source: BeatFormat) -> float:
    """LUT positions, roughly: shared adders of a dozen bits; the gathered words are flip-flops
    alone.
    """
    return 0.7 * digits * 14 + source.beats * source.bits * 0.5
