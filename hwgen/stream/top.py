# amaranth: UnusedElaboratable=no
"""The whole network as one component: AXI4-Stream in, AXI4-Stream out, a module a layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.layers import ArgMax, AvgPool, Conv2d, Input, Int64Array, MaxPool
from hwgen.ranges import Range
from hwgen.stream import timing
from hwgen.stream.beat import BeatFormat
from hwgen.stream.build import GraphMaker, build_layer
from hwgen.stream.control import Fork
from hwgen.stream.fifo_depth import axes
from hwgen.stream.frame import FrameGuard, FrameOut, whole_bytes
from hwgen.stream.gather import Gather, Select
from hwgen.stream.join import Fifo, Join
from hwgen.stream.layer_plan import LayerPlan, Plan
from hwgen.stream.plan import structural_interval
from hwgen.verilog import add


class StreamTop(wiring.Component):
    """A network laid out in space.

    Parameters
    ----------
    plan : Plan
    make_graph : callable
        (matrix, input lo, input hi[, objective]) -> Schedule of an adder graph.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast : AXI4-Stream of pixels
        One beat a pixel, channel 0 lowest, ``tlast`` on an image's last.
    m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast : AXI4-Stream of results
    frame_error : Out
        Sticky: a ``tlast`` came in the wrong place.

    Attributes
    ----------
    output : BeatFormat
        Of the results (class first, if there is one).
    parts : dict
        Component of each layer by name; None for a layer that is only wiring.
    plan : Plan
        As given, with the depths of all FIFOs.
    interval : int
        Cycles from one image to the next when they follow each other without a gap.
    latency : int
        Cycles from an image's first pixel taken to its last result offered, from idle, without
        stalls.
    """

    def __init__(self, *, plan: Plan, make_graph: GraphMaker) -> None:
        network = plan.network
        self.parts: dict[str, Any] = {}
        self.interval = 0
        times: dict[str, Int64Array] = {}
        # Where pixels may come more slowly than one a cycle, queues are made for such as do.
        budget = plan.options.interval or 0
        slow = budget > structural_interval(network)
        even: dict[str, Int64Array] | None = {} if slow else None
        layers = []
        for one in plan.layers:
            name = one.layer.name
            part = (
                FrameGuard(format=one.format)
                if isinstance(one.layer, Input)
                else None
                if one.form == "wire"
                else build_layer(one, plan, make_graph)
            )
            sources = [times[source] for source in one.layer.inputs]
            if len(one.fifos) == 1:
                pace = max(budget, self.interval, timing.part_interval(part))
                arrivals = (even or times)[one.layer.inputs[0]]
                one = replace(one, fifos=(timing.smoothing_depth(part, arrivals, pace),))
            elif one.fifos and plan.options.fifo_slack is None:
                one = replace(one, fifos=timing.queue_depths(one.fifos, sources, self.interval))
            times[name] = timing.departures(one, part, sources)
            if even is not None:
                even[name] = (
                    np.arange(one.format.beats) * budget // one.format.beats
                    if isinstance(one.layer, Input)
                    else timing.departures(one, part, [even[s] for s in one.layer.inputs])
                )
            self.interval = max(self.interval, timing.part_interval(part))
            readers = [network.by_name[reader] for reader in network.readers[name]]
            if len(readers) > 1 and one.format.folds == 1:
                size = (one.format.height, one.format.width)
                walks = [
                    axes(reader, *size)
                    for reader in readers
                    if isinstance(reader, (Conv2d, MaxPool, AvgPool))
                ]
                times[name], pace = timing.forked(times[name], walks, self.interval)
                self.interval = max(self.interval, pace)
            self.parts[name] = part
            layers.append(one)
        self.plan = plan = replace(plan, layers=tuple(layers))
        last = plan.layers[-1]
        self.latency = int(times[last.layer.name][-1]) + (last.format.folds > 1)
        if isinstance(last.layer, ArgMax):
            tensor = network.tensors[last.layer.source]
            self.output = BeatFormat.of(tensor, plan.ranges[last.layer.source]).with_class()
        else:
            values: Range = plan.ranges[last.layer.name]
            self.output = BeatFormat.of(network.tensors[last.layer.name], values)
        guard = self.parts[network.input.name]
        super().__init__(
            {
                "s_axis_tdata": In(whole_bytes(guard.format.bits)),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(whole_bytes(self.output.bits)),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                "frame_error": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        readers = self.plan.network.readers
        ends: dict[str, list[Any]] = {}  # for each layer, one stream for each reader
        for plan in self.plan.layers:
            name = plan.layer.name
            sources = [ends[source].pop(0) for source in plan.layer.inputs]
            end = self._layer(m, platform, plan, sources)
            count = len(readers[name])
            if count > 1:
                fork = Fork(shape=end.payload.shape(), count=count)
                add(m, platform, f"{name}__fork", fork)
                _connect(m, end, fork.i)
                ends[name] = [getattr(fork, f"o{n}") for n in range(count)]
            else:
                ends[name] = [end]
        self._output(m, platform, ends[self.plan.layers[-1].layer.name][0])
        return m

    def _layer(self, m: Module, platform: Any, plan: LayerPlan, sources: list[Any]) -> Any:
        name, part = plan.layer.name, self.parts[plan.layer.name]
        if part is None:
            return sources[0]
        add(m, platform, name, part)
        if isinstance(part, FrameGuard):
            m.d.comb += [
                part.tdata.eq(self.s_axis_tdata),
                part.tvalid.eq(self.s_axis_tvalid),
                part.tlast.eq(self.s_axis_tlast),
                self.s_axis_tready.eq(part.tready),
                self.frame_error.eq(part.frame_error),
            ]
            return part.o
        if plan.fifos:
            for n, depth in enumerate(plan.fifos):
                if depth:
                    fifo = Fifo(shape=plan.formats[n].layout, depth=depth)
                    add(m, platform, f"{name}__fifo_{n}", fifo)
                    _connect(m, sources[n], fifo.i)
                    sources[n] = fifo.o
        if len(plan.formats) > 1:
            join = Join(formats=list(plan.formats))
            add(m, platform, f"{name}__join", join)
            for n, source in enumerate(sources):
                _connect(m, source, getattr(join, f"i{n}"))
            sources = [join.o]
        _connect(m, sources[0], part.i)
        return part.o

    def _output(self, m: Module, platform: Any, end: Any) -> None:
        plan = self.plan.layers[-1]
        if plan.format.folds > 1:
            gather = Gather(source=plan.format, count=plan.format.folds)
            select = Select(
                layout=gather.layout, picks=list(range(self.output.lanes)), format=self.output
            )
            add(m, platform, "output__gather", gather)
            add(m, platform, "output__select", select)
            _connect(m, end, gather.i)
            _connect(m, gather.o, select.i)
            end = select.o
        out = FrameOut(format=self.output)
        add(m, platform, "output__frame", out)
        _connect(m, end, out.i)
        m.d.comb += [
            self.m_axis_tdata.eq(out.tdata),
            self.m_axis_tvalid.eq(out.tvalid),
            self.m_axis_tlast.eq(out.tlast),
            out.tready.eq(self.m_axis_tready),
        ]


def _connect(m: Module, source: Any, sink: Any) -> None:
    """Connect two streams of the same bits."""
    m.d.comb += [
        sink.valid.eq(source.valid),
        sink.payload.eq(source.payload),
        source.ready.eq(sink.ready),
    ]
