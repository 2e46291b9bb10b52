"""Which form each layer takes in the streaming engine, how fast it is and about what it costs.

Forms: ``graph`` (window or gather, then an adder graph), ``serial`` (the same graph, its adders a
digit a cycle), ``rom`` (a dense layer in time, lanes that shift), ``pick`` (the same, lanes that
pick their activations), ``lanes`` (one unit a channel: requantise, activation, sum), ``max``
(comparators), ``wire`` (nothing but names).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

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
    Layer,
    MaxPool,
    Requantise,
)
from hwgen.network import Network
from hwgen.ranges import value_ranges
from hwgen.stream import dense_plan
from hwgen.stream.beat import BeatFormat
from hwgen.stream.dense_plan import Choice
from hwgen.stream.fifo_depth import fifo_depths
from hwgen.stream.layer_plan import LayerPlan, Options, Plan, stream_order
from hwgen.stream.pool import separate
from hwgen.stream.requantise import lanes_agree
from hwgen.stream.widen import Merge, widen
from hwgen.stream.window_plan import (
    Candidate,
    WindowPlanner,
    serial_walk,
    structural_interval,
)

__all__ = ["LayerPlan", "Options", "Plan", "make_plan", "stream_order", "structural_interval"]

LANE = 45  # LUT positions of a lane that requantises, about
SHARED = 4  # channels a lane from which one unit for several scales is smaller than one for each
BLOCK_PRICE = 12  # LUT positions that a block RAM is worth, where either would do
# Of the engine's top module, whose instances carry the layers' names.
PORTS = ("clk", "rst", "frame_error", *(f"{side}_axis_t{name}" for side in "sm"
                                        for name in ("data", "valid", "ready", "last")))


def make_plan(network: Network, options: Options | None = None) -> Plan:
    """Choose a form for every layer: the cheapest that keeps up.

    Dense layers and convolutions have several ways to be built, which trade LUT positions for block
    RAMs, and a layer's lanes are the places of the words that the next one takes. All combinations
    are gone through layer by layer; of those that leave the rest of the network the same, only the
    ones that no other beats in both are kept, so that the best is found.
    Ref: G. L. Nemhauser and Z. Ullmann, Discrete dynamic programming and capital allocation,
    Management Science 15 (1969), 494-505.

    Raises: HwgenError naming the layer if it cannot be built, cannot keep up, or asks for more
    block RAMs than there are.
    """
    for layer in network.layers:
        if layer.name in PORTS:
            raise layer.error("name", "a name that no port of the engine has", layer.name)
    options = options or Options()
    network = widen(network, options.pixels)
    found = [_Planner(network, options)]
    for n, layer in enumerate(network.layers):
        if isinstance(layer, (Dense, Conv2d)):
            found = [other for planner in found for other in planner.candidates(layer)]
            found = _unbeaten(found, {name for later in network.layers[n + 1 :]
                                      for name in later.inputs} | {layer.name})
            _check_blocks(layer, found, options)
        else:
            for planner in found:
                planner.add(layer)
    best = min(found, key=lambda planner: planner.lut + BLOCK_PRICE * planner.bram)
    return Plan(network, best.ranges, tuple(best.plans.values()), options)


def _unbeaten(found: list[_Planner], read: set[str]) -> list[_Planner]:
    """Return the plans that no other one, the same for the layers behind, beats in LUTs and block
    RAMs. Parameters: found; read, the layers that are still read.
    """
    kept: dict[tuple[tuple[int, str], ...], list[_Planner]] = {}
    for planner in sorted(found, key=lambda one: (one.lut, one.bram)):
        key = tuple((planner.formats[name].lanes, plan.form)
                    for name, plan in planner.plans.items() if name in read)
        others = kept.setdefault(key, [])
        if all(other.bram > planner.bram for other in others):
            others.append(planner)
    return [planner for others in kept.values() for planner in others]


def _check_blocks(layer: Layer, found: list[_Planner], options: Options) -> None:
    """Leave the plans with no more block RAMs than there are."""
    limit = options.chip.bram
    if limit is None:
        return
    fewest = min(planner.bram for planner in found)
    found[:] = [planner for planner in found if planner.bram <= limit]
    if not found:
        raise layer.error("block RAMs", f"at most {limit} up to this layer", str(fewest))


class _Planner:
    """Goes through the layers in order; each sees the formats of those before it."""

    def __init__(self, network: Network, options: Options) -> None:
        self.network, self.options = network, options
        self.ranges = value_ranges(network)
        self.plans: dict[str, LayerPlan] = {}
        self.formats: dict[str, BeatFormat] = {}
        self.lut = self.bram = 0  # of what the choices differ in
        self._rules()
        self.budget = max(options.interval or 0, structural_interval(network))
        self.windows = WindowPlanner(network, self.ranges, options, self.budget)

    def _rules(self) -> None:
        self.rules: dict[type[Layer], Callable[..., LayerPlan]] = {
            Input: self._input,
            AvgPool: self._window,
            MaxPool: self._window,
            Requantise: self._lanes,
            Activation: self._lanes,
            Add: self._join,
            Concat: self._join,
            Flatten: self._flatten,
            ArgMax: self._argmax,
            Merge: self._merge,
        }

    def add(self, layer: Layer) -> None:
        plan = self.rules[type(layer)](layer, tuple(self.formats[name] for name in layer.inputs))
        self.plans[layer.name] = plan
        self.formats[layer.name] = plan.format
        if isinstance(layer, (Requantise, Activation)):
            self.lut += LANE * plan.format.lanes

    def _whole(self, layer: Layer) -> BeatFormat:
        """Format with all channels of a pixel in one beat."""
        return BeatFormat.of(self.network.tensors[layer.name], self.ranges[layer.name])

    def _input(self, layer: Input, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        return LayerPlan(
            layer, "wire", (), self._whole(layer), "frames are counted, one pixel a beat"
        )

    def _window(self, layer: AvgPool | MaxPool, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        return self.windows.plan(layer, sources[0])

    def _merge(self, layer: Merge, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        return LayerPlan(
            layer, "max", sources, self._whole(layer), f"{layer.count} pixels of a beat",
            unfold=sources[0].folds > 1,
        )

    def _lanes(self, layer: Requantise | Activation, sources: tuple[BeatFormat, ...]) -> LayerPlan:
        source, narrow = sources[0], self._narrow(layer, sources[0])
        tensor, values = self.network.tensors[layer.name], self.ranges[layer.name]
        lanes = source.lanes if narrow is None else narrow
        agree = isinstance(layer, Activation) or lanes_agree(layer, lanes)
        folds = -(-tensor.channels // lanes)
        if folds == 1 or not agree and folds < SHARED:
            why = "one unit a channel" + ("" if folds == 1 else ": channels of one lane differ")
            return LayerPlan(
                layer, "lanes", sources, self._whole(layer), why, unfold=source.folds > 1
            )
        format = BeatFormat.of(tensor, values, lanes=lanes)
        why = f"one unit for every {folds} channels" + ("" if agree else ", which differ in scale")
        unpack = None
        if narrow is not None:
            before = layer.inputs[0]
            unpack = BeatFormat.of(self.network.tensors[before], self.ranges[before], lanes=lanes)
        return LayerPlan(layer, "lanes", sources, format, why, unpack=unpack)

    def _narrow(self, layer: Layer, source: BeatFormat) -> int | None:
        """Return how many channels at a time suffice behind a layer that gives a pixel only every
        so many cycles, or None if all are wanted: nothing but pools and a dense layer may follow.
        """
        before = self.plans[layer.inputs[0]]
        if before.form != "serial" or source.folds > 1:
            return None
        name = layer.name
        while True:
            readers = [self.network.by_name[reader] for reader in self.network.readers[name]]
            if len(readers) != 1:
                return None
            if isinstance(readers[0], Dense):
                break
            if not isinstance(readers[0], Flatten) and not (
                isinstance(readers[0], MaxPool) and separate(readers[0])
            ):
                return None
            name = readers[0].name
        assert isinstance(before.layer, (Conv2d, AvgPool))
        walk = serial_walk(self.network, self.ranges, before.layer, before.digit)
        lanes = -(-source.lanes // walk.digits)
        return lanes if lanes < source.lanes else None

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
        running = sources[0].folds > 1 and sources[0].lanes == 1
        why = "one comparator for all scores" if running else "a comparator tree over the scores"
        unfold = sources[0].folds > 1 and not running
        return LayerPlan(layer, "max", sources, self._whole(layer), why, unfold=unfold)

    def candidates(self, layer: Dense | Conv2d) -> list[_Planner]:
        """Return copies that have gone on with each way to build a layer that keeps up, or with the
        fastest one.
        """
        found = (self._dense(layer) if isinstance(layer, Dense)
                 else self.windows.candidates(layer, self.formats[layer.source]))
        kept = [one for one in found if one.interval <= self.budget]
        if not kept:
            kept = [min(found, key=lambda one: (one.interval, one.lut))]
            if self.options.strict:
                raise layer.error("pace", f"at most {self.budget} cycles an image",
                                  str(kept[0].interval))
        return [self._branch(layer, one) for one in kept]

    def _branch(self, layer: Layer, one: Candidate) -> _Planner:
        other = copy(self)
        other.plans, other.formats = dict(self.plans), dict(self.formats)
        other._rules()
        other.plans[layer.name], other.formats[layer.name] = one.plan, one.plan.format
        other.lut += one.lut
        other.bram += one.bram
        return other

    def _dense(self, layer: Dense) -> list[Candidate]:
        source, wanted = self.formats[layer.source], self.options.dense
        found = dense_plan.choices(layer, source, self.budget, self.options.chip)
        found = [one for one in found if wanted in ("auto", one.form)] or found
        return [Candidate(self._dense_plan(layer, source, one), one.lut, one.bram, one.interval)
                for one in found]

    def _dense_plan(self, layer: Dense, source: BeatFormat, choice: Choice) -> LayerPlan:
        code = choice.code(layer, source)
        if code is None:
            return LayerPlan(layer, "graph", (source,), self._whole(layer), choice.why)
        format = BeatFormat.of(
            self.network.tensors[layer.name], self.ranges[layer.name], lanes=code.lanes
        )
        fifos = (0,) if choice.form == "pick" else ()
        return LayerPlan(
            layer, choice.form, (source,), format, choice.why, code=code, fifos=fifos
        )
