"""A float graph and chosen integer weights to a Network of integers.

A convolution, dense layer, average pool or sum makes exact accumulators; the Requantise behind it
holds the scale of the weights, the bias (rounded once, at full precision) and the clip of a ReLU.
The last layer of a classifier keeps its accumulators: its scale is one for all classes, so the
largest one names the class.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hwgen.compress import curves, hinges
from hwgen.compress.calibrate import Format, Statistics, choose
from hwgen.compress.importers import graph as g
from hwgen.compress.lower_rules import (
    LowerOptions,
    corrected_bias,
    joins,
    keeps_accumulators,
    tail,
)
from hwgen.compress.methods.dyadic import Result
from hwgen.compress.methods.elements import round_digits_whole
from hwgen.compress.scales import integer_weights, requantise_constants
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
    int64,
)
from hwgen.network import Network

CURVE_BITS = 3  # more bits of a code that a tanh or sigmoid reads


def lower(
    graph: g.Graph,
    weights: Mapping[str, Result],
    statistics: Statistics,
    *,
    input_codes: Format,
    options: LowerOptions,
    metadata: Mapping[str, Any],
) -> Network:
    """Return the network of integers.

    Parameters
    ----------
    graph : Graph
        Simplified; its Source means ``code * 2**-input_codes.frac``.
    weights : mapping of node name to Result
        Approximated weights of every convolution and dense layer; scales dyadic, except in the last
        layer.
    statistics : Statistics
        Of all ``observed`` nodes.
    input_codes : Format
        Of the raw image.
    options : LowerOptions
    metadata : mapping
        Goes into the Network, with the scales of its scores.

    Raises: HwgenError naming a layer that does not fit.
    """
    return _Lowering(graph, weights, statistics, input_codes, options).network(metadata)


class _Lowering:
    """One run of ``lower``: the layers made so far and where each node's codes are."""

    def __init__(
        self,
        graph: g.Graph,
        weights: Mapping[str, Result],
        statistics: Statistics,
        input_codes: Format,
        options: LowerOptions,
    ) -> None:
        self._graph, self._weights, self._statistics = graph, weights, statistics
        self._options, self._input = options, input_codes
        self._layers: list[Layer] = []
        self._names: set[str] = set()
        self._at: dict[str, str] = {}  # node -> layer with its codes
        self._format: dict[str, Format] = {}  # layer -> format of its codes
        self._score_scale: list[float] = [1.0]
        self._changes: dict[str, float] = {}  # tensor whose format was given -> change of a factor

    def network(self, metadata: Mapping[str, Any]) -> Network:
        for node in self._graph.nodes:
            if node.name not in self._at:
                self._node(node)
        if self._options.classify:
            self._layers.append(ArgMax(self._name("argmax"), self._at[self._graph.output.name]))
        found = {**metadata, "score_scale": self._score_scale}
        if any(isinstance(node, g.Quantise) for node in self._graph.nodes):
            found["rescaled"] = {name: c for name, c in self._changes.items() if c}
        return Network(tuple(self._layers), found)

    # --- names and formats
    # ----------------------------------------------------------------------------

    def _name(self, path: str, *, kind: str = "layer") -> str:
        """Return a path in the model as a layer name of its own."""
        name = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")
        if not name or not name[0].isalpha():
            name = f"{kind}_{name}".rstrip("_")
        name = name[:56].rstrip("_")
        base, count = name, 2
        while name.lower() in self._names:
            name, count = f"{base}_{count}", count + 1
        self._names.add(name.lower())
        return name

    def _emit(self, node: g.Node, layer: Layer, form: Format) -> None:
        self._layers.append(layer)
        self._at[node.name] = layer.name
        self._format[layer.name] = form

    def _source(self, node: g.Node, position: int = 0) -> tuple[str, Format]:
        layer = self._at[node.sources[position]]
        return layer, self._format[layer]

    def _codes_of(self, node: g.Node) -> Format:
        """Choose the format of a node's codes from what calibration saw."""
        if isinstance(node, g.Quantise):
            return Format(node.lo, node.hi, node.frac)
        bits, curve = self._options.act_bits, None
        lower = upper = None
        if isinstance(node, g.Clip):
            lower, upper = node.lo, node.hi
        readers = [self._graph.by_name[name] for name in self._graph.readers[node.name]]
        if readers and all(isinstance(reader, g.Curve) for reader in readers):
            first = readers[0]
            assert isinstance(first, g.Curve)
            bits = min(bits + CURVE_BITS, 16)
            curve = first.function if first.function in curves.FUNCTIONS else None
        if isinstance(node, g.Affine) and isinstance(
            self._graph.by_name[node.sources[0]], g.Source
        ):
            bits = min(bits + 1, 16)  # a normalised image is signed: keep its resolution
        elif isinstance(node, g.Affine) and isinstance(
            self._graph.by_name[node.sources[0]], g.Quantise
        ):
            bits = min(bits + CURVE_BITS, 16)  # between two formats that are given
        return choose(
            self._statistics.values[node.name], bits=bits, lower=lower, upper=upper, curve=curve
        )

    # --- a node at a time
    # -----------------------------------------------------------------------------

    def _node(self, node: g.Node) -> None:
        match node:
            case g.Source():
                form = self._input
                self._emit(
                    node,
                    Input(
                        self._name("image"),
                        node.channels,
                        node.height,
                        node.width,
                        form.lo,
                        form.hi,
                        form.frac,
                    ),
                    form,
                )
            case g.Conv() | g.Dense():
                self._linear(node)
            case g.AvgPool() | g.Add():
                self._sum(node)
            case g.Affine():
                name, form = self._source(node)
                if node is self._graph.output and self._only_scaled(node):
                    self._at[node.name] = name
                    self._score_scale = [float(node.factor[0])]
                    return
                self._requantise(node, name, np.ldexp(node.factor, -form.frac), node.offset)
            case g.Clip():
                name, form = self._source(node)
                channels = self._graph.shapes[node.name][0]
                self._requantise(node, name, np.full(channels, 2.0**-form.frac), np.zeros(channels))
            case g.Quantise():
                self._quantise(node)
            case g.Curve():
                self._curve(node)
            case g.MaxPool():
                name, form = self._source(node)
                self._emit(
                    node,
                    MaxPool(
                        self._name(node.name, kind="pool"),
                        name,
                        node.kernel,
                        node.stride,
                        node.padding,
                    ),
                    form,
                )
            case g.Flatten():
                name, form = self._source(node)
                self._emit(node, Flatten(self._name(node.name, kind="flatten"), name), form)
            case g.Concat():
                self._concat(node)
            case _:
                raise node.needs("a node that has an integer layer", type(node).__name__)

    def _requantise(
        self, node: g.Node, source: str, unit: g.FloatArray, addend: g.FloatArray
    ) -> None:
        """Codes of ``source * unit + addend``, by channel, with the clip that follows."""
        last = tail(self._graph, node)
        form = self._codes_of(last)
        digits = (self._options.pool_digits or 3) if isinstance(node, g.AvgPool) else 3
        constants = [
            requantise_constants(
                math.ldexp(float(u), form.frac), math.ldexp(float(b), form.frac), digits=digits
            )
            for u, b in zip(unit, addend, strict=True)
        ]
        multiplier, offset, shift = (int64(values) for values in zip(*constants, strict=True))
        offset = self._few_digits(offset)
        if isinstance(last, g.Quantise):
            made, wanted = np.ldexp(multiplier, -shift - form.frac), np.asarray(unit)
            ratio = np.divide(made, wanted, out=np.ones_like(made), where=wanted != 0)
            self._changes[last.name] = float(np.abs(ratio - 1).max())
        name = (
            self._name(last.name, kind="relu")
            if last is not node
            else self._name(f"{node.name}_codes")
        )
        layer = Requantise(name, source, multiplier, offset, shift, form.lo, form.hi, form.frac)
        self._emit(node, layer, form)
        self._at[last.name] = layer.name

    def _only_scaled(self, node: g.Affine) -> bool:
        """True if all that is left at the end is the step of codes that the model asks for."""
        before = self._graph.by_name[node.sources[0]]
        same = bool(np.all(node.factor == node.factor[0]) and node.factor[0] > 0)
        return isinstance(before, g.Quantise) and same and not node.offset.any()

    def _quantise(self, node: g.Quantise) -> None:
        """Codes in another format; nothing to do where they are in it already."""
        name, form = self._source(node)
        if form.frac == node.frac and node.lo <= form.lo and form.hi <= node.hi:
            self._at[node.name] = name
            return
        channels = self._graph.shapes[node.name][0]
        self._requantise(node, name, np.full(channels, 2.0**-form.frac), np.zeros(channels))

    def _few_digits(self, biases: Int64Array) -> Int64Array:
        """Return biases of at most the signed digits that the options allow."""
        if (digits := self._options.bias_digits) is None:
            return biases
        return int64([round_digits_whole(bias, digits) for bias in biases.tolist()])

    def _linear(self, node: g.Conv | g.Dense) -> None:
        source, form = self._source(node)
        result = self._weights[node.name]
        final = keeps_accumulators(self._graph, node, self._options)
        whole = final or joins(self._graph, node, self._weights)
        codes, factor = integer_weights(result, common=whole)
        bias = node.bias
        if self._options.correct_bias:
            mean = self._statistics.means[node.sources[0]]
            bias = corrected_bias(node, result.values(), mean)
        unit = np.ldexp(factor, -form.frac)  # real value of an accumulator of 1
        scores = np.rint(bias / unit) if whole else np.zeros(len(bias))
        frac_w = np.rint(-np.log2(factor)).astype(np.int64)
        name = self._name(node.name, kind="conv" if isinstance(node, g.Conv) else "dense")
        biases = self._few_digits(int64(scores.astype(np.int64)))
        values = (int64(codes), biases, int64(np.clip(frac_w, -64, 64)))
        layer: Layer = (
            Dense(name, source, *values)
            if isinstance(node, g.Dense)
            else Conv2d(
                name, source, *values, node.stride, node.padding, node.dilation, node.groups
            )
        )
        self._layers.append(layer)
        if final:
            self._at[node.name] = name
            self._score_scale = [float(factor[0] * 2.0 ** frac_w[0])]
        elif whole:
            self._at[node.name] = name
            reach = int(np.abs(codes).reshape(len(codes), -1).sum(1).max())
            reach = reach * max(-form.lo, form.hi) + int(np.abs(scores).max())
            self._format[name] = Format(-reach, reach, form.frac + int(frac_w[0]))
        else:
            self._requantise(node, name, unit, bias)

    def _sum(self, node: g.AvgPool | g.Add) -> None:
        channels = self._graph.shapes[node.name][0]
        if isinstance(node, g.AvgPool):
            source, form = self._source(node)
            frac, parts = form.frac, node.kernel[0] * node.kernel[1]
            layer: Layer = AvgPool(
                self._name(node.name, kind="pool"), source, node.kernel, node.stride, node.padding
            )
        else:
            sources = [self._source(node, position) for position in range(len(node.sources))]
            frac, parts = max(form.frac for _, form in sources), 1
            layer = Add(
                self._name(node.name, kind="add"),
                tuple(name for name, _ in sources),
                tuple(frac - form.frac for _, form in sources),
            )
        self._layers.append(layer)
        if keeps_accumulators(self._graph, node, self._options):
            self._at[node.name] = layer.name
            self._score_scale = [1.0 / parts]
        else:
            self._requantise(
                node, layer.name, np.full(channels, 2.0**-frac / parts), np.zeros(channels)
            )

    def _curve(self, node: g.Curve) -> None:
        source, form = self._source(node)
        if node.function not in curves.FUNCTIONS:
            readers = [self._graph.by_name[name] for name in self._graph.readers[node.name]]
            asked = len(readers) == 1 and isinstance(readers[0], g.Quantise)
            out = self._codes_of(readers[0] if asked else node)
            fitted = hinges.fit(node, form=form, out=out, segments=self._options.segments)
            self._table(node, source, fitted, out)
            return
        table = curves.fit(
            node.function,
            lo=form.lo,
            hi=form.hi,
            frac=form.frac,
            bits=self._options.act_bits,
            segments=self._options.segments,
        )
        out = Format(*curves.output_format(node.function, self._options.act_bits))
        self._table(node, source, table, out)

    def _table(self, node: g.Curve, source: str, table: curves.Table, out: Format) -> None:
        layer = Activation(
            self._name(node.name, kind=node.function),
            source,
            table.breakpoints,
            table.slopes,
            table.offsets,
            table.shift,
            out.lo,
            out.hi,
            out.frac,
        )
        self._emit(node, layer, out)

    def _concat(self, node: g.Concat) -> None:
        """All sources at the coarsest step among them; the finer ones get a Requantise."""
        sources = [self._source(node, position) for position in range(len(node.sources))]
        frac = min(form.frac for _, form in sources)
        names, forms = [], []
        for path, (name, form) in zip(node.sources, sources, strict=True):
            shift = form.frac - frac
            if shift:
                channels = self._graph.shapes[path][0]
                form = Format(
                    -(-form.lo >> shift), max(1, (form.hi + (1 << (shift - 1))) >> shift), frac
                )
                layer = Requantise(
                    self._name(f"{node.name}_{name}"),
                    name,
                    int64([1] * channels),
                    int64([0] * channels),
                    int64([shift] * channels),
                    form.lo,
                    form.hi,
                    frac,
                )
                self._layers.append(layer)
                name = layer.name
            names.append(name)
            forms.append(form)
        joined = Format(min(form.lo for form in forms), max(form.hi for form in forms), frac)
        self._emit(node, Concat(self._name(node.name, kind="concat"), tuple(names)), joined)
