# amaranth: UnusedElaboratable=no
"""From a plan to components: one for each layer, its parts named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from amaranth.lib import wiring

from hwgen.adders.greedy import Objective
from hwgen.adders.schedule import Schedule
from hwgen.adders.serial import SerialSchedule
from hwgen.layers import (
    Activation,
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Int64Array,
    MaxPool,
    Requantise,
)
from hwgen.ranges import Range
from hwgen.stream import activation, largest, requantise
from hwgen.stream.beat import BeatFormat
from hwgen.stream.control import SkidBuffer
from hwgen.stream.conv_pick import ConvPick
from hwgen.stream.dense_pick import DensePick
from hwgen.stream.dense_rom import DenseRom
from hwgen.stream.fifo_depth import axes
from hwgen.stream.gather import Gather, Select, Unpack
from hwgen.stream.join import Sum
from hwgen.stream.layer_plan import LayerPlan, Plan, stream_order
from hwgen.stream.linear import Chain, Linear
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.pick_code import PickCode
from hwgen.stream.pool import PixelMax, Pool, separate
from hwgen.stream.requantise_folds import FoldedRequantise
from hwgen.stream.serial import SerialLinear
from hwgen.stream.widen import Merge
from hwgen.stream.window import Window

GraphMaker = Callable[..., Schedule]  # of matrix, lo, hi, and an objective unless it is bits


def layer_matrix(plan: LayerPlan) -> Int64Array:
    """Return the matrix of a layer in graph form, (inputs, outputs): y = x @ matrix + bias.

    Rows of a window are in the order (kernel row, kernel column, channel), those of a dense layer
    in the order of the stream (pixel, channel).
    """
    layer = plan.layer
    if isinstance(layer, Conv2d):
        return conv_matrix(layer, layer.weight.shape[1] * layer.groups)
    if isinstance(layer, AvgPool):
        taps = layer.kernel[0] * layer.kernel[1]
        return np.tile(np.eye(plan.formats[0].channels, dtype=np.int64), (taps, 1))
    assert isinstance(layer, Dense)
    order = stream_order(plan.formats[0]).ravel()
    return np.ascontiguousarray(layer.weight[:, order[order >= 0]].T)


def build_layer(plan: LayerPlan, whole: Plan, make_graph: GraphMaker) -> Any:
    """Return the component of one layer: stream ``i`` in (joined, for several sources), stream
    ``o`` out.
    """
    layer = plan.layer
    source = plan.formats[0]
    parts: dict[str, wiring.Component] = {}
    if plan.unfold:
        tensor = whole.network.tensors[layer.inputs[0]]
        source = BeatFormat.of(tensor, whole.ranges[layer.inputs[0]])
        parts["gather"] = gather = Gather(source=plan.formats[0], count=plan.formats[0].folds)
        parts["select"] = Select(
            layout=gather.layout, picks=list(range(source.lanes)), format=source
        )
    match layer:
        case Conv2d() | AvgPool():
            rows, columns = axes(layer, source.height, source.width)
            bias = (
                layer.bias if isinstance(layer, Conv2d) else np.zeros(plan.format.lanes, np.int64)
            )
            if isinstance(plan.code, PickCode):
                return ConvPick(
                    code=plan.code, source=source, rows=rows, columns=columns, format=plan.format
                )
            if plan.form == "serial":
                taps = rows.kernel * columns.kernel
                ends = (np.minimum(np.tile(source.lo, taps), 0),
                        np.maximum(np.tile(source.hi, taps), 0))
                # An adder of a digit a cycle is as dear as any other.
                graph = make_graph(layer_matrix(plan), *ends, Objective.ADDERS).graph
                return SerialLinear(
                    source=source, rows=rows, columns=columns, bias=bias, format=plan.format,
                    schedule=SerialSchedule(
                        graph, plan.digit, whole.options.chip.adders
                    ),
                )
            straight = _straight(plan, whole)
            parts["window"] = window = Window(
                format=source, rows=rows, columns=columns, straight=straight
            )
            schedule = make_graph(
                layer_matrix(plan), np.array(window.tap_lo), np.array(window.tap_hi)
            )
            return Linear(
                front=parts, schedule=schedule, bias=bias, format=plan.format, straight=straight
            )
        case Dense() if plan.form == "graph":
            return _dense_graph(plan, whole, make_graph)
        case Dense():
            if isinstance(plan.code, PickCode):
                return DensePick(code=plan.code, source=source, format=plan.format)
            assert plan.code is not None
            return DenseRom(code=plan.code, bias=layer.bias, source=source, format=plan.format)
        case MaxPool() if separate(layer):
            return Pool(layer=layer, source=source, format=plan.format)
        case MaxPool():
            rows, columns = axes(layer, source.height, source.width)
            padded = any(layer.padding)
            window = Window(
                format=source, rows=rows, columns=columns, fill=source.lo if padded else None,
                straight=True,
            )
            maximum = largest.WindowMax(
                layout=window.layout, taps=window.taps, format=plan.format, straight=True
            )
            parts |= {"window": window, "maximum": maximum}
        case Merge():
            parts["pixels"] = PixelMax(
                source=source, format=plan.format, channels=layer.channels, count=layer.count
            )
        case Requantise() | Activation():
            if plan.unpack is not None:
                parts["unpack"] = Unpack(source=source, format=plan.unpack)
                source = plan.unpack
            parts["lanes"] = _lanes(layer, source, plan.format)
        case Add():
            total = Sum(
                source=_joined(plan), shifts=layer.shifts, format=plan.format,
                straight=_straight(plan, whole),
            )
            return Chain(parts={"sum": total})
        case Concat():
            pass
        case Flatten():
            parts["gather"] = gather = Gather(source=source, count=source.beats)
            order = stream_order(source).ravel()
            parts["select"] = Select(
                layout=gather.layout,
                format=plan.format,
                picks=[int(np.flatnonzero(order == n)[0]) for n in range(plan.format.lanes)],
            )
        case ArgMax() if source.folds > 1:
            tensor = whole.network.tensors[layer.source]
            wide = BeatFormat.of(tensor, whole.ranges[layer.source])
            parts["running"] = largest.RunningArgMax(source=source, whole=wide)
        case ArgMax():
            parts["tree"] = largest.ArgMax(source=source)
        case _:
            raise TypeError(f"No component for {type(layer).__name__}")
    if not isinstance(layer, ArgMax):
        parts["skid"] = SkidBuffer(shape=plan.format.layout)
    return Chain(parts=parts)


def _lanes(layer: Requantise | Activation, source: BeatFormat, format: BeatFormat) -> Any:
    if isinstance(layer, Activation):
        return activation.Activation(layer=layer, source=source, format=format, straight=True)
    if requantise.lanes_agree(layer, source.lanes):
        return requantise.Requantise(layer=layer, source=source, format=format, straight=True)
    return FoldedRequantise(layer=layer, source=source, format=format, straight=True)


def _straight(plan: LayerPlan, whole: Plan) -> bool:
    """Tell whether what reads a layer is a pipeline in front of a skid buffer, so that the two need
    one enable.
    """
    readers = whole.network.readers[plan.layer.name]
    if len(readers) != 1:
        return False
    reader = whole[readers[0]]
    return isinstance(reader.layer, (Requantise, Activation)) and reader.unpack is None


def _joined(plan: LayerPlan) -> BeatFormat:
    first = plan.formats[0]
    lo = tuple(lo for format in plan.formats for lo in format.lo)
    hi = tuple(hi for format in plan.formats for hi in format.hi)
    return BeatFormat(lo, hi, len(lo), first.height, first.width)


def _dense_graph(plan: LayerPlan, whole: Plan, make_graph: GraphMaker) -> Linear:
    layer, source = plan.layer, plan.formats[0]
    assert isinstance(layer, Dense)
    gather = Gather(source=source, count=source.beats)
    order = stream_order(source).ravel()
    picks = np.flatnonzero(order >= 0)
    values: Range = whole.ranges[layer.source]
    flat = BeatFormat(
        tuple(values.lo[order[picks]].tolist()),
        tuple(values.hi[order[picks]].tolist()),
        picks.size,
        1,
        1,
    )
    select = Select(layout=gather.layout, picks=picks.tolist(), format=flat)
    schedule = make_graph(layer_matrix(plan), np.array(flat.lo), np.array(flat.hi))
    return Linear(
        front={"gather": gather, "select": select},
        schedule=schedule,
        bias=layer.bias,
        format=plan.format,
    )
